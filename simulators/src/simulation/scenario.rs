//! What a run of a simulated city follows from, to the last byte.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::TICK_S;
use super::fault::{Fault, Kind};
use crate::city::{self, SENSORS_MAX};
use crate::oracle::Numbers;
use crate::speech::Format;

/// What a run follows from. It stands in the answer key, from which everything is made again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub seed: u64,
    pub sensors: u32,
    /// With which the names of its sensors and sources begin.
    pub prefix: String,
    /// A full minute: the first readings speak of what comes after it.
    pub starts: Timestamp,
    /// Twenty seconds each.
    pub ticks: u32,
    /// Readings that a gateway puts into one message, at most.
    pub pack: usize,
    /// What its sensors speak, by turns; where none of these says what a sensor measures, SenML.
    pub formats: Vec<Format>,
    pub numbers: Numbers,
    /// Of the numbers; grows from run to run.
    pub epoch: i64,
    pub connections: u32,
    pub faults: Vec<Fault>,
    /// When the run began by the wall clock.
    pub begun: Timestamp,
}

/// A day of a year ahead is as far as anybody simulates in one run.
const TICKS_MAX: u32 = 366 * 86_400 / TICK_S as u32;
/// Connections: more than a broker's cores, fewer than its limits.
pub const CONNECTIONS_MAX: u32 = 64;
/// Readings in a message: what ingest takes.
pub const PACK_MAX: usize = 1_000;
/// A clock that is ahead by less is believed (DELIVERY C7: five minutes), with a minute for the way.
const BELIEVED: SignedDuration = SignedDuration::from_mins(4);
/// What a run may take longer than it should, before an answer about the future is wrong.
const SLACK: SignedDuration = SignedDuration::from_mins(35);

impl Scenario {
    /// # Errors
    /// A number is out of its bounds, or the answer could not be known beforehand.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=SENSORS_MAX).contains(&self.sensors), "sensors: from 1 to {SENSORS_MAX}");
        ensure!((3..=TICKS_MAX).contains(&self.ticks), "a run lasts from a minute to a year");
        ensure!((1..=PACK_MAX).contains(&self.pack), "readings in a message: from 1 to {PACK_MAX}");
        ensure!(
            (1..=CONNECTIONS_MAX).contains(&self.connections),
            "connections: from 1 to {CONNECTIONS_MAX}"
        );
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(
            !self.prefix.is_empty() && self.prefix.len() <= 32 && self.prefix.chars().all(is_name),
            "prefix: up to 32 letters, digits and -"
        );
        ensure!(self.starts.as_second() % 60 == 0, "a run starts at a full minute");
        for fault in self.faults.iter().filter(|fault| fault.kind == Kind::ClockSkew) {
            let by = fault.by.unwrap_or_default();
            let sure = self.latest().duration_since(self.starts) + SLACK;
            ensure!(
                by <= BELIEVED || sure < by,
                "clock_skew by {by:#}: whether it is refused depends on when it is received; up to {BELIEVED:#} it is \
                 taken, from {sure:#} on it is refused"
            );
        }
        Ok(())
    }

    /// Whether readings are refused that come from a clock that is so far ahead.
    pub fn is_future(&self, by: SignedDuration) -> bool {
        BELIEVED < by
    }

    pub fn starts_us(&self) -> i64 {
        self.starts.as_microsecond()
    }

    pub fn ends_us(&self) -> i64 {
        self.starts_us() + i64::from(self.ticks) * TICK_S * 1_000_000
    }

    fn latest(&self) -> Timestamp {
        let ends = Timestamp::from_microsecond(self.ends_us()).unwrap_or(Timestamp::MAX);
        ends.max(self.begun)
    }

    pub fn plan(&self) -> city::Plan {
        city::Plan {
            seed: self.seed,
            sensors: self.sensors,
            prefix: self.prefix.clone(),
            starts_us: self.starts_us(),
            ends_us: self.ends_us(),
        }
    }

    /// The source of the numbers of a connection, and of the second gateway behind it: of this run alone, so that the
    /// ledger has a line for it.
    pub fn source(&self, connection: u32, is_echo: bool) -> String {
        format!("{}_{}c{connection}{}", self.prefix, self.epoch, if is_echo { "b" } else { "" })
    }

    pub fn sources(&self) -> Vec<String> {
        (0..self.connections).flat_map(|c| [self.source(c, false), self.source(c, true)]).collect()
    }
}

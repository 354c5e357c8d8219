//! Where the formats put what they read: names and times are checked here, once for all of them.

use std::fmt::Write;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    found::{Found, Kind},
    number,
};
use crate::observation::{Decimal, Passage, Reading};

/// As long as the city lets a sensor's name be.
const NAME_LETTERS_MAX: usize = 128;
/// 2000-01-01: SenML takes the first years after 1970 as times relative to now, and the city refuses what is older.
const EARLIEST_US: i64 = 946_684_800_000_000;
/// 2100-01-01: a later time is a wrong unit of time.
const LATEST_US: i64 = 4_102_444_800_000_000;
/// The metric of passages, as the ready mapping `traffic-passages` has it.
pub const PASSAGE_METRIC: &str = "traffic.vehicle";

/// What a file says at one place.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    Reading { sensor: &'a str, kind: Kind, reading: Reading<'a> },
    Passage { detector: &'a str, passage: Passage<'a> },
}

/// Takes what is read.
pub struct Sink<'t> {
    pub found: Found,
    start_us: Option<i64>,
    prefix: String,
    name: String,
    take: &'t mut dyn FnMut(Fact<'_>) -> anyhow::Result<()>,
}

/// One value of a series, with what makes it a reading.
pub struct Value<'a> {
    pub metric: &'a str,
    pub unit: &'a str,
    pub kind: Kind,
    pub interval_s: u32,
    pub value: Decimal,
}

impl<'t> Sink<'t> {
    pub fn new(
        start: Option<Timestamp>,
        prefix: &str,
        take: &'t mut dyn FnMut(Fact<'_>) -> anyhow::Result<()>,
    ) -> Sink<'t> {
        let start_us = start.map(Timestamp::as_microsecond);
        Sink { found: Found::default(), start_us, prefix: prefix.to_owned(), name: String::new(), take }
    }

    /// The absolute time of a second of the simulation.
    ///
    /// # Errors
    /// Nobody said when second 0 was.
    pub fn at(&self, seconds: Decimal) -> anyhow::Result<i64> {
        let start = self.start_us.context(
            "its times are seconds from its start: say when that was, for example --start 2024-05-14T05:00:00Z",
        )?;
        let micros = number::micros(seconds).and_then(|micros| start.checked_add(micros));
        micros.with_context(|| format!("{seconds} s is no time"))
    }

    pub fn leave_out(&mut self, reason: &'static str) {
        *self.found.left_out.entry(reason).or_default() += 1;
    }

    /// # Errors
    /// The sensor cannot be named, or the time is none of this century.
    pub fn reading(&mut self, sensor: &str, time_us: i64, value: &Value<'_>) -> anyhow::Result<()> {
        let Value { metric, unit, kind, interval_s, value } = *value;
        self.rename(sensor, false)?;
        self.time(time_us)?;
        let interval_s = if kind.covers_interval() { interval_s } else { 0 };
        self.found.note(&self.name, metric, unit, kind, interval_s)?;
        self.found.readings += 1;
        let reading = Reading { metric, unit, time_us, interval_s, value };
        (self.take)(Fact::Reading { sensor: &self.name, kind, reading })
    }

    /// # Errors
    /// As of a reading.
    pub fn passage(&mut self, detector: &str, passage: Passage<'_>) -> anyhow::Result<()> {
        self.rename(detector, true)?;
        self.time(passage.time_us)?;
        self.found.note(&self.name, PASSAGE_METRIC, "{veh}", Kind::Event, 0)?;
        self.found.passages += 1;
        (self.take)(Fact::Passage { detector: &self.name, passage })
    }

    /// A reading of a traffic detector, whose name is a level of the topic of its passages.
    ///
    /// # Errors
    /// As of a reading.
    pub fn detector(&mut self, detector: &str, time_us: i64, value: &Value<'_>) -> anyhow::Result<()> {
        let mut name = String::new();
        adapt(detector, true, &mut name);
        self.reading(&name, time_us, value)
    }

    fn rename(&mut self, sensor: &str, is_level: bool) -> anyhow::Result<()> {
        self.name.clear();
        self.name.push_str(&self.prefix);
        adapt(sensor, is_level, &mut self.name);
        ensure!(!sensor.is_empty(), "a sensor without a name");
        let letters = self.name.chars().count();
        ensure!(
            letters <= NAME_LETTERS_MAX,
            "{} is too long a name: at most {NAME_LETTERS_MAX} letters",
            self.name
        );
        Ok(())
    }

    fn time(&mut self, time_us: i64) -> anyhow::Result<()> {
        let time = Timestamp::from_microsecond(time_us).context("a time beyond the calendar")?;
        ensure!(
            EARLIEST_US <= time_us && time_us < LATEST_US,
            "{time} is not between 2000 and 2100: is --start, or the unit of the time, right?"
        );
        self.found.seen(time);
        Ok(())
    }
}

/// Percent-encodes what no name may hold, a separator at its end, which SenML would take for none of it, and in a level
/// of a topic what MQTT gives a meaning of its own.
fn adapt(name: &str, is_level: bool, to: &mut String) {
    let end = name.char_indices().next_back().map_or(0, |(at, _)| at);
    let mut bytes = [0; 4];
    for (at, letter) in name.char_indices() {
        let reserved = is_level && "/#+".contains(letter) || at == end && ":/_.-".contains(letter);
        if (letter.is_alphanumeric() || "._:/-@=+~%,;#&".contains(letter)) && !reserved {
            to.push(letter);
        } else {
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(to, "%{byte:02X}");
            }
        }
    }
}

/// The number of a vehicle: that of its name, or one that no other name has by chance.
pub fn vehicle(name: &str) -> i64 {
    let digits = (1..=15).contains(&name.len()) && name.bytes().all(|letter| letter.is_ascii_digit());
    match name.parse() {
        Ok(number) if digits => number,
        _ => (1 << 52) | (xxh3_64(name.as_bytes()) >> 12) as i64, // 53 bits: every reader of JSON keeps them
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_city_and_a_topic_may_hold() {
        let adapted = |name, is_level| {
            let mut to = String::new();
            adapt(name, is_level, &mut to);
            to
        };
        assert_eq!(adapted("e1_A0A1_0", true), "e1_A0A1_0");
        assert_eq!([adapted("-23#1_0", true), adapted("-23#1_0", false)], ["-23%231_0", "-23#1_0"]);
        assert_eq!([adapted("loop 7", false), adapted("loop_", false)], ["loop%207", "loop%5F"]);
    }

    #[test]
    fn a_vehicle_has_the_number_of_its_name_or_one_of_its_own() {
        assert_eq!((vehicle("17"), vehicle("017")), (17, 17));
        assert!(1 << 52 <= vehicle("flow.3") && vehicle("flow.3") < 1 << 53);
        assert!(vehicle("flow.3") != vehicle("flow.4") && vehicle("flow.3") == vehicle("flow.3"));
    }
}

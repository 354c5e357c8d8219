//! SUMO's floating car data over virtual detectors.
//!
//! A detector stands on a lane, so many metres from its beginning. A vehicle passes it between two time steps that both
//! show it, when
//!
//! - it is on the detector's lane in the later step and was on a lane of the same edge before: `before < pos <= now`. The
//!   time and the speed are interpolated over the way between. A lane change counts on the lane where it ended.
//! - it came onto the detector's lane from another edge, and `pos <= now`: the time is counted back from the later
//!   step by the mean of the two speeds.
//! - it left the detector's edge, and `before < pos` on the lane where it was: the time is counted on from the earlier
//!   step.
//!
//! A vehicle that appears behind a detector has not passed it. An edge that is crossed within one step is not seen.
//! The time over a detector is the vehicle's length by its speed there, at most ten minutes.

use std::collections::HashMap;

use anyhow::{Context, ensure};

use super::{
    class::class,
    clock::seconds,
    events::on_time,
    input::Text,
    number,
    sink::{Sink, vehicle},
    xml,
};
use crate::observation::{Decimal, Passage};

/// Vehicles on the road at one time, with some 150 bytes each: ten times the largest simulated cities.
const VEHICLES_MAX: usize = 1_000_000;
/// As many as the city registers sensors at once.
const DETECTORS_MAX: usize = 200_000;
/// Slower, a vehicle stands: how long it will is not known yet.
const SPEED_MIN: f64 = 0.1;
const ON_TIME_MAX_US: i64 = 600_000_000;
/// Of a passenger car with the gap before it left out, as SUMO has it.
const LENGTH_M: &str = "5";

/// Detectors by their lanes.
#[derive(Debug, Default)]
pub struct Detectors(HashMap<String, Vec<(f64, String)>>);

impl Detectors {
    /// From CSV with `id,lane,pos_m`.
    ///
    /// # Errors
    /// The line that is wrong, or a column that is missing.
    pub fn read(text: Text) -> anyhow::Result<Detectors> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.of_cells());
        let head = reader.headers()?.clone();
        let column = |name: &str| {
            let found = head.iter().position(|column| column.trim_start_matches('\u{feff}') == name);
            found.with_context(|| format!("line 1: no column {name:?}; due are id, lane, pos_m"))
        };
        let (id, lane, pos) = (column("id")?, column("lane")?, column("pos_m")?);
        let mut detectors = Detectors::default();
        for (count, record) in reader.records().enumerate() {
            ensure!(count < DETECTORS_MAX, "more than {DETECTORS_MAX} detectors");
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            let pos = number::decimal(&record[pos]).with_context(|| format!("line {line}: pos_m"))?.value();
            detectors.0.entry(record[lane].to_owned()).or_default().push((pos, record[id].to_owned()));
        }
        ensure!(!detectors.0.is_empty(), "it has no detector");
        detectors.0.values_mut().for_each(|lane| lane.sort_by(|a, b| a.0.total_cmp(&b.0)));
        Ok(detectors)
    }

    /// Those of a lane beyond `from`, up to `to`.
    fn between(&self, lane: &str, from: f64, to: f64) -> impl Iterator<Item = (f64, &str)> {
        let all = self.0.get(lane).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |(pos, _)| from < *pos && *pos <= to).map(|(pos, id)| (*pos, id.as_str()))
    }
}

/// Lengths in metres: of all, and of some types.
#[derive(Debug)]
pub struct Lengths {
    usual: Decimal,
    of_types: HashMap<String, Decimal>,
}

impl Lengths {
    /// From `5` and `truck=12`.
    ///
    /// # Errors
    /// One is neither.
    pub fn parse(texts: &[String]) -> anyhow::Result<Lengths> {
        let mut lengths = Lengths { usual: number::decimal(LENGTH_M)?, of_types: HashMap::new() };
        for text in texts {
            let (kind, metres) =
                text.rsplit_once('=').map_or((None, text.as_str()), |(kind, m)| (Some(kind), m));
            let metres = number::decimal(metres).with_context(|| format!("the length {text:?}"))?;
            ensure!(0 < metres.digits, "the length {text:?}: more than 0 m is due");
            match kind {
                Some(kind) => drop(lengths.of_types.insert(kind.to_owned(), metres)),
                None => lengths.usual = metres,
            }
        }
        Ok(lengths)
    }

    fn of(&self, kind: &str) -> Decimal {
        self.of_types.get(kind).copied().unwrap_or(self.usual)
    }
}

/// A vehicle where a time step shows it.
struct Seen {
    step: u64,
    lane: String,
    pos: f64,
    speed: f64,
}

/// # Errors
/// The line that is wrong, or there is no time step.
pub fn read(text: Text, detectors: &Detectors, lengths: &Lengths, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut vehicles: HashMap<String, Seen> = HashMap::new();
    let (mut step, mut before_us, mut now_us) = (0u64, i64::MIN, i64::MIN);
    xml::elements(text, |element| {
        if element.is("timestep") {
            // Who is not shown any more has arrived.
            vehicles.retain(|_, seen| seen.step == step);
            step += 1;
            before_us = now_us;
            now_us = sink.at(seconds(&element.due("time")?)?)?;
            ensure!(before_us < now_us, "the times of time steps run backwards");
        }
        if !element.is("vehicle") || step == 0 {
            return Ok(());
        }
        let name = element.due("id")?;
        let float = |name: &str| -> anyhow::Result<f64> {
            let number = element.number(name)?;
            Ok(number.with_context(|| format!("<vehicle> has no attribute {name:?}"))?.value())
        };
        let seen = Seen { step, lane: element.due("lane")?, pos: float("pos")?, speed: float("speed")? };
        if let Some(before) = vehicles.get(&name).filter(|before| before.step + 1 == step) {
            let kind = element.text("type")?.unwrap_or_default();
            for (detector, time_us, speed) in crossings(detectors, before, &seen, before_us, now_us) {
                let length = lengths.of(&kind);
                let on_us = (length.value() / speed.max(SPEED_MIN) * 1e6) as i64;
                let passage = Passage {
                    vehicle: vehicle(&name),
                    time_us,
                    class: &class(&kind),
                    on_time: on_time(on_us.min(ON_TIME_MAX_US) / 1_000 * 1_000),
                    speed: Decimal::nearest(speed, 2),
                    length,
                };
                sink.passage(detector, passage)?;
            }
        }
        ensure!(vehicles.len() < VEHICLES_MAX, "more than {VEHICLES_MAX} vehicles at one time");
        vehicles.insert(name, seen);
        Ok(())
    })?;
    ensure!(0 < step, "it has no <timestep>: is it floating car data?");
    Ok(())
}

/// The edge of a lane: its name without the number of the lane.
fn edge(lane: &str) -> &str {
    lane.rsplit_once('_').map_or(lane, |(edge, _)| edge)
}

/// Detectors that were passed between two steps, each with the time in microseconds and the speed in m/s.
fn crossings<'d>(
    detectors: &'d Detectors,
    before: &Seen,
    now: &Seen,
    before_us: i64,
    now_us: i64,
) -> Vec<(&'d str, i64, f64)> {
    let span = (now_us - before_us) as f64;
    let speed_at = |share: f64| before.speed + (now.speed - before.speed) * share;
    let at = |share: f64| {
        (before_us + (span * share.clamp(0.0, 1.0)).round() as i64, speed_at(share.clamp(0.0, 1.0)))
    };
    let crossing = |id: &'d str, share: f64| {
        let (time_us, speed) = at(share);
        (id, time_us, speed)
    };
    if edge(&before.lane) == edge(&now.lane) {
        let way = now.pos - before.pos;
        let passed = detectors.between(&now.lane, before.pos, now.pos);
        return passed.map(|(pos, id)| crossing(id, (pos - before.pos) / way)).collect();
    }
    // Metres in the whole step, at the mean speed: the length of the edge left behind is not known.
    let way = ((before.speed + now.speed) / 2.0 * span / 1e6).max(SPEED_MIN);
    let left = detectors.between(&before.lane, before.pos, f64::INFINITY);
    let entered = detectors.between(&now.lane, f64::NEG_INFINITY, now.pos);
    let left = left.map(|(pos, id)| crossing(id, (pos - before.pos) / way));
    left.chain(entered.map(|(pos, id)| crossing(id, 1.0 - (now.pos - pos) / way))).collect()
}

//! SUMO's E1 output: what an induction loop counted in each interval.

use std::str::FromStr;

use anyhow::{Context, ensure};

use super::{
    clock::seconds,
    found::Kind,
    input::Text,
    sink::{Sink, Value},
    xml,
};
/// Which vehicles of an interval are its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Count {
    /// Those that drove onto the loop (`nVehEntered`): what passages counted by their entry are. SUMO takes a vehicle to
    /// have entered in the step in which it is on the loop, so an entry within the last step before an interval's end
    /// is counted in the next one.
    #[default]
    Entered,
    /// Those that left it and of which the means are made (`nVehContrib`): without those that changed lane over it.
    Contributed,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        match text {
            "entered" => Ok(Count::Entered),
            "contributed" => Ok(Count::Contributed),
            _ => Err("entered or contributed is due".to_owned()),
        }
    }
}

/// Metrics, where they stand, and their units; negative values say that there was no vehicle.
const MEANS: [(&str, &str, &str); 4] = [
    ("occupancy", "traffic.occupancy", "%"),
    ("speed", "traffic.speed.mean", "m/s"),
    ("harmonicMeanSpeed", "traffic.speed.harmonic", "m/s"),
    ("length", "traffic.length.mean", "m"),
];

/// # Errors
/// The line that is wrong, or there is no interval.
pub fn read(text: Text, count: Count, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut intervals = 0u64;
    xml::elements(text, |element| {
        if !element.is("interval") {
            return Ok(());
        }
        intervals += 1;
        let id = element.due("id")?;
        let (begin, end) = (seconds(&element.due("begin")?)?, seconds(&element.due("end")?)?);
        let (begin_us, end_us) = (sink.at(begin)?, sink.at(end)?);
        let span_us = end_us - begin_us;
        let interval_s = u32::try_from(span_us / 1_000_000).unwrap_or(0);
        ensure!(
            0 < interval_s && span_us % 1_000_000 == 0,
            "the interval from {begin} to {end} s is not of whole seconds: simulate with a period that is"
        );
        let (name, hint) = match count {
            Count::Entered => ("nVehEntered", "an older SUMO wrote it: take --count contributed"),
            Count::Contributed => ("nVehContrib", "is it the output of an E1 detector?"),
        };
        let volume = element.number(name)?;
        let volume = volume.with_context(|| format!("<interval> has no attribute {name:?}: {hint}"))?;
        let mut say = |metric, unit, kind, value| {
            sink.detector(&id, end_us, &Value { metric, unit, kind, interval_s, value })
        };
        say("traffic.volume", "{veh}", Kind::Total, volume)?;
        let mut without = 0;
        for (attribute, metric, unit) in MEANS {
            match element.number(attribute)? {
                Some(value) if 0 <= value.digits => say(metric, unit, Kind::Rate, value)?,
                _ => without += 1,
            }
        }
        for _ in 0..without {
            sink.leave_out("means of an interval without a vehicle (-1)");
        }
        Ok(())
    })?;
    ensure!(0 < intervals, "it has no <interval>: is it the output of an E1 detector?");
    Ok(())
}

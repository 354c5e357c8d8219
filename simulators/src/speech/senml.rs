//! SenML packs in JSON (RFC 8428): what a gateway says for any number of its sensors.

use super::{Speaker, Stored, metric};
use crate::observation::{Reading, Utterance};

/// A pack under construction. The sensor's name and the time are written when they change.
#[derive(Debug)]
pub struct Pack {
    bytes: Vec<u8>,
    sensor: String,
    base_s: i64,
    readings: usize,
}

/// The names that the ready mapping `senml` gives a meaning of their own: intervals, not instants.
pub(super) const SHORT: [(&str, &str); 3] =
    [("traffic.volume", "volume"), ("traffic.occupancy", "occupancy"), ("traffic.speed.mean", "speed")];

impl Pack {
    /// `member` stands first in the first record, with a comma after it, or is empty.
    pub fn new(member: &str) -> Pack {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(b"[{");
        bytes.extend_from_slice(member.as_bytes());
        Pack { bytes, sensor: String::new(), base_s: i64::MIN, readings: 0 }
    }

    pub fn push(&mut self, sensor: &str, reading: &Reading<'_>) {
        if 0 < self.readings {
            self.bytes.extend_from_slice(b",{");
        }
        self.readings += 1;
        let bytes = &mut self.bytes;
        if self.sensor != sensor {
            self.sensor.clear();
            self.sensor.push_str(sensor);
            bytes.extend_from_slice(br#""bn":""#);
            bytes.extend_from_slice(sensor.as_bytes());
            bytes.extend_from_slice(br#":","#);
        }
        let (second, rest_us) =
            (reading.time_us.div_euclid(1_000_000), reading.time_us.rem_euclid(1_000_000));
        if self.base_s != second {
            self.base_s = second;
            bytes.extend_from_slice(br#""bt":"#);
            number(second, bytes);
            bytes.push(b',');
        }
        if rest_us != 0 {
            bytes.extend_from_slice(br#""t":"#);
            crate::observation::Decimal::new(rest_us, 6).write(bytes);
            bytes.push(b',');
        }
        let short = SHORT.iter().find(|(metric, _)| *metric == reading.metric);
        bytes.extend_from_slice(br#""n":""#);
        bytes.extend_from_slice(short.map_or(reading.metric, |(_, short)| short).as_bytes());
        bytes.push(b'"');
        let unit = unit(reading.unit);
        if !unit.is_empty() {
            bytes.extend_from_slice(br#","u":""#);
            bytes.extend_from_slice(unit.as_bytes());
            bytes.push(b'"');
        }
        bytes.extend_from_slice(br#","v":"#);
        reading.value.write(bytes);
        bytes.push(b'}');
    }

    pub fn readings(&self) -> usize {
        self.readings
    }

    /// The payload.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b']');
        self.bytes
    }
}

/// What the ready mapping takes its own names to speak of, in seconds.
const INTERVAL_S: u32 = 60;

/// Also in CBOR.
pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    let is_short = SHORT.iter().any(|(_, short)| *short == metric);
    match SHORT.iter().any(|(known, _)| *known == metric) {
        true => interval_s == INTERVAL_S,
        false => interval_s == 0 && metric != metric::PASSAGE && !is_short,
    }
}

/// A metric that the city does not measure is said in any unit.
pub(super) fn can(reading: &Reading<'_>) -> bool {
    // A level of noise has a weighting, or none.
    let any_unit = metric::unit(reading.metric).is_none_or(|unit| unit == "dB{A}" || unit == "1");
    says(reading.metric, reading.interval_s) && (any_unit || metric::is_in_unit(reading))
}

/// All in one pack.
pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let mut pack = Pack::new(speaker.member);
    for reading in readings.iter().filter(|reading| can(reading)) {
        pack.push(speaker.sensor, reading);
    }
    if pack.readings() == 0 {
        return Vec::new();
    }
    vec![Utterance { topic: format!("city/senml/{}", speaker.sensor), payload: pack.finish() }]
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let unit = if reading.unit.is_empty() { "1" } else { reading.unit };
        let said = Stored::instant(sensor, reading.metric, reading.time_us, reading.value.value());
        said.kept_in(unit).over(reading.interval_s)
    });
    kept.collect()
}

/// SenML's own name of a unit: there, `%` is a ratio and `/100` a percentage, and counts have none.
pub(super) fn unit(ucum: &str) -> &str {
    match ucum {
        "%" => "/100",
        "{veh}" => "",
        other => other,
    }
}

fn number(n: i64, to: &mut Vec<u8>) {
    crate::observation::Decimal::whole(n).write(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_pack_says_what_is_new() {
        let reading = |metric, unit, time_us, digits| Reading {
            metric,
            unit,
            time_us,
            interval_s: 60,
            value: Decimal::new(digits, 1),
        };
        let mut pack = Pack::new("");
        pack.push("a", &reading("traffic.volume", "{veh}", 60_000_000, 40));
        pack.push("a", &reading("traffic.occupancy", "%", 60_000_000, 31));
        pack.push("b", &reading("air.temperature", "Cel", 61_500_000, -5));
        assert_eq!(
            String::from_utf8(pack.finish()).unwrap(),
            r#"[{"bn":"a:","bt":60,"n":"volume","v":4.0},{"n":"occupancy","u":"/100","v":3.1},{"bn":"b:","bt":61,"t":0.500000,"n":"air.temperature","u":"Cel","v":-0.5}]"#
        );
    }
}

//! Sparkplug B, as the ready mapping `sparkplug` reads it: each sensor is an edge node of one device. Births name the metrics
//! and their aliases and have no values yet; data has aliases only.
//!
//! Numbers: the message that a sensor sends after `n` others has `seq` n modulo 256. [`say`](super::say) with `sequence` 0
//! says births first, so it gives three messages for one reading. To be born again, as a host may ask, a sensor counts from
//! 0 again, or says [`births`] and goes on with `sequence` 2. A birth counts only if its time is later than the one before.

use prost::Message as _;

use super::{
    Speaker, Stored, metric,
    moment::{MILLISECOND, cut},
};
use crate::observation::{Decimal, Reading, Utterance};

const GROUP: &str = "City";
const DEVICE: &str = "sensor";
/// What the ready mapping takes traffic to speak of, in seconds.
const INTERVAL_S: u32 = 60;

/// Data types of the specification.
const INT64: u32 = 4;
const UINT64: u32 = 8;
const DOUBLE: u32 = 10;
const BOOLEAN: u32 = 11;
const STRING: u32 = 12;

/// The names that the mapping knows; any other metric has its own.
const NAMES: [(&str, &str); 3] = [
    (metric::VOLUME, "Traffic/Volume"),
    (metric::OCCUPANCY, "Traffic/Occupancy"),
    (metric::SPEED, "Traffic/Speed"),
];

/// `sparkplug_b.proto`, as far as it is said.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    seq: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    datatype: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    is_null: Option<bool>,
    #[prost(message, optional, tag = "9")]
    properties: Option<Properties>,
    #[prost(uint64, optional, tag = "11")]
    long_value: Option<u64>,
    #[prost(double, optional, tag = "13")]
    double_value: Option<f64>,
    #[prost(bool, optional, tag = "14")]
    boolean_value: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Properties {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    values: Vec<Property>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Property {
    #[prost(uint32, optional, tag = "1")]
    datatype: Option<u32>,
    #[prost(string, optional, tag = "8")]
    string_value: Option<String>,
}

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    match NAMES.iter().any(|(known, _)| *known == metric) {
        true => interval_s == INTERVAL_S,
        false => interval_s == 0 && alias(metric).is_some(),
    }
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

/// Counts from 1.
fn alias(metric: &str) -> Option<u64> {
    (1..).zip(metric::UNITS).find(|(_, (known, _))| *known == metric).map(|(alias, _)| alias)
}

/// The birth of a sensor's edge node and that of its device, which have the numbers 0 and 1.
pub fn births(sensor: &str, time_us: i64) -> [Utterance; 2] {
    let millis = millis(time_us);
    let timestamp = Some(millis);
    let own = |name: &str, datatype| Metric {
        name: Some(name.to_owned()),
        timestamp,
        datatype: Some(datatype),
        ..Metric::default()
    };
    // One that differs from the session's before.
    let session = millis / 1_000 % 256;
    let node = vec![
        Metric { long_value: Some(session), ..own("bdSeq", UINT64) },
        Metric { boolean_value: Some(false), ..own("Node Control/Rebirth", BOOLEAN) },
    ];
    let device = metric::UNITS.iter().map(|(metric, unit)| {
        let name = NAMES.iter().find(|(known, _)| known == metric).map_or(*metric, |(_, name)| name);
        let unit = Property { datatype: Some(STRING), string_value: Some((*unit).to_owned()) };
        Metric {
            alias: alias(metric),
            is_null: Some(true),
            properties: Some(Properties { keys: vec!["engUnit".to_owned()], values: vec![unit] }),
            ..own(name, DOUBLE)
        }
    });
    let device: Vec<Metric> = device.collect();
    [
        utterance(format!("spBv1.0/{GROUP}/NBIRTH/{sensor}"), node, millis, 0),
        utterance(format!("spBv1.0/{GROUP}/DBIRTH/{sensor}/{DEVICE}"), device, millis, 1),
    ]
}

/// All in one message, after the births where there were none.
pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let Speaker { sensor, sequence, .. } = speaker;
    let metrics: Vec<Metric> = readings.iter().filter(|reading| can(reading)).map(data).collect();
    let Some(sent) = metrics.iter().filter_map(|metric| metric.timestamp).max() else { return Vec::new() };
    let mut said = Vec::new();
    let mut sequence = sequence;
    if sequence == 0 {
        let first = readings.iter().filter(|reading| can(reading)).map(|reading| reading.time_us).min();
        said.extend(births(sensor, first.unwrap_or(0)));
        sequence = 2;
    }
    said.push(utterance(format!("spBv1.0/{GROUP}/DDATA/{sensor}/{DEVICE}"), metrics, sent, sequence));
    said
}

fn data(reading: &Reading<'_>) -> Metric {
    let Decimal { digits, places } = reading.value;
    let named = Metric {
        alias: alias(reading.metric),
        timestamp: Some(millis(reading.time_us)),
        ..Metric::default()
    };
    match places {
        // In two's complement.
        0 => Metric { datatype: Some(INT64), long_value: Some(digits as u64), ..named },
        _ => Metric { datatype: Some(DOUBLE), double_value: Some(reading.value.value()), ..named },
    }
}

fn utterance(topic: String, metrics: Vec<Metric>, millis: u64, sequence: u64) -> Utterance {
    let payload = Payload { timestamp: Some(millis), metrics, seq: Some(sequence % 256) };
    Utterance { topic, payload: payload.encode_to_vec() }
}

fn millis(time_us: i64) -> u64 {
    u64::try_from(time_us.div_euclid(MILLISECOND)).unwrap_or(0)
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let device = format!("{GROUP}/{sensor}/{DEVICE}");
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let time_us = cut(reading.time_us, MILLISECOND).max(0);
        Stored::instant(&device, reading.metric, time_us, reading.value.value()).over(reading.interval_s)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_follows_its_births() {
        let readings = [Reading {
            metric: "traffic.volume",
            unit: "{veh}",
            time_us: 60_000_000,
            interval_s: 60,
            value: Decimal::whole(7),
        }];
        let speaker = |sequence| Speaker { sensor: "s", sequence, member: "" };
        let topics = |said: &[Utterance]| said.iter().map(|said| said.topic.clone()).collect::<Vec<_>>();
        let said = say(speaker(0), &readings);
        assert_eq!(
            topics(&said),
            ["spBv1.0/City/NBIRTH/s", "spBv1.0/City/DBIRTH/s/sensor", "spBv1.0/City/DDATA/s/sensor"]
        );
        let seqs: Vec<_> =
            said.iter().map(|said| Payload::decode(said.payload.as_slice()).unwrap().seq).collect();
        assert_eq!(seqs, [Some(0), Some(1), Some(2)]);
        let later = say(speaker(258), &readings);
        // 60000 ms; the alias 1 at that time, an Int64 of 7; seq 2.
        assert_eq!(
            later[0].payload,
            b"\x08\xe0\xd4\x03\x12\x0a\x10\x01\x18\xe0\xd4\x03\x20\x04\x58\x07\x18\x02"
        );
        assert_eq!(later[0].payload, said[2].payload);
        assert!(say(speaker(0), &[]).is_empty());
    }
}

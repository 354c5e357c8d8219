//! Readings whose value follows from their identity, so that a changed value is seen without remembering it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::load::JOINT;

/// What makes two facts the same. The event's number is 0 for a reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub sensor: Arc<str>,
    pub metric: Arc<str>,
    pub time_us: i64,
    pub event: i64,
}

/// A reading, or a passage with its speed in km/h.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub key: Key,
    pub value: f64,
    /// Flags of the tables that it earns when it is written: of units that nobody knows.
    pub flags: i32,
}

/// What beside its identity makes a value. The publisher's name does not, so that two loads of one seed can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    pub seed: u64,
    /// Another one has the same keys and other values.
    pub variant: u8,
}

/// What a sensor measures, and how it says so: one for every way through the decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// SenML packs of instants.
    Level,
    /// SenML packs of minutes, each belonging to the bucket of its start.
    Volume,
    /// Mapped JSON, one register a message.
    Register,
    /// Mapped JSON, one passage a message.
    Passage,
    /// SenML packs of minutes, each with the vehicles and their mean speed; where there was none, a speed is no speed.
    Station,
}

const METRES_A_SECOND_KMH: f64 = 3.6;
const VOLUME: &str = "traffic.volume";
const SPEED: &str = "traffic.speed.mean";

impl Shape {
    pub const ALL: [Shape; 5] =
        [Shape::Level, Shape::Volume, Shape::Register, Shape::Passage, Shape::Station];

    /// The names under which it is stored.
    fn metrics(self) -> &'static [&'static str] {
        match self {
            Shape::Level => &["level"],
            Shape::Volume => &[VOLUME],
            Shape::Register => &["water.volume.total"],
            Shape::Passage => &["traffic.vehicle"],
            Shape::Station => &[VOLUME, SPEED],
        }
    }

    /// Whether a message can hold several readings of a metric.
    pub fn packs(self) -> bool {
        matches!(self, Shape::Level | Shape::Volume | Shape::Station)
    }

    pub fn topic(self, source: &str, sensor: &str) -> String {
        match self {
            Shape::Level | Shape::Volume | Shape::Station => format!("city/senml/{source}/{sensor}"),
            Shape::Register => format!("city/water/{sensor}/register"),
            Shape::Passage => format!("city/traffic/{sensor}/passage"),
        }
    }

    /// The facts of one message: `readings` minutes from `from_s` on, one where the shape does not pack.
    pub fn facts(self, salt: Salt, sensor: &Arc<str>, from_s: i64, readings: usize) -> Vec<Fact> {
        let readings = if self.packs() { readings } else { 1 };
        let fact = |minute: usize, metric: &'static str| {
            let time_us = (from_s + 60 * minute as i64) * 1_000_000;
            let mut key = Key { sensor: sensor.clone(), metric: metric.into(), time_us, event: 0 };
            let value = match self {
                Shape::Passage => {
                    key.event = (hash(&key, Salt { variant: 0, ..salt }) % 1_000_000) as i64;
                    hundredths(&key, salt) * METRES_A_SECOND_KMH
                }
                Shape::Station if metric == SPEED => hundredths(&key, salt),
                Shape::Station => (hash(&key, salt) % 4) as f64,
                Shape::Level | Shape::Volume | Shape::Register => {
                    decimal(hash(&key, salt), self == Shape::Level)
                }
            };
            Fact { key, value, flags: 0 }
        };
        let minutes = 0..readings;
        minutes.flat_map(|minute| self.metrics().iter().map(move |metric| fact(minute, metric))).collect()
    }

    /// The payload that says `facts`, with `number` as a member where there is one.
    pub fn payload(self, salt: Salt, facts: &[Fact], number: &str) -> String {
        let first = &facts[0].key;
        let at = |key: &Key| Timestamp::from_microsecond(key.time_us).unwrap_or(Timestamp::UNIX_EPOCH);
        match self {
            Shape::Level | Shape::Volume | Shape::Station => {
                let base_s = first.time_us / 1_000_000;
                let mut text = format!(r#"[{{{number}"bn":"{}:","bt":{base_s}"#, first.sensor);
                for (i, fact) in facts.iter().enumerate() {
                    let offset_s = fact.key.time_us / 1_000_000 - base_s;
                    let record = match &*fact.key.metric {
                        VOLUME => r#""n":"volume""#,
                        SPEED => r#""n":"speed","u":"km/h""#,
                        _ => r#""n":"level","u":"m""#,
                    };
                    text += if i == 0 { "," } else { ",{" };
                    text += &format!(r#"{record},"t":{offset_s},"v":{}}}"#, fact.value);
                }
                text + "]"
            }
            Shape::Register => {
                format!(r#"{{{number}"time":"{}","register_m3":{}}}"#, at(first), facts[0].value)
            }
            Shape::Passage => format!(
                r#"{{{number}"vehicle":{},"class":"car","entered":"{}","on_time_s":0.34,"speed_mps":{},"length_m":4.6}}"#,
                first.event,
                at(first),
                hundredths(first, salt)
            ),
        }
    }
}

/// Of a speed, from 0 to 40.
fn hundredths(key: &Key, salt: Salt) -> f64 {
    (hash(key, salt) % 4_000) as f64 / 100.0
}

/// A decimal of at most nine digits, which every parser reads to the same bits; of sizes so different that a sum in
/// another order has other bits.
fn decimal(hash: u64, signed: bool) -> f64 {
    let scale = 10f64.powi(((hash >> 32) % 7) as i32);
    let sign = if signed && hash >> 63 == 1 { -1.0 } else { 1.0 };
    sign * (1 + hash % 999_999_999) as f64 / scale
}

/// FNV-1a over the identity, then one round of splitmix64 to spread it.
fn hash(key: &Key, salt: Salt) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ salt.seed;
    let label = key.sensor.rsplit(JOINT).next().unwrap_or_default();
    let bytes = label.bytes().chain(key.metric.bytes()).chain(key.time_us.to_le_bytes());
    for byte in bytes.chain(key.event.to_le_bytes()).chain([salt.variant]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

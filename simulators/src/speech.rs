//! How sensors say what they measured: one file for each payload format.

pub mod passages;
pub mod senml;

use serde::{Deserialize, Serialize};

use crate::observation::{Passage, Reading, Utterance};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum Format {
    Senml,
    TrafficPassages,
}

impl Format {
    pub fn says(self, metric: &str, _interval_s: u32) -> bool {
        (metric == "traffic.vehicle") == (self == Format::TrafficPassages)
    }
    pub fn carries_number(self) -> bool {
        true
    }
}

pub enum Said<'a> {
    Readings(&'a [Reading<'a>]),
    Passage(&'a Passage),
}

pub struct Stored {
    pub sensor: String,
    pub metric: String,
    pub time_us: i64,
    pub event_id: Option<i64>,
    pub value: f64,
}

pub fn say(_format: Format, sensor: &str, _sequence: u64, said: Said<'_>, member: &str) -> Vec<Utterance> {
    match said {
        Said::Passage(passage) => vec![passages::say(sensor, passage, member)],
        Said::Readings(_) => Vec::new(),
    }
}

pub fn stored(_format: Format, sensor: &str, said: Said<'_>) -> Vec<Stored> {
    match said {
        Said::Passage(passage) => vec![Stored {
            sensor: sensor.to_owned(),
            metric: "traffic.vehicle".to_owned(),
            time_us: passage.time_us,
            event_id: Some(passage.vehicle),
            value: passage.speed.value() * 3.6,
        }],
        Said::Readings(readings) => readings
            .iter()
            .map(|reading| Stored {
                sensor: sensor.to_owned(),
                metric: reading.metric.to_owned(),
                time_us: reading.time_us,
                event_id: None,
                value: reading.value.value(),
            })
            .collect(),
    }
}

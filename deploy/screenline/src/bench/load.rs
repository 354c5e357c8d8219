//! What is sent: gateways that pack the readings of their sensors, a second after the other.

use bytes::Bytes;
use jiff::Timestamp;

/// Readings of a message where gateways pack.
pub const PACK: usize = 50;
/// Series, in packs or alone.
pub const SERIES: usize = 10_000;
/// Different packs of a gateway, by turns.
const VARIANTS: usize = 4;
const METRIC: &str = "level";

/// Messages of which each is another moment of its gateway.
pub struct Load {
    topic: &'static str,
    pack: usize,
    pace: Pace,
    /// Each gateway's records without their time, by turns.
    bodies: Vec<Vec<String>>,
}

/// Of which time the readings are.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// A second of all gateways after the other, from this one on.
    Seconds { start_s: i64 },
    /// Each message so long after the one before, from a moment on.
    Steady { start_micros: i64, step_micros: f64 },
}

impl Load {
    /// To topics below `topic`, so many readings a message, each round of the gateways another second.
    pub fn new(topic: &'static str, pack: usize, start_s: i64) -> Load {
        Load::of(topic, SERIES, pack, Pace::Seconds { start_s })
    }

    /// Every series once, at a second.
    pub fn once(topic: &'static str, series: usize, pack: usize, second_s: i64) -> Load {
        Load::of(topic, series, pack, Pace::Seconds { start_s: second_s })
    }

    /// Of so many series and from now on, as many readings a second.
    pub fn steady(topic: &'static str, series: usize, pack: usize, rate: f64) -> Load {
        let (start_micros, step_micros) = (Timestamp::now().as_microsecond(), pack as f64 / rate * 1e6);
        Load::of(topic, series, pack, Pace::Steady { start_micros, step_micros })
    }

    fn of(topic: &'static str, series: usize, pack: usize, pace: Pace) -> Load {
        let gateways = series / pack;
        let body = |gateway: usize, variant: usize| {
            let record = |sensor: usize| {
                let value = (gateway * 7 + sensor * 13 + variant * 29) % 1_000;
                let name = sensor_name(gateway * pack + sensor);
                format!(r#"{{"n":"{name}:{METRIC}","u":"m","v":{}.{}}}"#, value / 10, value % 10)
            };
            (0..pack).map(record).collect::<Vec<_>>().join(",")
        };
        let bodies = (0..gateways).map(|gateway| (0..VARIANTS).map(|turn| body(gateway, turn)).collect());
        Load { topic, pack, pace, bodies: bodies.collect() }
    }

    pub fn readings(&self, messages: usize) -> u64 {
        (messages * self.pack) as u64
    }

    /// Messages until each gateway has sent one.
    pub fn gateways(&self) -> usize {
        self.bodies.len()
    }

    /// The topic and the payload of a message, counted from the start.
    pub fn message(&self, index: usize) -> (String, Bytes) {
        let (gateway, turn) = (index % self.bodies.len(), index / self.bodies.len());
        let body = &self.bodies[gateway][turn % VARIANTS];
        let payload = match self.pace {
            Pace::Seconds { start_s } => format!(r#"[{{"bt":{}}},{body}]"#, start_s + turn as i64),
            Pace::Steady { start_micros, step_micros } => {
                let micros = start_micros + (index as f64 * step_micros) as i64;
                format!(r#"[{{"bt":{}.{:06}}},{body}]"#, micros / 1_000_000, micros % 1_000_000)
            }
        };
        (format!("{}/{gateway}", self.topic), payload.into())
    }
}

/// Names of all series that messages of any pack speak of.
pub fn series() -> impl Iterator<Item = (String, &'static str)> {
    (0..SERIES).map(|sensor| (sensor_name(sensor), METRIC))
}

fn sensor_name(sensor: usize) -> String {
    format!("load-{sensor}")
}

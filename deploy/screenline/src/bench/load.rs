//! What is sent: gateways that pack the readings of their sensors, a second after the other.

use bytes::Bytes;

/// Readings of a message where gateways pack.
pub const PACK: usize = 50;
/// Series, in packs or alone.
pub const SERIES: usize = 10_000;
/// Different packs of a gateway, by turns.
const VARIANTS: usize = 4;
const METRIC: &str = "level";

/// Messages of which each is another second of its gateway.
pub struct Load {
    topic: &'static str,
    pack: usize,
    /// Of the first second.
    start_s: i64,
    /// Each gateway's records without their time, by turns.
    bodies: Vec<Vec<String>>,
}

impl Load {
    /// To topics below `topic`, so many readings a message.
    pub fn new(topic: &'static str, pack: usize, start_s: i64) -> Load {
        let gateways = SERIES / pack;
        let body = |gateway: usize, variant: usize| {
            let record = |sensor: usize| {
                let value = (gateway * 7 + sensor * 13 + variant * 29) % 1_000;
                let name = sensor_name(gateway * pack + sensor);
                format!(r#"{{"n":"{name}:{METRIC}","u":"m","v":{}.{}}}"#, value / 10, value % 10)
            };
            (0..pack).map(record).collect::<Vec<_>>().join(",")
        };
        let bodies = (0..gateways).map(|gateway| (0..VARIANTS).map(|turn| body(gateway, turn)).collect());
        Load { topic, pack, start_s, bodies: bodies.collect() }
    }

    pub fn readings(&self, messages: usize) -> u64 {
        (messages * self.pack) as u64
    }

    /// The topic and the payload of a message, counted from the start.
    pub fn message(&self, index: usize) -> (String, Bytes) {
        let (gateway, turn) = (index % self.bodies.len(), index / self.bodies.len());
        let body = &self.bodies[gateway][turn % VARIANTS];
        let second = self.start_s + turn as i64;
        (format!("{}/{gateway}", self.topic), format!(r#"[{{"bt":{second}}},{body}]"#).into())
    }
}

/// Names of all series that messages of any pack speak of.
pub fn series() -> impl Iterator<Item = (String, &'static str)> {
    (0..SERIES).map(|sensor| (sensor_name(sensor), METRIC))
}

fn sensor_name(sensor: usize) -> String {
    format!("load-{sensor}")
}

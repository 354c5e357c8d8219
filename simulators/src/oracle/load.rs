//! What an oracle publishes: all of it follows from a few numbers and a seed.

use std::collections::HashSet;
use std::sync::Arc;

use fastrand::Rng;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fact::{Fact, Salt, Shape};
use super::poison::{self, Refusal};

/// Between a publisher's name and what follows in a name. No dot: RabbitMQ makes a slash of it in topics.
pub(super) const JOINT: char = '_';

/// How messages are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    None,
    /// In the user properties of MQTT 5.
    Properties,
    /// As a member of the payload, for MQTT 3.1.1.
    Payload,
    /// As a gateway does that does not know its broker.
    Both,
}

/// The numbers from which a plan follows. Shares are of the messages, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Names the publisher, and begins the names of its sensors.
    pub source: String,
    pub epoch: i64,
    pub seed: u64,
    pub numbers: Numbers,
    pub qos0: bool,
    /// Taken by turns by the sensors.
    pub shapes: Vec<Shape>,
    pub sensors: usize,
    pub messages: usize,
    /// Readings in a pack.
    pub readings: usize,
    /// The first reading's time. A sensor has a reading a minute.
    pub from: Timestamp,
    /// Messages sent twice.
    pub duplicates: f64,
    /// Messages that a second gateway sends as well, under its own numbers.
    pub echoes: f64,
    /// Messages that come again with the same keys and other values.
    pub conflicts: f64,
    pub poison: f64,
    /// Messages of up to 30 days before.
    pub late: f64,
    /// Messages within which the order is lost.
    pub shuffle: usize,
    /// Numbers that are never sent.
    pub gaps: f64,
    /// Messages under the number of the message before.
    pub reused: f64,
    /// Every message once, by time, and none of a second gateway: the calm day that others are compared with.
    pub calm: bool,
}

impl Load {
    /// A clean load: every message once, in order, good. `source` must be new to the database.
    pub fn clean(source: &str, seed: u64, from: Timestamp) -> Load {
        Load {
            source: source.to_owned(),
            epoch: 1_700_000_000,
            seed,
            numbers: Numbers::Properties,
            qos0: false,
            shapes: Shape::ALL.to_vec(),
            sensors: 40,
            messages: 400,
            readings: 20,
            from,
            duplicates: 0.0,
            echoes: 0.0,
            conflicts: 0.0,
            poison: 0.0,
            late: 0.0,
            shuffle: 1,
            gaps: 0.0,
            reused: 0.0,
            calm: false,
        }
    }

    /// With some of everything that goes wrong in the field.
    #[must_use]
    pub fn dirty(mut self) -> Load {
        self.duplicates = 0.05;
        self.echoes = 0.05;
        self.conflicts = 0.02;
        self.poison = 0.03;
        self.shuffle = 50;
        self
    }

    /// The sensors' names begin so; no other load's do.
    pub fn prefix(&self) -> String {
        format!("{}{JOINT}", self.source)
    }

    /// The second gateway's name.
    pub fn echo_source(&self) -> String {
        format!("{}{JOINT}b", self.source)
    }

    pub fn plan(&self) -> Plan {
        Planner::new(self).plan()
    }
}

/// A publisher's count of its messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    pub source: Arc<str>,
    pub epoch: i64,
    pub seq: i64,
}

impl Number {
    /// As the first member of a payload, with a comma behind it.
    pub fn member(&self) -> String {
        let Number { source, epoch, seq } = self;
        format!(r#""screenline":{{"source":"{source}","epoch":{epoch},"seq":{seq}}},"#)
    }

    /// As user properties of MQTT 5.
    pub fn properties(&self) -> Vec<(String, String)> {
        let property = |name: &str, value: String| (name.to_owned(), value);
        vec![
            property("source", self.source.to_string()),
            property("epoch", self.epoch.to_string()),
            property("seq", self.seq.to_string()),
        ]
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub number: Option<Number>,
    pub topic: String,
    pub payload: Vec<u8>,
    /// What must be kept of it.
    pub facts: Vec<Fact>,
    /// What must be refused of it: with one reason all of it, or with several some readings.
    pub refusals: Vec<Refusal>,
}

impl Message {
    /// Whether nothing of it can be read.
    pub fn is_refused(&self) -> bool {
        self.refusals.iter().any(|refusal| refusal.readings == 0)
    }

    /// Readings of it that are refused one by one.
    pub fn refused_readings(&self) -> i64 {
        self.refusals.iter().map(|refusal| refusal.readings).sum()
    }
}

/// The messages of a load, and the order in which they are sent, repeats included. The last one is good and sent once: it
/// is the fresh reading that must pass in the end.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub load: Load,
    pub messages: Vec<Message>,
    pub sends: Vec<u32>,
}

struct Planner<'l> {
    load: &'l Load,
    rng: Rng,
    sources: [Arc<str>; 2],
    next: [i64; 2],
    messages: Vec<Message>,
    /// Times taken by late messages, by sensor.
    late: HashSet<(usize, i64)>,
}

/// Furthest apart that two sends of one message are.
const REPEAT_DISTANCE: usize = 200;

impl<'l> Planner<'l> {
    fn new(load: &'l Load) -> Self {
        Planner {
            load,
            rng: Rng::with_seed(load.seed),
            sources: [load.source.as_str().into(), load.echo_source().into()],
            next: [1, 1],
            messages: Vec::new(),
            late: HashSet::new(),
        }
    }

    fn plan(mut self) -> Plan {
        let (mut sends, mut poisons) = (Vec::new(), 0);
        for i in 0..self.load.messages {
            let first = self.messages.len() as u32;
            if self.chance(self.load.poison) {
                self.poison(poisons, i);
                poisons += 1;
            } else {
                self.good(i);
            }
            sends.extend(first..self.messages.len() as u32);
        }
        for i in 0..sends.len() {
            // What shares its number with another message is no repeat of it.
            if self.chance(self.load.duplicates) && self.load.reused == 0.0 {
                let again = (i + 1 + self.rng.usize(..REPEAT_DISTANCE)).min(sends.len());
                sends.insert(again, sends[i]);
            }
        }
        for block in sends.chunks_mut(self.load.shuffle.max(1)) {
            self.rng.shuffle(block);
        }
        if self.load.calm {
            sends = self.by_time();
        }
        let fresh = self.messages.len();
        let (sensor, facts) = self.facts(self.load.messages, false);
        self.say(Shape::Level, &sensor, facts, 0, 0);
        sends.push(fresh as u32);
        Plan { load: self.load.clone(), messages: self.messages, sends }
    }

    fn by_time(&self) -> Vec<u32> {
        let mut sends: Vec<u32> = (0..self.messages.len() as u32).collect();
        let message = |i: &u32| &self.messages[*i as usize];
        sends.retain(|i| message(i).number.as_ref().is_none_or(|number| number.source == self.sources[0]));
        sends.sort_by_key(|i| message(i).facts.first().map(|fact| fact.key.time_us));
        sends
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.f64() < share
    }

    fn salt(&self, variant: u8) -> Salt {
        Salt { seed: self.load.seed, variant }
    }

    fn shape(&self, i: usize) -> Shape {
        self.load.shapes[i % self.load.sensors % self.load.shapes.len()]
    }

    fn good(&mut self, i: usize) {
        let late = self.chance(self.load.late);
        let shape = self.shape(i);
        let (sensor, facts) = self.facts(i, late);
        let from_s = facts[0].key.time_us / 1_000_000;
        if self.chance(self.load.echoes) {
            self.say(shape, &sensor, facts.clone(), 0, 1);
        }
        if self.chance(self.load.conflicts) {
            let other = shape.facts(self.salt(1), &sensor, from_s, self.load.readings);
            self.say(shape, &sensor, other, 1, 0);
        }
        self.say(shape, &sensor, facts, 0, 0);
    }

    /// The facts of the `i`th message.
    fn facts(&mut self, i: usize, late: bool) -> (Arc<str>, Vec<Fact>) {
        let sensor_number = i % self.load.sensors;
        let shape = if i == self.load.messages { Shape::Level } else { self.shape(i) };
        let name = if i == self.load.messages { "fresh".to_owned() } else { format!("s{sensor_number}") };
        let sensor: Arc<str> = format!("{}{name}", self.load.prefix()).into();
        let mut from_s = self.slot_s(i, shape);
        if late {
            // Seven seconds beside the minute, so that they meet no reading that is on time.
            let earlier_s = from_s - 86_400 * self.rng.i64(1..=30) + 7;
            if self.late.insert((sensor_number, earlier_s)) {
                from_s = earlier_s;
            }
        }
        let facts = shape.facts(self.salt(0), &sensor, from_s, self.load.readings);
        (sensor, facts)
    }

    /// When the `i`th message begins: each sensor goes on where its message before ended.
    fn slot_s(&self, i: usize, shape: Shape) -> i64 {
        let minutes = if shape.packs() { self.load.readings } else { 1 };
        self.load.from.as_second() + 60 * (i / self.load.sensors * minutes) as i64
    }

    fn poison(&mut self, n: usize, i: usize) {
        let number = self.number(0);
        let kinds =
            if self.load.numbers == Numbers::Payload { poison::NUMBERED_KINDS } else { poison::KINDS };
        let member = self.member(number.as_ref());
        let sensor: Arc<str> = format!("{}spoilt{}", self.load.prefix(), i % self.load.sensors).into();
        let from_s = self.slot_s(i, Shape::Level);
        let pack = Shape::Level.facts(self.salt(0), &sensor, from_s, self.load.readings);
        let (poison, facts) = poison::make(n % kinds, n, &self.load.source, &member, self.salt(0), pack);
        debug_assert!(poison.carries_number || self.load.numbers != Numbers::Payload);
        let (topic, payload, refusals) = (poison.topic, poison.payload, vec![poison.refusal]);
        self.messages.push(Message { number, topic, payload, facts, refusals });
    }

    fn say(&mut self, shape: Shape, sensor: &str, facts: Vec<Fact>, variant: u8, gateway: usize) {
        let number = self.number(gateway);
        let payload = shape.payload(self.salt(variant), &facts, &self.member(number.as_ref())).into_bytes();
        let topic = shape.topic(&self.load.source, sensor);
        self.messages.push(Message { number, topic, payload, facts, refusals: Vec::new() });
    }

    fn number(&mut self, gateway: usize) -> Option<Number> {
        if self.load.numbers == Numbers::None {
            return None;
        }
        if self.chance(self.load.gaps) {
            self.next[gateway] += 1 + self.rng.i64(0..3);
        }
        if self.next[gateway] == 1 || !self.chance(self.load.reused) {
            self.next[gateway] += 1;
        }
        let seq = self.next[gateway] - 1;
        Some(Number { source: self.sources[gateway].clone(), epoch: self.load.epoch, seq })
    }

    fn member(&self, number: Option<&Number>) -> String {
        match (self.load.numbers, number) {
            (Numbers::Payload | Numbers::Both, Some(number)) => number.member(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load::clean("plan", 7, "2024-05-01T00:00:00Z".parse().unwrap()).dirty()
    }

    #[test]
    fn a_seed_says_everything() {
        let twice = [load().plan(), load().plan()];
        assert_eq!(twice[0], twice[1]);
        assert_ne!(twice[0].sends, Load { seed: 8, ..load() }.plan().sends);
    }

    #[test]
    fn a_load_has_what_was_asked_for() {
        let plan = load().plan();
        let refused: HashSet<&str> =
            plan.messages.iter().flat_map(|m| &m.refusals).map(|refusal| refusal.reason).collect();
        assert!(8 <= refused.len(), "{refused:?}");
        assert!(plan.messages.len() < plan.sends.len(), "some are sent twice");
        let of = |source: &str| {
            let numbers = plan.messages.iter().filter_map(|message| message.number.as_ref());
            let mut seqs: Vec<i64> =
                numbers.filter(|number| &*number.source == source).map(|number| number.seq).collect();
            seqs.sort_unstable();
            seqs
        };
        for source in ["plan", "plan_b"] {
            let seqs = of(source);
            assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>(), "{source}");
        }
        let gaps = Load { gaps: 0.1, echoes: 0.0, ..load() }.plan();
        let last = gaps.messages.iter().filter_map(|message| Some(message.number.as_ref()?.seq)).max();
        let (sent, last) = (gaps.messages.len(), last.unwrap() as usize);
        assert!(sent < last && last < 2 * sent, "{sent} messages, the last has number {last}");
    }

    #[test]
    fn a_payload_may_carry_the_number() {
        let plan = Load { numbers: Numbers::Both, poison: 0.0, ..load() }.plan();
        for message in &plan.messages {
            let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let first = payload.get(0).unwrap_or(&payload);
            assert_eq!(first["screenline"]["seq"].as_i64(), message.number.as_ref().map(|number| number.seq));
        }
    }

    #[test]
    fn keys_are_unique_but_for_echoes_and_conflicts() {
        let plan = Load { echoes: 0.0, conflicts: 0.0, late: 0.3, ..load() }.plan();
        let mut keys = HashSet::new();
        for fact in plan.messages.iter().flat_map(|message| &message.facts) {
            assert!(keys.insert(&fact.key), "{fact:?}");
        }
    }
}

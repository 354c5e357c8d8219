//! Sparkplug B (Eclipse Sparkplug 3.0): data names its metrics by aliases that a birth explained before, so a host must
//! remember births, and notice what it missed.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::{Body, Found, Sample};
use crate::{
    mapping::{Measure, SparkplugRules},
    memory::Request,
    model::{Kind, Message, MetricName, Quality, Reason, SensorId, Time, reason::Refusal, unit},
};

/// A message that overtook another one is waited for so long, as the specification advises.
const REORDER_MICROS: i64 = 5_000_000;
/// A node is asked for its births at most so often: the answer is its largest message.
const ASK_MICROS: i64 = 60_000_000;
/// More devices than one edge node has, and more metrics than they have together: what is remembered is bounded.
const DEVICES_MAX: usize = 1_000;
const METRICS_MAX: usize = 20_000;

/// `sparkplug_b.proto`, as far as numbers are concerned.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
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
    #[prost(bool, optional, tag = "5")]
    is_historical: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    is_transient: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    is_null: Option<bool>,
    #[prost(message, optional, tag = "9")]
    properties: Option<Properties>,
    #[prost(uint32, optional, tag = "10")]
    int_value: Option<u32>,
    #[prost(uint64, optional, tag = "11")]
    long_value: Option<u64>,
    #[prost(float, optional, tag = "12")]
    float_value: Option<f32>,
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
    #[prost(uint32, optional, tag = "3")]
    int_value: Option<u32>,
    #[prost(string, optional, tag = "8")]
    string_value: Option<String>,
}

impl Properties {
    fn get(&self, key: &str) -> Option<&Property> {
        let at = self.keys.iter().position(|known| known == key)?;
        self.values.get(at)
    }
}

/// What is known of an edge node and its devices.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Node {
    pub online: bool,
    /// Of the session that its birth began.
    bd_seq: Option<u64>,
    /// The number that the next message should have.
    expected: Option<u8>,
    /// Numbers that were passed over.
    missing: Vec<u8>,
    /// Since when some are missing, in microseconds.
    gap_since: Option<i64>,
    asked_at: Option<i64>,
    #[serde(skip)]
    pub births: Arc<Births>,
}

/// What births said: the present ones, and those before the last birth of the node, for messages that are late.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Births {
    /// When the node was born, in milliseconds, as it says itself.
    at: i64,
    /// By device; the node itself has no name.
    devices: BTreeMap<String, Birth>,
    before: BTreeMap<String, Birth>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Birth {
    at: i64,
    /// By name.
    metrics: Vec<Known>,
    /// Alias and index into the metrics, by alias.
    aliases: Vec<(u64, u32)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Known {
    name: String,
    datatype: u32,
    unit: Option<String>,
}

impl Birth {
    fn new(at: i64, payload: &Payload) -> Birth {
        let mut metrics: Vec<(Known, Option<u64>)> = Vec::new();
        for metric in &payload.metrics {
            let Some(name) = metric.name.clone().filter(|name| is_measured(name)) else { continue };
            let unit = metric.properties.as_ref().and_then(|properties| properties.get("engUnit"));
            let unit = unit.and_then(|unit| unit.string_value.clone());
            metrics.push((Known { name, datatype: metric.datatype.unwrap_or(0), unit }, metric.alias));
        }
        metrics.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        let mut aliases: Vec<(u64, u32)> =
            (0..).zip(&metrics).filter_map(|(i, (_, alias))| Some(((*alias)?, i))).collect();
        aliases.sort_unstable();
        Birth { at, metrics: metrics.into_iter().map(|(known, _)| known).collect(), aliases }
    }

    fn known(&self, metric: &Metric) -> Option<&Known> {
        match (&metric.name, metric.alias) {
            (Some(name), _) if !name.is_empty() => {
                let at = self.metrics.binary_search_by(|known| known.name.as_str().cmp(name)).ok()?;
                self.metrics.get(at)
            }
            (_, Some(alias)) => {
                let at = self.aliases.binary_search_by_key(&alias, |(alias, _)| *alias).ok()?;
                self.metrics.get(self.aliases[at].1 as usize)
            }
            _ => None,
        }
    }
}

/// Not what a node says of itself.
fn is_measured(name: &str) -> bool {
    !name.is_empty()
        && name != "bdSeq"
        && !name.starts_with("Node Control/")
        && !name.starts_with("Device Control/")
}

/// How a message's number stands to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Next,
    /// Some before it were missed, or it is from before the last birth.
    Ahead,
    /// It was missed, and came after all.
    Late,
    /// It came before: delivered again.
    Again,
}

impl Node {
    pub fn is_overdue(&self, now: Time) -> bool {
        self.gap_since.is_some_and(|since| since + REORDER_MICROS <= now.micros())
    }

    /// Asks the node for its births, if that was not done just now.
    pub fn ask(&mut self, sender: &str, now: Time) -> Option<Request> {
        if self.is_overdue(now) {
            (self.gap_since, self.missing) = (None, Vec::new()); // they will not come any more
        }
        if self.asked_at.is_some_and(|asked| (0..ASK_MICROS).contains(&(now.micros() - asked))) {
            return None;
        }
        self.asked_at = Some(now.micros());
        let (group, node) = sender.split_once('/')?;
        let timestamp = u64::try_from(now.micros() / 1_000).ok();
        let rebirth = Metric {
            name: Some("Node Control/Rebirth".to_owned()),
            timestamp,
            datatype: Some(BOOLEAN),
            boolean_value: Some(true),
            ..Metric::default()
        };
        let payload = Payload { timestamp, metrics: vec![rebirth], seq: None };
        Some(Request { topic: format!("spBv1.0/{group}/NCMD/{node}"), payload: payload.encode_to_vec() })
    }

    /// `older` says that the message was sent before the birth that should explain it.
    fn sequence(&mut self, seq: Option<u64>, older: bool, now: Time) -> Order {
        let (Some(seq), Some(expected)) = (seq.and_then(|seq| u8::try_from(seq).ok()), self.expected) else {
            return Order::Next; // a node that does not count
        };
        match seq.wrapping_sub(expected) {
            1..=127 if older => Order::Ahead,
            ahead @ 0..=127 => {
                for passed in 0..ahead {
                    self.missing.push(expected.wrapping_add(passed));
                    self.gap_since.get_or_insert(now.micros());
                }
                self.missing.retain(|missing| *missing != seq);
                self.expected = Some(seq.wrapping_add(1));
                if ahead == 0 { Order::Next } else { Order::Ahead }
            }
            _ => match self.missing.iter().position(|missing| *missing == seq) {
                Some(at) => {
                    self.missing.remove(at);
                    if self.missing.is_empty() {
                        self.gap_since = None;
                    }
                    Order::Late
                }
                None => Order::Again,
            },
        }
    }

    fn born(&mut self, payload: &Payload, at: i64) {
        let again = at < self.births.at || self.online && at == self.births.at;
        if payload.timestamp.is_some() && again {
            return; // an earlier birth delivered again: what came since is not undone
        }
        let bd_seq = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some("bdSeq"));
        self.bd_seq = bd_seq.and_then(|metric| metric.long_value.or(metric.int_value.map(u64::from)));
        self.online = true;
        self.expected = payload.seq.and_then(|seq| u8::try_from(seq).ok()).map(|seq| seq.wrapping_add(1));
        (self.missing, self.gap_since) = (Vec::new(), None);
        let births = Arc::make_mut(&mut self.births);
        births.at = at;
        let dead = std::mem::take(&mut births.devices);
        if !dead.is_empty() {
            births.before = dead;
        }
        births.devices.insert(String::new(), Birth::new(at, payload));
    }

    fn device_born(&mut self, device: &str, payload: &Payload, at: i64) -> Result<(), Refusal> {
        if self.births.devices.get(device).is_some_and(|known| payload.timestamp.is_some() && at <= known.at)
        {
            return Ok(());
        }
        let others = self.births.devices.iter().filter(|(name, _)| *name != device);
        let (mut devices, mut metrics) = (1, payload.metrics.len());
        for (_, birth) in others {
            devices += 1;
            metrics += birth.metrics.len();
        }
        if DEVICES_MAX < devices || METRICS_MAX < metrics {
            let detail = format!("an edge node of more than {DEVICES_MAX} devices or {METRICS_MAX} metrics");
            return Err(Refusal::new(Reason::TooManySeries, detail));
        }
        let birth = Birth::new(at, payload);
        Arc::make_mut(&mut self.births).devices.insert(device.to_owned(), birth);
        Ok(())
    }

    fn died(&mut self, payload: &Payload) {
        let bd_seq = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some("bdSeq"));
        let bd_seq = bd_seq.and_then(|metric| metric.long_value.or(metric.int_value.map(u64::from)));
        if bd_seq == self.bd_seq {
            self.online = false;
            self.expected = None;
            (self.missing, self.gap_since) = (Vec::new(), None);
        }
    }
}

impl Births {
    /// The birth that explains a message of a device sent at `at`.
    fn find(&self, device: &str, order: Order, at: i64) -> Option<&Birth> {
        let now = self.devices.get(device);
        match order {
            // Delivered again, from before the node was born anew: its aliases are those of then.
            Order::Again | Order::Ahead if now.is_none_or(|now| at < now.at) => {
                self.before.get(device).filter(|before| before.at <= at)
            }
            _ => now,
        }
    }
}

/// `group/node`, for every topic of an edge node and its devices.
pub(super) fn sender(topic: &str) -> Option<String> {
    let mut levels = topic.split('/');
    let (group, _, node) = (levels.nth(1)?, levels.next()?, levels.next()?);
    Some(format!("{group}/{node}"))
}

pub(super) fn read(
    rules: &SparkplugRules,
    topic: &str,
    payload: &[u8],
    message: &Message,
    node: Option<&mut Node>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let mut levels = topic.split('/').skip(1);
    let (Some(group), Some(kind), Some(name)) = (levels.next(), levels.next(), levels.next()) else {
        return Ok(()); // STATE, of a host
    };
    let device = levels.next();
    if !matches!(kind, "NBIRTH" | "DBIRTH" | "NDATA" | "DDATA" | "NDEATH" | "DDEATH") {
        return Ok(()); // a command, ours or another host's
    }
    let payload = Payload::decode(payload)
        .map_err(|error| Refusal::new(Reason::Malformed, format!("Sparkplug B: {error}")))?;
    if found.limit < payload.metrics.len() {
        let detail = format!("more than {} metrics in one message", found.limit);
        return Err(Refusal::new(Reason::TooManyReadings, detail));
    }
    let now = message.received_at;
    let millis = payload.timestamp.and_then(|millis| i64::try_from(millis).ok());
    let at = millis.unwrap_or(now.micros() / 1_000);
    let mut unknown = Node::default();
    let node = node.unwrap_or(&mut unknown);
    let sensor = match device {
        Some(device) => format!("{group}/{name}/{device}"),
        None => format!("{group}/{name}"),
    };
    let sensor = SensorId::adapted(&sensor);
    let device = device.unwrap_or_default();
    let says = Says { rules, sensor: &sensor, payload: &payload, now };
    match kind {
        "NDEATH" => {
            node.died(&payload);
            return Ok(());
        }
        "NBIRTH" => {
            node.born(&payload, at);
            says.readings(&Birth::new(at, &payload), found);
            return Ok(());
        }
        _ if !node.online => return Err(unborn(node, group, name, now, "the edge node was not born", found)),
        _ => {}
    }
    let born = node.births.devices.get(device).map_or(node.births.at, |birth| birth.at);
    let order = node.sequence(payload.seq, payload.timestamp.is_some() && at < born, now);
    if node.is_overdue(now) {
        found.requests.extend(node.ask(&format!("{group}/{name}"), now));
    }
    match kind {
        "DBIRTH" => {
            node.device_born(device, &payload, at)?;
            says.readings(&Birth::new(at, &payload), found);
        }
        "DDEATH" => {
            if order != Order::Again && node.births.devices.contains_key(device) {
                Arc::make_mut(&mut node.births).devices.remove(device);
            }
        }
        _ => {
            let births = node.births.clone();
            let Some(birth) = births.find(device, order, at) else {
                return Err(unborn(node, group, name, now, "the device was not born", found));
            };
            let strange = |metric: &&Metric| {
                is_measured(metric.name.as_deref().unwrap_or("?")) && birth.known(metric).is_none()
            };
            if let Some(strange) = payload.metrics.iter().find(strange) {
                let detail = match (&strange.name, strange.alias) {
                    (Some(name), _) => format!("no birth names the metric {name:?}"),
                    (None, Some(alias)) => format!("no birth explains the alias {alias}"),
                    (None, None) => "a metric has neither name nor alias".to_owned(),
                };
                return Err(unborn(node, group, name, now, &detail, found));
            }
            says.readings(birth, found);
        }
    }
    Ok(())
}

fn unborn(
    node: &mut Node,
    group: &str,
    name: &str,
    now: Time,
    detail: &str,
    found: &mut Found<'_>,
) -> Refusal {
    found.requests.extend(node.ask(&format!("{group}/{name}"), now));
    Refusal::new(Reason::Unborn, detail)
}

/// Data types of the specification, as far as they change what a number means.
const INT8: u32 = 1;
const INT16: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const BOOLEAN: u32 = 11;

/// A payload whose metrics a birth explains.
struct Says<'s> {
    rules: &'s SparkplugRules,
    sensor: &'s str,
    payload: &'s Payload,
    now: Time,
}

impl Says<'_> {
    fn readings(&self, birth: &Birth, found: &mut Found<'_>) {
        for metric in &self.payload.metrics {
            if metric.is_null == Some(true) || metric.is_transient == Some(true) {
                continue;
            }
            let Some(known) = birth.known(metric) else { continue };
            let Some(value) = value(metric, metric.datatype.unwrap_or(known.datatype)) else { continue };
            let name = MetricName::adapted(&known.name);
            if !value.is_finite() {
                found.refuse(Refusal::new(Reason::NotFinite, format!("{name} is {value}")));
                continue;
            }
            let (time, quality) = self.time_and_quality(metric);
            let sent = known.unit.as_deref().map(unit::ucum);
            let measure = self.rules.rename.get(known.name.as_str());
            let (metric, keep, kind, interval_s) = match measure {
                None => (&*name, None, Kind::Gauge, None),
                Some(Measure { metric, unit, kind, interval_s }) => {
                    (metric.as_str(), unit.as_deref(), *kind, *interval_s)
                }
            };
            let (sensor, unit, body) = (self.sensor, sent, Body::Value(value));
            found.push(Sample {
                sensor,
                metric,
                unit,
                keep,
                kind,
                interval_s,
                spans_s: None,
                time,
                quality,
                body,
            });
        }
    }

    fn time_and_quality(&self, metric: &Metric) -> (Time, Quality) {
        let sent = metric.timestamp.or(self.payload.timestamp).and_then(|millis| i64::try_from(millis).ok());
        let (time, mut quality) = match sent.and_then(|millis| millis.checked_mul(1_000)) {
            Some(micros) => (Time::from_micros(micros), Quality::GOOD),
            None => (self.now, Quality::TIME_SUBSTITUTED),
        };
        if metric.is_historical == Some(true) {
            quality |= Quality::HISTORICAL;
        }
        let said = metric.properties.as_ref().and_then(|properties| properties.get("Quality"));
        quality |= match said.and_then(|property| property.int_value) {
            Some(0) => Quality::SOURCE_BAD,
            Some(500) => Quality::STALE,
            None | Some(192) => Quality::GOOD,
            Some(_) => Quality::SOURCE_UNCERTAIN,
        };
        (time, quality)
    }
}

/// `None` for texts, bytes and the like, which are no measurements. Signed numbers travel in two's complement.
fn value(metric: &Metric, datatype: u32) -> Option<f64> {
    let int = metric.int_value.map(|int| match datatype {
        INT8 => f64::from(int as i8),
        INT16 => f64::from(int as i16),
        INT32 => f64::from(int as i32),
        _ => f64::from(int),
    });
    let long = metric.long_value.map(|long| if datatype == INT64 { long as i64 as f64 } else { long as f64 });
    let float = metric.float_value.map(f64::from).or(metric.double_value);
    let boolean = metric.boolean_value.map(|value| f64::from(u8::from(value)));
    int.or(long).or(float).or(boolean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_travel_in_two_s_complement() {
        let metric = |int| Metric { int_value: Some(int), ..Metric::default() };
        assert_eq!(value(&metric(4_294_967_289), INT32), Some(-7.0));
        assert_eq!(value(&metric(4_294_967_289), INT8), Some(-7.0));
        assert_eq!(value(&metric(4_294_967_289), 7), Some(4_294_967_289.0));
        let long = Metric { long_value: Some(u64::MAX), ..Metric::default() };
        assert_eq!(value(&long, INT64), Some(-1.0));
    }

    #[test]
    fn numbers_wrap_and_a_gap_heals() {
        let mut node = Node { online: true, expected: Some(254), ..Node::default() };
        let at = |seconds: i64| Time::from_micros(seconds * 1_000_000);
        assert_eq!(node.sequence(Some(254), false, at(0)), Order::Next);
        assert_eq!(node.sequence(Some(1), false, at(1)), Order::Ahead);
        assert_eq!(node.missing, [255, 0]);
        assert!(!node.is_overdue(at(5)) && node.is_overdue(at(6)));
        assert_eq!(node.sequence(Some(0), false, at(2)), Order::Late);
        assert_eq!(node.sequence(Some(255), false, at(2)), Order::Late);
        assert!(!node.is_overdue(at(60)));
        assert_eq!(node.sequence(Some(255), false, at(3)), Order::Again);
        assert_eq!(node.expected, Some(2));
    }

    #[test]
    fn a_node_is_asked_once_a_minute() {
        let mut node = Node::default();
        let at = |seconds: i64| Time::from_micros(seconds * 1_000_000);
        assert_eq!(node.ask("g/n", at(0)).unwrap().topic, "spBv1.0/g/NCMD/n");
        assert_eq!(node.ask("g/n", at(59)), None);
        let request = node.ask("g/n", at(60)).unwrap();
        let said = Payload::decode(request.payload.as_slice()).unwrap();
        assert_eq!(said.metrics[0].name.as_deref(), Some("Node Control/Rebirth"));
        assert_eq!(said.metrics[0].boolean_value, Some(true));
    }
}

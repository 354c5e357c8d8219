//! Payload formats become samples: one file a format. No format panics or grows on any input.
//!
//! - [`json`], [`cbor`], [`csv`], [`xml`], [`influx`], [`dsmr`]: bytes become one kind of tree
//! - [`mapped`]: the tree by the rules of a mapping, with its [`time`]s; [`held`]: what is not sent again
//! - [`senml`], [`sparkplug`]: formats that carry their own names
//! - [`inflate`]: compressed payloads; [`pseudonym`]: identifiers that must not be kept

mod cbor;
mod csv;
mod dsmr;
mod held;
mod inflate;
mod influx;
mod json;
mod mapped;
mod pseudonym;
mod senml;
mod sparkplug;
mod time;
mod xml;

use std::{borrow::Cow, fmt};

use xxhash_rust::xxh3::xxh3_64;

pub use held::Held;
pub use inflate::inflated;
pub use json::Json;
pub use pseudonym::Pseudonyms;
pub use sparkplug::{Births, Node};

use self::mapped::Around;
use crate::{
    mapping::{Captures, Format, Mapping, Place, Source, Syntax},
    memory::{Recall, Request, State},
    model::{Kind, Message, Number, Passage, Quality, Reason, Time, reason::Refusal},
};

/// Larger payloads are refused: no sensor has that much to say at once, and a parser must not be made to work.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// More readings than any gateway packs into one message.
pub const SAMPLES_MAX: usize = 5_000;

/// What one message may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// As sent, and as inflated.
    pub payload_bytes: usize,
    pub samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { payload_bytes: PAYLOAD_BYTES_MAX, samples: SAMPLES_MAX }
    }
}

/// One value, named but not yet tied to a series.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample<'s> {
    pub sensor: &'s str,
    pub metric: &'s str,
    /// As it was sent, in UCUM where that is known; absent: in the one that it is kept in.
    pub unit: Option<&'s str>,
    /// The unit that its mapping wants it kept in; absent: the registry knows.
    pub keep: Option<&'s str>,
    pub kind: Kind,
    pub interval_s: Option<u32>,
    /// Seconds that it speaks of, where the payload says so.
    pub spans_s: Option<u32>,
    pub time: Time,
    pub quality: Quality,
    pub body: Body,
}

/// As `screenline mapping try` shows it: time, sensor, metric, value, unit, kind, flags.
impl fmt::Display for Sample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { sensor, metric, time, kind, .. } = self;
        write!(f, "{time} {sensor} {metric} ")?;
        match &self.body {
            Body::Value(value) => write!(f, "{value} {}", self.unit.or(self.keep).unwrap_or("-"))?,
            Body::Event(passage) => {
                let Passage { id, speed_kmh, length_m, on_time_s, class, tags } = &**passage;
                write!(f, "id={id}")?;
                let numbers =
                    [("speed", speed_kmh, "km/h"), ("length", length_m, "m"), ("on", on_time_s, "s")];
                for (name, value, unit) in numbers {
                    value.iter().try_for_each(|value| write!(f, " {name}={value}{unit}"))?;
                }
                class.iter().try_for_each(|class| write!(f, " class={class}"))?;
                tags.iter().try_for_each(|tags| write!(f, " tags={tags}"))?;
            }
        }
        write!(f, " {kind}")?;
        if let Some(seconds) = self.interval_s {
            write!(f, "/{seconds}s")?;
        }
        self.quality.names().try_for_each(|name| write!(f, " {name}"))
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    Value(f64),
    /// Apart from the sample: most have none, and each is moved on a few times.
    Event(Box<Passage>),
}

/// Takes what a message says, one sample at a time; an error refuses that sample alone.
pub type Take<'t> = &'t mut dyn FnMut(Sample<'_>) -> Result<(), Refusal>;

/// What was found in a message so far.
pub struct Found<'f> {
    take: Take<'f>,
    limit: usize,
    /// Readings and events, the refused ones included.
    count: usize,
    /// Single readings that could not be read; their neighbours stand.
    refused: Vec<Refusal>,
    /// Values whose code no lookup lists.
    unlisted: u32,
    requests: Vec<Request>,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.limit < self.count
    }

    fn push(&mut self, sample: Sample<'_>) {
        self.count += 1;
        if !self.is_full()
            && let Err(refusal) = (self.take)(sample)
        {
            self.refused.push(refusal);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.count += 1;
        if !self.is_full() {
            self.refused.push(refusal);
        }
    }
}

/// What a message is, and what it said.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Index of the mapping's source that took it, or that would have.
    pub source: Option<usize>,
    /// As the transport or the payload numbered it.
    pub number: Option<Number>,
    /// Of what its mapping tells messages apart by: two with one identity are one.
    pub identity: Option<u64>,
    /// Readings and events found, the refused ones included.
    pub count: usize,
    pub refused: Vec<Refusal>,
    /// Values whose code no lookup lists.
    pub unlisted: u32,
    /// The reason why nothing of the message can be used: what was taken of it must be given up.
    pub refusal: Option<Refusal>,
    pub kept: Kept,
    /// What a sender must be asked.
    pub requests: Vec<Request>,
}

/// What may be kept of a payload.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Kept {
    #[default]
    Whole,
    /// As JSON, without its secrets.
    Without(Vec<u8>),
    /// It has secrets, and cannot be read to take them out.
    Nothing,
}

impl Kept {
    /// The payload as it may be kept.
    pub fn of<'p>(&'p self, payload: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Kept::Whole => Some(payload),
            Kept::Without(payload) => Some(payload),
            Kept::Nothing => None,
        }
    }
}

/// Gateways with a login of their own publish below `gateway/<name>/`; what follows is the topic that is mapped.
const GATEWAY_PREFIX: &str = "gateway/";

/// The gateway's name, where the topic has one, and the topic that is mapped.
pub fn gateway(topic: &str) -> (Option<&str>, &str) {
    match topic.strip_prefix(GATEWAY_PREFIX).and_then(|rest| rest.split_once('/')) {
        Some((name, topic)) => (Some(name), topic),
        None => (None, topic),
    }
}

/// The number that a gateway wrote as the first member of the first object:
/// `{"screenline":{"source":"north","epoch":1700000000,"seq":17},...`. Found whatever follows, so that a message of
/// which nothing else can be read is counted, and its gateway can forget it.
fn leading_number(payload: &[u8]) -> Option<Number> {
    const MEMBER: &[u8] = br#"{"screenline":"#;
    const BYTES_MAX: usize = 256; // of the member's value
    let object = payload.strip_prefix(b"[").unwrap_or(payload).strip_prefix(MEMBER)?;
    let end = object.iter().take(BYTES_MAX).position(|byte| *byte == b'}')?;
    let member = Json::parse(&object[..=end]).ok()?;
    match (member.get("source")?, member.get("epoch")?, member.get("seq")?) {
        (Json::Text(source), Json::Int(epoch), Json::Int(seq)) => Number::new(source, *epoch, *seq),
        _ => None,
    }
}

/// Why nothing of a message can be used.
enum Failed {
    /// What it holds, and whether it holds secrets, is not known.
    Unread(Refusal),
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

/// How a city reads messages.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'d> {
    pub mapping: &'d Mapping,
    pub limits: Limits,
    pub pseudonyms: &'d Pseudonyms,
}

impl Decoder<'_> {
    /// Decodes one message by the first source that takes it. `recall` holds what came before it, where its source
    /// reads by that.
    pub fn decode(&self, message: &Message, recall: Option<&mut Recall<'_>>, take: Take<'_>) -> Verdict {
        let (_, topic) = gateway(&message.topic);
        let number = message.number.clone().or_else(|| leading_number(&message.payload));
        let mut verdict = Verdict { number, ..Verdict::default() };
        let mut found = Found {
            take,
            limit: self.limits.samples,
            count: 0,
            refused: Vec::new(),
            unlisted: 0,
            requests: Vec::new(),
        };
        let mut outcome = self.read(message, topic, recall, &mut verdict, &mut found);
        let Found { limit, count, refused, unlisted, requests, .. } = found;
        if outcome.is_ok() && limit < count {
            let detail = format!("more than {limit} readings in one message");
            outcome = Err(Failed::Refused(Refusal::new(Reason::TooManyReadings, detail)));
        }
        match outcome {
            Ok(()) => (verdict.count, verdict.refused, verdict.unlisted) = (count, refused, unlisted),
            Err(failed) => {
                if let Failed::Unread(_) = failed {
                    verdict.kept = self.unread(topic);
                }
                let (Failed::Unread(refusal) | Failed::Refused(refusal)) = failed;
                verdict.refusal = Some(refusal);
            }
        }
        verdict.requests = requests;
        verdict
    }

    fn read(
        &self,
        message: &Message,
        topic: &str,
        recall: Option<&mut Recall<'_>>,
        verdict: &mut Verdict,
        found: &mut Found<'_>,
    ) -> Result<(), Failed> {
        let mut routes = self.mapping.routes(topic).peekable();
        verdict.source = routes.peek().map(|(index, ..)| *index);
        let compressed = routes.peek().is_some_and(|(_, source, _)| source.decompress);
        let bytes = self.opened(&message.payload, compressed).map_err(Failed::Unread)?;
        let mut unreadable = None;
        let mut tree: Option<(&Syntax, Json<'_>)> = None;
        for (index, source, captures) in routes {
            let Some(syntax) = source.syntax() else {
                if unreadable.is_some() {
                    break; // it was meant for a source before: what cannot be read is not ignored
                }
                verdict.source = Some(index);
                if let Format::Sparkplug(rules) = &source.format {
                    let node = self.node(index, source, topic, recall);
                    sparkplug::read(rules, topic, &bytes, message, node, found)?;
                }
                return Ok(());
            };
            if tree.as_ref().is_none_or(|(parsed, _)| *parsed != syntax) {
                match parse(syntax, &bytes) {
                    Ok(parsed) => tree = Some((syntax, parsed)),
                    // Another source for the topic may read another syntax.
                    Err(refusal) => {
                        unreadable.get_or_insert(refusal);
                        continue;
                    }
                }
            }
            let Some((_, payload)) = &mut tree else { continue };
            let place = Place::of(payload);
            if source.conditions.iter().all(|condition| condition.holds(&place)) {
                verdict.source = Some(index);
                self.take((index, source, &captures), message, payload, recall, verdict, found)?;
                return Ok(());
            }
        }
        Err(Failed::Unread(unreadable.unwrap_or_else(|| {
            let detail = match verdict.source {
                None => "no source of the mapping takes this topic",
                Some(_) => "no `where` of the sources for this topic holds",
            };
            Refusal::new(Reason::NoMapping, detail)
        })))
    }

    /// The payload as it is read: small enough, and inflated.
    fn opened<'p>(&self, payload: &'p [u8], compressed: bool) -> Result<Cow<'p, [u8]>, Refusal> {
        let (bytes, limit) = (payload.len(), self.limits.payload_bytes);
        if limit < bytes {
            return Err(Refusal::new(Reason::TooLarge, format!("{bytes} bytes, the limit is {limit}")));
        }
        if compressed { inflate::inflated(payload, limit) } else { Ok(Cow::Borrowed(payload)) }
    }

    /// Reads a tree by the source that takes it.
    fn take(
        &self,
        (index, source, captures): (usize, &Source, &Captures<'_, '_>),
        message: &Message,
        payload: &mut Json<'_>,
        recall: Option<&mut Recall<'_>>,
        verdict: &mut Verdict,
        found: &mut Found<'_>,
    ) -> Result<(), Refusal> {
        let dropped = {
            let place = Place::of(payload);
            source.drop_if.iter().any(|condition| condition.holds(&place))
        };
        if !source.secrets.is_empty() {
            hide(source, payload);
            let text = serde_json::to_vec(payload).unwrap_or_default(); // a tree of texts and numbers
            verdict.kept = Kept::Without(text);
        }
        if let (None, Some(rule)) = (&verdict.number, &source.number) {
            verdict.number = rule.find(captures, payload);
        }
        if dropped {
            return Ok(());
        }
        verdict.identity = identity(source, payload);
        match &source.format {
            Format::Senml(rules) => senml::read(rules, payload, message.received_at, found),
            Format::Mapped(rules) => {
                let (_, topic) = gateway(&message.topic);
                let state = recall.filter(|_| source.is_stateful());
                let held = state.map(|recall| recall.state(index, source, topic));
                let mut around = Around {
                    message,
                    captures,
                    identity: verdict.identity,
                    has_secrets: !source.secrets.is_empty(),
                    pseudonyms: self.pseudonyms,
                    held: held.and_then(State::held),
                };
                mapped::read(rules, payload, &mut around, found)
            }
            Format::Ignore | Format::Sparkplug(_) => Ok(()), // they have no syntax
        }
    }

    /// What is known of the edge node that a topic names.
    fn node<'r>(
        &self,
        index: usize,
        source: &Source,
        topic: &str,
        recall: Option<&'r mut Recall<'_>>,
    ) -> Option<&'r mut Node> {
        let sender = sender(source, topic);
        recall.map(|recall| recall.state(index, source, sender)).and_then(State::node)
    }

    /// What may be kept of a payload that was not read.
    fn unread(&self, topic: &str) -> Kept {
        let secret = self.mapping.routes(topic).any(|(_, source, _)| !source.secrets.is_empty());
        if secret { Kept::Nothing } else { Kept::Whole }
    }
}

/// Who sends on a topic, as far as what came before counts: an edge node and its devices are one.
pub fn sender<'t>(source: &Source, topic: &'t str) -> Cow<'t, str> {
    match &source.format {
        Format::Sparkplug(_) => sparkplug::sender(topic).map_or(Cow::Borrowed(topic), Cow::Owned),
        _ => Cow::Borrowed(topic),
    }
}

fn parse<'a>(syntax: &Syntax, payload: &'a [u8]) -> Result<Json<'a>, Refusal> {
    match syntax {
        Syntax::Json => Json::parse(payload),
        Syntax::Cbor => cbor::parse(payload),
        Syntax::Number => scalar(payload),
        Syntax::Csv(rules) => csv::parse(payload, rules),
        Syntax::Xml => xml::parse(payload),
        Syntax::Influx => influx::parse(payload),
        Syntax::Dsmr => dsmr::parse(payload),
    }
}

/// A payload that is one value: a number or a text; an empty one is null, as a broker's retained message is cleared.
fn scalar(payload: &[u8]) -> Result<Json<'_>, Refusal> {
    let text = text(payload)?.trim();
    Ok(match (text.is_empty(), text.parse::<i64>(), text.parse::<f64>()) {
        (true, ..) => Json::Null,
        (_, Ok(value), _) => Json::Int(value),
        (_, _, Ok(value)) if value.is_finite() => Json::Float(value),
        _ => Json::Text(Cow::Borrowed(text)),
    })
}

fn text(payload: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(payload)
        .map_err(|error| Refusal::new(Reason::NotUtf8, format!("byte {} is not UTF-8", error.valid_up_to())))
}

/// Takes out what must leave no trace, and shuts away what may leave as a pseudonym.
fn hide(source: &Source, payload: &mut Json<'_>) {
    for path in &source.secrets.opened {
        path.replace(payload, &mut |node| {
            Some(match node {
                Json::Text(text) => Json::Secret(text),
                Json::Int(number) => Json::Secret(Cow::Owned(number.to_string())),
                _ => Json::Null,
            })
        });
    }
    for path in &source.secrets.removed {
        path.replace(payload, &mut |node| match node {
            secret @ Json::Secret(_) => Some(secret),
            _ => None,
        });
    }
}

/// A hash of what the source's `dedup` names; `None` where nothing of it is there.
fn identity(source: &Source, payload: &Json<'_>) -> Option<u64> {
    let place = Place::of(payload);
    let mut text = source.name.to_string();
    let mut any = false;
    for path in &source.dedup {
        let node = path.find(&place).filter(|node| **node != Json::Null);
        any |= node.is_some();
        text.push('\n');
        node.iter().for_each(|node| text.push_str(&node.to_string()));
    }
    any.then(|| xxh3_64(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_number_is_found_whatever_follows() {
        let number = Number::new("north", 1_700_000_000, 17);
        let member = r#"{"screenline":{"source":"north","epoch":1700000000,"seq":17}"#;
        for rest in ["}", ",\"v\":1}", ",broken", ",\"v\":NaN}"] {
            assert_eq!(leading_number(format!("{member}{rest}").as_bytes()), number);
            assert_eq!(leading_number(format!("[{member}{rest}]").as_bytes()), number);
        }
        for other in [
            "",
            "{",
            "[",
            r#"{"v":1}"#,
            r#"{"screenline":"#,
            r#"{"screenline":{"source":"a/b","epoch":1,"seq":1}}"#,
        ] {
            assert_eq!(leading_number(other.as_bytes()), None, "{other}");
        }
    }
}

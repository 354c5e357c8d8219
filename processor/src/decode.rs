//! Payload formats become samples: one file a format. No format panics or grows on any input.

mod json;
mod mapped;
mod senml;

use std::rc::Rc;

pub use json::Json;

use crate::{
    mapping::{Captures, Format, Mapping, Source},
    model::{Kind, Message, Number, Quality, Reason, Time, reason::Refusal},
};

/// Larger payloads are refused: no sensor has that much to say at once, and a parser must not be made to work.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// More readings than any gateway packs into one message.
pub const SAMPLES_MAX: usize = 5_000;

/// What a message said, before the registry is asked.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    pub samples: Vec<Sample>,
    /// Single readings that could not be read; their neighbours stand.
    pub refused: Vec<Refusal>,
}

/// One value, named but not yet tied to a series.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub sensor: Rc<str>,
    pub metric: Rc<str>,
    pub unit: Rc<str>,
    pub kind: Kind,
    pub interval_s: Option<u32>,
    pub time: Time,
    pub quality: Quality,
    pub body: Body,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    Value(f64),
    Event {
        id: i64,
        speed_kmh: Option<f64>,
        length_m: Option<f64>,
        on_time_s: Option<f64>,
        class: Option<Box<str>>,
    },
}

/// What a message is, and what it said.
#[derive(Debug)]
pub struct Verdict {
    /// Index of the mapping's source that took it, or that would have.
    pub source: Option<usize>,
    /// As the transport or the payload numbered it.
    pub number: Option<Number>,
    /// Or the reason why nothing of the message can be used.
    pub decoded: Result<Decoded, Refusal>,
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

/// Decodes one message by the first source that takes it.
pub fn message(message: &Message, mapping: &Mapping) -> Verdict {
    let (_, topic) = gateway(&message.topic);
    let mut routes = mapping.routes(topic).peekable();
    let mut verdict = Verdict {
        source: routes.peek().map(|(index, ..)| *index),
        number: message.number.clone().or_else(|| leading_number(&message.payload)),
        decoded: Ok(Decoded::default()),
    };
    verdict.decoded = decode(message, routes, &mut verdict);
    verdict
}

fn decode<'m, 't>(
    message: &Message,
    routes: impl Iterator<Item = (usize, &'m Source, Captures<'m, 't>)>,
    verdict: &mut Verdict,
) -> Result<Decoded, Refusal> {
    if message.payload.len() > PAYLOAD_BYTES_MAX {
        let detail = format!("{} bytes, the limit is {PAYLOAD_BYTES_MAX}", message.payload.len());
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    if verdict.source.is_none() {
        return Err(Refusal::new(Reason::NoMapping, "no source of the mapping takes this topic"));
    }
    let payload = Json::parse(&message.payload)?;
    for (index, source, captures) in routes {
        if !source.conditions.iter().all(|condition| condition.holds(&payload)) {
            continue;
        }
        verdict.source = Some(index);
        if let (None, Some(rule)) = (&verdict.number, &source.number) {
            verdict.number = rule.find(&captures, &payload);
        }
        if source.drop_if.iter().any(|condition| condition.holds(&payload)) {
            return Ok(Decoded::default());
        }
        let decoded = format(message, source, &captures, &payload)?;
        if decoded.samples.len() + decoded.refused.len() > SAMPLES_MAX {
            let detail = format!("more than {SAMPLES_MAX} readings in one message");
            return Err(Refusal::new(Reason::TooManyReadings, detail));
        }
        return Ok(decoded);
    }
    Err(Refusal::new(Reason::NoMapping, "no `where` of the sources for this topic holds"))
}

fn format(
    message: &Message,
    source: &Source,
    captures: &Captures<'_, '_>,
    payload: &Json<'_>,
) -> Result<Decoded, Refusal> {
    match &source.format {
        Format::Json(rules) => mapped::samples(rules, captures, payload, message),
        Format::Senml(rules) => senml::samples(rules, payload, message.received_at),
    }
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

//! Payload formats become samples: one file a format. No format panics or grows on any input.

mod json;
mod mapped;
mod senml;

use std::rc::Rc;

pub use json::Json;

use crate::{
    mapping::{Format, Mapping, Source},
    model::{Kind, Message, Quality, Reason, Time, reason::Refusal},
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

/// Decodes one message by the first source that takes it; the index says which.
///
/// # Errors
/// The reason why nothing of the message can be used, with the source where one was found.
pub fn message(message: &Message, mapping: &Mapping) -> Result<(usize, Decoded), (Option<usize>, Refusal)> {
    let mut routes = mapping.routes(&message.topic).peekable();
    let first = routes.peek().map(|(index, ..)| *index);
    if message.payload.len() > PAYLOAD_BYTES_MAX {
        let detail = format!("{} bytes, the limit is {PAYLOAD_BYTES_MAX}", message.payload.len());
        return Err((first, Refusal::new(Reason::TooLarge, detail)));
    }
    if first.is_none() {
        return Err((None, Refusal::new(Reason::NoMapping, "no source of the mapping takes this topic")));
    }
    let payload = Json::parse(&message.payload).map_err(|refusal| (first, refusal))?;
    for (index, source, captures) in routes {
        if !source.conditions.iter().all(|condition| condition.holds(&payload)) {
            continue;
        }
        if source.drop_if.iter().any(|condition| condition.holds(&payload)) {
            return Ok((index, Decoded::default()));
        }
        let decoded =
            format(message, source, &captures, &payload).map_err(|refusal| (Some(index), refusal))?;
        if decoded.samples.len() + decoded.refused.len() > SAMPLES_MAX {
            let detail = format!("more than {SAMPLES_MAX} readings in one message");
            return Err((Some(index), Refusal::new(Reason::TooManyReadings, detail)));
        }
        return Ok((index, decoded));
    }
    Err((first, Refusal::new(Reason::NoMapping, "no `where` of the sources for this topic holds")))
}

fn format(
    message: &Message,
    source: &Source,
    captures: &crate::mapping::Captures<'_, '_>,
    payload: &Json<'_>,
) -> Result<Decoded, Refusal> {
    match &source.format {
        Format::Json(rules) => mapped::samples(rules, captures, payload, message),
        Format::Senml(rules) => senml::samples(rules, payload, message.received_at),
    }
}

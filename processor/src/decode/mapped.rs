//! JSON by the rules of a mapping.

use std::rc::Rc;

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::{Body, Decoded, Json, Sample};
use crate::{
    mapping::{
        Captures, EventRule, JsonRules, Measure, MeasureRule, Path, Quantity, ReadingRule, TimeFallback,
        TimeFormat, TimeRule, ValueRule,
    },
    model::{Message, Quality, Reason, Time, reason::Refusal},
};

pub(super) fn samples(
    rules: &JsonRules,
    captures: &Captures<'_, '_>,
    payload: &Json<'_>,
    message: &Message,
) -> Result<Decoded, Refusal> {
    let sensor =
        rules.sensor.render(captures, payload).map_err(|detail| Refusal::new(Reason::BadName, detail))?;
    let sensor: Rc<str> = sensor.into();
    let mut decoded = Decoded::default();
    for rule in &rules.readings {
        let Some(measure) = measure(rule, captures)? else { continue };
        let value = match value(rule, payload) {
            Ok(Some(value)) => value,
            Ok(None) => continue,
            Err(refusal) => {
                decoded.refused.push(refusal);
                continue;
            }
        };
        let (time, mut quality) =
            time(rule.time.as_ref().unwrap_or(&rules.time), payload, message.received_at)?;
        if rule.range.is_some_and(|(low, high)| !(low <= value && value <= high)) {
            quality |= Quality::OUT_OF_RANGE;
        }
        let body = match &rule.event {
            None => Body::Value(value),
            Some(event) => match passage(event, payload, message) {
                Ok(body) => body,
                Err(refusal) => {
                    decoded.refused.push(refusal);
                    continue;
                }
            },
        };
        decoded.samples.push(Sample {
            sensor: sensor.clone(),
            metric: measure.metric.as_str().into(),
            unit: measure.unit.as_ref().into(),
            kind: measure.kind,
            interval_s: measure.interval_s,
            time,
            quality,
            body,
        });
    }
    Ok(decoded)
}

/// `None` where a lookup does not list the code: not ours to store.
fn measure<'r>(rule: &'r ReadingRule, captures: &Captures<'_, '_>) -> Result<Option<&'r Measure>, Refusal> {
    match &rule.measure {
        MeasureRule::Fixed(measure) => Ok(Some(measure)),
        MeasureRule::Lookup { capture, measures } => match captures.get(capture) {
            Some(code) => Ok(measures.get(code)),
            None => Err(Refusal::new(Reason::BadName, format!("the topic has no {capture:?}"))),
        },
    }
}

/// `None` where nothing was measured: absent, null, or a sentinel.
fn value(rule: &ReadingRule, payload: &Json<'_>) -> Result<Option<f64>, Refusal> {
    let path = match &rule.value {
        ValueRule::Const(value) => return Ok(Some(*value)),
        ValueRule::At(path) => path,
    };
    let value = match path.find(payload) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Text(text)) if rule.number_from_string => text.trim().parse().map_err(|_| {
            Refusal::new(Reason::WrongShape, format!("{path} holds the text {text:?}, not a number"))
        })?,
        Some(node) => number(path, node)?,
    };
    if !f64::is_finite(value) {
        return Err(Refusal::new(Reason::NotFinite, format!("{path} holds {value}")));
    }
    Ok((!rule.sentinels.contains(&value)).then_some(value))
}

fn number(path: &Path, node: &Json<'_>) -> Result<f64, Refusal> {
    node.as_f64().ok_or_else(|| {
        let reason = match node.as_str() {
            Some("NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf") => Reason::NotFinite,
            _ => Reason::WrongShape,
        };
        Refusal::new(reason, format!("{path} holds {}, not a number", node.shape()))
    })
}

fn time(rule: &TimeRule, payload: &Json<'_>, received_at: Time) -> Result<(Time, Quality), Refusal> {
    let bad = |detail: String| Refusal::new(Reason::BadTime, detail);
    let Some((path, format)) = &rule.at else {
        return Ok((received_at, Quality::TIME_SUBSTITUTED));
    };
    let node = path.find(payload).filter(|node| **node != Json::Null);
    match (node, &rule.fallback) {
        (Some(node), _) => {
            let time = parse_time(node, *format);
            time.map(|time| (time, Quality::GOOD))
                .ok_or_else(|| bad(format!("{path} holds {node}, not a time")))
        }
        (None, Some(TimeFallback::Receive)) => Ok((received_at, Quality::TIME_SUBSTITUTED)),
        (None, Some(TimeFallback::At(second))) => {
            let node = second.find(payload).ok_or_else(|| bad(format!("{path} and {second} are absent")))?;
            let time = parse_time(node, *format);
            time.map(|time| (time, Quality::GOOD))
                .ok_or_else(|| bad(format!("{second} holds {node}, not a time")))
        }
        (None, None) => Err(bad(format!("{path} is absent"))),
    }
}

fn parse_time(node: &Json<'_>, format: TimeFormat) -> Option<Time> {
    match (format, node) {
        (TimeFormat::Rfc3339, Json::Text(text)) => text.parse::<Timestamp>().ok().map(Time::from),
        (TimeFormat::Unix { micros }, Json::Int(value)) if micros >= 1.0 => {
            value.checked_mul(micros as i64).map(Time::from_micros)
        }
        (TimeFormat::Unix { micros }, node) => Time::from_seconds(node.as_f64()? * (micros / 1e6)),
        _ => None,
    }
}

fn passage(rule: &EventRule, payload: &Json<'_>, message: &Message) -> Result<Body, Refusal> {
    let quantity = |quantity: &Option<Quantity>| match quantity {
        None => Ok(None),
        Some(Quantity { path, factor }) => match path.find(payload) {
            None | Some(Json::Null) => Ok(None),
            Some(node) => match number(path, node)? * factor + 0.0 {
                value if value.is_finite() => Ok(Some(value)),
                value => Err(Refusal::new(Reason::NotFinite, format!("{path} holds {value}"))),
            },
        },
    };
    let id = match &rule.id {
        // The same passage redelivered has the same bytes, so the same id.
        None => xxh3_64(&message.payload) as i64,
        Some(path) => match path.find(payload) {
            Some(Json::Int(id)) => *id,
            Some(Json::Text(text)) => xxh3_64(text.as_bytes()) as i64,
            _ => return Err(Refusal::new(Reason::WrongShape, format!("{path} holds no event id"))),
        },
    };
    let class = rule.class.as_ref().and_then(|path| path.find(payload)).and_then(Json::as_str);
    // A class is a word; a text with a NUL cannot be stored.
    let class = class.map(|class| class.chars().filter(|c| *c != '\0').take(64).collect::<String>().into());
    Ok(Body::Event {
        id,
        speed_kmh: quantity(&rule.speed)?,
        length_m: quantity(&rule.length)?,
        on_time_s: quantity(&rule.on_time)?,
        class,
    })
}

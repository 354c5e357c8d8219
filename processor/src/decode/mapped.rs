//! A tree by the rules of a mapping.

use std::{borrow::Cow, fmt::Write};

use xxhash_rust::xxh3::xxh3_64;

use super::{Body, Found, Json, Sample, held::Held, pseudonym::Pseudonyms, time};
use crate::{
    mapping::{
        Captures, EventRule, HoldRule, Item, MappedRules, Measure, MeasureRule, Parse, Path, Paths, Place,
        Quantity, ReadingRule, TimeRule, UnitRule, ValueRule,
    },
    model::{Kind, Message, MetricName, Passage, Quality, Reason, Time, reason::Refusal, unit},
};

/// What the rules read beside the tree.
pub(super) struct Around<'m> {
    pub message: &'m Message,
    pub captures: &'m Captures<'m, 'm>,
    /// Of what `dedup` names.
    pub identity: Option<u64>,
    /// Whether the payload's bytes may leave no trace, not even as a hash.
    pub has_secrets: bool,
    pub pseudonyms: &'m Pseudonyms,
    pub held: Option<&'m mut Held>,
}

pub(super) fn read(
    rules: &MappedRules,
    payload: &Json<'_>,
    around: &mut Around<'_>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let place = Place::of(payload);
    if rules.each.0.is_empty() {
        return item(rules, &place, around, found);
    }
    visit(&rules.each, &place, found, |at, found| {
        if let Err(refusal) = item(rules, &place.at(at), around, found) {
            found.refuse(refusal);
        }
    });
    Ok(())
}

/// Every item of the first path that fits something, until there are too many.
fn visit<'j, 'a>(
    paths: &Paths,
    place: &Place<'j, 'a>,
    found: &mut Found<'_>,
    mut each: impl FnMut(Item<'j, 'a>, &mut Found<'_>),
) {
    for path in &paths.0 {
        let mut any = false;
        path.visit(place, &mut |item| {
            if !matches!(item.node, Json::Null) && !found.is_full() {
                any = true;
                each(item, found);
            }
        });
        if any {
            return;
        }
    }
}

/// What all readings of an item share, computed when the first asks.
struct Shared<'r, 'j, 'a> {
    rules: &'r MappedRules,
    place: Place<'j, 'a>,
    sensor: String,
    time: Option<Timed>,
}

#[derive(Clone, Copy)]
struct Timed {
    time: Time,
    quality: Quality,
    interval: Option<i64>,
}

fn item(
    rules: &MappedRules,
    place: &Place<'_, '_>,
    around: &mut Around<'_>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let mut shared = Shared { rules, place: *place, sensor: String::new(), time: None };
    let bad_name = |detail| Refusal::new(Reason::BadName, detail);
    rules.sensor.render(around.captures, place, &mut shared.sensor).map_err(bad_name)?;
    for rule in &rules.readings {
        if rule.each.0.is_empty() {
            if rule.conditions.iter().all(|condition| condition.holds(place)) {
                reading(rule, &mut shared, place, 0, around, found)?;
            }
            continue;
        }
        let mut nth = 0;
        let mut failed = None;
        visit(&rule.each, place, found, |at, found| {
            let place = place.at(at);
            if failed.is_none() && rule.conditions.iter().all(|condition| condition.holds(&place)) {
                failed = reading(rule, &mut shared, &place, nth, around, found).err();
            }
            nth += 1;
        });
        if let Some(refusal) = failed {
            return Err(refusal);
        }
    }
    Ok(())
}

/// Where one reading stands.
struct Spot<'s, 'j, 'a> {
    place: &'s Place<'j, 'a>,
    /// Among the items of its rule's `each`.
    nth: i64,
    /// In place of the item's sensor.
    sensor: Option<&'s str>,
}

/// A measure as a rule names it for one reading.
#[derive(Clone)]
struct Named<'n> {
    metric: Cow<'n, str>,
    /// As it was sent.
    unit: Option<Cow<'n, str>>,
    /// As the mapping keeps it.
    keep: Option<&'n str>,
    kind: Kind,
    interval_s: Option<u32>,
}

impl<'n> From<&'n Measure> for Named<'n> {
    fn from(measure: &'n Measure) -> Self {
        Named {
            metric: Cow::Borrowed(measure.metric.as_str()),
            unit: None,
            keep: measure.unit.as_deref(),
            kind: measure.kind,
            interval_s: measure.interval_s,
        }
    }
}

/// An error ends the item: what it says of its sensor or its time is wrong. A value that cannot be read is refused
/// alone.
fn reading(
    rule: &ReadingRule,
    shared: &mut Shared<'_, '_, '_>,
    place: &Place<'_, '_>,
    nth: i64,
    around: &mut Around<'_>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let Some(mut named) = named(rule, place, around, found)? else { return Ok(()) };
    let mut sensor = None;
    if let Some(template) = &rule.sensor {
        let mut name = String::new();
        let bad_name = |detail| Refusal::new(Reason::BadName, detail);
        template.render(around.captures, place, &mut name).map_err(bad_name)?;
        sensor = Some(name);
    }
    let spot = Spot { place, nth, sensor: sensor.as_deref() };
    if let Some(node) = expanded(rule, place) {
        return elements(rule, shared, &named, node, &spot, around, found);
    }
    let read = match value(rule, place) {
        Ok(read) => read,
        Err(refusal) => {
            found.refuse(refusal);
            return Ok(());
        }
    };
    let read = match rule.hold {
        None => read,
        Some(HoldRule { micros }) => {
            let at = timed(rule, shared, place, around)?.time;
            let sensor = spot.sensor.unwrap_or(&shared.sensor);
            match (around.held.as_deref_mut(), read) {
                (Some(held), Some((value, _))) => {
                    held.put(sensor, &named.metric, at, value);
                    read
                }
                (Some(held), None) => held.get(sensor, &named.metric, at, micros).map(|value| (value, None)),
                (None, read) => read,
            }
        }
    };
    let Some((value, sent_unit)) = read else { return Ok(()) };
    name_unit(rule, shared.rules, &mut named, sent_unit, place);
    emit(rule, shared, &named, value, &spot, around, found)
}

/// A list or an object of values, where the rule expands one.
fn expanded<'j, 'a>(rule: &ReadingRule, place: &Place<'j, 'a>) -> Option<&'j Json<'a>> {
    let (Some(_), ValueRule::At(paths)) = (&rule.expand, &rule.value) else { return None };
    paths.find(place).map(|(_, node)| node).filter(|node| matches!(node, Json::Array(_) | Json::Object(_)))
}

fn elements(
    rule: &ReadingRule,
    shared: &mut Shared<'_, '_, '_>,
    named: &Named<'_>,
    node: &Json<'_>,
    spot: &Spot<'_, '_, '_>,
    around: &mut Around<'_>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let ValueRule::At(paths) = &rule.value else { return Ok(()) };
    let mut element = |name: &dyn std::fmt::Display, node: &Json<'_>| -> Result<(), Refusal> {
        if matches!(node, Json::Null) {
            return Ok(());
        }
        let (value, sent_unit) = match number(&paths.0[0], node, rule.parse) {
            Ok((value, _)) if is_sentinel(rule, value) => return Ok(()),
            Ok(read) => read,
            Err(refusal) => {
                found.refuse(refusal);
                return Ok(());
            }
        };
        let metric = format!("{}.{name}", named.metric);
        let mut named =
            Named { metric: Cow::Owned(MetricName::adapted(&metric).into_owned()), ..named.clone() };
        name_unit(rule, shared.rules, &mut named, sent_unit, spot.place);
        emit(rule, shared, &named, value, spot, around, found)
    };
    match node {
        Json::Array(items) => {
            let what = rule.expand.as_deref().unwrap_or_default();
            (1..).zip(items).try_for_each(|(i, node)| element(&format_args!("{what}{i}"), node))
        }
        Json::Object(entries) => entries.iter().try_for_each(|(key, node)| element(key, node)),
        _ => Ok(()),
    }
}

fn emit(
    rule: &ReadingRule,
    shared: &mut Shared<'_, '_, '_>,
    named: &Named<'_>,
    value: f64,
    spot: &Spot<'_, '_, '_>,
    around: &mut Around<'_>,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let Timed { time, mut quality, interval } = timed(rule, shared, spot.place, around)?;
    let sent_s = interval.map(|micros| micros.saturating_add(500_000) / 1_000_000);
    let sent_s = sent_s.filter(|seconds| (1..=86_400).contains(seconds)).map(|seconds| seconds as u32);
    let interval_s = sent_s.filter(|_| named.kind.covers_interval()).or(named.interval_s);
    let starts = rule.time.as_ref().unwrap_or(&shared.rules.time).starts;
    let lead = if starts { i64::from(named.interval_s.or(sent_s).unwrap_or(0)) * 1_000_000 } else { 0 };
    let steps = spot.nth.saturating_mul(rule.time_step);
    let time = Time::from_micros(time.micros().saturating_add(steps).saturating_add(lead));
    if rule.range.is_some_and(|(low, high)| !(low <= value && value <= high)) {
        quality |= Quality::OUT_OF_RANGE;
    }
    let body = match &rule.event {
        None => Body::Value(value),
        Some(event) => match passage(event, shared, time, spot.place, around) {
            Ok(passage) => Body::Event(Box::new(passage)),
            Err(refusal) => {
                found.refuse(refusal);
                return Ok(());
            }
        },
    };
    let sensor = spot.sensor.unwrap_or(&shared.sensor);
    let (metric, unit, keep) = (&*named.metric, named.unit.as_deref(), named.keep);
    let (kind, spans_s) = (named.kind, sent_s);
    found.push(Sample { sensor, metric, unit, keep, kind, interval_s, spans_s, time, quality, body });
    Ok(())
}

/// `None` where a lookup does not list the code: counted, and not ours to store.
fn named<'r>(
    rule: &'r ReadingRule,
    place: &Place<'_, '_>,
    around: &Around<'_>,
    found: &mut Found<'_>,
) -> Result<Option<Named<'r>>, Refusal> {
    let bad_name = |detail| Refusal::new(Reason::BadName, detail);
    match &rule.measure {
        MeasureRule::Fixed(measure) => Ok(Some(measure.into())),
        MeasureRule::Named { metric, unit, kind, interval_s } => {
            let mut name = String::new();
            metric.render(around.captures, place, &mut name).map_err(bad_name)?;
            let metric = Cow::Owned(MetricName::adapted(&name).into_owned());
            let (keep, kind, interval_s) = (unit.as_deref(), *kind, *interval_s);
            Ok(Some(Named { metric, unit: None, keep, kind, interval_s }))
        }
        MeasureRule::Lookup { key, measures } => {
            let mut code = String::new();
            key.render(around.captures, place, &mut code).map_err(bad_name)?;
            let measure = measures.get(code.as_str());
            if measure.is_none() {
                found.unlisted += 1;
            }
            Ok(measure.map(Named::from))
        }
    }
}

/// The unit that was sent with the value, stands elsewhere in the payload or in the metric's name, else the measure's;
/// none is the registry's.
fn name_unit<'n>(
    rule: &ReadingRule,
    rules: &'n MappedRules,
    named: &mut Named<'n>,
    sent: Option<&'n str>,
    place: &Place<'n, '_>,
) {
    if let Some(sent) = sent {
        named.unit = Some(Cow::Borrowed(sent));
        return;
    }
    match &rule.unit {
        UnitRule::Own => {}
        UnitRule::At(paths) => {
            if let Some((_, Json::Text(text))) = paths.find(place) {
                let known = rules.unit_map.get(text.as_ref()).map(|unit| &**unit);
                named.unit = Some(Cow::Borrowed(known.unwrap_or_else(|| unit::ucum(text))));
            }
        }
        UnitRule::Suffix => {
            let found = unit::suffix(&named.metric).map(|(name, unit)| (name.to_owned(), unit));
            if let Some((name, unit)) = found {
                named.metric = Cow::Owned(name);
                named.unit = Some(Cow::Borrowed(unit));
            }
        }
    }
}

fn is_sentinel(rule: &ReadingRule, value: f64) -> bool {
    rule.sentinels.iter().any(|sentinel| *sentinel == value || sentinel.is_nan() && value.is_nan())
}

/// `None` where nothing was measured: absent, null, or a sentinel. A text may carry its unit.
fn value<'j>(rule: &ReadingRule, place: &Place<'j, '_>) -> Result<Option<Read<'j>>, Refusal> {
    let (path, value, unit) = match &rule.value {
        ValueRule::Const(value) => return Ok(Some((*value, None))),
        ValueRule::At(paths) => {
            let Some((path, node)) = paths.find(place) else { return Ok(None) };
            let (value, unit) = match read_one(path, node, rule)? {
                Some(read) => read,
                None => return Ok(None),
            };
            (path, value, unit)
        }
        ValueRule::Sum(terms) => {
            let mut sum = 0.0;
            for path in terms {
                match path.find(place) {
                    None | Some(Json::Null) => return Ok(None),
                    Some(node) => match read_one(path, node, rule)? {
                        Some((value, _)) => sum += value,
                        None => return Ok(None),
                    },
                }
            }
            (&terms[0], sum, None)
        }
    };
    if !f64::is_finite(value) {
        return Err(Refusal::new(Reason::NotFinite, format!("{path} holds {value}")));
    }
    Ok(Some((value, unit)))
}

/// A value and the unit that it carried.
type Read<'j> = (f64, Option<&'j str>);

fn read_one<'j>(path: &Path, node: &'j Json<'_>, rule: &ReadingRule) -> Result<Option<Read<'j>>, Refusal> {
    if let (Json::Text(text), true) = (node, rule.parse != Parse::Number)
        && text.trim().is_empty()
    {
        return Ok(None);
    }
    let (value, unit) = number(path, node, rule.parse)?;
    Ok((!is_sentinel(rule, value)).then_some((value, unit)))
}

fn number<'j>(path: &Path, node: &'j Json<'_>, parse: Parse) -> Result<Read<'j>, Refusal> {
    if let Some(value) = node.as_f64() {
        return Ok((value, None));
    }
    let wrong = || {
        let reason = match node.as_str().map(str::trim) {
            Some("NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf") => Reason::NotFinite,
            _ => Reason::WrongShape,
        };
        Refusal::new(reason, format!("{path} holds {}, not a number", node.shape()))
    };
    let text = match (node, parse) {
        (Json::Bool(value), Parse::OnOff) => return Ok((f64::from(u8::from(*value)), None)),
        (Json::Text(text), _) => text.trim(),
        _ => return Err(wrong()),
    };
    let plain = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    Ok(match parse {
        Parse::Number => return Err(wrong()),
        Parse::Text => (plain(text)?, None),
        Parse::DecimalComma => (plain(&text.replacen(',', ".", 1))?, None),
        Parse::TextWithUnit => {
            let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
            let (number, unit) = text.split_at(end);
            let unit = unit.trim();
            (plain(number)?, (!unit.is_empty()).then(|| unit::ucum(unit)))
        }
        Parse::OnOff => match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "open" | "yes" | "1" => (1.0, None),
            "off" | "false" | "closed" | "no" | "0" => (0.0, None),
            _ => return Err(wrong()),
        },
    })
}

/// When a reading was taken. What the source says for all readings of an item is read once.
fn timed(
    rule: &ReadingRule,
    shared: &mut Shared<'_, '_, '_>,
    place: &Place<'_, '_>,
    around: &Around<'_>,
) -> Result<Timed, Refusal> {
    if let Some(own) = &rule.time {
        return time_of(own, place, around);
    }
    if let Some(timed) = shared.time {
        return Ok(timed);
    }
    let place = &shared.place;
    let timed = match &shared.rules.interval {
        None => time_of(&shared.rules.time, place, around)?,
        Some(interval) => {
            let end = || {
                let (paths, node) = (&interval.end, interval.end.find(place));
                let time = node.and_then(|(_, node)| time::parse(node, &interval.format));
                time.ok_or_else(|| Refusal::new(Reason::BadTime, format!("{paths} holds no time")))
            };
            let start = interval.start.find(place).and_then(|(_, node)| time::parse(node, &interval.format));
            let mut timed = match shared.rules.time.at {
                None if !shared.rules.time.receive => {
                    Timed { time: end()?.0, quality: Quality::GOOD, interval: None }
                }
                _ => time_of(&shared.rules.time, place, around)?,
            };
            let span = start.zip(end().ok()).map(|((start, _), (end, _))| end.micros() - start.micros());
            timed.interval = span.filter(|micros| 0 < *micros).or(timed.interval);
            timed
        }
    };
    shared.time = Some(timed);
    Ok(timed)
}

fn time_of(rule: &TimeRule, place: &Place<'_, '_>, around: &Around<'_>) -> Result<Timed, Refusal> {
    let substituted =
        Timed { time: around.message.received_at, quality: Quality::TIME_SUBSTITUTED, interval: None };
    let Some(at) = &rule.at else { return Ok(substituted) };
    let bad = |detail: String| Err(Refusal::new(Reason::BadTime, detail));
    match at.paths.find(place) {
        Some((path, node)) => match time::parse(node, &at.format) {
            Some((time, interval)) => Ok(Timed { time, quality: Quality::GOOD, interval }),
            None => bad(format!("{path} holds {node}, not a time")),
        },
        None if rule.receive => Ok(substituted),
        None => bad(format!("{} is absent", at.paths)),
    }
}

fn passage(
    rule: &EventRule,
    shared: &Shared<'_, '_, '_>,
    time: Time,
    place: &Place<'_, '_>,
    around: &Around<'_>,
) -> Result<Passage, Refusal> {
    let quantity = |quantity: &Option<Quantity>| {
        let Some(Quantity { at, factor }) = quantity else { return Ok(None) };
        let Some((path, node)) = at.find(place) else { return Ok(None) };
        match number(path, node, Parse::Text)?.0 * factor + 0.0 {
            value if value.is_finite() => Ok(Some(value)),
            value => Err(Refusal::new(Reason::NotFinite, format!("{path} holds {value}"))),
        }
    };
    let id = match (rule.id.find(place), around.identity) {
        (Some((_, Json::Int(id))), _) => *id,
        (Some((_, Json::Text(text))), _) => match text.parse() {
            Ok(id) => id,
            Err(_) => xxh3_64(text.as_bytes()) as i64,
        },
        _ if !rule.id.0.is_empty() => {
            return Err(Refusal::new(Reason::WrongShape, format!("{} holds no event id", rule.id)));
        }
        (_, Some(identity)) if place.item(0).is_none() => identity as i64,
        // The same passage redelivered has the same bytes, so the same id.
        (_, identity) => match place.item(0) {
            None if !around.has_secrets => xxh3_64(&around.message.payload) as i64,
            item => {
                let node = item.map_or_else(|| place.payload(), |item| item.node);
                let text = serde_json::to_string(node).unwrap_or_default(); // a tree of texts and numbers
                xxh3_64(format!("{identity:?}{text}").as_bytes()) as i64
            }
        },
    };
    let word = |paths: &Paths, place: &Place<'_, '_>| {
        let text = paths.find(place).and_then(|(_, node)| node.as_str());
        // A class is a word; a text with a NUL cannot be stored.
        text.map(|text| text.chars().filter(|c| *c != '\0').take(64).collect::<String>())
    };
    let mut class = word(&rule.class, place);
    let mut tags = String::new();
    for tag in &shared.rules.tags {
        if &*tag.name == "class" {
            class = class.or_else(|| word(&tag.at, &shared.place));
            continue;
        }
        let value = match tag.at.find(&shared.place).map(|(_, node)| node) {
            Some(Json::Secret(secret)) => around.pseudonyms.of(secret, time),
            Some(node @ (Json::Bool(_) | Json::Int(_) | Json::Float(_))) => Some(node.to_string()),
            _ => word(&tag.at, &shared.place),
        };
        if let Some(value) = value {
            let (name, value) = (serde_json::Value::from(&*tag.name), serde_json::Value::from(value));
            let _ = write!(tags, "{}{name}:{value}", if tags.is_empty() { "{" } else { "," }); // to a String
        }
    }
    if !tags.is_empty() {
        tags.push('}');
    }
    Ok(Passage {
        id,
        speed_kmh: quantity(&rule.speed)?,
        length_m: quantity(&rule.length)?,
        on_time_s: quantity(&rule.on_time)?,
        class: class.map(Into::into),
        tags: (!tags.is_empty()).then(|| tags.into()),
    })
}

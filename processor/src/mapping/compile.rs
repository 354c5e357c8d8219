//! From TOML to rules: everything a mapping can get wrong is found here, before the first message.

use std::collections::HashMap;

use serde::Deserialize;
use toml::Spanned;

use super::{
    Condition, EventRule, Format, JsonRules, MappingError, Measure, MeasureRule, NumberRule, Quantity,
    ReadingRule, Scalar, SenmlRules, Source, Template, TimeFallback, TimeFormat, TimeRule, ValueRule,
};
use crate::model::{Kind, unit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    source: Vec<Spanned<RawSource>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    name: String,
    topic: String,
    format: String,
    #[serde(default, rename = "where")]
    conditions: Vec<RawCondition>,
    #[serde(default)]
    drop_if: Vec<RawCondition>,
    number: Option<RawNumber>,
    sensor: Option<String>,
    time: Option<RawTime>,
    #[serde(default)]
    reading: Vec<RawReading>,
    #[serde(default)]
    lookup: HashMap<String, HashMap<String, String>>,
    #[serde(default)]
    rename: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    path: String,
    eq: RawScalar,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNumber {
    source: String,
    epoch: Option<String>,
    seq: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawScalar {
    Bool(bool),
    Number(f64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTime {
    path: Option<String>,
    #[serde(rename = "as")]
    format: Option<String>,
    fallback: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReading {
    metric: Option<String>,
    from_lookup: Option<String>,
    value: Option<String>,
    #[serde(rename = "const")]
    constant: Option<f64>,
    unit: Option<String>,
    kind: Option<String>,
    interval_s: Option<u32>,
    #[serde(default)]
    sentinel: Vec<f64>,
    parse: Option<String>,
    range: Option<[f64; 2]>,
    time: Option<RawTime>,
    event: Option<RawEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    id: Option<String>,
    speed: Option<RawQuantity>,
    length: Option<RawQuantity>,
    on_time: Option<RawQuantity>,
    class: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuantity {
    path: String,
    unit: String,
}

/// The sources of one file, each with its line.
pub(super) fn sources(file: &str, text: &str) -> Result<Vec<(usize, Source)>, MappingError> {
    let invalid = |line, message| MappingError::Invalid { file: file.to_owned(), line, message };
    let line_at = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let raw: RawFile = toml::from_str(text)
        .map_err(|error| invalid(error.span().map(|span| line_at(span.start)), error.message().to_owned()))?;
    let mut sources = Vec::with_capacity(raw.source.len());
    for raw in raw.source {
        let line = line_at(raw.span().start);
        let raw = raw.into_inner();
        let name = raw.name.clone();
        let source =
            source(raw).map_err(|message| invalid(Some(line), format!("source {name:?}: {message}")))?;
        sources.push((line, source));
    }
    Ok(sources)
}

fn source(raw: RawSource) -> Result<Source, String> {
    let topic: super::TopicPattern = raw.topic.parse()?;
    let names: Vec<&str> = topic.names().collect();
    let number = raw.number.map(|raw| number(raw, &names)).transpose()?;
    let format = match raw.format.as_str() {
        "json" => {
            if !raw.rename.is_empty() {
                return Err("`rename` is for senml-json; JSON names its metrics in `reading`".to_owned());
            }
            let sensor = template("sensor", &raw.sensor.ok_or("`sensor` is missing")?, &names)?;
            let time = time(raw.time.ok_or("`time` is missing")?)?;
            if raw.reading.is_empty() {
                return Err("`reading` is missing: it lists what is measured".to_owned());
            }
            let readings =
                raw.reading.into_iter().map(|r| reading(r, &raw.lookup, &names)).collect::<Result<_, _>>()?;
            Format::Json(JsonRules { sensor, time, readings })
        }
        "senml-json" => {
            if raw.sensor.is_some() || raw.time.is_some() || !raw.reading.is_empty() || !raw.lookup.is_empty()
            {
                return Err("SenML carries its own names and times: only `rename` goes with it".to_owned());
            }
            let measure = |(name, text): (String, String)| Ok::<_, String>((name, measure(&text)?));
            Format::Senml(SenmlRules {
                rename: raw.rename.into_iter().map(measure).collect::<Result<_, _>>()?,
            })
        }
        other => return Err(format!("the format {other:?} is not known: json, senml-json")),
    };
    Ok(Source {
        name: raw.name.into(),
        topic,
        conditions: raw.conditions.into_iter().map(condition).collect::<Result<_, _>>()?,
        drop_if: raw.drop_if.into_iter().map(condition).collect::<Result<_, _>>()?,
        number,
        format,
    })
}

fn template(key: &str, text: &str, captures: &[&str]) -> Result<Template, String> {
    let template: Template = text.parse()?;
    if let Some(unknown) = template.captures().find(|name| !captures.contains(name)) {
        return Err(format!("`{key}` uses {{{unknown}}}, which the topic does not capture"));
    }
    Ok(template)
}

fn number(raw: RawNumber, captures: &[&str]) -> Result<NumberRule, String> {
    Ok(NumberRule {
        source: template("number.source", &raw.source, captures)?,
        epoch: raw.epoch.map(|path| path.parse()).transpose()?,
        seq: raw.seq.parse()?,
    })
}

fn condition(raw: RawCondition) -> Result<Condition, String> {
    let equals = match raw.eq {
        RawScalar::Bool(value) => Scalar::Bool(value),
        RawScalar::Number(value) => Scalar::Number(value),
        RawScalar::Text(text) => Scalar::Text(text),
    };
    Ok(Condition { path: raw.path.parse()?, equals })
}

fn time(raw: RawTime) -> Result<TimeRule, String> {
    let format = match raw.format.as_deref() {
        Some("receive") => {
            if raw.path.is_some() || raw.fallback.is_some() {
                return Err("`time` as \"receive\" has neither path nor fallback".to_owned());
            }
            return Ok(TimeRule { at: None, fallback: Some(TimeFallback::Receive) });
        }
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("unix_s") => TimeFormat::Unix { micros: 1e6 },
        Some("unix_ms") => TimeFormat::Unix { micros: 1e3 },
        Some("unix_ns") => TimeFormat::Unix { micros: 1e-3 },
        Some(other) => {
            return Err(format!(
                "`time` as {other:?} is not known: rfc3339, unix_s, unix_ms, unix_ns, receive"
            ));
        }
    };
    let path = raw.path.ok_or("`time` needs a path, or as = \"receive\"")?.parse()?;
    let fallback = match raw.fallback.as_deref() {
        None => None,
        Some("receive") => Some(TimeFallback::Receive),
        Some(path) => Some(TimeFallback::At(path.parse()?)),
    };
    Ok(TimeRule { at: Some((path, format)), fallback })
}

fn reading(
    raw: RawReading,
    lookups: &HashMap<String, HashMap<String, String>>,
    captures: &[&str],
) -> Result<ReadingRule, String> {
    let measure = match (raw.metric, raw.from_lookup) {
        (Some(metric), None) => MeasureRule::Fixed(Measure {
            unit: raw.unit.ok_or_else(|| format!("reading {metric:?} has no `unit`"))?.into(),
            kind: raw.kind.as_deref().unwrap_or("gauge").parse()?,
            interval_s: interval(raw.interval_s)?,
            metric: metric.parse()?,
        }),
        (None, Some(capture)) => {
            if !captures.contains(&capture.as_str()) {
                return Err(format!("`from_lookup` uses {capture:?}, which the topic does not capture"));
            }
            let table = lookups.get(&capture).ok_or_else(|| format!("there is no `lookup.{capture}`"))?;
            let entry =
                |(code, text): (&String, &String)| Ok::<_, String>((code.clone(), self::measure(text)?));
            MeasureRule::Lookup { measures: table.iter().map(entry).collect::<Result<_, _>>()?, capture }
        }
        _ => return Err("a reading has either `metric` or `from_lookup`".to_owned()),
    };
    let value = match (raw.value, raw.constant) {
        (Some(path), None) => ValueRule::At(path.parse()?),
        (None, Some(value)) if value.is_finite() => ValueRule::Const(value),
        _ => return Err("a reading has either `value`, a path, or `const`, a number".to_owned()),
    };
    let is_event = matches!(&measure, MeasureRule::Fixed(Measure { kind: Kind::Event, .. }));
    if is_event != raw.event.is_some() {
        return Err("`event` and kind = \"event\" go together".to_owned());
    }
    let number_from_string = match raw.parse.as_deref() {
        None => false,
        Some("number_from_string") => true,
        Some(other) => return Err(format!("`parse` {other:?} is not known: number_from_string")),
    };
    Ok(ReadingRule {
        measure,
        value,
        sentinels: raw.sentinel,
        number_from_string,
        range: raw.range.map(|[low, high]| (low, high)),
        time: raw.time.map(time).transpose()?,
        event: raw.event.map(event).transpose()?,
    })
}

fn event(raw: RawEvent) -> Result<EventRule, String> {
    let quantity = |raw: Option<RawQuantity>, to: &str| {
        let convert = |raw: RawQuantity| {
            let conversion = unit::conversion(&raw.unit, to);
            let conversion = conversion.ok_or_else(|| format!("{:?} does not convert to {to}", raw.unit))?;
            Ok::<_, String>(Quantity { path: raw.path.parse()?, factor: conversion.scale })
        };
        raw.map(convert).transpose()
    };
    Ok(EventRule {
        id: raw.id.map(|path| path.parse()).transpose()?,
        speed: quantity(raw.speed, "km/h")?,
        length: quantity(raw.length, "m")?,
        on_time: quantity(raw.on_time, "s")?,
        class: raw.class.map(|path| path.parse()).transpose()?,
    })
}

/// `metric|unit|kind` or `metric|unit|kind|interval_s`.
fn measure(text: &str) -> Result<Measure, String> {
    let parts: Vec<&str> = text.split('|').collect();
    let (metric, unit, kind, seconds) = match parts[..] {
        [metric, unit, kind] => (metric, unit, kind, None),
        [metric, unit, kind, seconds] => {
            let seconds =
                seconds.parse().map_err(|_| format!("{text:?}: {seconds:?} is no number of seconds"))?;
            (metric, unit, kind, Some(seconds))
        }
        _ => return Err(format!("{text:?} is not \"metric|unit|kind\" or \"metric|unit|kind|interval_s\"")),
    };
    Ok(Measure {
        metric: metric.parse()?,
        unit: unit.into(),
        kind: kind.parse()?,
        interval_s: interval(seconds)?,
    })
}

fn interval(seconds: Option<u32>) -> Result<Option<u32>, String> {
    match seconds {
        Some(seconds) if !(1..=86_400).contains(&seconds) => {
            Err(format!("an interval of {seconds} s is not between 1 s and a day"))
        }
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::mapping::Mapping;

    fn check_error(text: &str, expected: Expect) {
        expected.assert_eq(&Mapping::parse(&[("city.toml", text)]).unwrap_err().to_string());
    }

    #[test]
    fn a_wrong_mapping_names_file_line_and_what_was_expected() {
        check_error(
            "\n[[source]]\nname = \"a\"\ntopic = \"t/#\"\nformat = \"xml\"\n",
            expect![[r#"mapping city.toml:2: source "a": the format "xml" is not known: json, senml-json"#]],
        );
        check_error(
            "[[source]]\nname = \"a\"\ntopic = \"t/#\"\nformat = \"json\"\nsensr = \"x\"\n",
            expect![[
                r#"mapping city.toml:5: unknown field `sensr`, expected one of `name`, `topic`, `format`, `where`, `drop_if`, `number`, `sensor`, `time`, `reading`, `lookup`, `rename`"#
            ]],
        );
        check_error(
            "[[source]]\nname = \"a\"\ntopic = \"t/{id}\"\nformat = \"json\"\nsensor = \"{dev}\"\ntime = { as = \"receive\" }\nreading = []\n",
            expect![[
                r#"mapping city.toml:1: source "a": `sensor` uses {dev}, which the topic does not capture"#
            ]],
        );
    }
}

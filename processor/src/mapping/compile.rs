//! From TOML to rules: everything a mapping can get wrong is found here, before the first message.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::{
    Condition, CsvRules, EventRule, Format, HoldRule, IntervalRule, MappedRules, MappingError, Measure,
    MeasureRule, NumberRule, Parse, Path, Paths, Quantity, ReadingRule, Scalar, Secrets, SenmlRules, Source,
    SparkplugRules, Syntax, TagRule, Template, Test, TimeAt, TimeFormat, TimeRule, TopicPattern, UnitRule,
    ValueRule,
    raw::{
        RawCondition, RawCsv, RawEvent, RawFile, RawInterval, RawNumber, RawQuantity, RawReading, RawScalar,
        RawSource, RawTag, RawTime, Several,
    },
};
use crate::model::{Fold, Kind, unit};

/// The sources of one file, each with its line.
pub(super) fn sources(file: &str, text: &str) -> Result<Vec<(usize, Source)>, MappingError> {
    let invalid = |line, message| MappingError::Invalid { file: file.to_owned(), line, message };
    let line_at = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let raw: RawFile = toml::from_str(text)
        .map_err(|error| invalid(error.span().map(|span| line_at(span.start)), error.message().to_owned()))?;
    let mut sources = Vec::with_capacity(raw.source.len());
    for raw in raw.source {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let name = raw.name.clone();
        let source = source(raw).map_err(|Wrong { at: inner, message }| {
            invalid(Some(line_at(inner.unwrap_or(at))), format!("source {name:?}: {message}"))
        })?;
        sources.push((line_at(at), source));
    }
    Ok(sources)
}

/// What is wrong, and where if it is not the source as a whole.
struct Wrong {
    at: Option<usize>,
    message: String,
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Wrong { at: None, message }
    }
}

impl From<&str> for Wrong {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

const FORMATS: &str =
    "json, number, csv, xml, influx, dsmr, cbor, senml-json, senml-cbor, sparkplug-b, ignore";

fn source(mut raw: RawSource) -> Result<Source, Wrong> {
    let topic: TopicPattern = raw.topic.parse()?;
    let names: Vec<&str> = topic.names().collect();
    let number = raw.number.take().map(|raw| number(raw, &names)).transpose()?;
    let decompress = match raw.compression.as_deref() {
        None | Some("auto") => true,
        Some("none") => false,
        Some(other) => return Err(format!("`compression` {other:?} is not known: auto, none").into()),
    };
    let conditions =
        std::mem::take(&mut raw.conditions).into_iter().map(condition).collect::<Result<_, _>>()?;
    let drop_if = std::mem::take(&mut raw.drop_if).into_iter().map(condition).collect::<Result<_, _>>()?;
    let dedup = raw.dedup.iter().map(|path| path.parse()).collect::<Result<Vec<Path>, _>>()?;
    let redact = raw.redact.iter().map(|path| path.parse()).collect::<Result<Vec<Path>, _>>()?;
    let name = raw.name.as_str().into();
    if raw.csv.is_some() && raw.format != "csv" {
        return Err("`csv` goes with format = \"csv\"".into());
    }
    let mut secrets = Secrets { removed: redact, opened: Vec::new() };
    let format = match raw.format.as_str() {
        "ignore" => {
            named_only(&raw, "a source that is ignored")?;
            Format::Ignore
        }
        "senml-json" | "senml-cbor" => {
            named_only(&raw, "SenML carries its own names and times: only `rename` goes with it")?;
            let syntax = if raw.format == "senml-json" { Syntax::Json } else { Syntax::Cbor };
            Format::Senml(SenmlRules { syntax, rename: measures(&raw.rename)? })
        }
        "sparkplug-b" => {
            named_only(&raw, "Sparkplug B carries its own names and times: only `rename` goes with it")?;
            if !secrets.removed.is_empty() || !dedup.is_empty() {
                return Err("`redact` and `dedup` are paths, and Sparkplug B has none".into());
            }
            if topic.filter() != "spBv1.0/#" {
                return Err("Sparkplug B has its own topics: topic = \"spBv1.0/#\"".into());
            }
            Format::Sparkplug(SparkplugRules { rename: measures(&raw.rename)? })
        }
        other => {
            let csv = raw.csv.take();
            let syntax = match other {
                "json" => Syntax::Json,
                "cbor" => Syntax::Cbor,
                "number" => Syntax::Number,
                "xml" => Syntax::Xml,
                "influx" => Syntax::Influx,
                "dsmr" => Syntax::Dsmr,
                "csv" => Syntax::Csv(self::csv(csv)?),
                _ => return Err(format!("the format {other:?} is not known: {FORMATS}").into()),
            };
            if !raw.rename.is_empty() {
                return Err("`rename` is for SenML and Sparkplug B; here `reading` names the metrics".into());
            }
            let rules = mapped(raw, syntax, &names)?;
            for each in or_whole(&rules.each) {
                let below = |path: &Path| path.below(each);
                let pseudonyms = rules.tags.iter().filter(|tag| tag.pseudonym);
                secrets.opened.extend(pseudonyms.flat_map(|tag| tag.at.0.iter().map(below)));
            }
            Format::Mapped(Box::new(rules))
        }
    };
    Ok(Source { name, topic, conditions, drop_if, number, decompress, dedup, secrets, format })
}

/// The paths that rules are repeated for, or once the whole payload.
fn or_whole(each: &Paths) -> Vec<Option<&Path>> {
    if each.0.is_empty() { vec![None] } else { each.0.iter().map(Some).collect() }
}

fn named_only(raw: &RawSource, what: &str) -> Result<(), Wrong> {
    let bare = raw.sensor.is_none()
        && raw.time.is_none()
        && raw.interval.is_none()
        && raw.each.is_none()
        && raw.reading.is_empty()
        && raw.lookup.is_empty()
        && raw.tags.is_empty()
        && raw.unit_map.is_empty();
    if bare { Ok(()) } else { Err(what.into()) }
}

fn csv(raw: Option<RawCsv>) -> Result<CsvRules, Wrong> {
    let Some(raw) = raw else { return Ok(CsvRules { delimiter: b',', columns: None, comment: None }) };
    let byte = |what: &str, text: &str| match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Wrong::from(format!("`csv.{what}` {text:?} is not one ASCII character"))),
    };
    Ok(CsvRules {
        delimiter: raw.delimiter.as_deref().map_or(Ok(b','), |text| byte("delimiter", text))?,
        columns: raw.columns,
        comment: raw.comment.as_deref().map(|text| byte("comment", text)).transpose()?,
    })
}

fn mapped(raw: RawSource, syntax: Syntax, names: &[&str]) -> Result<MappedRules, Wrong> {
    let sensor = template("sensor", &raw.sensor.ok_or("`sensor` is missing")?, names)?;
    let each = paths(raw.each)?;
    let interval = raw.interval.map(interval_rule).transpose()?;
    let time = match (raw.time, &interval) {
        (Some(raw), _) => time(raw)?,
        (None, Some(_)) => TimeRule { at: None, receive: false, starts: false },
        (None, None) => return Err("`time` is missing".into()),
    };
    if raw.reading.is_empty() {
        return Err("`reading` is missing: it lists what is measured".into());
    }
    let textual = matches!(syntax, Syntax::Csv(_) | Syntax::Xml);
    let context = Context { lookups: &raw.lookup, captures: names, textual };
    let mut readings = Vec::with_capacity(raw.reading.len());
    for raw in raw.reading {
        let at = raw.span().start;
        let in_reading = |wrong: Wrong| Wrong { at: Some(at), ..wrong };
        readings.push(reading(raw.into_inner(), &context).map_err(in_reading)?);
    }
    let mut tags = raw.tags.into_iter().map(tag).collect::<Result<Vec<_>, _>>()?;
    tags.sort_by(|a, b| a.name.cmp(&b.name));
    if !tags.is_empty() && readings.iter().all(|reading| reading.event.is_none()) {
        return Err("`tags` stand beside events, and no reading is one: put what is known of a sensor into the registry".into());
    }
    let mut holding = readings.iter().filter(|reading| reading.hold.is_some()).peekable();
    if holding.peek().is_some() && each.0.iter().any(Path::is_open)
        || holding.any(|reading| !reading.each.0.is_empty())
    {
        return Err("`hold` remembers one value a metric: it does not go with `each`".into());
    }
    let unit_map = raw.unit_map.into_iter().map(|(sent, unit)| Ok((sent, known_unit(&unit)?)));
    let unit_map = unit_map.collect::<Result<_, Wrong>>()?;
    Ok(MappedRules { syntax, each, sensor, time, interval, readings, tags, unit_map })
}

fn template(key: &str, text: &str, captures: &[&str]) -> Result<Template, Wrong> {
    let template: Template = text.parse()?;
    if let Some(unknown) = template.captures().find(|name| !captures.contains(name)) {
        return Err(format!("`{key}` uses {{{unknown}}}, which the topic does not capture").into());
    }
    Ok(template)
}

fn paths(raw: Option<Several>) -> Result<Paths, Wrong> {
    let texts = raw.map(|raw| raw.0).unwrap_or_default();
    Ok(Paths(texts.iter().map(|text| text.parse()).collect::<Result<_, String>>()?))
}

fn number(raw: RawNumber, captures: &[&str]) -> Result<NumberRule, Wrong> {
    Ok(NumberRule {
        source: template("number.source", &raw.source, captures)?,
        epoch: raw.epoch.map(|path| path.parse()).transpose()?,
        seq: raw.seq.parse()?,
    })
}

fn condition(raw: RawCondition) -> Result<Condition, Wrong> {
    let scalar = |raw| match raw {
        RawScalar::Bool(value) => Scalar::Bool(value),
        RawScalar::Number(value) => Scalar::Number(value),
        RawScalar::Text(text) => Scalar::Text(text),
    };
    let mut tests = Vec::new();
    tests.extend(raw.eq.map(|value| Test::In(vec![scalar(value)])));
    tests.extend(raw.ne.map(|value| Test::NotIn(vec![scalar(value)])));
    tests.extend(raw.any_of.map(|values| Test::In(values.into_iter().map(scalar).collect())));
    tests.extend(raw.none_of.map(|values| Test::NotIn(values.into_iter().map(scalar).collect())));
    tests.extend(raw.exists.map(Test::Exists));
    tests.extend(raw.is.map(|is| is.parse().map(Test::Is)).transpose()?);
    match tests.pop() {
        Some(test) if tests.is_empty() => {
            let at = if raw.path.0 == ["@key"] { None } else { Some(paths(Some(raw.path))?) };
            Ok(Condition { at, test })
        }
        _ => Err("a condition has a path and one of eq, ne, in, not_in, exists, is".into()),
    }
}

fn time(raw: RawTime) -> Result<TimeRule, Wrong> {
    let starts = match raw.label.as_deref() {
        None | Some("end") => false,
        Some("start") => true,
        Some(other) => return Err(format!("`label` {other:?} is neither start nor end").into()),
    };
    if raw.format.as_deref() == Some("receive") {
        if raw.path.is_some() || raw.fallback.is_some() {
            return Err("`time` as \"receive\" has neither path nor fallback".into());
        }
        return Ok(TimeRule { at: None, receive: true, starts });
    }
    let zone = raw.tz.as_deref().map(zone).transpose()?;
    let fold = raw.fold.as_deref().map_or(Ok(Fold::Earlier), str::parse)?;
    let local =
        |what: &str| zone.clone().ok_or(format!("`time` as {what:?} needs `tz`, such as \"Europe/Berlin\""));
    let format = match raw.format.as_deref().unwrap_or("rfc3339") {
        "rfc3339" => TimeFormat::Rfc3339,
        "unix_s" => TimeFormat::Unix { micros: 1e6 },
        "unix_ms" => TimeFormat::Unix { micros: 1e3 },
        "unix_us" => TimeFormat::Unix { micros: 1.0 },
        "unix_ns" => TimeFormat::Unix { micros: 1e-3 },
        "local" => TimeFormat::Local { zone: local("local")?, fold },
        "dsmr" => TimeFormat::Dsmr { zone: local("dsmr")? },
        "strptime" => {
            let pattern =
                raw.pattern.ok_or("`time` as \"strptime\" needs `pattern`, such as \"%d/%m/%Y %H:%M\"")?;
            TimeFormat::Strptime { pattern, zone: zone.clone().unwrap_or(TimeZone::UTC), fold }
        }
        other => {
            return Err(format!(
                "`time` as {other:?} is not known: rfc3339, unix_s, unix_ms, unix_us, unix_ns, local, strptime, dsmr, receive"
            )
            .into());
        }
    };
    let mut paths = paths(Some(raw.path.ok_or("`time` needs a path, or as = \"receive\"")?))?;
    let mut receive = false;
    for text in raw.fallback.map(|raw| raw.0).unwrap_or_default() {
        match text.as_str() {
            "receive" => receive = true,
            path => paths.0.push(path.parse()?),
        }
    }
    Ok(TimeRule { at: Some(TimeAt { paths, format }), receive, starts })
}

fn zone(name: &str) -> Result<TimeZone, Wrong> {
    TimeZone::get(name).map_err(|_| format!("{name:?} is no IANA time zone").into())
}

fn interval_rule(raw: RawInterval) -> Result<IntervalRule, Wrong> {
    let format = RawTime {
        format: raw.format,
        tz: raw.tz,
        path: Some(Several(vec![String::new()])),
        ..RawTime::default()
    };
    let Some(TimeAt { format, .. }) = time(format)?.at else {
        return Err("`interval` needs the times of its start and its end".into());
    };
    Ok(IntervalRule { start: paths(Some(raw.start))?, end: paths(Some(raw.end))?, format })
}

/// What the readings of a source share.
struct Context<'c> {
    lookups: &'c HashMap<String, HashMap<String, String>>,
    captures: &'c [&'c str],
    /// Whether numbers are texts anyway.
    textual: bool,
}

fn reading(raw: RawReading, context: &Context<'_>) -> Result<ReadingRule, Wrong> {
    let kind: Kind = raw.kind.as_deref().unwrap_or("gauge").parse()?;
    let unit = match (&raw.unit, raw.unit_path, raw.unit_suffix) {
        (_, None, false) => UnitRule::Own,
        (None, Some(path), false) => UnitRule::At(paths(Some(path))?),
        (None, None, true) => UnitRule::Suffix,
        _ => return Err("a reading has one of `unit`, `unit_path` and `unit_suffix`".into()),
    };
    let own_unit = raw.unit.as_deref().map(known_unit).transpose()?;
    let measure = match (raw.metric, raw.from_lookup) {
        (Some(metric), None) => {
            let metric = template("metric", &metric, context.captures)?;
            let interval_s = interval(raw.interval_s)?;
            match metric.text() {
                Some(text) => {
                    MeasureRule::Fixed(Measure { unit: own_unit, kind, interval_s, metric: text.parse()? })
                }
                None => MeasureRule::Named { metric, unit: own_unit, kind, interval_s },
            }
        }
        (None, Some(table)) => {
            let key = raw.key.unwrap_or_else(|| format!("{{{table}}}"));
            let key = template("from_lookup", &key, context.captures)?;
            let table = context.lookups.get(&table).ok_or_else(|| format!("there is no `lookup.{table}`"))?;
            MeasureRule::Lookup { measures: measures(table)?, key }
        }
        _ => return Err("a reading has either `metric` or `from_lookup`".into()),
    };
    let value = match (raw.value, raw.sum, raw.constant) {
        (Some(path), None, None) => ValueRule::At(paths(Some(path))?),
        (None, Some(terms), None) if !terms.0.is_empty() => ValueRule::Sum(paths(Some(terms))?.0),
        (None, None, Some(value)) if value.is_finite() => ValueRule::Const(value),
        _ => return Err("a reading has one of `value`, a path, `sum`, paths, and `const`, a number".into()),
    };
    let is_event = matches!(
        &measure,
        MeasureRule::Fixed(Measure { kind: Kind::Event, .. }) | MeasureRule::Named { kind: Kind::Event, .. }
    );
    if raw.event.is_some() && !is_event {
        return Err("`event` goes with kind = \"event\"".into());
    }
    let parse = match raw.parse.as_deref() {
        None if context.textual => Parse::Text,
        None => Parse::Number,
        Some("number_from_string") => Parse::Text,
        Some("number_with_unit") => Parse::TextWithUnit,
        Some("decimal_comma") => Parse::DecimalComma,
        Some("on_off") => Parse::OnOff,
        Some(other) => {
            return Err(format!(
                "`parse` {other:?} is not known: number_from_string, number_with_unit, decimal_comma, on_off"
            )
            .into());
        }
    };
    if let Some([low, high]) = raw.range
        && (low.is_nan() || high.is_nan() || high < low)
    {
        return Err(format!("`range` from {low} to {high} holds nothing").into());
    }
    if let Some(name) = raw.expand.as_deref()
        && !crate::model::MetricName::allows(name)
    {
        return Err(format!("`expand` {name:?} cannot be a part of a metric's name").into());
    }
    let conditions = raw.conditions.into_iter().map(condition).collect::<Result<_, _>>()?;
    Ok(ReadingRule {
        conditions,
        each: paths(raw.each)?,
        sensor: raw.sensor.map(|text| template("sensor", &text, context.captures)).transpose()?,
        measure,
        unit,
        value,
        parse,
        sentinels: raw.sentinel,
        range: raw.range.map(|[low, high]| (low, high)),
        time: raw.time.map(time).transpose()?,
        time_step: raw.time_step.as_deref().map(micros).transpose()?.unwrap_or(0),
        expand: raw.expand.map(Into::into),
        event: match raw.event {
            Some(raw) => Some(event(raw)?),
            None if is_event => Some(EventRule::default()),
            None => None,
        },
        hold: raw.hold.as_deref().map(hold).transpose()?,
    })
}

/// A span such as `-1h` or `15m`, in microseconds.
fn micros(text: &str) -> Result<i64, Wrong> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is no span of time, such as \"-1h\" or \"15m\""))?;
    i64::try_from(span.as_micros()).map_err(|_| format!("{text:?} is too long").into())
}

fn hold(text: &str) -> Result<HoldRule, Wrong> {
    match micros(text)? {
        micros if 0 < micros => Ok(HoldRule { micros }),
        _ => Err(format!("`hold` {text:?} is not longer than nothing").into()),
    }
}

fn tag((name, raw): (String, RawTag)) -> Result<TagRule, Wrong> {
    let pseudonym = match raw.pseudonym.as_deref() {
        None => false,
        Some("daily") => true,
        Some(other) => return Err(format!("`pseudonym` {other:?} is not known: daily").into()),
    };
    if name == "class" && pseudonym {
        return Err("a class is no identifier: it needs no pseudonym".into());
    }
    Ok(TagRule { name: name.into(), at: paths(Some(raw.path))?, pseudonym })
}

fn event(raw: RawEvent) -> Result<EventRule, Wrong> {
    let quantity = |raw: Option<RawQuantity>, to: &str| {
        let convert = |raw: RawQuantity| {
            let conversion = unit::conversion(&known_unit(&raw.unit)?, to);
            let conversion = conversion.ok_or_else(|| format!("{:?} does not convert to {to}", raw.unit))?;
            Ok::<_, Wrong>(Quantity { at: paths(Some(raw.path))?, factor: conversion.scale })
        };
        raw.map(convert).transpose()
    };
    Ok(EventRule {
        id: paths(raw.id)?,
        speed: quantity(raw.speed, "km/h")?,
        length: quantity(raw.length, "m")?,
        on_time: quantity(raw.on_time, "s")?,
        class: paths(raw.class)?,
    })
}

fn measures(table: &HashMap<String, String>) -> Result<HashMap<Box<str>, Measure>, Wrong> {
    table.iter().map(|(name, text)| Ok((name.as_str().into(), measure(text)?))).collect()
}

/// `metric|unit|kind` or `metric|unit|kind|interval_s`; an empty unit is the registry's.
fn measure(text: &str) -> Result<Measure, Wrong> {
    let parts: Vec<&str> = text.split('|').collect();
    let (metric, unit, kind, seconds) = match parts[..] {
        [metric, unit, kind] => (metric, unit, kind, None),
        [metric, unit, kind, seconds] => {
            let seconds =
                seconds.parse().map_err(|_| format!("{text:?}: {seconds:?} is no number of seconds"))?;
            (metric, unit, kind, Some(seconds))
        }
        _ => {
            return Err(
                format!("{text:?} is not \"metric|unit|kind\" or \"metric|unit|kind|interval_s\"").into()
            );
        }
    };
    let kind: Kind = kind.parse()?;
    if kind == Kind::Event {
        return Err(format!(
            "{text:?}: an event is no kind of a looked-up metric; give it a reading of its own"
        )
        .into());
    }
    Ok(Measure {
        metric: metric.parse()?,
        unit: (!unit.is_empty()).then(|| known_unit(unit)).transpose()?,
        kind,
        interval_s: interval(seconds)?,
    })
}

/// The UCUM code, where a mapping may also say `kWh` or `mph`. What it says wrongly is said at once.
fn known_unit(text: &str) -> Result<Box<str>, Wrong> {
    let code = unit::ucum(text);
    match unit::is_known(code) {
        true => Ok(code.into()),
        false => Err(format!(
            "{text:?} is no unit that is known: give its UCUM code, such as kW.h, m3/h, {{veh}}, %"
        )
        .into()),
    }
}

fn interval(seconds: Option<u32>) -> Result<Option<u32>, Wrong> {
    match seconds {
        Some(seconds) if !(1..=86_400).contains(&seconds) => {
            Err(format!("an interval of {seconds} s is not between 1 s and a day").into())
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

    const HEAD: &str = "[[source]]\nname = \"a\"\ntopic = \"t/{id}\"\nformat = \"json\"\nsensor = \"{id}\"\n";

    fn check_rest(rest: &str, expected: Expect) {
        check_error(&format!("{HEAD}{rest}"), expected);
    }

    #[test]
    fn a_wrong_mapping_names_file_line_and_what_was_expected() {
        check_error(
            "\n[[source]]\nname = \"a\"\ntopic = \"t/#\"\nformat = \"yaml\"\n",
            expect![[
                r#"mapping city.toml:2: source "a": the format "yaml" is not known: json, number, csv, xml, influx, dsmr, cbor, senml-json, senml-cbor, sparkplug-b, ignore"#
            ]],
        );
        check_error(
            "[[source]]\nname = \"a\"\ntopic = \"t/#\"\nformat = \"json\"\nsensr = \"x\"\n",
            expect![
                "mapping city.toml:5: unknown field `sensr`, expected one of `name`, `topic`, `format`, `compression`, `csv`, `where`, `drop_if`, `dedup`, `redact`, `number`, `each`, `sensor`, `time`, `interval`, `reading`, `lookup`, `rename`, `unit_map`, `tags`"
            ],
        );
        check_error(
            "[[source]]\nname = \"a\"\ntopic = \"t/{id}\"\nformat = \"json\"\nsensor = \"{dev}\"\ntime = { as = \"receive\" }\nreading = []\n",
            expect![[
                r#"mapping city.toml:1: source "a": `sensor` uses {dev}, which the topic does not capture"#
            ]],
        );
        check_rest(
            "time = { path = \"/t\", as = \"local\" }\n",
            expect![[
                r#"mapping city.toml:1: source "a": `time` as "local" needs `tz`, such as "Europe/Berlin""#
            ]],
        );
        check_rest(
            "time = { as = \"receive\" }\nreading = [\n  { metric = \"m\", value = \"/v\", unit = \"1\" },\n  { metric = \"n\", value = \"v\", unit = \"1\" },\n]\n",
            expect![[
                r#"mapping city.toml:9: source "a": "v" is no path: a path is empty or starts with "/", "./" or "../""#
            ]],
        );
        check_rest(
            "time = { as = \"receive\" }\n[[source.reading]]\nmetric = \"m\"\nvalue = \"/v\"\nunit = \"furlongs\"\n",
            expect![[
                r#"mapping city.toml:7: source "a": "furlongs" is no unit that is known: give its UCUM code, such as kW.h, m3/h, {veh}, %"#
            ]],
        );
        check_rest(
            "time = { as = \"receive\" }\nwhere = [{ path = \"/v\" }]\nreading = [{ metric = \"m\", value = \"/v\", unit = \"1\" }]\n",
            expect![[
                r#"mapping city.toml:1: source "a": a condition has a path and one of eq, ne, in, not_in, exists, is"#
            ]],
        );
        check_rest(
            "time = { as = \"receive\" }\nreading = [{ metric = \"m\", value = 5, unit = \"1\" }]\n",
            expect!["mapping city.toml:7: invalid type: integer `5`, expected a text, or a list of texts"],
        );
        check_rest(
            "time = { as = \"receive\" }\ntags = { who = \"/who\" }\nreading = [{ metric = \"m\", value = \"/v\", unit = \"1\" }]\n",
            expect![[
                r#"mapping city.toml:1: source "a": `tags` stand beside events, and no reading is one: put what is known of a sensor into the registry"#
            ]],
        );
    }
}

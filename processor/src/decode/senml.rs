//! SenML in JSON and CBOR (RFC 8428): base fields stay in force until replaced, names and times are put together here.

use std::borrow::Cow;

use super::{Body, Found, Json, Sample};
use crate::{
    mapping::{SenmlRules, Syntax},
    model::{Kind, MetricName, Quality, Reason, SensorId, Time, reason::Refusal, unit},
};

/// Smaller times are relative to now (RFC 8428 section 4.5.3).
const ABSOLUTE_FROM_S: f64 = 268_435_456.0; // 2^28
/// The version a record speaks unless it says otherwise; later ones may mean something else.
const VERSION: i64 = 10;
/// More than the names of a sensor and a metric have together, with room for separators.
const NAME_BYTES_MAX: usize = 1_024;
/// No code of a measurement is as long.
const UNIT_BYTES_MAX: usize = 128;

/// What stays in force until replaced.
#[derive(Default)]
struct Base<'p> {
    name: &'p str,
    time_s: f64,
    unit: Option<&'p str>,
    value: f64,
    sum: f64,
}

/// One record, its labels told apart.
#[derive(Default)]
struct Record<'p> {
    name: &'p str,
    unit: Option<&'p str>,
    value: Option<f64>,
    truth: Option<bool>,
    sum: Option<f64>,
    time_s: f64,
}

pub(super) fn read(
    rules: &SenmlRules,
    payload: &Json<'_>,
    received_at: Time,
    found: &mut Found<'_>,
) -> Result<(), Refusal> {
    let Json::Array(records) = payload else {
        return Err(wrong(format!("a SenML pack is an array, this is {}", payload.shape())));
    };
    let cbor = rules.syntax == Syntax::Cbor;
    let mut base = Base::default();
    let mut known = None;
    for record in records {
        if found.is_full() {
            break; // too many: the message is refused as a whole
        }
        let Json::Object(fields) = record else {
            return Err(wrong(format!("a SenML record is an object, this is {}", record.shape())));
        };
        let read = self::record(fields, cbor, &mut base)?;
        match read {
            Ok(record) => measurements(rules, &base, &record, received_at, &mut known, found),
            Err(refusal) => found.refuse(refusal),
        }
    }
    Ok(())
}

/// Takes the base fields over. The outer error is one of the pack, the inner one of the record.
fn record<'p>(
    fields: &'p [(Cow<'_, str>, Json<'_>)],
    cbor: bool,
    base: &mut Base<'p>,
) -> Result<Result<Record<'p>, Refusal>, Refusal> {
    let mut record = Record::default();
    let mut own: Result<(), Refusal> = Ok(());
    for (label, node) in fields {
        match named(label, cbor).as_bytes() {
            b"bver" => match node {
                Json::Int(version) if *version <= VERSION => {}
                other => return Err(wrong(format!("SenML version {other} is newer than {VERSION}"))),
            },
            b"bn" => base.name = text(label, node)?,
            b"bu" => base.unit = Some(text(label, node)?),
            b"bt" => base.time_s = number(label, node)?,
            b"bv" => base.value = number(label, node)?,
            b"bs" => base.sum = number(label, node)?,
            b"n" => own = own.and(text(label, node).map(|name| record.name = name)),
            b"u" => own = own.and(text(label, node).map(|unit| record.unit = Some(unit))),
            b"v" => own = own.and(number(label, node).map(|value| record.value = Some(value))),
            b"vb" => {
                if let Json::Bool(truth) = node {
                    record.truth = Some(*truth);
                }
            }
            b"s" => own = own.and(number(label, node).map(|sum| record.sum = Some(sum))),
            b"t" => own = own.and(number(label, node).map(|time_s| record.time_s = time_s)),
            [.., b'_'] => {
                return Err(wrong(format!("the label {label:?} must be understood and is not")));
            }
            _ => {}
        }
    }
    Ok(own.map(|()| record))
}

/// The label in JSON, for its number in CBOR (RFC 8428 section 6).
fn named(label: &str, cbor: bool) -> &str {
    if !cbor {
        return label;
    }
    match label {
        "-1" => "bver",
        "-2" => "bn",
        "-3" => "bt",
        "-4" => "bu",
        "-5" => "bv",
        "-6" => "bs",
        "0" => "n",
        "1" => "u",
        "2" => "v",
        "3" => "vs",
        "4" => "vb",
        "5" => "s",
        "6" => "t",
        "7" => "ut",
        "8" => "vd",
        other => other,
    }
}

/// A record has a value, a sum, both, or neither: text and binary values are no measurements. `known` is the name of the
/// sensor that was found to be one.
fn measurements<'p>(
    rules: &SenmlRules,
    base: &Base<'p>,
    record: &Record<'p>,
    received_at: Time,
    known: &mut Option<&'p str>,
    found: &mut Found<'_>,
) {
    let truth = record.truth.map(|truth| f64::from(u8::from(truth)));
    let value = record.value.map(|value| value + base.value).or(truth);
    if value.is_none() && record.sum.is_none() {
        return;
    }
    let unit = record.unit.or(base.unit);
    let unit = unit.map(|unit| &unit[..unit.floor_char_boundary(UNIT_BYTES_MAX)]);
    let about = match about(base, record, unit, known, received_at) {
        Ok(about) => about,
        Err(refusal) => return found.refuse(refusal),
    };
    let sent = unit.map(ucum);
    if let Some(value) = value {
        let measure = rules.rename.get(about.metric);
        let as_named = Said {
            metric: about.metric,
            unit: sent.or(Some("1")),
            keep: None,
            kind: Kind::Gauge,
            interval_s: None,
        };
        let said = measure.map_or(as_named, |measure| Said {
            metric: measure.metric.as_str(),
            unit: sent,
            keep: measure.unit.as_deref(),
            kind: measure.kind,
            interval_s: measure.interval_s,
        });
        about.push(said, value, found);
    }
    if let Some(sum) = record.sum {
        let metric = format!("{}.sum", about.metric);
        let unit = sent.or(Some("1"));
        let said = Said { metric: &metric, unit, keep: None, kind: Kind::Counter, interval_s: None };
        about.push(said, sum + base.sum, found);
    }
}

/// What a value measures.
struct Said<'s> {
    metric: &'s str,
    unit: Option<&'s str>,
    keep: Option<&'s str>,
    kind: Kind,
    interval_s: Option<u32>,
}

/// What a record speaks of, and when.
struct About<'p> {
    sensor: &'p str,
    metric: &'p str,
    time: Time,
    quality: Quality,
}

impl About<'_> {
    fn push(&self, said: Said<'_>, value: f64, found: &mut Found<'_>) {
        let Said { metric, unit, keep, kind, interval_s } = said;
        if !value.is_finite() {
            return found
                .refuse(Refusal::new(Reason::NotFinite, format!("the value of {metric} is {value}")));
        }
        let About { sensor, time, quality, .. } = *self;
        let body = Body::Value(value);
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

fn about<'p>(
    base: &Base<'p>,
    record: &Record<'p>,
    unit: Option<&'p str>,
    known: &mut Option<&'p str>,
    received_at: Time,
) -> Result<About<'p>, Refusal> {
    let bad_name = || Refusal::new(Reason::BadName, "the name of a record cannot name a sensor and a metric");
    // Before it is searched: a base name of 100 KB stands for every record that follows it.
    if NAME_BYTES_MAX < base.name.len() + record.name.len() {
        return Err(bad_name());
    }
    let (sensor, metric) = split(base.name, record.name, unit)?;
    let is_known = known.is_some_and(|known| std::ptr::eq(known, sensor));
    if !is_known && !SensorId::allows(sensor) || !MetricName::allows(metric) {
        return Err(bad_name());
    }
    *known = Some(sensor);
    let seconds = base.time_s + record.time_s;
    let (time, quality) = if seconds.abs() >= ABSOLUTE_FROM_S {
        let time = Time::from_seconds(seconds);
        (time.ok_or_else(|| Refusal::new(Reason::BadTime, format!("{seconds} s is no time")))?, Quality::GOOD)
    } else {
        let offset = (seconds * 1e6).round() as i64; // below 2^28 s
        (Time::from_micros(received_at.micros() + offset), Quality::TIME_SUBSTITUTED)
    };
    Ok(About { sensor, metric, time, quality })
}

/// Which part of a record's full name is the sensor, and which the metric: the base name and the name where both
/// are given; else what follows the device in a device name (`urn:dev:`, RFC 9039), or the last part if it can name a
/// metric; else the name is the sensor, and its unit says what it measures.
fn split<'n>(base: &'n str, own: &'n str, unit: Option<&'n str>) -> Result<(&'n str, &'n str), Refusal> {
    const SEPARATORS: [char; 5] = [':', '/', '_', '.', '-'];
    let trimmed = base.trim_end_matches(SEPARATORS);
    if !trimmed.is_empty() && !own.is_empty() {
        return Ok((trimmed, own.trim_start_matches(SEPARATORS)));
    }
    let name = if own.is_empty() { trimmed } else { own };
    if name.is_empty() {
        return Err(Refusal::new(Reason::BadName, "a record has neither `bn` nor `n`"));
    }
    let halves = match name.starts_with("urn:dev:") {
        true => {
            let device = name.match_indices(':').nth(2).map_or(name.len(), |(at, _)| at + 1);
            let end = name[device..].find([':', '_', '/']).map(|at| device + at);
            end.map(|end| (&name[..end], &name[end + 1..]))
        }
        false => name.rsplit_once([':', '/']),
    };
    match halves {
        Some((sensor, metric)) if !sensor.is_empty() && metric.starts_with(|c: char| c.is_alphabetic()) => {
            Ok((sensor, metric))
        }
        _ => Ok((name, unit.map_or("value", quantity))),
    }
}

/// The UCUM code of a SenML unit (RFC 8428 section 12.1, RFC 8798). `%` is a ratio in SenML, `/100` is percent.
fn ucum(unit: &str) -> &str {
    match unit {
        "/" | "%" | "count" => "1",
        "/100" | "%RH" | "%EL" => "%",
        "beat/min" | "beats" | "1/min" => "1/min",
        "VA" => "V.A",
        "kVA" => "kV.A",
        "var" => "V.A{reactive}",
        "vars" => "V.A.s{reactive}",
        "kvar" => "kV.A{reactive}",
        "varh" => "V.A.h{reactive}",
        "kvarh" => "kV.A.h{reactive}",
        "VAs" => "V.A.s",
        "VAh" => "V.A.h",
        "J/m" => "J/m",
        "l" => "L",
        "l/s" => "L/s",
        "dBW" => "B[W]",
        "dBm" => "dB[mW]",
        other => unit::ucum(other),
    }
}

/// What a unit measures, for a record that names only its device.
fn quantity(unit: &str) -> &str {
    match unit {
        "Cel" | "K" => "temperature",
        "%RH" => "humidity",
        "%EL" => "battery",
        "V" => "voltage",
        "A" => "current",
        "W" => "power.active",
        "Pa" => "pressure",
        "lx" => "light.level",
        "m/s" | "km/h" => "speed",
        other if MetricName::allows(other) && other.starts_with(|c: char| c.is_alphabetic()) => other,
        _ => "value",
    }
}

fn text<'p>(label: &str, node: &'p Json<'_>) -> Result<&'p str, Refusal> {
    node.as_str().ok_or_else(|| wrong(format!("{label:?} is {}, not a text", node.shape())))
}

fn number(label: &str, node: &Json<'_>) -> Result<f64, Refusal> {
    node.as_f64().ok_or_else(|| wrong(format!("{label:?} is {}, not a number", node.shape())))
}

fn wrong(detail: String) -> Refusal {
    Refusal::new(Reason::WrongShape, detail)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::decode::SAMPLES_MAX;

    fn said(
        payload: &str,
        rules: &SenmlRules,
        mut each: impl FnMut(Sample<'_>),
    ) -> (Result<(), Refusal>, Vec<Refusal>) {
        let payload = Json::parse(payload.as_bytes()).unwrap();
        let take = &mut |sample: Sample<'_>| {
            each(sample);
            Ok(())
        };
        let mut found = Found {
            take,
            limit: SAMPLES_MAX,
            count: 0,
            refused: Vec::new(),
            unlisted: 0,
            requests: Vec::new(),
        };
        let received_at = Time::from_micros(1_700_000_000_000_000);
        let outcome = read(rules, &payload, received_at, &mut found);
        (outcome, found.refused)
    }

    fn check(payload: &str, expected: Expect) {
        let mut lines = String::new();
        let (outcome, refused) = said(payload, &SenmlRules::default(), |s| {
            let unit = s.unit.unwrap_or_default();
            let _ = writeln!(lines, "{} {} {:?} {unit} {}", s.sensor, s.metric, s.body, s.time);
        });
        if let Err(refusal) = outcome {
            lines = format!("{}: {}\n", refusal.reason.as_str(), refusal.detail);
        }
        for refusal in refused {
            let _ = writeln!(lines, "{}: {}", refusal.reason.as_str(), refusal.detail);
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn base_fields_stay_in_force_until_replaced() {
        check(
            r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
                {"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]"#,
            expect![[r#"
                urn:dev:ow:10e2073a0108006 voltage Value(120.1) V 2010-06-08T18:01:16.001Z
                urn:dev:ow:10e2073a0108006 current Value(1.2) A 2010-06-08T18:01:11.001Z
                urn:dev:ow:10e2073a0108006 current Value(1.3) A 2010-06-08T18:01:12.001Z
            "#]],
        );
    }

    #[test]
    fn a_device_name_alone_takes_its_metric_from_the_unit() {
        check(
            r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1},{"n":"hello:temperature","u":"Cel","v":21.5}]"#,
            expect![[r#"
                urn:dev:ow:10e2073a01080063 temperature Value(23.1) Cel 2023-11-14T22:13:20Z
                hello temperature Value(21.5) Cel 2023-11-14T22:13:20Z
            "#]],
        );
    }

    #[test]
    fn what_must_be_understood_and_is_not_refuses_the_pack() {
        check(
            r#"[{"n":"a:b","v":1,"x_":1}]"#,
            expect![[r#"
            wrong_shape: the label "x_" must be understood and is not
        "#]],
        );
        check(
            r#"[{"bver":11,"n":"a:b","v":1}]"#,
            expect![[r#"
            wrong_shape: SenML version 11 is newer than 10
        "#]],
        );
        check(
            r#"{"n":"a:b","v":1}"#,
            expect![[r#"
            wrong_shape: a SenML pack is an array, this is an object
        "#]],
        );
    }

    #[test]
    fn one_bad_record_leaves_its_neighbours() {
        check(
            r#"[{"n":"a:b","v":1},{"n":"a:c","v":"x"},{"n":"a:d","v":3}]"#,
            expect![[r#"
            a b Value(1.0) 1 2023-11-14T22:13:20Z
            a d Value(3.0) 1 2023-11-14T22:13:20Z
            wrong_shape: "v" is a text, not a number
        "#]],
        );
    }

    #[test]
    fn a_record_may_have_a_value_and_a_sum() {
        check(
            r#"[{"bn":"m:","bv":1,"bs":10,"n":"water","u":"m3","v":2,"s":3},{"n":"on","vb":true}]"#,
            expect![[r#"
                m water Value(3.0) m3 2023-11-14T22:13:20Z
                m water.sum Value(13.0) m3 2023-11-14T22:13:20Z
                m on Value(1.0) 1 2023-11-14T22:13:20Z
            "#]],
        );
    }

    #[test]
    fn a_huge_base_unit_is_cut() {
        let records = r#",{"v":1}"#.repeat(SAMPLES_MAX - 1);
        let text = format!(r#"[{{"bn":"a:b","bu":"{}","v":1}}{records}]"#, "ä".repeat(50_000));
        let mut units = Vec::new();
        let (outcome, _) = said(&text, &SenmlRules::default(), |s| units.push(s.unit.map_or(0, str::len)));
        assert!(outcome.is_ok() && units.len() == SAMPLES_MAX);
        assert!(units.iter().all(|bytes| *bytes <= UNIT_BYTES_MAX));
    }

    #[test]
    fn a_huge_base_name_is_refused_before_it_is_searched_for_every_record() {
        let records = r#",{"v":1}"#.repeat(16_000);
        let text = format!(r#"[{{"bn":"{}","v":1}}{records}]"#, "x".repeat(100_000));
        let (_, refused) = said(&text, &SenmlRules::default(), |s| panic!("{s:?}"));
        assert!(refused.len() <= SAMPLES_MAX + 1);
        assert!(refused.iter().all(|refusal| refusal.detail.len() < 200));
    }
}

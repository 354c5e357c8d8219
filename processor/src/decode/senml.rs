//! SenML JSON (RFC 8428): base fields stay in force until replaced, names and times are put together here.

use std::rc::Rc;

use super::{Body, Decoded, Json, SAMPLES_MAX, Sample};
use crate::{
    mapping::SenmlRules,
    model::{Kind, MetricName, Quality, Reason, SensorId, Time, reason::Refusal},
};

/// Smaller times are relative to now (RFC 8428 section 4.5.3).
const ABSOLUTE_FROM_S: f64 = 268_435_456.0; // 2^28
/// The version a record speaks unless it says otherwise; later ones may mean something else.
const VERSION: i64 = 10;
/// More than the names of a sensor and a metric have together, with room for separators.
const NAME_BYTES_MAX: usize = 1_024;
/// A unit is copied for every record that it stands for, so it is cut first: no code of a measurement is as long.
const UNIT_BYTES_MAX: usize = 128;

#[derive(Default)]
struct Base {
    name: String,
    time_s: f64,
    unit: Option<String>,
    value: f64,
    sum: f64,
}

pub(super) fn samples(rules: &SenmlRules, payload: &Json<'_>, received_at: Time) -> Result<Decoded, Refusal> {
    let Json::Array(records) = payload else {
        return Err(wrong(format!("a SenML pack is an array, this is {}", payload.shape())));
    };
    let mut base = Base::default();
    let mut decoded = Decoded::default();
    for record in records {
        if SAMPLES_MAX < decoded.samples.len() + decoded.refused.len() {
            break; // too many: the message is refused as a whole
        }
        let Json::Object(fields) = record else {
            return Err(wrong(format!("a SenML record is an object, this is {}", record.shape())));
        };
        if let Some((label, _)) = fields.iter().find(|(label, _)| label.ends_with('_')) {
            return Err(wrong(format!("the label {label:?} must be understood and is not")));
        }
        rebase(&mut base, record)?;
        match sample(rules, &base, record, received_at) {
            Ok(Some(sample)) => decoded.samples.push(sample),
            Ok(None) => {}
            Err(refusal) => decoded.refused.push(refusal),
        }
    }
    Ok(decoded)
}

fn rebase(base: &mut Base, record: &Json<'_>) -> Result<(), Refusal> {
    if let Some(version) = record.get("bver") {
        match version {
            Json::Int(version) if *version <= VERSION => {}
            other => return Err(wrong(format!("SenML version {other} is newer than {VERSION}"))),
        }
    }
    if let Some(name) = text(record, "bn")? {
        name.clone_into(&mut base.name);
    }
    if let Some(unit) = text(record, "bu")? {
        base.unit = Some(unit.to_owned());
    }
    base.time_s = number(record, "bt")?.unwrap_or(base.time_s);
    base.value = number(record, "bv")?.unwrap_or(base.value);
    base.sum = number(record, "bs")?.unwrap_or(base.sum);
    Ok(())
}

/// `None` for a record of base fields only, and for text and binary values, which are no measurements.
fn sample(
    rules: &SenmlRules,
    base: &Base,
    record: &Json<'_>,
    received_at: Time,
) -> Result<Option<Sample>, Refusal> {
    let own = text(record, "n")?.unwrap_or_default();
    let (value, is_sum) = match (number(record, "v")?, record.get("vb"), number(record, "s")?) {
        (Some(value), ..) => (value + base.value, false),
        (None, Some(Json::Bool(value)), _) => (f64::from(u8::from(*value)), false),
        (None, _, Some(sum)) => (sum + base.sum, true),
        _ => return Ok(None),
    };
    let finite = |value: f64| match value.is_finite() {
        true => Ok(value),
        false => Err(Refusal::new(Reason::NotFinite, format!("the value of {own:?} is {value}"))),
    };
    let value = finite(value)?;
    let unit = text(record, "u")?.or(base.unit.as_deref());
    let unit = unit.map(|unit| &unit[..unit.floor_char_boundary(UNIT_BYTES_MAX)]);
    let bad_name = || Refusal::new(Reason::BadName, "the name of a record cannot name a sensor and a metric");
    // Before it is searched or copied: a base name of 100 KB stands for every record that follows it.
    if NAME_BYTES_MAX < base.name.len() + own.len() {
        return Err(bad_name());
    }
    let (sensor, metric) = split(&base.name, own, unit)?;
    if !SensorId::allows(sensor) || !MetricName::allows(metric) {
        return Err(bad_name());
    }
    let seconds = base.time_s + number(record, "t")?.unwrap_or(0.0);
    let (time, quality) = if seconds.abs() >= ABSOLUTE_FROM_S {
        let time = Time::from_seconds(seconds);
        (time.ok_or_else(|| Refusal::new(Reason::BadTime, format!("{seconds} s is no time")))?, Quality::GOOD)
    } else {
        let offset = (seconds * 1e6).round() as i64; // below 2^28 s
        (Time::from_micros(received_at.micros() + offset), Quality::TIME_SUBSTITUTED)
    };
    let sample = |metric: &str, unit: &str, kind, interval_s, value| Sample {
        sensor: Rc::from(sensor),
        metric: Rc::from(metric),
        unit: Rc::from(unit),
        kind,
        interval_s,
        time,
        quality,
        body: Body::Value(value),
    };
    if is_sum {
        let unit = unit.map_or("1", ucum);
        return Ok(Some(sample(&format!("{metric}.sum"), unit, Kind::Counter, None, value)));
    }
    let Some(measure) = rules.rename.get(metric) else {
        return Ok(Some(sample(metric, unit.map_or("1", ucum), Kind::Gauge, None, value)));
    };
    let value = match unit {
        None => value,
        Some(unit) => match crate::model::unit::conversion(ucum(unit), &measure.unit) {
            Some(conversion) => finite(conversion.apply(value))?,
            None => {
                let detail = format!("{metric} in {unit:?} does not convert to {:?}", measure.unit);
                return Err(Refusal::new(Reason::UnitMismatch, detail));
            }
        },
    };
    Ok(Some(sample(measure.metric.as_str(), &measure.unit, measure.kind, measure.interval_s, value)))
}

/// Which part of a record's full name is the sensor, and which the metric: the base name and the name where both
/// are given; else the last part is the metric, but for device names (`urn:dev:...`), which name no metric.
fn split<'n>(base: &'n str, own: &'n str, unit: Option<&'n str>) -> Result<(&'n str, &'n str), Refusal> {
    const SEPARATORS: [char; 5] = [':', '/', '_', '.', '-'];
    let trimmed = base.trim_end_matches(SEPARATORS);
    if !trimmed.is_empty() && !own.is_empty() {
        return Ok((trimmed, own.trim_start_matches(SEPARATORS)));
    }
    let name = if own.is_empty() { trimmed } else { own };
    let separators: &[char] = if name.starts_with("urn:dev:") { &['_'] } else { &[':', '/'] };
    match name.rsplit_once(separators) {
        Some((sensor, metric)) if !sensor.is_empty() && !metric.is_empty() => Ok((sensor, metric)),
        _ if name.is_empty() => Err(Refusal::new(Reason::BadName, "a record has neither `bn` nor `n`")),
        _ => Ok((name, unit.map_or("value", quantity))),
    }
}

/// The UCUM code of a SenML unit. `%` is a ratio in SenML, `/100` is percent.
fn ucum(unit: &str) -> &str {
    match unit {
        "/" | "%" | "count" => "1",
        "/100" | "%RH" | "%EL" => "%",
        "degC" => "Cel",
        "kWh" => "kW.h",
        "Wh" => "W.h",
        "km/h" => "km/h",
        "l" => "L",
        "l/s" => "L/s",
        other => other,
    }
}

/// What a unit measures, for a record that names only its device.
fn quantity(unit: &str) -> &str {
    match unit {
        "Cel" | "K" => "temperature",
        "%RH" => "humidity",
        "V" => "voltage",
        "A" => "current",
        "W" => "power.active",
        "Pa" => "pressure",
        "lx" => "light.level",
        "m/s" | "km/h" => "speed",
        other if crate::model::MetricName::allows(other) => other,
        _ => "value",
    }
}

fn text<'r>(record: &'r Json<'_>, label: &str) -> Result<Option<&'r str>, Refusal> {
    match record.get(label) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(format!("{label:?} is {}, not a text", other.shape()))),
    }
}

fn number(record: &Json<'_>, label: &str) -> Result<Option<f64>, Refusal> {
    match record.get(label) {
        None => Ok(None),
        Some(node) => match node.as_f64() {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(format!("{label:?} is {}, not a number", node.shape()))),
        },
    }
}

fn wrong(detail: String) -> Refusal {
    Refusal::new(Reason::WrongShape, detail)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::mapping::Measure;

    fn check(payload: &str, expected: Expect) {
        let payload = Json::parse(payload.as_bytes()).unwrap();
        let received_at = Time::from_micros(1_700_000_000_000_000);
        let lines = match samples(&SenmlRules::default(), &payload, received_at) {
            Err(refusal) => format!("{}: {}\n", refusal.reason.as_str(), refusal.detail),
            Ok(decoded) => {
                let sample =
                    |s: &Sample| format!("{} {} {:?} {} {}\n", s.sensor, s.metric, s.body, s.unit, s.time);
                let refused = |r: &Refusal| format!("{}: {}\n", r.reason.as_str(), r.detail);
                decoded.samples.iter().map(sample).chain(decoded.refused.iter().map(refused)).collect()
            }
        };
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
    fn a_value_that_its_unit_makes_infinite_is_refused() {
        let (metric, kind) = ("traffic.speed.mean".parse().unwrap(), Kind::Rate);
        let measure = Measure { metric, unit: "km/h".into(), kind, interval_s: None };
        let rules = SenmlRules { rename: [("speed".to_owned(), measure)].into() };
        let payload = Json::parse(br#"[{"bn":"a:","n":"speed","u":"m/s","v":1e308}]"#).unwrap();
        let decoded = samples(&rules, &payload, Time::YEAR_2000).unwrap();
        assert_eq!((decoded.samples.len(), decoded.refused[0].reason), (0, Reason::NotFinite));
    }

    #[test]
    fn a_huge_base_unit_is_cut_before_it_is_copied_for_every_record() {
        let records = r#",{"v":1}"#.repeat(SAMPLES_MAX - 1);
        let text = format!(r#"[{{"bn":"a:b","bu":"{}","v":1}}{records}]"#, "ä".repeat(50_000));
        let payload = Json::parse(text.as_bytes()).unwrap();
        let decoded = samples(&SenmlRules::default(), &payload, Time::YEAR_2000).unwrap();
        assert_eq!(decoded.samples.len(), SAMPLES_MAX);
        assert!(decoded.samples.iter().all(|sample| sample.unit.len() <= UNIT_BYTES_MAX));
    }

    #[test]
    fn a_huge_base_name_is_refused_before_it_is_copied_for_every_record() {
        let records = r#",{"v":1}"#.repeat(16_000);
        let text = format!(r#"[{{"bn":"{}","v":1}}{records}]"#, "x".repeat(100_000));
        let payload = Json::parse(text.as_bytes()).unwrap();
        let decoded = samples(&SenmlRules::default(), &payload, Time::YEAR_2000).unwrap();
        assert!(decoded.samples.is_empty());
        assert!(decoded.refused.len() <= SAMPLES_MAX + 1);
        assert!(decoded.refused.iter().all(|refusal| refusal.detail.len() < 200));
    }
}

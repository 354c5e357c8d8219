//! Moves the times of a message, so that an old recording can be played as if it happened now.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::filter::matches;
use crate::recording::{PayloadTime, TimeForm};

/// RFC 8428, 4.5.3: a smaller time is relative to now and stays what it is.
const SENML_ABSOLUTE_S: f64 = (1_u64 << 28) as f64;

/// The payload with its times moved by whole `seconds`, or `None` when no rule is for its topic or it has
/// no such time (a broken payload is part of what was recorded).
pub(super) fn payload(payload: &[u8], topic: &str, times: &[PayloadTime], seconds: i64) -> Option<Vec<u8>> {
    let rule = times.iter().find(|rule| matches(&rule.topic, topic))?;
    let mut json: Value = serde_json::from_slice(payload).ok()?;
    match &rule.form {
        TimeForm::Rfc3339 { path } => {
            let field = json.pointer_mut(path)?;
            *field = Value::String(rfc3339(field.as_str()?, seconds)?);
        }
        TimeForm::Senml => senml(json.as_array_mut()?, seconds)?,
    }
    serde_json::to_vec(&json).ok()
}

/// Keeps the number of decimals.
fn rfc3339(text: &str, seconds: i64) -> Option<String> {
    let fraction =
        text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let moved = text.parse::<Timestamp>().ok()?.checked_add(SignedDuration::from_secs(seconds)).ok()?;
    Some(format!("{moved:.*}", fraction.min(9)))
}

fn senml(records: &mut [Value], seconds: i64) -> Option<()> {
    let mut base = 0.0;
    for record in records {
        let record = record.as_object_mut()?;
        let before = base;
        if let Some(field) = record.get_mut("bt") {
            base = field.as_f64()?;
            if base.abs() >= SENML_ABSOLUTE_S {
                *field = add(field, seconds)?;
            }
        } else {
            base = before;
        }
        if let Some(field) = record.get_mut("t") {
            let time = field.as_f64()?;
            if base.abs() < SENML_ABSOLUTE_S && base + time >= SENML_ABSOLUTE_S {
                *field = add(field, seconds)?;
            }
        }
    }
    Some(())
}

/// Integers stay integers: a float of today's nanoseconds would lose its last digits.
fn add(number: &Value, seconds: i64) -> Option<Value> {
    match number.as_i64() {
        Some(whole) => Some(Value::from(whole.checked_add(seconds)?)),
        None => Some(Value::from(number.as_f64()? + seconds as f64)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shifted(form: TimeForm, text: &str) -> Option<String> {
        let times = [PayloadTime { topic: "city/+/x".to_owned(), form }];
        let bytes = payload(text.as_bytes(), "city/a/x", &times, 3_600)?;
        Some(String::from_utf8(bytes).unwrap())
    }

    fn at(path: &str) -> TimeForm {
        TimeForm::Rfc3339 { path: path.to_owned() }
    }

    #[test]
    fn a_time_moves_and_nothing_else_does() {
        assert_eq!(
            shifted(at("/d/time"), r#"{"z":1.5,"d":{"time":"2024-05-14T23:30:16.720Z"},"a":[]}"#).unwrap(),
            r#"{"z":1.5,"d":{"time":"2024-05-15T00:30:16.720Z"},"a":[]}"#
        );
        assert_eq!(
            shifted(at("/time"), r#"{"time":"2024-01-01T00:00:00Z"}"#).unwrap(),
            r#"{"time":"2024-01-01T01:00:00Z"}"#
        );
    }

    #[test]
    fn absolute_senml_times_move_and_relative_ones_stay() {
        let pack =
            r#"[{"bt":1715662860,"n":"a","v":1},{"n":"b","t":-5,"v":1.0},{"bt":0,"n":"c","t":1715662860.5}]"#;
        let moved =
            r#"[{"bt":1715666460,"n":"a","v":1},{"n":"b","t":-5,"v":1.0},{"bt":0,"n":"c","t":1715666460.5}]"#;
        assert_eq!(shifted(TimeForm::Senml, pack).unwrap(), moved);
        let relative = r#"[{"bn":"x","t":-60,"v":1}]"#;
        assert_eq!(shifted(TimeForm::Senml, relative).unwrap(), relative);
    }

    #[test]
    fn a_payload_without_its_time_is_left_as_it_was_recorded() {
        assert_eq!(shifted(at("/time"), "{"), None);
        assert_eq!(shifted(at("/time"), r#"{"time":5}"#), None);
        assert_eq!(shifted(TimeForm::Senml, "{}"), None);
    }

    proptest! {
        #[test]
        fn any_payload_is_moved_or_left(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                "[\\[{]{1,2}\"(time|bt|t)\":(\"[-0-9T:.Z]{0,40}\"|-?[0-9]{1,20}(\\.[0-9]{1,9})?(e[0-9]{1,3})?)\\}\\]?".prop_map(String::into_bytes),
            ],
            seconds in any::<i64>(),
        ) {
            for form in [at("/time"), at(""), TimeForm::Senml] {
                let times = [PayloadTime { topic: "#".to_owned(), form }];
                if let Some(moved) = payload(&bytes, "a", &times, seconds) {
                    prop_assert!(serde_json::from_slice::<Value>(&moved).is_ok());
                }
            }
        }

        #[test]
        fn a_time_moves_there_and_back(second in 0..4_000_000_000i64, by in -100_000_000..100_000_000i64, digits in 0..10usize) {
            let text = format!("{:.digits$}", Timestamp::from_second(second).unwrap());
            let moved = rfc3339(&text, by).unwrap();
            prop_assert_eq!(moved.parse::<Timestamp>().unwrap().as_second(), second + by);
            prop_assert_eq!(rfc3339(&moved, -by), Some(text));
        }
    }
}

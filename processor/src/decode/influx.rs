//! InfluxDB line protocol as a list of objects:
//! `{"measurement": "m", "tags": {"k": "v"}, "fields": {"f": 1.5}, "time": 1700000000000000000}`.
//! Format: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>.

use std::borrow::Cow;

use super::{Json, text};
use crate::model::{Reason, reason::Refusal};

/// More tags or fields than any line has.
const MEMBERS_MAX: usize = 1_000;

pub(super) fn parse(payload: &[u8]) -> Result<Json<'_>, Refusal> {
    let mut lines = Vec::new();
    let mut rest = text(payload)?;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let wrong = |what: String| Refusal::new(Reason::Malformed, format!("line {number}: {what}"));
        let (line, after) = split_line(rest);
        rest = after;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            lines.push(point(line).map_err(wrong)?);
        }
    }
    Ok(Json::Array(lines))
}

/// At a line feed that stands in no quotes.
fn split_line(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// `measurement,tag=value field=value,field=value time`
fn point(line: &str) -> Result<Json<'_>, String> {
    let (head, rest) = split(line, b' ', false).ok_or("there are no fields")?;
    let (fields, time) = match split(rest, b' ', true) {
        Some((fields, time)) => (fields, Some(time.trim())),
        None => (rest, None),
    };
    let (measurement, tags) = match split(head, b',', false) {
        Some((measurement, tags)) => (measurement, Some(tags)),
        None => (head, None),
    };
    if measurement.is_empty() {
        return Err("there is no measurement".to_owned());
    }
    let tags = members(tags, false, |value| Ok(Json::Text(unescaped(value))))?;
    let fields = members(Some(fields), true, field)?;
    let mut point = vec![
        (Cow::Borrowed("measurement"), Json::Text(unescaped(measurement))),
        (Cow::Borrowed("tags"), Json::Object(tags)),
        (Cow::Borrowed("fields"), Json::Object(fields)),
    ];
    if let Some(time) = time.filter(|time| !time.is_empty()) {
        let time = time.parse().map_err(|_| format!("{time:?} is no time"))?;
        point.push((Cow::Borrowed("time"), Json::Int(time)));
    }
    Ok(Json::Object(point))
}

type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

fn members<'a>(
    list: Option<&'a str>,
    quotes: bool,
    value: impl Fn(&'a str) -> Result<Json<'a>, String>,
) -> Result<Members<'a>, String> {
    let mut members: Members<'a> = Vec::new();
    let mut rest = list;
    while let Some(list) = rest {
        let (member, after) =
            split(list, b',', quotes).map_or((list, None), |(member, after)| (member, Some(after)));
        rest = after;
        let (name, text) =
            split(member, b'=', false).ok_or_else(|| format!("{member:?} is no name=value"))?;
        if name.is_empty() || MEMBERS_MAX <= members.len() {
            return Err(format!("{member:?} has no name, or is one of more than {MEMBERS_MAX}"));
        }
        members.push((unescaped(name), value(text)?));
    }
    Ok(members)
}

fn field(text: &str) -> Result<Json<'_>, String> {
    let wrong = || format!("{text:?} is no value of a field");
    Ok(match text {
        "t" | "T" | "true" | "True" | "TRUE" => Json::Bool(true),
        "f" | "F" | "false" | "False" | "FALSE" => Json::Bool(false),
        _ => {
            if let Some(inside) = text.strip_prefix('"') {
                return Ok(Json::Text(unescaped(inside.strip_suffix('"').ok_or_else(wrong)?)));
            }
            match text.as_bytes().last() {
                Some(b'i') => Json::Int(text[..text.len() - 1].parse().map_err(|_| wrong())?),
                Some(b'u') => {
                    let whole: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
                    i64::try_from(whole).map_or(Json::Float(whole as f64), Json::Int)
                }
                _ => match text.parse::<f64>() {
                    Ok(value) if value.is_finite() => Json::Float(value),
                    _ => return Err(wrong()),
                },
            }
        }
    })
}

/// At the first such byte that is neither escaped nor, if they count, in quotes.
fn split(text: &str, at: u8, quotes: bool) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if quotes => quoted = !quoted,
            byte if byte == at && !quoted => return Some((&text[..i], &text[i + 1..])),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next @ (',' | '=' | ' ' | '"' | '\\')) if letter == '\\' => {
                plain.push(*next);
                letters.next();
            }
            _ => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, json: &str) {
        assert_eq!(parse(line.as_bytes()).unwrap(), Json::parse(json.as_bytes()).unwrap(), "{line}");
    }

    #[test]
    fn lines_are_read_as_the_reference_says() {
        check(
            "weather,location=us-midwest,season=summer temperature=82,humidity=71i 1465839830100400200\n",
            r#"[{"measurement":"weather","tags":{"location":"us-midwest","season":"summer"},
                 "fields":{"temperature":82.0,"humidity":71},"time":1465839830100400200}]"#,
        );
        check(
            "# a comment\nmy\\ m,ta\\,g=a\\ b f=\"x, y=\\\"z\\\"\",on=t,n=7u\n\n",
            r#"[{"measurement":"my m","tags":{"ta,g":"a b"},"fields":{"f":"x, y=\"z\"","on":true,"n":7}}]"#,
        );
        for wrong in ["m", "m f", "m f=", "m f=x", ",t=1 f=1", "m f=1 soon", "m f=1e999", "m f=\"x"] {
            assert_eq!(parse(wrong.as_bytes()).unwrap_err().reason, Reason::Malformed, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_points_or_refused(text in "[a-c,=\\\\ \"\n0-9itu.e-]{0,80}") {
            let _ = parse(text.as_bytes());
        }
    }
}

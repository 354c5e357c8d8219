//! DSMR P1 telegrams (DSMR 5.0.2, and 4.x) as a tree:
//! `{"meter": "4B38...", "time": "170102192002W", "obis": {"1-0:1.8.1": {"value": 4.426, "unit": "kWh"}, ...},
//!   "mbus": [{"channel": 1, "type": 3, "meter": "3232...", "time": "170102161005W", "value": 0.107, "unit": "m3"}]}`.
//! A line with a time stands with it; an empty value is not there. The checksum after `!` is checked.

use std::borrow::Cow;

use crc::{CRC_16_ARC, Crc};

use super::{Json, text};
use crate::model::{Reason, reason::Refusal};

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
/// More lines than any telegram has.
const LINES_MAX: usize = 1_000;
/// Of M-Bus: gas, water, heat and a second electricity meter.
const CHANNELS: usize = 4;

type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

pub(super) fn parse(payload: &[u8]) -> Result<Json<'_>, Refusal> {
    let text = text(payload)?;
    let start = text.find('/').ok_or_else(|| malformed("a telegram begins with \"/\""))?;
    let text = &text[start..];
    let end = text.rfind('!').ok_or_else(|| malformed("the telegram has no end, \"!\""))?;
    let (body, sum) = (&text[..end], text[end + 1..].trim());
    check(body, sum)?;
    let (mut meter, mut time, mut obis) = (None, None, Members::new());
    let mut channels: [Members<'_>; CHANNELS] = Default::default();
    for line in body.lines().skip(1).take(LINES_MAX) {
        let Some((code, rest)) = line.split_once('(') else { continue };
        let values: Vec<&str> = rest.split(['(', ')']).filter(|part| !part.is_empty()).collect();
        let channel = code.strip_prefix("0-").and_then(|code| code.split_once(':'));
        let channel = channel.and_then(|(number, code)| Some((number.parse::<usize>().ok()?, code)));
        match (code, channel) {
            ("0-0:1.0.0", _) => time = values.first().copied(),
            ("0-0:96.1.1", _) => meter = values.first().copied(),
            (_, Some((number @ 1..=CHANNELS, code))) => mbus(&mut channels[number - 1], code, &values),
            _ => obis.extend(value(&values).map(|value| (Cow::Borrowed(code), Json::Object(value)))),
        }
    }
    let named =
        |name: &'static str, text: &'_ str| (Cow::Borrowed(name), Json::Text(Cow::Owned(text.to_owned())));
    let mut telegram = Members::new();
    telegram.extend(meter.map(|meter| named("meter", meter)));
    telegram.extend(time.map(|time| named("time", time)));
    telegram.push((Cow::Borrowed("obis"), Json::Object(obis)));
    let used = channels.into_iter().enumerate().filter(|(_, members)| !members.is_empty());
    let mbus = used.map(|(i, mut members)| {
        members.insert(0, (Cow::Borrowed("channel"), Json::Int(i as i64 + 1)));
        Json::Object(members)
    });
    telegram.push((Cow::Borrowed("mbus"), Json::Array(mbus.collect())));
    Ok(Json::Object(telegram))
}

/// Over everything from `/` to `!`. Telegrams before DSMR 4 have none.
fn check(body: &str, sum: &str) -> Result<(), Refusal> {
    if sum.is_empty() {
        return Ok(());
    }
    let bad = |detail: String| Refusal::new(Reason::BadChecksum, detail);
    let sent = u16::from_str_radix(sum, 16).map_err(|_| bad(format!("{sum:?} is no checksum")))?;
    let found = CHECKSUM.checksum(format!("{body}!").as_bytes());
    if found == sent {
        return Ok(());
    }
    // A bridge that passes lines on may have changed their ends: the meter sends CR LF.
    let restored = format!("{}!", body.replace("\r\n", "\n").replace('\n', "\r\n"));
    if CHECKSUM.checksum(restored.as_bytes()) == sent {
        return Ok(());
    }
    Err(bad(format!("the checksum is {found:04X}, the telegram says {sum}")))
}

fn mbus<'a>(members: &mut Members<'a>, code: &str, values: &[&'a str]) {
    match code {
        "24.1.0" => {
            let kind = values.first().and_then(|text| text.parse().ok());
            members.extend(kind.map(|kind| (Cow::Borrowed("type"), Json::Int(kind))));
        }
        "96.1.0" | "96.1.1" => {
            let meter = values.first();
            members.extend(meter.map(|meter| (Cow::Borrowed("meter"), Json::Text(Cow::Borrowed(*meter)))));
        }
        "24.2.1" | "24.2.3" => members.extend(value(values).unwrap_or_default()),
        _ => {}
    }
}

/// `(123.456*kWh)`, or `(time)(123.456*m3)`.
fn value<'a>(values: &[&'a str]) -> Option<Members<'a>> {
    let (time, text) = match values {
        [value] => (None, *value),
        [time, value] => (Some(*time), *value),
        _ => return None,
    };
    let (number, unit) = text.split_once('*').map_or((text, None), |(number, unit)| (number, Some(unit)));
    let node = match number.parse::<f64>() {
        Ok(value)
            if value.is_finite() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            Json::Float(value)
        }
        _ => Json::Text(Cow::Borrowed(number)),
    };
    let text = |name: &'static str, text: &'a str| (Cow::Borrowed(name), Json::Text(Cow::Borrowed(text)));
    let mut members = Members::new();
    members.extend(time.map(|time| text("time", time)));
    members.push((Cow::Borrowed("value"), node));
    members.extend(unit.map(|unit| text("unit", unit)));
    Some(members)
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn telegram(body: &str) -> String {
        let body = body.replace('\n', "\r\n");
        format!("{body}!{:04X}\r\n", CHECKSUM.checksum(format!("{body}!").as_bytes()))
    }

    const BODY: &str = "/ABC5\n\n0-0:1.0.0(170102192002W)\n0-0:96.1.1(4B38)\n1-0:1.8.1(000004.426*kWh)\n0-0:96.13.0()\n\
        1-0:99.97.0(0)(0-0:96.7.19)\n0-1:24.1.0(003)\n0-1:96.1.0(3232)\n0-1:24.2.1(170102161005W)(00000.107*m3)\n\
        0-2:24.1.0(003)\n0-2:96.1.0()\n";

    #[test]
    fn a_telegram_is_read_by_its_codes() {
        let json = br#"{"meter":"4B38","time":"170102192002W",
            "obis":{"1-0:1.8.1":{"value":4.426,"unit":"kWh"},"1-0:99.97.0":{"time":"0","value":"0-0:96.7.19"}},
            "mbus":[{"channel":1,"type":3,"meter":"3232","time":"170102161005W","value":0.107,"unit":"m3"},{"channel":2,"type":3}]}"#;
        let expected = Json::parse(json).unwrap();
        let text = telegram(BODY);
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        assert_eq!(parse(text.replace("\r\n", "\n").as_bytes()).unwrap(), expected);
    }

    #[test]
    fn one_changed_digit_is_noticed() {
        let text = telegram(BODY).replace("4.426", "4.427");
        assert_eq!(parse(text.as_bytes()).unwrap_err().reason, Reason::BadChecksum);
        for wrong in ["", "hello", "/ABC5\r\n"] {
            assert_eq!(parse(wrong.as_bytes()).unwrap_err().reason, Reason::Malformed);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_telegram_or_refused(text in "[0-9:.()*!/A-Fk\r\n-]{0,120}") {
            let _ = parse(format!("/{text}!").as_bytes());
            let _ = parse(text.as_bytes());
        }
    }
}

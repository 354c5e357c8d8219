//! CBOR (RFC 8949) as a tree. Keys that are numbers become their digits, as SenML's labels.

use std::borrow::Cow;

use minicbor::{Decoder, data::Type};

use super::{Json, json::DEPTH_MAX};
use crate::model::{Reason, reason::Refusal};

pub(super) fn parse(payload: &[u8]) -> Result<Json<'_>, Refusal> {
    let mut decoder = Decoder::new(payload);
    let tree = value(&mut decoder, DEPTH_MAX)?;
    match payload.len() - decoder.position() {
        0 => Ok(tree),
        rest => Err(malformed(format!("{rest} bytes follow the end"))),
    }
}

fn value<'a>(decoder: &mut Decoder<'a>, depth: u8) -> Result<Json<'a>, Refusal> {
    let at = decoder.position();
    let wrong = |error: minicbor::decode::Error| malformed(format!("byte {at}: {error}"));
    Ok(match decoder.datatype().map_err(wrong)? {
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(wrong)?;
            Json::Null
        }
        Type::Bool => Json::Bool(decoder.bool().map_err(wrong)?),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => {
            let int = i128::from(decoder.int().map_err(wrong)?);
            i64::try_from(int).map_or(Json::Float(int as f64), Json::Int)
        }
        Type::F16 => finite(f64::from(decoder.f16().map_err(wrong)?), at)?,
        Type::F32 => finite(f64::from(decoder.f32().map_err(wrong)?), at)?,
        Type::F64 => finite(decoder.f64().map_err(wrong)?, at)?,
        Type::String => Json::Text(Cow::Borrowed(decoder.str().map_err(wrong)?)),
        Type::StringIndef => Json::Text(Cow::Owned(text(decoder).map_err(wrong)?)),
        Type::Bytes | Type::BytesIndef => {
            decoder.skip().map_err(wrong)?; // no measurement is a string of bytes
            Json::Null
        }
        Type::Array | Type::ArrayIndef => {
            let depth = deeper(depth)?;
            let mut left = decoder.array().map_err(wrong)?;
            let mut items = Vec::new();
            while more(decoder, &mut left)? {
                items.push(value(decoder, depth)?);
            }
            Json::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let depth = deeper(depth)?;
            let mut left = decoder.map().map_err(wrong)?;
            let mut entries: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
            while more(decoder, &mut left)? {
                let key = match value(decoder, 0)? {
                    Json::Text(text) => text,
                    Json::Int(number) => Cow::Owned(number.to_string()),
                    other => return Err(malformed(format!("byte {at}: {} is a key", other.shape()))),
                };
                entries.push((key, value(decoder, depth)?));
            }
            Json::Object(entries)
        }
        Type::Tag => {
            decoder.tag().map_err(wrong)?; // what it tags is enough for a measurement
            value(decoder, deeper(depth)?)?
        }
        other => return Err(malformed(format!("byte {at}: {other} is no value"))),
    })
}

/// Whether another element follows; takes the break of an indefinite length.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Refusal> {
    if let Some(left) = left {
        let more = 0 < *left;
        *left = left.saturating_sub(1);
        return Ok(more);
    }
    match decoder.datatype() {
        Ok(Type::Break) => {
            let _ = decoder.skip(); // it is there
            Ok(false)
        }
        Ok(_) => Ok(true),
        Err(error) => Err(malformed(error.to_string())),
    }
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, minicbor::decode::Error> {
    let mut text = String::new();
    for part in decoder.str_iter()? {
        text.push_str(part?);
    }
    Ok(text)
}

fn finite<'a>(value: f64, at: usize) -> Result<Json<'a>, Refusal> {
    match value.is_finite() {
        true => Ok(Json::Float(value)),
        false => Err(Refusal::new(Reason::NotFinite, format!("byte {at}: {value}"))),
    }
}

fn deeper(depth: u8) -> Result<u8, Refusal> {
    depth.checked_sub(1).ok_or_else(|| Refusal::new(Reason::TooDeep, "nested too deep"))
}

fn malformed(detail: String) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tree_is_read_with_its_kinds() {
        // {"a": [1, -2, 1.5, true, null, "x"], -2: "n"}, then with indefinite lengths
        let bytes = b"\xa2\x61a\x86\x01\x21\xf9\x3e\x00\xf5\xf6\x61x\x21\x61n";
        let expected = Json::parse(br#"{"a":[1,-2,1.5,true,null,"x"],"-2":"n"}"#).unwrap();
        assert_eq!(parse(bytes).unwrap(), expected);
        let indefinite = b"\xbf\x61a\x9f\x01\x21\xf9\x3e\x00\xf5\xf6\x7f\x61x\xff\xff\x21\x61n\xff";
        assert_eq!(parse(indefinite).unwrap(), expected);
    }

    #[test]
    fn what_is_no_cbor_is_refused() {
        let reason = |bytes: &[u8]| parse(bytes).unwrap_err().reason;
        assert_eq!(reason(b""), Reason::Malformed);
        assert_eq!(reason(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), Reason::Malformed);
        assert_eq!(reason(b"\x01\x01"), Reason::Malformed);
        assert_eq!(reason(&[0x81; 40]), Reason::TooDeep);
        assert_eq!(reason(&[0xc1; 40]), Reason::TooDeep);
        assert_eq!(reason(b"\xf9\x7e\x00"), Reason::NotFinite);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_tree_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}

//! JSON as a borrowed tree: one pass, no copy of a string without escapes, bounded depth, no duplicate keys. The other
//! syntaxes make the same tree, so that one set of rules reads them all.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Serialize, Serializer,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};

use crate::{
    mapping::{Key, Shape},
    model::{Reason, reason::Refusal},
};

/// Deeper payloads are refused: no sensor format nests further, and recursion must end.
pub(super) const DEPTH_MAX: u8 = 16;
/// From this many keys on, duplicates are looked for by hash and not one by one.
const KEYS_SEARCHED_MAX: usize = 16;

#[derive(Clone, PartialEq, Debug)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// An identifier that may leave only as a pseudonym: no name, no value and no text shows it.
    Secret(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a whole payload.
    ///
    /// # Errors
    /// `NotUtf8`, `NotJson`, `NotFinite` (a bare NaN or infinity, or a number beyond a 64-bit float), `TooDeep`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            Refusal::new(Reason::NotUtf8, format!("byte {} is not UTF-8", error.valid_up_to()))
        })?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let tree = Depth(DEPTH_MAX).deserialize(&mut deserializer).map_err(|error| refusal(text, &error))?;
        deserializer.end().map_err(|error| refusal(text, &error))?;
        Ok(tree)
    }

    /// A member of an object, or an element of a list by its index; a name on a list means its first element.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(entries) => entries.iter().find(|(k, _)| is_same(k, key)).map(|(_, value)| value),
            Json::Array(items) => match key.parse::<usize>() {
                Ok(index) => items.get(index),
                Err(_) => items.first()?.get(key),
            },
            _ => None,
        }
    }

    /// As [`get`](Self::get), with the name or the index under which it stands.
    pub fn entry(&self, key: &str) -> Option<(Key<'_>, &Json<'a>)> {
        match self {
            Json::Object(entries) => {
                entries.iter().find(|(k, _)| k == key).map(|(key, node)| (Key::Name(key), node))
            }
            Json::Array(items) => match key.parse::<usize>() {
                Ok(index) => items.get(index).map(|node| (Key::Index(index), node)),
                Err(_) => items.first()?.entry(key),
            },
            _ => None,
        }
    }

    pub fn is(&self, shape: Shape) -> bool {
        match self {
            Json::Null => false,
            Json::Bool(_) => shape == Shape::Bool,
            Json::Int(_) | Json::Float(_) => shape == Shape::Number,
            Json::Text(_) | Json::Secret(_) => shape == Shape::Text,
            Json::Array(_) => shape == Shape::List,
            Json::Object(_) => shape == Shape::Object,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Int(value) => Some(*value as f64),
            Json::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What stands there, in a word, for the detail of a rejection.
    pub fn shape(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Int(_) | Json::Float(_) => "a number",
            Json::Text(_) => "a text",
            Json::Secret(_) => "a secret",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

/// A scalar as it would stand in a name.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Bool(value) => value.fmt(f),
            Json::Int(value) => value.fmt(f),
            Json::Float(value) => value.fmt(f),
            Json::Text(text) => f.write_str(text),
            other => f.write_str(other.shape()),
        }
    }
}

/// As JSON; a secret is null.
impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null | Json::Secret(_) => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Int(value) => serializer.serialize_i64(*value),
            Json::Float(value) => serializer.serialize_f64(*value),
            Json::Text(text) => serializer.serialize_str(text),
            Json::Array(items) => serializer.collect_seq(items),
            Json::Object(entries) => serializer.collect_map(entries.iter().map(|(key, node)| (key, node))),
        }
    }
}

/// Most names differ in their length or their first byte, which is seen without a call.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.as_bytes().first() == b.as_bytes().first() && a == b
}

const TOO_DEEP: &str = "nested too deep";

fn refusal(text: &str, error: &serde_json::Error) -> Refusal {
    let message = error.to_string();
    let line_start =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = line_start + error.column().saturating_sub(1);
    // A bare NaN stops the parser on its first or second letter.
    let around = text.get(at.saturating_sub(2)..).unwrap_or_default();
    let not_finite = ["NaN", "nan", "Infinity", "inf"]
        .iter()
        .any(|word| around.get(..around.len().min(word.len() + 2)).is_some_and(|head| head.contains(word)));
    let reason = match () {
        () if message.starts_with(TOO_DEEP) || message.starts_with("recursion limit") => Reason::TooDeep,
        () if message.starts_with("number out of range") || not_finite => Reason::NotFinite,
        () => Reason::NotJson,
    };
    Refusal::new(reason, message)
}

/// Deserializes a tree of at most so many levels.
#[derive(Clone, Copy)]
struct Depth(u8);

impl Depth {
    fn deeper<E: de::Error>(self) -> Result<Depth, E> {
        self.0.checked_sub(1).map(Depth).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(depth)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let depth = self.deeper()?;
        let mut entries: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        let mut seen: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(Name(key)) = map.next_key()? {
            let twice = if entries.len() < KEYS_SEARCHED_MAX {
                entries.iter().any(|(known, _)| is_same(known, &key))
            } else {
                let known = || entries.iter().map(|(known, _)| known.clone()).collect();
                !seen.get_or_insert_with(known).insert(key.clone())
            };
            if twice {
                return Err(de::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            entries.push((key, map.next_value_seed(depth)?));
        }
        Ok(Json::Object(entries))
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(payload: &[u8]) -> Reason {
        Json::parse(payload).unwrap_err().reason
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        assert_eq!(reason(b"\xff\xfe"), Reason::NotUtf8);
        assert_eq!(reason(b"hello"), Reason::NotJson);
        assert_eq!(reason(b""), Reason::NotJson);
        assert_eq!(reason(br#"{"v":1,"v":2}"#), Reason::NotJson);
        for text in
            [r#"{"v":NaN}"#, "{\n \"v\": NaN}", r#"{"v":Infinity}"#, r#"{"v":-Infinity}"#, r#"{"v":1e999}"#]
        {
            assert_eq!(reason(text.as_bytes()), Reason::NotFinite, "{text}");
        }
        assert_eq!(reason("[".repeat(17).as_bytes()), Reason::TooDeep);
        assert_eq!(reason(br#"{"name": nope}"#), Reason::NotJson);
    }

    #[test]
    fn a_late_duplicate_among_many_keys_is_found() {
        let keys = (0..40).map(|i| format!("\"k{i}\":0")).collect::<Vec<_>>().join(",");
        assert!(Json::parse(format!("{{{keys}}}").as_bytes()).is_ok());
        assert_eq!(reason(format!("{{{keys},\"k3\":0}}").as_bytes()), Reason::NotJson);
        assert_eq!(reason(format!("{{{keys},\"k39\":0}}").as_bytes()), Reason::NotJson);
    }

    proptest! {
        #[test]
        fn no_input_panics(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&payload);
        }

        #[test]
        fn no_json_like_text_panics(text in r#"[\[\]{}:,"0-9eE+\-.NaIinftyu \n\\]{0,80}"#) {
            let _ = Json::parse(text.as_bytes());
        }
    }
}

//! A mapping file as it is written: shapes only, [`compile`](super::compile) says what they mean.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    #[serde(default)]
    pub source: Vec<Spanned<RawSource>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    pub name: String,
    pub topic: String,
    pub format: String,
    pub compression: Option<String>,
    pub csv: Option<RawCsv>,
    #[serde(default, rename = "where")]
    pub conditions: Vec<RawCondition>,
    #[serde(default)]
    pub drop_if: Vec<RawCondition>,
    #[serde(default)]
    pub dedup: Vec<String>,
    #[serde(default)]
    pub redact: Vec<String>,
    pub number: Option<RawNumber>,
    pub each: Option<Several>,
    pub sensor: Option<String>,
    pub time: Option<RawTime>,
    pub interval: Option<RawInterval>,
    #[serde(default)]
    pub reading: Vec<Spanned<RawReading>>,
    #[serde(default)]
    pub lookup: HashMap<String, HashMap<String, String>>,
    #[serde(default)]
    pub rename: HashMap<String, String>,
    #[serde(default)]
    pub unit_map: HashMap<String, String>,
    #[serde(default)]
    pub tags: HashMap<String, RawTag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCsv {
    pub delimiter: Option<String>,
    /// Where the file has no header.
    pub columns: Option<Vec<String>>,
    pub comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCondition {
    pub path: Several,
    pub eq: Option<RawScalar>,
    pub ne: Option<RawScalar>,
    #[serde(rename = "in")]
    pub any_of: Option<Vec<RawScalar>>,
    #[serde(rename = "not_in")]
    pub none_of: Option<Vec<RawScalar>>,
    pub exists: Option<bool>,
    pub is: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNumber {
    pub source: String,
    pub epoch: Option<String>,
    pub seq: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTime {
    pub path: Option<Several>,
    #[serde(rename = "as")]
    pub format: Option<String>,
    pub pattern: Option<String>,
    pub tz: Option<String>,
    pub fold: Option<String>,
    pub fallback: Option<Several>,
    pub label: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInterval {
    pub start: Several,
    pub end: Several,
    #[serde(rename = "as")]
    pub format: Option<String>,
    pub tz: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawReading {
    #[serde(default, rename = "where")]
    pub conditions: Vec<RawCondition>,
    pub each: Option<Several>,
    pub sensor: Option<String>,
    pub metric: Option<String>,
    pub from_lookup: Option<String>,
    pub key: Option<String>,
    pub value: Option<Several>,
    pub sum: Option<Several>,
    #[serde(rename = "const")]
    pub constant: Option<f64>,
    pub unit: Option<String>,
    pub unit_path: Option<Several>,
    #[serde(default)]
    pub unit_suffix: bool,
    pub kind: Option<String>,
    pub interval_s: Option<u32>,
    #[serde(default)]
    pub sentinel: Vec<f64>,
    pub parse: Option<String>,
    pub range: Option<[f64; 2]>,
    pub time: Option<RawTime>,
    pub time_step: Option<String>,
    pub expand: Option<String>,
    pub event: Option<RawEvent>,
    pub hold: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEvent {
    pub id: Option<Several>,
    pub speed: Option<RawQuantity>,
    pub length: Option<RawQuantity>,
    pub on_time: Option<RawQuantity>,
    pub class: Option<Several>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawQuantity {
    pub path: Several,
    pub unit: String,
}

/// One text, or a list of them in order of preference.
#[derive(Debug)]
pub struct Several(pub Vec<String>);

pub enum RawScalar {
    Bool(bool),
    Number(f64),
    Text(String),
}

/// A path, or a table of the path and what is done with the value.
pub struct RawTag {
    pub path: Several,
    pub pseudonym: Option<String>,
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Several;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Several, E> {
                Ok(Several(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Several, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Several(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl<'de> Deserialize<'de> for RawScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = RawScalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<RawScalar, E> {
                Ok(RawScalar::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<RawScalar, E> {
                Ok(RawScalar::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<RawScalar, E> {
                Ok(RawScalar::Number(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<RawScalar, E> {
                Ok(RawScalar::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl<'de> Deserialize<'de> for RawTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            path: Several,
            pseudonym: Option<String>,
        }
        struct Tag;
        impl<'de> Visitor<'de> for Tag {
            type Value = RawTag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or { path = ..., pseudonym = \"daily\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawTag, E> {
                Ok(RawTag { path: Several(vec![text.to_owned()]), pseudonym: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawTag, A::Error> {
                let Table { path, pseudonym } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawTag { path, pseudonym })
            }
        }
        deserializer.deserialize_any(Tag)
    }
}

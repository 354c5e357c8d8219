use std::{fmt::Write, str::FromStr};

use super::{Captures, Path};
use crate::decode::Json;

/// A name made of text, captured topic levels `{name}` and payload values `{/path}`: `lora:{/dev_eui}`.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Debug)]
enum Piece {
    Text(String),
    Capture(String),
    Value(Path),
}

impl Template {
    /// # Errors
    /// Names the capture or the path that has no text, number or boolean.
    pub fn render(&self, captures: &Captures<'_, '_>, payload: &Json<'_>) -> Result<String, String> {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Capture(capture) => {
                    name.push_str(
                        captures.get(capture).ok_or_else(|| format!("the topic has no {capture:?}"))?,
                    );
                }
                Piece::Value(path) => match path.find(payload) {
                    Some(value @ (Json::Text(_) | Json::Int(_) | Json::Bool(_))) => {
                        let _ = write!(name, "{value}"); // writing to a String cannot fail
                    }
                    Some(other) => return Err(format!("{path} holds {}, not a name", other.shape())),
                    None => return Err(format!("{path} is absent")),
                },
            }
        }
        Ok(name)
    }

    /// The topic levels it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) =
                after.split_once('}').ok_or_else(|| format!("{text:?}: a \"{{\" is not closed"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(if inside.starts_with('/') {
                Piece::Value(inside.parse()?)
            } else {
                Piece::Capture(inside.to_owned())
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() { Err("a name template is empty".to_owned()) } else { Ok(Template { pieces }) }
    }
}

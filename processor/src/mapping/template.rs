use std::{fmt::Write, str::FromStr};

use super::{Captures, Path, Place};
use crate::decode::Json;

/// A name made of text, captured topic levels `{name}`, payload values `{/path}` and the name or index of the item that
/// `each` stands on, `{@key}`: `lora:{/dev_eui}`.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Debug)]
enum Piece {
    Text(Box<str>),
    Capture(Box<str>),
    Value(Path),
    /// So many items out.
    Key(usize),
}

impl Template {
    /// Appends the name.
    ///
    /// # Errors
    /// Names the capture or the path that has no text, number or boolean.
    pub fn render(
        &self,
        captures: &Captures<'_, '_>,
        place: &Place<'_, '_>,
        name: &mut String,
    ) -> Result<(), String> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Capture(capture) => {
                    name.push_str(
                        captures.get(capture).ok_or_else(|| format!("the topic has no {capture:?}"))?,
                    );
                }
                Piece::Key(out) => {
                    let item = place.item(*out).ok_or("no `each` stands on an item")?;
                    let _ = write!(name, "{}", item.key); // writing to a String cannot fail
                }
                Piece::Value(path) => match path.find(place) {
                    Some(Json::Text(text)) => name.push_str(text),
                    Some(value @ (Json::Int(_) | Json::Bool(_))) => {
                        let _ = write!(name, "{value}");
                    }
                    Some(other) => return Err(format!("{path} holds {}, not a name", other.shape())),
                    None => return Err(format!("{path} is absent")),
                },
            }
        }
        Ok(())
    }

    /// The topic levels it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(&**name),
            _ => None,
        })
    }

    /// The text, where it is nothing else.
    pub fn text(&self) -> Option<&str> {
        match &self.pieces[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
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
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(match inside {
                "@key" => Piece::Key(0),
                "../@key" => Piece::Key(1),
                _ if inside.starts_with(['/', '.']) => Piece::Value(inside.parse()?),
                _ => Piece::Capture(inside.into()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        if pieces.is_empty() { Err("a name template is empty".to_owned()) } else { Ok(Template { pieces }) }
    }
}

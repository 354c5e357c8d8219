//! The elements of an XML file, one after the other.

use anyhow::{Context, anyhow};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{input::Text, number};
use crate::observation::Decimal;

/// What begins or stands alone: a name with attributes.
pub struct Element<'a>(&'a BytesStart<'a>);

impl Element<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.0.name().as_ref() == name
    }

    /// An attribute, if it is there.
    pub fn text(&self, name: &str) -> anyhow::Result<Option<String>> {
        let Some(attribute) = self.0.try_get_attribute(name)? else { return Ok(None) };
        Ok(Some(attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned()))
    }

    pub fn due(&self, name: &str) -> anyhow::Result<String> {
        let own = self.0.name();
        self.text(name)?.with_context(|| format!("<{}> has no attribute {name:?}", own.as_ref()))
    }

    pub fn number(&self, name: &str) -> anyhow::Result<Option<Decimal>> {
        self.text(name)?.map(|text| number::decimal(&text).with_context(|| name.to_owned())).transpose()
    }
}

/// Every element that begins, in the order of the file; errors name the line.
///
/// # Errors
/// It is no XML, or whatever `take` returns.
pub fn elements(text: Text, mut take: impl FnMut(Element<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut reader = Reader::from_reader(text);
    let mut buffer = Vec::new();
    let mut depth = 0u64;
    loop {
        buffer.clear();
        reader.get_mut().begin();
        let read = match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(tag)) => {
                depth += 1;
                take(Element(&tag)).map(|()| true)
            }
            Ok(Event::Empty(tag)) => take(Element(&tag)).map(|()| true),
            Ok(Event::End(_)) => {
                depth -= 1; // the reader has checked that it was open
                Ok(true)
            }
            Ok(Event::Eof) if 0 < depth => Err(anyhow!("it ends within an element: is the file complete?")),
            Ok(Event::Eof) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(anyhow!("{error}")),
        };
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let line = reader.get_ref().line();
                return Err(error.context(format!("line {line}")));
            }
        }
    }
}

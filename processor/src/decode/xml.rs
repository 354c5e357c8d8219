//! XML as a tree, without namespaces: `<a id="1"><b>2</b></a>` is `{"a":[{"@id":"1","b":"2"}]}`. Elements with members
//! are lists, so that one and several are read alike; an element of text only is its text, else the text is `#text`.

use std::{borrow::Cow, fmt};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Json, json::DEPTH_MAX, text};
use crate::model::{Reason, reason::Refusal};

/// DATEX II nests its values twice as deep as sensors nest theirs.
const LEVELS_MAX: usize = 2 * DEPTH_MAX as usize;

/// More attributes than any element of a feed has.
const ATTRIBUTES_MAX: usize = 256;

struct Element<'a> {
    name: String,
    members: Vec<(Cow<'a, str>, Json<'a>)>,
    text: String,
}

pub(super) fn parse(payload: &[u8]) -> Result<Json<'_>, Refusal> {
    let text = text(payload)?;
    let mut reader = Reader::from_str(text);
    // The document stands around its root element.
    let mut open = vec![Element { name: String::new(), members: Vec::new(), text: String::new() }];
    loop {
        let at = reader.buffer_position();
        let wrong = |what: &dyn fmt::Display| malformed(format!("byte {at}: {what}"));
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(tag) => {
                if LEVELS_MAX < open.len() {
                    return Err(Refusal::new(Reason::TooDeep, "nested too deep"));
                }
                open.push(element(&tag).map_err(|error| wrong(&error))?);
            }
            Event::Empty(tag) => {
                let element = element(&tag).map_err(|error| wrong(&error))?;
                close(element, &mut open);
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open); // the reader has checked that it was open
                }
            }
            Event::Text(part) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&part);
                }
            }
            Event::CData(part) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&part);
                }
            }
            Event::GeneralRef(name) => {
                let known = match name.resolve_char_ref().map_err(|error| wrong(&error))? {
                    Some(letter) => letter,
                    None => match &*name {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        // Entities of a document type could grow without bound.
                        _ => return Err(wrong(&"an entity that XML itself does not know")),
                    },
                };
                if let Some(element) = open.last_mut() {
                    element.text.push(known);
                }
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
    match open.as_mut_slice() {
        [document] if !document.members.is_empty() => Ok(Json::Object(std::mem::take(&mut document.members))),
        [_] => Err(malformed("there is no element".to_owned())),
        _ => Err(malformed("it ends within an element".to_owned())),
    }
}

fn element<'a>(tag: &BytesStart<'_>) -> Result<Element<'a>, quick_xml::Error> {
    let mut members = Vec::new();
    // Unchecked: to look for a name that comes twice would cost the square of their number.
    for attribute in tag.attributes().with_checks(false).take(ATTRIBUTES_MAX) {
        let attribute = attribute?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned();
        let name = format!("@{}", attribute.key.local_name().as_ref());
        members.push((Cow::Owned(name), Json::Text(Cow::Owned(value))));
    }
    Ok(Element { name: tag.local_name().as_ref().to_owned(), members, text: String::new() })
}

fn close<'a>(element: Element<'a>, open: &mut [Element<'a>]) {
    let Element { name, mut members, text } = element;
    let text = text.trim().to_owned();
    let node = match (members.is_empty(), text.is_empty()) {
        (true, true) => Json::Null,
        (true, false) => Json::Text(Cow::Owned(text)),
        (false, true) => Json::Object(members),
        (false, false) => {
            members.push((Cow::Borrowed("#text"), Json::Text(Cow::Owned(text))));
            Json::Object(members)
        }
    };
    let Some(parent) = open.last_mut() else { return };
    let known = parent.members.iter_mut().rev().take(MEMBERS_SEARCHED).find(|(known, _)| *known == name);
    match (known, node) {
        (Some((_, Json::Array(items))), node) => items.push(node),
        (Some((_, first)), node) => {
            let first_node = std::mem::replace(first, Json::Null);
            *first = Json::Array(vec![first_node, node]);
        }
        (None, node @ Json::Object(_)) => parent.members.push((Cow::Owned(name), Json::Array(vec![node]))),
        (None, node) => parent.members.push((Cow::Owned(name), node)),
    }
}

/// Different names that one element's children have; beyond, a name that comes again is another member.
const MEMBERS_SEARCHED: usize = 64;

fn malformed(detail: String) -> Refusal {
    Refusal::new(Reason::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_members_and_their_repeats_a_list() {
        let xml =
            br#"<?xml version="1.0"?><d:a xmlns:d="urn:d" id="1"><b>2 &lt; 3</b><b x="y">4</b><c/></d:a>"#;
        let json = br##"{"a":[{"@d":"urn:d","@id":"1","b":["2 < 3",{"@x":"y","#text":"4"}],"c":null}]}"##;
        assert_eq!(parse(xml).unwrap(), Json::parse(json).unwrap());
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        let reason = |text: &str| parse(text.as_bytes()).unwrap_err().reason;
        for text in ["", "<a>", "<a></b>", "<a x=1/>", "<a>&lol;</a>", "</a>"] {
            assert_eq!(reason(text), Reason::Malformed, "{text}");
        }
        assert_eq!(reason(&"<a>".repeat(1_000)), Reason::TooDeep);
    }

    proptest! {
        #[test]
        fn any_text_is_a_tree_or_refused(text in "[<>/a-c\"'=&;!?\\[\\] \n-]{0,80}") {
            let _ = parse(text.as_bytes());
        }
    }
}

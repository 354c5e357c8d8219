use std::{fmt, str::FromStr};

use crate::decode::Json;

/// Where a value stands: a JSON Pointer (RFC 6901) such as `/waterConsumption/value`; the empty one is the whole.
///
/// `/a` begins at the payload, `./a` at the item that `each` stands on, `../a` at the item around it. A step `*` is any
/// member, `plate*` any member whose name begins so; a name on a list means its first element.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    text: Box<str>,
    base: Base,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Base {
    Payload,
    /// So many items out from the innermost.
    Item(usize),
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Key(Box<str>),
    Any,
    Prefix(Box<str>),
}

/// Alternatives: the first that is there counts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Paths(pub Vec<Path>);

/// Where rules are read: the payload, and the items that `each` stands on.
#[derive(Clone, Copy, Debug)]
pub struct Place<'j, 'a> {
    payload: &'j Json<'a>,
    /// The innermost last.
    items: [Option<Item<'j, 'a>>; 2],
}

/// An element of a list or a member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Item<'j, 'a> {
    pub node: &'j Json<'a>,
    pub key: Key<'j>,
}

#[derive(Clone, Copy, Debug)]
pub enum Key<'j> {
    Name(&'j str),
    Index(usize),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Name(name) => f.write_str(name),
            Key::Index(index) => index.fmt(f),
        }
    }
}

impl<'j, 'a> Place<'j, 'a> {
    pub fn of(payload: &'j Json<'a>) -> Self {
        Place { payload, items: [None, None] }
    }

    pub fn payload(&self) -> &'j Json<'a> {
        self.payload
    }

    /// The place one item further in.
    pub fn at(self, item: Item<'j, 'a>) -> Self {
        Place { items: [self.items[1], Some(item)], ..self }
    }

    /// So many items out from the innermost.
    pub fn item(&self, out: usize) -> Option<Item<'j, 'a>> {
        self.items.iter().rev().copied().nth(out).flatten()
    }

    fn base(&self, base: Base) -> &'j Json<'a> {
        match base {
            Base::Payload => self.payload,
            Base::Item(out) => self.item(out).map_or(self.payload, |item| item.node),
        }
    }
}

impl Path {
    pub fn find<'j, 'a>(&self, place: &Place<'j, 'a>) -> Option<&'j Json<'a>> {
        find(place.base(self.base), &self.steps)
    }

    /// Everything that the path fits, in order, with the name or the index that stands last.
    pub fn visit<'j, 'a>(&self, place: &Place<'j, 'a>, visit: &mut dyn FnMut(Item<'j, 'a>)) {
        fn walk<'j, 'a>(item: Item<'j, 'a>, steps: &[Step], visit: &mut dyn FnMut(Item<'j, 'a>)) {
            let Some((step, rest)) = steps.split_first() else { return visit(item) };
            match (step, item.node) {
                (Step::Key(key), node) => {
                    if let Some((key, node)) = node.entry(key) {
                        walk(Item { node, key }, rest, visit);
                    }
                }
                (Step::Any, Json::Array(items)) => {
                    for (i, node) in items.iter().enumerate() {
                        walk(Item { node, key: Key::Index(i) }, rest, visit);
                    }
                }
                (_, Json::Object(entries)) => {
                    for (key, node) in entries.iter().filter(|(key, _)| step.fits(key)) {
                        walk(Item { node, key: Key::Name(key) }, rest, visit);
                    }
                }
                _ => {}
            }
        }
        walk(Item { node: place.base(self.base), key: Key::Index(0) }, &self.steps, visit);
    }

    /// Puts something else in the place of everything that the path fits; `None` takes it out.
    pub fn replace<'a>(&self, payload: &mut Json<'a>, with: &mut dyn FnMut(Json<'a>) -> Option<Json<'a>>) {
        replace(payload, &self.steps, with);
    }

    /// This path with its steps behind those of `each`, where it begins at an item.
    pub fn below(&self, each: Option<&Path>) -> Path {
        match (self.base, each) {
            (Base::Item(0), Some(each)) => Path {
                text: format!("{}{}", each.text, self.text.trim_start_matches('.')).into(),
                base: each.base,
                steps: each.steps.iter().chain(&self.steps).cloned().collect(),
            },
            _ => self.clone(),
        }
    }

    /// Whether it fits more than one place.
    pub fn is_open(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step, Step::Key(_)))
    }
}

impl Step {
    fn fits(&self, name: &str) -> bool {
        match self {
            Step::Key(key) => **key == *name,
            Step::Any => true,
            Step::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }
}

fn find<'j, 'a>(node: &'j Json<'a>, steps: &[Step]) -> Option<&'j Json<'a>> {
    let Some((step, rest)) = steps.split_first() else { return Some(node) };
    match (step, node) {
        (Step::Key(key), node) => find(node.get(key)?, rest),
        (Step::Any, Json::Array(items)) => items.iter().find_map(|item| find(item, rest)),
        (_, Json::Object(entries)) => {
            entries.iter().filter(|(key, _)| step.fits(key)).find_map(|(_, node)| find(node, rest))
        }
        _ => None,
    }
}

fn replace<'a>(node: &mut Json<'a>, steps: &[Step], with: &mut dyn FnMut(Json<'a>) -> Option<Json<'a>>) {
    let Some((step, rest)) = steps.split_first() else {
        let old = std::mem::replace(node, Json::Null);
        *node = with(old).unwrap_or(Json::Null);
        return;
    };
    match node {
        Json::Array(items) => {
            let index = match step {
                Step::Key(key) => Some(key.parse::<usize>().unwrap_or(0)),
                _ => None,
            };
            // A name on a list means its first element, and the name is still to come.
            let named = matches!(step, Step::Key(key) if key.parse::<usize>().is_err());
            for (i, item) in items.iter_mut().enumerate() {
                if index.is_none_or(|index| index == i) {
                    replace(item, if named { steps } else { rest }, with);
                }
            }
        }
        Json::Object(entries) => {
            if !rest.is_empty() {
                for (_, node) in entries.iter_mut().filter(|(key, _)| step.fits(key)) {
                    replace(node, rest, with);
                }
                return;
            }
            entries.retain_mut(|(key, node)| {
                if !step.fits(key) {
                    return true;
                }
                let old = std::mem::replace(node, Json::Null);
                with(old).map(|new| *node = new).is_some()
            });
        }
        _ => {}
    }
}

impl Paths {
    /// The first that is there and no list or object; else the first that is there at all. Null is not there.
    pub fn find<'j, 'a>(&self, place: &Place<'j, 'a>) -> Option<(&Path, &'j Json<'a>)> {
        let mut shaped = None;
        for path in &self.0 {
            match path.find(place) {
                None | Some(Json::Null) => {}
                Some(node @ (Json::Array(_) | Json::Object(_))) => shaped = shaped.or(Some((path, node))),
                Some(node) => return Some((path, node)),
            }
        }
        shaped
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, path) in self.0.iter().enumerate() {
            if 0 < i {
                f.write_str(" or ")?;
            }
            path.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (base, rest) = match text {
            _ if text.is_empty() || text.starts_with('/') => (Base::Payload, text),
            _ if text == "." || text.starts_with("./") => (Base::Item(0), &text[1..]),
            _ if text == ".." || text.starts_with("../") => (Base::Item(1), &text[2..]),
            _ => {
                return Err(format!(
                    "{text:?} is no path: a path is empty or starts with \"/\", \"./\" or \"../\""
                ));
            }
        };
        let step = |step: &str| match step.strip_suffix('*') {
            Some("") => Step::Any,
            Some(prefix) => Step::Prefix(unescaped(prefix)),
            None => Step::Key(unescaped(step)),
        };
        Ok(Path { text: text.into(), base, steps: rest.split('/').skip(1).map(step).collect() })
    }
}

fn unescaped(step: &str) -> Box<str> {
    if step.contains('~') { step.replace("~1", "/").replace("~0", "~").into() } else { step.into() }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "the payload" } else { &self.text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = br#"{"a":[{"v":1,"plate":"X","plateColor":"red"},{"v":2}],"m":{"x":3,"y":4}}"#;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_any_member_and_a_name_on_a_list_its_first() {
        let json = Json::parse(TEXT).unwrap();
        let place = Place::of(&json);
        let mut seen = Vec::new();
        path("/a/*/v").visit(&place, &mut |item| seen.push(item.node.to_string()));
        path("/m/*").visit(&place, &mut |item| seen.push(item.key.to_string()));
        assert_eq!(seen, ["1", "2", "x", "y"]);
        assert_eq!(path("/a/v").find(&place), Some(&Json::Int(1)));
        assert_eq!(path("/a/1/v").find(&place), Some(&Json::Int(2)));
        assert_eq!(path("/m/z").find(&place), None);
        assert!("a/b".parse::<Path>().is_err());
    }

    #[test]
    fn items_are_counted_from_the_innermost() {
        let json = Json::parse(TEXT).unwrap();
        let mut inner = None;
        path("/a/*").visit(&Place::of(&json), &mut |item| inner = Some(Place::of(&json).at(item)));
        let outer = inner.unwrap();
        let Json::Object(entries) = outer.item(0).unwrap().node else { panic!("an object") };
        let deep = outer.at(Item { node: &entries[0].1, key: Key::Name("v") });
        assert_eq!(path(".").find(&deep), Some(&Json::Int(2)));
        assert_eq!(path("../v").find(&deep), Some(&Json::Int(2)));
        assert_eq!(path("/m/x").find(&deep), Some(&Json::Int(3)));
    }

    #[test]
    fn what_a_path_fits_is_taken_out() {
        let mut json = Json::parse(TEXT).unwrap();
        path("./plate*").below(Some(&path("/a/*"))).replace(&mut json, &mut |_| None);
        path("/m").replace(&mut json, &mut |_| None);
        assert_eq!(json, Json::parse(br#"{"a":[{"v":1},{"v":2}]}"#).unwrap());
    }
}

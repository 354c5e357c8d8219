use std::{fmt, str::FromStr};

use crate::decode::Json;

/// A JSON Pointer (RFC 6901), such as `/waterConsumption/value`; the empty one is the whole payload.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    text: String,
    steps: Vec<String>,
}

impl Path {
    pub fn find<'j, 'a>(&self, root: &'j Json<'a>) -> Option<&'j Json<'a>> {
        self.steps.iter().try_fold(root, |node, step| node.get(step))
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!("{text:?} is no path: a path is empty or starts with \"/\""));
        }
        let steps = text.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Path { text: text.to_owned(), steps })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "the payload" } else { &self.text })
    }
}

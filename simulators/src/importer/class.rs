//! Kinds of vehicles by the names that files have for them.

use std::sync::{Mutex, PoisonError};

/// A demand with more types describes vehicles, not kinds of them.
const CLASSES_MAX: usize = 1_000;
/// As in the payload; a longer name is cut.
const LETTERS_MAX: usize = 64;

/// The name of a kind, kept for the life of the program: there are few. With an underscore for what JSON would have to
/// escape; `other` beyond the limit.
pub fn class(name: &str) -> &'static str {
    static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-@".contains(c);
    let name: String = name.chars().take(LETTERS_MAX).map(|c| if allowed(c) { c } else { '_' }).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match known.iter().find(|one| **one == name) {
        Some(one) => one,
        None if name.is_empty() || CLASSES_MAX <= known.len() => "other",
        None => {
            known.push(Box::leak(name.into_boxed_str()));
            known[known.len() - 1]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_payload_may_hold() {
        assert_eq!(
            [class("truck"), class("a\"b"), class(""), class("truck")],
            ["truck", "a_b", "other", "truck"]
        );
    }
}

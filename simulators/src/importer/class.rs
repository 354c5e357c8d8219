//! Kinds of vehicles by the names that files have for them.

/// As in the payload; a longer name is cut.
const LETTERS_MAX: usize = 64;

/// The name of a kind, with an underscore for what JSON would have to escape; `other` where it has none.
pub fn class(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-@".contains(c);
    if name.is_empty() {
        return "other".to_owned();
    }
    name.chars().take(LETTERS_MAX).map(|c| if allowed(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_payload_may_hold() {
        assert_eq!(["truck", "a\"b", ""].map(class), ["truck", "a_b", "other"]);
    }
}

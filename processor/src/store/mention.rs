/// A sensor's name as it may stand in a text: by itself, not as a part of another name.
pub struct Mention {
    /// As it is, and as JSON may write it without other letters than ASCII.
    spellings: Vec<Vec<u8>>,
}

impl Mention {
    pub fn of(name: &str) -> Mention {
        let mut spellings = vec![name.as_bytes().to_vec()];
        if !name.is_ascii() {
            let escape = |upper: bool| -> String {
                let mut units = [0; 2];
                let escaped = name.chars().map(|letter| match letter.is_ascii() {
                    true => letter.to_string(),
                    false => {
                        let units = letter.encode_utf16(&mut units).iter();
                        let hex = |unit: &u16| {
                            if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }
                        };
                        units.map(hex).collect()
                    }
                });
                escaped.collect()
            };
            spellings.extend([escape(false).into_bytes(), escape(true).into_bytes()]);
        }
        // JSON may write a slash in two ways.
        let slashed: Vec<Vec<u8>> = spellings
            .iter()
            .filter(|spelling| spelling.contains(&b'/'))
            .map(|spelling| String::from_utf8_lossy(spelling).replace('/', "\\/").into_bytes())
            .collect();
        spellings.extend(slashed);
        Mention { spellings }
    }

    pub fn is_in(&self, text: &[u8]) -> bool {
        self.spellings.iter().any(|name| {
            let places =
                text.windows(name.len()).enumerate().filter(|(_, window)| *window == name.as_slice());
            places
                .into_iter()
                .any(|(at, _)| !goes_on_before(&text[..at]) && !goes_on(&text[at + name.len()..]))
        })
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Whether a name goes on: by a letter or digit, also after a dash or a dot.
fn goes_on(after: &[u8]) -> bool {
    match after {
        [b'-' | b'.', next, ..] => is_letter(*next),
        [next, ..] => is_letter(*next),
        [] => false,
    }
}

fn goes_on_before(before: &[u8]) -> bool {
    match before {
        [.., last, b'-' | b'.'] => is_letter(*last),
        [.., last] => is_letter(*last),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_itself_and_not_inside_another() {
        let mention = Mention::of("WM-1");
        for text in [
            "WM-1",
            "city/water/WM-1/register",
            r#"[{"bn":"WM-1:","n":"level"}]"#,
            "volume of WM-1.",
            "WM-10 and WM-1",
        ] {
            assert!(mention.is_in(text.as_bytes()), "{text}");
        }
        for text in ["WM-10", "aWM-1", "WM-1-b", "x.WM-1", "WM-1.5", "", "WM"] {
            assert!(!mention.is_in(text.as_bytes()), "{text}");
        }
        let mention = Mention::of("Zürich/1");
        for text in ["Zürich/1", r#"{"s":"Z\u00fcrich/1"}"#, r#"{"s":"Z\u00FCrich\/1"}"#] {
            assert!(mention.is_in(text.as_bytes()), "{text}");
        }
    }
}

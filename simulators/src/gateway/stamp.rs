//! How a message carries its number: in the user properties of MQTT 5, which a broker or bridge may lose, and in the first
//! object of a JSON payload, which none changes.

use serde_json::json;

/// A message's number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) source: &'a str,
    pub(super) epoch: i64,
    pub(super) seq: u64,
}

impl Stamp<'_> {
    pub(super) fn properties(self) -> Vec<(String, String)> {
        let property = |name: &str, value: String| (name.to_owned(), value);
        vec![
            property("source", self.source.to_owned()),
            property("epoch", self.epoch.to_string()),
            property("seq", self.seq.to_string()),
        ]
    }

    /// With the number as the first member, where the payload is an object or begins with one; else as it is.
    pub(super) fn payload(self, payload: &[u8]) -> Vec<u8> {
        let Some(open) = [&b"{"[..], b"[{"].into_iter().find(|open| payload.starts_with(open)) else {
            return payload.to_vec();
        };
        let rest = &payload[open.len()..];
        let is_empty = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
        let number = json!({ "source": self.source, "epoch": self.epoch, "seq": self.seq });
        let comma = if is_empty { "" } else { "," };
        [open, format!("\"screenline\":{number}{comma}").as_bytes(), rest].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_first_member_of_the_first_object() {
        let stamp = Stamp { source: "gate-1", epoch: 1_700_000_000, seq: 7 };
        let stamped = |payload: &str| String::from_utf8(stamp.payload(payload.as_bytes())).unwrap();
        let number = r#""screenline":{"source":"gate-1","epoch":1700000000,"seq":7}"#;
        assert_eq!(stamped(r#"{"v":1}"#), format!(r#"{{{number},"v":1}}"#));
        assert_eq!(stamped(r#"[{"bn":"a"},{"v":1}]"#), format!(r#"[{{{number},"bn":"a"}},{{"v":1}}]"#));
        assert_eq!(stamped("{ }"), format!("{{{number} }}"));
        for other in ["", "42", "[1,2]", " {\"v\":1}", "\u{1}\u{2}"] {
            assert_eq!(stamped(other), other);
        }
    }
}

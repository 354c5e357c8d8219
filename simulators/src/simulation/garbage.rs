//! Payloads that are not what they should be, each with the reason for which it must be refused.

use crate::observation::Utterance;
use crate::oracle::Refusal;
use crate::speech::Format;

/// Ways in which a payload is spoilt.
pub(super) const KINDS: u64 = 5;
/// Larger than what ingest takes (256 KiB), smaller than what brokers take.
const OVERSIZE_BYTES: usize = 300 << 10;

/// Whether what stood beside the spoilt part is stored: a record too many does not harm its neighbours.
pub(super) fn keeps(kind: u8, format: Format) -> bool {
    kind == 0 && format == Format::Senml
}

pub(super) fn refusal(kind: u8, format: Format) -> Refusal {
    let whole = |reason| Refusal { reason, readings: 0 };
    match kind {
        0 if format == Format::Senml => Refusal { reason: "wrong_shape", readings: 1 },
        2 => whole("not_utf8"),
        3 => whole("not_finite"),
        4 => whole("too_deep"),
        _ => whole("not_json"),
    }
}

/// A payload that ends in a bracket or a brace, spoilt.
pub(super) fn spoil(kind: u8, format: Format, said: Utterance) -> Utterance {
    let Utterance { topic, mut payload } = said;
    let is_pack = format == Format::Senml;
    let Some(end) = payload.pop() else { return Utterance { topic, payload } };
    let deep = || format!("{}{}", "[".repeat(20), "]".repeat(20));
    let more = match (kind, is_pack) {
        (0, true) => r#",{"n":"noise.level","v":"loud"}"#.to_owned(),
        (3, true) => r#",{"n":"noise.level","v":NaN}"#.to_owned(),
        (3, false) => r#","note":NaN"#.to_owned(),
        (4, true) => format!(r#",{{"note":{}}}"#, deep()),
        (4, false) => format!(r#","note":{}"#, deep()),
        (2, _) => {
            payload.push(0xff);
            String::new()
        }
        _ => {
            // Cut in its middle, where no array or object is closed yet.
            payload.truncate(payload.len() / 2 + 1);
            return Utterance { topic, payload };
        }
    };
    payload.extend_from_slice(more.as_bytes());
    payload.push(end);
    Utterance { topic, payload }
}

pub(super) fn oversize(said: Utterance) -> Utterance {
    let Utterance { topic, mut payload } = said;
    payload.resize(payload.len() + OVERSIZE_BYTES, b' ');
    Utterance { topic, payload }
}

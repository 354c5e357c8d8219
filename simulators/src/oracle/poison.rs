//! Messages that must be refused, each with the reason that must be kept.

use super::fact::{Fact, Salt, Shape};
use super::load::JOINT;

/// What must become of a refused message: the reason, and how many of its readings; 0 is the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub reason: &'static str,
    pub readings: i64,
}

pub(super) struct Poison {
    pub topic: String,
    pub payload: Vec<u8>,
    pub refusal: Refusal,
    /// Whether a number in the payload can be found: the payload is JSON, and a mapping takes the topic.
    pub carries_number: bool,
}

/// Reasons by turn, so that a load has some of each.
pub(super) const KINDS: usize = 10;
/// The kinds whose payload can carry a number.
pub(super) const NUMBERED_KINDS: usize = 4;

/// The `n`th bad message. `facts` are a good pack, which one kind spoils with one bad record; it returns them, because
/// the neighbours of a bad record stand.
pub(super) fn make(
    kind: usize,
    n: usize,
    source: &str,
    number: &str,
    salt: Salt,
    facts: Vec<Fact>,
) -> (Poison, Vec<Fact>) {
    let senml = format!("city/senml/{source}/bad");
    let register = format!("city/water/{source}{JOINT}bad/register");
    let record = |name: &str, time_s: i64| {
        format!(r#"[{{{number}"bn":"{name}:","bt":{time_s},"n":"level","u":"m","v":{n}}}]"#).into_bytes()
    };
    let name = format!("{source}{JOINT}bad");
    let one = |reason, topic, payload| Poison {
        topic,
        payload,
        refusal: Refusal { reason, readings: 1 },
        carries_number: true,
    };
    let whole = |reason, topic, payload: Vec<u8>| Poison {
        topic,
        payload,
        refusal: Refusal { reason, readings: 0 },
        carries_number: false,
    };
    let poison = match kind % KINDS {
        0 => {
            let good = Shape::Level.payload(salt, &facts, number);
            let spoilt = format!(r#"{},{{"n":"level","v":"much, {n}"}}]"#, &good[..good.len() - 1]);
            return (one("wrong_shape", senml, spoilt.into_bytes()), facts);
        }
        1 => one("future", senml, record(&name, 4_102_444_800)), // the year 2100
        2 => one("before_2000", senml, record(&name, 500_000_000)),
        3 => one("bad_name", senml, record(&format!("{source} has a space"), 1_704_067_200)),
        4 => {
            let mut payload =
                format!(r#"{{"note":{n},"time":"2024-01-01T00:00:00Z","register_m3":"#).into_bytes();
            payload.extend(b"\xff}");
            whole("not_utf8", register, payload)
        }
        5 => whole("not_json", register, format!(r#"{{"note":{n},"time":"#).into_bytes()),
        6 => whole(
            "not_finite",
            senml,
            format!(r#"[{{"bn":"{name}:","bt":{n},"n":"level","v":NaN}}]"#).into_bytes(),
        ),
        7 => {
            let (open, close) = ("[".repeat(20), "]".repeat(20));
            whole("too_deep", senml, format!(r#"[{{"note":{n},"x":{open}{close}}}]"#).into_bytes())
        }
        8 => whole("no_mapping", format!("city/nowhere/{source}"), format!(r#"{{"note":{n}}}"#).into_bytes()),
        _ => whole("wrong_shape", senml, format!(r#"{{"note":{n}}}"#).into_bytes()),
    };
    (poison, Vec::new())
}

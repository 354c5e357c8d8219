//! Inputs that nobody would write: JSON of every shape, and what becomes of real bytes on a bad day.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// What formats and mappings look for, so that hostile values stand where values are read.
const LABELS: [&str; 25] = [
    "bn",
    "bt",
    "bu",
    "bv",
    "bs",
    "bver",
    "n",
    "u",
    "v",
    "vs",
    "vb",
    "s",
    "t",
    "time",
    "entered",
    "class",
    "vehicle",
    "register_m3",
    "speed_mps",
    "length_m",
    "on_time_s",
    "screenline",
    "source",
    "epoch",
    "seq",
];

const SCALARS: [&str; 30] = [
    "null",
    "true",
    "false",
    "NaN",
    "-Infinity",
    "inf",
    "nul",
    "",
    "-0",
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "1e",
    "1e999",
    "-1e999",
    "1e-999",
    "1e308",
    "-1.7976931348623157e308",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "123456789012345678901234567890",
    "1715662860",
    "1715662860.123456",
    "-5",
    "268435456",
    "1e16",
    "0.1",
];

const TEXTS: [&str; 24] = [
    r#""""#,
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0000""#,
    r#""\x""#,
    "\"\n\"",
    r#"""#,
    r#""NaN""#,
    r#"" 1.5 ""#,
    r#""1e400""#,
    r#""m/s""#,
    r#""km""#,
    r#""/100""#,
    r#""urn:dev:ow:1_level""#,
    r#""city:level""#,
    r#"":""#,
    r#""x""#,
    r#""2024-05-14T05:00:16.720Z""#,
    r#""2024-02-30T00:00:00Z""#,
    r#""9999-12-31T23:59:59.999999999Z""#,
    r#""-009999-01-02T01:59:59Z""#,
    r#""0001-01-01T00:00:00+25:00""#,
    r#""2024-05-14T05:00:16.7204567891234Z""#,
];

/// Of sensors, of metrics that the mapping knows, and of both.
const NAMES: [&str; 9] = [
    "d1:",
    "d1",
    "speed",
    "volume",
    "occupancy",
    "d1:speed",
    "urn:dev:ow:1_level",
    "d1/level",
    "temperature",
];

const UNITS: [&str; 9] = ["m/s", "km/h", "%", "/100", "count", "Cel", "m3", "kg", ""];

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|value| format!("{value:?}")),
        any::<i64>().prop_map(|value| value.to_string()),
        (-1e3..1e3f64).prop_map(|value| value.to_string()),
        (1_600_000_000..1_715_666_400i64).prop_map(|value| value.to_string()),
        select(&["1e308", "-1.7e308", "1e-320", "-0", "0", "1715662860", "-60"][..]).prop_map(String::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let written = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default());
    prop_oneof![select(&TEXTS[..]).prop_map(String::from), "\"[a-z:/_%. -]{0,12}\"", written]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![3 => number(), 3 => text(), 1 => select(&SCALARS[..]).prop_map(String::from)]
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![6 => select(&LABELS[..]).prop_map(|label| format!("\"{label}\"")), 1 => text()]
}

fn object(entries: &[(String, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(label, value)| format!("{label}:{value}")).collect();
    format!("{{{}}}", entries.join(","))
}

/// JSON of any shape: deep, wide, with doubled keys, escapes, lone surrogates and numbers that no machine holds.
pub fn json() -> impl Strategy<Value = String> {
    let tree = scalar().prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            vec((label(), inner), 0..8).prop_map(|entries| object(&entries)),
        ]
    });
    (tree, 0..20usize, any::<bool>()).prop_map(|(tree, levels, arrays)| {
        let levels = levels.saturating_sub(8); // most trees stand alone
        let (open, close) = if arrays { ("[", "]") } else { ("{\"n\":", "}") };
        open.repeat(levels) + &tree + &close.repeat(levels)
    })
}

/// A SenML pack (RFC 8428) whose fields mostly are of their type, and seldom of a sane value.
pub fn pack() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => select(&NAMES[..]).prop_map(|name| format!("\"{name}\"")), 1 => text()];
    let unit = prop_oneof![4 => select(&UNITS[..]).prop_map(|unit| format!("\"{unit}\"")), 1 => text()];
    let names = (select(&["bn", "n", "n", "n"][..]), name);
    let units = (select(&["u", "u", "bu"][..]), unit);
    let numbers = (select(&["v", "v", "v", "v", "bt", "bv", "bs", "s", "t", "t", "bver"][..]), number());
    let anything = (select(&LABELS[..]), scalar());
    let field = prop_oneof![8 => names, 4 => units, 10 => numbers, 1 => anything];
    let record = vec(field, 0..7).prop_map(|fields| {
        let fields: BTreeMap<&str, String> = fields.into_iter().collect();
        object(&fields.into_iter().map(|(label, value)| (format!("\"{label}\""), value)).collect::<Vec<_>>())
    });
    vec(record, 0..12).prop_map(|records| format!("[{}]", records.join(",")))
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Cut(Index, usize),
    Repeat {
        at: Index,
        bytes: usize,
        times: usize,
    },
    Insert(Index, String),
    /// Another number, or what calls itself one, in place of one that stands there.
    Number(Index, String),
    End(Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Edit::Cut(at, most) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + most));
            }
            Edit::Repeat { at, bytes: most, times } => {
                let at = at.index(length);
                let end = length.min(at + most);
                let piece = bytes[at..end].repeat(*times);
                bytes.splice(end..end, piece);
            }
            Edit::Insert(at, text) => {
                let at = at.index(length);
                bytes.splice(at..at, text.bytes());
            }
            Edit::Number(which, text) => {
                let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
                let starts: Vec<usize> =
                    (0..length).filter(|at| digit(*at) && (*at == 0 || !digit(at - 1))).collect();
                if !starts.is_empty() {
                    let start = *which.get(&starts);
                    let end = (start..length).find(|at| !digit(*at)).unwrap_or(length);
                    bytes.splice(start..end, text.bytes());
                }
            }
            Edit::End(at) => bytes.truncate(at.index(length)),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => (at(), 1..20usize).prop_map(|(at, most)| Edit::Cut(at, most)),
        2 => (at(), 1..60usize, 1..40usize).prop_map(|(at, bytes, times)| Edit::Repeat { at, bytes, times }),
        2 => (at(), prop_oneof![scalar(), label()]).prop_map(|(at, text)| Edit::Insert(at, text)),
        3 => (at(), scalar()).prop_map(|(at, text)| Edit::Number(at, text)),
        1 => at().prop_map(Edit::End),
    ]
}

/// One of these after what may happen to bytes on their way, or by a stranger's hand.
pub fn spoiled(originals: Vec<&'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    (select(originals), vec(edit(), 1..6)).prop_map(|(original, edits)| {
        let mut bytes = original.to_vec();
        edits.iter().for_each(|edit| edit.apply(&mut bytes));
        bytes
    })
}

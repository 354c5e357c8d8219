//! Payloads as large as are read at all, each made to be large in memory.

use std::fs;

use processor::decode::{PAYLOAD_BYTES_MAX, SAMPLES_MAX};

use crate::city::{self, message};

/// For this whole process: decoding on every core beside what the service holds must fit into its 512 MiB.
const PEAK_KIB_MAX: u64 = 128 << 10;

/// `open`, then as many `items` as fit with commas between them, then `close`.
fn filled(open: &str, item: impl Fn(usize) -> String, close: &str) -> String {
    let mut text = open.to_owned();
    for i in 0.. {
        let next = item(i);
        if PAYLOAD_BYTES_MAX < text.len() + next.len() + 1 + close.len() {
            break;
        }
        if i != 0 {
            text.push(',');
        }
        text += &next;
    }
    text + close
}

/// `short` records after one with a text under `label`, as long as there is room for.
fn with_long_base(label: &str, filler: &str, short: &str) -> String {
    let records = format!(",{short}").repeat(SAMPLES_MAX - 2);
    let open = format!("[{{\"bn\":\"a:\",\"n\":\"speed\",\"v\":1,\"{label}\":\"");
    let open = if label == "bn" { "[{\"v\":1,\"bn\":\"".to_owned() } else { open };
    let room = PAYLOAD_BYTES_MAX - records.len() - open.len() - 3;
    format!("{open}{}\"}}{records}]", filler.repeat(room / filler.len()))
}

fn payloads() -> Vec<(&'static str, &'static str, String)> {
    let pack = "city/senml/x";
    let register = "city/water/WM-101/register";
    let passage = "city/traffic/d1/passage";
    let any = "any/d7/a/x";
    let long = |open: &str, filler: &str, close: &str| {
        let room = PAYLOAD_BYTES_MAX - open.len() - close.len();
        format!("{open}{}{close}", filler.repeat(room / filler.len()))
    };
    let record = |i: usize| format!(r#"{{"n":"s{i}:m","v":1}}"#);
    vec![
        ("a pack of numbers", pack, filled("[", |_| "1".to_owned(), "]")),
        ("empty arrays", pack, filled("[", |_| "[]".to_owned(), "]")),
        ("empty records", pack, filled("[", |_| "{}".to_owned(), "]")),
        ("deep arrays", register, filled("[", |_| "[[[[[[[[[[[[[[0]]]]]]]]]]]]]]".to_owned(), "]")),
        ("deep objects", register, filled("[", |_| r#"{"":{"":{"":{"":{"":{"":0}}}}}}"#.to_owned(), "]")),
        ("too deep", register, long("", "[", "")),
        ("keys", any, filled("{", |i| format!("\"{i:x}\":0"), "}")),
        ("escaped keys", any, filled("{", |i| format!("\"\\u0001{i:x}\":0"), "}")),
        (
            "one long key twice",
            any,
            format!("{{\"{key}\":1,\"{key}\":1}}", key = "k".repeat(PAYLOAD_BYTES_MAX / 2 - 6)),
        ),
        ("a long key", any, long("{\"", "\\u0001", "\":1}")),
        ("records", pack, filled("[", record, "]")),
        ("records of one base", pack, filled(r#"[{"bn":"a:b"},"#, |_| r#"{"v":1}"#.to_owned(), "]")),
        ("records that are wrong", pack, filled("[", |_| r#"{"v":""}"#.to_owned(), "]")),
        ("a long base name", pack, with_long_base("bn", "x", r#"{"v":1}"#)),
        ("a base name of separators", pack, with_long_base("bn", ":", r#"{"v":1}"#)),
        ("a long base unit", pack, with_long_base("bu", "x", r#"{"n":"m","v":1}"#)),
        ("a long base unit of a known metric", pack, with_long_base("bu", "x", r#"{"n":"speed","v":1}"#)),
        ("an escaped base unit", pack, with_long_base("bu", "\\u0001", r#"{"n":"speed","v":1}"#)),
        ("a long record name", pack, long(r#"[{"n":""#, "\\u0001", r#"","bv":1e308,"v":1e308}]"#)),
        ("a long text where a time is", register, long(r#"{"register_m3":1,"time":""#, "\\u0001", "\"}")),
        ("a long text where a value is", register, long(r#"{"register_m3":""#, "\\u0001", "\"}")),
        (
            "a long text that is to be a number",
            any,
            long(r#"{"n":"x","source":"s","time":1715662816720,"v":""#, "\\u0001", "\"}"),
        ),
        ("a long sensor", any, long(r#"{"n":"x","time":1715662816720,"v":1,"source":""#, "\\u0001", "\"}")),
        (
            "a long class",
            passage,
            long(r#"{"entered":"2024-05-14T05:00:16Z","vehicle":1,"class":""#, "x", "\"}"),
        ),
        ("a long source", pack, long(r#"[{"screenline":{"source":""#, "x", r#"","epoch":1,"seq":1}}]"#)),
        ("digits", register, long(r#"{"register_m3":"#, "9", "}")),
        ("spaces", register, long("{", " ", "}")),
    ]
}

/// The most memory that this process ever held.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_hostile_payload_of_each_kind_stays_within_its_memory() {
    for (what, topic, payload) in payloads() {
        let bytes = payload.len();
        assert!(PAYLOAD_BYTES_MAX - 64 <= bytes && bytes <= PAYLOAD_BYTES_MAX, "{what}: {bytes} bytes");
        let messages = vec![message(topic, payload.as_bytes()); 4];
        let said = city::heard(&messages);
        assert_eq!(said.fates.len(), messages.len());
        let peak = peak_kib();
        assert!(peak <= PEAK_KIB_MAX, "{what}: {peak} KiB");
    }
}

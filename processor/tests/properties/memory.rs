//! Payloads as large as are read at all, each made to be large in memory.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
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

/// Payloads of the formats that are no JSON.
fn others() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let full = |open: &[u8], item: &[u8], close: &[u8]| {
        let room = PAYLOAD_BYTES_MAX - open.len() - close.len();
        [open, &item.repeat(room / item.len()), close].concat()
    };
    let gzip = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        (0..200).for_each(|_| encoder.write_all(&[b'['; 1 << 20]).unwrap());
        encoder.finish().unwrap()
    };
    let cbor = "city/senml-cbor/x";
    let xml = "import/datex2";
    let node = "spBv1.0/g/NBIRTH/n";
    vec![
        ("a bomb", "city/senml/x", gzip),
        ("CBOR of empty arrays", cbor, full(b"\x9f", b"\x80", b"\xff")),
        ("CBOR of empty maps", cbor, full(b"\x9f", b"\xa0", b"\xff")),
        ("CBOR of numbers", cbor, full(b"\x9f", b"\x01", b"\xff")),
        ("CBOR of one map", cbor, full(b"\x9f\xbf", b"\x00\x01", b"\xff\xff")),
        ("CBOR that is deep", cbor, full(b"", b"\x81", b"")),
        ("CBOR records", cbor, full(b"\x9f", b"\xa2\x00\x63a:b\x02\x01", b"\xff")),
        ("CSV of commas", "import/pems-30s", full(b"", b",", b"")),
        ("CSV of lines", "import/pems-30s", full(b"", b",\n", b"")),
        ("CSV of quotes", "import/signal-events", full(b"", b"\"", b"")),
        ("CSV of events", "import/signal-events", full(b"", b"1,2026-11-22 06:59:58.1,82,5\n", b"")),
        ("CSV of a long head", "import/pems-5min/a", full(b"", b"a,", b"")),
        ("XML of empty elements", xml, full(b"<a>", b"<b/>", b"</a>")),
        ("XML of texts", xml, full(b"<a>", b"<b>1</b>", b"</a>")),
        ("XML of attributes", xml, full(b"<a ", b"b='' ", b"/>")),
        ("XML that is deep", xml, full(b"", b"<a>", b"")),
        ("XML of references", xml, full(b"<a>", b"&lt;", b"</a>")),
        ("line protocol of points", "telegraf/x", full(b"", b"m a=1\n", b"")),
        ("line protocol of fields", "telegraf/x", full(b"m ", b"a=1,", b"a=1")),
        ("line protocol of escapes", "telegraf/x", full(b"m a=\"", b"\\", b"\"")),
        ("a telegram of brackets", "dsmr/x", full(b"/\r\n1-0:1.8.1", b"(1)", b"\r\n!")),
        ("a telegram of lines", "dsmr/x", full(b"/\r\n", b"1-0:1.8.1(1)\r\n", b"!")),
        ("a number of digits", "plain/z/s/level", full(b"", b"9", b"")),
        ("a birth of empty metrics", node, full(b"\x18\x00", b"\x12\x00", b"")),
        ("a birth of metrics", node, full(b"\x18\x00", b"\x12\x07\x0a\x01a\x10\x01\x50\x01", b"")),
        ("a birth of properties", node, full(b"\x18\x00\x12\x80\x80\x0c", b"\x4a\x02\x0a\x00", b"")),
    ]
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
    let json = payloads().into_iter().map(|(what, topic, payload)| (what, topic, payload.into_bytes()));
    let mut slowest = (Duration::ZERO, "");
    for (what, topic, payload) in json.chain(others()) {
        let bytes = payload.len();
        let full = PAYLOAD_BYTES_MAX - 64 <= bytes || what == "a bomb";
        assert!(full && bytes <= PAYLOAD_BYTES_MAX, "{what}: {bytes} bytes");
        let messages = vec![message(topic, &payload); 4];
        let started = Instant::now();
        let said = city::heard(&messages);
        slowest = slowest.max((started.elapsed() / 8, what)); // four messages, read twice
        assert_eq!(said.fates.len(), messages.len());
        let peak = peak_kib();
        assert!(peak <= PEAK_KIB_MAX, "{what}: {peak} KiB");
    }
    let (time, what) = slowest;
    eprintln!(
        "the slowest hostile payload: {what}, {:.1} ms; at most {} MiB",
        time.as_secs_f64() * 1e3,
        peak_kib() >> 10
    );
}

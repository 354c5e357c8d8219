//! The city that is spoken to: every mapping we ship, and one that uses all a mapping can.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use processor::{
    decode::{Decoder, Limits, Sample, Verdict},
    mapping::Mapping,
    memory::{Memory, Recall},
    model::{Message, Proposal, Series, SeriesId, Time},
    process,
    process::Processed,
    registry::{Admission, Registry},
    validate::Rules,
};

pub const EVERYTHING: &str = r#"
[[source]]
name = "everything"
topic = "any/{device}/{code}/#"
format = "json"
sensor = "{device}:{/source}"
time = { path = "/time", as = "unix_ms", fallback = "/t" }
number = { source = "{device}", seq = "/seq" }
where = [{ path = "/n", eq = "x" }]
drop_if = [{ path = "/class", eq = "heartbeat" }, { path = "/v", eq = 0 }, { path = "/u", eq = true }]
reading = [
  { metric = "level", value = "/v", unit = "m", parse = "number_from_string", sentinel = [-999], range = [0, 10] },
  { from_lookup = "code", value = "/bv", time = { path = "/entered", as = "rfc3339" } },
  { metric = "flow", value = "/s/0/v", unit = "L/s", kind = "rate", interval_s = 60, time = { path = "/t", as = "unix_s" } },
  { metric = "note", value = "/bt", unit = "1", time = { path = "/epoch", as = "unix_ns", fallback = "receive" } },
  { metric = "pulse", const = 1, unit = "1", kind = "event", event = { class = "/class", speed = { path = "/bv", unit = "m/s" } } },
]

[source.lookup.code]
a = "temperature|Cel|gauge"
b = "energy|kW.h|total|900"

[[source]]
name = "whatever"
topic = "any/{device}/#"
format = "json"
sensor = "{/source}"
time = { as = "receive" }
reading = [{ metric = "value", value = "", unit = "1" }]
"#;

/// Every mapping that we ship, and the one above, which comes first.
pub static MAPPINGS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let ready = files("deploy/mappings", "toml").into_values().map(|text| &*text.leak());
    [EVERYTHING].into_iter().chain(ready).collect()
});

pub static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    let files: Vec<_> = MAPPINGS.iter().map(|text| ("mapping.toml", *text)).collect();
    Mapping::parse(&files).unwrap_or_else(|error| panic!("{error}"))
});

fn files(folder: &str, extension: &str) -> BTreeMap<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let ours = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    ours.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// A message as one might come.
#[derive(Clone, Debug)]
pub struct Example {
    pub topic: &'static str,
    pub payload: &'static [u8],
}

/// What a mapping of ours reads by itself, without what came before.
pub fn stands_alone(topic: &str) -> bool {
    MAPPING.stateful(topic).is_none()
}

pub static EXAMPLES: LazyLock<Vec<Example>> = LazyLock::new(|| {
    let mut examples = Vec::new();
    for text in files("deploy/mappings/examples", "txt").into_values() {
        for block in text.split("topic ").skip(1) {
            let (topic, rest) = block.split_once('\n').unwrap();
            let payload = rest.split("\n=>").next().unwrap();
            let payload = match payload.strip_prefix("base64 ") {
                Some(text) => STANDARD.decode(text).unwrap(),
                None => payload.as_bytes().to_vec(),
            };
            examples.push(Example { topic: topic.to_owned().leak(), payload: payload.leak() });
        }
    }
    let ours = |topic, payload: &'static str| Example { topic, payload: payload.as_bytes() };
    examples.push(ours(
        "gateway/north/city/water/WM-101/register",
        r#"{"screenline":{"source":"north","epoch":1700000000,"seq":17},"time":"2024-05-14T05:00:00Z","register_m3":8690.735}"#,
    ));
    examples.push(ours(
        "any/d7/a/x",
        r#"{"n":"x","source":"s","time":1715662816720,"seq":5,"v":"3.25","bv":1.5,"entered":"2024-05-14T05:00:16.720Z","s":[{"v":7}],"t":1715662816,"bt":-1,"epoch":1715662816720000000,"class":"car"}"#,
    ));
    examples
});

/// When the examples are received.
pub const NOW: Time = Time::from_micros(1_795_348_800_000_000);

/// Readings of any age are taken.
pub static RULES: LazyLock<Rules> = LazyLock::new(|| Rules { lateness_horizon: None, ..Rules::default() });

pub fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.to_vec().into(),
        received_at: NOW,
        retained: false,
        number: None,
    }
}

/// What messages say to a city that is open, after it took in the series they propose.
pub fn heard(messages: &[Message]) -> Processed {
    let mut registry = Registry::new(Admission::Open);
    let memory = Memory::default();
    let proposals = process(messages, &MAPPING, &registry, &RULES, &memory).proposals;
    for (proposal, id) in proposals.into_iter().zip(1..) {
        let Proposal { sensor, metric, unit, kind, interval_s, .. } = proposal;
        let series = Series::new(SeriesId(id), kind, &unit, interval_s);
        registry.add_series(sensor.as_str(), metric.as_str(), series);
    }
    process(messages, &MAPPING, &registry, &RULES, &memory)
}

/// Reads one message, and shows each sample.
pub fn read(message: &Message, mapping: &Mapping, mut each: impl FnMut(Sample<'_>)) -> Verdict {
    let memory = Memory::default();
    let mut recall = Recall::new(&memory, mapping);
    let decoder = Decoder { mapping, limits: Limits::default(), pseudonyms: &memory.pseudonyms };
    decoder.decode(message, Some(&mut recall), &mut |sample| {
        each(sample);
        Ok(())
    })
}

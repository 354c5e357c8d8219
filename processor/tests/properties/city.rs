//! The city that is spoken to: every mapping we ship, and one that uses all a mapping can.

use std::sync::LazyLock;

use processor::{
    mapping::Mapping,
    model::{Message, Proposal, Series, SeriesId, Time},
    process,
    process::Processed,
    registry::{Admission, Registry},
    validate::Rules,
};

pub const SENML: &str = include_str!("../../../deploy/mappings/senml.toml");
pub const PASSAGES: &str = include_str!("../../../deploy/mappings/traffic-passages.toml");
pub const REGISTERS: &str = include_str!("../../../deploy/mappings/water-registers.toml");
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

pub const MAPPINGS: [&str; 4] = [SENML, PASSAGES, REGISTERS, EVERYTHING];

pub static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    Mapping::parse(&MAPPINGS.map(|text| ("mapping.toml", text))).unwrap_or_else(|error| panic!("{error}"))
});

/// A message as the comments in the mappings show it: a line with a topic and one with a payload.
#[derive(Clone, Debug)]
pub struct Example {
    pub topic: &'static str,
    pub payload: &'static str,
}

pub fn examples() -> Vec<Example> {
    let shown = |text: &'static str| {
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
        lines.chunks_exact(2).map(|pair| Example { topic: pair[0], payload: pair[1] }).collect::<Vec<_>>()
    };
    let numbered = Example {
        topic: "gateway/north/city/water/WM-101/register",
        payload: r#"{"screenline":{"source":"north","epoch":1700000000,"seq":17},"time":"2024-05-14T05:00:00Z","register_m3":8690.735}"#,
    };
    let everything = Example {
        topic: "any/d7/a/x",
        payload: r#"{"n":"x","source":"s","time":1715662816720,"seq":5,"v":"3.25","bv":1.5,"entered":"2024-05-14T05:00:16.720Z","s":[{"v":7}],"t":1715662816,"bt":-1,"epoch":1715662816720000000,"class":"car"}"#,
    };
    MAPPINGS.into_iter().flat_map(shown).chain([numbered, everything]).collect()
}

/// Received an hour after what the examples tell of.
pub const NOW: Time = Time::from_micros(1_715_666_400_000_000);

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
    let proposals = process(messages, &MAPPING, &registry, &Rules::default()).proposals;
    for (proposal, id) in proposals.into_iter().zip(1..) {
        let Proposal { sensor, metric, unit, kind, interval_s } = proposal;
        let series = Series { id: SeriesId(id), kind, unit, interval_s, min: None, max: None, part: 0 };
        registry.add_series(sensor.as_str(), metric.as_str(), series);
    }
    process(messages, &MAPPING, &registry, &Rules::default())
}

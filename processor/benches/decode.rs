//! Readings per second from payload to validated reading: `cargo bench -p processor --bench decode [-- STAGE]`.

#[allow(dead_code, reason = "each bench uses its part")]
mod measure;

use measure::{ROUNDS, Stopwatch};
use processor::{
    aggregate::{self, Entry},
    mapping::Mapping,
    memory::Memory,
    model::{
        Arithmetic, Kind, Message, Quality, Series, SeriesId, Time, View,
        arithmetic::{Meter, Rule},
        bucket::FIVE_MINUTES,
    },
    process,
    registry::{Admission, Registry},
    validate::Rules,
};

/// As ingest gathers them.
const BATCH_MESSAGES: usize = 4_096;
/// Two batches, read again and again: messages that were received a moment ago are in the cache.
const MESSAGES: usize = 2 * BATCH_MESSAGES;
/// How often they are read in a round.
const TIMES: usize = 25;
const SENSORS: usize = 1_000;
const START: i64 = 1_700_000_000;

const MAPPING: &str = r#"
    [[source]]
    name = "registers"
    topic = "city/water/{meter}/register"
    format = "json"
    sensor = "{meter}"
    time = { path = "/time", as = "rfc3339" }
    reading = [{ metric = "water.volume.total", value = "/register_m3", unit = "m3", kind = "counter" }]

    [[source]]
    name = "five"
    topic = "city/five/{meter}"
    format = "json"
    sensor = "{meter}"
    time = { path = "/time", as = "rfc3339" }
    reading = [
      { metric = "volume", value = "/values/volume", unit = "{veh}", kind = "total", interval_s = 60 },
      { metric = "occupancy", value = "/values/occupancy", unit = "%", kind = "rate", interval_s = 60 },
      { metric = "speed", value = "/values/speed", unit = "km/h", kind = "rate", interval_s = 60 },
      { metric = "temperature", value = "/values/temperature", unit = "Cel" },
      { metric = "humidity", value = "/values/humidity", unit = "%" },
    ]

    [[source]]
    name = "senml"
    topic = "city/senml/#"
    format = "senml-json"
"#;

fn main() {
    let mapping = Mapping::parse(&[("bench.toml", MAPPING)]).expect("the mapping is right");
    let mut registry = Registry::new(Admission::Open);
    let mut id = 0;
    for sensor in 0..SENSORS {
        for (metric, unit) in [
            ("water.volume.total", "m3"),
            ("volume", "1"),
            ("occupancy", "%"),
            ("speed", "km/h"),
            ("temperature", "Cel"),
            ("humidity", "%"),
        ] {
            id += 1;
            let mut series = Series::new(SeriesId(id), Kind::Gauge, unit, Some(60));
            series.view = View::within(Some(0.0), None);
            registry.add_series(&format!("s{sensor}"), metric, series);
        }
    }
    let mapped = messages(|i, time| {
        let time = Time::from_micros(time * 1_000_000);
        (
            format!("city/water/s{}/register", i % SENSORS),
            format!(r#"{{"time":"{time}","register_m3":{}.{:03}}}"#, i, i % 997),
        )
    });
    let packs = messages(|i, time| {
        let sensor = i % SENSORS;
        let payload = format!(
            r#"[{{"bn":"s{sensor}:","bt":{time},"n":"volume","v":{}}},{{"n":"occupancy","u":"/100","v":{}.5}},{{"n":"speed","u":"km/h","v":{}.25}}]"#,
            i % 30,
            i % 90,
            i % 120
        );
        (format!("city/senml/s{sensor}"), payload)
    });
    let long_packs = messages(|i, time| {
        let records: String = (1..10).map(|n| format!(r#",{{"t":-{n},"v":{}.25}}"#, i % 120 + n)).collect();
        let payload = format!(
            r#"[{{"bn":"s{}:speed","bu":"km/h","bt":{time},"v":{}.5}}{records}]"#,
            i % SENSORS,
            i % 90
        );
        (format!("city/senml/s{}", i % SENSORS), payload)
    });
    let five = messages(|i, time| {
        let time = Time::from_micros(time * 1_000_000);
        let values = format!(
            r#""volume":{},"occupancy":{}.5,"speed":{}.25,"temperature":{}.5,"humidity":{}"#,
            i % 30,
            i % 90,
            i % 120,
            i % 30,
            i % 100
        );
        (format!("city/five/s{}", i % SENSORS), format!(r#"{{"time":"{time}","values":{{{values}}}}}"#))
    });
    let rules = Rules { lateness_horizon: None, ..Rules::default() };
    let memory = Memory::default();
    measure::print_head();
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")).unwrap_or_default();
    for (stage, messages, per_message, limit) in [
        ("decode mapped JSON, 1 a message", &mapped, 1, "0.24 typed"),
        ("decode mapped JSON, 5 a message", &five, 5, "-"),
        ("decode SenML, 3 a message", &packs, 3, "0.12 typed"),
        ("decode SenML, 10 a message", &long_packs, 10, "-"),
    ] {
        if !stage.contains(&wanted) {
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let watch = Stopwatch::start();
            let mut readings = 0;
            for batch in std::iter::repeat_n(messages.chunks(BATCH_MESSAGES), TIMES).flatten() {
                let out = process(batch, &mapping, &registry, &rules, &memory);
                assert_eq!(out.readings.len(), batch.len() * per_message, "{:?}", out.rejections.first());
                readings += out.readings.len();
            }
            let round = watch.stop(readings as u64);
            rounds.push(round);
        }
        measure::print(stage, &rounds, limit);
    }
    aggregate_rounds();
}

/// A million readings of a thousand series into five-minute states.
fn aggregate_rounds() {
    let entry = |i: i64| {
        let time = Time::from_micros((START + i / 1_000 * 20) * 1_000_000);
        let bucket = time.floor(FIVE_MINUTES);
        Entry {
            series: SeriesId((i % 1_000) as i32),
            bucket,
            time,
            value: (i % 977) as f64,
            quality: Quality::GOOD,
            passage: None,
        }
    };
    let arithmetic = Arithmetic::new(Kind::Gauge, Some(20), None, Meter::default());
    let entries: Vec<Entry> = (0..1_000_000).map(entry).collect();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let entries = entries.clone();
            let watch = Stopwatch::start();
            let rollups =
                aggregate::buckets(entries, FIVE_MINUTES, |_| Some(Rule { arithmetic, volume: None }));
            let round = watch.stop(1_000_000);
            assert!(!rollups.is_empty());
            round
        })
        .collect();
    measure::print("aggregate to 5 min, from memory", &rounds, "-");
}

fn messages(message: impl Fn(usize, i64) -> (String, String)) -> Vec<Message> {
    let received_at = Time::from_micros((START + 200_000) * 1_000_000);
    let build = |i| {
        let (topic, payload) = message(i, START + (i / SENSORS) as i64 * 60);
        Message { topic, payload: payload.into(), received_at, retained: false, number: None }
    };
    (0..MESSAGES).map(build).collect()
}

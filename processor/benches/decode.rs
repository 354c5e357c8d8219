//! Readings per second from payload to validated reading: `cargo bench -p processor --bench decode`.

#[allow(dead_code, reason = "each bench uses its part")]
mod measure;

use measure::{ROUNDS, Stopwatch};
use processor::{
    aggregate::{self, Entry},
    mapping::Mapping,
    model::{Kind, Message, Quality, Series, SeriesId, Time, bucket::FIVE_MINUTES},
    process,
    registry::{Admission, Registry},
    validate::Rules,
};

const MESSAGES: usize = 100_000;
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
    name = "senml"
    topic = "city/senml/#"
    format = "senml-json"
"#;

fn main() {
    let mapping = Mapping::parse(&[("bench.toml", MAPPING)]).expect("the mapping is right");
    let mut registry = Registry::new(Admission::Open);
    let mut id = 0;
    for sensor in 0..SENSORS {
        for (metric, unit) in
            [("water.volume.total", "m3"), ("volume", "1"), ("occupancy", "%"), ("speed", "km/h")]
        {
            id += 1;
            let series = Series {
                id: SeriesId(id),
                kind: Kind::Gauge,
                unit: unit.into(),
                interval_s: Some(60),
                min: Some(0.0),
                max: None,
                part: 0,
            };
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
    let rules = Rules { lateness_horizon: None, ..Rules::default() };
    measure::print_head();
    for (stage, messages, per_message, limit) in [
        ("decode mapped JSON, 1 a message", &mapped, 1, "0.24 typed"),
        ("decode SenML, 3 a message", &packs, 3, "0.12 typed"),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let watch = Stopwatch::start();
            let out = process(messages, &mapping, &registry, &rules);
            let round = watch.stop(out.readings.len() as u64);
            assert_eq!(out.readings.len(), MESSAGES * per_message, "{:?}", out.rejections.first());
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
        }
    };
    let entries: Vec<Entry> = (0..1_000_000).map(entry).collect();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let entries = entries.clone();
            let watch = Stopwatch::start();
            let rollups = aggregate::buckets(entries);
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

//! A session of an edge node, message by message, and again with what is remembered written down and read back after any
//! of them.

use std::{fs, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use processor::{
    decode::Node,
    mapping::Mapping,
    memory::{Memory, Remembered, Sender, State},
    model::{Message, Time},
    process,
    registry::{Admission, Registry},
    validate::Rules,
};
use serde_json::Value;

use crate::street::payloads;

struct Step {
    message: Message,
    expected: Vec<String>,
}

fn steps() -> Option<Vec<Step>> {
    let text = fs::read_to_string(payloads()?.join("sparkplug_sequence.jsonl")).unwrap();
    let step = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let millis = |value: &Value| Timestamp::from_millisecond(value.as_i64().unwrap()).unwrap();
        let reading = |reading: &Value| {
            let flags: Vec<_> = reading["flags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|flag| format!(" {}", flag.as_str().unwrap()))
                .collect();
            format!(
                "{} {} {} {} {}{}",
                millis(&reading["time_ms"]),
                reading["sensor"].as_str().unwrap(),
                reading["metric"].as_str().unwrap(),
                number(&reading["value"]),
                reading["unit"].as_str().unwrap(),
                flags.concat(),
            )
        };
        Step {
            message: Message {
                topic: line["topic"].as_str().unwrap().to_owned(),
                payload: STANDARD.decode(line["payload_b64"].as_str().unwrap()).unwrap().into(),
                received_at: millis(&line["t_ms"]).into(),
                retained: false,
                number: None,
            },
            expected: line["expect"].as_array().unwrap().iter().map(reading).collect(),
        }
    };
    Some(text.lines().map(step).collect())
}

/// What a 32-bit float says, which serde_json may read a hair beside.
fn number(value: &Value) -> f64 {
    let value = value.as_f64().unwrap();
    let float = f64::from(value as f32);
    if (value - float).abs() < 1e-12 { float } else { value }
}

/// An open registry that knows what the session speaks of.
fn registry(mapping: &Mapping, messages: &[Message]) -> Registry {
    let mut registry = Registry::new(Admission::Open);
    let rules = Rules { lateness_horizon: None, ..Rules::default() };
    let proposals = process(messages, mapping, &registry, &rules, &Memory::default()).proposals;
    for (id, proposal) in (1..).zip(proposals) {
        let series = processor::model::Series::new(
            processor::model::SeriesId(id),
            proposal.kind,
            &proposal.unit,
            proposal.interval_s,
        );
        registry.add_series(proposal.sensor.as_str(), proposal.metric.as_str(), series);
    }
    registry
}

/// As the tables keep it.
fn written_and_read(memory: &Memory, node: &Sender) -> Memory {
    let mut read = Memory::default();
    if let Some(Remembered { version, state }) = memory.get(node) {
        let State::Node(node_state) = &**state else { panic!("an edge node") };
        let text = serde_json::to_string(node_state).unwrap();
        let births = serde_json::to_string(&*node_state.births).unwrap();
        let mut back: Node = serde_json::from_str(&text).unwrap();
        back.births = Arc::new(serde_json::from_str(&births).unwrap());
        assert_eq!(back, *node_state);
        read.insert(node.clone(), Remembered { version: *version, state: Arc::new(State::Node(back)) });
    }
    read
}

/// The stored readings of the session, in batches that end after the given messages; none twice.
fn play(steps: &[Step], cuts: &[usize], restart: bool) -> (Vec<Vec<String>>, Vec<String>) {
    let mapping = "[[source]]\nname = \"sparkplug\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug-b\"\n";
    let mapping = Mapping::parse(&[("sparkplug.toml", mapping)]).unwrap();
    let messages: Vec<Message> = steps.iter().map(|step| step.message.clone()).collect();
    let registry = registry(&mapping, &messages);
    let mut names = std::collections::HashMap::new();
    for sensor in ["City1/gw-north/loop-017"] {
        for metric in ["Traffic/Volume", "Traffic/Occupancy", "Traffic/Speed"] {
            let series = registry.find(sensor, metric).unwrap();
            names.insert(series.id, (format!("{sensor} {metric}"), series.unit.clone()));
        }
    }
    let rules = Rules { lateness_horizon: None, ..Rules::default() };
    let node = Sender { source: "sparkplug".into(), name: "City1/gw-north".into() };
    let mut memory = Memory::default();
    let mut stored = std::collections::HashMap::new();
    let (mut lines, mut requests) = (vec![Vec::new(); steps.len()], Vec::new());
    let mut first = 0;
    for end in cuts.iter().copied().chain([messages.len()]) {
        let said = process(&messages[first..end], &mapping, &registry, &rules, &memory);
        memory.advance(&said.changes);
        let mut readings = said.readings.clone();
        readings.sort_by_key(|reading| (reading.message, reading.series));
        for reading in readings {
            if stored.insert((reading.time, reading.series), reading.value).is_some() {
                continue;
            }
            let (name, unit) = &names[&reading.series];
            let historical =
                reading.quality.names().filter(|name| *name == "historical").map(|name| format!(" {name}"));
            let line =
                format!("{} {name} {} {unit}{}", reading.time, reading.value, historical.collect::<String>());
            lines[first + reading.message as usize].push(line);
        }
        requests.extend(said.requests.into_iter().map(|request| request.topic));
        if restart {
            memory = written_and_read(&memory, &node);
        }
        first = end;
    }
    (lines, requests)
}

#[test]
fn the_session_gives_exactly_its_readings_wherever_it_is_cut() {
    let Some(steps) = steps() else { return };
    assert_eq!(steps.len(), 19);
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let check = |cuts: &[usize], restart: bool| {
        let (lines, requests) = play(&steps, cuts, restart);
        for (i, (step, lines)) in steps.iter().zip(lines).enumerate() {
            assert_eq!(sorted(lines), sorted(step.expected.clone()), "message {} cut at {cuts:?}", i + 1);
        }
        // Before the first birth, and after the last death.
        assert_eq!(requests, ["spBv1.0/City1/NCMD/gw-north"; 2], "{cuts:?}");
    };
    check(&[], false);
    let everywhere: Vec<usize> = (1..steps.len()).collect();
    check(&everywhere, true);
    for cut in 1..steps.len() {
        check(&[cut], true);
    }
}

#[test]
fn what_is_delivered_again_is_what_it_was() {
    let Some(steps) = steps() else { return };
    // From any message back to any earlier one, as a broker does after a crash.
    for crash in 1..=steps.len() {
        for back in 0..crash {
            let again = steps[..crash].iter().chain(&steps[back..]);
            let again: Vec<Step> = again
                .map(|step| Step { message: step.message.clone(), expected: step.expected.clone() })
                .collect();
            let all = |steps: &[Step]| -> std::collections::BTreeSet<String> {
                play(steps, &[], false).0.into_iter().flatten().collect()
            };
            assert_eq!(all(&again), all(&steps), "up to {crash}, then from {back}");
        }
    }
}

#[test]
fn a_message_that_never_comes_is_asked_for() {
    let Some(steps) = steps() else { return };
    let mapping = "[[source]]\nname = \"sparkplug\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug-b\"\n";
    let mapping = Mapping::parse(&[("sparkplug.toml", mapping)]).unwrap();
    let messages: Vec<Message> = steps.iter().take(11).skip(1).map(|step| step.message.clone()).collect(); // the twelfth heals the gap
    let registry = Registry::new(Admission::Open);
    let said = process(&messages, &mapping, &registry, &Rules::default(), &Memory::default());
    assert!(said.requests.is_empty());
    let mut memory = Memory::default();
    memory.advance(&said.changes);
    let last = messages.last().unwrap().received_at;
    let later = |seconds: i64| Time::from_micros(last.micros() + seconds * 1_000_000);
    assert!(memory.overdue(later(4)).is_empty());
    assert_eq!(memory.overdue(later(5))[0].topic, "spBv1.0/City1/NCMD/gw-north");
    assert!(memory.overdue(later(6)).is_empty());
}

//! What is sent and what is expected are the same, whichever way they are computed.

use std::collections::{BTreeSet, HashSet};

use super::course::{Course, What};
use super::*;

fn scenario(sensors: u32, faults: &str) -> Scenario {
    let starts: jiff::Timestamp = "2026-11-23T06:50:00Z".parse().unwrap();
    Scenario {
        seed: 7,
        sensors,
        prefix: "sim7".to_owned(),
        starts,
        ticks: 30,
        pack: 50,
        formats: Vec::new(),
        numbers: Numbers::Properties,
        epoch: 1,
        connections: 3,
        faults: Fault::parse(faults).unwrap(),
        begun: starts,
    }
}

fn complete(simulation: &Simulation) -> Progress {
    let mut progress = Progress::new(simulation.scenario.connections);
    for connection in 0..simulation.scenario.connections {
        let at_us = simulation.scenario.ends_us();
        progress.note(&Far { connection, sent: 1, taken: 0, at_us });
        progress.note(&Far { connection, sent: u32::MAX, taken: u32::MAX, at_us });
    }
    progress
}

fn answer(simulation: &Simulation, step: u32) -> Answer {
    let progress = complete(simulation);
    let (numbers, sources) = simulation.numbered(&progress);
    let mut answer = Answer { sources, ..Answer::default() };
    for from in (0..simulation.voices.count()).step_by(step as usize) {
        let voices = from..(from + step).min(simulation.voices.count());
        let (expected, refused) = simulation.expectation(voices.clone(), &progress, &numbers);
        answer.series += simulation.series_answers(voices, &expected).len() as u64;
        answer.add(&expected, refused);
    }
    answer
}

#[test]
fn a_run_without_faults_stores_all_that_was_said() {
    let simulation = Simulation::new(scenario(120, "")).unwrap();
    let answer = answer(&simulation, 7);
    let of = |column: &str| answer.ledger[column];
    assert_eq!(of("received"), of("accepted"));
    assert_eq!(of("decoded"), of("stored"));
    assert_eq!(of("duplicate") + of("conflict") + of("rejected") + of("repeated"), 0);
    assert!(2_000 < of("stored"), "{}", of("stored"));
    assert!(answer.sources.values().all(|source| source.lost == 0 && source.refused == 0));
    let sent: usize = (0..3).map(|connection| Course::new(&simulation, connection).count()).sum();
    assert_eq!(sent as i64, of("received"));
}

#[test]
fn every_fault_leaves_its_mark_in_the_answer() {
    let simulation = Simulation::new(scenario(3_000, "all")).unwrap();
    let answer = answer(&simulation, 100);
    let of = |column: &str| answer.ledger[column];
    for column in ["repeated", "rejected_messages", "duplicate", "conflict", "rejected"] {
        assert!(0 < of(column), "{column}");
    }
    assert_eq!(of("received"), of("accepted") + of("repeated") + of("rejected_messages"));
    assert_eq!(of("decoded"), of("stored") + of("duplicate") + of("conflict") + of("rejected"));
    let reasons: BTreeSet<&str> = answer.rejected.keys().map(String::as_str).collect();
    let due = [
        "future",
        "not_finite",
        "not_json",
        "not_utf8",
        "too_deep",
        "too_large",
        "unit_mismatch",
        "wrong_shape",
    ];
    assert_eq!(reasons, BTreeSet::from(due));
    assert!(answer.sources.values().any(|source| 0 < source.lost));
    assert!(0 < answer.late.0);
    // In parts of another size it is the same.
    let other = super::tests::answer(&simulation, 333);
    assert_eq!(other, answer);
}

#[test]
fn a_course_sends_what_is_planned_and_numbers_it_once() {
    let simulation = Simulation::new(scenario(600, "all")).unwrap();
    let mut planned = HashSet::new();
    for voice in 0..simulation.voices.count() {
        for tick in 0..=simulation.last_tick() {
            simulation.planned(voice, tick, |at, due| {
                if due.what != What::Lost {
                    assert!(planned.insert((at, due)), "{due:?} twice");
                }
            });
        }
    }
    let mut seqs = HashSet::new();
    let mut said = std::collections::HashMap::new();
    for connection in 0..3 {
        let mut tick = 0;
        for sending in Course::new(&simulation, connection) {
            assert!(tick <= sending.tick);
            tick = sending.tick;
            assert_eq!(simulation.connection(sending.due.voice), connection);
            assert!(planned.remove(&(sending.tick, sending.due)), "{:?}", sending.due);
            let number = sending.number.unwrap();
            match sending.due.what {
                What::Again => {
                    let first = course::Due { what: What::Said, ..sending.due };
                    assert_eq!(said.get(&first), Some(&number));
                }
                _ => {
                    assert!(seqs.insert((number.source.clone(), number.seq)), "{number:?} twice");
                    said.insert(sending.due, number);
                }
            }
        }
    }
    assert!(planned.is_empty(), "{} were never sent", planned.len());
}

#[test]
fn the_same_scenario_gives_the_same_bytes() {
    let bytes = |simulation: &Simulation| {
        let mut sum = 0u64;
        for sending in Course::new(simulation, 1) {
            let (said, _) = simulation.utterance(&sending.due, sending.number.as_ref());
            let sent = xxhash_rust::xxh3::xxh3_64(&[said.topic.as_bytes(), &said.payload].concat());
            sum = sum.rotate_left(1) ^ sent;
        }
        format!("{sum:016x}")
    };
    let of = |numbers| {
        let scenario = Scenario { numbers, ..scenario(400, "all") };
        bytes(&Simulation::new(scenario).unwrap())
    };
    expect_test::expect!["8a9f3f7bf66c71ea"].assert_eq(&of(Numbers::Properties));
    assert_ne!(of(Numbers::Payload), of(Numbers::Properties));
}

#[test]
fn a_clock_of_which_nobody_knows_whether_it_is_believed_is_refused() {
    let skew = |by: &str| {
        let faults = format!("[[fault]]\nkind = \"clock_skew\"\nrate = 0.1\nby = \"{by}\"");
        Simulation::new(scenario(10, &faults)).map(|_| ())
    };
    assert!(skew("61s").is_ok() && skew("-3607s").is_ok() && skew("2h 1s").is_ok());
    assert!(format!("{:#}", skew("10m 1s").unwrap_err()).contains("depends on when"));
}

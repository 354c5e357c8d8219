//! The judge sees what is wrong, and nothing else: tables that are as they should be, with one thing changed.

use jiff::tz::TimeZone;

use super::expectation::Expectation;
use super::judge::{Course, Report, judge};
use super::ledger::Entry;
use super::load::Load;
use super::rollup::{self, Interval};
use super::tables::{Conflict, Position, Stored, Tables};

/// After everything was sent and taken.
fn expectation() -> Expectation {
    let plan = Load::clean("judge", 3, "2024-05-01T22:00:00Z".parse().unwrap()).dirty().plan();
    let mut entries = vec![Entry::default(); plan.messages.len()];
    for message in &plan.sends {
        let entry = &mut entries[*message as usize];
        *entry = Entry { sent: entry.sent + 1, taken_us: Some(1) };
    }
    Expectation::new(&plan, &entries)
}

/// The tables that this must give.
fn tables(expected: &Expectation) -> Tables {
    let mut tables = Tables { now_us: i64::MAX / 2, zone: Some(TimeZone::UTC), ..Tables::default() };
    for (place, values) in &expected.facts {
        let mut values = values.keys().map(|bits| f64::from_bits(*bits));
        let kept = values.next();
        let is_event = &*place.0.1 == "traffic.vehicle";
        let adds = if is_event { 1.0 } else { kept.unwrap() };
        tables.facts.insert(place.clone(), vec![Stored { value: kept, adds, quality: 1 << 4 }]);
        let others: Vec<Conflict> =
            values.map(|value| Conflict { value: Some(value), kept_value: kept }).collect();
        if !others.is_empty() {
            tables.conflicts.insert(place.clone(), others);
        }
        let volume = &*place.0.1 == "traffic.volume";
        let interval = Interval { every_s: volume.then_some(60), ends_at_time: volume };
        tables.intervals.insert(place.0.clone(), interval);
    }
    tables.rejections = expected.rejections.keys().map(|rejection| (rejection.clone(), 1)).collect();
    for ((source, epoch), numbers) in &expected.numbers {
        let seen = numbers.keys().map(|seq| (*seq, seq + 1)).collect();
        let rejected = numbers.values().filter(|sent| 0 < sent.refused).count() as i64;
        tables
            .positions
            .insert((source.to_string(), *epoch), Position { seen, rejected, ..Position::default() });
    }
    tables.rollups = rollup::levels(&tables.samples(), &TimeZone::UTC);
    tables.totals = expected.totals.clone();
    tables.totals.0.insert("late", expected.facts.len() as i64);
    tables
}

fn check(change: impl FnOnce(&mut Tables)) -> (Vec<&'static str>, Report) {
    let expected = expectation();
    let mut tables = tables(&expected);
    change(&mut tables);
    let report = judge(&expected, &tables, &Course { exact: true, ..Course::default() });
    (report.violations().map(|finding| finding.invariant).collect(), report)
}

#[test]
fn what_is_as_it_should_be_holds() {
    let (violated, report) = check(|_| {});
    assert!(violated.is_empty(), "{report}");
}

#[test]
fn a_lost_reading_is_missed_and_may_still_come() {
    let (violated, report) = check(|tables| drop(tables.facts.pop_first()));
    assert!(violated.contains(&"I1"), "{report}");
    // The ledger says that it is stored, so it is not on its way.
    assert!(report.is_final());
    let (violated, report) = check(|tables| {
        let (rejection, _) = tables.rejections.pop_first().unwrap();
        let column = if rejection.reason == "future" { "rejected" } else { "rejected_messages" };
        *tables.totals.0.get_mut(column).unwrap() -= 1;
    });
    assert!(violated.contains(&"I1"), "{report}");
}

#[test]
fn a_changed_value_is_seen() {
    let (violated, report) = check(|tables| {
        let stored = &mut tables.facts.first_entry().unwrap().into_mut()[0];
        stored.value = stored.value.map(|value| f64::from_bits(value.to_bits() + 1));
    });
    assert!(violated.contains(&"I2") && report.is_final(), "{report}");
}

#[test]
fn a_made_up_reading_is_seen() {
    let (violated, report) = check(|tables| {
        let ((name, time_us, event), stored) = tables.facts.first_key_value().unwrap();
        let (place, stored) = ((name.clone(), time_us + 1, *event), stored.clone());
        tables.facts.insert(place, stored);
    });
    assert!(violated.contains(&"I2") && report.is_final(), "{report}");
}

#[test]
fn a_reading_that_stands_twice_is_seen() {
    let (violated, report) = check(|tables| {
        let stored = tables.facts.first_entry().unwrap().into_mut();
        stored.push(stored[0]);
    });
    assert!(violated.contains(&"I3") && report.is_final(), "{report}");
    let (violated, report) = check(|tables| *tables.rejections.first_entry().unwrap().into_mut() = 2);
    assert!(violated.contains(&"I3"), "{report}");
}

#[test]
fn a_rollup_that_is_a_bit_off_is_seen_at_every_level() {
    for level in 0..3 {
        let (violated, report) = check(|tables| {
            let rollup = tables.rollups[level].first_entry().unwrap().into_mut();
            rollup.values.as_mut().unwrap()[1] ^= 1;
        });
        assert_eq!(violated, ["I4"], "{report}");
        let (violated, report) = check(|tables| drop(tables.rollups[level].pop_last()));
        assert_eq!(violated, ["I4"], "{report}");
    }
    let (violated, report) = check(|tables| tables.marks = 1);
    assert_eq!(violated, ["I4"], "{report}");
}

#[test]
fn a_forgotten_number_and_a_made_up_one_are_seen() {
    let (violated, report) = check(|tables| {
        tables.positions.values_mut().next().unwrap().seen.remove(3);
    });
    assert_eq!(violated, ["I6"], "{report}");
    let (violated, report) = check(|tables| {
        tables.positions.values_mut().next().unwrap().seen.push((100_000, 100_001));
    });
    assert_eq!(violated, ["I6"], "{report}");
    assert!(report.is_final());
}

#[test]
fn every_column_of_the_ledger_is_compared() {
    for column in super::tables::COLUMNS.into_iter().filter(|column| *column != "shed") {
        let (violated, report) = check(|tables| *tables.totals.0.get_mut(column).unwrap() += 1);
        assert_eq!(violated, ["I9"], "{column}: {report}");
    }
}

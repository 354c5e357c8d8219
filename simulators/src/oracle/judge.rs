//! The invariants, asked of what is expected and what stands in the tables. No I/O: a test can hand it any tables.

use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::expectation::Expectation;
use super::position;
use super::rollup::{self, Rollup};
use super::tables::{COLUMNS, Place, Stored, Tables, Totals};

/// What an invariant says of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `I1` to `I9`.
    pub invariant: &'static str,
    /// In words for a person.
    pub promise: &'static str,
    pub holds: bool,
    /// Whether a violation can still go away while messages are on their way.
    pub may_settle: bool,
    /// What was compared, or what is wrong.
    pub said: String,
    /// Everything that is wrong, up to a bound.
    #[serde(skip)]
    pub differences: Vec<String>,
    /// How many that are, also beyond the bound.
    #[serde(skip)]
    pub wrong: usize,
    /// How much was compared, where that is counted.
    #[serde(skip)]
    pub compared: usize,
}

impl Finding {
    /// Takes over what the same question found elsewhere.
    pub fn merge(&mut self, other: Finding) {
        self.holds &= other.holds;
        self.may_settle &= other.may_settle;
        let room = DIFFERENCES_MAX.saturating_sub(self.differences.len());
        self.differences.extend(other.differences.into_iter().take(room));
        self.wrong += other.wrong;
        self.compared += other.compared;
        if !self.holds {
            self.said = summary(self.wrong, &self.differences);
        }
    }

    /// A finding from everything that is wrong.
    pub fn of_all(
        invariant: &'static str,
        promise: &'static str,
        compared: String,
        differences: Vec<String>,
    ) -> Finding {
        let wrong = differences.len();
        let said = if wrong == 0 { compared } else { summary(wrong, &differences) };
        Finding { differences, wrong, ..Finding::new(invariant, promise, wrong == 0, said) }
    }

    /// A finding that no patience changes.
    pub fn new(invariant: &'static str, promise: &'static str, holds: bool, said: String) -> Finding {
        let wrong = usize::from(!holds);
        let differences = if holds { Vec::new() } else { vec![said.clone()] };
        Finding { invariant, promise, holds, may_settle: false, said, differences, wrong, compared: 0 }
    }
}

/// All findings of one look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }

    /// Whether something is wrong that no patience mends.
    pub fn is_final(&self) -> bool {
        self.findings.iter().any(|finding| !finding.holds && !finding.may_settle)
    }

    pub fn violations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { invariant, promise, holds, said, .. } in &self.findings {
            writeln!(f, "  {} {invariant}  {promise}: {said}", if *holds { '✓' } else { '✗' })?;
        }
        Ok(())
    }
}

/// How the messages went.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Nothing was delivered twice by the broker, so the ledger's numbers are known exactly.
    pub exact: bool,
    /// The ledger before, where its lines are not the load's alone.
    pub before: Totals,
}

/// Violations named in a finding's summary; the rest are counted.
const NAMED: usize = 5;
/// Violations that are kept at all: more than anybody reads, in less memory than the tables.
const DIFFERENCES_MAX: usize = 10_000;

fn summary(wrong: usize, differences: &[String]) -> String {
    let named = &differences[..differences.len().min(NAMED)];
    format!("{wrong} wrong: {}", named.join("; "))
}

/// Gathers what is wrong with one invariant.
pub(super) struct Look {
    finding: Finding,
}

impl Look {
    pub(super) fn at(invariant: &'static str, promise: &'static str) -> Look {
        Look {
            finding: Finding { may_settle: true, ..Finding::new(invariant, promise, true, String::new()) },
        }
    }

    /// Something that is not there yet.
    pub(super) fn pending(&mut self, what: impl FnOnce() -> String) {
        self.finding.wrong += 1;
        if self.finding.differences.len() < DIFFERENCES_MAX {
            self.finding.differences.push(what());
        }
    }

    /// Something that must never be.
    pub(super) fn never(&mut self, what: impl FnOnce() -> String) {
        self.finding.may_settle = false;
        self.pending(what);
    }

    pub(super) fn done(mut self, compared: String) -> Finding {
        self.finding.holds = self.finding.wrong == 0;
        self.finding.said = match self.finding.wrong {
            0 => compared,
            wrong => summary(wrong, &self.finding.differences),
        };
        self.finding
    }
}

/// Asks every invariant that tables can answer: I1 to I4, I6 and I9.
pub fn judge(expected: &Expectation, tables: &Tables, course: &Course) -> Report {
    let findings = vec![position::contiguous(expected, tables), ledger(expected, tables, course)];
    let mut report = part(expected, tables);
    report.findings.extend(findings);
    report
}

/// The invariants that can be asked of some sensors alone: I1 to I4.
pub fn part(expected: &Expectation, tables: &Tables) -> Report {
    let findings = vec![
        accounted(expected, tables),
        nothing_made_up(expected, tables),
        unique(expected, tables),
        rollups(tables).0,
    ];
    Report { findings }
}

fn accounted(expected: &Expectation, tables: &Tables) -> Finding {
    let mut look =
        Look::at("I1", "what the broker took is stored, rejected or a conflict, and in one place only");
    let (mut stored, mut conflicts) = (0, 0);
    for (place, values) in &expected.facts {
        let kept = tables.facts.get(place).and_then(|facts| facts.first()).map(|fact| bits(fact.value));
        let others: BTreeSet<u64> = tables
            .conflicts
            .get(place)
            .into_iter()
            .flatten()
            .filter_map(|conflict| conflict.value.map(f64::to_bits))
            .collect();
        for (value, claim) in values {
            let (is_kept, conflicting) = (kept == Some(*value), others.contains(value));
            stored += u64::from(is_kept);
            conflicts += u64::from(conflicting);
            if is_kept && conflicting {
                look.never(|| format!("{} is stored and a conflict", said(place, *value)));
            }
            if claim.taken && !is_kept && !conflicting {
                look.pending(|| format!("{} is nowhere", said(place, *value)));
            }
        }
    }
    for (rejection, (_, claim)) in &expected.rejections {
        if claim.taken && !tables.rejections.contains_key(rejection) {
            look.pending(|| format!("no rejection {} of {}", rejection.reason, rejection.topic));
        }
    }
    let rejections = tables.rejections.len();
    look.done(format!(
        "{} messages taken; {stored} readings stored, {conflicts} conflicts, {rejections} rejections",
        expected.taken
    ))
}

fn nothing_made_up(expected: &Expectation, tables: &Tables) -> Finding {
    let mut look = Look::at("I2", "nothing stands there that was not sent, and values are intact");
    let sent = |place, value: Option<f64>| {
        let values = expected.facts.get(place);
        values.is_some_and(|values| values.contains_key(&bits(value)))
    };
    for (place, facts) in &tables.facts {
        for fact in facts {
            if !sent(place, fact.value) {
                look.never(|| format!("{} was never sent", said(place, bits(fact.value))));
                continue;
            }
            let due = expected.flags.get(place).copied().unwrap_or_default() | flags(tables, place, fact);
            let found = fact.quality & JUDGED;
            if found != due {
                let what = said(place, bits(fact.value));
                look.never(|| format!("{what} has the flags {found}, {due} are due"));
            }
        }
    }
    for (place, conflicts) in &tables.conflicts {
        let kept = tables.facts.get(place).and_then(|facts| facts.first()).map(|fact| fact.value);
        for conflict in conflicts {
            if !sent(place, conflict.value) {
                look.never(|| format!("the conflict {:?} at {place:?} was never sent", conflict.value));
            }
            if kept != Some(conflict.kept_value) {
                look.never(|| {
                    format!("the conflict at {place:?} names {:?}, stored is {kept:?}", conflict.kept_value)
                });
            }
        }
    }
    for rejection in tables.rejections.keys().filter(|rejection| !expected.rejections.contains_key(rejection))
    {
        look.never(|| format!("a message on {} is rejected as {}", rejection.topic, rejection.reason));
    }
    look.done(format!("{} readings compared", tables.facts.len()))
}

/// What keeps a reading out of rollups (source bad, clock skew, out of range, implausible, stuck), and a unit that nobody
/// knows.
const JUDGED: i32 = 1 | 1 << 6 | OUT_OF_RANGE | 1 << 8 | 1 << 9 | 1 << 16;
const OUT_OF_RANGE: i32 = 1 << 7;

/// The flags that a value earns by the range of its series.
fn flags(tables: &Tables, place: &Place, fact: &Stored) -> i32 {
    let Some((min, max)) = tables.ranges.get(&place.0) else { return 0 };
    let is_in = fact.value.is_none_or(|value| *min <= value && value <= *max);
    if is_in { 0 } else { OUT_OF_RANGE }
}

fn unique(expected: &Expectation, tables: &Tables) -> Finding {
    let mut look = Look::at("I3", "no identity stands twice");
    for (place, facts) in tables.facts.iter().filter(|(_, facts)| 1 < facts.len()) {
        look.never(|| format!("{place:?} stands {} times", facts.len()));
    }
    for (place, conflicts) in &tables.conflicts {
        let values: BTreeSet<_> = conflicts.iter().map(|conflict| conflict.value.map(f64::to_bits)).collect();
        if values.len() < conflicts.len() {
            look.never(|| format!("a conflict at {place:?} stands twice"));
        }
    }
    for (rejection, times) in &tables.rejections {
        // It stands once for each source, and two gateways may say the same.
        let most = expected.rejections.get(rejection).map_or(1, |(_, claim)| claim.messages.max(1));
        if i64::from(most) < *times {
            look.never(|| {
                format!("the rejection {} of {} stands {times} times", rejection.reason, rejection.topic)
            });
        }
    }
    look.done(format!("{} identities", tables.facts.len()))
}

/// Compares every bucket that is over with the stored readings, bit for bit. Also says how many five-minute buckets
/// there are.
pub fn rollups(tables: &Tables) -> (Finding, usize) {
    let mut look = Look::at("I4", "every rollup equals the sums of its readings, bit for bit");
    let zone = tables.zone.clone().unwrap_or(TimeZone::UTC);
    let mut own = rollup::levels(&tables.samples(), &zone);
    if tables.sums_are_settled {
        own.iter_mut().flat_map(|level| level.values_mut()).for_each(Rollup::settle);
    }
    // Half a minute for the roller's idea of "over".
    let over = |bucket: &Rollup| bucket.ends_us + 30_000_000 < tables.now_us;
    let mut compared = 0;
    for (level, (own, found)) in ["5 min", "1 h", "1 d"].into_iter().zip(own.iter().zip(&tables.rollups)) {
        // Nobody can say where a day begins before the city has said its zone, with the first day that is over.
        if level == "1 d" && tables.zone.is_none() && tables.sums_are_settled {
            continue;
        }
        for (key, bucket) in own.iter().filter(|(_, bucket)| over(bucket)) {
            compared += 1;
            if found.get(key) != Some(bucket) {
                look.pending(|| {
                    format!("{level} {key:?} is {:?}, its readings say {bucket:?}", found.get(key))
                });
            }
        }
        for (key, bucket) in found.iter().filter(|(key, _)| !own.contains_key(key)) {
            look.pending(|| format!("{level} {key:?} has no readings and says {bucket:?}"));
        }
    }
    if 0 < tables.marks {
        look.pending(|| format!("{} buckets that are over are still marked", tables.marks));
    }
    let finding = Finding { compared, ..look.done(format!("{compared} rollups at three levels")) };
    (finding, own[0].len())
}

fn ledger(expected: &Expectation, tables: &Tables, course: &Course) -> Finding {
    let mut look = Look::at("I9", "rejections by reason and every column of the ledger equal what was sent");
    let totals = tables.totals.since(&course.before);
    let of = |column| totals.of(column);
    let mut equal = |what: &str, left: i64, right: i64| {
        if left != right {
            look.never(|| format!("{what}: {left} is not {right}"));
        }
    };
    let outcomes = of("accepted") + of("repeated") + of("ignored") + of("rejected_messages");
    equal("messages received, and their outcomes", of("received"), outcomes);
    let outcomes = of("stored") + of("duplicate") + of("conflict") + of("rejected");
    equal("readings decoded, and their outcomes", of("decoded"), outcomes);
    let count = |n: usize| n as i64;
    equal("stored, and rows", of("stored"), count(tables.facts.values().map(Vec::len).sum()));
    equal("conflict, and rows", of("conflict"), count(tables.conflicts.values().map(Vec::len).sum()));
    let (mut whole, mut single) = (0, 0);
    for rejection in tables.rejections.keys() {
        match expected.rejections.get(rejection) {
            Some((0, _)) => whole += 1,
            Some((readings, _)) => single += readings,
            None => {} // I2 says so
        }
    }
    equal("rejected messages, and rejections of whole messages", of("rejected_messages"), whole);
    equal("rejected readings, and rejections of single readings", of("rejected"), single);
    let late = tables.facts.values().flatten().filter(|fact| fact.quality & 1 << 4 != 0).count();
    equal("late, and readings flagged late", of("late"), count(late));
    equal("unkept", of("unkept"), 0);
    if course.exact {
        for column in COLUMNS.into_iter().filter(|column| *column != "late" && *column != "shed") {
            let (found, sent) = (of(column), expected.totals.of(column));
            if found != sent {
                look.pending(|| format!("{column} is {found}, the oracle's number is {sent}"));
            }
        }
    } else if of("received") < expected.taken {
        look.pending(|| format!("{} messages received, the broker took {}", of("received"), expected.taken));
    }
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("{column} {}", of(column))).collect();
    look.done(columns.join(", "))
}

/// A passage without a speed has none to compare.
fn bits(value: Option<f64>) -> u64 {
    value.unwrap_or(f64::NAN).to_bits()
}

fn said(place: &Place, value: u64) -> String {
    let ((sensor, metric), time_us, event) = place;
    let time = jiff::Timestamp::from_microsecond(*time_us).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{metric} of {sensor} at {time} (event {event}) = {}", f64::from_bits(value))
}

//! Compares a running system with an answer key, as anybody can who may ask it: over Arrow Flight.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::answer::Answer;
use super::course::Due;
use super::key::{AnswerKey, voices_at_once};
use crate::city::series;
use crate::oracle::{
    COLUMNS, Expectation, Finding, Name, Number, Numbers, Report, Seen, Tables, Totals, part,
};

/// Between two looks at what is not there yet.
const LOOK: Duration = Duration::from_secs(1);
/// The clocks of the simulator and of the city may differ so much.
const CLOCKS: SignedDuration = SignedDuration::from_mins(10);

/// How far a comparison is.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The ledger has so many of so many messages.
    Received(i64, i64),
    /// So many of so many sensors were compared.
    Compared(u32, u32),
}

/// Compares everything. What is not there yet is waited for, until nothing changes for `patience`.
///
/// # Errors
/// The service cannot be asked.
pub async fn verify(
    key: &AnswerKey,
    seen: &mut Seen,
    patience: Duration,
    mut step: impl FnMut(Step),
) -> anyhow::Result<Report> {
    let simulation = &key.simulation;
    let since = simulation.scenario.begun - CLOCKS;
    let (numbers, sources) = simulation.numbered(&key.progress);
    let is_numbered = simulation.scenario.numbers != Numbers::None;
    if is_numbered {
        let due = simulation.counted_sends(&key.progress);
        arrived(key, seen, since, due, patience, &mut step).await?;
    }
    let mut compared = Compared { answer: Answer { sources, ..Answer::default() }, ..Compared::default() };
    let voices = simulation.voices.count();
    let mut sensors = 0;
    let step_by = voices_at_once(&simulation.scenario);
    for from in (0..voices).step_by(step_by as usize) {
        let voices = from..(from + step_by).min(voices);
        compared.voices(key, seen, voices.clone(), &numbers, patience).await?;
        sensors += voices.map(|voice| simulation.voices.sensors(voice).count() as u32).sum::<u32>();
        step(Step::Compared(sensors, simulation.scenario.sensors));
    }
    compared.rejections(key, seen, since, patience).await?;
    let mut findings: Vec<Finding> = std::mem::take(&mut compared.findings).into_values().collect();
    if is_numbered {
        let started = Instant::now();
        loop {
            let counts = [
                numbered(key, seen, &compared.answer).await?,
                ledger(key, seen, since, &compared.answer).await?,
            ];
            if counts.iter().all(|finding| finding.holds) || patience < started.elapsed() {
                findings.extend(counts);
                break;
            }
            sleep(LOOK).await;
        }
    }
    if let Some(answer) = &key.answer {
        let series = answer.series;
        let same = Answer { series, ..compared.answer.clone() } == *answer;
        let said = match same {
            true => format!("{series} series"),
            false => "this program computes another answer from the key's scenario: another version made it"
                .to_owned(),
        };
        findings.push(Finding::new("key", "the key's answer is the one that its scenario has", same, said));
    }
    findings.sort_by_key(|finding| finding.invariant);
    Ok(Report { findings })
}

/// Waits until the ledger has counted every message that the broker took.
async fn arrived(
    key: &AnswerKey,
    seen: &mut Seen,
    since: Timestamp,
    due: i64,
    patience: Duration,
    step: &mut impl FnMut(Step),
) -> anyhow::Result<()> {
    let sources = key.simulation.scenario.sources();
    let (mut last, mut changed) = (-1, Instant::now());
    loop {
        let totals = seen.totals(&sources, since).await?;
        let received = totals.of("received") - totals.of("repeated");
        step(Step::Received(received, due));
        if due <= received || patience < changed.elapsed() {
            return Ok(());
        }
        if received != last {
            (last, changed) = (received, Instant::now());
        }
        sleep(LOOK).await;
    }
}

#[derive(Default)]
struct Compared {
    findings: BTreeMap<&'static str, Finding>,
    answer: Answer,
    /// Of all voices.
    rejections: Expectation,
    readings: usize,
    conflicts: usize,
    rollups: usize,
}

impl Compared {
    async fn voices(
        &mut self,
        key: &AnswerKey,
        seen: &mut Seen,
        voices: Range<u32>,
        numbers: &HashMap<Due, Number>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let simulation = &key.simulation;
        let (mut expected, refused) = simulation.expectation(voices.clone(), &key.progress, numbers);
        self.answer.add(&expected, refused);
        self.rejections.rejections.append(&mut expected.rejections);
        let mut sensors = BTreeSet::new();
        for sensor in voices.clone().flat_map(|voice| simulation.voices.sensors(voice)) {
            let all = series::of(simulation.city.role(sensor)).iter();
            sensors.extend(all.filter_map(|series| Some(simulation.stored(sensor, series.metric)?.sensor)));
        }
        let sensors: Vec<String> = sensors.into_iter().collect();
        let times = expected.facts.keys().map(|(_, time_us, _)| *time_us);
        let starts =
            Timestamp::from_microsecond(times.clone().min().unwrap_or(simulation.scenario.starts_us()))?;
        let ends = Timestamp::from_microsecond(times.max().unwrap_or(simulation.scenario.ends_us()))?;
        // What nobody said may stand beside what somebody did.
        let period = (starts - SignedDuration::from_hours(1), ends + SignedDuration::from_hours(1));
        let (mut last, mut changed) = (None, Instant::now());
        let (report, tables) = loop {
            let mut tables = seen.tables(&sensors, period).await?;
            if simulation.scenario.formats.iter().any(|format| format.has_no_event_ids()) {
                tables.forget_event_ids(|sensor| sensor.starts_with("cam:") || sensor.starts_with("signal:"));
            }
            let report = part(&expected, &tables);
            if report.holds() || report.is_final() || patience < changed.elapsed() {
                break (report, tables);
            }
            if last.as_ref() != Some(&report) {
                (last, changed) = (Some(report), Instant::now());
            }
            sleep(LOOK).await;
        };
        self.readings += tables.facts.len();
        self.conflicts += tables.conflicts.len();
        self.rollups += tables.rollups.iter().map(BTreeMap::len).sum::<usize>();
        self.merge(report);
        let spoken: BTreeSet<&Name> = expected.facts.keys().map(|(name, ..)| name).collect();
        let listed = simulation.listed(voices);
        let due = listed.iter().filter(|(name, _)| spoken.contains(name));
        let wrong = due.filter(|(name, due)| tables.listed.get(*name) != Some(*due)).map(|(name, due)| {
            format!(
                "{} of {} is {:?} in the registry, {due:?} is due",
                name.1,
                name.0,
                tables.listed.get(name)
            )
        });
        let wrong: Vec<String> = wrong.collect();
        let promise = "the registry says of every series what the city announced";
        self.merge(Report { findings: vec![Finding::of_all("I5", promise, String::new(), wrong)] });
        Ok(())
    }

    /// What was refused on any topic of the run.
    async fn rejections(
        &mut self,
        key: &AnswerKey,
        seen: &mut Seen,
        since: Timestamp,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let prefix = format!("{}_", key.simulation.scenario.prefix);
        // In some formats no topic has the sensor's name.
        let topics: BTreeSet<&str> =
            self.rejections.rejections.keys().map(|rejection| rejection.topic.as_str()).collect();
        let is_own =
            |topic: &str| topics.contains(topic) || topic.split('/').any(|level| level.starts_with(&prefix));
        let started = Instant::now();
        let report = loop {
            let found = seen.rejections(is_own, since).await?;
            let tables = Tables { rejections: found.into_iter().collect(), ..Tables::default() };
            let report = part(&self.rejections, &tables);
            if report.holds() || report.is_final() || patience < started.elapsed() {
                break report;
            }
            sleep(LOOK).await;
        };
        self.merge(report);
        let refused = self.rejections.rejections.len();
        for finding in self.findings.values_mut().filter(|finding| finding.holds) {
            finding.said = match finding.invariant {
                "I4" => {
                    let (compared, found) = (finding.compared, self.rollups);
                    format!(
                        "{compared} rollups of buckets that are over ({found} stand there); open ones have none"
                    )
                }
                _ => {
                    format!("{} readings, {} conflicts, {refused} rejections", self.readings, self.conflicts)
                }
            };
        }
        Ok(())
    }

    fn merge(&mut self, report: Report) {
        for finding in report.findings {
            match self.findings.get_mut(finding.invariant) {
                None => drop(self.findings.insert(finding.invariant, finding)),
                Some(all) => all.merge(finding),
            }
        }
    }
}

/// I6: every number is remembered, and what was lost is a gap.
async fn numbered(key: &AnswerKey, seen: &mut Seen, answer: &Answer) -> anyhow::Result<Finding> {
    let scenario = &key.simulation.scenario;
    let found = seen.positions(&scenario.sources(), scenario.epoch).await?;
    let (_, taken) = key.simulation.numbered(&key.progress.taken_only());
    let mut wrong = Vec::new();
    let (mut all, mut gaps) = (0, 0);
    for (source, due) in answer.sources.iter().filter(|(_, due)| 0 < due.last) {
        let position = found.get(source).cloned().unwrap_or_default();
        let numbers: i64 = position.seen.iter().map(|(from, to)| to - from).sum();
        let last = position.seen.last().map_or(0, |(_, to)| to - 1);
        // Of a run that was stopped, the last numbers may be there or not. Those that were lost at the end are no gap until
        // a later one comes.
        let sure = taken.get(source).cloned().unwrap_or_default();
        let (least, most) = (sure.last - sure.lost, due.last - due.lost);
        let refused = match key.progress.is_complete() {
            true => due.refused..=due.refused,
            false => 0..=due.refused,
        };
        all += due.last;
        gaps += due.lost;
        let is_same = (least..=most).contains(&numbers)
            && last <= due.last
            && refused.contains(&position.rejected)
            && position.reused == 0;
        if !is_same {
            wrong.push(format!(
                "{source}: {numbers} numbers up to {last}, {} refused, {} reused; due are {least} to {most} up to {}, {} \
                 refused",
                position.rejected, position.reused, due.last, due.refused
            ));
        }
    }
    let promise = "every number that came is remembered, and the gaps are those that were left";
    let said = format!("{all} numbers of {} sources, {gaps} lost on the way", answer.sources.len());
    Ok(Finding::of_all("I6", promise, said, wrong))
}

/// I9: the ledger.
async fn ledger(
    key: &AnswerKey,
    seen: &mut Seen,
    since: Timestamp,
    answer: &Answer,
) -> anyhow::Result<Finding> {
    let totals: Totals = seen.totals(&key.simulation.scenario.sources(), since).await?;
    let of = |column: &str| totals.of(column);
    let mut wrong = Vec::new();
    let outcomes = of("accepted") + of("repeated") + of("ignored") + of("rejected_messages");
    if of("received") != outcomes {
        wrong.push(format!("received {} is not its outcomes {outcomes}", of("received")));
    }
    let outcomes = of("stored") + of("duplicate") + of("conflict") + of("rejected");
    if of("decoded") != outcomes {
        wrong.push(format!("decoded {} is not its outcomes {outcomes}", of("decoded")));
    }
    // Of a run that was stopped, the last messages may be there or not.
    for column in COLUMNS.into_iter().filter(|_| key.progress.is_complete()) {
        let due = answer.ledger.get(column).copied().unwrap_or_default();
        let more = of("repeated") - answer.ledger.get("repeated").copied().unwrap_or_default();
        let (least, most) = match column {
            // What was sent again by us or by the broker is a repeat, and no more.
            "received" => (due + more, due + more),
            "repeated" => (due, i64::MAX),
            "late" => answer.late,
            _ => (due, due),
        };
        if !(least..=most).contains(&of(column)) {
            let due = match most {
                i64::MAX => format!("{least} or more"),
                most if least == most => format!("{least}"),
                most => format!("{least} to {most}"),
            };
            wrong.push(format!("{column} is {}, the key says {due}", of(column)));
        }
    }
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("{column} {}", of(column))).collect();
    let promise = "every column of the ledger is what the key says";
    Ok(Finding::of_all("I9", promise, columns.join(", "), wrong))
}

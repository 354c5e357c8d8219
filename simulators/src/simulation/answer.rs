//! What the tables must hold after a run: computed voice by voice, so that it needs the memory of some sensors only.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::course::{self, Course, Due, What};
use super::{Simulation, TICK_US};
use crate::city::series;
use crate::observation::{Decimal, Passage, Reading};
use crate::oracle::rollup::{self, Interval, Rollup, Sample, Samples};
use crate::oracle::{Expectation, Listed, Name, Number, Numbers, Totals};
use crate::speech::{self, Format, Said, Stored};

/// Readings older than this at their receipt are late (`--late-after` of ingest by default).
const LATE_US: i64 = 15 * 60 * 1_000_000;
/// What a message may be on its way, before an answer about being late is a guess.
const WAY_US: i64 = 60 * 1_000_000;

/// How far a connection came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Far {
    pub connection: u32,
    /// Nothing of a later tick was sent.
    pub sent: u32,
    /// Everything up to this tick was taken by the broker.
    pub taken: u32,
    /// When the first message of the tick was sent, in microseconds since 1970.
    pub at_us: i64,
}

/// How far a run came: of each connection, what it noted, in order.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// By connection: the last tick of which something was sent, and the last of which all was taken.
    far: Vec<(u32, u32)>,
    /// By connection and tick: when it began to be sent.
    at_us: Vec<BTreeMap<u32, i64>>,
}

impl Progress {
    pub fn new(connections: u32) -> Progress {
        let connections = connections as usize;
        Progress { far: vec![(0, 0); connections], at_us: vec![BTreeMap::new(); connections] }
    }

    pub fn note(&mut self, far: &Far) {
        let Some(last) = self.far.get_mut(far.connection as usize) else { return };
        *last = (last.0.max(far.sent), last.1.max(far.taken));
        self.at_us[far.connection as usize].entry(far.sent).or_insert(far.at_us);
    }

    /// Whether anything was sent.
    pub fn has_begun(&self) -> bool {
        self.far.iter().any(|(sent, _)| 0 < *sent)
    }

    /// Whether everything was sent and taken.
    pub fn is_complete(&self) -> bool {
        self.far.iter().all(|(_, taken)| *taken == u32::MAX)
    }

    /// Of this, only what was surely sent.
    pub fn taken_only(&self) -> Progress {
        let far = self.far.iter().map(|(_, taken)| (*taken, *taken)).collect();
        Progress { far, at_us: self.at_us.clone() }
    }

    /// Readings before the first time are late if they were sent in a tick, readings from the second on are not.
    fn late(&self, connection: u32, tick: u32) -> (i64, i64) {
        let at = &self.at_us[connection as usize];
        let began = at.range(..=tick).next_back().map_or(i64::MIN / 2, |(_, at)| *at);
        let ended = at.range(tick + 1..).next().map_or(i64::MAX / 2, |(_, at)| *at);
        (began - LATE_US, ended.saturating_add(WAY_US) - LATE_US)
    }
}

/// What must be remembered of the numbers of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Numbered {
    /// The last number.
    pub last: i64,
    /// Numbers that were never sent.
    pub lost: i64,
    /// Numbers of which something was refused.
    pub refused: i64,
}

/// What a run must leave in the tables, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The ledger's columns, of the run's own sources.
    pub ledger: BTreeMap<String, i64>,
    /// Readings that arrive so late that they are flagged: at least, and at most.
    pub late: (i64, i64),
    /// Rejections by reason: messages.
    pub rejected: BTreeMap<String, i64>,
    pub sources: BTreeMap<String, Numbered>,
    pub series: u64,
}

/// What must stand in the tables of one series, in microseconds and in its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesAnswer {
    pub sensor: String,
    pub metric: String,
    pub readings: usize,
    pub conflicts: usize,
    /// By five minutes: start in seconds since 1970, count, flagged, sum, least, most.
    pub five_minutes: Vec<(i64, i64, i64, f64, f64, f64)>,
}

impl Simulation {
    /// The numbers of all messages, where a payload has them: what is refused is known by its payload. And what is due of
    /// each source.
    pub fn numbered(&self, progress: &Progress) -> (HashMap<Due, Number>, BTreeMap<String, Numbered>) {
        let mut numbers = HashMap::new();
        let mut sources: BTreeMap<String, Numbered> = BTreeMap::new();
        let keeps = matches!(self.scenario.numbers, Numbers::Payload | Numbers::Both);
        for connection in 0..self.scenario.connections {
            let (sent, _) = progress.far[connection as usize];
            for sending in Course::new(self, connection).take_while(|sending| sending.tick <= sent) {
                let Some(number) = sending.number else { continue };
                let source = sources.entry(number.source.to_string()).or_default();
                source.last = source.last.max(number.seq);
                if sending.due.what != What::Again {
                    source.lost -= 1;
                }
                if keeps {
                    numbers.insert(sending.due, number);
                }
            }
        }
        // Counted, and never sent.
        sources.values_mut().for_each(|source| source.lost += source.last);
        (numbers, sources)
    }

    /// Messages with a number that the broker took, each once.
    pub fn counted_sends(&self, progress: &Progress) -> i64 {
        let of = |connection: u32| {
            let (_, taken) = progress.far[connection as usize];
            let sendings = Course::new(self, connection).take_while(|sending| sending.tick <= taken);
            let is_first =
                |sending: &course::Sending| sending.number.is_some() && sending.due.what != What::Again;
            sendings.filter(is_first).count() as i64
        };
        (0..self.scenario.connections).map(of).sum()
    }

    /// What must be in the tables for some voices, and of how many numbers something is refused, by source.
    pub fn expectation(
        &self,
        voices: Range<u32>,
        progress: &Progress,
        numbers: &HashMap<Due, Number>,
    ) -> (Expectation, BTreeMap<String, i64>) {
        let mut expected = Expectation::default();
        let mut refused: BTreeMap<String, i64> = BTreeMap::new();
        for voice in voices {
            let connection = self.connection(voice);
            let (sent, taken) = progress.far[connection as usize];
            for tick in 1..=self.last_tick() {
                self.planned(voice, tick, |at, due| {
                    if sent < at || due.what == What::Lost {
                        return;
                    }
                    let message = self.message(&due, numbers.get(&due).cloned());
                    let counted = self.is_counted(&due);
                    if due.what == What::Again {
                        expected.again(&message, 1, counted);
                        return;
                    }
                    if counted && !message.refusals.is_empty() {
                        let source = self.scenario.source(connection, due.what == What::Echo);
                        *refused.entry(source).or_default() += 1;
                    }
                    expected.add(&message, at <= taken, counted);
                    expected.late_before(&message, progress.late(connection, at));
                });
            }
        }
        expected.close();
        (expected, refused)
    }

    /// The names under which a metric of a sensor comes to stand in the tables; `None` where its format does not say it.
    pub fn stored(&self, sensor: u32, metric: &str) -> Option<Stored> {
        let format = super::spoken(&self.city, sensor, &self.scenario.formats);
        let role = self.city.role(sensor);
        let series = series::of(role).iter().find(|series| series.metric == metric)?;
        let time_us = self.scenario.starts_us() + TICK_US;
        let interval_s = if series.is_interval() { role.interval_s() as u32 } else { 0 };
        let value = Decimal::new(1, series.places);
        let reading = Reading { metric: series.metric, unit: series.unit, time_us, interval_s, value };
        let one = Decimal::whole(1);
        let passage = Passage { vehicle: 1, time_us, class: "car", on_time: one, speed: one, length: one };
        let readings = [reading];
        let said = if series.kind == "event" { Said::Passage(&passage) } else { Said::Readings(&readings) };
        if format == Format::Senml {
            let (sensor, metric, unit) = (self.city.id(sensor), metric.to_owned(), series.unit.to_owned());
            return Some(Stored { sensor, metric, time_us, event_id: None, value: 1.0, unit, interval_s });
        }
        speech::stored(format, &self.city.id(sensor), said).into_iter().next()
    }

    /// What the registry must say of the series of some voices: what is rolled up, and how, depends on it.
    pub fn listed(&self, voices: Range<u32>) -> BTreeMap<Name, Listed> {
        let mut all = BTreeMap::new();
        for sensor in voices.flat_map(|voice| self.voices.sensors(voice)) {
            let role = self.city.role(sensor);
            for series in series::of(role) {
                let Some(stored) = self.stored(sensor, series.metric) else { continue };
                let is_event = series.kind == "event";
                let (least, most) = series.range;
                let listed = Listed {
                    unit: stored.unit,
                    kind: series.kind.to_owned(),
                    interval_s: (!is_event).then(|| role.interval_s()),
                    modulus: series.modulus.map(|modulus| modulus as f64),
                    range: if is_event { (None, None) } else { (Some(least), Some(most)) },
                };
                all.insert((stored.sensor.into(), stored.metric.into()), listed);
            }
        }
        all
    }

    /// What must stand in the tables, series by series, from what is expected of some voices.
    pub fn series_answers(&self, voices: Range<u32>, expected: &Expectation) -> Vec<SeriesAnswer> {
        let mut about: HashMap<Name, (Interval, (f64, f64))> = HashMap::new();
        for sensor in voices.flat_map(|voice| self.voices.sensors(voice)) {
            let role = self.city.role(sensor);
            for series in series::of(role) {
                let Some(stored) = self.stored(sensor, series.metric) else { continue };
                let every_s = (series.kind != "event").then(|| role.interval_s());
                let interval = Interval { every_s, ends_at_time: series.is_interval() };
                about.insert((stored.sensor.into(), stored.metric.into()), (interval, series.range));
            }
        }
        let mut samples = Samples::new();
        let mut conflicts: BTreeMap<Name, usize> = BTreeMap::new();
        for ((name, time_us, _), values) in &expected.facts {
            *conflicts.entry(name.clone()).or_default() += values.len() - 1;
            let Some((bits, _)) = values.iter().find(|(_, claim)| claim.first) else { continue };
            let (interval, range) =
                about.get(name).copied().unwrap_or((Interval::default(), (f64::MIN, f64::MAX)));
            let value = f64::from_bits(*bits);
            let is_event = &*name.1 == "traffic.vehicle";
            let place = (name.clone(), *time_us, 0);
            let is_in = is_event || (range.0 <= value && value <= range.1);
            let quality =
                expected.flags.get(&place).copied().unwrap_or_default() | if is_in { 0 } else { 1 << 7 };
            let sample = Sample { time_us: *time_us, value: if is_event { 1.0 } else { value }, quality };
            samples.entry(name.clone()).or_insert_with(|| (interval, Vec::new())).1.push(sample);
        }
        rollup::doubt(&mut samples);
        let mut answers = BTreeMap::new();
        for (name, (_, samples)) in &samples {
            let answer = SeriesAnswer {
                sensor: name.0.to_string(),
                metric: name.1.to_string(),
                readings: samples.len(),
                conflicts: conflicts.get(name).copied().unwrap_or_default(),
                five_minutes: Vec::new(),
            };
            answers.insert(name.clone(), answer);
        }
        let [five_minutes, ..] = rollup::levels(&samples, &jiff::tz::TimeZone::UTC);
        for ((name, start_us), mut bucket) in five_minutes {
            bucket.settle();
            let Rollup { count, flagged, values, .. } = bucket;
            let [sum, _, least, most, ..] = values.unwrap_or_default().map(f64::from_bits);
            if let Some(answer) = answers.get_mut(&name) {
                answer.five_minutes.push((start_us / 1_000_000, count, flagged, sum, least, most));
            }
        }
        answers.into_values().collect()
    }
}

impl Answer {
    /// Adds what is expected of some voices.
    pub fn add(&mut self, expected: &Expectation, refused: BTreeMap<String, i64>) {
        let Totals(totals) = &expected.totals;
        for (column, n) in totals {
            *self.ledger.entry((*column).to_owned()).or_default() += n;
        }
        self.late.0 += expected.late.0;
        self.late.1 += expected.late.1;
        for rejection in expected.rejections.keys() {
            *self.rejected.entry(rejection.reason.clone()).or_default() += 1;
        }
        for (source, n) in refused {
            self.sources.entry(source).or_default().refused += n;
        }
    }
}

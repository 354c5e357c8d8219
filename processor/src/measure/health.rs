//! The verdict on each detector, register and sensor of a city, a local day at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::RwLock,
};

use jiff::{ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::Client;

use super::{
    Settled, Steps,
    detector::{self, Health, Sample, Thresholds},
    history,
    utility::{self, StuckRule},
};
use crate::{
    model::{Kind, Level, Quality, Series, SeriesId, State, Time},
    registry::{self, Registry},
    roller::tables,
    store::StoreError,
};

/// A detector: the series that its verdict is made of.
#[derive(Clone, Debug)]
struct Detector {
    sensor: String,
    /// Of its volume.
    metric: String,
    volume: Series,
    occupancy: Option<Series>,
    /// Where it is of one lane: the lengths of vehicles follow from it.
    speed: Option<Series>,
}

/// What is wrong with a sensor, and since when.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    pub sensor: String,
    pub metric: String,
    /// What was found, in a word.
    pub rule: String,
    /// The first local day of it, as far as was looked back.
    pub since: Date,
    /// What to look at first.
    pub advice: &'static str,
}

/// Which days are looked at.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The day that is judged.
    pub last: Date,
    /// How many days, with that one, are looked back: to say since when.
    pub days: u32,
    pub thresholds: Thresholds,
    pub zone: TimeZone,
    /// `None`: all.
    pub sensors: Option<Vec<String>>,
}

/// Readings that are looked at in one go: 56 bytes each.
const READINGS_MAX: usize = 2_000_000;
/// Rollups that are looked at in one go: some 400 bytes each.
const ROLLUPS_MAX: usize = 200_000;
/// Detectors of passages that are looked at in one go: 20,000 passages a day each.
const PASSING: usize = 64;
/// The hours that a detector is judged by: with traffic, and without a night that looks like a fault.
const HOURS: (i8, i8) = (5, 22);
/// A detector of passages, or a sensor that rests, is compared with so many days before at least.
const DAYS_BEFORE: usize = 3;

/// A series of the city, with its names.
struct Named {
    sensor: String,
    metric: String,
    series: Series,
    /// Of one lane, as its metric or the registry says.
    is_lane: bool,
}

impl Named {
    fn finding(&self, rule: impl ToString, since: Date, advice: &'static str) -> Finding {
        let (sensor, metric) = (self.sensor.clone(), self.metric.clone());
        Finding { sensor, metric, rule: rule.to_string(), since, advice }
    }
}

/// How many days are looked back, where nobody says it.
pub const LOOK_BACK: u32 = 7;

impl Inspection {
    /// Of all sensors on a day, by the thresholds of streets.
    pub fn of(last: Date, zone: &TimeZone) -> Inspection {
        Inspection { last, days: LOOK_BACK, thresholds: Thresholds::URBAN, zone: zone.clone(), sensors: None }
    }

    fn day(&self, back: u32) -> Date {
        self.last.checked_sub(i64::from(back).days()).unwrap_or(self.last)
    }

    /// An hour of a local day.
    fn at(&self, day: Date, hour: i8) -> Result<Time, StoreError> {
        let zoned = day.at(hour, 0, 0, 0).to_zoned(self.zone.clone());
        zoned.map(|zoned| Time::from(zoned.timestamp())).map_err(|error| StoreError::Unfit(error.to_string()))
    }

    /// All days, from midnight to midnight.
    fn span(&self) -> Result<Range<Time>, StoreError> {
        let after = self.last.checked_add(1.day()).unwrap_or(self.last);
        Ok(self.at(self.day(self.days - 1), 0)?..self.at(after, 0)?)
    }
}

/// What needs a visit, the oldest first: detectors by the verdicts of their days, registers that stuck, sensors that fell
/// silent, rest at one value or say only what cannot be. `told` hears how many series of how many were looked at.
///
/// # Errors
/// The database cannot be read.
pub async fn findings(
    client: &Client,
    registry: &RwLock<Registry>,
    inspection: &Inspection,
    mut told: impl FnMut(usize, usize),
) -> Result<Vec<Finding>, StoreError> {
    let all = named(client, registry, inspection).await?;
    let detectors = detectors(registry, &all);
    let (count, mut done) = (all.len(), 0);
    let mut findings = Vec::new();
    let seconds = f64::from(HOURS.1 - HOURS.0) * 3_600.0;
    let interval = |detector: &Detector| f64::from(detector.volume.interval_s.unwrap_or(60));
    let least = detectors.iter().map(interval).fold(f64::INFINITY, f64::min);
    let at_once = (READINGS_MAX as f64 * least / seconds / 3.0).max(1.0) as usize;
    for some in detectors.chunks(at_once) {
        findings.extend(of_detectors(client, some, inspection).await?);
        done += some.len();
        told(done, count);
    }
    let judged: HashSet<SeriesId> = detectors.iter().map(|detector| detector.volume.id).collect();
    let rest: Vec<Named> = all.into_iter().filter(|one| !judged.contains(&one.series.id)).collect();
    let hours = inspection.days as usize * 25;
    for some in rest.chunks((ROLLUPS_MAX / hours).max(1)) {
        findings.extend(of_days(client, some, inspection).await?);
        findings.extend(of_registers(client, registry, some, inspection).await?);
        done += some.len();
        told(done, count);
    }
    // One finding a series is enough, the one that came first; and one for a sensor of which several series fell silent.
    findings.sort_by(|a, b| (&a.sensor, &a.metric, a.since).cmp(&(&b.sensor, &b.metric, b.since)));
    findings.dedup_by(|a, b| (&a.sensor, &a.metric) == (&b.sensor, &b.metric));
    findings.sort_by(|a, b| (&a.sensor, &a.rule, a.since).cmp(&(&b.sensor, &b.rule, b.since)));
    let silent = Health::Silent.to_string();
    findings.dedup_by(|a, b| a.sensor == b.sensor && a.rule == silent && b.rule == silent);
    findings.sort_by_key(|finding| finding.since);
    Ok(findings)
}

/// The series of sensors that were there on the last day, but for those in quarantine.
async fn named(
    client: &Client,
    registry: &RwLock<Registry>,
    inspection: &Inspection,
) -> Result<Vec<Named>, StoreError> {
    let query = "SELECT id, sensor, metric, metric ~ '[.]lane[0-9]+$' OR EXISTS (
                     SELECT FROM sensor s WHERE s.id = series.sensor AND s.valid_from <= $1 AND $1 < s.valid_to
                         AND s.lane IS NOT NULL)
                 FROM series
                 WHERE NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = series.sensor)
                     AND EXISTS (SELECT FROM sensor s WHERE s.id = series.sensor AND s.valid_from <= $1 AND $1 < s.valid_to)
                     AND ($2::text[] IS NULL OR sensor = ANY($2))
                 ORDER BY sensor, metric";
    let noon = inspection.at(inspection.last, 12)?.timestamp();
    let rows = client.query(query, &[&noon, &inspection.sensors]).await?;
    let registry = registry::read(registry);
    let named = |row: &tokio_postgres::Row| {
        let series = registry.series(SeriesId(row.get(0)))?.clone();
        Some(Named { sensor: row.get(1), metric: row.get(2), series, is_lane: row.get(3) })
    };
    Ok(rows.iter().filter_map(named).collect())
}

/// The detectors that count vehicles in intervals of five minutes at most, most with their occupancy; by lane or direction
/// where their metrics say so.
fn detectors(registry: &RwLock<Registry>, all: &[Named]) -> Vec<Detector> {
    let speeds: HashMap<SeriesId, &Series> = {
        let registry = registry::read(registry);
        let of = |named: &&Named| registry.rule(named.series.id).and_then(|rule| rule.volume).is_some();
        let speeds = all.iter().filter(of);
        speeds.filter_map(|named| Some((named.series.volume?, &named.series))).collect()
    };
    let by_name: HashMap<(&str, &str), &Series> =
        all.iter().map(|one| ((one.sensor.as_str(), one.metric.as_str()), &one.series)).collect();
    let detector = |one: &Named| {
        let lane = one
            .metric
            .strip_prefix("traffic.volume")
            .filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
        let interval_s = one.series.interval_s.filter(|seconds| *seconds <= 300)?;
        if one.series.kind != Kind::Total {
            return None;
        }
        let occupancy = format!("traffic.occupancy{lane}");
        let occupancy = by_name.get(&(one.sensor.as_str(), occupancy.as_str()));
        let speed = speeds.get(&one.series.id).filter(|_| one.is_lane);
        Some(Detector {
            sensor: one.sensor.clone(),
            metric: one.metric.clone(),
            volume: one.series.clone(),
            occupancy: occupancy.filter(|o| o.interval_s == Some(interval_s)).map(|o| (*o).clone()),
            speed: speed.map(|speed| (*speed).clone()),
        })
    };
    all.iter().filter_map(detector).collect()
}

/// The verdicts on some detectors, with the days that they have held.
async fn of_detectors(
    client: &Client,
    detectors: &[Detector],
    inspection: &Inspection,
) -> Result<Vec<Finding>, StoreError> {
    let verdicts = day(client, detectors, inspection.last, inspection).await?;
    let ill = detectors.iter().zip(verdicts).filter(|(_, health)| *health != Health::Good);
    let mut held: Vec<(Detector, Health, Date)> =
        ill.map(|(detector, health)| (detector.clone(), health, inspection.last)).collect();
    let mut open: Vec<usize> = (0..held.len()).collect();
    for back in 1..inspection.days {
        let day_before = inspection.day(back);
        let still: Vec<Detector> = open.iter().map(|at| held[*at].0.clone()).collect();
        let verdicts = day(client, &still, day_before, inspection).await?;
        let same = open.iter().zip(verdicts).filter(|(at, health)| held[**at].1 == *health);
        open = same.map(|(at, _)| *at).collect();
        open.iter().for_each(|at| held[*at].2 = day_before);
    }
    let finding = |(detector, health, since): (Detector, Health, Date)| Finding {
        sensor: detector.sensor,
        metric: detector.metric,
        rule: health.to_string(),
        since,
        advice: health.advice(),
    };
    Ok(held.into_iter().map(finding).collect())
}

/// The verdict on each of some detectors for a local day.
async fn day(
    client: &Client,
    detectors: &[Detector],
    day: Date,
    inspection: &Inspection,
) -> Result<Vec<Health>, StoreError> {
    let (start, end) = (inspection.at(day, HOURS.0)?, inspection.at(day, HOURS.1)?);
    let seconds = (end.micros() - start.micros()) as f64 / 1e6;
    let series = detectors.iter().flat_map(|d| [Some(&d.volume), d.occupancy.as_ref(), d.speed.as_ref()]);
    let known: HashMap<SeriesId, &Series> = series.flatten().map(|series| (series.id, series)).collect();
    let ids: Vec<SeriesId> = known.keys().copied().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut facts = Vec::new();
    // Readings carry the end of their interval.
    let after = |time: Time| Time::from_micros(time.micros() + 1);
    tables::read_facts(client, after(start), after(end), Some(&ids), &mut facts).await?;
    let mut by_series: HashMap<SeriesId, Vec<(Time, f64)>> = HashMap::new();
    for tables::Fact { series, time, value, quality, .. } in facts {
        let Some(seen) = known.get(&series).map(|series| series.view(time, value, quality)) else { continue };
        // A sample that cannot be is none.
        if !seen.1.intersects(Quality::EXCLUDED) {
            by_series.entry(series).or_default().push((time, seen.0));
        }
    }
    let verdict = |detector: &Detector| {
        let mut samples: BTreeMap<Time, Sample> = BTreeMap::new();
        let mut take = |series: Option<&Series>, put: fn(&mut Sample, f64)| {
            let readings = series.and_then(|series| by_series.remove(&series.id)).unwrap_or_default();
            readings.into_iter().for_each(|(time, value)| put(samples.entry(time).or_default(), value));
        };
        take(Some(&detector.volume), |sample, value| sample.volume = Some(value));
        take(detector.occupancy.as_ref(), |sample, value| sample.occupancy = Some(value));
        take(detector.speed.as_ref(), |sample, value| sample.speed = Some(value));
        let samples: Vec<Sample> = samples.into_values().collect();
        let interval_s = f64::from(detector.volume.interval_s.unwrap_or(60));
        let due = (seconds / interval_s) as usize;
        detector::daily(&samples, due, interval_s, &inspection.thresholds)
    };
    Ok(detectors.iter().map(verdict).collect())
}

/// What the rollups of days say: silence, one value for days, nothing that could be, passages that cannot be.
async fn of_days(
    client: &Client,
    some: &[Named],
    inspection: &Inspection,
) -> Result<Vec<Finding>, StoreError> {
    let span = inspection.span()?;
    let ids: Vec<SeriesId> = some.iter().map(|one| one.series.id).collect();
    let mut rollups = Vec::new();
    tables::read_rollups(client, Level::Day, span.start, span.end, Some(&ids), &mut rollups).await?;
    let mut states: HashMap<SeriesId, BTreeMap<Date, State>> = HashMap::new();
    for rollup in rollups {
        let date = inspection.zone.to_datetime(rollup.bucket.timestamp()).date();
        states.entry(rollup.series).or_default().insert(date, rollup.state);
    }
    let mut passing: Vec<&Named> = Vec::new();
    let mut findings = Vec::new();
    for one in some {
        let days = states.remove(&one.series.id).unwrap_or_default();
        findings.extend(of_series(one, &days, inspection));
        if one.is_lane && one.metric.starts_with("traffic.vehicle") && days.contains_key(&inspection.last) {
            passing.push(one);
        }
    }
    for some in passing.chunks(PASSING) {
        findings.extend(of_passages(client, some, inspection).await?);
    }
    Ok(findings)
}

fn of_series(one: &Named, days: &BTreeMap<Date, State>, inspection: &Inspection) -> Option<Finding> {
    let Inspection { last, days: back, .. } = *inspection;
    let after = |day: Date| day.checked_add(1.day()).unwrap_or(day);
    let first = inspection.day(back - 1);
    let Some(state) = days.get(&last) else {
        // A street may be empty for a day; one that was used on each day before is not.
        let expected = match one.series.kind {
            Kind::Event => DAYS_BEFORE <= days.len(),
            Kind::Counter => true,
            _ => one.series.interval_s.is_some() || !days.is_empty(),
        };
        let since = days.last_key_value().map_or(first, |(heard, _)| after(*heard));
        return expected.then(|| one.finding(Health::Silent, since, Health::Silent.advice()));
    };
    if state.count == 0 {
        let bad = days.iter().rev().take_while(|(_, state)| state.count == 0);
        let since = bad.last().map_or(last, |(day, _)| *day);
        return Some(one.finding("flagged", since, "look at its readings: all are bad or out of range"));
    }
    if !matches!(one.series.kind, Kind::Gauge | Kind::Rate | Kind::Sliding) {
        return None;
    }
    let only =
        |state: &State| state.values.as_ref().filter(|v| 1 < state.count && v.min == v.max).map(|v| v.min);
    let value = only(state)?;
    let resting = days.iter().rev().take_while(|(_, state)| only(state) == Some(value));
    let (since, rested) = resting.fold((last, 0), |(_, rested), (day, _)| (*day, rested + 1));
    let before: Vec<&State> = days.values().rev().skip(rested).collect();
    let moved = DAYS_BEFORE <= before.len() && before.iter().all(|state| only(state).is_none());
    moved.then(|| one.finding(Health::Constant, since, "look at the sensor: it repeats one value"))
}

/// The verdict on some detectors of passages.
async fn of_passages(
    client: &Client,
    some: &[&Named],
    inspection: &Inspection,
) -> Result<Vec<Finding>, StoreError> {
    let mut since: HashMap<SeriesId, Date> = HashMap::new();
    let mut open: Vec<SeriesId> = some.iter().map(|one| one.series.id).collect();
    for back in 0..inspection.days {
        let day = inspection.day(back);
        let mut facts = Vec::new();
        let (start, end) = (inspection.at(day, HOURS.0)?, inspection.at(day, HOURS.1)?);
        tables::read_facts(client, start, end, Some(&open), &mut facts).await?;
        let mut passages: HashMap<SeriesId, Vec<(f64, Option<f64>)>> = HashMap::new();
        for fact in facts {
            let passage = (fact.time.micros() as f64 / 1e6, fact.passage.and_then(|p| p.length_m));
            passages.entry(fact.series).or_default().push(passage);
        }
        open.retain(|id| {
            let mut of_day = passages.remove(id).unwrap_or_default();
            of_day.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            detector::passages(&of_day) != Health::Good
        });
        since.extend(open.iter().map(|id| (*id, day)));
        if open.is_empty() {
            break;
        }
    }
    let found = |one: &&Named| {
        let since = since.get(&one.series.id)?;
        Some(one.finding(Health::Chatter, *since, Health::Chatter.advice()))
    };
    Ok(some.iter().filter_map(found).collect())
}

/// Registers that stuck.
async fn of_registers(
    client: &Client,
    registry: &RwLock<Registry>,
    some: &[Named],
    inspection: &Inspection,
) -> Result<Vec<Finding>, StoreError> {
    let registers: Vec<&Named> = some.iter().filter(|one| one.series.kind == Kind::Counter).collect();
    let series: Vec<Series> = registers.iter().map(|one| one.series.clone()).collect();
    let steps = Steps::of_days(&inspection.span()?, 3_600, &inspection.zone)?;
    let mut findings = Vec::new();
    let take = |at: usize, hours: Vec<Settled>| {
        let volumes: Vec<Option<f64>> =
            hours.iter().map(|hour| hour.counted.map(|counted| counted.to_f64())).collect();
        if let Some(from) = utility::stuck_from(&volumes, 3_600, StuckRule::default()) {
            let since = inspection.zone.to_datetime(steps.spans[from].start.timestamp()).date();
            findings.push(registers[at].finding("stuck", since, "look at the register: it does not move"));
        }
    };
    history::read(client, registry, &series, &steps, take).await?;
    Ok(findings)
}

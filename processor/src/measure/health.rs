//! The verdict on each detector, register and sensor of a city, a local day at a time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::RwLock,
};

use jiff::{ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::Client;

use super::{
    detector::{self, Health, Sample, Thresholds},
    history::{self, Width},
    utility::{self, StuckRule},
};
use crate::{
    model::{Series, SeriesId, Time, bucket::HOUR},
    registry::{self, Registry},
    roller::tables,
    store::StoreError,
};

/// A detector: the series that its verdict is made of.
#[derive(Clone, Debug)]
pub struct Detector {
    pub sensor: String,
    /// Of its volume.
    pub metric: String,
    pub volume: Series,
    pub occupancy: Series,
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

/// Readings that are looked at in one go: 56 bytes each.
const READINGS_MAX: usize = 2_000_000;
/// The hours that a detector is judged by: with traffic, and without a night that looks like a fault.
const HOURS: (i8, i8) = (5, 22);

/// The detectors of a city that count vehicles and measure occupancy in equal intervals; by lane or direction where
/// their metrics say so.
///
/// # Errors
/// The database cannot be read.
pub async fn detectors(client: &Client, registry: &RwLock<Registry>) -> Result<Vec<Detector>, StoreError> {
    let query = "SELECT v.id, o.id, v.sensor, v.metric FROM series v JOIN series o ON o.sensor = v.sensor
                     AND o.metric = replace(v.metric, 'traffic.volume', 'traffic.occupancy')
                     AND o.interval_s = v.interval_s
                 WHERE (v.metric = 'traffic.volume' OR v.metric LIKE 'traffic.volume.%')
                     AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = v.sensor)
                 ORDER BY v.sensor, v.metric";
    let rows = client.query(query, &[]).await?;
    let registry = registry::read(registry);
    let detector = |row: &tokio_postgres::Row| {
        let series = |column: usize| registry.series(SeriesId(row.get(column))).cloned();
        Some(Detector { sensor: row.get(2), metric: row.get(3), volume: series(0)?, occupancy: series(1)? })
    };
    Ok(rows.iter().filter_map(detector).collect())
}

/// The verdict on each of some detectors for a local day.
///
/// # Errors
/// The database cannot be read.
pub async fn day(
    client: &Client,
    detectors: &[Detector],
    day: Date,
    thresholds: &Thresholds,
    zone: &TimeZone,
) -> Result<Vec<Health>, StoreError> {
    let at = |hour: i8| {
        let zoned = day.at(hour, 0, 0, 0).to_zoned(zone.clone());
        zoned.map(|zoned| Time::from(zoned.timestamp())).map_err(|error| StoreError::Unfit(error.to_string()))
    };
    let (start, end) = (at(HOURS.0)?, at(HOURS.1)?);
    let seconds = (end.micros() - start.micros()) as f64 / 1e6;
    let mut verdicts = Vec::with_capacity(detectors.len());
    let interval = |detector: &Detector| f64::from(detector.volume.interval_s.unwrap_or(60));
    let least = detectors.iter().map(interval).fold(f64::INFINITY, f64::min);
    let at_once = (READINGS_MAX as f64 * least / seconds / 2.0).max(1.0) as usize;
    for some in detectors.chunks(at_once) {
        let ids: Vec<SeriesId> = some.iter().flat_map(|d| [d.volume.id, d.occupancy.id]).collect();
        let mut facts = Vec::new();
        // Readings carry the end of their interval.
        let after = |time: Time| Time::from_micros(time.micros() + 1);
        tables::read_facts(client, after(start), after(end), Some(&ids), &mut facts).await?;
        let mut by_series: HashMap<SeriesId, Vec<(Time, f64)>> = HashMap::new();
        for fact in facts {
            by_series.entry(fact.series).or_default().push((fact.time, fact.value));
        }
        for detector in some {
            let mut samples: BTreeMap<Time, Sample> = BTreeMap::new();
            for (time, volume) in by_series.remove(&detector.volume.id).unwrap_or_default() {
                samples.entry(time).or_default().volume = Some(volume);
            }
            for (time, occupancy) in by_series.remove(&detector.occupancy.id).unwrap_or_default() {
                samples.entry(time).or_default().occupancy = Some(occupancy);
            }
            let samples: Vec<Sample> = samples.into_values().collect();
            let due = (seconds / interval(detector)) as usize;
            verdicts.push(detector::daily(&samples, due, interval(detector), thresholds));
        }
    }
    Ok(verdicts)
}

/// What needs a visit: detectors by the verdicts of the last days, registers that stuck, and sensors that fell silent.
///
/// # Errors
/// The database cannot be read.
pub async fn findings(
    client: &Client,
    registry: &RwLock<Registry>,
    last: Date,
    days: u32,
    thresholds: &Thresholds,
    zone: &TimeZone,
) -> Result<Vec<Finding>, StoreError> {
    let detectors = detectors(client, registry).await?;
    let before = |back: u32| last.checked_sub(i64::from(back).days()).unwrap_or(last);
    let mut verdicts: Vec<Vec<Health>> = Vec::new();
    for back in 0..days {
        verdicts.push(day(client, &detectors, before(back), thresholds, zone).await?);
    }
    let mut findings = Vec::new();
    for (which, detector) in detectors.iter().enumerate() {
        let own: Vec<Health> = verdicts.iter().map(|day| day[which]).collect();
        let Some(health) = own.first().copied().filter(|health| *health != Health::Good) else { continue };
        let same = own.iter().take_while(|other| **other == health).count();
        findings.push(Finding {
            sensor: detector.sensor.clone(),
            metric: detector.metric.clone(),
            rule: health.to_string(),
            since: before(same as u32 - 1),
            advice: health.advice(),
        });
    }
    findings.extend(registers(client, registry, before(days - 1), last, zone).await?);
    findings.sort_by(|a, b| (a.since, &a.sensor).cmp(&(b.since, &b.sensor)));
    Ok(findings)
}

/// Registers that stuck, or that nothing was heard of, in some days.
async fn registers(
    client: &Client,
    registry: &RwLock<Registry>,
    first: Date,
    last: Date,
    zone: &TimeZone,
) -> Result<Vec<Finding>, StoreError> {
    let midnight = |day: Date| {
        let zoned = day.to_zoned(zone.clone());
        zoned.map(|zoned| Time::from(zoned.timestamp())).map_err(|error| StoreError::Unfit(error.to_string()))
    };
    let after = last.checked_add(1.day()).unwrap_or(last);
    let spans = Width::Micros(HOUR).spans(&(midnight(first)?..midnight(after)?), zone);
    let query = "SELECT id, sensor, metric FROM series
                 WHERE kind = 'counter' AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = series.sensor)
                 ORDER BY sensor, metric";
    let mut findings = Vec::new();
    for row in client.query(query, &[]).await? {
        let series = registry::read(registry).series(SeriesId(row.get(0))).cloned();
        let Some(series) = series else { continue };
        let hours = history::read(client, registry, &series, &spans, Width::Micros(HOUR), zone).await?;
        let volumes: Vec<Option<f64>> =
            hours.iter().map(|hour| hour.counted.map(|counted| counted.to_f64())).collect();
        let date = |hour: usize| zone.to_datetime(spans[hour].start.timestamp()).date();
        let finding = |rule: &str, since: Date, advice| Finding {
            sensor: row.get(1),
            metric: row.get(2),
            rule: rule.to_owned(),
            since,
            advice,
        };
        let heard = hours.iter().rposition(|hour| 0 < hour.state.count);
        match (utility::stuck_from(&volumes, 3_600, StuckRule::default()), heard) {
            (Some(from), _) => {
                findings.push(finding("stuck", date(from), "look at the register: it does not move"));
            }
            (None, None) => findings.push(finding("silent", first, Health::Silent.advice())),
            (None, Some(hour)) if hour + 24 < hours.len() => {
                findings.push(finding("silent", date(hour + 1), Health::Silent.advice()));
            }
            _ => {}
        }
    }
    Ok(findings)
}

//! The sensors and series a city knows, in memory.

mod columns;
pub mod export;
mod features;
mod geometry;
mod given;
mod gone;
mod import;
mod known;
mod load;
pub mod plan;
pub mod quarantine;
mod register;
mod rehearse;
mod table;
mod touch;

use std::{str::FromStr, sync::Arc};

/// Names are looked up for every reading: a faster hash than the standard one.
type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

pub use columns::Columns;
pub use given::{FILE_BYTES_MAX, File, Given, Place, ROWS_MAX, Wrong};
pub use gone::{Erased, Gone};
pub use import::{ImportError, Imported, calibrate, diff, exchange, import, take_in};
pub use load::{Calibrations, calibrations, read, write};
pub use plan::Plan;
pub use quarantine::Adopted;
pub use register::register;
pub use table::{Form, Table};
pub use touch::Touched;

use crate::model::{
    Kind, Series, SeriesId, Time,
    arithmetic::{self, Rule},
    series::part_of,
    unit,
};

/// Whether a sensor that nobody announced is taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// From its first valid reading on, marked unreviewed.
    Open,
    /// Its readings are stored and kept apart, until somebody adopts it.
    Quarantine,
    /// Its readings are rejected.
    Closed,
}

/// More series than any city of one database has; stops a sender that invents names.
pub const SERIES_MAX: usize = 2_000_000;

/// More newcomers than anybody looks through, with at most 640 MB of first payloads; stops a sender that invents names
/// long before it fills the registry. A batch may go beyond by what it brings.
pub const QUARANTINED_MAX: usize = 10_000;
/// More than any device measures: a newcomer is held to what a person can judge.
pub const QUARANTINED_METRICS_MAX: usize = 100;

/// Series are registered one transaction at a time, so that their ids become visible in order: who has seen an id has
/// seen all before it.
const SERIES_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('screenline series'))";

/// A snapshot of `sensor` and `series`, and of what is gone for good. About 350 bytes a series whose sensor has no other.
#[derive(Clone, Debug)]
pub struct Registry {
    pub admission: Admission,
    sensors: HashMap<Box<str>, Sensor>,
    /// How many of them are in quarantine.
    quarantined: usize,
    series: Vec<Series>,
    /// Where each is in `series`.
    by_id: HashMap<SeriesId, u32>,
    /// The unit of each metric, of the series that came first.
    units: HashMap<Arc<str>, (SeriesId, Arc<str>)>,
    gone: Gone,
    /// Of series of which more is gone than of the whole city.
    floors: HashMap<SeriesId, Time>,
    version: i64,
    last_id: i32,
}

/// What is known of a sensor, at hand for its next reading.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    name: &'r str,
    sensor: &'r Sensor,
}

#[derive(Clone, Debug)]
struct Sensor {
    part: i16,
    quarantined: bool,
    /// A sensor has few metrics: searched one by one.
    series: Vec<Measured>,
    erased: Box<[Erased]>,
}

#[derive(Clone, Debug)]
struct Measured {
    /// One text for all sensors.
    metric: Arc<str>,
    id: SeriesId,
    /// Where it is in the registry's `series`.
    at: u32,
}

impl Registry {
    pub fn new(admission: Admission) -> Self {
        Registry {
            admission,
            sensors: HashMap::default(),
            quarantined: 0,
            series: Vec::new(),
            by_id: HashMap::default(),
            units: HashMap::default(),
            gone: Gone::default(),
            floors: HashMap::default(),
            version: 0, // of a new database
            last_id: 0,
        }
    }

    /// Grows with every import, drop and erasure: what was decided by an older version must be decided again.
    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn knows_sensor(&self, sensor: &str) -> bool {
        self.sensors.contains_key(sensor)
    }

    /// How many sensors are in quarantine.
    pub fn quarantined_count(&self) -> usize {
        self.quarantined
    }

    /// The metrics known of a sensor in quarantine; `None` of any other.
    pub fn quarantined_metrics(&self, sensor: &str) -> Option<usize> {
        let known = self.sensors.get(sensor)?;
        known.quarantined.then_some(known.series.len())
    }

    /// A sensor; the readings of one follow each other, so the last one is tried first.
    pub fn sensor<'r>(&'r self, name: &str, last: Option<Known<'r>>) -> Option<Known<'r>> {
        last.filter(|last| last.name == name).or_else(|| {
            let (name, sensor) = self.sensors.get_key_value(name)?;
            Some(Known { name, sensor })
        })
    }

    /// The series of a sensor's metric.
    pub fn series_of(&self, sensor: Known<'_>, metric: &str) -> Option<&Series> {
        let measured = sensor.sensor.series.iter().find(|known| *known.metric == *metric)?;
        self.series.get(measured.at as usize)
    }

    pub fn find(&self, sensor: &str, metric: &str) -> Option<&Series> {
        self.series_of(self.sensor(sensor, None)?, metric)
    }

    /// The unit in which the series of a metric are kept.
    pub fn unit_of(&self, metric: &str) -> Option<&str> {
        unit::storage(metric).or_else(|| self.units.get(metric).map(|(_, unit)| &**unit))
    }

    pub fn series(&self, id: SeriesId) -> Option<&Series> {
        self.series.get(*self.by_id.get(&id)? as usize)
    }

    fn series_mut(&mut self, id: SeriesId) -> Option<&mut Series> {
        self.series.get_mut(*self.by_id.get(&id)? as usize)
    }

    /// Every series, in no order.
    pub fn all_series(&self) -> impl Iterator<Item = &Series> {
        self.series.iter()
    }

    /// How the readings of a series are put together.
    pub fn rule(&self, id: SeriesId) -> Option<Rule> {
        self.series(id).map(|series| {
            let same = |volume: &&Series| volume.interval_micros() == series.interval_micros();
            let volume = series.volume.and_then(|volume| self.series(volume)).filter(same);
            let volume = volume.filter(|_| series.kind.covers_interval()).map(|volume| volume.id);
            Rule { arithmetic: series.arithmetic, volume }
        })
    }

    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    pub fn gone(&self) -> &Gone {
        &self.gone
    }

    /// Buckets of the series that start before it are never computed again, and their readings refused.
    pub fn floor(&self, series: SeriesId) -> Option<Time> {
        self.floors.get(&series).copied().max(self.gone.raw_floor)
    }

    /// Whether the readings of a metric at a time were erased. `known` is what is known of the sensor.
    pub fn is_erased(&self, sensor: &str, known: Option<Known<'_>>, metric: &str, time: Time) -> bool {
        let erased = match known {
            Some(known) => &known.sensor.erased,
            None => self.gone.erased(sensor),
        };
        erased.iter().any(|erased| erased.holds(metric, time))
    }

    /// Takes in a sensor, known or not.
    pub fn add_sensor(&mut self, sensor: &str) {
        self.add(sensor, false);
    }

    /// Takes in a sensor that nobody announced, unless it is known.
    pub fn add_quarantined(&mut self, sensor: &str) {
        self.add(sensor, true);
    }

    fn add(&mut self, sensor: &str, quarantined: bool) {
        if !self.sensors.contains_key(sensor) {
            let erased = self.gone.erased(sensor).into();
            let part = part_of(sensor);
            self.sensors.insert(sensor.into(), Sensor { part, quarantined, series: Vec::new(), erased });
            self.quarantined += usize::from(quarantined);
        }
    }

    /// Takes in a series and its sensor, or replaces what was known of them.
    pub fn add_series(&mut self, sensor: &str, metric: &str, mut series: Series) {
        self.add_sensor(sensor);
        let Some(known) = self.sensors.get_mut(sensor) else { return };
        series.part = known.part;
        series.quarantined = known.quarantined;
        series.arithmetic = series.arithmetic.of(metric, &series.unit);
        // A speed may be known before its volume, or after it.
        let id_of =
            |name: &str| known.series.iter().find(|known| *known.metric == *name).map(|known| known.id);
        series.volume = arithmetic::volume_of(metric).and_then(|volume| id_of(volume.as_str()));
        for speed in &known.series {
            if arithmetic::volume_of(&speed.metric).is_some_and(|volume| volume.as_str() == metric) {
                self.series[speed.at as usize].volume = Some(series.id);
            }
        }
        let text = self.units.get_key_value(metric).map_or_else(|| metric.into(), |(text, _)| text.clone());
        let next = self.series.len() as u32; // below SERIES_MAX
        let at = *self.by_id.entry(series.id).or_insert(next);
        if !known.series.iter().any(|known| known.id == series.id) {
            known.series.reserve_exact(1); // there are a million sensors, and few metrics of each
            known.series.push(Measured { metric: Arc::clone(&text), id: series.id, at });
        }
        let siblings: Vec<SeriesId> = known.series.iter().map(|known| known.id).collect();
        if let Some((_, unit)) = self.units.get(metric).filter(|(_, unit)| *unit == series.unit) {
            series.unit = unit.clone();
        }
        match self.units.get_mut(metric) {
            Some(first) if first.0 <= series.id => {}
            Some(first) => *first = (series.id, series.unit.clone()),
            None => drop(self.units.insert(text, (series.id, series.unit.clone()))),
        }
        self.last_id = self.last_id.max(series.id.0);
        let floor = self.gone.floor(series.kind, metric);
        if floor > self.gone.raw_floor {
            self.floors.extend(floor.map(|floor| (series.id, floor)));
        }
        match self.series.get_mut(at as usize) {
            Some(known) => *known = series,
            None => self.series.push(series),
        }
        self.find_heartbeats(&siblings);
    }

    /// Of the series of one sensor, tells those of passages which one speaks most often.
    fn find_heartbeats(&mut self, siblings: &[SeriesId]) {
        let known = siblings.iter().filter_map(|id| self.series(*id));
        let often = known.filter(|series| series.kind != Kind::Event);
        let often = often.filter_map(|series| Some((series.interval_s?, series.id))).min();
        for id in siblings {
            if let Some(series) = self.series_mut(*id).filter(|series| series.kind == Kind::Event) {
                series.heartbeat = often.map(|(_, id)| id);
            }
        }
    }
}

impl FromStr for Admission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "quarantine" => Ok(Admission::Quarantine),
            "open" => Ok(Admission::Open),
            "closed" => Ok(Admission::Closed),
            other => Err(format!("{other:?} is none of quarantine, open, closed")),
        }
    }
}

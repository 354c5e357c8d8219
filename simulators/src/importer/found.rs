//! What files turned out to hold: the series for the registry, and what was left out.

use std::{collections::BTreeMap, fmt};

use anyhow::ensure;
use jiff::Timestamp;

/// As many as a city may register at once; each is kept in memory until the end.
const SERIES_MAX: usize = 200_000;

/// A day: the registry takes no longer ones.
pub const INTERVAL_S_MAX: u32 = 86_400;

/// What the values of a series are, as the registry calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Delta,
    Total,
    Counter,
    Rate,
    Event,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Gauge, Kind::Delta, Kind::Total, Kind::Counter, Kind::Rate, Kind::Event];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Delta => "delta",
            Kind::Total => "total",
            Kind::Counter => "counter",
            Kind::Rate => "rate",
            Kind::Event => "event",
        }
    }

    /// Whether a value speaks of the interval that ends at its time.
    pub const fn covers_interval(self) -> bool {
        matches!(self, Kind::Total | Kind::Rate)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A series as the registry is to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The UCUM code in which it is kept: speeds are kept in km/h, whatever they are sent in.
    pub unit: String,
    pub kind: Kind,
    /// Seconds; 0 of instants.
    pub interval_s: u32,
}

/// What was found in files.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub readings: u64,
    pub passages: u64,
    /// From the first to the last time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What was left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// By sensor, then by metric.
    sensors: BTreeMap<String, Vec<(String, Series)>>,
    series: usize,
}

impl Found {
    pub fn sensors(&self) -> usize {
        self.sensors.len()
    }

    /// Every series: its sensor, its metric, and what it is.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str, &Series)> {
        self.sensors.iter().flat_map(|(sensor, all)| {
            all.iter().map(|(metric, series)| (sensor.as_str(), metric.as_str(), series))
        })
    }

    /// Takes in what another file held.
    ///
    /// # Errors
    /// A series is of another kind there, or there are too many.
    pub fn join(&mut self, other: Found) -> anyhow::Result<()> {
        for (sensor, metric, series) in other.series() {
            self.note(sensor, metric, &series.unit, series.kind, series.interval_s)?;
        }
        self.readings += other.readings;
        self.passages += other.passages;
        for (reason, count) in other.left_out {
            *self.left_out.entry(reason).or_default() += count;
        }
        if let Some((first, last)) = other.span {
            self.seen(first);
            self.seen(last);
        }
        Ok(())
    }

    pub(super) fn seen(&mut self, time: Timestamp) {
        self.span = Some(self.span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
    }

    /// A reading of a series, which is new or must be as it was.
    pub(super) fn note(
        &mut self,
        sensor: &str,
        metric: &str,
        unit: &str,
        kind: Kind,
        interval_s: u32,
    ) -> anyhow::Result<()> {
        if !self.sensors.contains_key(sensor) {
            self.sensors.insert(sensor.to_owned(), Vec::new());
        }
        let Some(all) = self.sensors.get_mut(sensor) else { return Ok(()) };
        if let Some((_, known)) = all.iter().find(|(name, _)| name == metric) {
            ensure!(
                known.kind == kind,
                "{metric} of {sensor} is {kind} here and {} before: import them under other names",
                known.kind
            );
            if known.interval_s != interval_s {
                *self.left_out.entry(OTHER_INTERVAL).or_default() += 1;
            }
            return Ok(());
        }
        ensure!(
            interval_s <= INTERVAL_S_MAX,
            "an interval of {interval_s} s: at most {INTERVAL_S_MAX} s are due"
        );
        check(metric, unit)?;
        ensure!(self.series < SERIES_MAX, "more than {SERIES_MAX} series: split the file by sensor");
        self.series += 1;
        all.push((metric.to_owned(), Series { unit: kept(metric, unit).to_owned(), kind, interval_s }));
        Ok(())
    }

    /// The sensors as `screenline registry import` takes them, those that `wanted` wants: so many rows a text, each text
    /// with its head.
    pub fn sensors_csv(&self, rows: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.sensors.keys().filter(|sensor| wanted(sensor));
        texts("id,kind\n", lines.map(|sensor| format!("{},imported\n", cell(sensor))), rows)
    }

    /// The series as `screenline registry import` takes them, each in the unit that `unit` gives for its sensor, its
    /// metric and what it is; without those for which it gives none.
    pub fn series_csv(
        &self,
        rows: usize,
        unit: impl Fn(&str, &str, &Series) -> Option<String>,
    ) -> Vec<String> {
        let line = |(sensor, metric, series): (&str, &str, &Series)| {
            let unit = unit(sensor, metric, series)?;
            let interval_s =
                if series.interval_s == 0 { String::new() } else { series.interval_s.to_string() };
            let names = format!("{},{},{}", cell(sensor), cell(metric), cell(&unit));
            Some(format!("{names},{},{interval_s}\n", series.kind))
        };
        texts("sensor,metric,unit,kind,interval_s\n", self.series().filter_map(line), rows)
    }
}

/// They are stored by their own ends; only the registry knows one interval a series.
const OTHER_INTERVAL: &str = "taken, though their interval is not that of the series' first";

/// The unit in which a metric is kept: what is computed of speeds is computed in km/h.
fn kept<'u>(metric: &str, unit: &'u str) -> &'u str {
    match unit {
        "m/s" | "[mi_i]/h" if metric.starts_with("traffic.speed") => "km/h",
        "" => "1",
        other => other,
    }
}

/// A metric and a unit stand in a payload as they are, and the ready mapping `senml` takes some short names for others.
fn check(metric: &str, unit: &str) -> anyhow::Result<()> {
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"._:/-%".contains(&letter);
    ensure!(
        (1..=64).contains(&metric.len())
            && metric.bytes().all(allowed)
            && metric.starts_with(|letter: char| letter.is_ascii_alphanumeric()),
        "{metric:?} cannot name a metric: a letter or digit, then 63 of those or ._:/-% at most are due"
    );
    ensure!(
        !["volume", "occupancy", "speed"].contains(&metric),
        "the metric {metric:?} means a detector's: give it a longer name, such as traffic.{metric}"
    );
    ensure!(
        unit.len() <= 64
            && unit.bytes().all(|letter| letter.is_ascii_graphic() && !b"\"\\".contains(&letter)),
        "{unit:?} is no unit: a UCUM code is due, such as m3/h"
    );
    Ok(())
}

fn texts(head: &str, lines: impl Iterator<Item = String>, rows: usize) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for (at, line) in lines.enumerate() {
        if at % rows.max(1) == 0 {
            texts.push(head.to_owned());
        }
        if let Some(text) = texts.last_mut() {
            text.push_str(&line);
        }
    }
    texts
}

/// A cell of CSV: a name may hold a comma.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

use std::{fmt, str::FromStr, sync::Arc};

use super::{Arithmetic, First, MetricName, Quality, SensorId, Time, View, arithmetic::Meter};

/// The key of `series`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesId(pub i32);

/// What a value is; it decides the arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A state at an instant: temperature, level.
    Gauge,
    /// What was added since the reading before.
    Delta,
    /// What was added during the interval that ends at the reading's time.
    Total,
    /// A register that only grows, until it rolls over or is exchanged.
    Counter,
    /// A mean over the interval that ends at the reading's time.
    Rate,
    /// A mean over a moving window: windows overlap, so it is never summed.
    Sliding,
    /// One passage of a vehicle, or one pulse.
    Event,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Gauge, Kind::Delta, Kind::Total, Kind::Counter, Kind::Rate, Kind::Sliding, Kind::Event];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Delta => "delta",
            Kind::Total => "total",
            Kind::Counter => "counter",
            Kind::Rate => "rate",
            Kind::Sliding => "sliding",
            Kind::Event => "event",
        }
    }

    /// Whether a value speaks of the interval that ends at its time, not of an instant.
    pub const fn covers_interval(self) -> bool {
        matches!(self, Kind::Total | Kind::Rate | Kind::Sliding)
    }

    /// Microseconds between a reading's time and the instant that decides its bucket, in a series of so many seconds.
    pub fn interval_micros(self, interval_s: Option<u32>) -> i64 {
        if self.covers_interval() { i64::from(interval_s.unwrap_or(0)) * 1_000_000 } else { 0 }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known = Kind::ALL.map(Kind::as_str).join(", ");
            format!("{text:?} is no kind of metric; the kinds are {known}")
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the street must know of one metric of one sensor.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    pub id: SeriesId,
    pub kind: Kind,
    /// UCUM. The registry has one text for all series of a metric.
    pub unit: Arc<str>,
    pub interval_s: Option<u32>,
    pub view: View,
    /// How its readings are put together. The registry adds what its metric says.
    pub arithmetic: Arithmetic,
    /// Of a mean speed: the series of the vehicles, of the same detector. The registry sets it.
    pub volume: Option<SeriesId>,
    /// Of passages: the series of the same sensor that speaks most often, which tells an empty street from a detector
    /// that is silent. The registry sets it.
    pub heartbeat: Option<SeriesId>,
    /// The share of the city its sensor falls in, 0 to [`PARTS`] - 1. The registry sets it.
    pub part: i16,
    /// Its sensor was announced by nobody: readings are stored and kept apart. The registry sets it.
    pub quarantined: bool,
}

impl Series {
    /// Seen as it is stored; the registry says the rest.
    pub fn new(id: SeriesId, kind: Kind, unit: &str, interval_s: Option<u32>) -> Series {
        Series {
            id,
            kind,
            unit: unit.into(),
            interval_s,
            view: View::default(),
            arithmetic: Arithmetic::new(kind, interval_s, None, Meter::default()),
            volume: None,
            heartbeat: None,
            part: 0,
            quarantined: false,
        }
    }

    /// A stored value and its flags as they are seen today. An event has no value of its own.
    pub fn view(&self, time: Time, value: f64, quality: Quality) -> (f64, Quality) {
        match self.kind {
            Kind::Event => (value, quality),
            _ => self.view.of(time, value, quality),
        }
    }

    /// The instant that decides the bucket of a reading taken at `time`: the start of its interval where it
    /// speaks of one (with [start, end) buckets an interval ending on the hour belongs to the hour before).
    pub fn bucket_time(&self, time: Time) -> Time {
        Time::from_micros(time.micros() - self.interval_micros())
    }

    /// Microseconds between a reading's time and the instant that decides its bucket.
    pub fn interval_micros(&self) -> i64 {
        self.kind.interval_micros(self.interval_s)
    }
}

/// A city is rolled in 64 parts by sensor: enough to repair one late sensor without its neighbours.
pub const PARTS: u64 = 64;

/// The part of a sensor: all its metrics share it, so that volume and speed are joined in one place.
pub fn part_of(sensor: &str) -> i16 {
    (xxhash_rust::xxh3::xxh3_64(sensor.as_bytes()) % PARTS) as i16
}

/// A series that a valid reading asks the registry to take in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    pub sensor: SensorId,
    pub metric: MetricName,
    pub unit: Box<str>,
    pub kind: Kind,
    pub interval_s: Option<u32>,
    /// Where its sensor is to wait in quarantine: the message it came in.
    pub first: Option<First>,
}

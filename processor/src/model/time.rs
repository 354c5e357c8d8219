use std::{fmt, time::Duration};

use jiff::Timestamp;

/// An instant in microseconds since 1970-01-01T00:00:00Z: the resolution of the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(i64);

impl Time {
    /// 2000-01-01T00:00:00Z: PostgreSQL's epoch, and the oldest instant ever accepted.
    pub const YEAR_2000: Time = Time(946_684_800_000_000);

    pub const fn from_micros(micros: i64) -> Self {
        Time(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant `seconds` after 1970, rounded to the microsecond; `None` outside the years -9999 to 9999.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        let within = Timestamp::MIN.as_microsecond() as f64 <= micros
            && micros <= Timestamp::MAX.as_microsecond() as f64;
        within.then_some(Time(micros as i64))
    }

    pub fn plus(self, span: Duration) -> Self {
        Time(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, span: Duration) -> Self {
        Time(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The latest multiple of `micros` at or before this instant.
    pub const fn floor(self, micros: i64) -> Self {
        Time(self.0 - self.0.rem_euclid(micros))
    }

    /// Microseconds since 2000, as PostgreSQL writes a `timestamptz`.
    pub const fn postgres_micros(self) -> i64 {
        self.0 - Self::YEAR_2000.0
    }

    pub const fn from_postgres_micros(micros: i64) -> Self {
        Time(micros.saturating_add(Self::YEAR_2000.0))
    }

    /// The same instant for a person or a driver; clamped to the years -9999 to 9999.
    pub fn timestamp(self) -> Timestamp {
        let micros = self.0.clamp(Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Time(timestamp.as_microsecond())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

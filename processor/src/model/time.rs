use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Disambiguation, TimeZone},
};

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

/// Which instant a local time means that comes twice, or never, when clocks change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fold {
    Earlier,
    Later,
    /// None: the reading is refused.
    Reject,
}

impl Fold {
    /// `None` where the local time is ambiguous and that is refused, or out of range.
    pub fn resolve(self, civil: DateTime, zone: &TimeZone) -> Option<Time> {
        let choice = match self {
            Fold::Earlier => Disambiguation::Earlier,
            Fold::Later => Disambiguation::Later,
            Fold::Reject => Disambiguation::Reject,
        };
        let zoned = zone.to_ambiguous_zoned(civil).disambiguate(choice).ok()?;
        Some(zoned.timestamp().into())
    }
}

impl FromStr for Fold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earlier" => Ok(Fold::Earlier),
            "later" => Ok(Fold::Later),
            "reject" => Ok(Fold::Reject),
            other => Err(format!("`fold` {other:?} is none of earlier, later, reject")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_that_comes_twice_is_the_one_asked_for() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let resolve =
            |fold: Fold, text: &str| fold.resolve(text.parse().unwrap(), &paris).map(|time| time.to_string());
        let twice = "2021-10-31T02:30:00";
        assert_eq!(resolve(Fold::Earlier, twice).as_deref(), Some("2021-10-31T00:30:00Z"));
        assert_eq!(resolve(Fold::Later, twice).as_deref(), Some("2021-10-31T01:30:00Z"));
        assert_eq!(resolve(Fold::Reject, twice), None);
        assert_eq!(resolve(Fold::Reject, "2021-10-31T04:30:00").as_deref(), Some("2021-10-31T03:30:00Z"));
    }
}

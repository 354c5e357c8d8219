//! Moments and periods as a person names them, by the clocks of the city.

use std::{ops::Range, str::FromStr};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp, ToSpan, civil, tz::TimeZone};
use processor::measure::Width;

/// `2026-11-20`, `2026-11-20 14:30`, `2026-11-20T14:30:00Z`, or `24h`: so long ago.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Moment {
    /// By the city's clocks; a date is its midnight.
    Local(civil::DateTime),
    Instant(Timestamp),
    Ago(SignedDuration),
}

/// [from, to)
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The period that measures are asked for, to the second.
#[derive(Debug, Clone, Args)]
pub struct PeriodArgs {
    /// From this time on, by the city's clocks [default: today]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Before this time [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// So far back, in place of --from
    #[arg(long, value_name = "SPAN", conflicts_with = "from", value_parser = span)]
    last: Option<SignedDuration>,
}

const HOUR_S: i64 = 3_600;

impl PeriodArgs {
    /// # Errors
    /// The end is not after the beginning.
    pub fn of(&self, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Range<Timestamp>> {
        let to = self.to.map_or(Ok(now), |to| to.at(zone, now))?;
        let from = match (self.from, self.last) {
            (Some(from), _) => from.at(zone, now)?,
            (None, Some(last)) => to.checked_sub(last).context("a period that long")?,
            (None, None) => zone.to_datetime(now).date().to_zoned(zone.clone())?.timestamp(),
        };
        ensure!(from < to, "the period ends ({to}) before it begins ({from})");
        Ok(from..to)
    }
}

impl Moment {
    pub fn at(self, zone: &TimeZone, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Moment::Local(time) => Ok(time.to_zoned(zone.clone()).context("a time of the city")?.timestamp()),
            Moment::Instant(time) => Ok(time),
            Moment::Ago(span) => now.checked_sub(span).context("a time that long ago"),
        }
    }
}

impl Period {
    /// Whole hours, as the ledger counts: each end is moved back to the hour it lies in, so that two periods that share
    /// an end share no hour. Without a beginning it is today; without an end it reaches through the present hour.
    ///
    /// # Errors
    /// The end is not after the beginning.
    pub fn of(
        from: Option<Moment>,
        to: Option<Moment>,
        last: Option<SignedDuration>,
        zone: &TimeZone,
        now: Timestamp,
    ) -> anyhow::Result<Period> {
        let from = match (from, last) {
            (Some(from), _) => from.at(zone, now)?,
            (None, Some(last)) => now.checked_sub(last).context("a period that long")?,
            (None, None) => zone.to_datetime(now).date().to_zoned(zone.clone())?.timestamp(),
        };
        let to = match to {
            Some(to) => to.at(zone, now)?,
            None => now.checked_add(1.hour())?,
        };
        let (from, to) = (hour_of(from)?, hour_of(to)?);
        ensure!(from < to, "the period ends ({to}) before it begins ({from}), or is shorter than an hour");
        Ok(Period { from, to })
    }

    pub fn hours(&self) -> i64 {
        (self.to.as_second() - self.from.as_second()) / HOUR_S
    }
}

fn hour_of(time: Timestamp) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second(time.as_second().div_euclid(HOUR_S) * HOUR_S)?)
}

/// `24h`, `90m`, or `7d`: days of 24 hours.
pub fn span(text: &str) -> Result<SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<i32>().ok());
    let span = days.map(|days| SignedDuration::from_hours(24 * i64::from(days)));
    let span = span.or_else(|| text.parse().ok()).filter(SignedDuration::is_positive);
    span.ok_or_else(|| "give a time such as 24h or 7d".to_owned())
}

/// A window of whole seconds, shorter than a day: `15m`.
pub fn seconds(text: &str) -> Result<u32, String> {
    match text.parse()? {
        Width::Days => Err("give less than a day, such as 15m".to_owned()),
        Width::Micros(micros) => Ok((micros / 1_000_000) as u32),
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let instant = text.parse().map(Moment::Instant);
        let local = || text.parse().map(Moment::Local);
        instant.or_else(|_| local()).or_else(|_| span(text).map(Moment::Ago)).map_err(|_| {
            "give a date (2026-11-20), a local time (2026-11-20T14:30), an instant (2026-11-20T14:30:00Z), or how long ago (24h)"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn moments_are_read_by_the_citys_clocks() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let now = at("2026-11-21T20:15:00Z");
        for (text, instant) in [
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-07-01T14:30", "2026-07-01T12:30:00Z"),
            ("2026-07-01 14:30", "2026-07-01T12:30:00Z"),
            ("2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
            ("2026-11-20T14:30:00+05:45", "2026-11-20T08:45:00Z"),
            ("24h", "2026-11-20T20:15:00Z"),
            ("7d", "2026-11-14T20:15:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().at(&paris, now).unwrap(), at(instant), "{text}");
        }
        for wrong in ["yesterday", "-3h", "d", ""] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_period_is_whole_hours_and_its_halves_share_none() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let now = at("2026-11-21T20:15:00Z");
        let of = |from: Option<&str>, to: Option<&str>, last: Option<SignedDuration>| {
            let moment = |text: &str| text.parse::<Moment>().unwrap();
            Period::of(from.map(moment), to.map(moment), last, &paris, now)
        };
        let today = of(None, None, None).unwrap();
        assert_eq!((today.from, today.to), (at("2026-11-20T23:00:00Z"), at("2026-11-21T21:00:00Z")));
        let last = of(None, None, Some(span("2h").unwrap())).unwrap();
        assert_eq!((last.from, last.hours()), (at("2026-11-21T18:00:00Z"), 3));
        let morning = of(Some("2026-11-20"), Some("2026-11-20T12:30"), None).unwrap();
        let evening = of(Some("2026-11-20T12:30"), Some("2026-11-21"), None).unwrap();
        assert_eq!(morning.to, evening.from);
        assert_eq!(morning.hours() + evening.hours(), 24);
        assert!(of(Some("2026-11-21"), Some("2026-11-20"), None).is_err());
        let summer_ends = of(Some("2026-10-25"), Some("2026-10-26"), None).unwrap();
        assert_eq!(summer_ends.hours(), 25);
    }
}

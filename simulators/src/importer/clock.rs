//! Times as files write them.

use anyhow::{Context, bail, ensure};
use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::strtime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::number;
use crate::observation::Decimal;

/// What becomes of a local time that comes twice, when clocks are set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    Earlier,
    Later,
    #[default]
    Reject,
}

/// How a column writes its times.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    Rfc3339,
    /// A date and time without an offset, as ISO 8601 has it.
    Local,
    /// A number of which so many are a second, since 1970.
    Unix(i64),
    /// Seconds since the start.
    Seconds,
    /// A pattern of strptime.
    Pattern(String),
}

impl Form {
    /// # Errors
    /// There is no such form.
    pub fn parse(text: &str) -> anyhow::Result<Form> {
        Ok(match text {
            "rfc3339" => Form::Rfc3339,
            "local" => Form::Local,
            "unix" => Form::Unix(1),
            "unix-ms" => Form::Unix(1_000),
            "unix-us" => Form::Unix(1_000_000),
            "unix-ns" => Form::Unix(1_000_000_000),
            "seconds" => Form::Seconds,
            pattern if pattern.contains('%') => Form::Pattern(pattern.to_owned()),
            other => bail!(
                "time.format {other:?}: rfc3339, local, unix, unix-ms, unix-us, unix-ns, seconds (since --start) or a \
                 pattern such as %d/%m/%Y %H:%M is due"
            ),
        })
    }
}

/// A form with the zone of its local times.
#[derive(Debug, Clone)]
pub struct Clock {
    pub form: Form,
    pub zone: Option<TimeZone>,
    pub fold: Fold,
}

impl Clock {
    /// The time of a text in microseconds since 1970; `start` gives the one of a second of the simulation.
    ///
    /// # Errors
    /// The text is no such time, or one that a clock of the zone never showed, or showed twice.
    pub fn micros(&self, text: &str, start: impl Fn(Decimal) -> anyhow::Result<i64>) -> anyhow::Result<i64> {
        let text = text.trim();
        let wrong = || format!("{text:?} is no such time");
        match &self.form {
            Form::Rfc3339 => Ok(text.parse::<Timestamp>().with_context(wrong)?.as_microsecond()),
            Form::Local => self.local(text.parse::<DateTime>().with_context(wrong)?),
            Form::Unix(parts) => unix(number::decimal(text)?, *parts).with_context(wrong),
            Form::Seconds => start(seconds(text)?),
            Form::Pattern(pattern) => {
                let parsed = strtime::parse(pattern, text).with_context(wrong)?;
                if parsed.offset().is_some() || parsed.timestamp().is_some() {
                    return Ok(parsed.to_timestamp().with_context(wrong)?.as_microsecond());
                }
                self.local(parsed.to_datetime().with_context(wrong)?)
            }
        }
    }

    /// The instant at which the clocks of the zone show a time.
    ///
    /// # Errors
    /// They never do, or twice.
    pub fn local(&self, shown: DateTime) -> anyhow::Result<i64> {
        let zone =
            self.zone.as_ref().context("local times need a zone: zone = \"Europe/Helsinki\" in [time]")?;
        let instant = zone.to_ambiguous_timestamp(shown);
        let offset = instant.offset();
        ensure!(
            !matches!(offset, AmbiguousOffset::Gap { .. }),
            "{shown} is no time there: clocks were set forward over it"
        );
        let instant = match self.fold {
            Fold::Reject if matches!(offset, AmbiguousOffset::Fold { .. }) => {
                bail!(
                    "{shown} comes twice there, as clocks are set back: say fold = \"earlier\" or \"later\" in [time]"
                )
            }
            Fold::Later => instant.later(),
            Fold::Earlier | Fold::Reject => instant.earlier(),
        };
        Ok(instant.with_context(|| format!("{shown} is no time"))?.as_microsecond())
    }
}

/// A number since 1970, of which so many are a second, in microseconds.
pub fn unix(number: Decimal, parts: i64) -> Option<i64> {
    let power = 10i128.checked_pow(u32::from(number.places))?.checked_mul(i128::from(parts))?;
    i64::try_from((i128::from(number.digits) * 1_000_000).div_euclid(power)).ok()
}

/// Seconds as SUMO writes them: `3600.50`, or `1:00:00.50`, or with days `1:00:00:00.50`.
///
/// # Errors
/// It is neither.
pub fn seconds(text: &str) -> anyhow::Result<Decimal> {
    let text = text.trim();
    let Some((before, last)) = text.rsplit_once(':') else { return number::decimal(text) };
    let mut parts = before.rsplit(':');
    let mut of = |unit: i64| -> anyhow::Result<i64> {
        let Some(part) = parts.next() else { return Ok(0) };
        let part: u32 = part.parse().with_context(|| format!("{text:?} is no time"))?;
        Ok(i64::from(part) * unit)
    };
    let whole = of(60)? + of(3_600)? + of(86_400)?;
    ensure!(parts.next().is_none(), "{text:?} is no time");
    let last = number::decimal(last)?;
    let micros = number::micros(last).with_context(|| format!("{text:?} is no time"))?;
    Ok(Decimal::new(whole * 1_000_000 + micros, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_changed_are_asked_what_they_showed() {
        let clock = |fold| {
            let zone = Some(TimeZone::get("Europe/Helsinki").unwrap());
            Clock { form: Form::parse("%d/%m/%Y %H:%M").unwrap(), zone, fold }
        };
        let at = |text, fold| {
            let micros = clock(fold).micros(text, |_| bail!("no start"));
            micros.map(|micros| Timestamp::from_microsecond(micros).unwrap().to_string())
        };
        assert_eq!(at("01/06/2024 12:00", Fold::Reject).unwrap(), "2024-06-01T09:00:00Z");
        let gap = at("31/03/2024 03:30", Fold::Earlier).unwrap_err().to_string();
        assert!(gap.contains("set forward"), "{gap}");
        let fold = at("27/10/2024 03:30", Fold::Reject).unwrap_err().to_string();
        assert!(fold.contains("comes twice"), "{fold}");
        assert_eq!(at("27/10/2024 03:30", Fold::Earlier).unwrap(), "2024-10-27T00:30:00Z");
        assert_eq!(at("27/10/2024 03:30", Fold::Later).unwrap(), "2024-10-27T01:30:00Z");
    }

    #[test]
    fn seconds_may_be_written_as_a_clock_shows_them() {
        assert_eq!(seconds("16.72").unwrap().to_string(), "16.72");
        assert_eq!(seconds("1:00:00.50").unwrap().to_string(), "3600.500000");
        assert_eq!(seconds("1:00:00:01").unwrap().value(), 86_401.0);
        assert!(seconds("1:2:3:4:5").is_err() && seconds("a:1").is_err());
        assert_eq!(unix(Decimal::whole(1_700_000_000_123), 1_000), Some(1_700_000_000_123_000));
    }
}

//! Buckets in a row: of any width, or of whole local days.

use std::{ops::Range, str::FromStr};

use jiff::{
    SignedDuration,
    civil::{Date, Time as Clock},
    tz::TimeZone,
};

use crate::model::{
    Level, Series, Time,
    bucket::{FIVE_MINUTES, HOUR},
};

/// How wide buckets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Microseconds, counted from 1970.
    Micros(i64),
    /// Local days of the city, of 23 to 25 hours.
    Days,
}

impl FromStr for Width {
    type Err = String;

    /// `20s`, `15m`, `1h`, or `1d` for local days.
    fn from_str(text: &str) -> Result<Self, String> {
        const DAY: i64 = 24 * HOUR;
        let span = match text.trim() {
            "1d" => Some(DAY),
            text => text.parse::<SignedDuration>().ok().and_then(|span| i64::try_from(span.as_micros()).ok()),
        };
        match span {
            Some(DAY) => Ok(Width::Days),
            Some(micros) if (1_000_000..DAY).contains(&micros) && micros % 1_000_000 == 0 => {
                Ok(Width::Micros(micros))
            }
            _ => Err(format!("{text:?} is not a number of seconds up to 1d: give 20s, 15m, 1h or 1d")),
        }
    }
}

/// Buckets in a row, each with its end that is the next one's begin.
#[derive(Clone, PartialEq, Debug)]
pub struct Steps {
    pub spans: Vec<Range<Time>>,
    /// Of each, but for local days and the last step of one.
    pub seconds: u32,
    pub zone: TimeZone,
    days: Vec<(Date, Range<usize>)>,
}

pub(super) const DAY_S: u32 = 86_400;

/// More buckets are not asked for by anybody who looks at them.
const STEPS_MAX: usize = 100_000;

/// Why buckets cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("more than {STEPS_MAX} buckets: take wider ones, or a shorter period")]
    TooMany,
    #[error("a reading speaks of {0} s: take buckets of that, or of a multiple")]
    Interval(i64),
}

impl Steps {
    /// The buckets that touch a period.
    ///
    /// # Errors
    /// They are too many.
    pub fn of(period: &Range<Time>, width: Width, zone: &TimeZone) -> Result<Steps, Unfit> {
        match width {
            Width::Days => Self::of_days(period, DAY_S, zone),
            Width::Micros(micros) => {
                let (mut at, mut spans) = (period.start.floor(micros), Vec::new());
                while at < period.end && spans.len() <= STEPS_MAX {
                    let end = Time::from_micros(at.micros() + micros);
                    spans.push(at..end);
                    at = end;
                }
                Self::new(spans, (micros / 1_000_000).max(1) as u32, zone)
            }
        }
    }

    /// The local days that a period touches, each whole and cut from its midnight on; the last step of a day ends with it.
    /// Steps of 86,400 s are the days themselves, of 23 to 25 hours.
    ///
    /// # Errors
    /// They are too many.
    pub fn of_days(period: &Range<Time>, seconds: u32, zone: &TimeZone) -> Result<Steps, Unfit> {
        let (mut at, mut spans) = (Level::Day.start(period.start, zone), Vec::new());
        while at < period.end && spans.len() <= STEPS_MAX {
            let midnight = Level::Day.end(at, zone);
            while at < midnight {
                let next = match seconds {
                    DAY_S => midnight,
                    _ => Time::from_micros(at.micros() + i64::from(seconds.max(1)) * 1_000_000).min(midnight),
                };
                spans.push(at..next);
                at = next;
            }
        }
        Self::new(spans, seconds, zone)
    }

    pub(super) fn new(spans: Vec<Range<Time>>, seconds: u32, zone: &TimeZone) -> Result<Steps, Unfit> {
        if STEPS_MAX < spans.len() {
            return Err(Unfit::TooMany);
        }
        let mut days: Vec<(Date, Range<usize>)> = Vec::new();
        for (at, span) in spans.iter().enumerate() {
            let day = zone.to_datetime(span.start.timestamp()).date();
            match days.last_mut().filter(|(last, _)| *last == day) {
                Some((_, steps)) => steps.end = at + 1,
                None => days.push((day, at..at + 1)),
            }
        }
        Ok(Steps { spans, seconds, zone: zone.clone(), days })
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The local days, each with its steps.
    pub fn days(&self) -> &[(Date, Range<usize>)] {
        &self.days
    }

    /// Of each step, its place in a local day: the same where clocks show the same.
    pub fn slots(&self) -> Vec<usize> {
        let slot = |span: &Range<Time>| {
            let clock = self.zone.to_datetime(span.start.timestamp()).time();
            let second =
                3_600 * i64::from(clock.hour()) + 60 * i64::from(clock.minute()) + i64::from(clock.second());
            usize::try_from(second / i64::from(self.seconds.max(1))).unwrap_or(0)
        };
        self.spans.iter().map(slot).collect()
    }

    /// The local clock at which a step begins.
    pub fn clock(&self, step: usize) -> Clock {
        self.zone.to_datetime(self.spans[step].start.timestamp()).time()
    }

    /// Whether the readings of some series can be put into these buckets: an interval lies in one of them.
    ///
    /// # Errors
    /// The longest interval that does not fit.
    pub fn check<'s>(&self, series: impl IntoIterator<Item = &'s Series>) -> Result<(), Unfit> {
        let step = i64::from(self.seconds) * 1_000_000;
        let intervals = series.into_iter().map(|series| series.arithmetic.interval);
        let unfit = intervals.filter(|interval| 0 < *interval && step % interval != 0).max();
        unfit.map_or(Ok(()), |interval| Err(Unfit::Interval(interval / 1_000_000)))
    }

    /// The widest rollups that the buckets can be made of; `None`: only readings are narrow enough.
    pub(super) fn level(&self) -> Option<Level> {
        let all = |fits: &dyn Fn(Time) -> bool| self.borders().all(fits);
        if all(&|border| Level::Day.start(border, &self.zone) == border) {
            Some(Level::Day)
        } else if all(&|border| border.floor(HOUR) == border) {
            Some(Level::Hour)
        } else {
            all(&|border| border.floor(FIVE_MINUTES) == border).then_some(Level::FiveMinutes)
        }
    }

    /// The widest buckets in microseconds, of five minutes at most, that readings can be put into first.
    pub(super) fn grain(&self) -> i64 {
        const GRAINS: [i64; 4] = [FIVE_MINUTES, 60_000_000, 10_000_000, 1_000_000];
        let cuts = |grain: &i64| self.borders().all(|border| border.floor(*grain) == border);
        GRAINS.into_iter().find(cuts).unwrap_or(1)
    }

    fn borders(&self) -> impl Iterator<Item = Time> {
        let end = self.spans.last().map(|last| last.end);
        self.spans.iter().map(|span| span.start).chain(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, SeriesId};

    fn time(text: &str) -> Time {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn days_begin_at_local_midnight_and_are_whole() {
        let of = |zone: &str, from: &str, to: &str, seconds: u32| {
            Steps::of_days(&(time(from)..time(to)), seconds, &TimeZone::get(zone).unwrap()).unwrap()
        };
        let paris = of("Europe/Paris", "2026-03-28T14:37:00Z", "2026-03-30T01:00:00Z", 3_600);
        let days: Vec<(String, usize)> =
            paris.days().iter().map(|(day, steps)| (day.to_string(), steps.len())).collect();
        let expected = [("2026-03-28", 24), ("2026-03-29", 23), ("2026-03-30", 24)];
        assert_eq!(days, expected.map(|(day, steps)| (day.to_owned(), steps)));
        assert_eq!(paris.level(), Some(Level::Hour));
        // The clock goes from 01:00 to 03:00.
        assert_eq!(paris.slots()[24..28], [0, 1, 3, 4]);
        let kathmandu = of("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", 3_600);
        assert_eq!((kathmandu.spans[0].start, kathmandu.len()), (time("2025-12-31T18:15:00Z"), 24));
        assert_eq!(kathmandu.level(), Some(Level::FiveMinutes));
        let day = of("Europe/Paris", "2026-03-29T12:00:00Z", "2026-03-29T13:00:00Z", 86_400);
        assert_eq!((day.len(), day.level()), (1, Some(Level::Day)));
    }

    #[test]
    fn a_width_is_whole_seconds_up_to_a_day() {
        for (text, width) in [
            ("20s", Width::Micros(20_000_000)),
            ("15m", Width::Micros(3 * FIVE_MINUTES)),
            ("1h", Width::Micros(HOUR)),
            ("1d", Width::Days),
            ("24h", Width::Days),
        ] {
            assert_eq!(text.parse(), Ok(width), "{text}");
        }
        for wrong in ["", "15", "0s", "-1h", "500ms", "2d", "25h", "day"] {
            assert!(wrong.parse::<Width>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn buckets_are_bounded_and_hold_whole_intervals() {
        let hour = time("2026-01-01T00:00:00Z")..time("2026-01-01T01:00:00Z");
        let of = |micros: i64| Steps::of(&hour, Width::Micros(micros), &TimeZone::UTC);
        assert_eq!(of(10_000), Err(Unfit::TooMany));
        let quarters = of(FIVE_MINUTES * 3).unwrap();
        let total = |interval_s| Series::new(SeriesId(1), Kind::Total, "{veh}", Some(interval_s));
        assert_eq!(quarters.check(&[total(300), total(900)]), Ok(()));
        assert_eq!(quarters.check(&[total(300), total(600)]), Err(Unfit::Interval(600)));
        assert_eq!(quarters.check(&[total(3_600)]), Err(Unfit::Interval(3_600)));
        assert_eq!((quarters.grain(), of(60_000_000).unwrap().grain()), (FIVE_MINUTES, 60_000_000));
        assert_eq!(of(60_000_000).unwrap().level(), None);
    }
}

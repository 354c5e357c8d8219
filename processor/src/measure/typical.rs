//! What a place says on a usual day: what it said at the same local clock time of the same weekday in the weeks before. Pure.

use std::ops::Range;

use jiff::{ToSpan, tz::AmbiguousOffset};

use super::{
    Steps,
    station::Measured,
    steps::{DAY_S, Unfit},
    zone::OBSERVED_LEAST,
};
use crate::model::{Level, Time};

/// Weeks that are looked back: two months, in which a city changes little, and enough for a quantile of 15 %.
pub const WEEKS: usize = 8;

/// Steps of a week before, in a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Before {
    /// The step that the first of them is compared with; the others follow.
    pub first: usize,
    pub steps: Steps,
}

/// The same weekday and local clock time, so many weeks before each step; days are compared with days. An hour that clocks
/// skipped was not there, and of one that came twice it is the first. Where clocks were changed there are several rows.
///
/// # Errors
/// They are too many.
pub fn before(steps: &Steps, weeks: usize) -> Result<Vec<Before>, Unfit> {
    let mut rows: Vec<(usize, Vec<Range<Time>>)> = Vec::new();
    for (at, span) in steps.spans.iter().enumerate() {
        let Some(past) = weeks_before(span, weeks, steps) else { continue };
        match rows.last_mut().filter(|(first, row)| {
            first + row.len() == at && row.last().is_some_and(|last| last.end == past.start)
        }) {
            Some((_, row)) => row.push(past),
            None => rows.push((at, vec![past])),
        }
    }
    let row = |(first, spans)| Ok(Before { first, steps: Steps::new(spans, steps.seconds, &steps.zone)? });
    rows.into_iter().map(row).collect()
}

fn weeks_before(span: &Range<Time>, weeks: usize, steps: &Steps) -> Option<Range<Time>> {
    let days = i64::try_from(7 * weeks).ok()?.days();
    let local = steps.zone.to_datetime(span.start.timestamp()).checked_sub(days).ok()?;
    if steps.seconds == DAY_S {
        let start = Time::from(local.date().to_zoned(steps.zone.clone()).ok()?.timestamp());
        return Some(start..Level::Day.end(start, &steps.zone));
    }
    let past = steps.zone.to_ambiguous_timestamp(local);
    if matches!(past.offset(), AmbiguousOffset::Gap { .. }) {
        return None;
    }
    let start = Time::from(past.earlier().ok()?);
    Some(start..Time::from_micros(start.micros() + span.end.micros() - span.start.micros()))
}

/// What detectors said together in one bucket, as of a screenline.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Together {
    /// Detectors that count, and those of them whose count is known.
    counting: u32,
    counted: u32,
    volume: f64,
    /// Vehicles of detectors whose speed is known, too; and Σ n / v.
    vehicles: f64,
    slowness: f64,
    /// Detectors whose speed is known; and Σ 1 / v.
    speeds: f64,
    reciprocals: f64,
    occupancies: f64,
    occupancy: f64,
}

impl Together {
    /// Takes in a detector; `None`: it was not there then. Of a bucket that was observed in part it has no volume.
    pub fn add(&mut self, measured: Option<&Measured>, counts: bool) {
        self.counting += u32::from(counts);
        let Some(Measured { volume, speed, occupancy, coverage, .. }) = measured else { return };
        let volume = volume.filter(|_| coverage.is_none_or(|coverage| OBSERVED_LEAST <= coverage));
        if let Some(volume) = volume {
            self.counted += 1;
            self.volume += volume;
        }
        if let Some(speed) = speed.filter(|speed| 0.0 < *speed) {
            self.speeds += 1.0;
            self.reciprocals += 1.0 / speed;
            self.vehicles += volume.unwrap_or(0.0);
            self.slowness += volume.unwrap_or(0.0) / speed;
        }
        if let Some(occupancy) = occupancy {
            self.occupancies += 1.0;
            self.occupancy += occupancy;
        }
    }

    /// Vehicles; `None` where one that counts was silent.
    pub fn volume(&self) -> Option<f64> {
        (0 < self.counted && self.counted == self.counting).then_some(self.volume)
    }

    /// Space-mean, km/h: Σn / Σ(n/v); where nobody counts, each detector is one.
    pub fn speed(&self) -> Option<f64> {
        match 0.0 < self.vehicles {
            true => Some(self.vehicles / self.slowness),
            false => (0.0 < self.speeds).then(|| self.speeds / self.reciprocals),
        }
    }

    /// Percent, the mean of those that say it.
    pub fn occupancy(&self) -> Option<f64> {
        (0.0 < self.occupancies).then(|| self.occupancy / self.occupancies)
    }
}

/// Quantiles of the weeks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Band {
    pub p15: f64,
    pub p50: f64,
    pub p85: f64,
}

/// What is usual in one bucket.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Typical {
    /// Weeks whose volume is known; where none is, whose speed or occupancy is.
    pub weeks: usize,
    pub volume: Option<Band>,
    pub speed: Option<Band>,
    pub occupancy: Option<Band>,
}

impl Typical {
    /// Of what was said in each of the weeks.
    pub fn of(weeks: &[Together]) -> Typical {
        let of = |value: fn(&Together) -> Option<f64>| weeks.iter().filter_map(value).collect::<Vec<f64>>();
        let [volumes, speeds, occupancies] = [Together::volume, Together::speed, Together::occupancy].map(of);
        let others = speeds.len().max(occupancies.len());
        Typical {
            weeks: if volumes.is_empty() { others } else { volumes.len() },
            volume: band(volumes),
            speed: band(speeds),
            occupancy: band(occupancies),
        }
    }
}

fn band(mut values: Vec<f64>) -> Option<Band> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share| quantile(&values, share);
    Some(Band { p15: at(0.15)?, p50: at(0.5)?, p85: at(0.85)? })
}

/// The quantile of sorted values, on the line between the two ranks that are next to it (Hyndman and Fan 1996, type 7): of
/// a half it is the median.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(rank.floor() as usize)?, sorted.get(rank.ceil() as usize)?);
    Some(low + rank.fract() * (high - low))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::measure::Width;

    fn time(text: &str) -> Time {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    /// The begins of each row a week before, in Paris, with the step that the first is compared with.
    fn week_before(from: &str, to: &str, width: &str) -> Vec<(usize, Vec<String>)> {
        let (zone, width): (_, Width) = (TimeZone::get("Europe/Paris").unwrap(), width.parse().unwrap());
        let steps = Steps::of(&(time(from)..time(to)), width, &zone).unwrap();
        let begins = |steps: &Steps| steps.spans.iter().map(|span| span.start.to_string()).collect();
        before(&steps, 1).unwrap().iter().map(|row| (row.first, begins(&row.steps))).collect()
    }

    fn row(first: usize, begins: &[&str]) -> (usize, Vec<String>) {
        (first, begins.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn clocks_are_compared_and_not_hours_since() {
        // Clocks go forward on 2026-03-29, from 02:00 to 03:00, and back on 2026-10-25, from 03:00 to 02:00.
        assert_eq!(
            week_before("2026-04-01T06:00:00Z", "2026-04-01T08:00:00Z", "1h"),
            [row(0, &["2026-03-25T07:00:00Z", "2026-03-25T08:00:00Z"])]
        );
        // From 01:00 to 04:00 a week after 02:00 was skipped.
        assert_eq!(
            week_before("2026-04-04T23:00:00Z", "2026-04-05T02:00:00Z", "1h"),
            [row(0, &["2026-03-29T00:00:00Z"]), row(2, &["2026-03-29T01:00:00Z"])]
        );
        // 02:00 came twice: the first of them, and then 03:00, an hour later.
        assert_eq!(
            week_before("2026-11-01T00:00:00Z", "2026-11-01T03:00:00Z", "1h"),
            [row(0, &["2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z"]), row(2, &["2026-10-25T02:00:00Z"])]
        );
        // Today it comes twice: both are compared with the one.
        assert_eq!(
            week_before("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "1h"),
            [row(0, &["2026-10-18T00:00:00Z"]), row(1, &["2026-10-18T00:00:00Z"])]
        );
    }

    #[test]
    fn days_are_compared_with_days() {
        let days = week_before("2026-04-04T22:00:00Z", "2026-04-06T22:00:00Z", "1d");
        assert_eq!(days, [row(0, &["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"])]);
    }

    fn said(volume: Option<f64>, speed: Option<f64>, coverage: f64) -> Measured {
        Measured { volume, speed, coverage: Some(coverage), occupancy: Some(10.0), ..Measured::default() }
    }

    #[test]
    fn a_screenline_counts_where_all_of_it_does() {
        let of = |several: &[Option<Measured>]| {
            let mut together = Together::default();
            several.iter().for_each(|measured| together.add(measured.as_ref(), true));
            (together.volume(), together.speed(), together.occupancy())
        };
        let (slow, fast) = (said(Some(10.0), Some(20.0), 1.0), said(Some(30.0), Some(60.0), 1.0));
        assert_eq!(of(&[Some(slow), Some(fast)]), (Some(40.0), Some(40.0), Some(10.0)));
        assert_eq!(of(&[Some(slow), None]), (None, Some(20.0), Some(10.0)));
        assert_eq!(of(&[Some(said(Some(10.0), None, 0.5))]), (None, None, Some(10.0)));
        assert_eq!(of(&[Some(said(Some(0.0), None, 1.0))]), (Some(0.0), None, Some(10.0)));
        assert_eq!(of(&[]), (None, None, None));
        let mut probes = Together::default();
        probes.add(Some(&said(None, Some(20.0), 1.0)), false);
        probes.add(Some(&said(None, Some(60.0), 1.0)), false);
        assert_eq!((probes.volume(), probes.speed()), (None, Some(30.0)));
    }

    #[test]
    fn what_is_usual_is_in_the_middle_of_the_weeks() {
        let week = |volume: Option<f64>| {
            let mut together = Together::default();
            together.add(Some(&said(volume, None, 1.0)), true);
            together
        };
        let weeks = [Some(30.0), None, Some(10.0), Some(20.0), None].map(week);
        let typical = Typical::of(&weeks);
        assert_eq!((typical.weeks, typical.speed), (3, None));
        assert_eq!(typical.volume, Some(Band { p15: 13.0, p50: 20.0, p85: 27.0 }));
        assert_eq!(Typical::of(&weeks[1..2]).weeks, 1, "of its occupancy");
        assert_eq!(Typical::of(&[]), Typical::default());
    }
}

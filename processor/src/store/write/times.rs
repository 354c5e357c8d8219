//! Where the readings, or the events, of a batch lie.

use crate::model::Time;

/// Ranges that are kept of one batch: late ones come from many days.
const RANGES_MAX: usize = 64;
/// So far apart two of them are in two ranges; further where these would be too many.
const APART_MICROS: i64 = 10_000_000;

/// Some times in order as PostgreSQL's `tstzmultirange`; `None` where there are none.
pub(super) fn ranges(times: impl Iterator<Item = Time> + Clone) -> Option<String> {
    let mut apart = APART_MICROS;
    let ranges = loop {
        let ranges = apart_by(times.clone(), apart);
        if ranges.len() <= RANGES_MAX {
            break ranges;
        }
        apart = apart.saturating_mul(4);
    };
    let texts: Vec<String> =
        ranges.iter().map(|(from, to)| format!("[{},{}]", from.timestamp(), to.timestamp())).collect();
    (!texts.is_empty()).then(|| format!("{{{}}}", texts.join(",")))
}

fn apart_by(times: impl Iterator<Item = Time>, apart: i64) -> Vec<(Time, Time)> {
    let mut ranges: Vec<(Time, Time)> = Vec::new();
    for time in times {
        match ranges.last_mut() {
            Some((_, to)) if time.micros().saturating_sub(to.micros()) <= apart => *to = time,
            _ => ranges.push((time, time)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: i64) -> Time {
        Time::from_micros(Time::YEAR_2000.micros() + seconds * 1_000_000)
    }

    #[test]
    fn neighbours_share_a_range() {
        let text = ranges([0, 1, 9, 3600].map(seconds).into_iter());
        let expected =
            "{[2000-01-01T00:00:00Z,2000-01-01T00:00:09Z],[2000-01-01T01:00:00Z,2000-01-01T01:00:00Z]}";
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(ranges(std::iter::empty()), None);
    }

    proptest! {
        #[test]
        fn few_ranges_hold_every_time(mut at in prop::collection::vec(0..100_000_000i64, 1..500)) {
            at.sort_unstable();
            let mut apart = APART_MICROS;
            let times = || at.iter().map(|at| seconds(*at));
            while RANGES_MAX < apart_by(times(), apart).len() {
                apart *= 4;
            }
            let ranges = apart_by(times(), apart);
            prop_assert!(times().all(|time| ranges.iter().any(|(from, to)| *from <= time && time <= *to)));
            prop_assert!(super::ranges(times()).unwrap().matches('[').count() <= RANGES_MAX);
        }
    }
}

//! Times as sensors write them, and as they are understood.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Microseconds.
pub(super) const MILLISECOND: i64 = 1_000;
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;

/// The latest multiple of `resolution_us` at or before a time: a clock shows what has passed.
pub(super) fn cut(time_us: i64, resolution_us: i64) -> i64 {
    time_us - time_us.rem_euclid(resolution_us)
}

pub(super) fn timestamp(time_us: i64) -> Timestamp {
    Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The time zone of a ready mapping; their names are all in the database.
pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// What a clock on the wall shows.
pub(super) fn local(time_us: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(timestamp(time_us))
}

/// When it is, for who reads the wall's clock: an hour that comes twice is taken for the first.
pub(super) fn heard(civil: DateTime, zone: &TimeZone) -> i64 {
    let first = zone.to_ambiguous_zoned(civil).earlier();
    first.map_or(0, |zoned| zoned.timestamp().as_microsecond())
}

/// Of a time whose zone is not written: itself, but for the hour that comes twice.
pub(super) fn reheard(time_us: i64, zone: &TimeZone) -> i64 {
    heard(local(time_us, zone), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_that_comes_twice_is_heard_as_the_first() {
        let zone = zone("Europe/Berlin");
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(local(first, &zone), local(second, &zone));
        assert_eq!((reheard(first, &zone), reheard(second, &zone)), (first, first));
        let spring = at("2026-03-29T01:00:00Z");
        assert_eq!(reheard(spring, &zone), spring);
        assert_eq!(cut(-1, SECOND), -SECOND);
    }
}

use jiff::{ToSpan, civil, tz::TimeZone};

use super::Time;

/// A width that rollups are kept at. Buckets are [start, end).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    FiveMinutes,
    Hour,
    /// A local day of the city: 23, 24 or 25 hours.
    Day,
}

pub const FIVE_MINUTES: i64 = 300_000_000;
pub const HOUR: i64 = 3_600_000_000;

impl Level {
    pub const ALL: [Level; 3] = [Level::FiveMinutes, Level::Hour, Level::Day];

    /// The number that stands for it in `dirty`.
    pub const fn number(self) -> i16 {
        match self {
            Level::FiveMinutes => 0,
            Level::Hour => 1,
            Level::Day => 2,
        }
    }

    pub const fn table(self) -> &'static str {
        match self {
            Level::FiveMinutes => "rollup_5m",
            Level::Hour => "rollup_1h",
            Level::Day => "rollup_1d",
        }
    }

    /// The start of the bucket that holds `time`.
    pub fn start(self, time: Time, zone: &TimeZone) -> Time {
        match self {
            Level::FiveMinutes => time.floor(FIVE_MINUTES),
            Level::Hour => time.floor(HOUR),
            Level::Day => day_start(zone.to_datetime(time.timestamp()).date(), zone),
        }
    }

    /// The end, excluded, of the bucket that starts at `start`.
    pub fn end(self, start: Time, zone: &TimeZone) -> Time {
        match self {
            Level::FiveMinutes => Time::from_micros(start.micros() + FIVE_MINUTES),
            Level::Hour => Time::from_micros(start.micros() + HOUR),
            Level::Day => {
                let date = zone.to_datetime(start.timestamp()).date();
                day_start(date.saturating_add(1.day()), zone)
            }
        }
    }
}

/// The first instant of a local day; where midnight is skipped by a clock change, the first that exists.
fn day_start(date: civil::Date, zone: &TimeZone) -> Time {
    let start = date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    // Fails only past the year 9999, where every instant is later than any reading.
    start.unwrap_or(jiff::Timestamp::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn a_local_day_has_23_24_or_25_hours() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        for (noon, hours) in [("2024-03-31T12:00Z", 23), ("2024-06-01T12:00Z", 24), ("2024-10-27T12:00Z", 25)]
        {
            let start = Level::Day.start(at(noon), &paris);
            let end = Level::Day.end(start, &paris);
            assert_eq!(end.micros() - start.micros(), hours * HOUR, "{noon}");
        }
    }

    #[test]
    fn a_day_at_plus_5_45_begins_on_a_five_minute_border() {
        let kathmandu = TimeZone::get("Asia/Kathmandu").unwrap();
        let start = Level::Day.start(at("2024-06-01T12:00Z"), &kathmandu);
        assert_eq!(start, at("2024-05-31T18:15Z"));
        assert_eq!(start, start.floor(FIVE_MINUTES));
    }
}

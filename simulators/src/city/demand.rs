//! When a city wants what: shares of a week, hour by hour, and what was wanted up to a time.
//!
//! The city lives by UTC+1, without summer time. What is wanted is a known integral, so a register can be read at any time
//! without computing what came before.

/// Hours of a week, which begins on Monday.
const HOURS: usize = 7 * 24;
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const WEEK_US: i64 = 7 * DAY_US;
/// 1970 began on a Thursday, at one o'clock here.
const SINCE_MONDAY_US: i64 = 3 * DAY_US + HOUR_US;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Traffic,
    HomePower,
    WorkPower,
    Sun,
    HomeWater,
    Warmth,
    Parking,
}

/// Of weekdays, by hour; then of Saturdays and Sundays.
type Days = [[f64; 24]; 2];

const TRAFFIC: Days = [
    [
        0.14, 0.09, 0.07, 0.08, 0.16, 0.42, 0.86, 1.38, 1.52, 1.16, 1.02, 1.04, 1.10, 1.12, 1.18, 1.36, 1.62,
        1.70, 1.30, 0.92, 0.68, 0.52, 0.40, 0.26,
    ],
    [
        0.28, 0.20, 0.15, 0.12, 0.12, 0.16, 0.26, 0.40, 0.60, 0.86, 1.06, 1.18, 1.22, 1.20, 1.16, 1.12, 1.10,
        1.06, 0.94, 0.78, 0.62, 0.50, 0.42, 0.34,
    ],
];
const HOME_POWER: Days = [
    [
        0.55, 0.48, 0.45, 0.44, 0.46, 0.58, 0.92, 1.12, 0.98, 0.84, 0.80, 0.86, 0.98, 0.90, 0.82, 0.86, 1.06,
        1.42, 1.78, 1.86, 1.66, 1.36, 1.02, 0.72,
    ],
    [
        0.62, 0.54, 0.49, 0.46, 0.46, 0.50, 0.64, 0.88, 1.16, 1.28, 1.30, 1.34, 1.36, 1.22, 1.10, 1.06, 1.16,
        1.42, 1.70, 1.74, 1.56, 1.32, 1.04, 0.80,
    ],
];
const WORK_POWER: Days = [
    [
        0.55, 0.54, 0.54, 0.55, 0.60, 0.80, 1.15, 1.55, 1.70, 1.75, 1.76, 1.72, 1.60, 1.70, 1.72, 1.68, 1.52,
        1.25, 0.95, 0.75, 0.66, 0.60, 0.58, 0.56,
    ],
    [
        0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.52, 0.55, 0.58, 0.60, 0.60, 0.60, 0.60, 0.60, 0.58, 0.56, 0.54,
        0.52, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50,
    ],
];
const SUN: Days = [[
    0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.30, 0.80, 1.45, 2.10, 2.65, 2.98, 3.05, 2.90, 2.50, 1.95, 1.35, 0.75,
    0.25, 0.04, 0.0, 0.0, 0.0, 0.0,
]; 2];
const HOME_WATER: Days = [
    [
        0.26, 0.20, 0.18, 0.18, 0.26, 0.62, 1.50, 1.82, 1.42, 1.08, 0.96, 0.98, 1.06, 0.98, 0.86, 0.88, 1.02,
        1.30, 1.62, 1.58, 1.32, 1.04, 0.76, 0.46,
    ],
    [
        0.34, 0.26, 0.20, 0.18, 0.20, 0.30, 0.62, 1.12, 1.62, 1.78, 1.62, 1.44, 1.32, 1.16, 1.02, 0.98, 1.04,
        1.24, 1.46, 1.40, 1.20, 1.00, 0.78, 0.52,
    ],
];
const WARMTH: Days = [[
    0.70, 0.68, 0.68, 0.72, 0.85, 1.20, 1.50, 1.45, 1.20, 1.00, 0.92, 0.88, 0.85, 0.85, 0.88, 0.95, 1.10,
    1.25, 1.30, 1.25, 1.15, 1.00, 0.86, 0.76,
]; 2];
const PARKING: Days = [
    [
        0.20, 0.20, 0.20, 0.20, 0.20, 0.22, 0.32, 0.52, 0.74, 0.86, 0.90, 0.92, 0.92, 0.90, 0.88, 0.86, 0.80,
        0.68, 0.56, 0.48, 0.40, 0.32, 0.26, 0.22,
    ],
    [
        0.22, 0.20, 0.20, 0.20, 0.20, 0.20, 0.20, 0.22, 0.30, 0.45, 0.62, 0.74, 0.80, 0.82, 0.80, 0.76, 0.70,
        0.62, 0.54, 0.46, 0.38, 0.32, 0.28, 0.24,
    ],
];

const ALL: [(Want, Days); 7] = [
    (Want::Traffic, TRAFFIC),
    (Want::HomePower, HOME_POWER),
    (Want::WorkPower, WORK_POWER),
    (Want::Sun, SUN),
    (Want::HomeWater, HOME_WATER),
    (Want::Warmth, WARMTH),
    (Want::Parking, PARKING),
];

/// The tables of a week, summed up once.
#[derive(Debug, Clone)]
pub struct Demand {
    /// By want: what was wanted before each hour of a week, in hours of the mean.
    before: [[f64; HOURS + 1]; ALL.len()],
}

impl Default for Demand {
    fn default() -> Demand {
        Demand::new()
    }
}

impl Demand {
    pub fn new() -> Demand {
        let mut before = [[0.0; HOURS + 1]; ALL.len()];
        for (sums, (_, days)) in before.iter_mut().zip(&ALL) {
            for hour in 0..HOURS {
                sums[hour + 1] = sums[hour] + of_hour(days, hour);
            }
            let mean = sums[HOURS] / HOURS as f64;
            sums.iter_mut().for_each(|sum| *sum /= mean);
        }
        Demand { before }
    }

    /// What is wanted at a time, as a multiple of the week's mean.
    pub fn rate(&self, want: Want, time_us: i64) -> f64 {
        let (_, hour, _) = place(time_us);
        let before = &self.before[want as usize];
        before[hour + 1] - before[hour]
    }

    /// What was wanted since the Monday before 1970, in hours of the week's mean.
    pub fn until(&self, want: Want, time_us: i64) -> f64 {
        let (week, hour, part) = place(time_us);
        let before = &self.before[want as usize];
        (week * HOURS as i64) as f64 + before[hour] + part * (before[hour + 1] - before[hour])
    }
}

/// The beginning of the hour after a time.
pub fn next_hour(time_us: i64) -> i64 {
    (time_us.div_euclid(HOUR_US) + 1) * HOUR_US
}

/// Hour of the day here, with its fraction.
pub fn hour_of_day(time_us: i64) -> f64 {
    (time_us + HOUR_US).rem_euclid(DAY_US) as f64 / HOUR_US as f64
}

/// The part of the year that is over, roughly: 0 is New Year.
pub fn part_of_year(time_us: i64) -> f64 {
    const YEAR_US: f64 = 365.2425 * DAY_US as f64;
    let years = time_us as f64 / YEAR_US;
    years - years.floor()
}

fn of_hour(days: &Days, hour: usize) -> f64 {
    days[usize::from(5 * 24 <= hour)][hour % 24]
}

/// Week, hour in it, part of that hour.
fn place(time_us: i64) -> (i64, usize, f64) {
    let since_us = time_us + SINCE_MONDAY_US;
    let in_week_us = since_us.rem_euclid(WEEK_US);
    let part = in_week_us.rem_euclid(HOUR_US) as f64 / HOUR_US as f64;
    (since_us.div_euclid(WEEK_US), (in_week_us / HOUR_US) as usize, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn wants_are_in_the_order_of_their_tables() {
        assert!(ALL.iter().enumerate().all(|(i, (want, _))| *want as usize == i));
    }

    #[test]
    fn people_drive_at_eight_on_a_monday_and_sleep_on_a_sunday_night() {
        let demand = Demand::new();
        let monday = demand.rate(Want::Traffic, at("2026-11-23T07:30:00Z"));
        let night = demand.rate(Want::Traffic, at("2026-11-22T02:30:00Z"));
        assert!(1.5 < monday && night < 0.3, "{monday} {night}");
        assert_eq!(demand.rate(Want::Sun, at("2026-11-22T22:30:00Z")), 0.0);
    }

    #[test]
    fn what_was_wanted_is_the_integral_of_what_is_wanted() {
        let demand = Demand::new();
        for (want, _) in ALL {
            let from = at("2026-11-22T22:00:00Z");
            let mut sum = 0.0;
            for hour in 0..HOURS as i64 {
                sum += demand.rate(want, from + hour * HOUR_US);
                let until = demand.until(want, from + (hour + 1) * HOUR_US) - demand.until(want, from);
                assert!((until - sum).abs() < 1e-6, "{want:?} {hour}");
            }
            assert!((sum - HOURS as f64).abs() < 1e-6, "a week has a week's worth");
        }
    }
}

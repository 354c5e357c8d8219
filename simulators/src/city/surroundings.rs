//! Weather, air, noise and car parks: what lies around the streets.

use super::chance::Chance;
use super::demand::{Demand, Want, hour_of_day, part_of_year};

const TURN: f64 = 2.0 * std::f64::consts::PI;

/// A value that wanders between -1 and 1: drawn at each multiple of a period, straight between.
fn wander(chance: Chance, time_us: i64, period_us: i64) -> f64 {
    let step = time_us.div_euclid(period_us);
    let part = time_us.rem_euclid(period_us) as f64 / period_us as f64;
    let drawn = |step: i64| chance.of(step as u64).between(-1.0, 1.0);
    drawn(step) + part * (drawn(step + 1) - drawn(step))
}

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

/// The weather over the city.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    chance: Chance,
}

impl Weather {
    pub fn new(chance: Chance) -> Weather {
        Weather { chance }
    }

    /// Degrees Celsius: a year, a day, and what changes within hours.
    pub fn temperature(&self, time_us: i64) -> f64 {
        let year = libm::cos(TURN * (part_of_year(time_us) - 0.55));
        let day = libm::cos(TURN * (hour_of_day(time_us) - 15.0) / 24.0);
        10.5 + 9.0 * year + 3.5 * day + 4.0 * wander(self.chance.of(1), time_us, 31 * HOUR_US)
    }

    /// Millimetres an hour; none at most times.
    pub fn rain(&self, time_us: i64) -> f64 {
        let wet = wander(self.chance.of(2), time_us, 5 * HOUR_US);
        let gust = wander(self.chance.of(3), time_us, 7 * MINUTE_US);
        ((wet - 0.35) * 9.0 * (1.0 + 0.5 * gust)).max(0.0)
    }

    /// Percent; high in rain and at night.
    pub fn humidity(&self, time_us: i64) -> f64 {
        let day = libm::cos(TURN * (hour_of_day(time_us) - 15.0) / 24.0);
        let rain = (self.rain(time_us) * 10.0).min(18.0);
        (68.0 - 12.0 * day + rain + 8.0 * wander(self.chance.of(4), time_us, 11 * HOUR_US)).clamp(15.0, 100.0)
    }

    /// Metres a second.
    pub fn wind(&self, time_us: i64) -> f64 {
        let slow = 4.0 + 3.5 * wander(self.chance.of(5), time_us, 9 * HOUR_US);
        slow * (1.0 + 0.3 * wander(self.chance.of(6), time_us, 2 * MINUTE_US))
    }

    /// By how much the wet slows traffic: 1 on a dry road, 0.88 in heavy rain.
    pub fn on_speed(&self, time_us: i64) -> f64 {
        1.0 - 0.12 * (self.rain(time_us) / 5.0).min(1.0)
    }
}

/// One place that measures air or noise, beside a road that carries `traffic` times its mean.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub chance: Chance,
}

impl Place {
    /// Fine dust up to 10 and 2.5 micrometres and nitrogen dioxide, in micrograms a cubic metre. Rain washes dust out, wind
    /// thins all, traffic makes nitrogen dioxide.
    pub fn air(&self, weather: &Weather, traffic: f64, time_us: i64) -> [f64; 3] {
        let thin = 1.0 / (0.6 + 0.12 * weather.wind(time_us));
        let washed = 1.0 - 0.5 * (weather.rain(time_us) / 4.0).min(1.0);
        let own = 1.0 + 0.15 * wander(self.chance.of(1), time_us, 40 * MINUTE_US);
        let coarse = (9.0 + 9.0 * traffic) * thin * washed * own;
        let fine = coarse * self.chance.of(2).between(0.5, 0.65);
        [coarse, fine, (6.0 + 16.0 * traffic) * thin * own]
    }

    /// Decibels: ten times the logarithm of the traffic over a quiet ground (as RLS-90 has it), with its ups and downs.
    pub fn noise(&self, traffic: f64, time_us: i64) -> f64 {
        let road = 10.0 * libm::log10(1.0 + 60.0 * traffic);
        42.0 + road + 2.5 * wander(self.chance.of(3), time_us, MINUTE_US)
    }
}

/// A car park.
#[derive(Debug, Clone, Copy)]
pub struct CarPark {
    chance: Chance,
    pub spaces: i64,
}

impl CarPark {
    pub fn new(chance: Chance) -> CarPark {
        CarPark { chance, spaces: 20 * (2 + chance.of(1).below(30) as i64) }
    }

    /// Free spaces.
    pub fn free(&self, demand: &Demand, time_us: i64) -> i64 {
        // The table of a week is a share of spaces taken, told as a multiple of its mean of about 0.5.
        let wanted = 0.5 * demand.rate(Want::Parking, time_us);
        let next = 0.5 * demand.rate(Want::Parking, time_us + HOUR_US);
        let part = time_us.rem_euclid(HOUR_US) as f64 / HOUR_US as f64;
        let taken = wanted + part * (next - wanted) + 0.06 * wander(self.chance, time_us, 9 * MINUTE_US);
        self.spaces - (self.spaces as f64 * taken.clamp(0.0, 1.0)).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_warm_in_july_and_nothing_leaves_its_bounds() {
        let weather = Weather::new(Chance::new(1));
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let (july, january) = (at("2026-07-20T00:00:00Z"), at("2026-01-20T00:00:00Z"));
        let mean = |from: i64| (0..240).map(|h| weather.temperature(from + h * HOUR_US)).sum::<f64>() / 240.0;
        assert!(mean(january) + 10.0 < mean(july));
        let (place, park) = (Place { chance: Chance::new(2) }, CarPark::new(Chance::new(3)));
        let demand = Demand::new();
        for minute in 0..10_000 {
            let time = july + minute * MINUTE_US;
            assert!((15.0..=100.0).contains(&weather.humidity(time)) && 0.0 <= weather.rain(time));
            assert!(0.0 < weather.wind(time) && (0.87..=1.0).contains(&weather.on_speed(time)));
            assert!(place.air(&weather, 1.0, time).iter().all(|value| (0.5..150.0).contains(value)));
            assert!((35.0..90.0).contains(&place.noise(1.0, time)));
            assert!((0..=park.spaces).contains(&park.free(&demand, time)));
        }
    }
}

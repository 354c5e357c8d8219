//! What a sensor shows, which is what is true unless a fault strikes it.

use super::fault::{Fault, Kind};
use super::{MINUTE_TICKS, Simulation, TICK_US};
use crate::city::chance::Chance;
use crate::city::series::Series;
use crate::observation::{Decimal, Reading};
use crate::speech::Format;

/// A reading as it is sent, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub sensor: u32,
    pub reading: Reading<'static>,
    /// Why it is refused.
    pub refused: Option<&'static str>,
    /// Flags of the tables (`reading.quality`) that it earns.
    pub flags: i32,
    /// Whether its clock is wrong.
    skewed: bool,
}

/// Unit unknown, and implausible: what is in no known unit is kept out of sums.
const UNIT_UNKNOWN: i32 = 1 << 16 | 1 << 8;
/// A length that no table of units has.
const UNKNOWN_UNIT: &str = "smoot";
/// Known, and of another quantity than whatever the city measures with two of these.
const OTHER_UNITS: [&str; 2] = ["V", "m"];

/// What a sensor shows of a time.
pub(super) fn of(
    simulation: &Simulation,
    sensor: u32,
    (voice, time_us): (u32, i64),
    take: &mut impl FnMut(Shown),
) {
    let ticks = simulation.scenario.ticks;
    let tick = ((time_us - simulation.scenario.starts_us()) / TICK_US) as u32;
    let all = simulation.scenario.faults.iter().enumerate();
    let strikes = |(n, fault): &(usize, &Fault)| {
        fault.kind.strikes_sensors()
            // Only SenML names the unit of whatever it says.
            && (fault.kind != Kind::WrongUnit || simulation.voices.get(voice).format == Format::Senml)
            && chance(simulation, *n, sensor).happens(fault.rate)
            && fault.concerns(&simulation.city, sensor)
    };
    let struck: Vec<(usize, &Fault)> = all.filter(strikes).collect();
    simulation.city.report(sensor, time_us, |series, reading| {
        let mut shown = Shown { sensor, reading, refused: None, flags: 0, skewed: false };
        for (n, fault) in &struck {
            let window = fault.ticks(ticks);
            let drawn = chance(simulation, *n, sensor).of(1);
            strike(simulation, &mut shown, series, fault, (window, tick), drawn);
        }
        take(shown);
    });
}

fn chance(simulation: &Simulation, fault: usize, sensor: u32) -> Chance {
    simulation.chance.of(1_000 + fault as u64).of(u64::from(sensor))
}

fn strike(
    simulation: &Simulation,
    shown: &mut Shown,
    series: &Series,
    fault: &Fault,
    ((from, to), tick): ((u32, u32), u32),
    chance: Chance,
) {
    let time_at = |tick: u32| {
        let minute = tick / MINUTE_TICKS * MINUTE_TICKS;
        simulation.scenario.starts_us() + i64::from(minute) * TICK_US
    };
    let is_within = from < tick && tick <= to;
    let modulus = series.modulus_digits();
    let value = &mut shown.reading.value;
    match fault.kind {
        // All of the run: its register is another one from the beginning, so that it runs over where it should.
        Kind::Rollover => {
            if let (Some(modulus), Some(middle)) =
                (modulus, true_value(simulation, shown, time_at((from + to) / 2)))
            {
                let value = &mut shown.reading.value;
                value.digits = (value.digits - middle.digits).rem_euclid(modulus);
            }
        }
        Kind::Exchange => {
            let at = time_at((from + to) / 2);
            if modulus.is_some() && at <= shown.reading.time_us {
                let taken_out = true_value(simulation, shown, at);
                let value = &mut shown.reading.value;
                value.digits -= taken_out.map_or(0, |taken_out| taken_out.digits);
            }
        }
        _ if !is_within => {}
        Kind::Stuck => {
            if let Some(held) = true_value(simulation, shown, time_at(from)) {
                shown.reading.value = held;
            }
        }
        Kind::Drift if modulus.is_none() => {
            let hours = f64::from(tick - from) * super::TICK_S as f64 / 3_600.0;
            *value = moved(*value, value.value() * fault.size.unwrap_or_default() * hours);
        }
        Kind::Bias if modulus.is_none() => {
            let (min, max) = series.range;
            *value = moved(*value, (max - min) * fault.size.unwrap_or_default());
        }
        // A sensor has one clock, and one unit: the first fault of a kind decides.
        Kind::ClockSkew if !shown.skewed => {
            let by = fault.by.unwrap_or_default();
            shown.reading.time_us += by.as_secs() * 1_000_000;
            shown.skewed = true;
            if simulation.scenario.is_future(by) {
                shown.refused = Some("future");
            }
        }
        Kind::WrongUnit if shown.reading.unit != series.unit => {}
        Kind::WrongUnit if chance.happens(0.5) => {
            shown.reading.unit = UNKNOWN_UNIT;
            shown.flags |= UNIT_UNKNOWN;
        }
        Kind::WrongUnit => {
            let is = shown.reading.unit;
            shown.reading.unit = OTHER_UNITS[usize::from(is == OTHER_UNITS[0])];
            // A time that is refused is not asked for its unit.
            shown.refused = shown.refused.or(Some("unit_mismatch"));
        }
        _ => {}
    }
}

/// What is true of the same metric at another time.
fn true_value(simulation: &Simulation, shown: &Shown, time_us: i64) -> Option<Decimal> {
    let mut found = None;
    simulation.city.report(shown.sensor, time_us, |_, reading| {
        if reading.metric == shown.reading.metric {
            found = Some(reading.value);
        }
    });
    found
}

fn moved(value: Decimal, by: f64) -> Decimal {
    Decimal::nearest(value.value() + by, value.places)
}

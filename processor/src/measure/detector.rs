//! What is wrong with a detector: the verdict on its day.

use std::{fmt, ops::RangeInclusive};

/// What a loop said of one interval.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Sample {
    pub volume: Option<f64>,
    /// Percent.
    pub occupancy: Option<f64>,
    /// km/h.
    pub speed: Option<f64>,
}

/// What a detector's day says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Good,
    /// Nothing came at all.
    Silent,
    /// Fewer samples than its day needs.
    Insufficient,
    /// Nearly always empty: its card is off.
    CardOff,
    /// Nearly always covered.
    High,
    /// Vehicles without occupancy, or occupancy without vehicles.
    Intermittent,
    /// The same occupancy for hours.
    Constant,
    /// Speed, occupancy and volume make vehicles that no road has.
    Lengths,
    /// Passages that cannot be: too near to each other, or of vehicles too short or too long.
    Chatter,
}

impl Health {
    /// What to look at first, for the maintenance list.
    pub const fn advice(self) -> &'static str {
        match self {
            Health::Good => "nothing to do",
            Health::Silent => "look at power and communication",
            Health::Insufficient => "look at the communication",
            Health::CardOff => "look at the detector card and its wiring",
            Health::High => "retune the loop: it stays covered",
            Health::Intermittent => "look for a loose connection",
            Health::Constant => "reset the controller: it repeats one value",
            Health::Lengths => "look at its sensitivity, and whether lanes are mixed up",
            Health::Chatter => "look at its sensitivity: it sees vehicles twice, or none",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Health::Good => "good",
            Health::Silent => "silent",
            Health::Insufficient => "insufficient",
            Health::CardOff => "card off",
            Health::High => "high",
            Health::Intermittent => "intermittent",
            Health::Constant => "constant",
            Health::Lengths => "lengths",
            Health::Chatter => "chatter",
        })
    }
}

/// The thresholds of a day's verdict, on samples of 05:00 to 22:00 (PeMS, `diagnostic_threshold_values`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thresholds {
    /// Of the samples due.
    pub least: f64,
    /// Of the samples, with occupancy 0.
    pub empty: f64,
    /// Percent of occupancy that is high, and the share of samples above it.
    pub high_occupancy: f64,
    pub high: f64,
    /// Of the samples, without vehicles but with occupancy.
    pub occupied_without: f64,
    /// Of the samples, with vehicles but without occupancy.
    pub counted_without: f64,
    /// Seconds without a change of a positive occupancy.
    pub constant_s: f64,
    /// Without occupancy, as on ramps: of the samples, without vehicles.
    pub idle: f64,
    /// Without occupancy: more vehicles in 30 s are many, and the share of samples above it.
    pub many: f64,
    pub crowded: f64,
}

impl Thresholds {
    pub const URBAN: Thresholds = Thresholds {
        least: 0.6,
        empty: 0.59,
        high_occupancy: 70.0,
        high: 0.2,
        occupied_without: 0.02,
        counted_without: 0.5,
        constant_s: 14_400.0,
        idle: 0.95,
        many: 20.0,
        crowded: 0.2,
    };
    pub const RURAL: Thresholds = Thresholds { empty: 0.9, ..Thresholds::URBAN };
}

/// What a vehicle is as long as, in metres, with the length of the loop (Turochy and Smith, average effective length).
const EFFECTIVE_LENGTHS: RangeInclusive<f64> = 3.0..=18.0;
/// Of the samples that say a length; ours.
const WRONG_LENGTHS: f64 = 0.5;
/// What a vehicle is as long as, in metres, and how far behind the one before, in seconds (Coifman and Dhoorjaty).
const LENGTHS: RangeInclusive<f64> = 2.0..=25.0;
const HEADWAY_LEAST_S: f64 = 0.5;
/// Of the passages of a day; ours.
const WRONG_PASSAGES: f64 = 0.1;

/// The verdict on a day of samples, each of `seconds`, of which so many were due; the first rule that holds.
pub fn daily(samples: &[Sample], due: usize, seconds: f64, thresholds: &Thresholds) -> Health {
    let of_all = |count: usize| count as f64 / samples.len().max(1) as f64;
    let share = |holds: &dyn Fn(f64, f64) -> bool| {
        let both = samples.iter().filter(|s| s.volume.zip(s.occupancy).is_some_and(|(n, occ)| holds(n, occ)));
        of_all(both.count())
    };
    let heard = samples.iter().filter(|sample| sample.volume.is_some()).count();
    let only_counts = samples.iter().all(|sample| sample.occupancy.is_none());
    let counts = |holds: &dyn Fn(f64) -> bool| {
        of_all(samples.iter().filter(|sample| only_counts && sample.volume.is_some_and(holds)).count())
    };
    let longest = samples.chunk_by(|a, b| a.occupancy == b.occupancy);
    let longest = longest.filter(|same| same[0].occupancy.is_some_and(|occupancy| 0.0 < occupancy));
    let longest = longest.map(<[Sample]>::len).max().unwrap_or(0);
    let lengths: Vec<f64> = samples.iter().filter_map(|sample| sample.effective_length_m(seconds)).collect();
    let wrong = lengths.iter().filter(|length| !EFFECTIVE_LENGTHS.contains(length)).count();
    let rules = [
        (heard == 0, Health::Silent),
        ((heard as f64) < thresholds.least * due as f64, Health::Insufficient),
        (thresholds.empty <= share(&|_, occupancy| occupancy == 0.0), Health::CardOff),
        (thresholds.idle <= counts(&|n| n == 0.0), Health::CardOff),
        (thresholds.high <= share(&|_, occupancy| thresholds.high_occupancy < occupancy), Health::High),
        (thresholds.crowded <= counts(&|n| thresholds.many * seconds / 30.0 < n), Health::High),
        (thresholds.occupied_without <= share(&|n, occ| n == 0.0 && 0.0 < occ), Health::Intermittent),
        (thresholds.counted_without <= share(&|n, occ| 0.0 < n && occ == 0.0), Health::Intermittent),
        (thresholds.constant_s <= longest as f64 * seconds, Health::Constant),
        (!lengths.is_empty() && WRONG_LENGTHS * lengths.len() as f64 <= wrong as f64, Health::Lengths),
    ];
    rules.into_iter().find(|(holds, _)| *holds).map_or(Health::Good, |(_, health)| health)
}

impl Sample {
    /// The mean effective length of the vehicles, 10 * occ * v / q, in metres.
    fn effective_length_m(&self, seconds: f64) -> Option<f64> {
        let (volume, occupancy, speed) = (self.volume?, self.occupancy?, self.speed?);
        let flow = 3_600.0 * volume / seconds;
        (0.0 < flow && 0.0 < occupancy && 0.0 < speed).then(|| 10.0 * occupancy * speed / flow)
    }
}

/// The verdict on the passages of a lane in one day, each with its second and the length of the vehicle, in time order.
pub fn passages(passages: &[(f64, Option<f64>)]) -> Health {
    let near = passages.windows(2).filter(|two| two[1].0 - two[0].0 < HEADWAY_LEAST_S).count();
    let wrong = passages.iter().filter(|(_, length)| length.is_some_and(|m| !LENGTHS.contains(&m))).count();
    match WRONG_PASSAGES * passages.len() as f64 <= (near + wrong) as f64 && !passages.is_empty() {
        true => Health::Chatter,
        false => Health::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(volume: f64, occupancy: f64) -> Sample {
        Sample { volume: Some(volume), occupancy: Some(occupancy), speed: None }
    }

    /// A day of 2,040 samples of 30 s, the nth from a rule.
    fn day(of: impl Fn(usize) -> Sample) -> Health {
        let samples: Vec<Sample> = (0..2_040).map(of).collect();
        daily(&samples, 2_040, 30.0, &Thresholds::URBAN)
    }

    #[test]
    fn each_fault_has_its_verdict() {
        let busy = |i: usize| sample(f64::from(i as u32 % 7 + 1), f64::from(i as u32 % 13 + 1));
        assert_eq!(day(busy), Health::Good);
        assert_eq!(daily(&[], 2_040, 30.0, &Thresholds::URBAN), Health::Silent);
        assert_eq!(day(|i| if i % 2 == 0 { Sample::default() } else { busy(i) }), Health::Insufficient);
        assert_eq!(day(|i| if i % 10 < 6 { sample(0.0, 0.0) } else { busy(i) }), Health::CardOff);
        assert_eq!(
            day(|i| if i % 4 == 0 { sample(9.0, 80.0 + (i % 9) as f64) } else { busy(i) }),
            Health::High
        );
        assert_eq!(day(|i| if i % 40 == 0 { sample(0.0, 3.0) } else { busy(i) }), Health::Intermittent);
        assert_eq!(
            day(|i| if (400..900).contains(&i) { sample(2.0, 5.0) } else { busy(i) }),
            Health::Constant
        );
        let samples: Vec<Sample> =
            (0..2_040).map(|i| if i % 10 < 6 { sample(0.0, 0.0) } else { busy(i) }).collect();
        assert_eq!(daily(&samples, 2_040, 30.0, &Thresholds::RURAL), Health::Good);
    }

    #[test]
    fn a_ramp_is_judged_by_its_counts() {
        let of = |volume: &dyn Fn(usize) -> u32| {
            day(|i| Sample { volume: Some(f64::from(volume(i))), ..Sample::default() })
        };
        assert_eq!(of(&|i| i as u32 % 9), Health::Good);
        assert_eq!(of(&|i| u32::from(i % 50 == 0)), Health::CardOff);
        assert_eq!(of(&|i| if i % 4 == 0 { 21 } else { 3 }), Health::High);
    }

    #[test]
    fn vehicles_have_the_length_of_vehicles() {
        let with_speed = |speed: f64| {
            day(move |i| Sample {
                speed: Some(speed),
                ..sample(f64::from(i as u32 % 7 + 4), f64::from(i as u32 % 7 + 4))
            })
        };
        // 10 * 1 % * 60 km/h / 120 veh/h for each vehicle: 5 m; at 6 km/h half a metre.
        assert_eq!((with_speed(60.0), with_speed(6.0)), (Health::Good, Health::Lengths));
        let lane = |length: f64, headway: f64| {
            let of: Vec<(f64, Option<f64>)> =
                (0..100).map(|i| (f64::from(i) * headway, Some(length))).collect();
            passages(&of)
        };
        assert_eq!(
            (lane(4.5, 3.0), lane(30.0, 3.0), lane(4.5, 0.2)),
            (Health::Good, Health::Chatter, Health::Chatter)
        );
        assert_eq!(passages(&[]), Health::Good);
    }
}

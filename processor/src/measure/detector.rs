//! What is wrong with a detector: checks of one sample, and the verdict on its day.

use std::fmt;

/// What a loop said of one interval.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Sample {
    pub volume: Option<f64>,
    /// Percent.
    pub occupancy: Option<f64>,
    /// km/h.
    pub speed: Option<f64>,
}

/// Why a sample cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// Below 0 or above 100 %.
    Occupancy,
    /// Below 0, or more than 25 vehicles a lane in 30 s.
    Volume,
    /// Below 0 or above 250 km/h.
    Speed,
    /// A speed without a vehicle.
    SpeedOfNone,
    /// Speed, occupancy and volume make vehicles shorter than 3 m or longer than 18 m (Turochy and Smith, AEVL).
    Length,
}

/// Everything that is wrong with a sample of so many seconds over so many lanes.
pub fn doubts(sample: &Sample, seconds: f64, lanes: f64) -> Vec<Doubt> {
    let Sample { volume, occupancy, speed } = *sample;
    let outside = |value: Option<f64>, high: f64| value.is_some_and(|value| !(0.0..=high).contains(&value));
    let length = || {
        let (volume, occupancy, speed) = (volume?, occupancy?, speed?);
        let flow = volume / lanes * 3_600.0 / seconds;
        (0.0 < flow && 0.0 < occupancy && 0.0 < speed).then(|| 10.0 * occupancy * speed / flow)
    };
    let found = [
        (outside(occupancy, 100.0), Doubt::Occupancy),
        (outside(volume, 25.0 * lanes * seconds / 30.0), Doubt::Volume),
        (outside(speed, 250.0), Doubt::Speed),
        (volume == Some(0.0) && speed.is_some_and(|speed| 0.0 < speed), Doubt::SpeedOfNone),
        (length().is_some_and(|length| !(3.0..=18.0).contains(&length)), Doubt::Length),
    ];
    found.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, doubt)| doubt).collect()
}

/// What a detector's day says of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
    };
    pub const RURAL: Thresholds = Thresholds { empty: 0.9, ..Thresholds::URBAN };
}

/// The verdict on a day of samples, each of `seconds`, of which so many were due; the first rule that holds.
pub fn daily(samples: &[Sample], due: usize, seconds: f64, thresholds: &Thresholds) -> Health {
    let share = |holds: &dyn Fn(f64, f64) -> bool| {
        let both = samples.iter().filter(|s| s.volume.zip(s.occupancy).is_some_and(|(n, occ)| holds(n, occ)));
        both.count() as f64 / samples.len().max(1) as f64
    };
    let heard = samples.iter().filter(|sample| sample.occupancy.or(sample.volume).is_some()).count();
    let longest = samples.chunk_by(|a, b| a.occupancy == b.occupancy);
    let longest = longest.filter(|same| same[0].occupancy.is_some_and(|occupancy| 0.0 < occupancy));
    let longest = longest.map(<[Sample]>::len).max().unwrap_or(0);
    let rules = [
        (heard == 0, Health::Silent),
        ((heard as f64) < thresholds.least * due as f64, Health::Insufficient),
        (thresholds.empty <= share(&|_, occupancy| occupancy == 0.0), Health::CardOff),
        (thresholds.high <= share(&|_, occupancy| thresholds.high_occupancy < occupancy), Health::High),
        (thresholds.occupied_without <= share(&|n, occ| n == 0.0 && 0.0 < occ), Health::Intermittent),
        (thresholds.counted_without <= share(&|n, occ| 0.0 < n && occ == 0.0), Health::Intermittent),
        (thresholds.constant_s <= longest as f64 * seconds, Health::Constant),
    ];
    rules.into_iter().find(|(holds, _)| *holds).map_or(Health::Good, |(_, health)| health)
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
    fn what_cannot_be_is_doubted() {
        let of = |volume, occupancy, speed| {
            doubts(
                &Sample { volume: Some(volume), occupancy: Some(occupancy), speed: Some(speed) },
                30.0,
                1.0,
            )
        };
        assert_eq!(of(10.0, 15.0, 50.0), []);
        assert_eq!(of(90.0, 101.0, 251.0), [Doubt::Occupancy, Doubt::Volume, Doubt::Speed, Doubt::Length]);
        assert_eq!(of(0.0, 0.0, 50.0), [Doubt::SpeedOfNone]);
        assert_eq!(of(20.0, 1.0, 50.0), [Doubt::Length]);
    }
}

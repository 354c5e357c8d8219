//! Stations: the detectors across a road at one place, and what they say together. Pure.

use std::ops::Range;

use super::{Settled, Steps, traffic};
use crate::model::{Kind, Series, Time};

/// A series of a detector, for as long as it was at its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Mounted {
    pub series: Series,
    pub valid: Range<Time>,
}

/// The detectors across a road at one place.
#[derive(Clone, PartialEq, Debug)]
pub struct Station {
    pub segment: String,
    pub direction: Option<String>,
    /// Metres from the begin of the segment.
    pub offset_m: f64,
    pub sensors: Vec<String>,
    /// Of each lane: passages, or vehicles of intervals.
    pub counts: Vec<Mounted>,
    /// Mean speeds of intervals.
    pub speeds: Vec<Mounted>,
    /// Percent.
    pub occupancies: Vec<Mounted>,
    /// Single vehicles, also where intervals are counted.
    pub passages: Vec<Mounted>,
}

impl Station {
    /// A name for people.
    pub fn name(&self) -> String {
        self.sensors.join("+")
    }

    /// The segment and direction that it speaks of.
    pub fn road(&self) -> (&str, Option<&str>) {
        (&self.segment, self.direction.as_deref())
    }

    /// Every series that it is made of; passages that are counted are there twice.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.mounted().map(|mounted| &mounted.series)
    }

    /// Those that were at their place at a time.
    pub fn series_at(&self, time: Time) -> impl Iterator<Item = &Series> {
        self.mounted().filter(move |mounted| mounted.valid.contains(&time)).map(|mounted| &mounted.series)
    }

    /// How many lanes, or detectors, counted one by one at a time.
    pub fn lanes_at(&self, time: Time) -> usize {
        self.counts.iter().filter(|count| count.valid.contains(&time)).count()
    }

    fn mounted(&self) -> impl Iterator<Item = &Mounted> {
        self.counts.iter().chain(&self.speeds).chain(&self.occupancies).chain(&self.passages)
    }

    /// Whether it says a speed of each of some buckets.
    pub fn says_speed(&self, steps: &Steps) -> bool {
        self.says(&self.speeds, steps)
    }

    /// Whether it says an occupancy of each of some buckets.
    pub fn says_occupancy(&self, steps: &Steps) -> bool {
        self.says(&self.occupancies, steps)
    }

    fn says(&self, own: &[Mounted], steps: &Steps) -> bool {
        let of_passages = self.counts.iter().any(|count| count.series.kind == Kind::Event);
        of_passages || !own.is_empty() && steps.check(own.iter().map(|mounted| &mounted.series)).is_ok()
    }

    /// What it measured in one bucket; `of` gives the bucket of a series. A series that was elsewhere then has no part in it.
    pub fn measured<'s>(&self, of: impl Fn(&Series) -> Option<&'s Settled>) -> Measured {
        let of = |mounted: &Mounted| {
            let settled = of(&mounted.series)?;
            let is_there = mounted.valid.contains(&settled.span.start);
            is_there.then_some((settled, mounted.series.kind))
        };
        let there = |mounted: &[Mounted]| mounted.iter().filter_map(&of).collect::<Vec<_>>();
        let v85 = beside(&there(&self.passages)).and_then(|all| traffic::speed_quantile(&all.state, 0.85));
        let measured = Measured::of(&there(&self.counts), &there(&self.speeds), &there(&self.occupancies));
        Measured { v85, ..measured }
    }
}

/// What a station measured in a bucket; nothing of a lane that was silent.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Measured {
    pub volume: Option<f64>,
    /// Vehicles an hour.
    pub flow: Option<f64>,
    /// Of passages with classes.
    pub passenger_cars: Option<f64>,
    /// Space-mean, km/h.
    pub speed: Option<f64>,
    /// Of single vehicles, where [`Station::passages`] are known; km/h.
    pub v85: Option<f64>,
    /// Percent.
    pub occupancy: Option<f64>,
    /// From 0 to 1, where anything says it.
    pub coverage: Option<f64>,
    /// `speed` follows from flow and occupancy: see [`single_loops`].
    pub is_estimated: bool,
}

/// A bucket of a series, and what its values are.
pub type Bucket<'s> = (&'s Settled, Kind);

impl Measured {
    /// What detectors beside each other say in one bucket: what counts vehicles, mean speeds, occupancies.
    pub fn of<'s>(counts: &[Bucket<'s>], speeds: &[Bucket<'s>], occupancies: &[Bucket<'s>]) -> Measured {
        let mut measured = Measured::default();
        let each = |(settled, kind): &Bucket<'s>| {
            Some((traffic::volume(settled, *kind)?, traffic::measured_flow(settled, *kind)?))
        };
        let lanes: Option<Vec<(f64, f64)>> = counts.iter().map(each).collect();
        // A lane that was silent did not count zero.
        if let Some(lanes) = lanes.filter(|lanes| !lanes.is_empty()) {
            measured.volume = Some(lanes.iter().map(|(volume, _)| volume).sum());
            measured.flow = Some(lanes.iter().map(|(_, flow)| flow).sum());
        }
        let all = beside(counts);
        measured.coverage = all.as_ref().filter(|all| 0 < all.covered).map(Settled::coverage);
        let is_event = counts.iter().any(|(_, kind)| *kind == Kind::Event);
        if is_event && let Some(all) = &all {
            measured.speed = traffic::space_mean_speed(&all.state, Kind::Event);
            measured.occupancy = traffic::occupancy(all, all.measured_s(Kind::Event));
            measured.passenger_cars = traffic::passenger_cars(&all.state, traffic::pcu);
        }
        if let Some(speeds) = beside(speeds) {
            measured.speed = traffic::space_mean_speed(&speeds.state, Kind::Rate).or(measured.speed);
        }
        let occupancies: Vec<f64> = occupancies.iter().filter_map(|(settled, _)| mean(settled)).collect();
        if !occupancies.is_empty() {
            measured.occupancy = Some(occupancies.iter().sum::<f64>() / occupancies.len() as f64);
        }
        measured
    }

    /// Vehicles a kilometre, of all lanes.
    pub fn density(&self) -> Option<f64> {
        self.flow.zip(self.speed).map(|(flow, speed)| traffic::density(flow, speed))
    }
}

/// The same bucket of some series together.
pub(super) fn beside(some: &[Bucket<'_>]) -> Option<Settled> {
    Settled::beside(some.iter().map(|(settled, _)| (*settled).clone()).collect())
}

fn mean(settled: &Settled) -> Option<f64> {
    let values = settled.state.values.as_ref()?;
    Some(values.total() / settled.state.count as f64)
}

/// Of a vehicle on a loop, in metres, where a station says nothing better: 22 ft (PeMS).
const EFFECTIVE_LENGTH_M: f64 = 6.7;

/// Estimates the speeds of a station of so many lanes that counts and measures occupancy, but no speed: by the effective
/// length of its own vehicles, where the speed in free flow is known.
pub fn single_loops(measured: &mut [Measured], lanes: usize, free_flow_speed: Option<f64>) {
    if lanes == 0 || measured.iter().any(|bucket| bucket.speed.is_some()) {
        return;
    }
    let flow = |bucket: &Measured| Some((bucket.flow? / lanes as f64, bucket.occupancy?));
    let intervals: Vec<(f64, f64)> = measured.iter().filter_map(flow).collect();
    let own = free_flow_speed.and_then(|free| traffic::effective_length_m(&intervals, free));
    let length_m = own.unwrap_or(EFFECTIVE_LENGTH_M);
    for bucket in measured {
        bucket.speed = flow(bucket)
            .and_then(|(flow, occupancy)| traffic::speed_of_single_loop(flow, occupancy, length_m));
        bucket.is_estimated = bucket.speed.is_some();
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{measure::Width, model::SeriesId};

    #[test]
    fn a_loop_without_a_speed_has_an_estimated_one() {
        let at = |flow: f64, occupancy: f64| Measured {
            flow: Some(flow),
            occupancy: Some(occupancy),
            ..Measured::default()
        };
        // Two lanes at 100 km/h, vehicles 5 m long with the loop: 1 % for 200 vehicles an hour and lane. 12 % for 600 are a
        // quarter as fast.
        let mut free: Vec<Measured> = (1..10).map(f64::from).map(|busy| at(400.0 * busy, busy)).collect();
        free.push(at(1_200.0, 12.0));
        let mut known = free.clone();
        single_loops(&mut free, 2, Some(100.0));
        let speeds: Vec<f64> = [0, 9].map(|at| free[at].speed.unwrap().round()).into();
        assert_eq!((speeds, free[0].is_estimated), (vec![100.0, 25.0], true));
        known[0].speed = Some(90.0);
        single_loops(&mut known, 2, Some(100.0));
        assert_eq!((known[1].speed, known[0].is_estimated), (None, false));
    }

    #[test]
    fn what_a_station_says_fits_into_buckets() {
        let steps = |seconds: i64| {
            let hour = Time::from_micros(0)..Time::from_micros(3_600_000_000);
            Steps::of(&hour, Width::Micros(1_000_000 * seconds), &TimeZone::UTC).unwrap()
        };
        let mounted = |id: i32, kind: Kind, interval_s: Option<u32>| Mounted {
            series: Series::new(SeriesId(id), kind, "", interval_s),
            valid: Time::from_micros(0)..Time::from_micros(1),
        };
        let loops = Station {
            segment: "a".to_owned(),
            direction: None,
            offset_m: 0.0,
            sensors: Vec::new(),
            counts: vec![mounted(1, Kind::Total, Some(60))],
            speeds: vec![mounted(2, Kind::Rate, Some(300))],
            occupancies: Vec::new(),
            passages: Vec::new(),
        };
        assert!(loops.says_speed(&steps(300)) && !loops.says_speed(&steps(60)));
        assert!(!loops.says_occupancy(&steps(300)), "it measures none");
        let single = Station { counts: vec![mounted(3, Kind::Event, None)], ..loops };
        assert!(single.says_speed(&steps(60)) && single.says_occupancy(&steps(60)));
        let at = |micros: i64| single.series_at(Time::from_micros(micros)).count();
        assert_eq!((at(0), at(1)), (2, 0));
    }
}

//! Single sensors where they stand: what a detector of traffic says in a bucket, and what a meter counts. Pure.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Settled,
    station::{Bucket, Measured, beside},
    traffic::{self, Speeds},
    zone,
};
use crate::model::{Kind, Series, Time};

/// A sensor of traffic at its place, for as long as it stood there; one that names directions is one of each.
#[derive(Clone, PartialEq, Debug)]
pub struct Detector {
    pub sensor: String,
    pub segment: Option<String>,
    pub direction: Option<String>,
    pub lane: Option<i32>,
    pub valid: Range<Time>,
    /// Passages, or vehicles of intervals, of each of its lanes.
    pub counts: Vec<Series>,
    /// Mean speeds of intervals.
    pub speeds: Vec<Series>,
    /// Percent.
    pub occupancies: Vec<Series>,
    /// Single vehicles, also where intervals are counted.
    pub passages: Vec<Series>,
}

/// What a detector says of one bucket.
#[derive(Clone, PartialEq, Debug)]
pub struct Said {
    /// As of a station of its own.
    pub measured: Measured,
    /// Share of the bucket that was observed, from 0 to 1, where anything says it.
    pub coverage: Option<f64>,
    /// Of one lane, in seconds.
    pub headway_s: Option<f64>,
    /// Vehicles a kilometre, of all its lanes.
    pub density: Option<f64>,
    /// Of intervals where it has them, as the space-mean speed; its quantiles of single vehicles where it sees them.
    pub speeds: Speeds,
    /// Of single vehicles.
    pub passenger_cars: Option<f64>,
    /// Single vehicles by class; `None` where it sees none.
    pub classes: Option<BTreeMap<String, i64>>,
    /// Of what it counts: readings that came late.
    pub late: i64,
}

impl Detector {
    /// Every series that it is made of, each once.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        let is_counted = |series: &&Series| self.counts.iter().any(|count| count.id == series.id);
        let passages = self.passages.iter().filter(move |series| !is_counted(series));
        self.counts.iter().chain(&self.speeds).chain(&self.occupancies).chain(passages)
    }

    /// What it says in one bucket; `of` gives the bucket of a series.
    pub fn said<'s>(&self, of: impl Fn(&Series) -> Option<&'s Settled>) -> Said {
        let buckets = |some: &[Series]| -> Vec<Bucket<'s>> {
            some.iter().filter_map(|series| Some((of(series)?, series.kind))).collect()
        };
        let (counts, intervals) = (buckets(&self.counts), buckets(&self.speeds));
        let measured = Measured::of(&counts, &intervals, &buckets(&self.occupancies));
        let passages = beside(&buckets(&self.passages));
        let of_passages = passages.as_ref().map(|all| Speeds::of(&all.state, Kind::Event));
        let of_intervals = beside(&intervals).map(|all| Speeds::of(&all.state, Kind::Rate));
        let means =
            of_intervals.filter(|speeds| speeds.space_mean.is_some()).or(of_passages).unwrap_or_default();
        let quantiles =
            of_passages.filter(|speeds| speeds.v50.is_some()).or(of_intervals).unwrap_or_default();
        let kind = counts.first().map_or(Kind::Event, |(_, kind)| *kind);
        let lanes = counts.len() as f64;
        Said {
            measured,
            coverage: beside(&counts).and_then(|all| all.said_coverage(kind)),
            headway_s: measured.flow.and_then(|flow| traffic::headway_s(flow / lanes)),
            density: measured.density(),
            speeds: Speeds { time_mean: means.time_mean, space_mean: means.space_mean, ..quantiles },
            passenger_cars: passages
                .as_ref()
                .and_then(|all| traffic::passenger_cars(&all.state, traffic::pcu)),
            classes: passages.filter(|all| 0 < all.state.count).map(|all| traffic::classes(&all.state)),
            late: counts.iter().map(|(settled, _)| settled.state.late).sum(),
        }
    }
}

/// A series that counts what is used, at the place of its sensor, for as long as it was there.
#[derive(Clone, PartialEq, Debug)]
pub struct Usage {
    pub sensor: String,
    pub metric: String,
    pub zone: Option<String>,
    pub role: Option<String>,
    pub series: Series,
    pub valid: Range<Time>,
}

impl Usage {
    /// What was used in one bucket, and how much an hour; the second is not known where a register is spread over a gap.
    pub fn used(&self, settled: &Settled) -> (Option<f64>, Option<f64>) {
        let kind = self.series.kind;
        let an_hour = |amount: f64| 3_600.0 * amount / settled.seconds();
        (zone::amount(settled, kind), zone::observed(settled, kind).map(an_hour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::settle,
        model::{Passage, Quality, SeriesId, State, state::Inside},
    };

    /// One bucket of a minute, of these values; of passages they are speeds in km/h.
    fn minute(series: &Series, values: &[f64]) -> Settled {
        let span = Time::from_micros(0)..Time::from_micros(60_000_000);
        let mut state = State::default();
        for (second, value) in (0..).zip(values) {
            let passage = Passage {
                id: second,
                speed_kmh: Some(*value),
                length_m: None,
                on_time_s: None,
                class: Some("car".into()),
                tags: None,
            };
            let is_event = series.kind == Kind::Event;
            let inside = Inside {
                time: Time::from_micros(second * 1_000_000),
                value: if is_event { 1.0 } else { *value },
                quality: Quality::GOOD,
                passage: is_event.then_some(&passage),
                volume: None,
            };
            state.add(&inside, span.end, &series.arithmetic);
        }
        settle(std::slice::from_ref(&span), &[(span.clone(), state)], &series.arithmetic).remove(0)
    }

    fn series(id: i32, metric: &str, kind: Kind, interval_s: Option<u32>) -> Series {
        let series = Series::new(SeriesId(id), kind, "km/h", interval_s);
        Series { arithmetic: series.arithmetic.of(metric, "km/h"), ..series }
    }

    #[test]
    fn a_detector_says_what_its_series_say_together() {
        let volume = series(1, "traffic.volume", Kind::Total, Some(60));
        let speed = series(2, "traffic.speed.mean", Kind::Rate, Some(60));
        let vehicle = series(3, "traffic.vehicle", Kind::Event, None);
        let detector = Detector {
            sensor: "loop".to_owned(),
            segment: None,
            direction: None,
            lane: Some(1),
            valid: Time::from_micros(0)..Time::from_micros(i64::MAX),
            counts: vec![volume.clone()],
            speeds: vec![speed.clone()],
            occupancies: Vec::new(),
            passages: vec![vehicle.clone()],
        };
        let heard = [
            (volume.id, minute(&volume, &[3.0])),
            (speed.id, minute(&speed, &[60.0])),
            (vehicle.id, minute(&vehicle, &[30.0, 50.0, 50.0])),
        ];
        let of = |series: &Series| heard.iter().find(|(id, _)| *id == series.id).map(|(_, settled)| settled);
        let said = detector.said(of);
        assert_eq!((said.measured.volume, said.measured.flow), (Some(3.0), Some(180.0)));
        assert_eq!((said.coverage, said.headway_s, said.density), (Some(1.0), Some(20.0), Some(3.0)));
        assert_eq!((said.speeds.time_mean, said.measured.speed), (Some(60.0), Some(60.0)));
        let v50 = said.speeds.v50.unwrap();
        assert!((v50 - 50.0).abs() < 0.5, "of single vehicles: {v50}");
        assert_eq!(said.classes, Some(BTreeMap::from([("car".to_owned(), 3)])));
        assert_eq!(said.passenger_cars, Some(3.0));

        let silent = [&volume, &speed, &vehicle].map(|series| (series.id, minute(series, &[])));
        let of = |series: &Series| silent.iter().find(|(id, _)| *id == series.id).map(|(_, settled)| settled);
        let said = detector.said(of);
        assert_eq!((said.measured.volume, said.coverage, said.classes), (None, Some(0.0), None));
        assert_eq!((said.speeds, said.headway_s, said.passenger_cars), (Speeds::default(), None, None));
    }
}

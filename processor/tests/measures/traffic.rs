use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use processor::{
    aggregate::Entry,
    measure::{
        settle,
        traffic::{self, AadtMethod, NoAverage},
    },
    model::{Arithmetic, Kind, Passage, Quality, SeriesId, arithmetic::Meter},
};

use crate::{at, feed, rows, spans, states};

const MINUTE: i64 = 60_000_000;

/// What SUMO's own detectors said of an interval.
struct Interval {
    minute: usize,
    entered: i64,
    occupancy: f64,
    /// m/s; `None` where no vehicle passed.
    speed: Option<f64>,
}

fn intervals(xml: &str) -> BTreeMap<String, Vec<Interval>> {
    let mut all: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
    for line in xml.lines().filter(|line| line.trim_start().starts_with("<interval")) {
        let attribute = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
            rest.split_once('"').unwrap().0
        };
        let number = |name: &str| attribute(name).parse::<f64>().unwrap();
        all.entry(attribute("id").to_owned()).or_default().push(Interval {
            minute: (number("begin") / 60.0) as usize,
            entered: number("nVehEntered") as i64,
            occupancy: number("occupancy"),
            speed: Some(number("speed")).filter(|speed| 0.0 <= *speed),
        });
    }
    all
}

#[test]
fn sumo_grid_passages_are_what_its_detectors_counted() {
    let (Some(events), Some(xml)) = (feed("sumo-grid/vehicle_events.csv.gz"), feed("sumo-grid/e1.xml"))
    else {
        return;
    };
    let mut passages: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for (id, row) in (0..).zip(rows(&events)) {
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        let time = at(number(3));
        let passage = Passage {
            id,
            speed_kmh: Some(number(5) * 3.6),
            length_m: Some(number(6)),
            on_time_s: Some(number(4) - number(3)),
            class: Some(row[2].into()),
            tags: None,
        };
        passages.entry(row[0].to_owned()).or_default().push(Entry {
            series: SeriesId(1),
            bucket: time.floor(MINUTE),
            time,
            value: 1.0,
            quality: Quality::GOOD,
            passage: Some(Box::new(passage)),
        });
    }
    let arithmetic = Arithmetic::new(Kind::Event, None, None, Meter::default());
    let (mut total, mut compared) = (0, 0);
    let (mut occupancies, mut speeds): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for (detector, intervals) in intervals(&xml) {
        let states = states(passages.remove(&detector).unwrap_or_default(), MINUTE, arithmetic);
        let settled = settle(&spans(at(0.0), MINUTE, 90), &states, &arithmetic);
        for Interval { minute, entered, occupancy, speed } in intervals {
            let bucket = &settled[minute];
            total += bucket.state.count;
            compared += 1;
            assert!((bucket.state.count - entered).abs() <= 1, "{detector} {minute}");
            let ours = traffic::occupancy(bucket, 60.0).unwrap_or(0.0);
            occupancies.push((ours - occupancy).abs());
            if let (Some(speed), Some(ours)) = (speed, traffic::time_mean_speed(&bucket.state, Kind::Event)) {
                speeds.push((ours / 3.6 - speed).abs());
            }
        }
    }
    assert_eq!((total, compared), (11_063, 4_320));
    let mean = occupancies.iter().sum::<f64>() / occupancies.len() as f64;
    let worst = occupancies.iter().copied().fold(0.0, f64::max);
    speeds.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| speeds[(speeds.len() as f64 * share) as usize];
    eprintln!(
        "occupancy: mean {mean:.4}, worst {worst:.3}; speed: median {:.4}, p95 {:.3}",
        quantile(0.5),
        quantile(0.95)
    );
    assert!(mean <= 0.05 && worst <= 1.7, "{mean} {worst}");
    assert!(quantile(0.5) <= 0.06 && quantile(0.95) <= 0.6, "{} {}", quantile(0.5), quantile(0.95));
}

/// Hours of a year of the interstate; one whose volume is empty is missing.
fn i94(year: i16) -> Option<BTreeMap<DateTime, Option<f64>>> {
    let text = feed("i94-hourly/traffic_hourly.csv.gz")?;
    let hours = rows(&text).map(|row| {
        let at: DateTime = row[0].parse().unwrap();
        (at, row[5].parse::<f64>().ok())
    });
    Some(hours.filter(|(at, _)| at.year() == year).collect())
}

fn complete_days(hours: &BTreeMap<DateTime, Option<f64>>) -> Vec<(Date, f64)> {
    let mut days: BTreeMap<Date, Vec<Option<f64>>> = BTreeMap::new();
    hours.iter().for_each(|(at, volume)| days.entry(at.date()).or_default().push(*volume));
    let complete = days.into_iter().filter_map(|(day, hours)| {
        let whole = hours.len() == 24;
        hours.into_iter().sum::<Option<f64>>().filter(|_| whole).map(|volume| (day, volume))
    });
    complete.collect()
}

#[test]
fn i94_has_its_annual_averages_and_its_thirtieth_hour() {
    let Some(hours) = i94(2017) else { return };
    let days = complete_days(&hours);
    let simple = traffic::aadt(&days, AadtMethod::SimpleMean).unwrap();
    assert_eq!((days.len(), (simple * 10.0).round() / 10.0), (344, 80_912.6));
    let weekday = traffic::aadt(&days, AadtMethod::Weekday).unwrap();
    let monthly = traffic::aadt(&days, AadtMethod::Monthly).unwrap();
    eprintln!("AADT 2017: {simple:.1} simple, {weekday:.1} by weekdays, {monthly:.1} by months");
    for other in [weekday, monthly] {
        assert!((other / simple - 1.0).abs() < 0.02, "{other}");
    }
    let volumes: Vec<f64> = hours.values().flatten().copied().collect();
    assert_eq!(traffic::nth_highest(&volumes, 1), Some(7_280.0));
    assert_eq!(traffic::nth_highest(&volumes, 30), Some(6_873.0));
    assert_eq!(traffic::k_factor(&volumes, 30, simple), Some(6_873.0 / simple));
}

#[test]
fn i94_knows_its_empty_hours_from_zero() {
    let (Some(a), Some(b), Some(c)) = (i94(2016), i94(2017), i94(2018)) else { return };
    let empty = |hours: &BTreeMap<_, Option<f64>>| hours.values().filter(|volume| volume.is_none()).count();
    assert_eq!(empty(&a) + empty(&b) + empty(&c), 104);
    // The busiest hour of a day, from its hours as four equal quarters.
    let day: Vec<Option<f64>> = a.values().take(24).copied().collect();
    let total: f64 = day.iter().flatten().sum();
    assert_eq!(total, 68_254.0);
    let quarters: Vec<Option<f64>> =
        day.iter().flat_map(|hour| [hour.map(|volume| volume / 4.0); 4]).collect();
    let peak = traffic::peak_hour(&quarters).unwrap();
    let highest = day.iter().flatten().copied().fold(0.0, f64::max);
    assert_eq!((peak.volume, peak.factor, peak.at % 4), (highest, 1.0, 0));
}

#[test]
fn two_months_of_weekdays_are_no_year() {
    let Some(text) = feed("pems-station/flow_5min_a.csv") else { return };
    let mut days: BTreeMap<Date, f64> = BTreeMap::new();
    for row in rows(&text) {
        let (date, _) = row[0].split_once(' ').unwrap();
        let parts: Vec<i16> = date.split('/').map(|part| part.parse().unwrap()).collect();
        *days.entry(Date::constant(parts[2], parts[1] as i8, parts[0] as i8)).or_default() +=
            row[1].parse::<f64>().unwrap();
    }
    let days: Vec<(Date, f64)> = days.into_iter().collect();
    assert_eq!(days[0].1, 18_545.0);
    let refused = traffic::aadt(&days, AadtMethod::Monthly).unwrap_err();
    assert_eq!(refused, NoAverage::Months { months: 0 });
    assert!(refused.to_string().contains("0 months of 12"), "{refused}");
    assert!(matches!(traffic::aadt(&days, AadtMethod::Weekday), Err(NoAverage::Weekday { .. })));
    assert!(traffic::aadt(&days, AadtMethod::SimpleMean).is_ok());
}

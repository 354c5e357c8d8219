use std::{collections::BTreeMap, ops::Range};

use jiff::{civil::Date, tz::TimeZone};
use processor::{
    measure::{
        Settled, Steps,
        utility::{self, Balance, Night, NightRule, RegisterEvent, StuckRule},
        zone::{self, Amounts, Ledger, Role},
    },
    model::{Arithmetic, Fixed, Kind, Quality, Time, arithmetic::Meter, bucket::FIVE_MINUTES, bucket::HOUR},
};

use crate::{feed, rows, settled, spans, time};

const HOURS: usize = 168;

struct Metered {
    hours: Vec<Settled>,
    quarters: Vec<Settled>,
    resolution: f64,
    is_customer: bool,
}

struct Network {
    meters: BTreeMap<String, Metered>,
    /// Hours whose two border readings arrived.
    borders: BTreeMap<String, Vec<bool>>,
    truth: BTreeMap<String, Vec<f64>>,
    /// inflow and what stays in the tanks, by hour.
    balance: Vec<(f64, f64)>,
}

fn network() -> Option<Network> {
    let begin = time("2024-01-01T00:00:00Z");
    let hour_of = |at: Time| usize::try_from((at.micros() - begin.micros()) / HOUR).unwrap();
    let mut readings: BTreeMap<String, BTreeMap<i64, (f64, Quality)>> = BTreeMap::new();
    for row in rows(&feed("wntr-net3/readings.csv.gz")?) {
        let of_meter = readings.entry(row[2].to_owned()).or_default();
        let (received, observed) = (time(&row[0]).micros(), time(&row[1]).micros());
        // As ingest flags it: a quarter of an hour.
        let late = 900_000_000 < received - observed;
        let quality = if late { Quality::LATE } else { Quality::GOOD };
        of_meter.entry(observed).or_insert_with(|| (row[3].parse().unwrap(), quality));
    }
    let mut network = Network {
        meters: BTreeMap::new(),
        borders: BTreeMap::new(),
        truth: BTreeMap::new(),
        balance: Vec::new(),
    };
    for row in rows(&feed("wntr-net3/meters.csv")?) {
        let number = |column: usize| row[column].parse::<f64>().ok();
        let meter = Meter { modulus: number(3), resolution: number(4), max_rate: None };
        let arithmetic = Arithmetic::new(Kind::Counter, row[5].parse().ok(), None, meter);
        let own = &readings[&row[0]];
        let of = |spans: &[Range<Time>]| {
            settled(
                own.iter().map(|(at, (value, quality))| (Time::from_micros(*at), *value, *quality)),
                FIVE_MINUTES,
                spans,
                arithmetic,
            )
        };
        let metered = Metered {
            hours: of(&spans(begin, HOUR, HOURS as i64)),
            quarters: of(&spans(begin, HOUR / 4, 4 * HOURS as i64)),
            resolution: number(4).unwrap(),
            is_customer: &row[1] == "customer",
        };
        let border = |hour: usize| own.contains_key(&(begin.micros() + hour as i64 * HOUR));
        network.borders.insert(row[0].to_owned(), (0..HOURS).map(|h| border(h) && border(h + 1)).collect());
        network.meters.insert(row[0].to_owned(), metered);
    }
    for row in rows(&feed("wntr-net3/truth_hourly_m3.csv.gz")?) {
        let of_meter = network.truth.entry(row[1].to_owned()).or_insert_with(|| vec![0.0; HOURS]);
        of_meter[hour_of(time(&row[0]))] = row[2].parse().unwrap();
    }
    for row in rows(&feed("wntr-net3/truth_balance_hourly_m3.csv")?) {
        network.balance.push((row[1].parse().unwrap(), row[2].parse().unwrap()));
    }
    Some(network)
}

fn counted(hours: &[Settled]) -> Vec<Option<f64>> {
    hours.iter().map(|hour| hour.counted.map(|counted| counted.to_f64())).collect()
}

#[test]
fn wntr_registers_are_the_truth_where_their_borders_arrived() {
    let Some(network) = network() else { return };
    let (mut whole, mut wrong) = (0, Vec::new());
    for (meter, Metered { hours, resolution, .. }) in &network.meters {
        for (hour, settled) in hours.iter().enumerate() {
            let counted = settled.counted.map_or(f64::NAN, |counted| counted.to_f64());
            if network.borders[meter][hour] {
                whole += 1;
                if resolution + 1e-6 < (counted - network.truth[meter][hour]).abs() {
                    wrong.push((meter.as_str(), hour));
                }
            } else {
                assert!(settled.is_partial || settled.counted.is_none(), "{meter} {hour}");
            }
        }
    }
    assert_eq!(whole, 10_043);
    // What stuck, and the hour of a small step back.
    let mut meters: Vec<&str> = wrong.iter().map(|(meter, _)| *meter).collect();
    meters.retain(|meter| *meter != "WM-117");
    eprintln!("{} hours of WM-117 after it stuck, and {meters:?}", wrong.len() - meters.len());
    assert!(meters.is_empty() || meters == ["WM-105"], "{wrong:?}");
}

#[test]
fn wntr_events_are_named() {
    let Some(network) = network() else { return };
    let of =
        |meter: &str| utility::register_events(&network.meters[meter].quarters, 900, StuckRule::default());
    let found = |event: RegisterEvent| -> Vec<&str> {
        let meters = network.meters.keys().filter(|meter| of(meter).iter().any(|(other, _)| *other == event));
        meters.map(String::as_str).collect()
    };
    assert_eq!(found(RegisterEvent::Rollover), ["WM-119"]);
    assert_eq!(found(RegisterEvent::Reset), ["WM-151"]);
    assert_eq!(found(RegisterEvent::StepBack), ["WM-105"]);
    assert_eq!(found(RegisterEvent::Jump), [""; 0]);
    assert_eq!(found(RegisterEvent::Stuck), ["WM-117"]);
    assert!(found(RegisterEvent::Late).contains(&"WM-103"), "{:?}", found(RegisterEvent::Late));
    let span = |meter: &str, event: RegisterEvent| {
        let spans = of(meter).into_iter().filter(|(other, _)| *other == event).map(|(_, span)| span);
        spans.max_by_key(|span| span.end.micros() - span.start.micros()).unwrap()
    };
    assert_eq!(span("WM-117", RegisterEvent::Stuck).start, time("2024-01-05T21:30:00Z"));
    assert_eq!(span("WM-105", RegisterEvent::StepBack).start, time("2024-01-04T03:30:00Z"));
    let gap = span("WM-111", RegisterEvent::Gap);
    assert!(gap.start <= time("2024-01-03T02:15:00Z") && time("2024-01-03T14:15:00Z") <= gap.end, "{gap:?}");
}

fn of(role: Role, of_step: Vec<Option<f64>>) -> Amounts {
    Amounts { role, valid: Time::from_micros(i64::MIN)..Time::from_micros(i64::MAX), of_step }
}

fn week(seconds: u32) -> Steps {
    let period = time("2024-01-01T00:00:00Z")..time("2024-01-08T00:00:00Z");
    Steps::of_days(&period, seconds, &TimeZone::UTC).unwrap()
}

/// Water per day that is not billed, in percent of what came in: as observed, and with what was imputed.
fn non_revenue(network: &Network) -> [Vec<f64>; 2] {
    let mut ledger = Ledger::default();
    let (hours, quarters) = (week(3_600), week(900));
    let hourly = |of: fn(&(f64, f64)) -> f64| -> Vec<Option<f64>> {
        network.balance.iter().map(|hour| Some(of(hour))).collect()
    };
    ledger.add(&hours, &of(Role::Inlet, hourly(|(inflow, _)| *inflow)));
    ledger.add(&hours, &of(Role::Storage, hourly(|(_, stored)| *stored)));
    for metered in network.meters.values().filter(|metered| metered.is_customer) {
        ledger.add(&quarters, &of(Role::Customer, counted(&metered.quarters)));
    }
    let percent = |balance: Option<Balance>| balance.unwrap().non_revenue().unwrap();
    [
        ledger.days().map(|day| percent(day.balance())).collect(),
        ledger.days().map(|day| percent(day.completed())).collect(),
    ]
}

#[test]
fn wntr_loses_what_leaks() {
    let Some(network) = network() else { return };
    let expected = [[0.0, 0.0, 0.0, 6.0, 8.1, 11.4, 11.4], [0.0, 0.0, 0.0, 6.0, 7.8, 7.8, 7.8]];
    for (found, expected) in non_revenue(&network).into_iter().zip(expected) {
        eprintln!("non-revenue water, percent: {found:.2?}");
        assert!(
            found.iter().zip(expected).all(|(ours, theirs): (&f64, f64)| (ours - theirs).abs() <= 0.1),
            "{found:?}"
        );
    }
}

#[test]
fn wntr_alarms_on_the_night_after_the_leak() {
    let Some(network) = network() else { return };
    let steps = week(3_600);
    let net: Vec<Option<f64>> =
        network.balance.iter().map(|(inflow, stored)| Some(inflow - stored)).collect();
    let nights = zone::nights(&steps, &net, NightRule::default());
    let alarms: Vec<&Night> = nights.iter().filter(|night| night.is_alarm).collect();
    assert_eq!(alarms[0].night, Date::constant(2024, 1, 5), "{nights:?}");
    eprintln!("{:?}", alarms[0]);
}

#[test]
fn a_week_is_the_same_at_any_width() {
    let Some(network) = network() else { return };
    for (meter, Metered { hours, quarters, .. }) in &network.meters {
        let total = |buckets: &[Settled]| {
            buckets.iter().filter_map(|bucket| bucket.counted).fold(Fixed::ZERO, |sum, counted| sum + counted)
        };
        assert_eq!(total(hours), total(quarters), "{meter}");
    }
}

//! Zones of a network: what comes in, what stays, what customers' meters counted, and what is missing. Pure.

use std::{collections::BTreeMap, ops::Range};

use jiff::{
    civil::{Date, Time as Clock},
    tz::TimeZone,
};

use super::{
    Settled, impute, traffic,
    utility::{self, Balance, Night, NightRule},
};
use crate::model::{Kind, Series, Time};

/// What a meter is to its zone: the field `role` of its sensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// What comes into the zone.
    Inlet,
    /// What leaves it for another zone.
    Export,
    /// What its tanks took up; negative where they emptied.
    Storage,
    Customer,
}

impl Role {
    /// Of the registry's word; other words are of no account here.
    pub fn of(word: &str) -> Option<Role> {
        match word {
            "inlet" => Some(Role::Inlet),
            "export" => Some(Role::Export),
            "storage" => Some(Role::Storage),
            "customer" => Some(Role::Customer),
            _ => None,
        }
    }
}

/// A meter of a zone.
#[derive(Clone, PartialEq, Debug)]
pub struct Meter {
    pub sensor: String,
    pub role: Role,
    pub series: Series,
}

/// What a meter counted in one bucket; of a register between its readings, spread evenly.
pub fn amount(settled: &Settled, kind: Kind) -> Option<f64> {
    match kind {
        Kind::Counter => settled.counted.map(|counted| counted.to_f64()),
        _ => traffic::volume(settled, kind),
    }
}

/// The steps of a zone, and the local day of each.
#[derive(Clone, Debug)]
pub struct Steps {
    pub spans: Vec<Range<Time>>,
    pub seconds: u32,
    pub zone: TimeZone,
}

impl Steps {
    fn day(&self, step: usize) -> Date {
        self.zone.to_datetime(self.spans[step].start.timestamp()).date()
    }

    fn clock(&self, step: usize) -> Clock {
        self.zone.to_datetime(self.spans[step].start.timestamp()).time()
    }
}

/// The water of a zone on one local day.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Day {
    pub day: Date,
    /// Of what was observed. `None`: an inlet, an export or a tank was silent.
    pub balance: Option<Balance>,
    /// What customers' meters that were silent or stuck would have counted: an estimate, beside `balance.metered`.
    pub imputed: f64,
    /// Steps of customers' meters of which nothing is known and nothing was estimated.
    pub unknown: u64,
}

impl Day {
    fn new(day: Date) -> Day {
        Day { day, balance: Some(Balance::default()), imputed: 0.0, unknown: 0 }
    }

    /// The balance with what was imputed.
    pub fn completed(&self) -> Option<Balance> {
        self.balance.map(|balance| Balance { metered: balance.metered + self.imputed, ..balance })
    }
}

/// The daily balances of a zone, taken in meter by meter.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    days: BTreeMap<Date, Day>,
}

impl Ledger {
    /// Takes in what a meter counted in each step: as narrow as its own readings, so that a register that sticks is
    /// estimated from there on, and not from the next hour.
    pub fn add(&mut self, role: Role, steps: &Steps, amounts: &[Option<f64>]) {
        let imputed = match role {
            Role::Customer => estimates(amounts, steps.seconds),
            _ => vec![None; amounts.len()],
        };
        for (step, (amount, imputed)) in amounts.iter().zip(imputed).enumerate() {
            let date = steps.day(step);
            let day = self.days.entry(date).or_insert_with(|| Day::new(date));
            day.imputed += imputed.unwrap_or(0.0);
            match (role, amount, &mut day.balance) {
                (Role::Customer, Some(amount), Some(balance)) => balance.metered += amount,
                (Role::Inlet, Some(amount), Some(balance)) => balance.inflow += amount,
                (Role::Export, Some(amount), Some(balance)) => balance.export += amount,
                (Role::Storage, Some(amount), Some(balance)) => balance.stored += amount,
                (Role::Customer, None, _) => day.unknown += u64::from(imputed.is_none()),
                (_, None, balance) => *balance = None,
                (_, Some(_), None) => {}
            }
        }
    }

    /// The days, in order.
    pub fn days(&self) -> impl Iterator<Item = &Day> {
        self.days.values()
    }
}

/// What a customer's meter would have counted where it was silent or stuck.
fn estimates(amounts: &[Option<f64>], step_s: u32) -> Vec<Option<f64>> {
    let a_day = (86_400 / step_s.clamp(1, 86_400)) as usize;
    let imputed = impute::impute(&impute::unstuck(amounts, step_s), &[], a_day);
    imputed.into_iter().map(|imputed| imputed.map(|imputed| imputed.value)).collect()
}

/// The hours of a night in which customers use least: 02:00 to 04:00 local time.
const NIGHT: Range<i8> = 2..4;

/// The nights of a zone, from the net inflow of each step: inflow - export - d(storage).
pub fn nights(steps: &Steps, net: &[Option<f64>], rule: NightRule) -> Vec<Night> {
    let mut flows: Vec<(Date, Vec<Option<f64>>)> = Vec::new();
    for (step, net) in net.iter().enumerate().take(steps.spans.len()) {
        if NIGHT.contains(&steps.clock(step).hour()) {
            match flows.last_mut().filter(|(day, _)| *day == steps.day(step)) {
                Some((_, night)) => night.push(*net),
                None => flows.push((steps.day(step), vec![*net])),
            }
        }
    }
    let minimum = |(day, night): &(Date, Vec<Option<f64>>)| {
        let whole = night.iter().all(Option::is_some);
        (*day, utility::minimum_night_flow(night, steps.seconds).filter(|_| whole))
    };
    let flows: Vec<(Date, Option<f64>)> = flows.iter().map(minimum).collect();
    utility::night_alarms(&flows, rule)
}

/// What came into a zone and stayed in no tank, by step; unknown where one of the meters was silent.
pub fn net_inflow(meters: &[(Role, Vec<Option<f64>>)], steps: usize) -> Vec<Option<f64>> {
    let sign = |role: Role| match role {
        Role::Inlet => 1.0,
        Role::Export | Role::Storage => -1.0,
        Role::Customer => 0.0,
    };
    let of = |role: &Role| *role != Role::Customer;
    let at = |step: usize| {
        let amounts = meters.iter().filter(|(role, _)| of(role));
        let mut amounts =
            amounts.map(|(role, amounts)| Some(sign(*role) * (*amounts.get(step)?)?)).peekable();
        amounts.peek()?;
        amounts.sum::<Option<f64>>()
    };
    (0..steps).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bucket::HOUR;

    fn hours(days: i64) -> Steps {
        let spans = (0..24 * days).map(|h| Time::from_micros(h * HOUR)..Time::from_micros((h + 1) * HOUR));
        Steps { spans: spans.collect(), seconds: 3_600, zone: TimeZone::UTC }
    }

    #[test]
    fn a_silent_meter_is_estimated_beside() {
        let (mut ledger, steps) = (Ledger::default(), hours(3));
        ledger.add(Role::Inlet, &steps, &vec![Some(10.0); 72]);
        ledger.add(Role::Storage, &steps, &vec![Some(-1.0); 72]);
        let mut customer = vec![Some(9.0); 72];
        customer[60] = None;
        ledger.add(Role::Customer, &steps, &customer);
        let days: Vec<Day> = ledger.days().copied().collect();
        assert_eq!(
            days.iter().map(|day| day.balance.unwrap().loss()).collect::<Vec<_>>(),
            [48.0, 48.0, 57.0]
        );
        assert_eq!((days[2].imputed, days[2].unknown), (9.0, 0));
        assert_eq!(days[2].completed().unwrap().loss(), 48.0);
        ledger.add(Role::Export, &steps, &[vec![Some(0.0); 30], vec![None; 42]].concat());
        let known: Vec<bool> = ledger.days().map(|day| day.balance.is_some()).collect();
        assert_eq!(known, [true, false, false]);
    }

    #[test]
    fn a_night_needs_its_steps() {
        let inflow: Vec<Option<f64>> = (0..5 * 24)
            .map(|hour| {
                (hour != 24 + 3).then_some(if hour / 24 == 4 { 9.0 } else { 5.0 + f64::from(hour % 2) })
            })
            .collect();
        let net = net_inflow(&[(Role::Inlet, inflow), (Role::Storage, vec![Some(1.0); 120])], 120);
        let rule = NightRule { baseline_least: 2, ..NightRule::default() };
        let nights = nights(&hours(5), &net, rule);
        let flows: Vec<Option<f64>> = nights.iter().map(|night| night.flow).collect();
        assert_eq!(flows, [Some(4.0), None, Some(4.0), Some(4.0), Some(8.0)]);
        let alarms: Vec<bool> = nights.iter().map(|night| night.is_alarm).collect();
        assert_eq!(alarms, [false, false, false, false, true]);
        assert_eq!(net_inflow(&[(Role::Customer, vec![Some(1.0)])], 1), [None]);
    }
}

//! Zones of a network: what comes in, what stays, what customers' meters counted, and what is missing. Pure.

use std::{collections::BTreeMap, fmt, ops::Range};

use jiff::civil::Date;

use super::{
    Settled, Steps, impute, traffic,
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

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Inlet => "inlet",
            Role::Export => "export",
            Role::Storage => "storage",
            Role::Customer => "customer",
        })
    }
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

/// A meter of a zone, for as long as it was there in its role.
#[derive(Clone, PartialEq, Debug)]
pub struct Meter {
    pub sensor: String,
    pub role: Role,
    pub series: Series,
    pub valid: Range<Time>,
}

/// What a meter counted in each step; `None` is not known.
#[derive(Clone, Debug)]
pub struct Amounts {
    pub role: Role,
    /// Steps that begin at other times are not of this zone.
    pub valid: Range<Time>,
    pub of_step: Vec<Option<f64>>,
}

/// A step of which less was observed says nothing of its whole.
pub(super) const OBSERVED_LEAST: f64 = 0.95;

/// What a meter counted in one bucket. Of a register between its readings, however far apart: so a total is kept. Nothing
/// where totals are missing.
pub fn amount(settled: &Settled, kind: Kind) -> Option<f64> {
    match kind {
        Kind::Counter => settled.counted.map(|counted| counted.to_f64()),
        // Without a heartbeat, passages are all that is known.
        Kind::Event if settled.covered == 0 => traffic::volume(settled, kind),
        // On a day of 23 hours, totals of 24 begin on the day before: then that day has two.
        _ => traffic::volume(settled, kind).filter(|_| {
            OBSERVED_LEAST <= settled.coverage() && settled.observed_s() <= settled.seconds() / OBSERVED_LEAST
        }),
    }
}

/// As [`amount`], but nothing of a register in a gap either: what is spread evenly has no nights and no peaks.
pub fn observed(settled: &Settled, kind: Kind) -> Option<f64> {
    amount(settled, kind).filter(|_| !settled.is_partial)
}

/// The water of a zone on one local day.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Day {
    pub day: Date,
    sums: Balance,
    /// An inlet spoke of it.
    has_inlet: bool,
    /// An inlet, an export or a tank was silent for some of it.
    has_gap: bool,
    /// What customers' meters that were silent or stuck would have counted: an estimate, beside what they did count.
    pub imputed: f64,
    /// Steps of customers' meters of which nothing is known and nothing was estimated.
    pub unknown: u64,
}

impl Day {
    /// Of what was observed. `None`: nothing is known of what came in, or an inlet, an export or a tank was silent.
    pub fn balance(&self) -> Option<Balance> {
        (self.has_inlet && !self.has_gap).then_some(self.sums)
    }

    /// The balance with what was imputed.
    pub fn completed(&self) -> Option<Balance> {
        self.balance().map(|balance| Balance { metered: balance.metered + self.imputed, ..balance })
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
    pub fn add(&mut self, steps: &Steps, amounts: &Amounts) {
        let Amounts { role, valid, of_step } = amounts;
        let imputed = match role {
            Role::Customer => estimates(of_step, steps),
            _ => vec![None; of_step.len()],
        };
        for (date, of_day) in steps.days() {
            let new = || Day {
                day: *date,
                sums: Balance::default(),
                has_inlet: false,
                has_gap: false,
                imputed: 0.0,
                unknown: 0,
            };
            let day = self.days.entry(*date).or_insert_with(new);
            for step in of_day.clone().filter(|step| valid.contains(&steps.spans[*step].start)) {
                let (amount, imputed) = (of_step[step], imputed[step]);
                day.imputed += imputed.unwrap_or(0.0);
                day.has_inlet |= *role == Role::Inlet;
                match (role, amount) {
                    (Role::Customer, Some(amount)) => day.sums.metered += amount,
                    (Role::Inlet, Some(amount)) => day.sums.inflow += amount,
                    (Role::Export, Some(amount)) => day.sums.export += amount,
                    (Role::Storage, Some(amount)) => day.sums.stored += amount,
                    (Role::Customer, None) => day.unknown += u64::from(imputed.is_none()),
                    (_, None) => day.has_gap = true,
                }
            }
        }
    }

    /// The days, in order.
    pub fn days(&self) -> impl Iterator<Item = &Day> {
        self.days.values()
    }
}

/// What a customer's meter would have counted where it was silent or stuck.
fn estimates(amounts: &[Option<f64>], steps: &Steps) -> Vec<Option<f64>> {
    let imputed = impute::impute(&impute::unstuck(amounts, steps.seconds), &[], &steps.slots());
    imputed.into_iter().map(|imputed| imputed.map(|imputed| imputed.value)).collect()
}

/// The hours of a night in which customers use least: 02:00 to 04:00 local time.
const NIGHT: Range<i8> = 2..4;

/// The nights of a zone, from the net inflow of each step: inflow - export - d(storage).
pub fn nights(steps: &Steps, net: &[Option<f64>], rule: NightRule) -> Vec<Night> {
    let flow = |(day, of_day): &(Date, Range<usize>)| {
        let at_night = of_day.clone().filter(|step| NIGHT.contains(&steps.clock(*step).hour()));
        let night: Vec<Option<f64>> = at_night.map(|step| net[step]).collect();
        let whole = night.iter().all(Option::is_some);
        (*day, utility::minimum_night_flow(&night, steps.seconds).filter(|_| whole))
    };
    let flows: Vec<(Date, Option<f64>)> = steps.days().iter().map(flow).collect();
    utility::night_alarms(&flows, rule)
}

/// What came into a zone and stayed in no tank, by step; unknown where one of the meters was silent, or where no inlet was
/// there.
pub fn net_inflow(steps: &Steps, meters: &[Amounts]) -> Vec<Option<f64>> {
    let at = |step: usize| {
        let (mut net, mut has_inlet) = (0.0, false);
        for Amounts { role, valid, of_step } in meters {
            if *role == Role::Customer || !valid.contains(&steps.spans[step].start) {
                continue;
            }
            has_inlet |= *role == Role::Inlet;
            net += of_step[step]? * if *role == Role::Inlet { 1.0 } else { -1.0 };
        }
        has_inlet.then_some(net)
    };
    (0..steps.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::bucket::HOUR;

    const ALWAYS: Range<Time> = Time::from_micros(i64::MIN)..Time::from_micros(i64::MAX);

    fn hours(days: i64) -> Steps {
        let period = Time::from_micros(0)..Time::from_micros(24 * days * HOUR);
        Steps::of_days(&period, 3_600, &TimeZone::UTC).unwrap()
    }

    fn of(role: Role, of_step: Vec<Option<f64>>) -> Amounts {
        Amounts { role, valid: ALWAYS, of_step }
    }

    #[test]
    fn a_silent_meter_is_estimated_beside() {
        let (mut ledger, steps) = (Ledger::default(), hours(3));
        let mut customer = vec![Some(9.0); 72];
        customer[60] = None;
        ledger.add(&steps, &of(Role::Customer, customer));
        assert!(ledger.days().all(|day| day.balance().is_none()), "what came in is not known");
        ledger.add(&steps, &of(Role::Inlet, vec![Some(10.0); 72]));
        ledger.add(&steps, &of(Role::Storage, vec![Some(-1.0); 72]));
        let days: Vec<Day> = ledger.days().copied().collect();
        let losses: Vec<f64> = days.iter().map(|day| day.balance().unwrap().loss()).collect();
        assert_eq!(losses, [48.0, 48.0, 57.0]);
        assert_eq!((days[2].imputed, days[2].unknown), (9.0, 0));
        assert_eq!(days[2].completed().unwrap().loss(), 48.0);
        ledger.add(&steps, &of(Role::Export, [vec![Some(0.0); 30], vec![None; 42]].concat()));
        let known: Vec<bool> = ledger.days().map(|day| day.balance().is_some()).collect();
        assert_eq!(known, [true, false, false]);
    }

    #[test]
    fn a_meter_counts_while_it_is_there() {
        let (mut ledger, steps) = (Ledger::default(), hours(2));
        ledger.add(&steps, &of(Role::Inlet, vec![Some(10.0); 48]));
        let moved = steps.spans[12].start..steps.spans[24].start;
        let amounts = Amounts { role: Role::Customer, valid: moved, of_step: vec![Some(10.0); 48] };
        ledger.add(&steps, &amounts);
        let losses: Vec<f64> = ledger.days().map(|day| day.balance().unwrap().loss()).collect();
        assert_eq!(losses, [120.0, 240.0]);
    }

    #[test]
    fn a_night_needs_its_steps() {
        let inflow: Vec<Option<f64>> = (0..5 * 24)
            .map(|hour| {
                (hour != 24 + 3).then_some(if hour / 24 == 4 { 9.0 } else { 5.0 + f64::from(hour % 2) })
            })
            .collect();
        let steps = hours(5);
        let net = net_inflow(&steps, &[of(Role::Inlet, inflow), of(Role::Storage, vec![Some(1.0); 120])]);
        let rule = NightRule { baseline_least: 2, ..NightRule::default() };
        let nights = nights(&steps, &net, rule);
        let flows: Vec<Option<f64>> = nights.iter().map(|night| night.flow).collect();
        assert_eq!(flows, [Some(4.0), None, Some(4.0), Some(4.0), Some(8.0)]);
        let alarms: Vec<bool> = nights.iter().map(|night| night.is_alarm).collect();
        assert_eq!(alarms, [false, false, false, false, true]);
        assert_eq!(net_inflow(&steps, &[of(Role::Customer, vec![Some(1.0); 120])])[0], None);
    }
}

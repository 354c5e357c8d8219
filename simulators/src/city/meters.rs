//! Registers of a district's meters, in whole litres and watt-hours: so what a network takes in and what its customers take
//! out can be compared to the last digit.
//!
//! A register is read at the ends of minutes. Between two of them its customer may have used a little earlier or later than
//! the mean would: the register stands somewhere between where the mean stood at this minute and will stand at the next, so
//! it never runs backwards.

use super::chance::Chance;
use super::demand::{Demand, Want};

pub const MINUTE_US: i64 = 60_000_000;
/// What a tank holds when it is half full, in litres; it has 10 m2, so a litre is a tenth of a millimetre.
const TANK_L: i64 = 25_000;
/// Losses of the district's net, in percent of what its customers take.
const LOSS_PERCENT: i64 = 4;

/// One customer's use.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    chance: Chance,
    want: Want,
    /// In litres or watt-hours an hour: the week's mean.
    mean_per_h: f64,
    /// Where the register stood at the beginning of time, so that meters do not all look alike.
    offset: i64,
}

impl Use {
    pub fn new(chance: Chance, want: Want, (low, high): (f64, f64)) -> Use {
        let mean_per_h = chance.of(1).between(low, high);
        let offset = chance.of(2).below(1_000_000) as i64 - (mean_per_h * 24.0 * 365.0 * 54.0) as i64;
        Use { chance: chance.of(3), want, mean_per_h, offset }
    }

    /// Where the mean stands, in whole units.
    fn mean(&self, demand: &Demand, minute: i64) -> f64 {
        demand.until(self.want, minute * MINUTE_US) * self.mean_per_h
    }

    /// Where the register stands at the end of a minute since 1970.
    pub fn register(&self, demand: &Demand, minute: i64) -> i64 {
        let (now, next) = (self.mean(demand, minute), self.mean(demand, minute + 1));
        let share = self.chance.of(minute as u64).share();
        (now + share * (next - now)).floor() as i64 + self.offset
    }

    /// Where it would stand if its customer used the same at all times.
    fn even(&self, minute: i64) -> f64 {
        minute as f64 / 60.0 * self.mean_per_h
    }
}

/// Something that takes place between two minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub to: i64,
}

impl Span {
    /// Minutes of it that are over.
    fn over(&self, minute: i64) -> i64 {
        minute.clamp(self.from, self.to) - self.from
    }
}

/// The electricity of a district.
#[derive(Debug, Clone)]
pub struct Power {
    pub customers: Vec<Use>,
    /// What roofs feed in.
    pub roofs: Vec<Use>,
    /// When nobody gets any.
    pub outage: Option<Span>,
}

impl Power {
    /// A register as it would stand without the outage: nobody uses anything meanwhile, and nothing is made up later.
    fn without_outage(&self, minute: i64, register: impl Fn(i64) -> i64) -> i64 {
        match self.outage {
            Some(outage) if outage.from < minute => {
                register(minute) - (register(minute.min(outage.to)) - register(outage.from))
            }
            _ => register(minute),
        }
    }

    pub fn customer(&self, demand: &Demand, n: usize, minute: i64) -> i64 {
        self.without_outage(minute, |minute| self.customers[n].register(demand, minute))
    }

    pub fn roof(&self, demand: &Demand, n: usize, minute: i64) -> i64 {
        self.without_outage(minute, |minute| self.roofs[n].register(demand, minute))
    }

    /// What the net has lost: a share of what its customers took.
    pub fn losses(&self, demand: &Demand, minute: i64) -> i64 {
        self.taken(demand, minute) * LOSS_PERCENT / 100
    }

    /// What its customers took, together.
    pub fn taken(&self, demand: &Demand, minute: i64) -> i64 {
        (0..self.customers.len()).map(|n| self.customer(demand, n, minute)).sum()
    }

    pub fn fed_in(&self, demand: &Demand, minute: i64) -> i64 {
        (0..self.roofs.len()).map(|n| self.roof(demand, n, minute)).sum()
    }

    /// What came in over the feeder: what was taken and lost, less what roofs fed in.
    pub fn feeder(&self, demand: &Demand, minute: i64) -> i64 {
        self.taken(demand, minute) + self.losses(demand, minute) - self.fed_in(demand, minute)
    }
}

/// The water of a district: pumps run evenly, and the tank takes up the difference.
#[derive(Debug, Clone)]
pub struct Water {
    pub customers: Vec<Use>,
    /// Litres a minute that run away, and when.
    pub leak: Option<(i64, Span)>,
    /// So that the tank is half full on the mean.
    pub level: i64,
}

impl Water {
    pub fn new(demand: &Demand, customers: Vec<Use>, leak: Option<(i64, Span)>, starts: i64) -> Water {
        let mut water = Water { customers, leak, level: 0 };
        // The mean of a week from the start, each four hours: what the customers' rhythm moves is less than half of it.
        let looks = (0..42).map(|n| water.tank(demand, starts + n * 240));
        water.level = TANK_L - looks.sum::<i64>() / 42;
        water
    }

    pub fn taken(&self, demand: &Demand, minute: i64) -> i64 {
        self.customers.iter().map(|customer| customer.register(demand, minute)).sum()
    }

    pub fn leaked(&self, minute: i64) -> i64 {
        self.leak.map_or(0, |(litres, span)| litres * span.over(minute))
    }

    /// What the pumps brought: evenly what the customers want in a week, and what runs away.
    pub fn inlet(&self, minute: i64) -> i64 {
        let even: f64 = self.customers.iter().map(|customer| customer.even(minute)).sum();
        even.floor() as i64 + self.leaked(minute)
    }

    /// Litres in the tank: what came in and did not go out.
    pub fn tank(&self, demand: &Demand, minute: i64) -> i64 {
        self.inlet(minute) - self.taken(demand, minute) - self.leaked(minute) + self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> i64 {
        "2026-11-22T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() / 60
    }

    fn uses(n: u64, want: Want, range: (f64, f64)) -> Vec<Use> {
        (0..n).map(|n| Use::new(Chance::new(n), want, range)).collect()
    }

    #[test]
    fn the_water_balance_closes_to_the_litre() {
        let demand = Demand::new();
        let span = Span { from: start() + 300, to: start() + 900 };
        let water = Water::new(&demand, uses(14, Want::HomeWater, (8.0, 40.0)), Some((7, span)), start());
        for minute in start()..start() + 1_440 {
            let step = |of: &dyn Fn(i64) -> i64| of(minute + 1) - of(minute);
            let taken = step(&|minute| water.taken(&demand, minute));
            let inlet = step(&|minute| water.inlet(minute));
            let tank = step(&|minute| water.tank(&demand, minute));
            let leak = if span.from <= minute && minute < span.to { 7 } else { 0 };
            assert_eq!(inlet, taken + tank + leak);
            assert!(0 <= inlet && 0 <= taken);
            let level = water.tank(&demand, minute);
            assert!(0 < level && level < 2 * TANK_L, "{level} litres in the tank");
        }
    }

    #[test]
    fn the_energy_balance_closes_to_the_watt_hour_and_an_outage_stops_it() {
        let demand = Demand::new();
        let mut customers = uses(30, Want::HomePower, (150.0, 600.0));
        customers.extend(uses(1, Want::WorkPower, (20_000.0, 60_000.0)));
        let outage = Span { from: start() + 700, to: start() + 760 };
        let power = Power { customers, roofs: uses(1, Want::Sun, (200.0, 900.0)), outage: Some(outage) };
        for minute in start()..start() + 1_440 {
            let step = |of: &dyn Fn(i64) -> i64| of(minute + 1) - of(minute);
            let feeder = step(&|minute| power.feeder(&demand, minute));
            let taken = step(&|minute| power.taken(&demand, minute));
            let losses = step(&|minute| power.losses(&demand, minute));
            let fed_in = step(&|minute| power.fed_in(&demand, minute));
            assert_eq!(feeder + fed_in, taken + losses);
            assert!(0 <= feeder && 0 <= taken);
            if outage.from <= minute && minute < outage.to {
                assert_eq!((taken, fed_in), (0, 0), "{minute}");
            }
        }
    }
}

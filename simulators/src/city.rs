//! A city made up of a seed: districts of a hundred sensors, each with its roads, its nets of electricity and water, its air.
//!
//! Nothing is simulated step by step. What a sensor says at a time follows from the seed, the sensor and that time, so any
//! part can be computed alone and in any order; a million sensors need no more memory than their districts' plans. Only
//! arithmetic that every machine does alike is used (the functions of `libm`, not those of the platform).

pub mod chance;
pub mod demand;
pub mod meters;
pub mod registry;
pub mod road;
pub mod role;
pub mod series;
pub mod surroundings;
#[cfg(test)]
mod tests;

use chance::Chance;
use demand::{Demand, Want};
use meters::{MINUTE_US, Power, Span, Use, Water};
use road::{Incident, LANES, Road, SEGMENT_M};
use role::{DISTRICT, Role};
use series::Series;
use surroundings::{CarPark, Place, Weather};

use crate::observation::{Decimal, Passage, Reading};

/// Most sensors: a metropolis with a meter in each home.
pub const SENSORS_MAX: u32 = 1_000_000;
const SECOND_US: i64 = 1_000_000;

/// What a city follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub sensors: u32,
    /// With which all names begin.
    pub prefix: String,
    /// The period in which things happen: incidents, leaks and outages begin and end in it.
    pub starts_us: i64,
    pub ends_us: i64,
}

/// A made-up city.
#[derive(Debug, Clone)]
pub struct City {
    pub plan: Plan,
    pub demand: Demand,
    pub weather: Weather,
    roles: [Role; DISTRICT],
    /// The how-manieth of its role a sensor is in its district.
    ordinals: [usize; DISTRICT],
    districts: Vec<District>,
}

/// One district.
#[derive(Debug, Clone)]
pub struct District {
    chance: Chance,
    /// Each direction.
    pub roads: [Road; 2],
    pub power: Power,
    /// Workplaces, which stand first among its customers; homes with a roof that feeds in come next.
    works: usize,
    pub water: Water,
    gas: Vec<Use>,
    heat: Vec<Use>,
    parks: Vec<CarPark>,
}

impl City {
    pub fn new(plan: Plan) -> City {
        let chance = Chance::new(plan.seed);
        let demand = Demand::new();
        let weather = Weather::new(chance.of(1));
        let roles = role::of_district();
        let mut ordinals = [0; DISTRICT];
        for (place, role) in roles.iter().enumerate() {
            ordinals[place] = roles[..place].iter().filter(|other| *other == role).count();
        }
        let count = plan.sensors.div_ceil(DISTRICT as u32);
        let district = |number: u32| {
            let here = (plan.sensors - number * DISTRICT as u32).min(DISTRICT as u32) as usize;
            District::new(number, chance.of(2).of(u64::from(number)), &demand, &roles[..here], &plan)
        };
        let districts = (0..count).map(district).collect();
        City { plan, demand, weather, roles, ordinals, districts }
    }

    pub fn sensors(&self) -> u32 {
        self.plan.sensors
    }

    pub fn role(&self, sensor: u32) -> Role {
        self.roles[sensor as usize % DISTRICT]
    }

    pub fn district_of(&self, sensor: u32) -> &District {
        &self.districts[sensor as usize / DISTRICT]
    }

    pub fn districts(&self) -> &[District] {
        &self.districts
    }

    fn ordinal(&self, sensor: u32) -> usize {
        self.ordinals[sensor as usize % DISTRICT]
    }

    /// The sensor's name: `sim7_00012-loop3`.
    pub fn id(&self, sensor: u32) -> String {
        let (district, role) = (sensor as usize / DISTRICT, self.role(sensor));
        format!("{}_{district:05}-{}{}", self.plan.prefix, role.name(), self.ordinal(sensor) + 1)
    }

    /// Where a detector stands: its direction, lane and metres from the beginning of the road.
    fn stand(&self, sensor: u32) -> (usize, u8, f64) {
        let ordinal = self.ordinal(sensor);
        let spot = match self.role(sensor) {
            Role::QuickLoop => 26 + ordinal,
            Role::Passages => 30 + ordinal,
            Role::Radar => return (ordinal % 2, 0, 4.5 * SEGMENT_M),
            _ => ordinal,
        };
        let lane = (spot / 2) as u8 % LANES;
        (spot % 2, lane, (spot / 4) as f64 * SEGMENT_M + 0.8 * SEGMENT_M)
    }

    /// What a sensor reports at a time, which is a whole multiple of its interval.
    pub fn report(&self, sensor: u32, time_us: i64, mut say: impl FnMut(&'static Series, Reading<'static>)) {
        let role = self.role(sensor);
        let district = self.district_of(sensor);
        let all = series::of(role);
        let mut say = |at: usize, value: Decimal| {
            let series = &all[at];
            let interval_s = if series.is_interval() { role.interval_s() as u32 } else { 0 };
            say(series, Reading { metric: series.metric, unit: series.unit, time_us, interval_s, value });
        };
        let minute = time_us.div_euclid(MINUTE_US);
        let n = self.ordinal(sensor);
        let demand = &self.demand;
        // Watts are the mean of the minute: its watt-hours times sixty.
        let power = |of: &dyn Fn(i64) -> i64| Decimal::whole((of(minute) - of(minute - 1)) * 60);
        match role {
            Role::Loop | Role::QuickLoop | Role::Radar => {
                let period = (time_us - role.interval_s() * SECOND_US, time_us);
                let lanes = if role == Role::Radar { 0..LANES } else { 0..1 };
                let mut count = Count::default();
                for lane in lanes {
                    self.vehicles(sensor, lane, period, |vehicle| count.add(&vehicle));
                }
                say(0, Decimal::whole(count.vehicles));
                let is_loop = role != Role::Radar;
                if is_loop {
                    // Hundredths of a second of so many seconds: percent, to one place.
                    say(1, Decimal::nearest((count.on_cs as f64 / role.interval_s() as f64).min(100.0), 1));
                }
                if 0 < count.vehicles {
                    let mean_kmh = count.speed_cmps as f64 / count.vehicles as f64 * 0.036;
                    say(if is_loop { 2 } else { 1 }, Decimal::nearest(mean_kmh, 1));
                }
            }
            Role::Passages => {}
            Role::Parking => say(0, Decimal::whole(district.parks[n].free(demand, time_us))),
            Role::WorkPower => self.consumer(district, n, minute, &mut say, all),
            Role::Solar => {
                let metrics = |at: usize| 2 * at; // between import and power stands export
                self.consumer(
                    district,
                    district.works + n,
                    minute,
                    &mut |at, value| say(metrics(at), value),
                    all,
                );
                say(1, all[1].register(district.power.roof(demand, n, minute)));
            }
            Role::HomePower => {
                let customer = district.works + district.power.roofs.len() + n;
                self.consumer(district, customer, minute, &mut say, all);
            }
            Role::Feeder => {
                let of = |minute| district.power.feeder(demand, minute);
                say(0, all[0].register(of(minute)));
                say(1, power(&of));
            }
            Role::WaterCustomer => {
                say(0, all[0].register(district.water.customers[n].register(demand, minute)));
            }
            Role::WaterInlet => {
                let of = |minute| district.water.inlet(minute);
                say(0, all[0].register(of(minute)));
                // Litres a minute are 0.06 m3 an hour.
                say(1, Decimal::new((of(minute) - of(minute - 1)) * 6, 2));
            }
            Role::Tank => {
                let of = |minute| district.water.tank(demand, minute);
                say(0, Decimal::new(of(minute), 4));
                say(1, Decimal::new(of(minute) - of(minute - 1), 3));
            }
            Role::WaterPressure => {
                let want = demand.rate(Want::HomeWater, time_us);
                let leaks = district.water.leaked(minute) != district.water.leaked(minute - 1);
                let drop = 0.35 * want + if leaks { 0.4 } else { 0.0 };
                let noise = district.chance.of(40).of(minute as u64).between(-0.05, 0.05);
                say(0, all[0].shown(4.8 - drop + noise));
            }
            Role::Gas => say(0, all[0].register(district.gas[n].register(demand, minute))),
            Role::Heat => {
                say(0, all[0].register(district.heat[n].register(demand, minute)));
                // The colder it is, the hotter the water that is sent out.
                let flow = 80.0 - 1.5 * self.weather.temperature(time_us);
                say(1, all[1].shown(flow.clamp(60.0, 110.0)));
            }
            Role::Air => {
                let place = Place { chance: district.chance.of(41).of(n as u64) };
                let air = place.air(&self.weather, demand.rate(Want::Traffic, time_us), time_us);
                for (at, value) in air.into_iter().enumerate() {
                    say(at, all[at].shown(value));
                }
                say(3, all[3].shown(self.weather.temperature(time_us) + place.chance.between(-1.0, 1.0)));
            }
            Role::Weather => {
                let weather = &self.weather;
                let values = [Weather::temperature, Weather::humidity, Weather::wind, Weather::rain];
                for (at, value) in values.into_iter().enumerate() {
                    say(at, all[at].shown(value(weather, time_us)));
                }
            }
            Role::Noise => {
                let place = Place { chance: district.chance.of(42) };
                say(0, all[0].shown(place.noise(demand.rate(Want::Traffic, time_us), time_us)));
            }
        }
    }

    /// A register of what was taken, and the mean power of the minute.
    fn consumer(
        &self,
        district: &District,
        customer: usize,
        minute: i64,
        say: &mut impl FnMut(usize, Decimal),
        all: &[Series],
    ) {
        let of = |minute| district.power.customer(&self.demand, customer, minute);
        say(0, all[0].register(of(minute)));
        say(1, Decimal::whole((of(minute) - of(minute - 1)) * 60));
    }

    /// The vehicles that a detector of single vehicles counts between two times.
    pub fn passages(&self, sensor: u32, period: (i64, i64), mut say: impl FnMut(Passage<'static>)) {
        // Two of one lane never come in the same millisecond.
        self.vehicles(sensor, 0, period, |vehicle| {
            say(vehicle.passage(vehicle.time_us / 1_000 % 1_000_000_000));
        });
    }

    fn vehicles(&self, sensor: u32, lane: u8, period: (i64, i64), take: impl FnMut(road::Vehicle)) {
        let (direction, own_lane, at_m) = self.stand(sensor);
        let road = &self.district_of(sensor).roads[direction];
        // A lane's detector sees its lane; a radar sees those that are named.
        let detector = (at_m as u64) << 8 | u64::from(own_lane + lane);
        let wet = self.weather.on_speed(period.1);
        road.vehicles(&self.demand, detector, at_m, period, wet, take);
    }
}

/// What a loop counts in an interval.
#[derive(Default)]
struct Count {
    vehicles: i64,
    on_cs: i64,
    speed_cmps: i64,
}

impl Count {
    fn add(&mut self, vehicle: &road::Vehicle) {
        self.vehicles += 1;
        self.on_cs += vehicle.on_cs();
        self.speed_cmps += vehicle.speed_cmps;
    }
}

impl District {
    fn new(number: u32, chance: Chance, demand: &Demand, roles: &[Role], plan: &Plan) -> District {
        let count = |role| roles.iter().filter(|other| **other == role).count();
        let uses = |role: Role, part: u64, want, range| {
            (0..count(role)).map(|n| Use::new(chance.of(part).of(n as u64), want, range)).collect::<Vec<_>>()
        };
        // The first district shows everything.
        let happens = |part: u64, probability| number == 0 || chance.of(part).happens(probability);
        let is_fast = number % 4 == 1;
        let roads = [0, 1].map(|direction| {
            let part = 10 + direction;
            let incident = happens(part, 0.15).then(|| incident(chance.of(part).of(1), plan));
            Road::new(chance.of(20 + direction), is_fast, incident)
        });
        let mut customers = uses(Role::WorkPower, 3, Want::WorkPower, (20_000.0, 60_000.0));
        let works = customers.len();
        customers.extend(uses(Role::Solar, 2, Want::HomePower, (200.0, 500.0)));
        customers.extend(uses(Role::HomePower, 1, Want::HomePower, (150.0, 600.0)));
        let outage = happens(12, 0.05).then(|| {
            let Span { from, to } = part_of(plan, 0.4, 0.6);
            Span { from, to: to.min(from + 60) }
        });
        let outage = outage.filter(|span| span.from < span.to);
        let power = Power { customers, roofs: uses(Role::Solar, 4, Want::Sun, (150.0, 500.0)), outage };
        let leak = happens(13, 0.1).then(|| {
            let litres = 5 + chance.of(14).below(25) as i64;
            (litres, part_of(plan, 0.2, 1.0))
        });
        let customers = uses(Role::WaterCustomer, 5, Want::HomeWater, (8.0, 40.0));
        let water = Water::new(demand, customers, leak, plan.starts_us.div_euclid(MINUTE_US));
        let parks = (0..count(Role::Parking)).map(|n| CarPark::new(chance.of(8).of(n as u64))).collect();
        District {
            chance,
            roads,
            power,
            works,
            water,
            gas: uses(Role::Gas, 6, Want::Warmth, (100.0, 1_500.0)),
            heat: uses(Role::Heat, 7, Want::Warmth, (2_000.0, 20_000.0)),
            parks,
        }
    }
}

/// One that begins in the first half of the period and lasts a quarter of it: five minutes at least, an hour at most.
fn incident(chance: Chance, plan: &Plan) -> Incident {
    let day_us = (plan.ends_us - plan.starts_us).min(24 * 60 * MINUTE_US);
    let starts_us = plan.starts_us + (chance.between(0.05, 0.5) * day_us as f64) as i64;
    let lasts_us = (day_us / 4).clamp(5 * MINUTE_US, 60 * MINUTE_US);
    // Just behind a detector in the second half of the road.
    let at_m = (4.0 + chance.of(1).below(4) as f64) * SEGMENT_M + 450.0;
    Incident { starts_us, ends_us: starts_us + lasts_us, at_m, left: chance.of(2).between(0.15, 0.35) }
}

/// A part of the period in whole minutes.
fn part_of(plan: &Plan, from: f64, to: f64) -> Span {
    let minutes = (plan.ends_us - plan.starts_us) / MINUTE_US;
    let starts = plan.starts_us.div_euclid(MINUTE_US);
    let at = |part: f64| starts + (minutes as f64 * part) as i64;
    Span { from: at(from), to: at(to) }
}

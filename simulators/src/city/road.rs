//! Traffic on one direction of a road, by the kinematic wave theory (Lighthill, Whitham 1955) on a triangular fundamental
//! diagram, solved as Newell (1993) does: the vehicles that have passed a place are the fewer of those that could have come
//! from upstream, and those that what is downstream let through. An incident is a place that lets fewer through for a time;
//! its queue grows, spills back over the detectors upstream, and dissolves.

use super::chance::Chance;
use super::demand::{Demand, Want, next_hour};
use crate::observation::{Decimal, Passage};

/// A stretch between two crossings, in metres. A road has eight.
pub const SEGMENT_M: f64 = 500.0;
pub const SEGMENTS: u8 = 8;
pub const LANES: u8 = 2;
/// Speed at which a queue grows against the traffic, in m/s.
const WAVE_MPS: f64 = 5.0;
/// Vehicles in a metre of a lane at a standstill.
const JAM_PER_M: f64 = 0.130;
/// A vehicle in a queue creeps at least so fast.
const CREEP_MPS: f64 = 1.0;
/// What a loop adds to a vehicle's length, in metres.
const LOOP_M: f64 = 1.8;
/// Vehicles that leave a stop line in a second of green, in one lane.
const SATURATION_PER_S: f64 = 0.5;
const SECOND_US: i64 = 1_000_000;

/// What narrows a road for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incident {
    pub starts_us: i64,
    pub ends_us: i64,
    /// Metres from the beginning of the road.
    pub at_m: f64,
    /// What is left of the capacity.
    pub left: f64,
}

/// One lane of one direction.
#[derive(Debug, Clone, Copy)]
pub struct Road {
    chance: Chance,
    /// Free-flow speed in m/s.
    pub free_mps: f64,
    /// Vehicles in a second: the week's mean.
    mean_per_s: f64,
    /// Length of a signal's cycle and of its green, in seconds; the same where there is no signal.
    cycle_s: i64,
    green_s: i64,
    pub incident: Option<Incident>,
}

/// The traffic at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Vehicles a second.
    pub per_s: f64,
    /// m/s.
    pub speed: f64,
    pub queued: bool,
}

/// One vehicle at a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vehicle {
    pub time_us: i64,
    pub class: &'static str,
    /// Hundredths of m/s, and centimetres.
    pub speed_cmps: i64,
    pub length_cm: i64,
}

impl Vehicle {
    /// Hundredths of a second over the detector, at least one.
    pub fn on_cs(&self) -> i64 {
        (100.0 * (self.length_cm as f64 + 100.0 * LOOP_M) / self.speed_cmps as f64).round().max(1.0) as i64
    }

    pub fn passage(&self, vehicle: i64) -> Passage<'static> {
        Passage {
            vehicle,
            time_us: self.time_us,
            class: self.class,
            on_time: Decimal::new(self.on_cs(), 2),
            speed: Decimal::new(self.speed_cmps, 2),
            length: Decimal::new(self.length_cm, 2),
        }
    }
}

impl Road {
    /// A motorway where `is_fast`, else a street with a signal at the end of each segment.
    pub fn new(chance: Chance, is_fast: bool, incident: Option<Incident>) -> Road {
        let (free_mps, cycle_s, green_s) = match is_fast {
            true => (27.0, 30, 30),
            false => (14.0, [60, 72, 90, 120][chance.of(1).below(4) as usize], 0),
        };
        let green_s = if green_s == 0 { cycle_s / 2 } else { green_s };
        // The rush hour takes up to four fifths of what gets through.
        let peak = 1.9;
        let most_per_s = capacity(free_mps).min(SATURATION_PER_S * green_s as f64 / cycle_s as f64);
        let mean_per_s = chance.of(2).between(0.3, 0.8) * most_per_s / peak;
        Road { chance: chance.of(3), free_mps, mean_per_s, cycle_s, green_s, incident }
    }

    /// Seconds after which its signals begin anew.
    pub fn cycle_s(&self) -> i64 {
        self.cycle_s
    }

    /// Vehicles a second that a lane can carry.
    pub fn capacity(&self) -> f64 {
        capacity(self.free_mps)
    }

    /// Vehicles in a metre of a lane where so many come in a second at so many m/s.
    pub fn density(flow: &Flow) -> f64 {
        flow.per_s / flow.speed
    }

    /// The density of a queue that moves so many vehicles a second: the falling branch of the fundamental diagram.
    pub fn queue_density(per_s: f64) -> f64 {
        JAM_PER_M - per_s / WAVE_MPS
    }

    /// Vehicles in a lane that would have passed the beginning of the road by now, if nothing was in the way.
    fn wanted(&self, demand: &Demand, time_us: f64) -> f64 {
        demand.until(Want::Traffic, time_us as i64) * self.mean_per_s * 3_600.0
    }

    /// Those that have passed the place of the incident: the least of what came by some time, and what got through since
    /// (a queue's departure curve). Both curves are straight between full hours and the incident's ends, so the least is at
    /// one of those.
    fn let_through(&self, demand: &Demand, incident: &Incident, time_us: f64) -> f64 {
        let travel_us = incident.at_m / self.free_mps * 1e6;
        let came = |time_us: f64| self.wanted(demand, time_us - travel_us);
        let mut least = came(time_us);
        let starts_us = incident.starts_us as f64;
        if time_us <= starts_us {
            return least;
        }
        let through = |from_us: f64| {
            let narrow_us = (incident.ends_us as f64).min(time_us) - from_us.min(incident.ends_us as f64);
            let wide_us = time_us - from_us - narrow_us;
            self.capacity() * (incident.left * narrow_us + wide_us) / 1e6
        };
        let mut hour_us = next_hour((starts_us - travel_us) as i64) as f64 + travel_us;
        for since_us in [starts_us, incident.ends_us as f64] {
            if since_us < time_us {
                least = least.min(came(since_us) + through(since_us));
            }
        }
        while hour_us < time_us {
            least = least.min(came(hour_us) + through(hour_us));
            hour_us += 3.6e9;
        }
        least
    }

    /// Vehicles that have passed a place in one lane by a time, and whether they come out of a queue.
    fn passed(&self, demand: &Demand, at_m: f64, time_us: f64) -> (f64, bool) {
        let free = self.wanted(demand, time_us - at_m / self.free_mps * 1e6);
        let Some(incident) = &self.incident else { return (free, false) };
        if incident.at_m <= at_m {
            let travel_us = (at_m - incident.at_m) / self.free_mps * 1e6;
            return (self.let_through(demand, incident, time_us - travel_us), false);
        }
        let distance_m = incident.at_m - at_m;
        let back_us = distance_m / WAVE_MPS * 1e6;
        let held = self.let_through(demand, incident, time_us - back_us) + JAM_PER_M * distance_m;
        if held < free { (held, true) } else { (free, false) }
    }

    /// The traffic of one lane at a place, between two times.
    pub fn flow(&self, demand: &Demand, at_m: f64, from_us: i64, to_us: i64) -> Flow {
        let (before, _) = self.passed(demand, at_m, from_us as f64);
        let (after, queued) = self.passed(demand, at_m, to_us as f64);
        let per_s = (after - before).max(0.0) / (to_us - from_us) as f64 * 1e6;
        let speed = match queued {
            true => (per_s / Self::queue_density(per_s)).clamp(CREEP_MPS, self.free_mps),
            false => self.free_mps,
        };
        Flow { per_s, speed, queued }
    }

    /// The vehicles over one detector between two times, in the order in which they come. `wet` slows them.
    pub fn vehicles(
        &self,
        demand: &Demand,
        detector: u64,
        at_m: f64,
        (from_us, to_us): (i64, i64),
        wet: f64,
        mut take: impl FnMut(Vehicle),
    ) {
        let chance = self.chance.of(detector);
        let cycle_us = self.cycle_s * SECOND_US;
        // Each crossing has its own offset.
        let offset_us =
            self.chance.of((at_m / SEGMENT_M) as u64).below(self.cycle_s as u64) as i64 * SECOND_US;
        let first = (from_us - offset_us).div_euclid(cycle_us);
        let last = (to_us - 1 - offset_us).div_euclid(cycle_us);
        for cycle in first..=last {
            let starts_us = cycle * cycle_us + offset_us;
            let flow = self.flow(demand, at_m, starts_us, starts_us + cycle_us);
            let chance = chance.of(cycle as u64);
            let most = (self.green_s as f64 * SATURATION_PER_S) as u32;
            let count = chance.poisson(flow.per_s * self.cycle_s as f64, most);
            let headway_us = self.green_s * SECOND_US / i64::from(count.max(1));
            for n in 0..count {
                let chance = chance.of(1 + u64::from(n));
                // In the first half of its share of the green, so that nobody overtakes; to the millisecond.
                let within_us = chance.below(headway_us as u64 / 2) as i64;
                let time_us = (starts_us + i64::from(n) * headway_us + within_us) / 1_000 * 1_000;
                if from_us <= time_us && time_us < to_us {
                    take(vehicle(chance.of(1), time_us, flow.speed * wet));
                }
            }
        }
    }
}

/// What a lane carries at most: where the rising and the falling branch of the diagram meet.
fn capacity(free_mps: f64) -> f64 {
    free_mps * WAVE_MPS / (free_mps + WAVE_MPS) * JAM_PER_M
}

/// Classes with their share and their shortest and longest length in cm.
const CLASSES: [(&str, f64, i64, i64); 4] = [
    ("car", 0.86, 380, 500),
    ("truck", 0.07, 900, 1_650),
    ("bus", 0.03, 1_000, 1_200),
    ("motorcycle", 0.04, 190, 240),
];

fn vehicle(chance: Chance, time_us: i64, speed_mps: f64) -> Vehicle {
    let mut share = chance.share();
    let mut drawn = CLASSES[0];
    for class in CLASSES {
        drawn = class;
        if share < class.1 {
            break;
        }
        share -= class.1;
    }
    let (class, _, short, long) = drawn;
    let length_cm = short + chance.of(1).below((long - short) as u64) as i64;
    let speed_mps = (speed_mps * chance.of(2).between(0.88, 1.12)).max(CREEP_MPS);
    Vehicle { time_us, class, speed_cmps: (speed_mps * 100.0).round() as i64, length_cm }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_US: i64 = 60 * SECOND_US;

    fn morning() -> i64 {
        "2026-11-23T07:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn blocked() -> Road {
        let starts_us = morning();
        let incident = Incident { starts_us, ends_us: starts_us + 40 * MINUTE_US, at_m: 3_500.0, left: 0.2 };
        Road::new(Chance::new(3), true, Some(incident))
    }

    #[test]
    fn every_state_lies_on_the_fundamental_diagram() {
        let (demand, road) = (Demand::new(), blocked());
        let mut queued = 0;
        for minute in 0..180 {
            for segment in 0..SEGMENTS {
                let from = morning() + minute * MINUTE_US;
                let at_m = (f64::from(segment) + 0.5) * SEGMENT_M;
                let flow = road.flow(&demand, at_m, from, from + MINUTE_US);
                assert!(flow.per_s <= road.capacity() * 1.0001, "{flow:?}");
                let density = Road::density(&flow);
                let due =
                    if flow.queued { Road::queue_density(flow.per_s) } else { flow.per_s / road.free_mps };
                let creeps = flow.speed == CREEP_MPS;
                assert!(creeps || (density - due).abs() < 1e-9, "{flow:?}: {density} is not {due}");
                queued += usize::from(flow.queued);
            }
        }
        assert!(100 < queued, "{queued} states in a queue");
    }

    #[test]
    fn a_queue_grows_backwards_and_dissolves_and_nobody_is_lost() {
        let (demand, road) = (Demand::new(), blocked());
        let is_queued = |segment: u8, minute: i64| {
            let from = morning() + minute * MINUTE_US;
            road.flow(&demand, (f64::from(segment) + 0.5) * SEGMENT_M, from, from + MINUTE_US).queued
        };
        let begins = |segment| (0..180).find(|minute| is_queued(segment, *minute));
        let (near, far) = (begins(6).unwrap(), begins(4).unwrap());
        assert!(near < far, "the queue reaches segment 6 at {near} min, 4 at {far} min");
        assert!(!is_queued(7, 60), "there is no queue behind the incident");
        assert!((0..SEGMENTS).all(|segment| !is_queued(segment, 179)), "it is gone in the end");
        let hours = |at_m, from| road.passed(&demand, at_m, (morning() + from) as f64).0;
        let late = 10 * 60 * MINUTE_US;
        let travel = (4_000.0 / road.free_mps * 1e6) as i64;
        assert!((hours(0.0, late) - hours(4_000.0, late + travel)).abs() < 1e-3, "all came through");
    }

    #[test]
    fn a_signal_lets_vehicles_pass_in_its_green_only() {
        let (demand, road) = (Demand::new(), Road::new(Chance::new(5), false, None));
        let mut times = Vec::new();
        let hour = (morning(), morning() + 60 * MINUTE_US);
        road.vehicles(&demand, 1, 250.0, hour, 1.0, |vehicle| times.push(vehicle.time_us));
        assert!(100 < times.len() && times.is_sorted());
        let cycle_us = road.cycle_s * SECOND_US;
        let mut phases: Vec<i64> = times.iter().map(|time| time.rem_euclid(cycle_us)).collect();
        phases.sort_unstable();
        let gaps = phases.windows(2).map(|pair| pair[1] - pair[0]);
        let around = phases[0] + cycle_us - phases[phases.len() - 1];
        let longest = gaps.chain([around]).max().unwrap();
        assert!(cycle_us / 3 < longest, "somewhere in the cycle it is red: {longest}");
        // The same vehicles, whoever asks for which part.
        let mut parts = Vec::new();
        for minute in 0..60 {
            let part = (morning() + minute * MINUTE_US, morning() + (minute + 1) * MINUTE_US);
            road.vehicles(&demand, 1, 250.0, part, 1.0, |vehicle| parts.push(vehicle.time_us));
        }
        assert_eq!(times, parts);
    }
}

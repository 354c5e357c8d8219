//! Measures of traffic. Speeds in km/h, flows in vehicles an hour, lengths in km unless said otherwise.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};

use super::Settled;
use crate::model::{
    Kind, State,
    state::{SPEED_MIN, Values},
};

/// Vehicles of a bucket: passages, or the sum of what was counted in its intervals. `None` where nothing was heard: a
/// detector that is silent did not count zero. One whose heartbeat was heard, and no vehicle, did.
pub fn volume(settled: &Settled, kind: Kind) -> Option<f64> {
    match (kind, settled.state.values.as_ref()) {
        (Kind::Event | Kind::Total | Kind::Delta, Some(values)) => Some(values.total()),
        (Kind::Event, None) if settled.state.flagged == 0 && 0 < settled.covered => Some(0.0),
        _ => None,
    }
}

/// The volume of a bucket of which only a part was observed, scaled to the whole: N * T / observed (PeMS scales five
/// minutes by received samples). An estimate, to be labelled so; `None` below `least`, a share of the bucket.
pub fn scaled_volume(settled: &Settled, kind: Kind, least: f64) -> Option<f64> {
    let coverage = settled.coverage();
    volume(settled, kind).filter(|_| 0.0 < coverage && least <= coverage).map(|volume| volume / coverage)
}

/// q = 3600 N / T, of `observed_s` seconds.
pub fn flow(volume: f64, observed_s: f64) -> Option<f64> {
    (0.0 < observed_s).then(|| 3_600.0 * volume / observed_s)
}

/// Vehicles an hour of one series in a bucket, of the time that was measured.
pub fn measured_flow(settled: &Settled, kind: Kind) -> Option<f64> {
    flow(volume(settled, kind)?, settled.measured_s(kind))
}

/// Percent of `seconds` that the detector was covered: 100 * sum(on-time) / T.
pub fn occupancy(settled: &Settled, seconds: f64) -> Option<f64> {
    let heard = 0 < settled.state.count || 0 < settled.on;
    (heard && 0.0 < seconds).then(|| (100.0 * settled.on as f64 / 1e6 / seconds).min(100.0))
}

/// The mean of the speeds that single vehicles had at the detector: sum(v) / n. From means of intervals: weighted by the
/// vehicles of each where they are known.
pub fn time_mean_speed(state: &State, kind: Kind) -> Option<f64> {
    let detail = state.detail.as_ref()?;
    match (kind, &detail.passages, &detail.weighted) {
        (Kind::Event, Some(passages), _) => mean(passages.speed.as_ref(), passages.speeds),
        (Kind::Event, None, _) => None,
        // Where nobody drove, nobody had a speed, whatever the detector says.
        (_, _, Some(weighted)) => {
            let volume = weighted.volume.total();
            (0.0 < volume).then(|| weighted.speed.total() / volume)
        }
        _ => mean(state.values.as_ref(), state.count),
    }
}

fn mean(values: Option<&Values>, count: i64) -> Option<f64> {
    values.filter(|_| 0 < count).map(|values| values.total() / count as f64)
}

/// The mean of the speeds that vehicles have along a road at one time: n / sum(1 / v), where a vehicle that stands
/// counts as 1.8 km/h (0.5 m/s). Always at most the time-mean speed (Wardrop 1952). From means of intervals: weighted by
/// the vehicles of each where they are known.
pub fn space_mean_speed(state: &State, kind: Kind) -> Option<f64> {
    let detail = state.detail.as_ref()?;
    let harmonic = |count: i64| {
        let reciprocals = detail.spread.reciprocals?.total();
        (0 < count && 0.0 < reciprocals).then(|| count as f64 / reciprocals)
    };
    match (kind, &detail.passages, &detail.weighted) {
        (Kind::Event, passages, _) => harmonic(passages.as_ref()?.speeds),
        (_, _, Some(weighted)) => {
            let slowness = weighted.slowness.total();
            (0.0 < slowness).then(|| weighted.volume.total() / slowness)
        }
        _ => harmonic(state.count),
    }
}

/// The speed that a share of the vehicles does not exceed, as v85 with 0.85; relative error 0.5 %. Of passages it is of
/// single vehicles; of means of intervals it is a quantile of means, and must be named so.
pub fn speed_quantile(state: &State, share: f64) -> Option<f64> {
    state.detail.as_ref()?.spread.sketch.as_ref()?.quantile(share)
}

/// The speeds of a bucket, in km/h.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Speeds {
    pub time_mean: Option<f64>,
    pub space_mean: Option<f64>,
    pub v15: Option<f64>,
    pub v50: Option<f64>,
    pub v85: Option<f64>,
}

impl Speeds {
    pub fn of(state: &State, kind: Kind) -> Speeds {
        Speeds {
            time_mean: time_mean_speed(state, kind),
            space_mean: space_mean_speed(state, kind),
            v15: speed_quantile(state, 0.15),
            v50: speed_quantile(state, 0.5),
            v85: speed_quantile(state, 0.85),
        }
    }
}

/// Vehicles a kilometre: k = q / v, with the space-mean speed; with the time-mean speed it would be too low.
pub fn density(flow: f64, space_mean_speed: f64) -> f64 {
    flow / space_mean_speed.max(SPEED_MIN)
}

/// Density from occupancy in percent: k = 10 * occ / (L_vehicle + L_detector), lengths in metres.
pub fn density_of_occupancy(occupancy: f64, vehicle_m: f64, detector_m: f64) -> f64 {
    10.0 * occupancy / (vehicle_m + detector_m)
}

/// Seconds from one vehicle's front to the next one's, on average: h = 3600 / q.
pub fn headway_s(flow: f64) -> Option<f64> {
    (0.0 < flow).then(|| 3_600.0 / flow)
}

/// Seconds between one vehicle's tail and the next one's front: h - L / v.
pub fn gap_s(headway_s: f64, length_m: f64, speed: f64) -> f64 {
    headway_s - length_m * 3.6 / speed.max(SPEED_MIN)
}

/// Speed from a loop that measures none: v = g * q / occ, where g is the mean effective length of a vehicle in metres
/// (PeMS g-factor, default 22 ft = 6.7 m), q in vehicles an hour and occupancy in percent.
pub fn speed_of_single_loop(flow: f64, occupancy: f64, effective_length_m: f64) -> Option<f64> {
    (0.0 < occupancy && 0.0 < flow).then(|| effective_length_m * flow / (10.0 * occupancy))
}

/// The effective length that makes a loop's speed right in free flow: g = 10 * occ * v_free / q, the mean over intervals
/// whose occupancy is below their 60th percentile (PeMS). `intervals` are flows and occupancies.
pub fn effective_length_m(intervals: &[(f64, f64)], free_flow_speed: f64) -> Option<f64> {
    let mut occupancies: Vec<f64> = intervals.iter().map(|(_, occupancy)| *occupancy).collect();
    occupancies.sort_unstable_by(f64::total_cmp);
    let limit = *occupancies.get(occupancies.len() * 6 / 10)?;
    let free =
        intervals.iter().filter(|(flow, occupancy)| 0.0 < *flow && 0.0 < *occupancy && *occupancy < limit);
    let lengths: Vec<f64> = free.map(|(flow, occupancy)| 10.0 * occupancy * free_flow_speed / flow).collect();
    (!lengths.is_empty()).then(|| lengths.iter().sum::<f64>() / lengths.len() as f64)
}

/// Passenger car units of a class, where a city says nothing else: London's values for two-wheelers, buses and lorries. A
/// class that is not known counts as one car.
pub fn pcu(class: &str) -> f64 {
    match class {
        "cycle" | "bicycle" => 0.2,
        "motorcycle" => 0.4,
        "bus" | "truck" | "lorry" | "trailer" => 2.0,
        _ => 1.0,
    }
}

/// sum(N_c * f_c): vehicles as passenger cars, with the factor of each class. A vehicle without a class counts as one.
pub fn passenger_cars(state: &State, factor: impl Fn(&str) -> f64) -> Option<f64> {
    let passages = state.detail.as_ref()?.passages.as_ref()?;
    let classed: f64 = passages.classes.iter().map(|(class, count)| *count as f64 * factor(class)).sum();
    let without = state.count - passages.classes.values().sum::<i64>();
    Some(classed + without as f64)
}

/// Vehicles by class, of those that have one.
pub fn classes(state: &State) -> BTreeMap<String, i64> {
    let passages = state.detail.as_ref().and_then(|detail| detail.passages.as_ref());
    let classes = passages.into_iter().flat_map(|passages| &passages.classes);
    classes.map(|(class, count)| (class.to_string(), *count)).collect()
}

/// The busiest hour of a row of quarters of an hour.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PeakHour {
    /// Index of its first quarter.
    pub at: usize,
    pub volume: f64,
    /// V_60 / (4 * max V_15): 1 where the hour is even, 0.25 where all came in one quarter.
    pub factor: f64,
}

/// The hour of four quarters in a row with the highest volume; the first of several. Hours with a missing quarter do not
/// count.
pub fn peak_hour(quarters: &[Option<f64>]) -> Option<PeakHour> {
    let mut peak: Option<PeakHour> = None;
    for (at, hour) in quarters.windows(4).enumerate() {
        let Some(hour) = hour.iter().copied().collect::<Option<Vec<f64>>>() else { continue };
        let volume: f64 = hour.iter().sum();
        if peak.is_none_or(|peak| peak.volume < volume) {
            let highest = hour.iter().copied().fold(0.0, f64::max);
            peak = Some(PeakHour {
                at,
                volume,
                factor: if 0.0 < highest { volume / (4.0 * highest) } else { 1.0 },
            });
        }
    }
    peak
}

/// How the mean daily traffic of a year is made of its days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AadtMethod {
    /// The mean of all complete days.
    SimpleMean,
    /// The mean over twelve months of the mean over seven weekdays of each (ASTM E1442, conventional).
    Monthly,
    /// The mean over the seven weekdays of their means over the year (AASHTO).
    Weekday,
}

/// Why there is no annual average.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAverage {
    #[error("there is no complete day")]
    NoDay,
    #[error("{months} months of 12 have a complete day of each weekday: the conventional method needs all")]
    Months { months: usize },
    #[error("no complete {weekday:?} in the year: the mean over weekdays needs each")]
    Weekday { weekday: Weekday },
}

/// Annual average daily traffic, in vehicles a day, of complete days of one year.
///
/// # Errors
/// The method needs days that are not there.
pub fn aadt(days: &[(Date, f64)], method: AadtMethod) -> Result<f64, NoAverage> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        (0 < count).then(|| sum / f64::from(count))
    };
    let weekdays = Weekday::Monday.cycle_forward().take(7);
    let of_weekdays = |within: &dyn Fn(Date) -> bool| {
        let means = weekdays.clone().map(|weekday| {
            let days = days.iter().filter(|(day, _)| day.weekday() == weekday && within(*day));
            mean(&mut days.map(|(_, volume)| *volume)).ok_or(weekday)
        });
        means.collect::<Result<Vec<f64>, Weekday>>().map(|means| means.iter().sum::<f64>() / 7.0)
    };
    if days.is_empty() {
        return Err(NoAverage::NoDay);
    }
    match method {
        AadtMethod::SimpleMean => mean(&mut days.iter().map(|(_, volume)| *volume)).ok_or(NoAverage::NoDay),
        AadtMethod::Weekday => of_weekdays(&|_| true).map_err(|weekday| NoAverage::Weekday { weekday }),
        AadtMethod::Monthly => {
            let months: Vec<f64> =
                (1..=12).filter_map(|month| of_weekdays(&|day: Date| day.month() == month).ok()).collect();
            match months.len() {
                12 => Ok(months.iter().sum::<f64>() / 12.0),
                months => Err(NoAverage::Months { months }),
            }
        }
    }
}

/// The nth highest hourly volume of a year, as a share of its AADT: K30 with 30. `None` with fewer hours.
pub fn k_factor(hours: &[f64], nth: usize, aadt: f64) -> Option<f64> {
    nth_highest(hours, nth).filter(|_| 0.0 < aadt).map(|volume| volume / aadt)
}

/// The nth highest of some volumes, the highest with 1.
pub fn nth_highest(volumes: &[f64], nth: usize) -> Option<f64> {
    let mut sorted = volumes.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    sorted.get(nth.checked_sub(1)?).copied()
}

/// The share of the busier direction: D.
pub fn directional_share(one: f64, other: f64) -> Option<f64> {
    (0.0 < one + other).then(|| one.max(other) / (one + other))
}

/// What vehicles did on a stretch of road. Sums over time and over stretches first, then divide.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Travel {
    /// Vehicle-kilometres: N * L.
    pub vehicle_km: f64,
    /// Vehicle-hours: N * L / v.
    pub vehicle_h: f64,
    /// Vehicle-hours more than at the speed of reference: max(0, N * (L / v - L / v_t)).
    pub delay_h: f64,
}

impl Travel {
    pub fn of(volume: f64, length_km: f64, space_mean_speed: f64, reference_speed: f64) -> Travel {
        let vehicle_km = volume * length_km;
        let vehicle_h = vehicle_km / space_mean_speed.max(SPEED_MIN);
        Travel { vehicle_km, vehicle_h, delay_h: (vehicle_h - vehicle_km / reference_speed).max(0.0) }
    }

    pub fn plus(self, other: Travel) -> Travel {
        Travel {
            vehicle_km: self.vehicle_km + other.vehicle_km,
            vehicle_h: self.vehicle_h + other.vehicle_h,
            delay_h: self.delay_h + other.delay_h,
        }
    }

    /// Q = VMT / VHT: the mean speed of the travel.
    pub fn speed(self) -> Option<f64> {
        (0.0 < self.vehicle_h).then(|| self.vehicle_km / self.vehicle_h)
    }
}

/// Seconds over a stretch of so many metres: 3.6 L / v.
pub fn travel_time_s(length_m: f64, space_mean_speed: f64) -> f64 {
    3.6 * length_m / space_mean_speed.max(SPEED_MIN)
}

/// How much longer a trip takes than in free flow: v_free / v, at least 1.
pub fn travel_time_index(space_mean_speed: f64, free_flow_speed: f64) -> f64 {
    (free_flow_speed / space_mean_speed.max(SPEED_MIN)).max(1.0)
}

/// How much time to plan for a trip, to be in time on 19 of 20 days: the 95th percentile of travel times over the free
/// one.
pub fn planning_time_index(travel_times_s: &[f64], free_s: f64) -> Option<f64> {
    let mut sorted = travel_times_s.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (0.95 * sorted.len() as f64).ceil() as usize;
    let time = sorted.get(rank.checked_sub(1)?)?;
    (0.0 < free_s).then(|| time / free_s)
}

/// Which edition of the Highway Capacity Manual names the levels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Edition {
    #[default]
    Hcm2010,
    /// Urban streets: A above 80 %, not 85 %.
    Hcm6,
}

/// Level of service of a freeway by its density in passenger cars a kilometre and lane (HCM: 11, 18, 26, 35, 45 a mile);
/// F also where the demand is above the capacity.
pub fn freeway_level(density: f64, over_capacity: bool) -> char {
    const UP_TO: [(f64, char); 5] = [(6.8, 'A'), (11.2, 'B'), (16.2, 'C'), (21.7, 'D'), (28.0, 'E')];
    let level = UP_TO.iter().find(|(limit, _)| density <= *limit).map(|(_, level)| *level);
    level.filter(|_| !over_capacity).unwrap_or('F')
}

/// Level of service of an urban street by its speed over its free-flow speed; F also where the demand is above the
/// capacity.
pub fn street_level(speed: f64, free_flow_speed: f64, over_capacity: bool, edition: Edition) -> char {
    let best = if edition == Edition::Hcm6 { 80.0 } else { 85.0 };
    let above = [(best, 'A'), (67.0, 'B'), (50.0, 'C'), (40.0, 'D'), (30.0, 'E')];
    let percent = 100.0 * speed / free_flow_speed;
    let level = above.iter().find(|(limit, _)| *limit < percent).map(|(_, level)| *level);
    level.filter(|_| !over_capacity).unwrap_or('F')
}

/// What makes a stretch of road a queue.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QueueRule {
    /// Of the free-flow speed; slower stands in the queue.
    pub share: f64,
    /// In so many of the last `of` intervals.
    pub intervals: usize,
    pub of: usize,
}

impl Default for QueueRule {
    fn default() -> Self {
        QueueRule { share: 0.4, intervals: 5, of: 7 }
    }
}

/// How many stretches, from the head of the queue against the traffic, stand in it. `ratios` are, for each stretch in
/// that order, its speeds over its free-flow speed in the last intervals; a missing one speaks neither for nor against.
pub fn queue(ratios: &[Vec<Option<f64>>], rule: QueueRule) -> usize {
    let stands = |ratios: &Vec<Option<f64>>| {
        let last = &ratios[ratios.len().saturating_sub(rule.of)..];
        rule.intervals <= last.iter().flatten().filter(|ratio| **ratio < rule.share).count()
    };
    ratios.iter().take_while(|ratios| stands(ratios)).count()
}

/// Whether it is slow at one station and fast at the next (PeMS: below 40 mph, and 20 mph more); km/h.
pub fn is_slow_before_fast((upstream, downstream): (Option<f64>, Option<f64>)) -> bool {
    upstream.zip(downstream).is_some_and(|(up, down)| up < 64.4 && 32.2 <= down - up)
}

/// Whether a bottleneck lies between two stations (PeMS: slow before fast, within 3 miles, in 5 of 7 intervals). Speeds in
/// km/h, of the last intervals: upstream and downstream.
pub fn is_bottleneck(speeds: &[(Option<f64>, Option<f64>)], distance_km: f64) -> bool {
    let (within_km, intervals, of) = (4.83, 5, 7);
    let last = &speeds[speeds.len().saturating_sub(of)..];
    distance_km <= within_km && intervals <= last.iter().filter(|ends| is_slow_before_fast(**ends)).count()
}

/// The California algorithm (Payne and Tignor 1978) between two stations, on occupancies in percent of intervals of a
/// minute. Defaults: T1 = 13, T2 = 0.55, T3 = 0.1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct California {
    t1: f64,
    t2: f64,
    t3: f64,
    state: Incident,
    /// Downstream occupancies of the two intervals before.
    before: [Option<f64>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incident {
    None,
    /// The thresholds were passed once.
    Tentative,
    Declared,
}

impl Default for California {
    fn default() -> Self {
        California::new(13.0, 0.55, 0.1)
    }
}

impl California {
    /// Before its first interval.
    pub fn new(t1: f64, t2: f64, t3: f64) -> California {
        California { t1, t2, t3, state: Incident::None, before: [None; 2] }
    }

    /// Takes in the next interval; a missing occupancy keeps a declared incident and drops a tentative one.
    pub fn next(&mut self, upstream: Option<f64>, downstream: Option<f64>) -> Incident {
        let differences = upstream.zip(downstream).map(|(up, down)| (up - down, (up - down) / up));
        let fell = self.before[0].zip(downstream).map(|(before, now)| (before - now) / before);
        self.before = [self.before[1], downstream];
        let stays = differences.is_some_and(|(_, relative)| self.t2 <= relative);
        self.state = match (self.state, differences) {
            (Incident::None, Some((absolute, _))) => {
                let begins = self.t1 <= absolute && stays && fell.is_some_and(|fell| self.t3 <= fell);
                if begins { Incident::Tentative } else { Incident::None }
            }
            (Incident::Tentative | Incident::Declared, Some(_)) if stays => Incident::Declared,
            (Incident::Declared, None) => Incident::Declared,
            _ => Incident::None,
        };
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arithmetic, Passage, Quality, Time, arithmetic::Meter, state::Inside};

    fn of_speeds(speeds: &[f64]) -> State {
        let arithmetic = Arithmetic::new(Kind::Event, None, None, Meter::default());
        let mut state = State::default();
        for (second, speed) in (0..).zip(speeds) {
            let passage = Passage {
                id: second,
                speed_kmh: Some(*speed),
                length_m: None,
                on_time_s: None,
                class: Some(if second % 2 == 0 { "car".into() } else { "bus".into() }),
                tags: None,
            };
            let time = Time::from_micros(second * 1_000_000);
            let inside =
                Inside { time, value: 1.0, quality: Quality::GOOD, passage: Some(&passage), volume: None };
            state.add(&inside, Time::from_micros(3_600_000_000), &arithmetic);
        }
        state
    }

    #[test]
    fn the_two_mean_speeds_are_those_of_the_textbook() {
        // NPTEL 105101008: 12 vehicles at 10 m/s and 12 at 20 m/s.
        let state = of_speeds(&[[36.0; 12], [72.0; 12]].concat());
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() / 3.6 - b).abs() < 0.005, "{a:?} {b}");
        near(time_mean_speed(&state, Kind::Event), 15.0);
        near(space_mean_speed(&state, Kind::Event), 13.333);
        near(space_mean_speed(&of_speeds(&[0.0, 0.0]), Kind::Event), 0.5);
        let span = Time::from_micros(0)..Time::from_micros(60_000_000);
        let settled = |state: State, covered: i64| Settled { state, covered, ..Settled::empty(span.clone()) };
        assert_eq!(volume(&settled(state.clone(), 0), Kind::Event), Some(24.0));
        assert_eq!(volume(&settled(State::default(), 0), Kind::Event), None);
        assert_eq!(volume(&settled(State::default(), 60_000_000), Kind::Event), Some(0.0));
        assert_eq!(passenger_cars(&state, pcu), Some(36.0));
    }

    #[test]
    fn quantiles_are_near_their_rank() {
        let speeds: Vec<f64> = (1..=200).map(|i| f64::from(i) / 2.0).collect();
        let state = of_speeds(&speeds);
        for (share, exact) in [(0.15, 15.0), (0.5, 50.0), (0.85, 85.0)] {
            let found = speed_quantile(&state, share).unwrap();
            assert!((found / exact - 1.0).abs() < 0.006, "{share}: {found}");
        }
    }

    #[test]
    fn the_peak_hour_is_the_highest_whole_one() {
        let quarters =
            [Some(10.0), Some(20.0), Some(30.0), Some(40.0), Some(30.0), None, Some(90.0), Some(90.0)];
        let peak = peak_hour(&quarters).unwrap();
        assert_eq!((peak.at, peak.volume, peak.factor), (1, 120.0, 0.75));
        assert_eq!(peak_hour(&quarters[4..]), None);
    }

    #[test]
    fn an_annual_average_needs_its_days() {
        let day = |month: i8, day: i8| Date::constant(2026, month, day);
        let week: Vec<(Date, f64)> = (5..12).map(|d| (day(1, d), f64::from(d))).collect();
        assert_eq!(aadt(&week, AadtMethod::Weekday), Ok(8.0));
        assert_eq!(aadt(&week, AadtMethod::Monthly), Err(NoAverage::Months { months: 1 }));
        assert_eq!(
            aadt(&week[..6], AadtMethod::Weekday),
            Err(NoAverage::Weekday { weekday: Weekday::Sunday })
        );
        assert_eq!(aadt(&[], AadtMethod::SimpleMean), Err(NoAverage::NoDay));
        assert_eq!(nth_highest(&[3.0, 9.0, 5.0], 2), Some(5.0));
        assert_eq!(k_factor(&[3.0, 9.0, 5.0], 4, 10.0), None);
        assert_eq!(directional_share(300.0, 100.0), Some(0.75));
    }

    #[test]
    fn travel_is_added_up_before_it_is_divided() {
        let fast = Travel::of(100.0, 1.0, 100.0, 80.0);
        let slow = Travel::of(100.0, 1.0, 20.0, 80.0);
        assert_eq!(fast.delay_h, 0.0);
        let both = fast.plus(slow);
        assert!((both.speed().unwrap() - 33.333).abs() < 0.001 && (both.delay_h - 3.75).abs() < 1e-12);
        assert_eq!(travel_time_index(40.0, 80.0), 2.0);
        assert_eq!(travel_time_index(90.0, 80.0), 1.0);
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(planning_time_index(&times, 50.0), Some(1.9));
    }

    #[test]
    fn levels_are_those_of_their_edition() {
        let freeway: String =
            [5.0, 11.0, 16.0, 21.0, 27.0, 29.0].map(|k| freeway_level(k, false)).iter().collect();
        assert_eq!((freeway.as_str(), freeway_level(5.0, true)), ("ABCDEF", 'F'));
        assert_eq!(street_level(41.0, 50.0, false, Edition::Hcm2010), 'B');
        assert_eq!(street_level(41.0, 50.0, false, Edition::Hcm6), 'A');
        assert_eq!(street_level(10.0, 50.0, false, Edition::Hcm6), 'F');
    }

    #[test]
    fn a_queue_ends_where_traffic_moves() {
        let slow = vec![Some(0.2); 7];
        let half = vec![Some(0.2), None, Some(0.2), Some(0.3), None, Some(0.3), Some(0.1)];
        let moving = vec![Some(0.9); 7];
        assert_eq!(queue(&[slow.clone(), half, moving, slow], QueueRule::default()), 2);
        assert!(is_bottleneck(&[(Some(40.0), Some(90.0)); 7], 2.0));
        assert!(!is_bottleneck(&[(Some(40.0), Some(90.0)); 4], 2.0));
        assert!(!is_bottleneck(&[(Some(40.0), Some(90.0)); 7], 5.0));
    }

    #[test]
    fn an_incident_is_declared_in_its_second_interval_and_cleared() {
        let mut california = California::default();
        let said: Vec<Incident> =
            [(12.0, 11.0), (12.0, 11.0), (35.0, 8.0), (40.0, 7.0), (38.0, 8.0), (14.0, 12.0)]
                .into_iter()
                .map(|(up, down)| california.next(Some(up), Some(down)))
                .collect();
        use Incident::{Declared, None as No, Tentative};
        assert_eq!(said, [No, No, Tentative, Declared, Declared, No]);
    }

    #[test]
    fn single_loops_are_calibrated_in_free_flow() {
        let intervals: Vec<(f64, f64)> = (1..=10).map(|i| (f64::from(i) * 100.0, f64::from(i))).collect();
        let length = effective_length_m(&intervals, 60.0).unwrap();
        assert!((length - 6.0).abs() < 1e-9);
        assert_eq!(speed_of_single_loop(1_000.0, 10.0, length), Some(60.0));
        assert_eq!(speed_of_single_loop(0.0, 0.0, length), None);
        assert_eq!((density(1_800.0, 60.0), headway_s(1_800.0)), (30.0, Some(2.0)));
        assert!((gap_s(2.0, 5.0, 36.0) - 1.5).abs() < 1e-12);
        assert_eq!(density_of_occupancy(10.0, 4.5, 2.0), 100.0 / 6.5);
    }
}

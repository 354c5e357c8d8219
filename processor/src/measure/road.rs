//! Roads: stations on segments, in the order of the traffic, and what their detectors say together. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use super::{
    Width,
    station::{Measured, Station},
    traffic::{self, California, Edition, Incident, QueueRule, Travel},
};
use crate::model::bucket::FIVE_MINUTES;

/// A stretch of road, as the registry says.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Segment {
    pub id: String,
    pub length_m: Option<f64>,
    pub lanes: Option<i32>,
    pub free_flow_speed_kmh: Option<f64>,
    pub speed_limit_kmh: Option<f64>,
    pub capacity_pcu_h: Option<f64>,
    pub road_class: Option<String>,
    /// Of its traffic: `offset_m` rises along it.
    pub direction: Option<String>,
    pub from_node: Option<String>,
    pub to_node: Option<String>,
}

impl Segment {
    /// The speed that delays and levels are measured by: in free flow, else the limit.
    pub fn reference_speed(&self) -> Option<f64> {
        self.free_flow_speed_kmh.or(self.speed_limit_kmh)
    }

    /// Whether its level of service is one of density; on streets it is one of speed.
    pub fn is_freeway(&self) -> bool {
        let class = self.road_class.as_deref().unwrap_or_default().to_lowercase();
        ["motorway", "freeway", "trunk", "expressway"].iter().any(|name| class.starts_with(name))
    }
}

/// What a segment did in a bucket: the mean of its stations, each of which speaks of an equal share of the length.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Conditions {
    pub volume: Option<f64>,
    pub flow: Option<f64>,
    pub speed: Option<f64>,
    pub occupancy: Option<f64>,
    pub coverage: Option<f64>,
    /// Vehicles a kilometre and lane.
    pub density: Option<f64>,
    /// As passenger cars, where classes are known.
    pub passenger_cars: Option<f64>,
    /// Some of `speed`, and of what is made of it, is estimated from occupancies.
    pub is_estimated: bool,
    pub travel_time_index: Option<f64>,
    /// Of the speed of reference.
    pub speed_ratio: Option<f64>,
    /// Through the whole segment.
    pub travel_time_s: Option<f64>,
    pub level_of_service: Option<char>,
    /// Where the segment has a length, and its vehicles a speed.
    pub travel: Option<Travel>,
}

impl Conditions {
    pub fn of(segment: &Segment, stations: &[Measured], edition: Edition) -> Conditions {
        let mean = |of: fn(&Measured) -> Option<f64>| {
            let known: Vec<f64> = stations.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let (volume, flow) = (mean(|one| one.volume), mean(|one| one.flow));
        let reference = segment.reference_speed();
        let share = |length_km: f64| {
            let known = stations.iter().filter_map(|one| Some((one.volume?, one.speed)));
            let known: Vec<(f64, Option<f64>)> = known.collect();
            let part = length_km / known.len() as f64;
            let travel = |(volume, speed): &(f64, Option<f64>)| match speed {
                Some(speed) => Some(Travel::of(*volume, part, *speed, reference.unwrap_or(*speed))),
                None => (*volume == 0.0).then(Travel::default),
            };
            let travels: Option<Vec<Travel>> = known.iter().map(travel).collect();
            travels
                .filter(|all| !all.is_empty())
                .map(|all| all.into_iter().fold(Travel::default(), Travel::plus))
        };
        let speed = share(1.0).and_then(Travel::speed).or_else(|| mean(|one| one.speed));
        let lanes = segment.lanes.filter(|lanes| 0 < *lanes).map(f64::from);
        let density = flow.zip(speed).zip(lanes).map(|((q, v), lanes)| traffic::density(q, v) / lanes);
        // As passenger cars, where classes are known.
        let classed = stations.iter().filter_map(|one| one.passenger_cars.zip(one.volume));
        let (cars, vehicles) = classed.fold((0.0, 0.0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
        let heavy = if 0.0 < vehicles { cars / vehicles } else { 1.0 };
        let over = flow.zip(segment.capacity_pcu_h).is_some_and(|(q, capacity)| capacity < q * heavy);
        let level_of_service = match segment.is_freeway() {
            true => density.map(|density| traffic::freeway_level(density * heavy, over)),
            false => speed.zip(reference).map(|(v, free)| traffic::street_level(v, free, over, edition)),
        };
        Conditions {
            volume,
            flow,
            speed,
            occupancy: mean(|one| one.occupancy),
            coverage: mean(|one| one.coverage),
            density,
            passenger_cars: volume.filter(|_| 0.0 < vehicles).map(|volume| volume * heavy),
            is_estimated: stations.iter().any(|one| one.is_estimated),
            travel_time_index: speed.zip(reference).map(|(v, free)| traffic::travel_time_index(v, free)),
            speed_ratio: speed.zip(reference).map(|(v, free)| v / free),
            travel_time_s: speed
                .zip(segment.length_m)
                .map(|(v, length_m)| traffic::travel_time_s(length_m, v)),
            level_of_service,
            travel: segment.length_m.and_then(|length_m| share(length_m / 1_000.0)),
        }
    }
}

/// Two stations with none between them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pair {
    pub upstream: usize,
    pub downstream: usize,
    pub distance_km: f64,
}

/// Further apart, what one station sees says little of the other (PeMS: three miles).
const NEAR_KM: f64 = 4.83;

/// The pairs of neighbouring stations, in the direction of the traffic: along a segment by their offsets, and beyond its
/// end on the segments that begin where it ends. Traffic against the direction of its segment has none.
pub fn pairs(segments: &BTreeMap<String, Segment>, stations: &[Station]) -> Vec<Pair> {
    let mut on: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, station) in stations.iter().enumerate() {
        on.entry(&station.segment).or_default().push(at);
    }
    for along in on.values_mut() {
        along.sort_by(|a, b| stations[*a].offset_m.total_cmp(&stations[*b].offset_m));
    }
    let mut beginning: HashMap<&str, Vec<&Segment>> = HashMap::new();
    for segment in segments.values() {
        if let Some(node) = &segment.from_node {
            beginning.entry(node).or_default().push(segment);
        }
    }
    let first_on = |segment: &str, direction: &Option<String>, beyond: Option<f64>| {
        let along = on.get(segment).into_iter().flatten().copied();
        let mut ahead = along.filter(|at| beyond.is_none_or(|offset_m| offset_m < stations[*at].offset_m));
        ahead.find(|at| &stations[*at].direction == direction)
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for (upstream, station) in stations.iter().enumerate() {
        let direction = &station.direction;
        let of_segment = segments.get(&station.segment).and_then(|segment| segment.direction.as_ref());
        if of_segment.zip(direction.as_ref()).is_some_and(|(segment, own)| segment != own) {
            continue;
        }
        if let Some(downstream) = first_on(&station.segment, direction, Some(station.offset_m)) {
            let distance_km = (stations[downstream].offset_m - station.offset_m) / 1_000.0;
            pairs.push(Pair { upstream, downstream, distance_km });
            continue;
        }
        let own = segments.get(&station.segment).and_then(|segment| end_of(segment, station.offset_m));
        let mut ways: Vec<(&str, f64)> = own.into_iter().collect();
        let mut passed: Vec<&str> = vec![&station.segment];
        while let Some((node, metres)) = ways.pop() {
            for next in beginning.get(node).into_iter().flatten() {
                if passed.contains(&next.id.as_str()) || NEAR_KM * 1_000.0 < metres {
                    continue;
                }
                passed.push(&next.id);
                match first_on(&next.id, direction, None) {
                    Some(downstream) => {
                        let distance_km = (metres + stations[downstream].offset_m) / 1_000.0;
                        pairs.push(Pair { upstream, downstream, distance_km });
                    }
                    None => ways.extend(end_of(next, 0.0).map(|(node, length)| (node, metres + length))),
                }
            }
        }
    }
    pairs.retain(|pair| pair.distance_km <= NEAR_KM);
    pairs
}

/// The node where a segment ends, and how many metres it is from a place on it.
fn end_of(segment: &Segment, from_m: f64) -> Option<(&str, f64)> {
    Some((segment.to_node.as_deref()?, segment.length_m? - from_m))
}

/// The intervals in which bottlenecks are looked for (PeMS).
pub const BOTTLENECK_WIDTH: Width = Width::Micros(FIVE_MINUTES);
/// The intervals in which incidents are looked for (Payne and Tignor 1978).
pub const INCIDENT_WIDTH: Width = Width::Micros(60_000_000);

/// A bottleneck and the queue behind it.
#[derive(Clone, PartialEq, Debug)]
pub struct Congestion {
    /// Index of the first and the last interval in which it was slow before and fast behind.
    pub first: usize,
    pub last: usize,
    pub pair: Pair,
    /// The most stations that stood in its queue, and how far it reached; `None` without a speed in free flow.
    pub queue: Option<(usize, f64)>,
}

/// The bottlenecks of a network, each with its longest queue, in order of time. `speeds` are of each station, in km/h by
/// interval; `references` their speeds in free flow. Where roads merge, a queue is followed along the nearest.
pub fn congestion(
    pairs: &[Pair],
    speeds: &[Vec<Option<f64>>],
    references: &[Option<f64>],
    rule: QueueRule,
) -> Vec<Congestion> {
    let intervals = speeds.iter().map(Vec::len).max().unwrap_or(0);
    let speed = |station: usize, at: usize| speeds[station].get(at).copied().flatten();
    let ratio = |station: usize, at: usize| Some(speed(station, at)? / references[station]?);
    let mut before: HashMap<usize, Pair> = HashMap::new();
    for pair in pairs {
        let nearest = before.entry(pair.downstream).or_insert(*pair);
        if pair.distance_km < nearest.distance_km {
            *nearest = *pair;
        }
    }
    let queue = |from: usize, window: &Range<usize>| {
        references[from]?;
        let stands = |station: usize| {
            let ratios: Vec<Option<f64>> = window.clone().map(|at| ratio(station, at)).collect();
            traffic::queue(&[ratios], rule) == 1
        };
        let (mut station, mut stations, mut length_km) = (from, 0, 0.0);
        let mut passed = HashSet::new();
        let mut next_km = 0.0;
        while passed.insert(station) && stands(station) {
            stations += 1;
            length_km += next_km;
            let Some(pair) = before.get(&station) else { break };
            (station, next_km) = (pair.upstream, pair.distance_km);
        }
        Some((stations, length_km))
    };
    let mut found: Vec<Congestion> = Vec::new();
    for pair in pairs {
        for at in 0..intervals {
            let window = (at + 1).saturating_sub(rule.of.max(BOTTLENECK_OF))..at + 1;
            let ends = |at: usize| (speed(pair.upstream, at), speed(pair.downstream, at));
            let both: Vec<_> = window.clone().map(ends).collect();
            if !traffic::is_bottleneck(&both, pair.distance_km) {
                continue;
            }
            let mut slow = window.clone().filter(|at| traffic::is_slow_before_fast(ends(*at)));
            let (first, last) = (slow.next().unwrap_or(at), slow.next_back().unwrap_or(at));
            let queue = queue(pair.upstream, &window);
            // One that holds on with a pause goes on.
            match found.last_mut().filter(|known| known.pair == *pair && first <= known.last + 1) {
                Some(known) => {
                    known.last = last;
                    known.queue = [known.queue, queue]
                        .into_iter()
                        .max_by_key(|queue| queue.map(|(stations, _)| stations))
                        .flatten();
                }
                None => found.push(Congestion { first, last, pair: *pair, queue }),
            }
        }
    }
    found.sort_by_key(|congestion| (congestion.first, congestion.pair.upstream));
    found
}

/// So many intervals a bottleneck is judged by.
const BOTTLENECK_OF: usize = 7;

/// An incident between two stations, from the interval of its first sign to the last in which it was declared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Alarm {
    pub first: usize,
    pub last: usize,
    pub pair: Pair,
}

/// The incidents of a network, in order of time. `occupancies` are of each station, in percent by minute.
pub fn incidents(pairs: &[Pair], occupancies: &[Vec<Option<f64>>], rule: California) -> Vec<Alarm> {
    let minutes = occupancies.iter().map(Vec::len).max().unwrap_or(0);
    let occupancy = |station: usize, at: usize| occupancies[station].get(at).copied().flatten();
    let mut alarms: Vec<Alarm> = Vec::new();
    for pair in pairs {
        let mut state = rule;
        let mut open: Option<usize> = None;
        let is_silent =
            |at: usize| [pair.upstream, pair.downstream].iter().any(|end| occupancy(*end, at).is_none());
        for at in 0..minutes {
            match state.next(occupancy(pair.upstream, at), occupancy(pair.downstream, at)) {
                // What was not observed goes on without being said.
                Incident::Declared if is_silent(at) => {}
                Incident::Declared => match open {
                    Some(known) => alarms[known].last = at,
                    None => {
                        open = Some(alarms.len());
                        alarms.push(Alarm { first: at.saturating_sub(1), last: at, pair: *pair });
                    }
                },
                Incident::Tentative | Incident::None => open = None,
            }
        }
    }
    alarms.sort_by_key(|alarm| (alarm.first, alarm.pair.upstream));
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(id: &str, from: &str, to: &str) -> (String, Segment) {
        let (id, node) = (id.to_owned(), |name: &str| Some(name.to_owned()));
        let segment = Segment {
            id: id.clone(),
            length_m: Some(1_000.0),
            lanes: Some(2),
            free_flow_speed_kmh: Some(100.0),
            from_node: node(from),
            to_node: node(to),
            ..Segment::default()
        };
        (id, segment)
    }

    fn station(segment: &str, offset_m: f64) -> Station {
        Station {
            segment: segment.to_owned(),
            direction: None,
            offset_m,
            sensors: vec![format!("{segment}-{offset_m}")],
            counts: Vec::new(),
            speeds: Vec::new(),
            occupancies: Vec::new(),
            passages: Vec::new(),
        }
    }

    #[test]
    fn neighbours_are_found_along_the_road() {
        let segments = BTreeMap::from([
            segment("a", "1", "2"),
            segment("b", "2", "3"),
            segment("c", "3", "4"),
            segment("d", "2", "9"),
            segment("loop", "4", "1"),
        ]);
        let stations = [station("a", 200.0), station("a", 700.0), station("c", 100.0), station("d", 50.0)];
        let pairs: Vec<(usize, usize, f64)> = super::pairs(&segments, &stations)
            .iter()
            .map(|pair| (pair.upstream, pair.downstream, (pair.distance_km * 1_000.0).round()))
            .collect();
        // Past b, which has no station, onto c; and from c around the loop.
        assert_eq!(pairs, [(0, 1, 500.0), (1, 3, 350.0), (1, 2, 1_400.0), (2, 0, 2_100.0)]);
    }

    #[test]
    fn a_bottleneck_has_its_queue() {
        let pair = |upstream, downstream| Pair { upstream, downstream, distance_km: 0.5 };
        let pairs = [pair(0, 1), pair(1, 2), pair(2, 3)];
        // Slow from the tenth interval to the 29th at the third station, a little later at the second.
        let slow = |from: usize, to: usize| -> Vec<Option<f64>> {
            (0..40).map(|at| Some(if (from..to).contains(&at) { 25.0 } else { 95.0 })).collect()
        };
        let speeds = [slow(99, 99), slow(14, 24), slow(10, 30), slow(99, 99)];
        let found = congestion(&pairs, &speeds, &[Some(100.0); 4], QueueRule::default());
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.pair.upstream, one.first, one.last), (2, 10, 29));
        assert_eq!(one.queue, Some((2, 0.5)));
        let blind = congestion(&pairs, &speeds, &[None; 4], QueueRule::default());
        assert_eq!(blind[0].queue, None);
    }

    #[test]
    fn an_incident_has_a_begin_and_an_end() {
        let pair = Pair { upstream: 0, downstream: 1, distance_km: 0.8 };
        let before = (0..30).map(|at| Some(if (10..20).contains(&at) { 40.0 } else { 12.0 })).collect();
        let behind = (0..30).map(|at| Some(if (10..20).contains(&at) { 5.0 } else { 11.0 })).collect();
        let alarms = incidents(&[pair], &[before, behind], California::default());
        assert_eq!(alarms, [Alarm { first: 10, last: 19, pair }]);
    }

    #[test]
    fn a_segment_is_the_mean_of_its_stations() {
        let (_, mut road) = segment("a", "1", "2");
        let at = |volume: f64, speed: f64| Measured {
            volume: Some(volume),
            flow: Some(4.0 * volume),
            speed: Some(speed),
            ..Measured::default()
        };
        let conditions = Conditions::of(&road, &[at(100.0, 50.0), at(100.0, 100.0)], Edition::default());
        let travel = conditions.travel.unwrap();
        // 100 vehicles over a kilometre: half at 50, half at 100.
        assert_eq!((travel.vehicle_km, travel.vehicle_h, travel.delay_h), (100.0, 1.5, 0.5));
        assert_eq!(conditions.speed.map(f64::round), Some(67.0));
        assert_eq!(conditions.density, Some(400.0 / (100.0 / 1.5) / 2.0));
        assert_eq!(conditions.level_of_service, Some('C'));
        assert_eq!(conditions.travel_time_s.map(f64::round), Some(54.0));
        assert_eq!(conditions.speed_ratio, conditions.speed.map(|speed| speed / 100.0));
        road.road_class = Some("Motorway".to_owned());
        let conditions = Conditions::of(&road, &[at(100.0, 50.0), Measured::default()], Edition::default());
        assert_eq!((conditions.volume, conditions.level_of_service), (Some(100.0), Some('A')));
        assert_eq!(Conditions::of(&road, &[Measured::default()], Edition::default()), Conditions::default());
        let empty = Measured { volume: Some(0.0), flow: Some(0.0), ..Measured::default() };
        let empty = Conditions::of(&road, &[empty], Edition::default());
        assert_eq!((empty.travel, empty.speed), (Some(Travel::default()), None));
    }
}

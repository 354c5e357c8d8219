//! What the registry knows of roads and zones: which stations stand on which segment, which meters belong to which zone,
//! and where single sensors are.

use std::{collections::BTreeMap, ops::Range, sync::RwLock};

use jiff::Timestamp;
use tokio_postgres::{Client, Row};

use super::{
    road::Segment,
    sensor::{Detector, Usage},
    station::{Mounted, Station},
    zone::{Meter, Role},
};
use crate::{
    model::{Kind, Series, SeriesId, Time},
    registry::{self, Registry},
    store::StoreError,
};

/// Segments, and the stations on them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Roads {
    pub segments: BTreeMap<String, Segment>,
    /// By segment, direction and offset.
    pub stations: Vec<Station>,
}

impl Roads {
    /// Without passages beside what is counted: those who ask for no speeds of single vehicles need not read them.
    #[must_use]
    pub fn without_passages(mut self) -> Roads {
        self.stations.iter_mut().for_each(|station| station.passages.clear());
        self
    }

    /// Of each station the speed that queues are measured by, in km/h.
    pub fn reference_speeds(&self) -> Vec<Option<f64>> {
        let of = |station: &Station| self.segments.get(&station.segment)?.reference_speed();
        self.stations.iter().map(of).collect()
    }
}

/// A sensor of traffic at its place, for as long as it was there.
struct Standing {
    segment: Option<String>,
    direction: Option<String>,
    offset_m: Option<f64>,
    lane: Option<i32>,
    sensor: String,
    valid: Range<Time>,
    /// By metric.
    series: Vec<(String, Series)>,
}

/// The roads of the city, with the sensors that stood there for some of a period.
///
/// # Errors
/// The database cannot be read.
pub async fn roads(
    client: &Client,
    registry: &RwLock<Registry>,
    period: &Range<Timestamp>,
) -> Result<Roads, StoreError> {
    let query = "SELECT id, length_m, lanes, free_flow_speed_kmh, speed_limit_kmh, capacity_pcu_h, road_class, from_node,
                     to_node, direction
                 FROM segment";
    let rows = client.query(query, &[]).await?;
    let segments: BTreeMap<String, Segment> = rows.iter().map(|row| (row.get(0), segment(row))).collect();
    let standing = standing(client, registry, period, None).await?;
    let on_segment =
        |standing: &Standing| standing.segment.as_ref().is_some_and(|id| segments.contains_key(id));
    let stations = stations(standing.into_iter().filter(on_segment));
    Ok(Roads { segments, stations })
}

/// Every sensor of traffic, on a segment or not, that stood somewhere for some of a period; of these series, or of all.
///
/// # Errors
/// The database cannot be read.
pub async fn detectors(
    client: &Client,
    registry: &RwLock<Registry>,
    period: &Range<Timestamp>,
    only: Option<&[i32]>,
) -> Result<Vec<Detector>, StoreError> {
    let mut detectors = Vec::new();
    for Standing { segment, direction, lane, sensor, valid, series, .. } in
        standing(client, registry, period, only).await?
    {
        for (direction, series) in by_direction(direction, series) {
            let passages = passages(&series);
            let [counts, speeds, occupancies] = parts(&series);
            let (sensor, segment, valid) = (sensor.clone(), segment.clone(), valid.clone());
            let detector =
                Detector { sensor, segment, direction, lane, valid, counts, speeds, occupancies, passages };
            if detector.series().next().is_some() {
                detectors.push(detector);
            }
        }
    }
    Ok(detectors)
}

/// By place; with the series of traffic that each has.
async fn standing(
    client: &Client,
    registry: &RwLock<Registry>,
    period: &Range<Timestamp>,
    only: Option<&[i32]>,
) -> Result<Vec<Standing>, StoreError> {
    let query = format!(
        "SELECT sensor.segment, sensor.direction, sensor.offset_m, sensor.lane, sensor.id, {VALID}, series.id, series.metric
         FROM sensor JOIN series ON series.sensor = sensor.id
         WHERE sensor.valid_from < $2 AND $1 < sensor.valid_to AND starts_with(series.metric, 'traffic.')
             AND ($3::int4[] IS NULL OR series.id = ANY($3))
             AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id)
         ORDER BY sensor.segment, sensor.direction, sensor.offset_m, sensor.lane, sensor.id, sensor.valid_from, series.metric"
    );
    let rows = client.query(&query, &[&period.start, &period.end, &only]).await?;
    let registry = registry::read(registry);
    let place = |row: &Row| (row.get::<_, String>(4), row.get::<_, Option<Timestamp>>(5));
    let standing = rows.chunk_by(|a, b| place(a) == place(b)).map(|rows| Standing {
        segment: rows[0].get(0),
        direction: rows[0].get(1),
        offset_m: rows[0].get(2),
        lane: rows[0].get(3),
        sensor: rows[0].get(4),
        valid: valid(&rows[0], 5),
        series: rows
            .iter()
            .filter_map(|row| Some((row.get(8), registry.series(SeriesId(row.get(7)))?.clone())))
            .collect(),
    });
    Ok(standing.collect())
}

/// When a row of a sensor holds; infinity is none.
const VALID: &str = "CASE WHEN isfinite(sensor.valid_from) THEN sensor.valid_from END,
    CASE WHEN isfinite(sensor.valid_to) THEN sensor.valid_to END";

fn valid(row: &Row, column: usize) -> Range<Time> {
    let at = |column: usize, none: i64| {
        row.get::<_, Option<Timestamp>>(column).map_or(Time::from_micros(none), Time::from)
    };
    at(column, i64::MIN)..at(column + 1, i64::MAX)
}

fn segment(row: &Row) -> Segment {
    Segment {
        id: row.get(0),
        length_m: row.get(1),
        lanes: row.get(2),
        free_flow_speed_kmh: row.get(3),
        speed_limit_kmh: row.get(4),
        capacity_pcu_h: row.get(5),
        road_class: row.get(6),
        from_node: row.get(7),
        to_node: row.get(8),
        direction: row.get(9),
    }
}

/// Detectors no further apart are one station.
const PLACE_M: f64 = 10.0;

/// The lanes of a station, and when each was taken.
type Lanes = Vec<(i32, Range<Time>)>;

/// Sensors that stand side by side, one a lane, are one station. Where one has no offset, only lanes that differ say that
/// they stand side by side, and not one behind the other. A sensor whose metrics name directions (`.dir1`) is a station of each.
fn stations(standing: impl Iterator<Item = Standing>) -> Vec<Station> {
    let mut stations: Vec<(Station, Option<f64>, Lanes)> = Vec::new();
    for Standing { segment, direction, offset_m, lane, sensor, valid, series } in standing {
        let Some(segment) = segment else { continue };
        for (direction, series) in by_direction(direction, series) {
            let mount = |series: Vec<Series>| -> Vec<Mounted> {
                series.into_iter().map(|series| Mounted { series, valid: valid.clone() }).collect()
            };
            let [counts, speeds, occupancies] = parts(&series).map(mount);
            let passages = mount(passages(&series));
            if [&counts, &speeds, &occupancies, &passages].iter().all(|part| part.is_empty()) {
                continue;
            }
            let beside = |(known, at, lanes): &&mut (Station, Option<f64>, Lanes)| {
                // Who takes the place of another stands in the same lane, but later.
                let meets = |other: &Range<Time>| other.start < valid.end && valid.start < other.end;
                let apart =
                    lane.is_none_or(|lane| !lanes.iter().any(|(other, at)| *other == lane && meets(at)));
                let near = match at.zip(offset_m) {
                    Some((one, other)) => (one - other).abs() <= PLACE_M && apart,
                    None => *at == offset_m && lane.is_some() && !lanes.is_empty() && apart,
                };
                (&known.segment, &known.direction) == (&segment, &direction)
                    && (near || known.sensors.contains(&sensor))
            };
            if let Some((known, _, lanes)) = stations.iter_mut().rev().take(LANES_MAX).find(beside) {
                if !known.sensors.contains(&sensor) {
                    known.sensors.push(sensor.clone());
                }
                known.counts.extend(counts);
                known.speeds.extend(speeds);
                known.occupancies.extend(occupancies);
                known.passages.extend(passages);
                lanes.extend(lane.map(|lane| (lane, valid.clone())));
            } else {
                let (segment, sensors) = (segment.clone(), vec![sensor.clone()]);
                let station = Station {
                    segment,
                    direction,
                    offset_m: offset_m.unwrap_or(0.0),
                    sensors,
                    counts,
                    speeds,
                    occupancies,
                    passages,
                };
                let lanes = lane.map(|lane| (lane, valid.clone())).into_iter().collect();
                stations.push((station, offset_m, lanes));
            }
        }
    }
    let mut stations: Vec<Station> = stations.into_iter().map(|(station, ..)| station).collect();
    stations.sort_by(|a, b| {
        let place = |station: &Station| (station.segment.clone(), station.direction.clone());
        place(a).cmp(&place(b)).then(a.offset_m.total_cmp(&b.offset_m))
    });
    stations
}

/// Sensors come in order of their place: only the last stations can be beside the next one.
const LANES_MAX: usize = 64;

/// The series of a sensor by direction: of the metric where it names one (`.dir1`), else of the sensor.
fn by_direction(
    direction: Option<String>,
    series: Vec<(String, Series)>,
) -> BTreeMap<Option<String>, Vec<(String, Series)>> {
    let mut directions: BTreeMap<Option<String>, Vec<(String, Series)>> = BTreeMap::new();
    for (metric, series) in series {
        let own = metric.split('.').find(|word| word.starts_with("dir")).map(str::to_owned);
        directions.entry(own.or_else(|| direction.clone())).or_default().push((metric, series));
    }
    directions
}

/// What one sensor counts, its speeds and its occupancies, without counting a vehicle twice: a metric that is whole
/// (`traffic.volume`) stands for its parts (`traffic.volume.lane1`), and intervals stand for single passages.
fn parts(series: &[(String, Series)]) -> [Vec<Series>; 3] {
    let of = |name: &str, fits: &dyn Fn(Kind) -> bool| part(series, name, fits);
    let mut counts = of("traffic.volume", &|kind| matches!(kind, Kind::Total | Kind::Delta));
    if counts.is_empty() {
        counts = passages(series);
    }
    let speeds = of("traffic.speed", &|kind| kind != Kind::Event);
    // Those that are weighted by what is counted; where there are none, as from probes, all of them.
    let paired = |speed: &&Series| counts.iter().any(|count| speed.volume == Some(count.id));
    let paired: Vec<Series> = speeds.iter().filter(paired).cloned().collect();
    let speeds = if paired.is_empty() { speeds } else { paired };
    [counts, speeds, of("traffic.occupancy", &|kind| kind != Kind::Event)]
}

fn passages(series: &[(String, Series)]) -> Vec<Series> {
    part(series, "traffic.vehicle", &|kind| kind == Kind::Event)
}

/// The series of a name, or of the names that it begins.
fn part(series: &[(String, Series)], name: &str, fits: &dyn Fn(Kind) -> bool) -> Vec<Series> {
    let mut parts = Vec::new();
    for (metric, series) in series.iter().filter(|(_, series)| fits(series.kind)) {
        match metric.strip_prefix(name) {
            Some("") => return vec![series.clone()],
            Some(rest) if rest.starts_with('.') => parts.push(series.clone()),
            _ => {}
        }
    }
    parts
}

/// Every series that counts what is used, at the places that its sensor had for some of a period: registers, totals and
/// increments of all but traffic; of these series, or of all.
///
/// # Errors
/// The database cannot be read.
pub async fn usages(
    client: &Client,
    registry: &RwLock<Registry>,
    period: &Range<Timestamp>,
    only: Option<&[i32]>,
) -> Result<Vec<Usage>, StoreError> {
    let query = format!(
        "SELECT sensor.id, series.metric, sensor.zone, sensor.role, {VALID}, series.id
         FROM sensor JOIN series ON series.sensor = sensor.id
         WHERE sensor.valid_from < $2 AND $1 < sensor.valid_to AND series.kind IN ('counter', 'total', 'delta')
             AND NOT starts_with(series.metric, 'traffic.') AND ($3::int4[] IS NULL OR series.id = ANY($3))
             AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id)
         ORDER BY sensor.id, series.metric, sensor.valid_from"
    );
    let rows = client.query(&query, &[&period.start, &period.end, &only]).await?;
    let registry = registry::read(registry);
    let usage = |row: &Row| {
        let series = registry.series(SeriesId(row.get(6)))?.clone();
        let (sensor, metric, zone, role) = (row.get(0), row.get(1), row.get(2), row.get(3));
        Some(Usage { sensor, metric, zone, role, series, valid: valid(row, 4) })
    };
    Ok(rows.iter().filter_map(usage).collect())
}

/// The meters of a zone.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Meters {
    /// By role and sensor.
    pub meters: Vec<Meter>,
    /// Sensors with a role that count nothing of the metric, as a tank that says its level.
    pub uncounted: Vec<(Role, String)>,
}

/// Why the meters of a zone cannot be put together.
#[derive(Clone, PartialEq, Debug)]
pub enum Lack {
    /// What comes in or stays in a tank unseen would look like a loss, or like none.
    Uncounted(Vec<(Role, String)>),
    Absent(Role),
    Units,
}

impl Meters {
    /// What is missing, where these roles are needed.
    pub fn lack(&self, needed: &[Role]) -> Option<Lack> {
        let flows = self.uncounted.iter().filter(|(role, _)| *role != Role::Customer);
        let flows: Vec<(Role, String)> = flows.cloned().collect();
        if !flows.is_empty() && needed.contains(&Role::Inlet) {
            return Some(Lack::Uncounted(flows));
        }
        let absent = needed.iter().find(|role| !self.meters.iter().any(|meter| meter.role == **role));
        if let Some(role) = absent {
            return Some(Lack::Absent(*role));
        }
        let same = self.meters.windows(2).all(|two| two[0].series.unit == two[1].series.unit);
        (!same).then_some(Lack::Units)
    }
}

/// The meters of a zone: inlets and exports of its own; tanks and customers also of the zones in it, which trade among
/// themselves. Of each sensor the first series of the metric, or of the names that it begins.
///
/// # Errors
/// The database cannot be read.
pub async fn meters(
    client: &Client,
    registry: &RwLock<Registry>,
    zone: &str,
    metric: &str,
    period: &Range<Timestamp>,
) -> Result<Meters, StoreError> {
    let query = format!(
        "WITH RECURSIVE inside AS (
             SELECT id FROM zone WHERE id = $1
             UNION SELECT zone.id FROM zone JOIN inside ON zone.parent = inside.id
         )
         SELECT sensor.id, sensor.role, sensor.zone = $1, {VALID}, series.id
         FROM sensor LEFT JOIN series ON series.sensor = sensor.id AND series.kind IN ('counter', 'total', 'delta')
             AND (series.metric = $2 OR starts_with(series.metric, $2 || '.'))
         WHERE sensor.zone IN (SELECT id FROM inside) AND sensor.valid_from < $4 AND $3 < sensor.valid_to
             AND sensor.role IN ('inlet', 'export', 'storage', 'customer')
             AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id)
         ORDER BY sensor.id, sensor.valid_from, series.metric"
    );
    let rows = client.query(&query, &[&zone, &metric, &period.start, &period.end]).await?;
    let registry = registry::read(registry);
    let mut found = Meters::default();
    let place = |row: &Row| (row.get::<_, String>(0), row.get::<_, Option<Timestamp>>(3));
    for rows in rows.chunk_by(|a, b| place(a) == place(b)) {
        let row = &rows[0];
        let Some(role) = row.get::<_, Option<&str>>(1).and_then(Role::of) else { continue };
        if !row.get::<_, bool>(2) && matches!(role, Role::Inlet | Role::Export) {
            continue;
        }
        let (sensor, id): (String, Option<i32>) = (row.get(0), row.get(5));
        match id.and_then(|id| registry.series(SeriesId(id))) {
            Some(series) => {
                found.meters.push(Meter { sensor, role, series: series.clone(), valid: valid(row, 3) });
            }
            None => found.uncounted.push((role, sensor)),
        }
    }
    found.meters.sort_by(|a, b| (a.role, &a.sensor).cmp(&(b.role, &b.sensor)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(id: i32, kind: Kind, volume: Option<i32>) -> Series {
        Series { volume: volume.map(SeriesId), ..Series::new(SeriesId(id), kind, "{veh}", Some(60)) }
    }

    #[test]
    fn no_vehicle_is_counted_twice() {
        let of = |all: &[(&str, Series)]| {
            let all: Vec<(String, Series)> =
                all.iter().map(|(metric, series)| ((*metric).to_owned(), series.clone())).collect();
            parts(&all).map(|series| series.iter().map(|one| one.id.0).collect::<Vec<_>>())
        };
        let lanes = [
            ("traffic.vehicle", series(1, Kind::Event, None)),
            ("traffic.volume.lane1", series(2, Kind::Total, None)),
            ("traffic.volume.lane2", series(3, Kind::Total, None)),
            ("traffic.speed.mean.lane1", series(4, Kind::Rate, Some(2))),
            ("traffic.occupancy.lane1", series(6, Kind::Rate, None)),
        ];
        assert_eq!(of(&lanes), [vec![2, 3], vec![4], vec![6]]);
        let whole = [lanes.as_slice(), &[("traffic.volume", series(9, Kind::Total, None))]].concat();
        assert_eq!(of(&whole)[..2], [vec![9], vec![4]]);
        assert_eq!(of(&lanes[..1]), [vec![1], vec![], vec![]]);
        assert_eq!(of(&lanes[3..4]), [vec![], vec![4], vec![]]);
    }

    #[test]
    fn detectors_side_by_side_are_one_station() {
        let mut id = 0;
        let mut at = |sensor: &str, offset_m: Option<f64>, lane: Option<i32>, metrics: &[&str]| {
            let series = metrics.iter().map(|metric| {
                id += 1;
                ((*metric).to_owned(), series(id, Kind::Total, None))
            });
            Standing {
                segment: Some("a".to_owned()),
                direction: None,
                offset_m,
                lane,
                sensor: sensor.to_owned(),
                valid: Time::from_micros(0)..Time::from_micros(1),
                series: series.collect(),
            }
        };
        let volume = ["traffic.volume"];
        let standing = [
            at("l0", Some(500.0), Some(0), &volume),
            at("l1", Some(501.0), Some(1), &volume),
            at("again", Some(501.0), Some(1), &volume),
            at("later", Some(900.0), None, &volume),
            at("mute", Some(950.0), None, &["traffic.weather"]),
            at("x", None, None, &volume),
            at("y", None, None, &volume),
            at("both", Some(990.0), None, &["traffic.volume.dir1", "traffic.volume.dir2"]),
        ];
        let stations = stations(standing.into_iter());
        let names: Vec<String> = stations.iter().map(Station::name).collect();
        assert_eq!(names, ["x", "y", "l0+l1", "again", "later", "both", "both"]);
        let lanes = |micros: i64| stations[2].lanes_at(Time::from_micros(micros));
        assert_eq!((lanes(0), lanes(1)), (2, 0), "nobody stands there any more");
    }
}

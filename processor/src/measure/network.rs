//! What the registry knows of roads and zones: which stations stand on which segment, which meters belong to which zone.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::RwLock,
};

use jiff::Timestamp;
use tokio_postgres::{Client, Row};

use super::{
    road::{Segment, Station},
    zone::{Meter, Role},
};
use crate::{
    model::{Kind, Series, SeriesId},
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

/// The roads of the city, or some of its segments, with the sensors that stood there for some of a period.
///
/// # Errors
/// The database cannot be read.
pub async fn roads(
    client: &Client,
    registry: &RwLock<Registry>,
    segments: Option<&[String]>,
    period: &Range<Timestamp>,
) -> Result<Roads, StoreError> {
    let query = "SELECT id, length_m, lanes, free_flow_speed_kmh, speed_limit_kmh, capacity_pcu_h, road_class, from_node,
                     to_node
                 FROM segment WHERE $1::text[] IS NULL OR id = ANY($1)";
    let rows = client.query(query, &[&segments]).await?;
    let segments: BTreeMap<String, Segment> = rows.iter().map(|row| (row.get(0), segment(row))).collect();
    let ids: Vec<&str> = segments.keys().map(String::as_str).collect();
    let query = "SELECT * FROM (
                     SELECT DISTINCT ON (sensor.id, series.id) sensor.segment, sensor.direction,
                         coalesce(sensor.offset_m, 0) AS offset_m, sensor.id AS sensor, series.id, series.metric
                     FROM sensor JOIN series ON series.sensor = sensor.id
                     WHERE sensor.segment = ANY($1) AND sensor.valid_from < $3 AND $2 < sensor.valid_to
                         AND starts_with(series.metric, 'traffic.')
                         AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id)
                     ORDER BY sensor.id, series.id, sensor.valid_from DESC
                 ) AS standing ORDER BY segment, direction, offset_m, sensor, metric";
    let rows = client.query(query, &[&ids, &period.start, &period.end]).await?;
    let registry = registry::read(registry);
    let mut stations: Vec<Station> = Vec::new();
    for detector in rows.chunk_by(|a, b| a.get::<_, &str>("sensor") == b.get::<_, &str>("sensor")) {
        let series = |row: &Row| Some((row.get("metric"), registry.series(SeriesId(row.get("id")))?.clone()));
        let (counts, speeds, occupancies) = parts(detector.iter().filter_map(series).collect());
        let mut station = Station {
            segment: detector[0].get("segment"),
            direction: detector[0].get("direction"),
            offset_m: detector[0].get("offset_m"),
            sensors: vec![detector[0].get("sensor")],
            counts,
            speeds,
            occupancies,
        };
        match stations.last_mut().filter(|last| last.place() == station.place()) {
            Some(last) => {
                last.sensors.append(&mut station.sensors);
                last.counts.append(&mut station.counts);
                last.speeds.append(&mut station.speeds);
                last.occupancies.append(&mut station.occupancies);
            }
            None => stations.push(station),
        }
    }
    Ok(Roads { segments, stations })
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
    }
}

/// What one sensor counts, its speeds and its occupancies, without counting a vehicle twice: a metric that is whole
/// (`traffic.volume`) stands for its parts (`traffic.volume.lane1`), and intervals stand for single passages.
fn parts(series: Vec<(String, Series)>) -> (Vec<Series>, Vec<Series>, Vec<Series>) {
    let of = |name: &str, fits: &dyn Fn(Kind) -> bool| -> Vec<Series> {
        let mut parts = Vec::new();
        for (metric, series) in series.iter().filter(|(_, series)| fits(series.kind)) {
            match metric.strip_prefix(name) {
                Some("") => return vec![series.clone()],
                Some(rest) if rest.starts_with('.') => parts.push(series.clone()),
                _ => {}
            }
        }
        parts
    };
    let mut counts = of("traffic.volume", &|kind| matches!(kind, Kind::Total | Kind::Delta));
    if counts.is_empty() {
        counts = of("traffic.vehicle", &|kind| kind == Kind::Event);
    }
    let speeds = of("traffic.speed", &|kind| kind != Kind::Event);
    // Of what is counted; where nothing is, as from probes, all of them.
    let paired = |speed: &&Series| counts.iter().any(|count| speed.volume == Some(count.id));
    let paired: Vec<Series> = speeds.iter().filter(paired).cloned().collect();
    let speeds = if counts.is_empty() { speeds } else { paired };
    (counts, speeds, of("traffic.occupancy", &|kind| kind != Kind::Event))
}

/// The meters of a zone: inlets and exports of its own; tanks and customers also of the zones in it, which trade among
/// themselves. Of each sensor the one series of the metric, or of the names that it begins.
///
/// # Errors
/// The database cannot be read.
pub async fn meters(
    client: &Client,
    registry: &RwLock<Registry>,
    zone: &str,
    metric: &str,
    period: &Range<Timestamp>,
) -> Result<Vec<Meter>, StoreError> {
    let query = "WITH RECURSIVE inside AS (
                     SELECT id FROM zone WHERE id = $1
                     UNION SELECT zone.id FROM zone JOIN inside ON zone.parent = inside.id
                 )
                 SELECT DISTINCT ON (sensor.id, series.id) sensor.id, sensor.role, sensor.zone = $1, series.id, series.metric
                 FROM sensor JOIN series ON series.sensor = sensor.id
                 WHERE sensor.zone IN (SELECT id FROM inside) AND sensor.valid_from < $4 AND $3 < sensor.valid_to
                     AND (series.metric = $2 OR starts_with(series.metric, $2 || '.'))
                     AND series.kind IN ('counter', 'total', 'delta')
                     AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id)
                 ORDER BY sensor.id, series.id, sensor.valid_from DESC";
    let rows = client.query(query, &[&zone, &metric, &period.start, &period.end]).await?;
    let registry = registry::read(registry);
    let mut meters: HashMap<String, (String, Meter)> = HashMap::new();
    for row in rows {
        let (sensor, metric): (String, String) = (row.get(0), row.get(4));
        let role = row.get::<_, Option<&str>>(1).and_then(Role::of);
        let is_own: bool = row.get(2);
        let (Some(role), Some(series)) = (role, registry.series(SeriesId(row.get(3)))) else { continue };
        if !is_own && matches!(role, Role::Inlet | Role::Export) {
            continue;
        }
        let meter = Meter { sensor: sensor.clone(), role, series: series.clone() };
        match meters.get(&sensor) {
            Some((first, _)) if *first <= metric => {}
            _ => drop(meters.insert(sensor, (metric, meter))),
        }
    }
    let mut meters: Vec<Meter> = meters.into_values().map(|(_, meter)| meter).collect();
    meters.sort_by(|a, b| (a.role, &a.sensor).cmp(&(b.role, &b.sensor)));
    Ok(meters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_vehicle_is_counted_twice() {
        let series = |id: i32, kind: Kind, volume: Option<i32>| Series {
            volume: volume.map(SeriesId),
            ..Series::new(SeriesId(id), kind, "{veh}", Some(60))
        };
        let of = |all: &[(&str, Series)]| {
            let all = all.iter().map(|(metric, series)| ((*metric).to_owned(), series.clone())).collect();
            let (counts, speeds, occupancies) = parts(all);
            [counts, speeds, occupancies].map(|series| series.iter().map(|one| one.id.0).collect::<Vec<_>>())
        };
        let lanes = [
            ("traffic.vehicle", series(1, Kind::Event, None)),
            ("traffic.volume.lane1", series(2, Kind::Total, None)),
            ("traffic.volume.lane2", series(3, Kind::Total, None)),
            ("traffic.speed.mean.lane1", series(4, Kind::Rate, Some(2))),
            ("traffic.speed.mean", series(5, Kind::Rate, Some(9))),
            ("traffic.occupancy.lane1", series(6, Kind::Rate, None)),
        ];
        assert_eq!(of(&lanes), [vec![2, 3], vec![4], vec![6]]);
        let whole = [lanes.as_slice(), &[("traffic.volume", series(9, Kind::Total, None))]].concat();
        assert_eq!(of(&whole)[..2], [vec![9], vec![5]]);
        assert_eq!(of(&lanes[..1]), [vec![1], vec![], vec![]]);
        assert_eq!(of(&lanes[4..5]), [vec![], vec![5], vec![]]);
    }
}

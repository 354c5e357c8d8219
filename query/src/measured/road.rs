//! `road(width)`: one segment and direction, one bucket, as `screenline traffic segments` says it.

use super::{
    dataset::{COVERAGE, Column, DIRECTION, ENDS, SEGMENT, TIME, column},
    rows::{Cell, Rows},
    scan::{Asked, bounded},
    source::Session,
    stations,
};
use crate::{error::Result, tables::Kind};
use processor::measure::{
    Steps,
    road::{Conditions, Segment},
    station::{Measured, Station},
    traffic::{Edition, Travel},
};

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SEGMENT,
    DIRECTION,
    column("volume", Kind::Float, "{veh}", "vehicles: the mean of its stations"),
    column("pcu", Kind::Float, "{PCU}", "the same as passenger car units, where classes are known"),
    column("flow", Kind::Float, "{veh}/h", "vehicles an hour of the time that was observed"),
    column("occupancy", Kind::Float, "%", "share of the time that its detectors were covered"),
    column("speed", Kind::Float, "km/h", "of the travel: vehicle_km over vehicle_h"),
    column("estimated", Kind::Bool, "", "some of the speed follows from flow and occupancy"),
    column(
        "free_flow_speed",
        Kind::Float,
        "km/h",
        "of the registry, else its limit: what delays are measured by",
    ),
    column("speed_ratio", Kind::Float, "1", "speed over free_flow_speed"),
    column("density", Kind::Float, "{veh}/km", "of one lane: flow over speed"),
    column("los", Kind::Text, "", "level of service, A to F (HCM 2010); F also above the capacity"),
    column(
        "los_of",
        Kind::Text,
        "",
        "what it is a level of: density on motorways and trunk roads, else speed",
    ),
    column("travel_time_s", Kind::Float, "s", "from its begin to its end"),
    column("vehicle_km", Kind::Float, "km", "that its vehicles drove"),
    column("vehicle_h", Kind::Float, "h", "that they took for it"),
    column("delay_h", Kind::Float, "h", "vehicle hours more than at free_flow_speed; at least 0"),
    COVERAGE,
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let mut roads = stations::roads(session, &steps).await?.without_passages();
    stations::narrow(asked, &mut roads)?;
    let same = |one: &Station, next: &Station| one.road() == next.road();
    let is_seen = |road: &&[Station]| road.iter().all(|station| stations::is_seen(session, station));
    let seen = roads.stations.chunk_by(same).filter(is_seen);
    roads.stations = seen.flatten().cloned().collect();
    bounded(roads.stations.len().saturating_mul(steps.len()))?;
    let longest = roads.stations.chunk_by(same).map(<[Station]>::len).max().unwrap_or(0);
    stations::held(longest.saturating_mul(steps.len()), size_of::<Measured>())?;

    let (mut ahead, mut measured) = (&roads.stations[..], Vec::new());
    for some in roads.stations.chunks(stations::at_once(&roads.stations, &steps)?) {
        measured.extend(stations::measured(session, &roads, some, &steps).await?);
        // The last one may go on among the next stations.
        while let Some(road) = ahead.chunk_by(same).next().filter(|road| road.len() <= measured.len()) {
            if let Some(segment) = roads.segments.get(&road[0].segment) {
                put(segment, road, &measured[..road.len()], &steps, rows).await?;
            }
            measured.drain(..road.len());
            ahead = &ahead[road.len()..];
        }
    }
    Ok(())
}

async fn put(
    segment: &Segment,
    road: &[Station],
    measured: &[Vec<Measured>],
    steps: &Steps,
    rows: &mut Rows,
) -> Result<()> {
    for (bucket, span) in steps.spans.iter().enumerate() {
        let is_there = |station: &Station| station.series_at(span.start).next().is_some();
        if road.iter().any(is_there) {
            let of_stations: Vec<Measured> = measured.iter().map(|station| station[bucket]).collect();
            let conditions = Conditions::of(segment, &of_stations, Edition::default());
            let mut row = vec![span.start.into(), span.end.into()];
            row.extend(of(segment, road[0].direction.as_deref(), &conditions));
            rows.put(row).await?;
        }
    }
    Ok(())
}

fn of(segment: &Segment, direction: Option<&str>, conditions: &Conditions) -> [Cell; 18] {
    let level = conditions.level_of_service;
    let level_of = if segment.is_freeway() { "density" } else { "speed" };
    let travel = |of: fn(Travel) -> f64| Cell::from(conditions.travel.map(of));
    [
        segment.id.as_str().into(),
        direction.into(),
        conditions.volume.into(),
        conditions.passenger_cars.into(),
        conditions.flow.into(),
        conditions.occupancy.into(),
        conditions.speed.into(),
        conditions.is_estimated.into(),
        segment.reference_speed().into(),
        conditions.speed_ratio.into(),
        conditions.density.into(),
        level.map(String::from).as_deref().into(),
        level.map(|_| level_of).into(),
        conditions.travel_time_s.into(),
        travel(|travel| travel.vehicle_km),
        travel(|travel| travel.vehicle_h),
        travel(|travel| travel.delay_h),
        conditions.coverage.into(),
    ]
}

//! `station(width)`: the detectors across a road at one place, one bucket, together.

use super::{
    dataset::{COVERAGE, Column, DIRECTION, ENDS, SEGMENT, TIME, column},
    rows::{Cell, Rows},
    scan::{Asked, bounded},
    source::Session,
    stations,
};
use crate::{
    error::Result,
    tables::{Kind, SeriesPart},
};
use processor::{
    measure::station::{Measured, Station},
    model::Time,
};
use std::collections::BTreeSet;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SEGMENT,
    DIRECTION,
    column("offset_m", Kind::Float, "m", "from the start of the segment, with the traffic"),
    column("lanes", Kind::Int32, "", "lanes, or detectors, that count one by one; null where none does"),
    column("sensors", Kind::Text, "", "those that stood there at the begin of the bucket, by name: a,b"),
    column("volume", Kind::Float, "{veh}", "vehicles; null where one of its lanes was silent"),
    column("flow", Kind::Float, "{veh}/h", "vehicles an hour of the time that was observed"),
    column("occupancy", Kind::Float, "%", "share of the time that its detectors were covered, on average"),
    column("speed", Kind::Float, "km/h", "space-mean, by Wardrop"),
    column(
        "estimated",
        Kind::Bool,
        "",
        "its detectors measure no speed: it follows from flow and occupancy, by the range that is asked for",
    ),
    column("v85", Kind::Float, "km/h", "not exceeded by 85 % of single vehicles, where they are known"),
    column("density", Kind::Float, "{veh}/km", "flow over speed, of all its lanes"),
    COVERAGE,
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let mut roads = stations::roads(session, &steps).await?;
    stations::narrow(asked, &mut roads)?;
    roads.stations.retain(|station| stations::is_seen(session, station));
    bounded(roads.stations.len().saturating_mul(steps.len()))?;
    for some in roads.stations.chunks(stations::at_once(&roads.stations, &steps)?) {
        let measured = stations::measured(session, &roads, some, &steps).await?;
        for (station, measured) in some.iter().zip(measured) {
            for (span, measured) in steps.spans.iter().zip(&measured) {
                let sensors = sensors(station, session, span.start);
                if !sensors.is_empty() {
                    let mut row = vec![span.start.into(), span.end.into()];
                    row.extend(of(station, span.start, &sensors, measured));
                    rows.put(row).await?;
                }
            }
        }
    }
    Ok(())
}

/// Those that stood there at a time; empty where none did.
fn sensors(station: &Station, session: &Session, time: Time) -> String {
    let names = &session.names;
    let places = station.series_at(time).filter_map(|series| names.position(series.id.0));
    let sensors: BTreeSet<&str> = places.map(|at| names.text(SeriesPart::Sensor, at)).collect();
    sensors.into_iter().collect::<Vec<_>>().join(",")
}

fn of(station: &Station, time: Time, sensors: &str, measured: &Measured) -> [Cell; 13] {
    let lanes = i32::try_from(station.lanes_at(time)).ok().filter(|lanes| 0 < *lanes);
    [
        station.segment.as_str().into(),
        station.direction.as_deref().into(),
        station.offset_m.into(),
        lanes.into(),
        sensors.into(),
        measured.volume.into(),
        measured.flow.into(),
        measured.occupancy.into(),
        measured.speed.into(),
        measured.is_estimated.into(),
        measured.v85.into(),
        measured.density().into(),
        measured.coverage.into(),
    ]
}

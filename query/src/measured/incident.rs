//! `incident`: one incident between two stations, as `screenline traffic incidents` says it.

use super::{
    dataset::{Column, DIRECTION, SEGMENT, column},
    period,
    rows::Rows,
    scan::Asked,
    source::Session,
    stations,
};
use crate::{error::Result, tables::Kind};
use processor::measure::{
    road::{self, Alarm, INCIDENT_WIDTH},
    traffic::California,
};

pub const COLUMNS: &[Column] = &[
    column("time", Kind::Time, "", "begin of the minute of its first sign"),
    column("ends", Kind::Time, "", "end of the last minute in which it was seen"),
    SEGMENT,
    DIRECTION,
    column(
        "offset_m",
        Kind::Float,
        "m",
        "of the station before it: from the start of the segment, with the traffic",
    ),
    column("upstream", Kind::Text, "", "sensors of the station before it: a+b"),
    column("downstream", Kind::Text, "", "sensors of the station behind it"),
    column("distance_m", Kind::Float, "m", "from the one to the other"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = period::steps(asked.range()?, INCIDENT_WIDTH, &session.zone)?;
    let mut roads = stations::roads(session, &steps).await?.without_passages();
    roads.stations.retain(|station| station.says_occupancy(&steps));
    let pairs = stations::pairs(session, &roads);
    let occupancies = stations::each(session, &roads, &pairs, &steps, |bucket| bucket.occupancy).await?;
    for Alarm { first, last, pair } in road::incidents(&pairs, &occupancies, California::default()) {
        let (before, behind) = (&roads.stations[pair.upstream], &roads.stations[pair.downstream]);
        rows.put(vec![
            steps.spans[first].start.into(),
            steps.spans[last].end.into(),
            before.segment.as_str().into(),
            before.direction.as_deref().into(),
            before.offset_m.into(),
            before.name().as_str().into(),
            behind.name().as_str().into(),
            (1_000.0 * pair.distance_km).into(),
        ])
        .await?;
    }
    Ok(())
}

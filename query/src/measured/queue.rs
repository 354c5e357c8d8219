//! `queue`: one bottleneck with the queue behind it, as `screenline traffic queues` says it.

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
    road::{self, BOTTLENECK_WIDTH},
    traffic::QueueRule,
};

pub const COLUMNS: &[Column] = &[
    column(
        "time",
        Kind::Time,
        "",
        "begin of the first five minutes in which it was slow before and fast behind",
    ),
    column("ends", Kind::Time, "", "end of the last ones"),
    SEGMENT,
    DIRECTION,
    column("offset_m", Kind::Float, "m", "where it is slow: from the start of the segment, with the traffic"),
    column("slow_at", Kind::Text, "", "sensors of the station before the bottleneck: a+b"),
    column("free_at", Kind::Text, "", "sensors of the station behind it"),
    column("distance_m", Kind::Float, "m", "from the one to the other"),
    column(
        "queue_stations",
        Kind::Int64,
        "1",
        "that stood in its queue at its longest; null without a speed in free flow",
    ),
    column("queue_m", Kind::Float, "m", "how far back that was, from the first station in it to the last"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = period::steps(asked.range()?, BOTTLENECK_WIDTH, &session.zone)?;
    let mut roads = stations::roads(session, &steps).await?.without_passages();
    roads.stations.retain(|station| station.says_speed(&steps));
    let pairs = stations::pairs(session, &roads);
    let speeds = stations::each(session, &roads, &pairs, &steps, |bucket| bucket.speed).await?;
    for found in road::congestion(&pairs, &speeds, &roads.reference_speeds(), QueueRule::default()) {
        let (head, ahead) = (&roads.stations[found.pair.upstream], &roads.stations[found.pair.downstream]);
        rows.put(vec![
            steps.spans[found.first].start.into(),
            steps.spans[found.last].end.into(),
            head.segment.as_str().into(),
            head.direction.as_deref().into(),
            head.offset_m.into(),
            head.name().as_str().into(),
            ahead.name().as_str().into(),
            (1_000.0 * found.pair.distance_km).into(),
            found.queue.and_then(|(stations, _)| i64::try_from(stations).ok()).into(),
            found.queue.map(|(_, km)| 1_000.0 * km).into(),
        ])
        .await?;
    }
    Ok(())
}

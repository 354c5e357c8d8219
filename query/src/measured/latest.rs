//! `latest`: the newest reading of each series that counts, however long ago it was.

use super::{
    dataset::{Column, METRIC, SENSOR, UNIT, column},
    narrow,
    rows::{Cell, Rows},
    scan::Asked,
    source::Session,
};
use crate::{
    error::Result,
    live::Last,
    tables::{Kind, SeriesPart},
};

pub const COLUMNS: &[Column] = &[
    column(
        "time",
        Kind::Time,
        "",
        "of the newest reading that is neither bad, implausible, stuck nor out of range",
    ),
    SENSOR,
    METRIC,
    column("value", Kind::Float, "", "calibrated by the registry"),
    UNIT,
    column(
        "quality",
        Kind::Int32,
        "",
        "flags, as of reading; null where the reading is not kept any more, only its rollup",
    ),
    column(
        "received_at",
        Kind::Time,
        "",
        "when it was received; null where the reading is not kept any more",
    ),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let names = &session.names;
    let ids = narrow::ids(&asked.filters, names, asked.measure.narrows);
    let ids = session.shown(ids.as_deref().unwrap_or_else(|| names.ids()));
    for (id, last) in session.latest(&ids).await? {
        let Some(at) = names.position(id) else { continue };
        let text = |part| Cell::from(names.text(part, at));
        let Last { time, value, reading } = last;
        let seen = reading.map(|(quality, _)| names.view(id, time, value, quality));
        rows.put(vec![
            time.into(),
            text(SeriesPart::Sensor),
            text(SeriesPart::Metric),
            seen.map_or(value, |(value, _)| value).into(),
            text(SeriesPart::Unit),
            seen.map_or(Cell::Null, |(_, quality)| Cell::Small(quality.0)),
            reading.map_or(Cell::Null, |(_, received)| received.into()),
        ])
        .await?;
    }
    Ok(())
}

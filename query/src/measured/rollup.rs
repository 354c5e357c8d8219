//! `rollup(width)`: one series, one bucket, with what every kind keeps.

use super::{
    dataset::{COVERAGE, Column, ENDS, LATE, METRIC, PARTIAL, SENSOR, TIME, UNIT, column},
    narrow,
    rows::{Cell, Rows},
    scan::{Asked, at_once, bounded, fits, settled},
    source::Session,
};
use crate::{
    error::Result,
    tables::{Kind, SeriesPart},
};
use processor::{
    measure::{Settled, traffic},
    model::{self, Fixed, Series, Time},
};
use std::sync::Arc;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SENSOR,
    METRIC,
    UNIT,
    column("count", Kind::Int64, "1", "readings inside"),
    column("flagged", Kind::Int64, "1", "readings beside: bad, implausible, stuck or out of range"),
    LATE,
    column("expected", Kind::Float, "1", "readings that were due, where the series has an interval"),
    COVERAGE,
    column(
        "sum",
        Kind::Float,
        "",
        "of passages, totals and increments: what was added; null where nothing was heard",
    ),
    column(
        "mean",
        Kind::Float,
        "",
        "of states, rates and sliding means: over the time that they held, else of the values",
    ),
    column("min", Kind::Float, "", "lowest value"),
    column("max", Kind::Float, "", "highest value"),
    column("first", Kind::Float, "", "earliest value"),
    column("last", Kind::Float, "", "latest value"),
    column("counted", Kind::Float, "", "of a register: what it counted, spread evenly between its readings"),
    PARTIAL,
    column("state", Kind::Bytes, "", "as in rollup_5m: what wider buckets and other measures are made of"),
];

/// The names of a series, shared by its rows.
struct Named {
    sensor: Arc<str>,
    metric: Arc<str>,
}

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let names = &session.names;
    let ids = narrow::ids(&asked.filters, names, asked.measure.narrows);
    let ids = ids.as_deref().unwrap_or_else(|| names.ids());
    let series: Vec<Series> = ids.iter().filter_map(|id| session.series(*id)).collect();
    bounded(series.len().saturating_mul(steps.len()))?;
    let text = |series: &Series, part| names.position(series.id.0).map_or("", |at| names.text(part, at));
    for one in &series {
        fits(&steps, one, "sensor", || (text(one, SeriesPart::Sensor), text(one, SeriesPart::Metric)))?;
    }
    for some in series.chunks(at_once(&series, &steps)?) {
        for (series, buckets) in some.iter().zip(settled(session, some, &steps).await?) {
            let [sensor, metric] =
                [SeriesPart::Sensor, SeriesPart::Metric].map(|part| text(series, part).into());
            let (named, unit) = (Named { sensor, metric }, Arc::from(&*series.unit));
            for bucket in &buckets {
                rows.put(row(bucket, series, &named, &unit)).await?;
            }
        }
    }
    Ok(())
}

fn row(settled: &Settled, series: &Series, Named { sensor, metric }: &Named, unit: &Arc<str>) -> Vec<Cell> {
    let Settled { span, state, counted, is_partial, .. } = settled;
    let kind = series.kind;
    let is_register = kind == model::Kind::Counter;
    let is_state = matches!(kind, model::Kind::Gauge | model::Kind::Rate | model::Kind::Sliding);
    let expected = series.interval_s.map(|seconds| settled.seconds() / f64::from(seconds));
    let end = |end: Option<(Time, f64)>| end.map(|(_, value)| value);
    vec![
        span.start.into(),
        span.end.into(),
        sensor.into(),
        metric.into(),
        unit.into(),
        state.count.into(),
        state.flagged.into(),
        state.late.into(),
        expected.into(),
        settled.said_coverage(kind).into(),
        traffic::volume(settled, kind).into(),
        settled.mean().filter(|_| is_state).into(),
        state.values.map(|values| values.min).into(),
        state.values.map(|values| values.max).into(),
        end(state.values.map(|values| values.first)).into(),
        end(state.values.map(|values| values.last)).into(),
        counted.map(Fixed::to_f64).into(),
        is_register.then_some(*is_partial).into(),
        state.detail.as_ref().map_or(Cell::Null, |detail| Cell::Bytes(detail.encode())),
    ]
}

//! `utility(width)`: one meter, one bucket, in the zone and role of that time.

use super::{
    dataset::{COVERAGE, Column, ENDS, METRIC, PARTIAL, SENSOR, TIME, UNIT, column},
    narrow, period,
    rows::{Cell, Rows},
    scan::{Asked, at_once, bounded, fits, settled},
    source::Session,
};
use crate::{error::Result, tables::Kind};
use jiff::{SignedDuration, Timestamp};
use processor::{
    measure::{Settled, network, sensor::Usage},
    model::{self, Series},
};
use std::ops::Range;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SENSOR,
    column("zone", Kind::Text, "", "where it was at the begin of the bucket"),
    column("role", Kind::Text, "", "what it is to its zone: inlet, export, storage or customer"),
    METRIC,
    UNIT,
    column(
        "amount",
        Kind::Float,
        "",
        "what was used: a register between its readings; totals of which 95 % are there",
    ),
    column("demand", Kind::Float, "", "the same an hour; null where a register is spread over a gap"),
    COVERAGE,
    PARTIAL,
    column("resets", Kind::Int64, "1", "of a register: times that it was set back, as by an exchange"),
    column("rollovers", Kind::Int64, "1", "of a register: times that it began at 0 again"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let Some(period) = period::since(SignedDuration::ZERO, &steps)? else { return Ok(()) };
    let usages = usages(asked, session, &period).await?;
    bounded(usages.len().saturating_mul(steps.len()))?;
    for usage in &usages {
        fits(&steps, &usage.series, "sensor", || (&usage.sensor, &usage.metric))?;
    }
    let series: Vec<Series> = usages.iter().map(|usage| usage.series.clone()).collect();
    let at_once = at_once(&series, &steps)?;
    for (some, series) in usages.chunks(at_once).zip(series.chunks(at_once)) {
        for (usage, buckets) in some.iter().zip(settled(session, series, &steps).await?) {
            for bucket in buckets.iter().filter(|bucket| usage.valid.contains(&bucket.span.start)) {
                rows.put(row(usage, bucket)).await?;
            }
        }
    }
    Ok(())
}

/// What counts what is used and may be seen, as far as filters leave it.
///
/// # Errors
/// The database cannot be read.
pub async fn usages(asked: &Asked, session: &Session, period: &Range<Timestamp>) -> Result<Vec<Usage>> {
    let ids = narrow::ids(&asked.filters, &session.names, asked.measure.narrows);
    let mut usages = network::usages(session.client()?, session.registry(), period, ids.as_deref()).await?;
    usages.retain(|usage| session.sees(&usage.series));
    kept(asked, usages)
}

fn kept(asked: &Asked, usages: Vec<Usage>) -> Result<Vec<Usage>> {
    let text = |of: fn(&Usage) -> Option<&str>| usages.iter().map(of).collect();
    let texts = [
        ("sensor", text(|usage| Some(&usage.sensor))),
        ("zone", text(|usage| usage.zone.as_deref())),
        ("role", text(|usage| usage.role.as_deref())),
        ("metric", text(|usage| Some(&usage.metric))),
        ("unit", text(|usage| Some(&usage.series.unit))),
    ];
    let kept = narrow::kept(asked, usages.len(), texts)?;
    Ok(usages.into_iter().zip(kept).filter_map(|(usage, kept)| kept.then_some(usage)).collect())
}

fn row(usage: &Usage, settled: &Settled) -> Vec<Cell> {
    let (amount, demand) = usage.used(settled);
    let is_register = usage.series.kind == model::Kind::Counter;
    let breaks = |count: u32| Cell::from(is_register.then_some(i64::from(count)));
    vec![
        settled.span.start.into(),
        settled.span.end.into(),
        usage.sensor.as_str().into(),
        usage.zone.as_deref().into(),
        usage.role.as_deref().into(),
        usage.metric.as_str().into(),
        (&*usage.series.unit).into(),
        amount.into(),
        demand.into(),
        settled.coverage().into(),
        is_register.then_some(settled.is_partial).into(),
        breaks(settled.breaks.resets),
        breaks(settled.breaks.rollovers),
    ]
}

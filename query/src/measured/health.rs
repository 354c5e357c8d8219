//! `health`: which sensors need a visit, and why, as `screenline health` says it.

use super::{
    dataset::{Column, ENDS, METRIC, SENSOR, TIME, column},
    narrow, period,
    rows::{Cell, Rows},
    scan::Asked,
    source::Session,
};
use crate::{
    error::{QueryError, Result},
    tables::{Kind, SeriesPart},
};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use processor::{
    measure::{
        Steps, Width,
        health::{self, Finding, Inspection},
    },
    model::Time,
};
use std::ops::Range;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SENSOR,
    METRIC,
    column("finding", Kind::Text, "", "the rule that holds, in a word"),
    column("since", Kind::Time, "", "begin of the first local day of it, as far as a week back"),
    column("detail", Kind::Text, "", "what to look at first"),
];

/// Each is a look at the whole city.
const DAYS_MAX: usize = 31;

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let zone = &session.zone;
    let range = asked.range.clone().map_or_else(|| yesterday(zone), Ok)?;
    let steps = period::steps(&range, Width::Days, zone)?;
    if DAYS_MAX < steps.len() {
        return Err(QueryError::Exhausted(format!(
            "the health of {} days, and one scan answers up to {DAYS_MAX}: take a shorter range of time",
            steps.len()
        )));
    }
    let names = &session.names;
    let ids = narrow::ids(&asked.filters, names, asked.measure.narrows);
    let sensors = ids.map(|ids| {
        let places = ids.iter().filter_map(|id| names.position(*id));
        let mut sensors: Vec<String> =
            places.map(|at| names.text(SeriesPart::Sensor, at).to_owned()).collect();
        sensors.sort_unstable();
        sensors.dedup();
        sensors
    });
    for (at, (day, _)) in steps.days().iter().enumerate() {
        let inspection = Inspection { sensors: sensors.clone(), ..Inspection::of(*day, zone) };
        let (client, registry) = (session.client()?, session.registry());
        let findings = health::findings(client, registry, &inspection, |_, _| ()).await?;
        for finding in findings.iter().filter(|one| session.sees_metric(&one.sensor, &one.metric)) {
            rows.put(row(&steps, at, finding, zone)?).await?;
        }
    }
    Ok(())
}

fn yesterday(zone: &TimeZone) -> Result<Range<Time>> {
    let today = zone.to_datetime(Timestamp::now()).date();
    let day = today.checked_sub(1.day()).map_err(|error| QueryError::Internal(error.to_string()))?;
    Ok(midnight(day, zone)?..midnight(today, zone)?)
}

fn midnight(day: Date, zone: &TimeZone) -> Result<Time> {
    let zoned = day.to_zoned(zone.clone()).map_err(|error| QueryError::Internal(error.to_string()))?;
    Ok(zoned.timestamp().into())
}

fn row(steps: &Steps, at: usize, finding: &Finding, zone: &TimeZone) -> Result<Vec<Cell>> {
    let Finding { sensor, metric, rule, since, advice } = finding;
    let span = &steps.spans[at];
    Ok(vec![
        span.start.into(),
        span.end.into(),
        sensor.as_str().into(),
        metric.as_str().into(),
        rule.as_str().into(),
        midnight(*since, zone)?.into(),
        (*advice).into(),
    ])
}

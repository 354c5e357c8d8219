//! The rows of a table as readings, whatever file they stand in.

use std::collections::HashSet;

use anyhow::{Context, bail, ensure};
use jiff::{Timestamp, tz::TimeZone};

use super::{
    columns::{Columns, Measure, Shape, Source},
    number,
    sink::{Sink, Value},
    text::COLUMNS_MAX,
};
use crate::observation::Decimal;

/// What stands in a cell.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    Empty,
    Text(&'a str),
    Number(Decimal),
    /// Microseconds since 1970.
    Instant(i64),
    /// A local time, in microseconds as if its zone were UTC.
    Shown(i64),
}

/// The columns of one table, found in its head.
pub struct Plan<'c> {
    columns: &'c Columns,
    time: usize,
    values: Values<'c>,
}

enum Values<'c> {
    /// Where, of which sensor, and what.
    Wide(Vec<(usize, String, &'c Measure)>),
    Long {
        sensor: Place<'c>,
        metric: Place<'c>,
        unit: Place<'c>,
        value: usize,
        measure: &'c Measure,
    },
}

enum Place<'c> {
    At(usize),
    Same(&'c str),
}

impl<'c> Plan<'c> {
    /// # Errors
    /// A column that is asked for is not there, or there are too many.
    pub fn new(columns: &'c Columns, head: &[&str]) -> anyhow::Result<Plan<'c>> {
        ensure!(head.len() <= COLUMNS_MAX, "{} columns, the limit is {COLUMNS_MAX}: split it", head.len());
        let mut names = HashSet::new();
        if let Some(twice) = head.iter().find(|name| !names.insert(**name)) {
            bail!("two columns are called {twice:?}: which is meant?");
        }
        let find = |name: &str| {
            let found = head.iter().position(|column| *column == name);
            found.with_context(|| {
                let some: Vec<&str> = head.iter().copied().take(20).collect();
                format!("there is no column {name:?}; there are {}", some.join(", "))
            })
        };
        let place = |source: &'c Source| match source {
            Source::Column(name) => find(name).map(Place::At),
            Source::Value { value } => Ok(Place::Same(value)),
        };
        let time = find(&columns.time)?;
        let values = match &columns.shape {
            Shape::Wide { rest, named } => {
                let mut values = Vec::new();
                for (name, sensor, measure) in named {
                    values.push((find(name)?, sensor.clone(), measure));
                }
                let is_named = |at: usize| at == time || values.iter().any(|(named, ..)| *named == at);
                let rest = rest.iter().flat_map(|measure| {
                    let free = head.iter().enumerate().filter(|(at, _)| !is_named(*at));
                    free.map(move |(at, name)| (at, (*name).to_owned(), measure))
                });
                let rest: Vec<_> = rest.collect();
                values.extend(rest);
                Values::Wide(values)
            }
            Shape::Long { sensor, metric, unit, value, measure } => Values::Long {
                sensor: place(sensor)?,
                metric: place(metric)?,
                unit: place(unit)?,
                value: find(value)?,
                measure,
            },
        };
        Ok(Plan { columns, time, values })
    }

    /// # Errors
    /// A cell does not hold what its column is to hold.
    pub fn row<'r>(&self, cell: impl Fn(usize) -> Cell<'r>, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let time_us = self.time(cell(self.time), sink)?;
        match &self.values {
            Values::Wide(values) => {
                for (at, sensor, measure) in values {
                    self.value(cell(*at), sensor, &measure.metric, &measure.unit, time_us, measure, sink)
                        .with_context(|| format!("column {}", at + 1))?;
                }
                Ok(())
            }
            Values::Long { sensor, metric, unit, value, measure } => {
                let text = |place: &Place<'_>| match place {
                    Place::Same(text) => (*text).to_owned(),
                    Place::At(at) => match cell(*at) {
                        Cell::Text(text) => text.trim().to_owned(),
                        Cell::Number(number) => number.to_string(),
                        Cell::Empty | Cell::Instant(_) | Cell::Shown(_) => String::new(),
                    },
                };
                let (sensor, metric, unit) = (text(sensor), text(metric), text(unit));
                ensure!(!metric.is_empty(), "no metric");
                self.value(cell(*value), &sensor, &metric, &unit, time_us, measure, sink)
            }
        }
    }

    fn time(&self, cell: Cell<'_>, sink: &Sink<'_>) -> anyhow::Result<i64> {
        let clock = &self.columns.clock;
        let start = |seconds| sink.at(seconds);
        let time_us = match cell {
            Cell::Text(text) => clock.micros(text, start)?,
            Cell::Number(number) => clock.micros(&number.to_string(), start)?,
            Cell::Instant(time_us) => time_us,
            Cell::Shown(shown_us) => {
                let shown = Timestamp::from_microsecond(shown_us).context("a time beyond the calendar")?;
                clock.local(TimeZone::UTC.to_datetime(shown))?
            }
            Cell::Empty => anyhow::bail!("no time"),
        };
        let lead = if self.columns.starts { i64::from(self.columns.interval_s) * 1_000_000 } else { 0 };
        time_us.checked_add(lead).context("a time beyond the calendar")
    }

    #[allow(clippy::too_many_arguments)] // a cell, with all that is known of it
    fn value(
        &self,
        cell: Cell<'_>,
        sensor: &str,
        metric: &str,
        unit: &str,
        time_us: i64,
        measure: &Measure,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<()> {
        let value = match cell {
            Cell::Empty => None,
            Cell::Text(text) => match text.trim() {
                "" => None,
                text if text.eq_ignore_ascii_case("nan") || text.eq_ignore_ascii_case("null") => None,
                text if measure.missing.iter().any(|missing| missing == text) => {
                    sink.leave_out("values that stand for none");
                    return Ok(());
                }
                text => Some(number::decimal(text)?),
            },
            Cell::Number(number) => Some(number),
            Cell::Instant(_) | Cell::Shown(_) => anyhow::bail!("a time stands where a value is due"),
        };
        let Some(value) = value else {
            sink.leave_out("empty cells");
            return Ok(());
        };
        if !measure.missing.is_empty() && stands_for_none(value, &measure.missing) {
            sink.leave_out("values that stand for none");
            return Ok(());
        }
        let value = number::times(value, measure.scale)?;
        let interval_s = self.columns.interval_s;
        sink.reading(sensor, time_us, &Value { metric, unit, kind: measure.kind, interval_s, value })
    }
}

/// `-1` stands for `-1.00`, too.
fn stands_for_none(value: Decimal, missing: &[String]) -> bool {
    missing.iter().any(|text| text.parse() == Ok(value.value()))
}

//! Rows of named cells: a table for people, objects for scripts.

use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};
use processor::model::Time;
use serde_json::{Map, Value};

use crate::paper::{Paint, Table, percent};

/// What one cell says. Nothing that was not observed is zero: it is null, and empty on paper.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    Text(Option<String>),
    Time(Time),
    Day(Date),
    Count(i64),
    Number(Option<f64>),
    /// From 0 to 1.
    Share(Option<f64>),
    Flag(bool),
    /// How many of each.
    Classes(BTreeMap<String, i64>),
}

impl Cell {
    pub fn text(text: impl ToString) -> Cell {
        Cell::Text(Some(text.to_string()))
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => text.clone().into(),
            Cell::Time(time) => time.to_string().into(),
            Cell::Day(day) => day.to_string().into(),
            Cell::Count(count) => (*count).into(),
            Cell::Number(number) | Cell::Share(number) => (*number).into(),
            Cell::Flag(flag) => (*flag).into(),
            Cell::Classes(classes) => {
                classes.iter().map(|(class, count)| (class.clone(), Value::from(*count))).collect()
            }
        }
    }

    fn paper(&self, zone: &TimeZone, moment: &str) -> String {
        match self {
            Cell::Text(text) => text.clone().unwrap_or_default(),
            Cell::Time(time) => time.timestamp().to_zoned(zone.clone()).strftime(moment).to_string(),
            Cell::Day(day) => day.strftime("%a %F").to_string(),
            Cell::Count(count) => count.to_string(),
            Cell::Number(None) | Cell::Share(None) => String::new(),
            Cell::Number(Some(number)) => {
                let text = format!("{number:.3}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Cell::Share(Some(share)) => percent(*share),
            Cell::Flag(flag) => if *flag { "yes" } else { "" }.to_owned(),
            Cell::Classes(classes) => {
                let each: Vec<String> =
                    classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
                each.join(", ")
            }
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Count(_) | Cell::Number(_) | Cell::Share(_))
    }
}

/// What the numbers of some columns are in.
pub type Units = [(&'static str, &'static str)];

/// One row, in the order that people read it.
pub type Row = Vec<(&'static str, Cell)>;

/// Rows of the same names.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Rows(pub Vec<Row>);

impl Rows {
    pub fn json(&self) -> Value {
        let object = |row: &Row| {
            let cells = row.iter().map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(cells.collect::<Map<String, Value>>())
        };
        self.0.iter().map(object).collect()
    }

    /// The units of columns, by name.
    pub fn units(units: &Units) -> Value {
        units
            .iter()
            .map(|(name, unit)| ((*name).to_owned(), Value::from(*unit)))
            .collect::<Map<String, Value>>()
            .into()
    }

    /// A line that says the units of the columns that are there.
    pub fn legend(&self, paint: Paint, units: &Units) -> String {
        let Some(first) = self.0.first() else { return String::new() };
        let there = |(name, _): &&(&str, &str)| first.iter().any(|(column, _)| column == name);
        let said: Vec<String> =
            units.iter().filter(there).map(|(name, unit)| format!("{name} {unit}")).collect();
        paint.dim(&format!("  {}", said.join(", "))) + "\n"
    }

    /// By the clocks of `zone`, without the columns of `hidden`; times to the second where one needs it.
    pub fn text(&self, paint: Paint, zone: &TimeZone, hidden: &[&str]) -> String {
        let Some(first) = self.0.first() else { return String::new() };
        let shown = |(name, _): &&(&'static str, Cell)| !hidden.contains(name);
        let headings: Vec<&'static str> = first.iter().filter(shown).map(|(name, _)| *name).collect();
        let numeric: Vec<bool> = first.iter().filter(shown).map(|(_, cell)| cell.is_number()).collect();
        let mut table = Table::of(paint, headings.iter().copied().zip(numeric));
        let cells = || self.0.iter().flatten();
        let odd = |cell: &Cell| matches!(cell, Cell::Time(time) if time.micros() % 60_000_000 != 0);
        let moment = if cells().any(|(_, cell)| odd(cell)) { "%F %H:%M:%S" } else { "%F %H:%M" };
        for row in &self.0 {
            table.row(row.iter().filter(shown).map(|(_, cell)| cell.paper(zone, moment)));
        }
        table.text()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_observed_is_empty_and_null() {
        let row = |volume| {
            vec![("sensor", Cell::text("a")), ("volume", Cell::Number(volume)), ("to", Cell::Count(1))]
        };
        let rows = Rows(vec![row(Some(1.5)), row(None)]);
        let object = |volume: Value| json!({"sensor": "a", "volume": volume, "to": 1});
        assert_eq!(rows.json(), json!([object(json!(1.5)), object(Value::Null)]));
        assert_eq!(
            rows.text(Paint::PLAIN, &TimeZone::UTC, &["to"]),
            "  sensor  volume\n  a          1.5\n  a\n"
        );
    }
}

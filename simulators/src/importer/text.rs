//! Tables as CSV.

use anyhow::Context;

use super::{
    columns::Columns,
    input::Text,
    sink::Sink,
    table::{Cell, Plan},
};

/// As many sensors as a city has of one kind; each is looked at in every row.
pub const COLUMNS_MAX: usize = 20_000;

/// # Errors
/// The line that is wrong, or a column that is missing.
pub fn read(text: Text, columns: &Columns, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.of_cells());
    let head = reader.headers()?.clone();
    let head: Vec<&str> = head.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
    let plan = Plan::new(columns, &head).context("line 1")?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).map_or(Cell::Empty, Cell::Text);
        plan.row(cell, sink).with_context(|| format!("line {line}"))?;
    }
    Ok(())
}

//! Rows of the registry, from the tables and into them.

use std::collections::BTreeSet;

use tokio_postgres::{Client, types::ToSql};

use super::{
    Form, Given, Table,
    plan::{Change, Known},
    table::Field,
};
use crate::store::StoreError;

/// Whose rows are read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Wanted<'g> {
    /// Those of some rows, and what these name.
    For(&'g [Given]),
    All,
    /// All but sensors in quarantine and what is of them.
    Admitted,
}

impl Known {
    /// # Errors
    /// The database cannot be read.
    pub(super) async fn load(client: &Client, wanted: Wanted<'_>) -> Result<Known, StoreError> {
        let mut known = Known::default();
        let said = |name: &'static str, of: &[Table]| -> BTreeSet<String> {
            let Wanted::For(given) = wanted else { return BTreeSet::new() };
            let rows = given.iter().filter(|row| of.contains(&row.table));
            rows.filter_map(|row| row.cells[row.table.position(name)?].clone().flatten()).collect()
        };
        let mut sensors = said("id", &[Table::Sensor]);
        sensors.extend(said("sensor", &[Table::Series, Table::Calibration]));
        let mut segments = said("id", &[Table::Segment]);
        segments.extend(said("segment", &[Table::Sensor]));
        load(client, &mut known, Table::Zone, Which::All).await?;
        for table in [Table::Sensor, Table::Series, Table::Calibration] {
            let which = match wanted {
                Wanted::For(_) => Which::Named(&sensors),
                Wanted::All => Which::All,
                Wanted::Admitted => Which::Admitted,
            };
            load(client, &mut known, table, which).await?;
        }
        let at = Table::Sensor.position("segment");
        let named: Vec<String> =
            known.rows(Table::Sensor).filter_map(|(_, cells)| cells[at?].clone()).collect();
        segments.extend(named);
        let which = if matches!(wanted, Wanted::For(_)) { Which::Named(&segments) } else { Which::All };
        load(client, &mut known, Table::Segment, which).await?;
        let metrics: Vec<String> = said("metric", &[Table::Series]).into_iter().collect();
        let first =
            "SELECT DISTINCT ON (metric) metric, unit FROM series WHERE metric = ANY($1) ORDER BY metric, id";
        for row in client.query(first, &[&metrics]).await? {
            known.insert_unit(row.get(0), row.get(1));
        }
        Ok(known)
    }
}

/// Rows of one table.
enum Which<'n> {
    All,
    Admitted,
    Named(&'n BTreeSet<String>),
}

async fn load(client: &Client, known: &mut Known, table: Table, which: Which<'_>) -> Result<(), StoreError> {
    let from = match table {
        Table::Calibration => "calibration JOIN series ON series.id = series_id",
        other => other.as_str(),
    };
    let first = table.key()[0];
    let names: Vec<&String> =
        if let Which::Named(names) = which { names.iter().collect() } else { Vec::new() };
    let condition = match which {
        Which::All => "cardinality($1::text[]) = 0".to_owned(),
        Which::Named(_) => format!("{first} = ANY($1::text[])", first = column(table, first)),
        Which::Admitted => format!(
            "cardinality($1::text[]) = 0 AND NOT EXISTS (SELECT FROM quarantine q WHERE q.sensor = {})",
            column(table, first)
        ),
    };
    let texts: Vec<String> = table.fields().iter().map(|field| text(table, field)).collect();
    let select = format!("SELECT {} FROM {from} WHERE {condition}", texts.join(", "));
    for row in client.query(&select, &[&names]).await? {
        let cells = table.fields().iter().enumerate().map(|(at, field)| {
            let stored: Option<&str> = row.get(at);
            field.form.read(stored.unwrap_or_default()).map_err(|wrong| {
                StoreError::Unfit(format!(
                    "table {table} holds what no import could: {}: {wrong}",
                    field.name
                ))
            })
        });
        known.insert(table, cells.collect::<Result<_, _>>()?);
    }
    Ok(())
}

fn column(table: Table, name: &str) -> String {
    match (table, name) {
        (Table::Calibration, "sensor" | "metric") => format!("series.{name}"),
        _ => format!("{table}.\"{name}\""),
    }
}

/// A column as a text that its form reads; what has no end is empty.
fn text(table: Table, field: &Field) -> String {
    let column = column(table, field.name);
    match field.form {
        Form::Instant => format!(
            "CASE WHEN isfinite({column}) THEN to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END"
        ),
        _ => format!("{column}::text"),
    }
}

/// Writes the changes of one table.
///
/// # Errors
/// The database fails.
pub(super) async fn write(client: &Client, table: Table, changes: &[&Change]) -> Result<(), StoreError> {
    let (new, changed): (Vec<&Change>, Vec<&Change>) = changes.iter().copied().partition(|c| c.is_new());
    let fields = table.fields();
    let names: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.name)).collect();
    let arrays: Vec<String> = (1..=fields.len()).map(|i| format!("${i}::text[]")).collect();
    let given = format!("unnest({}) AS new ({})", arrays.join(", "), names.join(", "));
    let by_series = table == Table::Calibration; // which says a series' id where a file says sensor and metric
    let stored = |field: &&Field| !by_series || !["sensor", "metric"].contains(&field.name);
    let (targets, values): (Vec<String>, Vec<String>) =
        fields.iter().filter(stored).map(|field| (format!("\"{}\"", field.name), value(field))).unzip();
    let set: Vec<String> = targets.iter().zip(&values).map(|(to, value)| format!("{to} = {value}")).collect();
    let keys = fields.iter().filter(stored).filter(|field| table.key().contains(&field.name));
    let mut same: Vec<String> =
        keys.map(|field| format!("{table}.\"{}\" = {}", field.name, value(field))).collect();
    let (mut join, mut id, mut of_id) = ("", "", "");
    if by_series {
        join = "JOIN series ON series.sensor = new.sensor AND series.metric = new.metric";
        (id, of_id) = ("series_id, ", "series.id, ");
        same.push("calibration.series_id = series.id".to_owned());
    }
    let (targets, values) = (targets.join(", "), values.join(", "));
    let insert = format!("INSERT INTO {table} ({id}{targets}) SELECT {of_id}{values} FROM {given} {join}");
    let update =
        format!("UPDATE {table} SET {} FROM {given} {join} WHERE {}", set.join(", "), same.join(" AND "));
    for (statement, rows) in [(insert, new), (update, changed)] {
        if rows.is_empty() {
            continue;
        }
        let columns: Vec<Vec<Option<&str>>> =
            (0..fields.len()).map(|at| rows.iter().map(|row| row.new[at].as_deref()).collect()).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
        client.execute(&statement, &parameters).await?;
    }
    Ok(())
}

/// A text of `new` as its column has it.
fn value(field: &Field) -> String {
    let Field { name, form, .. } = field;
    let cast = format!("new.\"{name}\"::{}", form.sql());
    match *name {
        "valid_from" => format!("coalesce({cast}, '-infinity')"),
        "valid_to" => format!("coalesce({cast}, 'infinity')"),
        _ => cast,
    }
}

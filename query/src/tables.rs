//! The datasets: names and columns that dashboards and notebooks depend on, and where PostgreSQL keeps each.

mod all;
mod comments;

pub use all::ALL;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Catalog and schema that unqualified names are looked up in.
pub const CATALOG: &str = "screenline";
pub const SCHEMA: &str = "public";

/// One table as clients see it.
#[derive(Debug)]
pub struct Dataset {
    pub name: &'static str,
    /// For people: what one row is.
    pub about: &'static str,
    /// What follows FROM in the database.
    pub from: &'static str,
    /// What every row must fulfil to be seen at all.
    pub only: Option<&'static str>,
    /// The column that a ticket's `from` and `to` cut. Never null, never infinite.
    pub time: Option<&'static str>,
    /// Columns of the natural key.
    pub key: &'static [&'static str],
    /// How a policy judges a row.
    pub subject: Subject,
    /// Seconds of the finest step of time that its rows tell of; none where they are no measurements.
    pub grain_s: Option<u32>,
    pub columns: &'static [Column],
}

/// Whom a row speaks of, which decides who sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The sensor of the row's `series_id`.
    Series,
    /// The sensor whose name stands in this column; nobody where it is null.
    Sensor(&'static str),
    /// The zone whose name stands in this column.
    Zone(&'static str),
    /// The city as a whole: who sees the dataset sees all of it.
    City,
}

/// A column as PostgreSQL sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub name: &'static str,
    /// The SQL expression over the dataset's FROM.
    pub sql: &'static str,
    pub kind: Kind,
}

/// By which the texts of a series, and who sees it, are looked up.
pub const SERIES_ID: Stored = Stored { name: "series_id", sql: "series_id", kind: Kind::Int32 };

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub source: Source,
}

/// How a column travels: its type in PostgreSQL's binary format and in Arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// timestamptz -> Timestamp(ns, "UTC"); infinities, and instants outside of 1677 to 2262, are null.
    Time,
    /// float8 -> Float64
    Float,
    /// int4 -> Int32
    Int32,
    /// int8 -> Int64
    Int64,
    /// bool -> Boolean
    Bool,
    /// text -> Utf8
    Text,
    /// bytea -> Binary
    Bytes,
}

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An SQL expression over the dataset's FROM.
    Sql(&'static str),
    /// Looked up by `series_id` in the dictionary of series; PostgreSQL sends four bytes instead of three texts.
    Series(SeriesPart),
    /// Stored under the column's name, and seen as the registry says today: no filter on it can be left to PostgreSQL.
    View(ViewPart),
}

/// What of a reading is seen as the registry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewPart {
    Value,
    Quality,
}

/// What a row of `reading` is seen by, beside its series.
pub const VIEWED: [&str; 3] = ["time", "value", "quality"];

/// Readings of a sensor that nobody announced are nobody's yet. Its rollups need no such rule: there are none.
const ADMITTED: Option<&str> = Some("NOT EXISTS (SELECT FROM quarantined_series q WHERE q.id = series_id)");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesPart {
    Sensor,
    Metric,
    Unit,
}

impl Dataset {
    pub fn named(name: &str) -> Option<&'static Dataset> {
        ALL.iter().find(|dataset| dataset.name == name)
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// All columns are nullable: clients compare the schema of a plan with that of its result. A field's metadata has
    /// its unit and what it is.
    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            let field = Field::new(column.name, column.kind.arrow(), true);
            field.with_metadata(comments::metadata(self.name, column.name))
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Whether its rows are of series, whose texts and views are looked up.
    pub fn has_series(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.source, Source::Series(_)))
    }
}

impl Column {
    /// What of it PostgreSQL keeps.
    pub fn stored(&self) -> Stored {
        match self.source {
            Source::Sql(sql) => Stored { name: self.name, sql, kind: self.kind },
            Source::Series(_) => SERIES_ID,
            Source::View(_) => Stored { name: self.name, sql: self.name, kind: self.kind },
        }
    }
}

impl Kind {
    /// Of a plain Arrow type; none of any other.
    pub fn of(kind: &DataType) -> Option<Kind> {
        let all = [Kind::Time, Kind::Float, Kind::Int32, Kind::Int64, Kind::Bool, Kind::Text, Kind::Bytes];
        all.into_iter().find(|known| known.arrow() == *kind)
    }

    pub fn arrow(self) -> DataType {
        match self {
            Kind::Time => time_type(),
            Kind::Float => DataType::Float64,
            Kind::Int32 => DataType::Int32,
            Kind::Int64 => DataType::Int64,
            Kind::Bool => DataType::Boolean,
            Kind::Text => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
        }
    }
}

/// Timestamp(ns, "UTC"): the one type of every instant that leaves here. Some clients read
/// nanoseconds whatever the schema says.
pub fn time_type() -> DataType {
    static UTC: LazyLock<Arc<str>> = LazyLock::new(|| "UTC".into());
    DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_times_name_columns_that_exist() {
        for dataset in ALL {
            for name in dataset.key.iter().chain(&dataset.time) {
                assert!(dataset.column(name).is_some(), "{}.{name}", dataset.name);
            }
        }
    }

    #[test]
    fn every_instant_is_in_nanoseconds_utc_and_every_column_nullable() {
        for dataset in ALL {
            for field in dataset.schema().fields() {
                assert!(field.is_nullable(), "{}.{}", dataset.name, field.name());
                if let DataType::Timestamp(unit, zone) = field.data_type() {
                    assert_eq!((unit, zone.as_deref()), (&TimeUnit::Nanosecond, Some("UTC")));
                }
            }
        }
    }
}

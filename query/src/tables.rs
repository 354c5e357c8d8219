//! The datasets: names and columns that dashboards and notebooks depend on, and where PostgreSQL keeps each.

mod comments;

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

const fn sql(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, source: Source::Sql(name) }
}

const fn expression(name: &'static str, kind: Kind, sql: &'static str) -> Column {
    Column { name, kind, source: Source::Sql(sql) }
}

const fn view(name: &'static str, kind: Kind, part: ViewPart) -> Column {
    Column { name, kind, source: Source::View(part) }
}

const SENSOR: Column =
    Column { name: "sensor", kind: Kind::Text, source: Source::Series(SeriesPart::Sensor) };
const METRIC: Column =
    Column { name: "metric", kind: Kind::Text, source: Source::Series(SeriesPart::Metric) };
const UNIT: Column = Column { name: "unit", kind: Kind::Text, source: Source::Series(SeriesPart::Unit) };

/// The columns that all roll-ups share, then those of one.
macro_rules! rollup {
    ($($more:expr),*) => {
        &[
            expression("time", Kind::Time, "bucket"),
            SENSOR,
            METRIC,
            UNIT,
            sql("count", Kind::Int64),
            sql("flagged", Kind::Int64),
            sql("expected", Kind::Float),
            sql("late", Kind::Int64),
            expression("sum", Kind::Float, "sum + coalesce(residue, 0)"),
            sql("min", Kind::Float),
            sql("max", Kind::Float),
            sql("first", Kind::Float),
            sql("first_time", Kind::Time),
            sql("last", Kind::Float),
            sql("last_time", Kind::Time),
            sql("state", Kind::Bytes),
            $($more),*
        ]
    };
}

const ROLLUP_KEY: &[&str] = &["time", "sensor", "metric"];

pub const ALL: &[Dataset] = &[
    Dataset {
        name: "reading",
        about: "one value of one metric of one sensor, calibrated and judged by the registry",
        from: "reading",
        only: ADMITTED,
        time: Some("time"),
        key: &["time", "sensor", "metric"],
        subject: Subject::Series,
        grain_s: Some(0),
        columns: &[
            sql("time", Kind::Time),
            SENSOR,
            METRIC,
            view("value", Kind::Float, ViewPart::Value),
            UNIT,
            view("quality", Kind::Int32, ViewPart::Quality),
            sql("received_at", Kind::Time),
        ],
    },
    Dataset {
        name: "event",
        about: "one passage of a vehicle, or one pulse; speed in km/h, length in m, on_time in s; tags are a JSON object",
        from: "event",
        only: ADMITTED,
        time: Some("time"),
        key: &["time", "sensor", "event_id"],
        subject: Subject::Series,
        grain_s: Some(0),
        columns: &[
            sql("time", Kind::Time),
            SENSOR,
            sql("event_id", Kind::Int64),
            sql("speed", Kind::Float),
            sql("length", Kind::Float),
            expression("on_time", Kind::Float, "on_time_s"),
            sql("class", Kind::Text),
            expression("tags", Kind::Text, "tags::text"),
            sql("quality", Kind::Int32),
            sql("received_at", Kind::Time),
        ],
    },
    Dataset {
        name: "rollup_5m",
        about: "readings of five minutes",
        from: "rollup_5m",
        only: None,
        time: Some("time"),
        key: ROLLUP_KEY,
        subject: Subject::Series,
        grain_s: Some(300),
        columns: rollup!(),
    },
    Dataset {
        name: "rollup_1h",
        about: "readings of an hour",
        from: "rollup_1h",
        only: None,
        time: Some("time"),
        key: ROLLUP_KEY,
        subject: Subject::Series,
        grain_s: Some(3600),
        columns: rollup!(),
    },
    Dataset {
        name: "rollup_1d",
        about: "readings of a local day, of 23 to 25 hours",
        from: "rollup_1d",
        only: None,
        time: Some("time"),
        key: ROLLUP_KEY,
        subject: Subject::Series,
        grain_s: Some(86_400),
        columns: rollup!(sql("ends", Kind::Time), sql("time_zone", Kind::Text)),
    },
    Dataset {
        name: "ledger",
        about: "what became of the messages and readings of one source and hour of receipt",
        // Batches append; until the roller folds them an hour has many rows.
        from: "(SELECT source, hour, sum(received)::int8 AS received, sum(accepted)::int8 AS accepted, \
               sum(repeated)::int8 AS repeated, sum(ignored)::int8 AS ignored, \
               sum(rejected_messages)::int8 AS rejected_messages, sum(decoded)::int8 AS decoded, \
               sum(stored)::int8 AS stored, sum(duplicate)::int8 AS duplicate, sum(conflict)::int8 AS conflict, \
               sum(rejected)::int8 AS rejected, sum(late)::int8 AS late, sum(reused)::int8 AS reused, \
               sum(unkept)::int8 AS unkept, sum(shed)::int8 AS shed, \
               sum(quarantined)::int8 AS quarantined FROM ledger GROUP BY source, hour) AS ledger",
        only: None,
        time: Some("hour"),
        key: &["source", "hour"],
        subject: Subject::City,
        grain_s: None,
        columns: &[
            sql("source", Kind::Text),
            sql("hour", Kind::Time),
            sql("received", Kind::Int64),
            sql("accepted", Kind::Int64),
            sql("repeated", Kind::Int64),
            sql("ignored", Kind::Int64),
            sql("rejected_messages", Kind::Int64),
            sql("decoded", Kind::Int64),
            sql("stored", Kind::Int64),
            sql("duplicate", Kind::Int64),
            sql("conflict", Kind::Int64),
            sql("rejected", Kind::Int64),
            sql("late", Kind::Int64),
            sql("reused", Kind::Int64),
            sql("unkept", Kind::Int64),
            sql("shed", Kind::Int64),
            sql("quarantined", Kind::Int64),
        ],
    },
    Dataset {
        name: "source_position",
        about: "where a source that numbers its messages stands, in one of its epochs",
        from: "(SELECT source, epoch, coalesce((SELECT upper(r) - 1 FROM unnest(seen) AS r WHERE lower(r) = 1), 0) AS committed, \
               coalesce(upper(seen) - 1, 0) AS seen_to, coalesce((SELECT sum(upper(g) - lower(g)) \
               FROM unnest(int8multirange(int8range(1, upper(seen))) - seen) AS g), 0)::int8 AS missing, \
               rejected, reused, untracked, updated_at FROM source_position) AS source_position",
        only: None,
        time: None,
        key: &["source", "epoch"],
        subject: Subject::City,
        grain_s: None,
        columns: &[
            sql("source", Kind::Text),
            sql("epoch", Kind::Int64),
            sql("committed", Kind::Int64),
            sql("seen_to", Kind::Int64),
            sql("missing", Kind::Int64),
            sql("rejected", Kind::Int64),
            sql("reused", Kind::Int64),
            sql("untracked", Kind::Int64),
            sql("updated_at", Kind::Time),
        ],
    },
    Dataset {
        name: "gap",
        about: "numbers of a source that never came, and the hour of receipt in which that showed",
        from: "source_gap",
        only: None,
        time: Some("hour"),
        key: &["source", "epoch", "first_seq"],
        subject: Subject::City,
        grain_s: None,
        columns: &[
            sql("source", Kind::Text),
            sql("epoch", Kind::Int64),
            sql("first_seq", Kind::Int64),
            sql("last_seq", Kind::Int64),
            sql("hour", Kind::Time),
        ],
    },
    Dataset {
        name: "coverage",
        about: "how much of what was due was heard of one series in one hour; none at all has no row",
        from: "rollup_1h",
        only: None,
        time: Some("time"),
        key: ROLLUP_KEY,
        subject: Subject::Series,
        grain_s: Some(3600),
        columns: &[
            expression("time", Kind::Time, "bucket"),
            SENSOR,
            METRIC,
            expression("observed", Kind::Int64, "count + flagged"),
            sql("expected", Kind::Float),
            sql("late", Kind::Int64),
        ],
    },
    Dataset {
        name: "revision",
        about: "rollups next to each other that were added, changed or deleted in one transaction; without a sensor: of several",
        from: "(SELECT revision.id, at, CASE level WHEN 0 THEN '5m' WHEN 1 THEN '1h' ELSE '1d' END AS level, sensor, metric, \
               starts, ends, added, changed, gone FROM revision LEFT JOIN series ON series.id = series_id) AS revision",
        only: None,
        time: Some("at"),
        key: &["id"],
        subject: Subject::Sensor("sensor"),
        grain_s: None,
        columns: &[
            sql("id", Kind::Int64),
            sql("at", Kind::Time),
            sql("level", Kind::Text),
            sql("sensor", Kind::Text),
            sql("metric", Kind::Text),
            sql("starts", Kind::Time),
            sql("ends", Kind::Time),
            sql("added", Kind::Int32),
            sql("changed", Kind::Int32),
            sql("gone", Kind::Int32),
        ],
    },
    Dataset {
        name: "rejection",
        about: "one message, or the readings of one message, that was refused, and why",
        from: "rejection",
        only: None,
        time: Some("received_at"),
        key: &["source", "topic", "sha256", "reason"],
        subject: Subject::City,
        grain_s: Some(0),
        // Without payloads: they are whatever a sender put into them, and for operators only.
        columns: &[
            sql("id", Kind::Int64),
            sql("received_at", Kind::Time),
            sql("source", Kind::Text),
            sql("topic", Kind::Text),
            sql("reason", Kind::Text),
            sql("detail", Kind::Text),
            sql("readings", Kind::Int32),
            sql("payload_bytes", Kind::Int64),
            sql("retained", Kind::Bool),
            sql("state", Kind::Text),
            sql("settled_at", Kind::Time),
            sql("attempts", Kind::Int32),
            sql("sha256", Kind::Bytes),
        ],
    },
    Dataset {
        name: "conflict",
        about: "a second, different value for a key that is already stored",
        from: "conflict",
        only: ADMITTED,
        time: Some("time"),
        key: &[],
        subject: Subject::Series,
        grain_s: Some(0),
        columns: &[
            sql("time", Kind::Time),
            SENSOR,
            METRIC,
            sql("event_id", Kind::Int64),
            sql("value", Kind::Float),
            sql("kept_value", Kind::Float),
            sql("detail", Kind::Text),
            sql("received_at", Kind::Time),
            sql("source", Kind::Text),
        ],
    },
    Dataset {
        name: "sensor",
        about: "one sensor as the registry knows it, with the time it was so; state is admitted or quarantined",
        from: "sensor",
        only: None,
        time: None,
        key: &["id", "valid_from"],
        subject: Subject::Sensor("id"),
        grain_s: None,
        columns: &[
            sql("id", Kind::Text),
            sql("name", Kind::Text),
            sql("kind", Kind::Text),
            sql("owner", Kind::Text),
            sql("serial", Kind::Text),
            sql("lon", Kind::Float),
            sql("lat", Kind::Float),
            sql("segment", Kind::Text),
            sql("direction", Kind::Text),
            sql("lane", Kind::Int32),
            sql("offset_m", Kind::Float),
            sql("zone", Kind::Text),
            sql("role", Kind::Text),
            sql("privacy", Kind::Text),
            sql("reviewed", Kind::Bool),
            expression(
                "state",
                Kind::Text,
                "CASE WHEN EXISTS (SELECT FROM quarantine q WHERE q.sensor = sensor.id) THEN 'quarantined' ELSE 'admitted' END",
            ),
            sql("valid_from", Kind::Time),
            sql("valid_to", Kind::Time),
        ],
    },
    Dataset {
        name: "segment",
        about: "one stretch of road; length in m, speeds in km/h, capacity in passenger car units an hour, geometry in GeoJSON",
        from: "segment",
        only: None,
        time: None,
        key: &["id"],
        subject: Subject::City,
        grain_s: None,
        columns: &[
            sql("id", Kind::Text),
            sql("name", Kind::Text),
            sql("road_class", Kind::Text),
            sql("direction", Kind::Text),
            sql("from_node", Kind::Text),
            sql("to_node", Kind::Text),
            sql("length_m", Kind::Float),
            sql("speed_limit_kmh", Kind::Float),
            sql("free_flow_speed_kmh", Kind::Float),
            sql("lanes", Kind::Int32),
            sql("capacity_pcu_h", Kind::Float),
            expression("geometry", Kind::Text, "geometry::text"),
        ],
    },
    Dataset {
        name: "zone",
        about: "one district, or a part of another; geometry in GeoJSON",
        from: "zone",
        only: None,
        time: None,
        key: &["id"],
        subject: Subject::Zone("id"),
        grain_s: None,
        columns: &[
            sql("id", Kind::Text),
            sql("name", Kind::Text),
            sql("parent", Kind::Text),
            expression("geometry", Kind::Text, "geometry::text"),
        ],
    },
    Dataset {
        name: "series",
        about: "one metric of one sensor: its unit (UCUM), what its values are, and the range they are judged by",
        from: "series",
        only: None,
        time: None,
        key: &["sensor", "metric"],
        subject: Subject::Sensor("sensor"),
        grain_s: None,
        columns: &[
            expression("sensor", Kind::Text, "series.sensor"),
            expression("metric", Kind::Text, "series.metric"),
            expression("unit", Kind::Text, "series.unit"),
            sql("kind", Kind::Text),
            sql("interval_s", Kind::Int32),
            sql("modulus", Kind::Float),
            sql("resolution", Kind::Float),
            sql("min", Kind::Float),
            sql("max", Kind::Float),
            sql("max_rate", Kind::Float),
            sql("max_gap_s", Kind::Int32),
        ],
    },
    Dataset {
        name: "calibration",
        about: "what makes the true value of a stored one, from a time to the next row's: factor * stored + shift",
        from: "(SELECT sensor, metric, valid_from, scale AS factor, \"offset\" AS shift \
               FROM calibration JOIN series ON series.id = series_id) AS calibration",
        only: None,
        time: None,
        key: &["sensor", "metric", "valid_from"],
        subject: Subject::Sensor("sensor"),
        grain_s: None,
        columns: &[
            sql("sensor", Kind::Text),
            sql("metric", Kind::Text),
            sql("valid_from", Kind::Time),
            sql("factor", Kind::Float),
            sql("shift", Kind::Float),
        ],
    },
];

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

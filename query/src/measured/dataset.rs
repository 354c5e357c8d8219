//! What is offered: names, columns, units and comments. Names are stable: dashboards depend on them.

use super::{
    balance, demand, health, incident, latest, night, queue, road, rollup, station, traffic, typical, utility,
};
use crate::tables::Kind;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use processor::{measure::Width, model::bucket::HOUR};
use std::{collections::HashMap, sync::Arc};

/// One computed dataset as clients see it.
#[derive(Debug)]
pub struct Measure {
    pub name: &'static str,
    /// For people: what one row is.
    pub about: &'static str,
    pub what: What,
    /// How wide its buckets are where nobody says it; `None`: it takes no width.
    pub width: Option<Width>,
    /// Seconds of the finest step of time that its rows tell of, where no width says it.
    pub grain_s: Option<u32>,
    /// Columns of the natural key.
    pub key: &'static [&'static str],
    /// Texts by which filters narrow what is read.
    pub narrows: &'static [&'static str],
    pub columns: &'static [Column],
}

/// Which rows are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Rollup,
    Traffic,
    Station,
    Road,
    Queue,
    Incident,
    Typical,
    Utility,
    Demand,
    Balance,
    Night,
    Health,
    Latest,
}

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// UCUM, or empty.
    pub unit: &'static str,
    pub comment: &'static str,
}

pub const MEASURED: &[Measure] = &[
    Measure {
        name: "rollup",
        about: "what one series says in one bucket of any width: rollup('15m'); all buckets of the range, also the unobserved",
        what: What::Rollup,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time", "sensor", "metric"],
        narrows: &["sensor", "metric", "unit"],
        columns: rollup::COLUMNS,
    },
    Measure {
        name: "traffic",
        about: "what one detector says in one bucket, by its place and direction: traffic('15m')",
        what: What::Traffic,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time", "sensor", "direction"],
        narrows: &["sensor", "segment", "direction"],
        columns: traffic::COLUMNS,
    },
    Measure {
        name: "station",
        about: "what the detectors across a road at one place say together in one bucket: station('15m')",
        what: What::Station,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time", "segment", "direction", "offset_m", "sensors"],
        narrows: &["segment", "direction"],
        columns: station::COLUMNS,
    },
    Measure {
        name: "road",
        about: "what one segment did in one bucket, in each direction: speed, delay, level of service: road('15m')",
        what: What::Road,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time", "segment", "direction"],
        narrows: &["segment", "direction"],
        columns: road::COLUMNS,
    },
    Measure {
        name: "queue",
        about: "one bottleneck between two stations, from its begin to its end, and how far its queue reached",
        what: What::Queue,
        width: None,
        grain_s: Some(300),
        key: &["time", "slow_at", "free_at"],
        narrows: &[],
        columns: queue::COLUMNS,
    },
    Measure {
        name: "incident",
        about: "one incident between two stations, by the California algorithm, from its first sign to its last",
        what: What::Incident,
        width: None,
        grain_s: Some(60),
        key: &["time", "upstream", "downstream"],
        narrows: &[],
        columns: incident::COLUMNS,
    },
    Measure {
        name: "typical",
        about: "what the detectors that are asked for say together on a usual day, a row a bucket: typical('15m')",
        what: What::Typical,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time"],
        narrows: &["sensor", "segment", "direction"],
        columns: typical::COLUMNS,
    },
    Measure {
        name: "utility",
        about: "what one meter counted in one bucket, in its zone and role: utility('1d')",
        what: What::Utility,
        width: Some(Width::Micros(HOUR)),
        grain_s: None,
        key: &["time", "sensor", "metric"],
        narrows: &["sensor", "zone", "role", "metric", "unit"],
        columns: utility::COLUMNS,
    },
    Measure {
        name: "demand",
        about: "the peak demand of one meter on one local day, by blocks and sliding, with its load and power factor",
        what: What::Demand,
        width: None,
        grain_s: Some(300),
        key: &["time", "sensor", "metric"],
        narrows: &["sensor", "zone", "metric", "unit"],
        columns: demand::COLUMNS,
    },
    Measure {
        name: "balance",
        about: "the water balance of one zone with inlets and customers on one local day",
        what: What::Balance,
        width: None,
        grain_s: None,
        key: &["time", "zone"],
        narrows: &["zone"],
        columns: balance::COLUMNS,
    },
    Measure {
        name: "night",
        about: "the minimum night flow of one zone with inlets on one local day, and whether it left its baseline",
        what: What::Night,
        width: None,
        grain_s: Some(3_600),
        key: &["time", "zone"],
        narrows: &["zone"],
        columns: night::COLUMNS,
    },
    Measure {
        name: "health",
        about: "what is wrong with one sensor on one local day, yesterday unless a range of time is asked for",
        what: What::Health,
        width: None,
        grain_s: None,
        key: &["time", "sensor", "metric"],
        narrows: &["sensor"],
        columns: health::COLUMNS,
    },
    Measure {
        name: "latest",
        about: "the newest reading of one series that counts, however long ago it was",
        what: What::Latest,
        width: None,
        grain_s: Some(0),
        key: &["sensor", "metric"],
        narrows: &["sensor", "metric", "unit"],
        columns: latest::COLUMNS,
    },
];

impl Measure {
    pub fn named(name: &str) -> Option<&'static Measure> {
        MEASURED.iter().find(|measure| measure.name == name)
    }

    /// Whether it is computed for a range of time that has to be asked for.
    pub fn needs_range(&self) -> bool {
        !matches!(self.what, What::Health | What::Latest)
    }

    /// Whether a row is of all that filters on names leave: then these say what is computed, and not which rows are shown.
    pub fn is_of_selection(&self) -> bool {
        self.what == What::Typical
    }

    /// All columns are nullable, as those of tables; units and comments are in the metadata of fields.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            let said = [("unit", column.unit), ("comment", column.comment)];
            let said = said.into_iter().filter(|(_, text)| !text.is_empty());
            let metadata: HashMap<String, String> =
                said.map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
            Field::new(column.name, column.kind.arrow(), true).with_metadata(metadata)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

pub const fn column(name: &'static str, kind: Kind, unit: &'static str, comment: &'static str) -> Column {
    Column { name, kind, unit, comment }
}

pub const TIME: Column = column("time", Kind::Time, "", "begin of the bucket");
pub const ENDS: Column = column("ends", Kind::Time, "", "end of the bucket, which is the begin of the next");
pub const SEGMENT: Column = column("segment", Kind::Text, "", "of road, as the registry names it");
pub const DIRECTION: Column =
    column("direction", Kind::Text, "", "of the metric where that names one, else of the sensor");
pub const SENSOR: Column = column("sensor", Kind::Text, "", "as the registry names it");
pub const METRIC: Column = column("metric", Kind::Text, "", "what is measured");
pub const UNIT: Column = column("unit", Kind::Text, "", "of the numbers of this row, in UCUM");
pub const COVERAGE: Column = column(
    "coverage",
    Kind::Float,
    "1",
    "share of the bucket that was observed, from 0 to 1; null where nothing says it",
);
pub const LATE: Column = column("late", Kind::Int64, "1", "readings that came late");
pub const PARTIAL: Column = column(
    "partial",
    Kind::Bool,
    "",
    "a register: some of it is spread over a gap longer than max_gap_s of the series",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;
    use datafusion::arrow::datatypes::{DataType, TimeUnit};

    #[test]
    fn every_instant_is_in_nanoseconds_utc_and_every_column_nullable() {
        for measure in MEASURED {
            for field in measure.schema().fields() {
                assert!(field.is_nullable(), "{}.{}", measure.name, field.name());
                assert!(field.metadata().contains_key("comment"), "{}.{}", measure.name, field.name());
                if let DataType::Timestamp(unit, zone) = field.data_type() {
                    assert_eq!((unit, zone.as_deref()), (&TimeUnit::Nanosecond, Some("UTC")));
                }
            }
        }
    }

    #[test]
    fn names_are_new_and_keys_name_columns_that_exist() {
        for measure in MEASURED {
            assert!(tables::Dataset::named(measure.name).is_none(), "{}", measure.name);
            let has = |name: &&str| measure.columns.iter().any(|column| column.name == *name);
            assert!(measure.key.iter().all(has), "{}", measure.name);
            let is_text =
                |name: &&str| measure.columns.iter().any(|c| c.name == *name && c.kind == Kind::Text);
            assert!(measure.narrows.iter().all(is_text), "{}", measure.name);
            let mut names: Vec<&str> = measure.columns.iter().map(|column| column.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|two| two[0] != two[1]), "{}", measure.name);
            assert_eq!(measure.columns[0].name, "time", "{}", measure.name);
        }
    }
}

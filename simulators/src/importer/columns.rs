//! Which column of somebody else's table is what, in TOML.
//!
//! ```toml
//! [time]
//! column = "local_time"
//! format = "%Y-%m-%d %H:%M"        # or rfc3339, local, unix, unix-ms, unix-us, unix-ns, seconds
//! zone = "America/Los_Angeles"
//! fold = "earlier"                 # of times that come twice: earlier, later or reject
//! label = "start"                  # what a time names of its interval: start, or end
//! interval_s = 300
//!
//! [values]                         # a wide table: columns that nothing else names are sensors
//! metric = "traffic.speed.mean"
//! unit = "[mi_i]/h"
//! kind = "rate"
//! missing = ["0"]                  # beside empty cells
//! scale = 1.0
//!
//! [[column]]                       # or each by its name
//! name = "Usage_kWh"
//! sensor = "steel-works"
//! metric = "energy.active"
//! unit = "kW.h"
//! kind = "total"
//!
//! [long]                           # a long table: a line for each value
//! sensor = "meter_id"              # a column, or { value = "the same in every line" }
//! metric = { value = "water.volume.total" }
//! value = "register_m3"
//! unit = { value = "m3" }
//! kind = "counter"
//! ```

use anyhow::{Context, ensure};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{
    clock::{Clock, Fold, Form},
    found::{INTERVAL_S_MAX, Kind},
};

/// A table has few columns that need a name of their own.
const NAMED_MAX: usize = 20_000;
/// What the columns of a table are.
#[derive(Debug, Clone)]
pub struct Columns {
    pub(super) time: String,
    pub(super) clock: Clock,
    /// Whether a time names the start of its interval.
    pub(super) starts: bool,
    pub(super) interval_s: u32,
    pub(super) shape: Shape,
}

/// How a table lays its values out.
#[derive(Debug, Clone)]
pub enum Shape {
    Wide { rest: Option<Measure>, named: Vec<(String, String, Measure)> },
    Long { sensor: Source, metric: Source, unit: Source, value: String, measure: Measure },
}

/// What the values of a column are.
#[derive(Debug, Clone)]
pub struct Measure {
    pub metric: String,
    pub unit: String,
    pub kind: Kind,
    pub scale: f64,
    pub missing: Vec<String>,
}

/// Where a text comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Source {
    Column(String),
    Value { value: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    time: Time,
    values: Option<Values>,
    #[serde(default)]
    column: Vec<Column>,
    long: Option<Long>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    column: String,
    format: String,
    zone: Option<String>,
    #[serde(default)]
    fold: Fold,
    #[serde(default)]
    label: Label,
    #[serde(default)]
    interval_s: u32,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Label {
    Start,
    #[default]
    End,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    metric: String,
    #[serde(default)]
    unit: String,
    kind: String,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    missing: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    sensor: String,
    metric: String,
    #[serde(default)]
    unit: String,
    kind: String,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    missing: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    sensor: Source,
    metric: Source,
    value: String,
    unit: Option<Source>,
    kind: String,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    missing: Vec<String>,
}

fn one() -> f64 {
    1.0
}

impl Columns {
    /// # Errors
    /// The line of the TOML, or the field, and what is wrong there.
    pub fn parse(text: &str) -> anyhow::Result<Columns> {
        let said: Said = toml::from_str(text)?;
        let Time { column, format, zone, fold, label, interval_s } = said.time;
        let zone = zone.map(|name| TimeZone::get(&name).with_context(|| format!("time.zone {name:?}")));
        let clock = Clock { form: Form::parse(&format)?, zone: zone.transpose()?, fold };
        ensure!(interval_s <= INTERVAL_S_MAX, "time.interval_s: at most {INTERVAL_S_MAX} s are due");
        ensure!(label == Label::End || 0 < interval_s, "time.label \"start\" needs time.interval_s");
        let measure = |metric: &str, unit: &str, kind: &str, scale: f64, missing: Vec<String>| {
            let of = || format!("kind {kind:?}: gauge, delta, total, counter or rate is due");
            let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind && *one != Kind::Event);
            let kind = kind.with_context(of)?;
            ensure!(!kind.covers_interval() || 0 < interval_s, "kind {kind} needs time.interval_s");
            ensure!(scale.is_finite() && scale != 0.0, "scale {scale}: a number other than 0 is due");
            let missing = missing.into_iter().map(|text| text.trim().to_owned()).collect();
            anyhow::Ok(Measure { metric: metric.to_owned(), unit: unit.to_owned(), kind, scale, missing })
        };
        let shape = match (said.long, said.values, said.column) {
            (Some(long), None, named) if named.is_empty() => {
                let unit = long.unit.unwrap_or(Source::Value { value: String::new() });
                let measure = measure("", "", &long.kind, long.scale, long.missing).context("[long]")?;
                Shape::Long { sensor: long.sensor, metric: long.metric, unit, value: long.value, measure }
            }
            (None, rest, named) if rest.is_some() || !named.is_empty() => {
                ensure!(named.len() <= NAMED_MAX, "more than {NAMED_MAX} columns by name");
                let rest = rest.map(|v| measure(&v.metric, &v.unit, &v.kind, v.scale, v.missing));
                let named = named.into_iter().map(|c| {
                    let measure = measure(&c.metric, &c.unit, &c.kind, c.scale, c.missing);
                    Ok((c.name.clone(), c.sensor, measure.with_context(|| format!("column {:?}", c.name))?))
                });
                Shape::Wide {
                    rest: rest.transpose().context("[values]")?,
                    named: named.collect::<anyhow::Result<_>>()?,
                }
            }
            _ => anyhow::bail!("either [long], or [values] and [[column]], is due"),
        };
        Ok(Columns { time: column, clock, starts: label == Label::Start, interval_s, shape })
    }

    /// # Errors
    /// It describes a long table.
    pub(super) fn wide(&self) -> anyhow::Result<&Columns> {
        ensure!(matches!(self.shape, Shape::Wide { .. }), "the columns are those of a long table: --as long");
        Ok(self)
    }

    /// # Errors
    /// It describes a wide table.
    pub(super) fn long(&self) -> anyhow::Result<&Columns> {
        ensure!(matches!(self.shape, Shape::Long { .. }), "the columns are those of a wide table: --as wide");
        Ok(self)
    }
}

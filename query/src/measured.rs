//! Datasets that nobody stored: the measures of `processor`, computed from rollups and readings while they are read.
//!
//! ```text
//! table ──────> period, narrow ──> scan ─────> rollup, traffic, road, .. , latest ──> rows
//! what is        when, and which   a snapshot   some series at a time, as much               batches, as fast
//! offered        series            and bounds   as may be held at once                       as they are taken
//! ```
//! - [`dataset`]: names, columns, units and comments; [`source`]: what every scan needs
//! - A range of time is needed, and all of its buckets are answered: what was not observed is null, and never zero.
//! - Filters narrow what is read, and the engine filters once more.
mod balance;
mod dataset;
mod demand;
mod health;
mod incident;
mod latest;
mod narrow;
mod night;
mod period;
mod queue;
mod road;
mod rollup;
mod rows;
mod scan;
mod source;
mod station;
mod stations;
mod table;
mod traffic;
mod typical;
mod utility;
mod zone;

pub use self::{
    dataset::{MEASURED, Measure},
    source::Source,
    table::{register, table},
};

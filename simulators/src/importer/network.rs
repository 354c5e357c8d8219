//! Results of EPANET as WNTR's tables have them, and what their quantities are in a city: one column for each node or
//! link, the first one seconds from the start.

use std::str::FromStr;

use anyhow::{Context, bail, ensure};

use super::{
    clock::seconds,
    found::Kind,
    input::Text,
    number,
    sink::{Sink, Value},
    text::COLUMNS_MAX,
};

/// What EPANET computes of a node or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    Demand,
    Head,
    Pressure,
    Flow,
    Velocity,
}

impl Quantity {
    /// Every quantity with its name.
    pub const ALL: [(&'static str, Quantity); 5] = [
        ("demand", Quantity::Demand),
        ("head", Quantity::Head),
        ("pressure", Quantity::Pressure),
        ("flowrate", Quantity::Flow),
        ("velocity", Quantity::Velocity),
    ];

    /// Its metric and unit, and what a value in WNTR's units (m3/s, m, m/s) is multiplied by: pressure is kept in kPa,
    /// of which a metre of water is 9.80665 (density 1000 kg/m3, standard gravity).
    pub const fn metric(self) -> (&'static str, &'static str, f64) {
        match self {
            Quantity::Demand => ("water.demand", "m3/h", 3_600.0),
            Quantity::Head => ("water.head", "m", 1.0),
            Quantity::Pressure => ("water.pressure", "kPa", 9.806_65),
            Quantity::Flow => ("water.flow", "m3/h", 3_600.0),
            Quantity::Velocity => ("water.velocity", "m/s", 1.0),
        }
    }

    pub const fn is_of_links(self) -> bool {
        matches!(self, Quantity::Flow | Quantity::Velocity)
    }

    /// The sensor of a node or a link: both may have the same name in a network.
    pub fn sensor(self, name: &str) -> String {
        format!("{}.{name}", if self.is_of_links() { "link" } else { "node" })
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Quantity, String> {
        let found = Quantity::ALL.into_iter().find(|(name, _)| *name == text);
        let names = Quantity::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, quantity)| quantity).ok_or_else(|| format!("there are {names}"))
    }
}

/// # Errors
/// The line that is wrong, or it is not said what the values are.
pub fn read(text: Text, quantities: &[Quantity], sink: &mut Sink<'_>) -> anyhow::Result<()> {
    let [quantity] = quantities else {
        bail!("a table has one quantity: say which, for example --quantity pressure");
    };
    let (metric, unit, scale) = quantity.metric();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.of_cells());
    let head = reader.headers()?.clone();
    ensure!(1 < head.len() && head.len() <= COLUMNS_MAX, "line 1: 2 to {COLUMNS_MAX} columns are due");
    let sensors: Vec<String> = head.iter().map(|name| quantity.sensor(name)).collect();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let about = || format!("line {line}");
        let time = seconds(record.get(0).unwrap_or_default()).with_context(about)?;
        let time_us = sink.at(time).with_context(about)?;
        for (cell, sensor) in record.iter().zip(&sensors).skip(1) {
            if cell.is_empty() || cell.eq_ignore_ascii_case("nan") {
                sink.leave_out("empty cells");
                continue;
            }
            let value =
                number::decimal(cell).and_then(|value| number::times(value, scale)).with_context(about)?;
            let value = Value { metric, unit, kind: Kind::Gauge, interval_s: 0, value };
            sink.reading(sensor, time_us, &value).with_context(about)?;
        }
    }
    Ok(())
}

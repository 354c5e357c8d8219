//! What other simulators and tables say: files of foreign formats become readings and passages, and those the messages
//! that sensors would have sent.
//!
//! A file is read as a stream, so its length costs time and no memory. What cannot be read ends the import with the line;
//! what is missing by intent (an empty cell, SUMO's -1) is left out and counted by reason.

mod binary;
mod class;
mod clock;
mod columns;
mod events;
mod fcd;
mod found;
mod input;
mod instant;
mod loops;
mod network;
mod number;
mod parquet;
mod sink;
mod speaker;
mod table;
mod text;
mod xml;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;

pub use self::{
    columns::Columns,
    found::{Found, Kind, Series},
    loops::Count,
    network::Quantity,
    sink::Fact,
    speaker::messages,
};
use self::{fcd::Detectors, fcd::Lengths, sink::Sink};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// SUMO induction loops (E1), XML.
    SumoE1,
    /// SUMO instantaneous induction loops, XML.
    SumoInstant,
    /// One line for each vehicle over a detector, CSV.
    SumoEvents,
    /// SUMO floating car data, XML, over detectors of our own.
    SumoFcd,
    /// Results of EPANET: tables as WNTR writes them, or the binary output file.
    Epanet,
    /// CSV with a column for each sensor or metric.
    Wide,
    /// CSV with a line for each value.
    Long,
    /// Either shape of table, in Parquet.
    Parquet,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&'static str, Format); 8] = [
        ("sumo-e1", Format::SumoE1),
        ("sumo-instant", Format::SumoInstant),
        ("sumo-events", Format::SumoEvents),
        ("sumo-fcd", Format::SumoFcd),
        ("epanet", Format::Epanet),
        ("wide", Format::Wide),
        ("long", Format::Long),
        ("parquet", Format::Parquet),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|(name, _)| *name == text);
        let names = Format::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, format)| format).ok_or_else(|| format!("no such format; there are {names}"))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Format::ALL.iter().find(|(_, format)| format == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

/// How files are read.
#[derive(Debug, Clone)]
pub struct Importer {
    pub format: Format,
    /// The absolute time of second 0, for files whose times are seconds of a simulation.
    pub start: Option<Timestamp>,
    /// Stands before the name of each sensor.
    pub prefix: String,
    /// Which vehicles an E1 detector counts.
    pub count: Count,
    /// What the values of an EPANET file are; of a binary file, all of them if none is named.
    pub quantities: Vec<Quantity>,
    /// The columns of a table.
    pub columns: Option<Columns>,
    /// CSV with `id,lane,pos_m`: where floating cars are counted.
    pub detectors: Option<PathBuf>,
    /// Lengths of vehicles of which the file says none: `5`, or `truck=12` of one type.
    pub lengths: Vec<String>,
    /// Bytes read of the files so far, for whoever shows it.
    pub progress: Arc<AtomicU64>,
}

impl Importer {
    /// A format with nothing else said.
    pub fn new(format: Format) -> Importer {
        Importer {
            format,
            start: None,
            prefix: String::new(),
            count: Count::default(),
            quantities: Vec::new(),
            columns: None,
            detectors: None,
            lengths: Vec::new(),
            progress: Arc::default(),
        }
    }

    /// Gives each fact of a file to `take`, in the file's order, and returns what was found there.
    ///
    /// # Errors
    /// The file cannot be read or says what cannot be understood: named with its line. An option is missing that its
    /// format needs. Whatever `take` returns.
    pub fn read(
        &self,
        file: &Path,
        take: &mut dyn FnMut(Fact<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Found> {
        ensure!(
            self.prefix.chars().all(|letter| letter.is_alphanumeric() || "._:-@=~%,;&".contains(letter)),
            "--sensor-prefix {:?}: letters, digits or ._:-@=~%,;& are due",
            self.prefix
        );
        let mut sink = Sink::new(self.start, &self.prefix, take);
        self.read_into(file, &mut sink).with_context(|| format!("{} as {}", file.display(), self.format))?;
        Ok(sink.found)
    }

    fn read_into(&self, file: &Path, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let text = || input::text(file, &self.progress);
        let columns = || self.columns.as_ref().context("say which column is what: --columns FILE");
        match self.format {
            Format::SumoE1 => loops::read(text()?, self.count, sink),
            Format::SumoInstant => instant::read(text()?, sink),
            Format::SumoEvents => events::read(text()?, sink),
            Format::SumoFcd => {
                let detectors = self.detectors.as_ref().context("say where to count: --detectors FILE")?;
                let detectors = Detectors::read(input::text(detectors, &Arc::default())?)
                    .with_context(|| format!("{}", detectors.display()))?;
                fcd::read(text()?, &detectors, &Lengths::parse(&self.lengths)?, sink)
            }
            Format::Epanet if binary::is_one(file)? => {
                binary::read(file, &self.quantities, &self.progress, sink)
            }
            Format::Epanet => network::read(text()?, &self.quantities, sink),
            Format::Wide => text::read(text()?, columns()?.wide()?, sink),
            Format::Long => text::read(text()?, columns()?.long()?, sink),
            Format::Parquet => parquet::read(file, columns()?, &self.progress, sink),
        }
    }
}

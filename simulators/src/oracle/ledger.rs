//! What was sent, and what the broker took: written down, and on disk before the next step.
//!
//! A ledger and the answer key of a simulated city are one format: JSON lines, appended while something is sent, so that
//! what a killed publisher did is known. The first line says from which numbers all messages follow; a line that a crash
//! cut off did not happen.
//!
//! ```text
//! {"load": {...}}                                             a load of the delivery tests
//! {"sent": {"messages": [0, 1], "at_us": ...}}                before they are handed to the broker, by their place in it
//! {"taken": {"messages": [0], "at_us": ...}}                  acknowledged by the broker
//!
//! {"simulation": {"seed": 7, "sensors": 10000, ...}}          a run of a simulated city
//! {"far": {"connection": 0, "sent": 3, "taken": 2, ...}}      nothing of a later tick was sent, all of an earlier one taken
//! {"again": 12}                                               messages sent again because a connection was lost
//! {"answer": {"ledger": {...}, "late": [0, 0], ...}}          what must be in the tables, in numbers
//! {"series": {"sensor": "sim7_00000-loop1", ...}}             what must be there of one series
//! {"end": {"lines": 22000, "xxh3": "..."}}                    the run is complete: a sum of all bytes before
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::load::{Load, Plan};
use crate::simulation::{Answer, Far, Scenario, SeriesAnswer};

/// An append-only file of JSON lines: the load, from which every message follows, then what became of each.
#[derive(Debug)]
pub struct Ledger {
    pub plan: Plan,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    file: File,
    entries: Vec<Entry>,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Times it was handed to a broker.
    pub sent: u32,
    /// When the broker took it first: its PUBACK.
    pub taken_us: Option<i64>,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Load(Load),
    Sent { messages: Vec<u32>, at_us: i64 },
    Taken { messages: Vec<u32>, at_us: i64 },
    Simulation(Box<Scenario>),
    Far(Far),
    Again(u64),
    Answer(Answer),
    Series(SeriesAnswer),
    End { lines: u64, xxh3: String },
}

impl Ledger {
    /// Begins a ledger.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn create(path: &Path, load: &Load) -> anyhow::Result<Ledger> {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let file = file.with_context(|| format!("begin the ledger {}", path.display()))?;
        let plan = load.plan();
        let entries = vec![Entry::default(); plan.messages.len()];
        let ledger = Ledger { plan, book: Mutex::new(Book { file, entries }) };
        ledger.write(&Line::Load(load.clone()))?;
        Ok(ledger)
    }

    /// Reads a ledger again, as another process left it.
    ///
    /// # Errors
    /// The file cannot be read, or is no ledger.
    pub fn open(path: &Path) -> anyhow::Result<Ledger> {
        let file = OpenOptions::new().read(true).append(true).open(path);
        let file = file.with_context(|| format!("open the ledger {}", path.display()))?;
        let mut lines = BufReader::new(file.try_clone()?).lines();
        let first = lines.next().context("an empty ledger")??;
        let Line::Load(load) = serde_json::from_str(&first)? else {
            anyhow::bail!("a ledger of a load begins with it");
        };
        let plan = load.plan();
        let mut entries = vec![Entry::default(); plan.messages.len()];
        for line in lines {
            // A line that was cut by a crash was not on disk, so nothing followed from it.
            let Ok(line) = serde_json::from_str(&line?) else { break };
            note(&mut entries, &line)?;
        }
        Ok(Ledger { plan, book: Mutex::new(Book { file, entries }) })
    }

    /// Before messages are handed to the broker.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn sent(&self, messages: &[u32]) -> anyhow::Result<()> {
        self.write(&Line::Sent { messages: messages.to_vec(), at_us: now_us() })
    }

    /// After the broker took messages.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn taken(&self, messages: &[u32]) -> anyhow::Result<()> {
        self.write(&Line::Taken { messages: messages.to_vec(), at_us: now_us() })
    }

    /// What became of each message of the plan.
    pub fn entries(&self) -> Vec<Entry> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    fn write(&self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.file.write_all(text.as_bytes())?;
        book.file.sync_data()?;
        note(&mut book.entries, line)
    }
}

fn note(entries: &mut [Entry], line: &Line) -> anyhow::Result<()> {
    let (Line::Sent { messages, at_us } | Line::Taken { messages, at_us }) = line else { return Ok(()) };
    for message in messages {
        ensure!(
            (*message as usize) < entries.len(),
            "the ledger names message {message}, which its load lacks"
        );
        let entry = &mut entries[*message as usize];
        match line {
            Line::Taken { .. } => drop(entry.taken_us.get_or_insert(*at_us)),
            _ => entry.sent += 1,
        }
    }
    Ok(())
}

fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_says_after_a_crash_what_it_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let load = Load::clean("ledger", 1, "2024-05-01T00:00:00Z".parse().unwrap());
        let ledger = Ledger::create(&path, &load).unwrap();
        ledger.sent(&[0, 1, 1]).unwrap();
        ledger.taken(&[1]).unwrap();
        let before = ledger.entries();
        assert_eq!((before[0].sent, before[1].sent), (1, 2));
        assert!(before[0].taken_us.is_none() && before[1].taken_us.is_some());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"sent\":{\"messages\":[2],").unwrap();
        assert_eq!(Ledger::open(&path).unwrap().entries(), before);
        assert!(Ledger::create(&path, &load).is_err(), "a ledger is never begun twice");
    }
}

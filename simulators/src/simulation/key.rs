//! The answer key: from what a run follows, how far it came, and what the tables must hold. Its format is that of a ledger,
//! described at [`crate::oracle::Ledger`].

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use xxhash_rust::xxh3::Xxh3;

use super::answer::{Answer, Far, Progress};
use super::{Scenario, Simulation};
use crate::oracle::Line;

/// Readings that are expected at once: some hundred megabytes.
const READINGS_AT_ONCE: u64 = 1_000_000;
/// And voices.
const VOICES_AT_ONCE: u64 = 500;

/// Voices whose answers are computed at once.
pub(super) fn voices_at_once(scenario: &Scenario) -> u32 {
    // Who packs most reports each minute.
    let of_voice = scenario.pack as u64 * u64::from(scenario.ticks) / 3;
    (READINGS_AT_ONCE / of_voice.max(1)).clamp(1, VOICES_AT_ONCE) as u32
}

/// Of larger cities the key has no line for each series: they follow from the scenario, and would fill the disk.
const SENSORS_WITH_SERIES_MAX: u32 = 100_000;

/// Writes a key while a run goes on.
pub struct KeyWriter {
    file: BufWriter<File>,
    sum: Xxh3,
    lines: u64,
    progress: Progress,
}

impl KeyWriter {
    /// Begins a key.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn create(path: &Path, scenario: &Scenario) -> anyhow::Result<KeyWriter> {
        let file = OpenOptions::new().create_new(true).write(true).open(path);
        let file =
            file.with_context(|| format!("begin the answer key {}: it must be new", path.display()))?;
        let mut key = KeyWriter {
            file: BufWriter::new(file),
            sum: Xxh3::new(),
            lines: 0,
            progress: Progress::new(scenario.connections),
        };
        key.line(&Line::Simulation(Box::new(scenario.clone())))?;
        key.file.flush()?;
        Ok(key)
    }

    /// Before the first message of a tick is sent.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn far(&mut self, far: Far) -> anyhow::Result<()> {
        self.progress.note(&far);
        self.line(&Line::Far(far))?;
        Ok(self.file.flush()?)
    }

    /// Ends the key with what must be in the tables. `step` is told how many voices of how many are done.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn finish(
        mut self,
        simulation: &Simulation,
        sent_again: u64,
        mut step: impl FnMut(u32, u32),
    ) -> anyhow::Result<Answer> {
        self.line(&Line::Again(sent_again))?;
        self.file.flush()?;
        let (numbers, sources) = simulation.numbered(&self.progress);
        let mut answer = Answer { sources, ..Answer::default() };
        let voices = simulation.voices.count();
        let step_by = voices_at_once(&simulation.scenario);
        for from in (0..voices).step_by(step_by as usize) {
            let part = from..(from + step_by).min(voices);
            let (expected, refused) = simulation.expectation(part.clone(), &self.progress, &numbers);
            if simulation.scenario.sensors <= SENSORS_WITH_SERIES_MAX {
                for series in simulation.series_answers(part.clone(), &expected) {
                    answer.series += 1;
                    self.line(&Line::Series(series))?;
                }
            }
            answer.add(&expected, refused);
            step(part.end, voices);
        }
        self.line(&Line::Answer(answer.clone()))?;
        let (lines, xxh3) = (self.lines, format!("{:016x}", self.sum.digest()));
        self.line(&Line::End { lines, xxh3 })?;
        let file = self.file.into_inner().context("write the answer key")?;
        file.sync_all()?;
        Ok(answer)
    }

    fn line(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sum.update(&text);
        self.lines += 1;
        Ok(self.file.write_all(&text)?)
    }
}

/// A key that was read again.
#[derive(Debug)]
pub struct AnswerKey {
    pub simulation: Simulation,
    pub progress: Progress,
    /// Messages that were sent again because a connection was lost: each of them may have been delivered twice.
    pub sent_again: u64,
    /// None where the run did not come to its end.
    pub answer: Option<Answer>,
    /// Whether the file is as it was when it was ended.
    pub is_whole: bool,
}

/// Longest line: that of a series over a year.
const LINE_BYTES_MAX: usize = 64 << 20;

impl AnswerKey {
    /// Reads a key.
    ///
    /// # Errors
    /// The file cannot be read, is no key, or was changed.
    pub fn open(path: &Path) -> anyhow::Result<AnswerKey> {
        let about = || format!("read the answer key {}", path.display());
        let file = File::open(path).with_context(about)?;
        let mut file = BufReader::new(file);
        let (mut sum, mut lines) = (Xxh3::new(), 0u64);
        let mut text = Vec::new();
        let mut key: Option<AnswerKey> = None;
        loop {
            text.clear();
            let bytes = file.read_until(b'\n', &mut text).with_context(about)?;
            ensure!(bytes <= LINE_BYTES_MAX, "{}: line {} is too long", about(), lines + 1);
            let line = match serde_json::from_slice(&text) {
                Ok(line) => line,
                // A crash cuts the last line off.
                Err(_) if bytes == 0 || !text.ends_with(b"\n") => break,
                Err(error) => bail!("{}, line {}: {error}", about(), lines + 1),
            };
            match (line, &mut key) {
                (Line::Simulation(scenario), None) => {
                    key = Some(AnswerKey {
                        progress: Progress::new(scenario.connections),
                        simulation: Simulation::new(*scenario).with_context(about)?,
                        sent_again: 0,
                        answer: None,
                        is_whole: false,
                    });
                }
                (Line::Far(far), Some(key)) => key.progress.note(&far),
                (Line::Again(messages), Some(key)) => key.sent_again = messages,
                (Line::Answer(answer), Some(key)) => key.answer = Some(answer),
                (Line::Series(_), Some(_)) => {}
                (Line::End { lines: due, xxh3 }, Some(key)) => {
                    let found = format!("{:016x}", sum.digest());
                    ensure!(
                        due == lines && xxh3 == found,
                        "{}: it was changed since it was written",
                        about()
                    );
                    key.is_whole = true;
                    break;
                }
                _ => bail!("{}: line {} is not one of the key of a simulation", about(), lines + 1),
            }
            sum.update(&text);
            lines += 1;
        }
        let key = key.with_context(|| format!("{}: it is empty", about()))?;
        ensure!(key.progress.has_begun(), "{}: nothing was sent, so there is nothing to compare", about());
        Ok(key)
    }
}

//! The access log: who asked what, through which door, and how much was answered. Lines of JSON that are only ever
//! appended, each with the hash of the one before it: a line that is changed, taken out or put in shows.

use crate::{
    caller::Caller,
    error::{QueryError, Result},
};
use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A file is closed and the next one begun at this size; whoever keeps them moves them away.
const FILE_BYTES: u64 = 64 << 20;
/// Characters of a question that are kept; its hash is of all of it.
const WHAT_MAX: usize = 4096;
/// What comes before the first line of all.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Longer than most lines.
const LINE_BYTES: u64 = 64 << 10;

/// One line. A question has two: when it was let in, and when its answer ended.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Entry {
    pub n: u64,
    pub at: Timestamp,
    pub event: Event,
    /// Of the question; both of its lines have the same.
    pub id: String,
    pub who: String,
    pub role: String,
    /// How it was known who asked.
    pub via: String,
    pub door: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// SHA-256 of the whole question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Hash of the line before this one.
    pub previous: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Asked,
    Answered,
}

/// The end of a chain: how many lines it has, and the hash of the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub lines: u64,
    pub hash: String,
}

/// Where questions are written down, if anywhere.
#[derive(Debug)]
pub struct AccessLog(Option<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: File,
    bytes: u64,
    head: Head,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub struct Answer {
    pub rows: u64,
    pub bytes: u64,
    pub outcome: &'static str,
}

impl AccessLog {
    /// Nothing is written down: for loopback, where nobody says who they are.
    pub fn none() -> Self {
        Self(None)
    }

    /// Appends to a file, which is made if it is not there. A line that a crash cut is taken off: nothing was answered
    /// on it.
    ///
    /// # Errors
    /// The file cannot be opened, or is no access log.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("open the access log {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(name)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)
            .with_context(name)?;
        file.try_lock().with_context(|| format!("{}: another process writes it", path.display()))?;
        let (head, bytes) = last(&mut file, path).with_context(name)?;
        if bytes < file.metadata().with_context(name)?.len() {
            file.set_len(bytes).with_context(name)?;
        }
        Ok(Self(Some(Mutex::new(Writer { path: path.to_owned(), file, bytes, head }))))
    }

    /// Writes down a question before anything of its answer leaves.
    ///
    /// # Errors
    /// It cannot be written: then nothing may be answered.
    pub fn asked(&self, id: &str, caller: &Caller, what: &str) -> Result<()> {
        let kept = what.char_indices().nth(WHAT_MAX).map_or(what, |(end, _)| &what[..end]);
        let sha256 = hex(&Sha256::digest(what));
        self.write(id, caller, |entry| Entry { what: Some(kept.to_owned()), sha256: Some(sha256), ..entry })
    }

    /// Writes down the end of an answer.
    pub fn answered(&self, id: &str, caller: &Caller, answer: &Answer) {
        let Answer { rows, bytes, outcome } = answer.clone();
        let outcome = Some(outcome.to_owned());
        let line =
            |entry| Entry { event: Event::Answered, rows: Some(rows), bytes: Some(bytes), outcome, ..entry };
        if let Err(error) = self.write(id, caller, line) {
            tracing::error!(%error, id, "the end of an answer is not in the access log");
        }
    }

    /// The end of the chain, to be kept where this machine cannot change it.
    pub fn head(&self) -> Option<Head> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).head.clone())
    }

    fn write(&self, id: &str, caller: &Caller, complete: impl FnOnce(Entry) -> Entry) -> Result<()> {
        let Some(writer) = &self.0 else { return Ok(()) };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = complete(Entry {
            n: writer.head.lines + 1,
            at: Timestamp::now(),
            event: Event::Asked,
            id: id.to_owned(),
            who: caller.identity.name.to_string(),
            role: caller.identity.role.to_string(),
            via: caller.identity.via.label().to_owned(),
            door: caller.door.to_string(),
            what: None,
            sha256: None,
            rows: None,
            bytes: None,
            outcome: None,
            previous: writer.head.hash.clone(),
        });
        writer.append(&entry).map_err(|error| {
            metrics::counter!("screenline_access_log_failures_total").increment(1);
            QueryError::Busy(format!(
                "the access log {} cannot be written, and nothing is answered without it: {error:#}",
                writer.path.display()
            ))
        })
    }
}

impl Writer {
    fn append(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if FILE_BYTES <= self.bytes {
            self.turn_over()?;
        }
        let mut line = serde_json::to_string(entry)?;
        let hash = hash(&line);
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // What was written of it must not become a part of the next line.
            self.file.set_len(self.bytes)?;
            return Err(error.into());
        }
        self.bytes += line.len() as u64;
        self.head = Head { lines: entry.n, hash };
        metrics::counter!("screenline_access_log_lines_total").increment(1);
        Ok(())
    }

    /// Gives the file a name with the number of its last line and begins the next.
    fn turn_over(&mut self) -> anyhow::Result<()> {
        self.file.sync_all()?;
        // The next one first: where it cannot be made, all is as before.
        let next = self.path.with_extension("next");
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(&next)?;
        file.try_lock()?;
        fs::rename(&self.path, closed(&self.path, self.head.lines))?;
        fs::rename(&next, &self.path)?;
        (self.file, self.bytes) = (file, 0);
        Ok(())
    }
}

/// The name of a file that is closed, such as `access.000000104233.jsonl`.
fn closed(path: &Path, last: u64) -> PathBuf {
    path.with_extension(format!("{last:012}.jsonl"))
}

/// The head that the last whole line makes, and where it ends.
fn last(file: &mut File, path: &Path) -> anyhow::Result<(Head, u64)> {
    let length = file.metadata()?.len();
    let (mut from, mut tail) = (length, Vec::new());
    // Back to where the last whole line begins, however long it is.
    while 0 < from && tail.iter().filter(|byte| **byte == b'\n').nth(1).is_none() {
        from = from.saturating_sub(LINE_BYTES.max(length - from));
        file.seek(SeekFrom::Start(from))?;
        tail.clear();
        file.read_to_end(&mut tail)?;
    }
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        ensure!(from == 0, "its last line has no end");
        return Ok((head_before(path)?, 0));
    };
    let start = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    ensure!(from == 0 || 0 < start, "its last line has no beginning");
    let line = std::str::from_utf8(&tail[start..end])?;
    let entry: Entry = serde_json::from_str(line).context("its last line is not one of ours")?;
    Ok((Head { lines: entry.n, hash: hash(line) }, from + end as u64 + 1))
}

/// The head of the newest closed file beside an empty one.
fn head_before(path: &Path) -> anyhow::Result<Head> {
    let newest = files(path)?.into_iter().rev().find(|file| file != path);
    match newest {
        Some(newest) => Ok(last(&mut File::open(&newest)?, &newest)?.0),
        None => Ok(Head { lines: 0, hash: GENESIS.into() }),
    }
}

/// The files of a log, in order: those that are closed, then the one that is written.
///
/// # Errors
/// The folder cannot be read.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a name that is text")?;
    let is_closed = |name: &str| {
        let digits = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".jsonl"));
        digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_closed) {
            files.push(entry.path());
        }
    }
    files.sort();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Goes through the lines of some files and checks that each follows the one before it; `take` hears of each.
///
/// # Errors
/// The first line that does not: it, or one before it, was changed, taken out or put in.
pub fn verify(files: &[PathBuf], mut take: impl FnMut(&Entry)) -> anyhow::Result<Head> {
    let mut head: Option<Head> = None;
    for file in files {
        let name = || format!("read {}", file.display());
        let lines = BufReader::new(File::open(file).with_context(name)?);
        for (at, line) in lines.split(b'\n').enumerate() {
            let place = || format!("{} line {}", file.display(), at + 1);
            let line = String::from_utf8(line.with_context(name)?).with_context(place)?;
            let entry: Entry =
                serde_json::from_str(&line).with_context(|| format!("{}: not one of ours", place()))?;
            // Older files may be kept elsewhere: the first line that is here begins the chain.
            let before = head.get_or_insert_with(|| Head {
                lines: entry.n.saturating_sub(1),
                hash: entry.previous.clone(),
            });
            if entry.n == 1 && entry.previous != GENESIS {
                bail!("{}: the first line of all does not begin the chain", place());
            }
            ensure!(
                entry.previous == before.hash && entry.n == before.lines + 1,
                "{}: the chain is broken: this line, or the one before it, was changed, or one between them is gone",
                place()
            );
            take(&entry);
            head = Some(Head { lines: entry.n, hash: hash(&line) });
        }
    }
    Ok(head.unwrap_or(Head { lines: 0, hash: GENESIS.into() }))
}

fn hash(line: &str) -> String {
    hex(&Sha256::digest(line))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // into a String: cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        caller::Door,
        identity::{Identity, Via},
    };

    fn caller() -> Caller {
        Caller::new(Identity { name: "me".into(), role: "operator".into(), via: Via::Open }, Door::FlightSql)
    }

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("access.jsonl");
        let log = AccessLog::open(&path).unwrap();
        for id in ["a", "b", "c"] {
            log.asked(id, &caller(), "SELECT 'ä'").unwrap();
            log.answered(id, &caller(), &Answer { rows: 1, bytes: 8, outcome: "ok" });
        }
        path
    }

    #[test]
    fn a_chain_goes_on_after_a_restart_and_a_cut_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":7,").unwrap();
        let log = AccessLog::open(&path).unwrap();
        assert!(AccessLog::open(&path).is_err(), "one writer");
        log.asked("d", &caller(), &"x".repeat(WHAT_MAX + 1)).unwrap();
        let mut last = None;
        let head = verify(&files(&path).unwrap(), |entry| last = Some(entry.clone())).unwrap();
        assert_eq!(Some(head.clone()), log.head());
        assert_eq!(head.lines, 7);
        assert_eq!(last.unwrap().what.unwrap().len(), WHAT_MAX);
    }

    #[test]
    fn whatever_is_changed_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let verdict = |lines: &[&str]| {
            fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            verify(&files(&path).unwrap(), |_| {})
        };
        assert_eq!(verdict(&lines).unwrap().lines, 6);
        let changed = lines[2].replace("SELECT", "DELETE");
        for wrong in [
            vec![lines[0], lines[1], &changed, lines[3]],
            vec![lines[0], lines[2]],
            vec![lines[0], lines[2], lines[1]],
            vec![lines[0], lines[0]],
            vec![lines[0], "", lines[1]],
        ] {
            assert!(verdict(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_full_file_is_closed_and_the_chain_goes_on_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let log = AccessLog::open(&path).unwrap();
        log.0.as_ref().unwrap().lock().unwrap().bytes = FILE_BYTES;
        log.asked("d", &caller(), "SELECT 1").unwrap();
        drop(log);
        assert_eq!(files(&path).unwrap().len(), 2);
        fs::write(&path, "").unwrap();
        AccessLog::open(&path).unwrap().asked("e", &caller(), "SELECT 2").unwrap();
        let head = verify(&files(&path).unwrap(), |_| {}).unwrap();
        assert_eq!(head.lines, 7);
    }
}

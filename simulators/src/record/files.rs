//! The file of a recording, or its files one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::recording::{ENDING, Header, Message, RecordingError, Summary, Writer};

/// Smallest file of a set: below, files are mostly beginnings.
const ROTATE_BYTES_MIN: u64 = 1 << 20;
const ROTATE_TIME_MIN: Duration = Duration::from_secs(1);

/// Where a recording goes.
pub enum Output {
    /// A pipe.
    Stream(Box<dyn Write + Send>),
    File(PathBuf),
    /// `name.0001.rec` and so on, for the path `name.rec`.
    Set {
        path: PathBuf,
        rotate: Rotate,
        /// Only so many files, the newest; the one that is written is one of them.
        keep: Option<usize>,
    },
}

/// When a file of a set is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// With the block that reaches so many bytes.
    Bytes(u64),
    After(Duration),
}

impl FromStr for Rotate {
    type Err = String;

    /// `1GiB`, `64MiB`, or `1h`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |unit: &str, shift: u32| {
            let number = text.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
            number.checked_mul(1 << shift).map(Rotate::Bytes)
        };
        let time = || Some(Rotate::After(text.parse::<SignedDuration>().ok()?.try_into().ok()?));
        let rotate = unit("GiB", 30).or_else(|| unit("MiB", 20)).or_else(|| unit("KiB", 10)).or_else(time);
        match rotate {
            Some(Rotate::Bytes(ROTATE_BYTES_MIN..)) => {}
            Some(Rotate::After(time)) if ROTATE_TIME_MIN <= time => {}
            _ => return Err("give a size from 1MiB such as 1GiB, or a time from 1s such as 1h".to_owned()),
        }
        rotate.ok_or_else(String::new)
    }
}

impl Output {
    /// The recording's name: the file's without its ending.
    pub(super) fn name(&self) -> String {
        match self {
            Output::Stream(_) => "recording".to_owned(),
            Output::File(path) | Output::Set { path, .. } => stem(path),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Stream(_) => f.write_str("a stream"),
            Output::File(path) | Output::Set { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) struct Files {
    writer: Writer,
    header: Header,
    set: Option<Set>,
    /// Of files that are closed.
    closed: Summary,
    count: u64,
    /// Bytes that a continued file held.
    before: u64,
}

struct Set {
    path: PathBuf,
    rotate: Rotate,
    keep: Option<usize>,
    /// Oldest first; the last is written.
    files: VecDeque<(u64, PathBuf)>,
    begun: Instant,
}

impl Files {
    pub(super) fn open(output: Output, header: Header, append: bool) -> Result<Files, RecordingError> {
        let (mut set, mut before) = (None, 0);
        let writer = match output {
            Output::Stream(to) => Writer::stream(to, &header)?,
            Output::File(path) if append => {
                let there = path.exists();
                let writer = Writer::append(&path, &header)?;
                let summary = writer.summary();
                if 0 < summary.cut_bytes {
                    tracing::warn!(
                        bytes = summary.cut_bytes,
                        "cut off what a crash left at the end of the file"
                    );
                }
                before = if there { summary.bytes } else { 0 };
                writer
            }
            Output::File(path) => {
                if fs::metadata(&path).is_ok_and(|there| there.is_file() && 0 < there.len()) {
                    return Err(there_already(&path));
                }
                Writer::create(&path, &header)?
            }
            Output::Set { path, rotate, keep } => {
                let files = numbered(&path)?;
                if let Some((_, file)) = files.front().filter(|_| !append) {
                    return Err(there_already(file));
                }
                let mut files = Set { path, rotate, keep, files, begun: Instant::now() };
                let writer = files.next(&header)?;
                set = Some(files);
                writer
            }
        };
        Ok(Files { writer, header, set, closed: Summary::default(), count: 1, before })
    }

    pub(super) fn write(&mut self, message: &Message) -> Result<(), RecordingError> {
        if let Some(set) = &mut self.set {
            let full = match set.rotate {
                Rotate::Bytes(bytes) => bytes <= self.writer.summary().bytes,
                Rotate::After(time) => time <= set.begun.elapsed(),
            };
            if full {
                self.writer.flush()?;
                self.closed = sum(self.closed, self.writer.summary());
                self.writer = set.next(&self.header)?;
                self.count += 1;
            }
        }
        self.writer.write(message)
    }

    pub(super) fn gap(&mut self, from: Timestamp, to: Timestamp) -> Result<(), RecordingError> {
        self.writer.gap(from, to)
    }

    pub(super) fn flush(&mut self) -> Result<(), RecordingError> {
        self.writer.flush()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.writer.due()
    }

    /// Of all files.
    pub(super) fn written(&self) -> Summary {
        sum(self.closed, self.writer.summary())
    }

    pub(super) fn before(&self) -> u64 {
        self.before
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

fn sum(one: Summary, other: Summary) -> Summary {
    Summary {
        messages: one.messages + other.messages,
        content_bytes: one.content_bytes + other.content_bytes,
        bytes: one.bytes + other.bytes,
        cut_bytes: one.cut_bytes + other.cut_bytes,
    }
}

impl Set {
    /// Begins the next file, and removes those that are too many.
    fn next(&mut self, header: &Header) -> Result<Writer, RecordingError> {
        let mut number = self.files.back().map_or(1, |(number, _)| number + 1);
        let (path, writer) = loop {
            let name = format!("{}.{number:04}.{}", stem(&self.path), ending(&self.path));
            let path = self.path.with_file_name(name);
            match Writer::create_new(&path, header) {
                // Another recorder has made it meanwhile.
                Err(RecordingError::Exists(_)) => number += 1,
                writer => break (path, writer?),
            }
        };
        self.files.push_back((number, path));
        self.begun = Instant::now();
        while let Some((_, oldest)) = self.keep.and_then(|keep| {
            let surplus = keep.max(1) < self.files.len();
            surplus.then(|| self.files.pop_front()).flatten()
        }) {
            match fs::remove_file(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => tracing::debug!(file = %oldest.display(), "removed the oldest file"),
            }
        }
        Ok(writer)
    }
}

fn ending(path: &Path) -> String {
    path.extension().map_or_else(|| ENDING.to_owned(), |ending| ending.to_string_lossy().into_owned())
}

/// The files of a set that are there, oldest first.
fn numbered(path: &Path) -> Result<VecDeque<(u64, PathBuf)>, RecordingError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (stem, ending) = (stem(path) + ".", format!(".{}", ending(path)));
    let open = |source| RecordingError::Open { path: folder.display().to_string(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(open)? {
        let name = entry.map_err(open)?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(&ending));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, folder.join(name)));
        }
    }
    files.sort_unstable();
    Ok(files.into())
}

fn there_already(path: &Path) -> RecordingError {
    let advice = "it is there already: give --append to go on behind it, or another name";
    RecordingError::Refused(format!("{}: {advice}", path.display()))
}

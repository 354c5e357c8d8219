//! A recording: messages with their topics and the times at which they arrived or were sent.
//!
//! [`Writer`] writes version 2, which is described here; a [`Recording`] reads it and version 1, which is described at
//! [`lines`]. Version 2 is a format of its own and no Parquet file: it is written and read message by message, also
//! through a pipe; a crash costs the last second and not the file, whose footer would be missing; and a reader needs
//! zstd and XXH3 and no library of schemas. Who analyses messages converts them.
//!
//! # Version 2
//!
//! A file, by convention `name.rec`, is the 8 bytes `SCRLREC` and `0x02` (the version), and blocks behind one another.
//! Numbers are little-endian. A block is a head of 56 bytes and its content, compressed as one zstd frame:
//!
//! ```text
//!  0  kind      4 letters   HEAD, MSGS or GAPS
//!  4  stored    u32         compressed bytes that follow the head; at most 17 MiB
//!  8  sequence  u64         0 for the first block of a file, and one more for each that follows
//! 16  content   u32         bytes of the content once decompressed; at most 16 MiB
//! 20  messages  u32         messages in the content
//! 24  earliest  i64         smallest arrival time in the content, nanoseconds since 1970
//! 32  latest    i64         largest one
//! 40  check     u64         XXH3-64 of the compressed bytes, seed 0
//! 48  check     u64         XXH3-64 of the 48 bytes above, seed 0: it vouches for the whole block
//! ```
//!
//! The first block, and no other, is of kind HEAD: its content is the [`Header`] as JSON, of at most 1 MiB, and its
//! times are 0. A block GAPS says that the recorder could not receive from `earliest` to `latest`; it has no content
//! (and `stored` is 0). The content of a block MSGS is messages behind one another, in the order of their arrival:
//!
//! ```text
//! time        signed       nanoseconds after the message before (of the first: after 1970), modulo 2^64
//! flags       u8           bits 0 and 1: QoS 0, 1 or 2; bit 2: retain; bit 3: properties follow; others are 0
//! topic       varint       0: a topic follows as text, and has the next number, from 1; else such a number
//! payload     bytes        at most 4 MiB
//! properties               of MQTT 5, if bit 3 says so:
//!   mask      u8           which of these follow, in this order; bits 6 and 7 are 0
//!   bit 0     u8           payload format indicator
//!   bit 1     varint       message expiry interval in seconds, 32 bits
//!   bit 2     text         content type
//!   bit 3     text         response topic
//!   bit 4     bytes        correlation data, at most 65535 bytes
//!   bit 5     varint       number of user properties; then of each, in their order, name and value as text
//! ```
//!
//! `varint` is LEB128 of at most 64 bits, `signed` a varint in zigzag; `bytes` are a varint that counts them, and they;
//! `text` is bytes in UTF-8, at most 65535. All properties of a message have at most 1 MiB. A topic's number is of its
//! block only, so that each block can be read alone.
//!
//! Times are those of a clock, from 1678 to 2261, and run backwards where it was set back: order is the order in the
//! file. A block ends at 1 MiB of content, or a second after its first message, and is then on disk. What a crash left
//! behind the last whole block is cut off by a reader, which says how many bytes, and by [`Writer::append`]: a block
//! that ends with the file and is cut short or has a wrong check, or a tail that begins with a head of zeros. A wrong
//! check elsewhere is an error.
//!
//! A recording may be a set of such files, each whole in itself, that follow one another in the order of their names,
//! shorter ones first: `name.0001.rec`, `name.0002.rec`.

mod block;
mod content;
pub mod lines;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
pub(crate) use lines::content_of_line;
use reader::Source;
pub use reader::{Extent, Reader, Window};
pub use writer::{BLOCK_AGE_MAX, Summary, Writer};

/// The version that [`Writer`] writes.
pub const VERSION: u32 = 2;

/// How the name of a recording's file ends.
pub const ENDING: &str = "rec";

/// Largest payload in bytes: brokers are run with a packet limit of 4 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Most entries in [`Header::times`]: each is tried on every message that is shifted.
pub const TIMES_MAX: usize = 100;

/// Largest header as JSON, in bytes.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// Most files in a set: each is opened once to see what it is.
const PARTS_MAX: usize = 100_000;

/// What is known about a recording beside its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    pub name: String,
    /// Seconds by which every time advances when the recording is played again in a loop. At least
    /// as long as the payload times reach, or two loops would claim the same key with two values.
    /// Without it, a loop takes as long as the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_s: Option<u32>,
    /// Where the payloads keep their times, so that a replay can move them. At most [`TIMES_MAX`].
    pub times: Vec<PayloadTime>,
    /// The broker it was recorded from, without a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Topic filters that were subscribed to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// When the recording began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
}

impl Header {
    pub fn named(name: &str) -> Header {
        Header { name: name.to_owned(), ..Header::default() }
    }

    /// Of SenML packs and passages, as importers and the simulated city say them: a replay can move their times.
    pub fn of_feed(name: &str) -> Header {
        let senml = PayloadTime { topic: "city/senml/#".to_owned(), form: TimeForm::Senml };
        let entered = TimeForm::Rfc3339 { path: "/entered".to_owned() };
        let passages = PayloadTime { topic: "city/traffic/+/passage".to_owned(), form: entered };
        Header { times: vec![senml, passages], ..Header::named(name) }
    }
}

/// Where the payloads of some topics keep their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadTime {
    /// MQTT topic filter, with `+` and `#`.
    pub topic: String,
    #[serde(flatten)]
    pub form: TimeForm,
}

/// How a payload writes its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "lowercase")]
pub enum TimeForm {
    /// A string such as `2024-01-01T00:00:00Z` at this JSON pointer (RFC 6901).
    Rfc3339 { path: String },
    /// A SenML pack (RFC 8428): absolute base times and times.
    Senml,
}

impl FromStr for PayloadTime {
    type Err = String;

    /// `city/+/register=rfc3339:/time`, or `city/senml/#=senml`.
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?}: give FILTER=rfc3339:/path or FILTER=senml");
        let (filter, form) = text.rsplit_once('=').ok_or_else(usage)?;
        let topic = filter.parse::<Filter>()?.as_str().to_owned();
        let form = match (form, form.strip_prefix("rfc3339:")) {
            ("senml", _) => TimeForm::Senml,
            (_, Some(path)) if path.is_empty() || path.starts_with('/') => {
                TimeForm::Rfc3339 { path: path.to_owned() }
            }
            _ => return Err(usage()),
        };
        Ok(PayloadTime { topic, form })
    }
}

/// One message of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it arrived or was sent.
    pub t: Timestamp,
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

impl Message {
    /// At QoS 1, not retained, without properties.
    pub fn new(t: Timestamp, topic: String, payload: Vec<u8>) -> Message {
        Message { t, topic, payload, qos: 1, retain: false, properties: Properties::default() }
    }
}

/// What MQTT 5 lets a publisher say beside the payload. Texts and the correlation data have at most 65535 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Payload format indicator: 1 is UTF-8.
    pub format: Option<u8>,
    /// Message expiry interval, in seconds.
    pub expiry_s: Option<u32>,
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
    /// Names and values in their order.
    pub user: Vec<(String, String)>,
}

/// Why a recording could not be read or written. Lines count from 1, the header's; blocks from 0, the header's.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("open recording {path}: {source}")]
    Open { path: String, source: io::Error },
    #[error("{0} is no recording: it begins neither as version 1 nor as version 2")]
    Stranger(String),
    #[error("recording {0} was cut before the end of its header: it holds nothing")]
    Empty(String),
    #[error("recording {0} is of a later version than {VERSION}: read it with a later screenline")]
    Later(String),
    #[error("recording {name}, line {line}: {problem}")]
    Line { name: String, line: u64, problem: String },
    #[error("recording {name}, block {block}: {problem}; what stands before it can be read")]
    Block { name: String, block: u64, problem: String },
    #[error(
        "recording {name} holds {found} messages, its header says {stated}: it is cut short or was edited"
    )]
    Count { name: String, found: u64, stated: u64 },
    #[error("{0} is a stream, and can be read once: give a file")]
    Stream(String),
    #[error("{0} is there already: give another name")]
    Exists(String),
    #[error("{0} is being written by another process")]
    InUse(String),
    #[error("read or write recording: {0}")]
    Io(#[from] io::Error),
    #[error("write recording: {0}")]
    Refused(String),
}

/// A recording that can be read any number of times; one that is a stream, once.
#[derive(Clone)]
pub struct Recording {
    /// In their order; never none.
    parts: Vec<Source>,
    header: Header,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("name", &self.header.name)
            .field("files", &self.parts.len())
            .finish()
    }
}

impl Recording {
    /// A recording embedded in the program.
    ///
    /// # Errors
    /// When the header is not that of a recording.
    pub fn embedded(bytes: &'static [u8]) -> Result<Self, RecordingError> {
        Self::of(vec![Source::Bytes(bytes)])
    }

    /// A recording in a file, or in the files of a folder whose names end in [`ENDING`], in the order of their names.
    ///
    /// # Errors
    /// When a file cannot be read, or its header is not that of a recording.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        Self::open_all(&[path.to_owned()])
    }

    /// The files of a set, in this order; each may be a folder. The header is that of the first.
    ///
    /// # Errors
    /// When there is no file, or one cannot be read, or its header is not that of a recording.
    pub fn open_all(paths: &[PathBuf]) -> Result<Self, RecordingError> {
        let mut parts = Vec::new();
        for path in paths {
            let unreadable = |source| RecordingError::Open { path: path.display().to_string(), source };
            if !path.is_dir() {
                parts.push(Source::File(path.clone()));
                continue;
            }
            let mut files = Vec::new();
            for entry in fs::read_dir(path).map_err(unreadable)? {
                let file = entry.map_err(unreadable)?.path();
                if file.extension().is_some_and(|ending| ending == ENDING) {
                    files.push(file);
                }
            }
            // 10000 comes after 9999.
            files.sort_unstable_by_key(|file| (file.as_os_str().len(), file.clone()));
            parts.extend(files.into_iter().map(Source::File));
        }
        let names = || paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        if parts.is_empty() || PARTS_MAX < parts.len() {
            let found = format!("{} files that end in .{ENDING}; give 1 to {PARTS_MAX}", parts.len());
            return Err(RecordingError::Open { path: names(), source: io::Error::other(found) });
        }
        Self::of(parts)
    }

    /// A recording that comes through a pipe. It is read once, and its length is not known before.
    ///
    /// # Errors
    /// When the header does not come, or is not that of a recording.
    pub fn stream(stream: Box<dyn io::Read + Send>, name: &str) -> Result<Self, RecordingError> {
        Self::of(vec![Source::stream(stream, name)?])
    }

    fn of(parts: Vec<Source>) -> Result<Self, RecordingError> {
        let mut header = None;
        for part in &parts {
            match part.header() {
                Ok(found) => header = header.or(Some(found)),
                // A crash at the moment of a rotation: the others are whole.
                Err(RecordingError::Empty(name)) if 1 < parts.len() => tracing::warn!(name, "holds nothing"),
                Err(error) => return Err(error),
            }
        }
        match header {
            Some(header) => Ok(Recording { parts, header }),
            None => Err(RecordingError::Empty(parts.iter().map(Source::name).collect::<Vec<_>>().join(" "))),
        }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// With other rules of where payloads keep their time, at most [`TIMES_MAX`].
    #[must_use]
    pub fn with_times(mut self, times: Vec<PayloadTime>) -> Recording {
        self.header.times = times;
        self
    }

    /// Whether it can be read once only, and its extent is not known.
    pub fn is_stream(&self) -> bool {
        self.parts.iter().any(Source::is_stream)
    }

    /// The messages, from the first.
    ///
    /// # Errors
    /// When the file cannot be opened any more, or a stream was read. Errors further on come out of the [`Reader`].
    pub fn read(&self) -> Result<Reader, RecordingError> {
        self.read_within(Window::default())
    }

    /// The messages of a part of its time. Blocks of other times are passed over by their heads.
    ///
    /// # Errors
    /// As [`Recording::read`].
    pub fn read_within(&self, window: Window) -> Result<Reader, RecordingError> {
        Reader::open(&self.parts, window)
    }

    /// Its times and numbers; `None` when there is no message in the window. Of version 2 only heads of blocks are read,
    /// so that the number is an upper bound where the window cuts a block; version 1 is read through.
    ///
    /// # Errors
    /// When the recording is damaged, or a stream.
    pub fn extent(&self, window: Window) -> Result<Option<Extent>, RecordingError> {
        reader::extent(&self.parts, window)
    }
}

/// Why no broker would take a message, where none would.
pub(crate) fn problem(topic: &str, payload: &[u8]) -> Option<String> {
    if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
        return Some(format!("{topic:?} is not a topic to publish on"));
    }
    let bytes = payload.len();
    (bytes > PAYLOAD_BYTES_MAX)
        .then(|| format!("the payload on {topic} has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}"))
}

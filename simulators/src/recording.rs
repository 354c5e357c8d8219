//! A recording: messages with their topics and the times at which they were sent.
//!
//! Format version 1 is one zstd stream (with checksum) of JSON lines. The first line is the [`Header`]:
//!
//! ```json
//! {"screenline_recording":1,"name":"wntr-net3","messages":40808,"period_s":605700,"times":[{"topic":"city/water/+/register","path":"/time","as":"rfc3339"}]}
//! ```
//!
//! Every other line is a message, in the order of sending:
//!
//! ```json
//! {"t":"2024-01-01T00:00:03Z","topic":"city/water/WM-101/register","payload":"{\"time\":...}"}
//! ```
//!
//! A payload that is not UTF-8 stands as `payload_base64`. Times never run backwards.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version this module reads and writes.
pub const VERSION: u32 = 1;

/// Largest payload in bytes: brokers are run with a packet limit of 4 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Longest line in bytes: the largest payload as base64, or as text with every second byte escaped.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Most entries in [`Header::times`]: each is tried on every message that is shifted.
const TIMES_MAX: usize = 100;

/// 8 MiB of window when writing, the same when reading: what a stranger's file may make us allocate.
const WINDOW_LOG: u32 = 23;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always [`VERSION`].
    pub screenline_recording: u32,
    pub name: String,
    /// Number of messages that follow; a reader that finds another number reports it.
    pub messages: u64,
    /// Seconds by which every time advances when the recording is played again in a loop. At least
    /// as long as the payload times reach, or two loops would claim the same key with two values.
    pub period_s: u32,
    /// Where the payloads keep their times, so that a replay can move them.
    pub times: Vec<PayloadTime>,
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

/// One message of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was sent.
    pub t: Timestamp,
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    t: Timestamp,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize, Deserialize)]
struct Content {
    topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Content {
    /// Its topic and payload, each as long as may be.
    fn checked(self) -> Result<(String, Vec<u8>), String> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => BASE64.decode(text).map_err(|error| error.to_string())?,
            _ => return Err("needs either `payload` or `payload_base64`".to_owned()),
        };
        match problem(&self.topic, &payload) {
            Some(problem) => Err(problem),
            None => Ok((self.topic, payload)),
        }
    }
}

/// The topic and payload in a line as a recording has them; a time may be there or not.
pub(crate) fn content_of_line(line: &str) -> Result<(String, Vec<u8>), String> {
    serde_json::from_str::<Content>(line).map_err(|error| error.to_string())?.checked()
}

/// Why a recording could not be read or written. Lines count from 1, the header's.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("open recording {path}: {source}")]
    Open { path: String, source: io::Error },
    #[error("recording {name}, line {line}: {problem}")]
    Line { name: String, line: u64, problem: String },
    #[error(
        "recording {name} holds {found} messages, its header says {stated}: it is cut short or was edited"
    )]
    Count { name: String, found: u64, stated: u64 },
    #[error("write recording: {0}")]
    Write(#[from] io::Error),
    #[error("write recording: {0}")]
    Refused(String),
}

/// A recording that can be read any number of times.
#[derive(Debug, Clone)]
pub struct Recording {
    source: Source,
    header: Header,
}

#[derive(Debug, Clone)]
enum Source {
    Bytes(&'static [u8]),
    File(PathBuf),
}

impl Recording {
    /// A recording embedded in the program.
    ///
    /// # Errors
    /// When the header is not that of a recording of version [`VERSION`].
    pub fn embedded(bytes: &'static [u8]) -> Result<Self, RecordingError> {
        Self::new(Source::Bytes(bytes), "embedded")
    }

    /// A recording in a file, by convention `name.jsonl.zst`.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is not that of a recording of version [`VERSION`].
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        Self::new(Source::File(path.to_owned()), &path.display().to_string())
    }

    fn new(source: Source, name: &str) -> Result<Self, RecordingError> {
        let mut lines = Lines::open(&source, name)?;
        let header = lines.header()?;
        Ok(Recording { source, header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The messages, from the first.
    ///
    /// # Errors
    /// When the file cannot be opened any more. Errors further on come out of the [`Reader`].
    pub fn read(&self) -> Result<Reader, RecordingError> {
        let mut lines = Lines::open(&self.source, &self.header.name)?;
        let header = lines.header()?;
        Ok(Reader { lines, stated: header.messages, found: 0, last: Timestamp::MIN, ended: false })
    }

    /// The times of the first and the last message; `None` when there is no message. Reads it all.
    ///
    /// # Errors
    /// When any line of the recording is wrong.
    pub fn span(&self) -> Result<Option<(Timestamp, Timestamp)>, RecordingError> {
        let mut span = None;
        for message in self.read()? {
            let t = message?.t;
            span = Some((span.map_or(t, |(first, _)| first), t));
        }
        Ok(span)
    }
}

/// Streams the messages of a [`Recording`]; ends after the first error.
pub struct Reader {
    lines: Lines,
    stated: u64,
    found: u64,
    last: Timestamp,
    ended: bool,
}

impl Reader {
    fn message(&mut self) -> Result<Option<Message>, RecordingError> {
        let Some(text) = self.lines.next()? else {
            let (found, stated) = (self.found, self.stated);
            if found != stated {
                return Err(RecordingError::Count { name: self.lines.name.clone(), found, stated });
            }
            return Ok(None);
        };
        let line: Line = serde_json::from_str(&text).map_err(|error| self.lines.wrong(error.to_string()))?;
        let (topic, payload) = line.content.checked().map_err(|problem| self.lines.wrong(problem))?;
        if line.t < self.last {
            return Err(self.lines.wrong(format!("{} is before the line above ({})", line.t, self.last)));
        }
        self.last = line.t;
        self.found += 1;
        Ok(Some(Message { t: line.t, topic, payload }))
    }
}

impl Iterator for Reader {
    type Item = Result<Message, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let message = self.message().transpose();
        self.ended = !matches!(message, Some(Ok(_)));
        message
    }
}

/// The lines of a compressed stream, each bounded.
struct Lines {
    name: String,
    stream: BufReader<zstd::Decoder<'static, BufReader<Box<dyn Read + Send>>>>,
    line: u64,
}

impl Lines {
    fn open(source: &Source, name: &str) -> Result<Self, RecordingError> {
        let raw: Box<dyn Read + Send> = match source {
            Source::Bytes(bytes) => Box::new(*bytes),
            Source::File(path) => Box::new(
                File::open(path)
                    .map_err(|source| RecordingError::Open { path: path.display().to_string(), source })?,
            ),
        };
        let mut decoder = zstd::Decoder::new(raw)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Lines { name: name.to_owned(), stream: BufReader::new(decoder), line: 0 })
    }

    fn header(&mut self) -> Result<Header, RecordingError> {
        let text = self.next()?.ok_or_else(|| self.wrong("the recording is empty"))?;
        let header: Header = serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("this is not the header of a recording: {error}")))?;
        if header.screenline_recording != VERSION {
            return Err(self.wrong(format!(
                "this is a recording of version {}, and only version {VERSION} can be read",
                header.screenline_recording
            )));
        }
        if header.times.len() > TIMES_MAX {
            return Err(self.wrong(format!("more than {TIMES_MAX} entries in `times`")));
        }
        Ok(header)
    }

    fn next(&mut self) -> Result<Option<String>, RecordingError> {
        self.line += 1;
        let mut text = String::new();
        let read = (&mut self.stream).take(LINE_BYTES_MAX + 1).read_line(&mut text);
        let bytes =
            read.map_err(|error| self.wrong(format!("cannot be decompressed or is not UTF-8: {error}")))?;
        if bytes as u64 > LINE_BYTES_MAX {
            return Err(self.wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok((bytes > 0).then_some(text))
    }

    fn wrong(&self, problem: impl Into<String>) -> RecordingError {
        RecordingError::Line { name: self.name.clone(), line: self.line, problem: problem.into() }
    }
}

/// Writes a recording; the caller knows the number of messages beforehand.
pub struct Writer<W: Write> {
    stream: zstd::Encoder<'static, W>,
    stated: u64,
    written: u64,
    last: Timestamp,
}

impl<W: Write> Writer<W> {
    /// Starts a recording at zstd `level` (1 to 19).
    ///
    /// # Errors
    /// When the header or the first bytes cannot be written.
    pub fn new(to: W, header: &Header, level: i32) -> Result<Self, RecordingError> {
        let mut stream = zstd::Encoder::new(to, level)?;
        stream.include_checksum(true)?;
        stream.window_log(WINDOW_LOG)?;
        let mut writer = Writer { stream, stated: header.messages, written: 0, last: Timestamp::MIN };
        writer.line(header)?;
        Ok(writer)
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When it is sent before its predecessor, is too large, or cannot be written.
    pub fn write(&mut self, message: &Message) -> Result<(), RecordingError> {
        if message.t < self.last {
            let problem = format!("{} comes after {}: sort the messages first", message.t, self.last);
            return Err(RecordingError::Refused(problem));
        }
        if let Some(problem) = problem(&message.topic, &message.payload) {
            return Err(RecordingError::Refused(problem));
        }
        self.last = message.t;
        self.written += 1;
        let text = str::from_utf8(&message.payload).ok();
        let content = Content {
            topic: message.topic.clone(),
            payload: text.map(str::to_owned),
            payload_base64: text.is_none().then(|| BASE64.encode(&message.payload)),
        };
        self.line(&Line { t: message.t, content })
    }

    /// Ends the recording and gives the destination back.
    ///
    /// # Errors
    /// When the number of messages is not the header's, or the end cannot be written.
    pub fn finish(self) -> Result<W, RecordingError> {
        if self.written != self.stated {
            let problem = format!("{} messages written, the header says {}", self.written, self.stated);
            return Err(RecordingError::Refused(problem));
        }
        Ok(self.stream.finish()?)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), RecordingError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        if text.len() as u64 > LINE_BYTES_MAX {
            return Err(RecordingError::Refused(format!("a line of {} bytes", text.len())));
        }
        Ok(self.stream.write_all(&text)?)
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

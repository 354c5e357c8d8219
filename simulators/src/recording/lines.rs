//! Version 1: one zstd stream (with checksum) of JSON lines. The bundled feeds are of it.
//!
//! The first line is the [`Head`]:
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
//! A payload that is not UTF-8 stands as `payload_base64`. Times never run backwards. The number of messages is known
//! beforehand, and a reader that finds another number says so.

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Header, Message, PayloadTime, RecordingError, TIMES_MAX, problem};

/// The version that is written here.
pub const VERSION: u32 = 1;

/// Longest line in bytes: the largest payload as base64, or as text with every second byte escaped.
pub(super) const LINE_BYTES_MAX: u64 = 8 << 20;

/// 8 MiB of window when writing, the same when reading: what a stranger's file may make us allocate.
const WINDOW_LOG: u32 = 23;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Always [`VERSION`].
    pub screenline_recording: u32,
    pub name: String,
    /// Number of messages that follow.
    pub messages: u64,
    /// As [`Header::period_s`].
    pub period_s: u32,
    /// As [`Header::times`].
    pub times: Vec<PayloadTime>,
}

impl Head {
    pub(super) fn header(&self) -> Header {
        let (name, times) = (self.name.clone(), self.times.clone());
        Header { name, period_s: Some(self.period_s), times, ..Header::default() }
    }
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

/// Streams the messages of a recording of version 1.
pub(super) struct Lines {
    name: String,
    stream: BufReader<zstd::Decoder<'static, BufReader<Box<dyn Read + Send>>>>,
    line: u64,
    pub(super) head: Head,
    found: u64,
    last: Timestamp,
}

impl Lines {
    pub(super) fn open(raw: Box<dyn Read + Send>, name: &str) -> Result<Self, RecordingError> {
        let mut decoder = zstd::Decoder::new(raw)?;
        decoder.window_log_max(WINDOW_LOG)?;
        let head = Head {
            screenline_recording: VERSION,
            name: name.to_owned(),
            messages: 0,
            period_s: 0,
            times: Vec::new(),
        };
        let stream = BufReader::new(decoder);
        let mut lines =
            Lines { name: name.to_owned(), stream, line: 0, head, found: 0, last: Timestamp::MIN };
        lines.head = lines.read_head()?;
        Ok(lines)
    }

    fn read_head(&mut self) -> Result<Head, RecordingError> {
        let text = self.text()?.ok_or_else(|| self.wrong("the recording is empty"))?;
        let head: Head = serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("this is not the header of a recording: {error}")))?;
        if head.screenline_recording != VERSION {
            return Err(self.wrong(format!(
                "these are lines of version {}, and lines can be read of version {VERSION} only",
                head.screenline_recording
            )));
        }
        if head.times.len() > TIMES_MAX {
            return Err(self.wrong(format!("more than {TIMES_MAX} entries in `times`")));
        }
        Ok(head)
    }

    pub(super) fn message(&mut self) -> Result<Option<Message>, RecordingError> {
        let Some(text) = self.text()? else {
            let (found, stated) = (self.found, self.head.messages);
            if found != stated {
                return Err(RecordingError::Count { name: self.name.clone(), found, stated });
            }
            return Ok(None);
        };
        let line: Line = serde_json::from_str(&text).map_err(|error| self.wrong(error.to_string()))?;
        let (topic, payload) = line.content.checked().map_err(|problem| self.wrong(problem))?;
        if line.t < self.last {
            return Err(self.wrong(format!("{} is before the line above ({})", line.t, self.last)));
        }
        self.last = line.t;
        self.found += 1;
        Ok(Some(Message::new(line.t, topic, payload)))
    }

    fn text(&mut self) -> Result<Option<String>, RecordingError> {
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

/// Writes a recording of version 1; the caller knows the number of messages beforehand.
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
    pub fn new(to: W, head: &Head, level: i32) -> Result<Self, RecordingError> {
        let mut stream = zstd::Encoder::new(to, level)?;
        stream.include_checksum(true)?;
        stream.window_log(WINDOW_LOG)?;
        let mut writer = Writer { stream, stated: head.messages, written: 0, last: Timestamp::MIN };
        writer.line(head)?;
        Ok(writer)
    }

    /// Appends a message. QoS, the retain flag and properties have no place in version 1.
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

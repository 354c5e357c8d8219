//! Reads recordings of either version, and of several files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::block::{Blocks, Kind, MAGIC};
use super::content::Decoder;
use super::lines::Lines;
use super::{HEADER_BYTES_MAX, Header, Message, RecordingError, TIMES_MAX};

/// What every zstd frame begins with, and so version 1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where a recording, or a file of one, is.
#[derive(Clone)]
pub(super) enum Source {
    Bytes(&'static [u8]),
    File(PathBuf),
    Stream {
        name: String,
        header: Box<Header>,
        /// Taken by the first reader.
        part: Arc<Mutex<Option<Part>>>,
    },
}

impl Source {
    pub(super) fn stream(mut stream: Box<dyn Read + Send>, name: &str) -> Result<Source, RecordingError> {
        let begin = begin(&mut stream)?;
        let part = if begin == MAGIC {
            Part::blocks(Blocks::stream(stream, name), name)?
        } else {
            Part::lines(begin, stream, name)?
        };
        let header = Box::new(part.header());
        Ok(Source::Stream { name: name.to_owned(), header, part: Arc::new(Mutex::new(Some(part))) })
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Source::Stream { .. })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Source::Bytes(_) => "embedded".to_owned(),
            Source::File(path) => path.display().to_string(),
            Source::Stream { name, .. } => name.clone(),
        }
    }

    pub(super) fn header(&self) -> Result<Header, RecordingError> {
        match self {
            Source::Stream { header, .. } => Ok((**header).clone()),
            _ => Ok(self.open()?.header()),
        }
    }

    /// Behind the header.
    fn open(&self) -> Result<Part, RecordingError> {
        let name = self.name();
        match self {
            Source::Bytes(bytes) => {
                let mut stream: Box<dyn Read + Send> = Box::new(*bytes);
                let begin = begin(&mut stream)?;
                match begin == MAGIC {
                    true => Part::blocks(Blocks::stream(stream, &name), &name),
                    false => Part::lines(begin, stream, &name),
                }
            }
            Source::File(path) => {
                let open = |source| RecordingError::Open { path: name.clone(), source };
                let mut file = File::open(path).map_err(open)?;
                let begin = begin(&mut file).map_err(open)?;
                match begin == MAGIC {
                    true => Part::blocks(Blocks::file(file, &name), &name),
                    false => Part::lines(begin, Box::new(file), &name),
                }
            }
            Source::Stream { part, .. } => {
                let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
                part.ok_or(RecordingError::Stream(name))
            }
        }
    }
}

/// The first bytes, as many as a magic has, where there are so many.
fn begin(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    from.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

/// The blocks of a file of version 2, behind its header.
pub(super) fn blocks_of(mut file: File, name: &str) -> Result<Blocks, RecordingError> {
    let begin = begin(&mut file)?;
    if begin != MAGIC {
        return Err(stranger(&begin, name));
    }
    match Part::blocks(Blocks::file(file, name), name)? {
        Part::Blocks { blocks, .. } => Ok(blocks),
        Part::Lines(_) => Err(RecordingError::Stranger(name.to_owned())),
    }
}

fn stranger(begin: &[u8], name: &str) -> RecordingError {
    let (letters, name) = (&MAGIC[..MAGIC.len() - 1], name.to_owned());
    if MAGIC.starts_with(begin) {
        RecordingError::Empty(name)
    } else if begin.starts_with(letters) {
        RecordingError::Later(name)
    } else {
        RecordingError::Stranger(name)
    }
}

/// An open file or stream, behind its header.
pub(super) enum Part {
    Lines(Box<Lines>),
    Blocks { blocks: Blocks, header: Box<Header>, block: Decoder },
}

impl Part {
    fn lines(begin: Vec<u8>, rest: Box<dyn Read + Send>, name: &str) -> Result<Part, RecordingError> {
        if !begin.starts_with(&ZSTD_MAGIC) {
            return Err(stranger(&begin, name));
        }
        let whole = Box::new(io::Cursor::new(begin).chain(rest));
        Ok(Part::Lines(Box::new(Lines::open(whole, name)?)))
    }

    fn blocks(mut blocks: Blocks, name: &str) -> Result<Part, RecordingError> {
        let empty = || RecordingError::Empty(name.to_owned());
        let head = blocks.head()?.ok_or_else(empty)?;
        if head.kind != Kind::Header || HEADER_BYTES_MAX < head.content as usize {
            return Err(blocks.wrong_before("it is not the header of a recording"));
        }
        let json = blocks.content(&head)?.ok_or_else(empty)?;
        let header: Header = serde_json::from_slice(&json).map_err(|error| {
            blocks.wrong_before(format!("this is not the header of a recording: {error}"))
        })?;
        if TIMES_MAX < header.times.len() {
            return Err(blocks.wrong_before(format!("more than {TIMES_MAX} entries in `times`")));
        }
        Ok(Part::Blocks { blocks, header: Box::new(header), block: Decoder::default() })
    }

    fn header(&self) -> Header {
        match self {
            Part::Lines(lines) => lines.head.header(),
            Part::Blocks { header, .. } => (**header).clone(),
        }
    }
}

/// Messages from a time on, and up to one, both included. Empty bounds are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Window {
    pub fn contains(self, t: Timestamp) -> bool {
        self.meets(t, t)
    }

    fn meets(self, earliest: Timestamp, latest: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= latest) && self.to.is_none_or(|to| earliest <= to)
    }
}

/// The times and numbers of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub messages: u64,
    /// The earliest time, not before the window.
    pub first: Timestamp,
    /// The latest time, not after the window.
    pub last: Timestamp,
}

pub(super) fn extent(parts: &[Source], window: Window) -> Result<Option<Extent>, RecordingError> {
    let mut extent: Option<Extent> = None;
    let mut add = |messages: u64, first: Timestamp, last: Timestamp| {
        if !window.meets(first, last) {
            return;
        }
        let first = window.from.map_or(first, |from| first.max(from));
        let last = window.to.map_or(last, |to| last.min(to));
        extent = Some(match extent {
            None => Extent { messages, first, last },
            Some(before) => Extent {
                messages: before.messages + messages,
                first: before.first.min(first),
                last: before.last.max(last),
            },
        });
    };
    for part in parts {
        if part.is_stream() {
            return Err(RecordingError::Stream(part.name()));
        }
        match part.open() {
            Ok(Part::Lines(mut lines)) => {
                while let Some(message) = lines.message()? {
                    add(1, message.t, message.t);
                }
            }
            Ok(Part::Blocks { mut blocks, .. }) => {
                while let Some(head) = blocks.head()? {
                    if !blocks.pass(&head)? {
                        break;
                    }
                    if head.kind == Kind::Messages {
                        add(u64::from(head.messages), time(head.earliest)?, time(head.latest)?);
                    }
                }
            }
            Err(RecordingError::Empty(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(extent)
}

fn time(ns: i64) -> Result<Timestamp, RecordingError> {
    Ok(Timestamp::from_nanosecond(i128::from(ns)).map_err(io::Error::other)?)
}

/// Streams the messages of a [`super::Recording`]; ends after the first error.
pub struct Reader {
    parts: VecDeque<Source>,
    part: Option<Part>,
    window: Window,
    cut_bytes: u64,
    gaps: u64,
    ended: bool,
}

impl Reader {
    pub(super) fn open(parts: &[Source], window: Window) -> Result<Reader, RecordingError> {
        let mut parts: VecDeque<Source> = parts.iter().cloned().collect();
        let part = parts.pop_front().map(|part| open(&part)).transpose()?.flatten();
        Ok(Reader { parts, part, window, cut_bytes: 0, gaps: 0, ended: false })
    }

    /// Bytes so far at the ends of files that were no whole block: what a crash left.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Times so far that the recorder could not receive.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Whether the next message is at hand, without waiting for more of a stream.
    pub fn is_ready(&self) -> bool {
        match &self.part {
            Some(Part::Blocks { block, .. }) => !block.is_empty(),
            Some(Part::Lines(_)) => true,
            None => false,
        }
    }

    fn message(&mut self) -> Result<Option<Message>, RecordingError> {
        loop {
            let message = match &mut self.part {
                None => None,
                Some(Part::Lines(lines)) => lines.message()?,
                Some(Part::Blocks { blocks, block, .. }) => {
                    let message = next(blocks, block, self.window, &mut self.gaps)?;
                    if message.is_none() {
                        self.cut_bytes += blocks.cut_bytes;
                    }
                    message
                }
            };
            match message {
                Some(message) if self.window.contains(message.t) => return Ok(Some(message)),
                Some(_) => {}
                None => match self.parts.pop_front() {
                    Some(part) => self.part = open(&part)?,
                    None => return Ok(None),
                },
            }
        }
    }
}

/// A file without a header, which a crash at a rotation leaves, is none.
fn open(part: &Source) -> Result<Option<Part>, RecordingError> {
    match part.open() {
        Ok(part) => Ok(Some(part)),
        Err(RecordingError::Empty(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn next(
    blocks: &mut Blocks,
    block: &mut Decoder,
    window: Window,
    gaps: &mut u64,
) -> Result<Option<Message>, RecordingError> {
    loop {
        if let Some(message) = block.next().map_err(|problem| blocks.wrong_before(problem))? {
            return Ok(Some(message));
        }
        let Some(head) = blocks.head()? else { return Ok(None) };
        match head.kind {
            Kind::Header => return Err(blocks.wrong_before("a second header")),
            Kind::Messages if window.meets(time(head.earliest)?, time(head.latest)?) => {
                let Some(content) = blocks.content(&head)? else { return Ok(None) };
                *block = Decoder::new(content, head.messages);
            }
            kind => {
                if !blocks.pass(&head)? {
                    return Ok(None);
                }
                *gaps += u64::from(kind == Kind::Gap);
            }
        }
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

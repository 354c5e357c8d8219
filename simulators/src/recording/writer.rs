//! Writes recordings of version 2.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::block::{Blocks, HEAD_BYTES, Head, Kind, MAGIC};
use super::content::Encoder;
use super::{HEADER_BYTES_MAX, Header, Message, RecordingError, TIMES_MAX, reader};

/// A block ends with the message that reaches this: enough for zstd to find what repeats.
const BLOCK_BYTES: usize = 1 << 20;
/// A block ends this long after its first message: what a crash may cost.
pub const BLOCK_AGE_MAX: Duration = Duration::from_secs(1);
/// Fast enough for a broker's whole stream on one core.
const ZSTD_LEVEL: i32 = 3;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Messages that are written as whole blocks, and in a file are on disk.
    pub messages: u64,
    /// Bytes of their blocks before compression.
    pub content_bytes: u64,
    /// Bytes of the file or stream, with what it held before.
    pub bytes: u64,
    /// Bytes of a torn tail that were cut off before something was appended.
    pub cut_bytes: u64,
}

enum Destination {
    File(File),
    Stream(Box<dyn Write + Send>),
}

/// Writes a recording, a block at a time. What was not finished or flushed is lost when it is dropped.
pub struct Writer {
    to: Destination,
    block: Encoder,
    /// When the block got its first message.
    begun: Instant,
    sequence: u64,
    summary: Summary,
    /// A block could not be written whole: nothing may follow it.
    broken: bool,
}

impl Writer {
    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub fn create_new(path: &Path, header: &Header) -> Result<Writer, RecordingError> {
        let opened = OpenOptions::new().create_new(true).write(true).open(path);
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            return Err(RecordingError::Exists(path.display().to_string()));
        }
        Writer::make(opened, path, header)
    }

    /// Makes a file, in place of one that is there.
    ///
    /// # Errors
    /// It cannot be made, or another process writes to it.
    pub fn create(path: &Path, header: &Header) -> Result<Writer, RecordingError> {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        Writer::make(opened, path, header)
    }

    fn make(opened: io::Result<File>, path: &Path, header: &Header) -> Result<Writer, RecordingError> {
        let file = locked(opened, path)?;
        file.set_len(0)?;
        let writer = Writer::begin(Destination::File(file), header)?;
        // Its name must be on disk before a block in it counts.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
        Ok(writer)
    }

    /// Writes to a pipe, which is never read or moved in.
    ///
    /// # Errors
    /// The header cannot be written.
    pub fn stream(to: Box<dyn Write + Send>, header: &Header) -> Result<Writer, RecordingError> {
        Writer::begin(Destination::Stream(to), header)
    }

    /// Goes on in a file behind its last whole block; what a crash left there is cut off. Its header stays. A file that
    /// is not there, or has no whole header, is made.
    ///
    /// # Errors
    /// It is no recording of version 2, or damaged, or another process writes to it.
    pub fn append(path: &Path, header: &Header) -> Result<Writer, RecordingError> {
        if !path.exists() {
            return Writer::create(path, header);
        }
        let mut file = locked(OpenOptions::new().read(true).write(true).open(path), path)?;
        let name = path.display().to_string();
        let before = file.metadata()?.len();
        let mut blocks = match reader::blocks_of(file.try_clone()?, &name) {
            Ok(blocks) => blocks,
            Err(RecordingError::Empty(_)) => {
                drop(file);
                return Writer::create(path, header);
            }
            Err(error) => return Err(error),
        };
        let mut last = None;
        while let Some(head) = blocks.head()? {
            let begin = blocks.begin;
            if !blocks.pass(&head)? {
                break;
            }
            last = Some((begin, head));
        }
        let (mut end, mut sequence) = (blocks.begin, blocks.sequence());
        // Every block but the last was on disk before the next began: this one's content is looked at.
        if let Some((begin, head)) = last {
            file.seek(io::SeekFrom::Start(begin + HEAD_BYTES as u64))?;
            let mut content = Blocks::resumed(file.try_clone()?, &name, begin, head.sequence);
            if content.stored(&head)?.is_none() {
                (end, sequence) = (begin, head.sequence);
            }
        }
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
        file.sync_all()?;
        let mut writer = Writer::new(Destination::File(file));
        writer.sequence = sequence;
        (writer.summary.bytes, writer.summary.cut_bytes) = (end, before - end);
        Ok(writer)
    }

    fn begin(to: Destination, header: &Header) -> Result<Writer, RecordingError> {
        let json = serde_json::to_vec(header).map_err(io::Error::from)?;
        if HEADER_BYTES_MAX < json.len() || TIMES_MAX < header.times.len() {
            let problem = format!("a header of {} bytes with {} times", json.len(), header.times.len());
            return Err(RecordingError::Refused(problem));
        }
        let mut writer = Writer::new(to);
        let head = writer.head(Kind::Header);
        let block = block(head, &json)?;
        writer.put(&[&MAGIC[..], &block].concat())?;
        Ok(writer)
    }

    fn new(to: Destination) -> Writer {
        let (block, begun) = (Encoder::default(), Instant::now());
        Writer { to, block, begun, sequence: 0, summary: Summary::default(), broken: false }
    }

    /// Adds a message. Ends the block, and waits until it is on disk, when the block is full or a second old.
    ///
    /// # Errors
    /// No broker would take it, and nothing of it is written; or the block cannot be written, and nothing more can.
    pub fn write(&mut self, message: &Message) -> Result<(), RecordingError> {
        if self.block.messages == 0 {
            self.begun = Instant::now();
        }
        self.block.add(message).map_err(RecordingError::Refused)?;
        if BLOCK_BYTES <= self.block.content.len() || BLOCK_AGE_MAX <= self.begun.elapsed() {
            self.flush()?;
        }
        Ok(())
    }

    /// Notes that nothing could be received from one time to another.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn gap(&mut self, from: Timestamp, to: Timestamp) -> Result<(), RecordingError> {
        self.flush()?;
        let ns = |t: Timestamp| {
            i64::try_from(t.as_nanosecond()).map_err(|error| {
                RecordingError::Refused(format!("{t} is not between the years 1678 and 2261: {error}"))
            })
        };
        let head = Head { earliest: ns(from)?, latest: ns(to)?, check: xxh3_64(&[]), ..self.head(Kind::Gap) };
        self.put(&head.encode())
    }

    /// When the block is to be flushed, if it has a message.
    pub fn due(&self) -> Option<Instant> {
        (0 < self.block.messages).then(|| self.begun + BLOCK_AGE_MAX)
    }

    /// Ends the block, and waits until it is on disk.
    ///
    /// # Errors
    /// It cannot be written, and nothing more can.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        if self.block.messages == 0 {
            return Ok(());
        }
        let head = Head {
            messages: self.block.messages,
            earliest: self.block.earliest,
            latest: self.block.latest,
            ..self.head(Kind::Messages)
        };
        let block = block(head, &self.block.content)?;
        self.put(&block)?;
        self.summary.messages += u64::from(self.block.messages);
        self.summary.content_bytes += self.block.content.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// What is written so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Ends the last block.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<Summary, RecordingError> {
        self.flush()?;
        Ok(self.summary)
    }

    fn head(&self, kind: Kind) -> Head {
        let sequence = self.sequence;
        Head { kind, stored: 0, sequence, content: 0, messages: 0, earliest: 0, latest: 0, check: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        if self.broken {
            return Err(RecordingError::Refused("a block before could not be written".to_owned()));
        }
        self.broken = true;
        match &mut self.to {
            Destination::File(file) => file.write_all(bytes).and_then(|()| file.sync_data())?,
            Destination::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush())?,
        }
        self.broken = false;
        self.sequence += 1;
        self.summary.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// One process at a time has it.
fn locked(opened: io::Result<File>, path: &Path) -> Result<File, RecordingError> {
    let name = || path.display().to_string();
    let file = opened.map_err(|source| RecordingError::Open { path: name(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecordingError::InUse(name())),
        // A device, or a file system without locks.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn block(head: Head, content: &[u8]) -> Result<Vec<u8>, RecordingError> {
    let stored = zstd::bulk::compress(content, ZSTD_LEVEL)?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let (stored_bytes, content_bytes) = (length(stored.len())?, length(content.len())?);
    let head = Head { stored: stored_bytes, content: content_bytes, check: xxh3_64(&stored), ..head };
    Ok([&head.encode()[..], &stored].concat())
}

//! The heads of blocks, and the way through a file from one to the next.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use xxhash_rust::xxh3::xxh3_64;

use super::RecordingError;

/// What a file of version 2 begins with; the last byte is the version.
pub(super) const MAGIC: [u8; 8] = *b"SCRLREC\x02";
pub(super) const HEAD_BYTES: usize = 56;

/// Largest content of a block. A writer ends a block at 1 MiB, and the largest message is below 6 MiB.
pub(super) const CONTENT_BYTES_MAX: usize = 16 << 20;
/// What zstd makes of such a content at worst, rounded up.
const STORED_BYTES_MAX: usize = CONTENT_BYTES_MAX + (1 << 20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The recording's [`super::Header`] as JSON.
    Header,
    Messages,
    /// Between `earliest` and `latest` nothing could be received. No content.
    Gap,
}

const KINDS: [(Kind, [u8; 4]); 3] =
    [(Kind::Header, *b"HEAD"), (Kind::Messages, *b"MSGS"), (Kind::Gap, *b"GAPS")];

/// What stands before a block's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Compressed bytes that follow the head.
    pub(super) stored: u32,
    /// 0 for the first block of a file.
    pub(super) sequence: u64,
    /// Bytes once decompressed.
    pub(super) content: u32,
    pub(super) messages: u32,
    /// Nanoseconds since 1970.
    pub(super) earliest: i64,
    pub(super) latest: i64,
    /// XXH3-64 of the compressed bytes.
    pub(super) check: u64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let letters =
            KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or([0; 4], |(_, letters)| *letters);
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&letters);
        bytes[4..8].copy_from_slice(&self.stored.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.content.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.messages.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.earliest.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.latest.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.check.to_le_bytes());
        let check = xxh3_64(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Head, String> {
        if xxh3_64(&bytes[..48]) != u64_at(bytes, 48) {
            return Err("its head is damaged".to_owned());
        }
        let kind = KINDS.iter().find(|(_, letters)| bytes[..4] == *letters).map(|(kind, _)| *kind);
        let head = Head {
            kind: kind.ok_or("it is of a kind that this version does not know")?,
            stored: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            content: u32_at(bytes, 16),
            messages: u32_at(bytes, 20),
            earliest: u64_at(bytes, 24).cast_signed(),
            latest: u64_at(bytes, 32).cast_signed(),
            check: u64_at(bytes, 40),
        };
        if STORED_BYTES_MAX < head.stored as usize || CONTENT_BYTES_MAX < head.content as usize {
            return Err(format!("it would have {} bytes, stored in {}", head.content, head.stored));
        }
        Ok(head)
    }
}

fn u32_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Where blocks come from.
enum Input {
    File(BufReader<File>),
    Stream(BufReader<Box<dyn Read + Send>>),
}

/// The blocks of a file or a stream, behind its [`MAGIC`].
pub(super) struct Blocks {
    input: Input,
    name: String,
    /// Where the next byte to read is, from the beginning of the file.
    at: u64,
    /// Where the block that is read begins.
    pub(super) begin: u64,
    sequence: u64,
    /// Bytes at the end that are no whole block: what a crash left.
    pub(super) cut_bytes: u64,
}

impl Blocks {
    /// The file stands behind its magic.
    pub(super) fn file(file: File, name: &str) -> Blocks {
        Blocks::new(Input::File(BufReader::with_capacity(256 << 10, file)), name)
    }

    /// The stream stands behind its magic.
    pub(super) fn stream(stream: Box<dyn Read + Send>, name: &str) -> Blocks {
        Blocks::new(Input::Stream(BufReader::new(stream)), name)
    }

    fn new(input: Input, name: &str) -> Blocks {
        let at = MAGIC.len() as u64;
        Blocks { input, name: name.to_owned(), at, begin: at, sequence: 0, cut_bytes: 0 }
    }

    /// In a file that stands behind the head of the block that begins there.
    pub(super) fn resumed(file: File, name: &str, begin: u64, sequence: u64) -> Blocks {
        let at = begin + HEAD_BYTES as u64;
        Blocks { at, begin, sequence: sequence + 1, ..Blocks::file(file, name) }
    }

    /// The number that the next block has.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The head of the next block; its content is then to be read or skipped. `None` at the end, or where only a torn
    /// block is left.
    pub(super) fn head(&mut self) -> Result<Option<Head>, RecordingError> {
        self.begin = self.at;
        let mut bytes = [0; HEAD_BYTES];
        let read = self.fill(&mut bytes)?;
        if read < HEAD_BYTES {
            self.cut_bytes = read as u64;
            return Ok(None);
        }
        // A file that was lengthened before the machine went down, and never written: no head is all zeros.
        if bytes == [0; HEAD_BYTES] {
            self.skip(u64::MAX)?;
            self.cut_bytes = self.at - self.begin;
            return Ok(None);
        }
        let head = Head::decode(&bytes).map_err(|problem| self.wrong(problem))?;
        if head.sequence != self.sequence {
            return Err(self.wrong(format!("block {} stands in its place", head.sequence)));
        }
        self.sequence += 1;
        Ok(Some(head))
    }

    /// The compressed content behind a head, checked. `None` when the block is torn.
    pub(super) fn stored(&mut self, head: &Head) -> Result<Option<Vec<u8>>, RecordingError> {
        let mut stored = Vec::new();
        let wanted = u64::from(head.stored);
        // Grows as bytes come: a length alone makes nobody allocate.
        self.at += self.reader().take(wanted).read_to_end(&mut stored)? as u64;
        let whole = stored.len() as u64 == wanted;
        if whole && xxh3_64(&stored) == head.check {
            return Ok(Some(stored));
        }
        if !whole || self.reader().fill_buf()?.is_empty() {
            self.cut_bytes = self.at - self.begin;
            self.sequence -= 1;
            return Ok(None);
        }
        self.sequence -= 1; // it is this one that is wrong
        Err(self.wrong("its content is damaged"))
    }

    /// The content behind a head, decompressed. `None` when the block is torn.
    pub(super) fn content(&mut self, head: &Head) -> Result<Option<Vec<u8>>, RecordingError> {
        let Some(stored) = self.stored(head)? else { return Ok(None) };
        let content = zstd::bulk::decompress(&stored, head.content as usize)
            .map_err(|error| self.wrong_before(format!("it cannot be decompressed: {error}")))?;
        if content.len() != head.content as usize {
            return Err(self.wrong_before(format!(
                "{} bytes where {} are stated",
                content.len(),
                head.content
            )));
        }
        Ok(Some(content))
    }

    /// Goes to the next head without a look at the content. False when the block is torn.
    pub(super) fn pass(&mut self, head: &Head) -> Result<bool, RecordingError> {
        let whole = self.skip(u64::from(head.stored))?;
        if !whole {
            self.cut_bytes = self.at - self.begin;
            self.sequence -= 1;
        }
        Ok(whole)
    }

    /// What is wrong with the block whose head was read last.
    pub(super) fn wrong_before(&self, problem: impl Into<String>) -> RecordingError {
        RecordingError::Block {
            name: self.name.clone(),
            block: self.sequence.saturating_sub(1),
            problem: problem.into(),
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> RecordingError {
        RecordingError::Block { name: self.name.clone(), block: self.sequence, problem: problem.into() }
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match &mut self.input {
            Input::File(file) => file,
            Input::Stream(stream) => stream,
        }
    }

    /// As many bytes as there are.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader().read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    /// False when the input ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        let there = match &mut self.input {
            Input::File(file) => {
                let there = file.get_ref().metadata()?.len().saturating_sub(self.at).min(bytes);
                file.seek_relative(i64::try_from(there).map_err(io::Error::other)?)?;
                there
            }
            Input::Stream(stream) => io::copy(&mut stream.take(bytes), &mut io::sink())?,
        };
        self.at += there;
        Ok(there == bytes)
    }
}

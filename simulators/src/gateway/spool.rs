//! What a gateway keeps until it is committed: numbered messages in a folder, in files that are only appended to.
//!
//! The file `00000000000000000001.spool` begins with message 1. A record is
//!
//! ```text
//! length u32 · check u64 · topic length u16 · topic · payload      (little-endian; length counts what follows the check)
//! ```
//!
//! and `check` is XXH3 of what follows it, seeded with the message's number. A message has its number once its record is on
//! disk. What a crash left at the end of the last file is cut off when the folder is opened: it was never numbered.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::recording::PAYLOAD_BYTES_MAX;

/// A file that is this long is followed by a new one: what is committed is forgotten a file at a time.
const FILE_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 4 << 20 };
/// Room for a file that waits for its end and for the longest record, so that a full spool always gets free again.
pub const BYTES_MIN: u64 = 4 * FILE_BYTES;
const HEAD_BYTES: usize = 12;
/// The largest payload, the longest topic, and its length.
const RECORD_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (64 << 10) + 2;

/// A message without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// At most 65,535 bytes.
    pub topic: String,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{0} is in use by another gateway")]
    InUse(PathBuf),
    #[error("{folder} holds the messages of gateway `{found}`: give `{wanted}` a folder of its own")]
    Stranger { folder: PathBuf, found: String, wanted: String },
    #[error("{path}, message {number}: the record is damaged; move the folder away to start a new one")]
    Damaged { path: PathBuf, number: u64 },
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// An open spool. One process at a time has it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    _lock: File,
    owner: Owner,
    bytes_max: u64,
    /// Oldest first, never none; the last is appended to.
    files: VecDeque<Kept>,
    tail: File,
    /// The number that the next message gets.
    next: u64,
    committed: u64,
    reader: Option<Reader>,
}

/// Whose messages a folder holds: written once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    source: String,
    /// When the folder was made, in unix seconds: numbers start anew with a new folder only.
    epoch: i64,
}

#[derive(Debug)]
struct Kept {
    first: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    next: u64,
}

impl Spool {
    /// Opens the folder, or makes it; a new one begins the epoch `now_s` (unix seconds).
    ///
    /// # Errors
    /// It is in use, another gateway's, or cannot be read or written.
    pub fn open(folder: &Path, source: &str, now_s: i64, bytes_max: u64) -> Result<Spool, SpoolError> {
        fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|error| at(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(&lock_path, error)),
        }
        let owner = owner(folder, source, now_s)?;
        let mut files = files(folder).map_err(|error| at(folder, error))?;
        if files.is_empty() {
            make(folder, 1)?;
            files.push_back(Kept { first: 1, bytes: 0 });
        }
        let (oldest, newest) = (files[0].first, files.len() - 1);
        let path = path(folder, files[newest].first);
        let tail = OpenOptions::new().append(true).open(&path).map_err(|error| at(&path, error))?;
        let (next, bytes) = whole(&path, files[newest].first)?;
        tail.set_len(bytes).and_then(|()| tail.sync_all()).map_err(|error| at(&path, error))?;
        files[newest].bytes = bytes;
        let bytes_max = bytes_max.max(BYTES_MIN);
        let (folder, committed) = (folder.to_owned(), oldest - 1);
        Ok(Spool { folder, _lock: lock, owner, bytes_max, files, tail, next, committed, reader: None })
    }

    pub fn epoch(&self) -> i64 {
        self.owner.epoch
    }

    /// The number of the last message, 0 before the first.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Every message up to this one may have been forgotten.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Numbers the first messages, as many as there is room for, and says how many that are. They are on disk then; the
    /// others are not taken, and nothing of them is kept.
    ///
    /// # Errors
    /// The disk fails otherwise than by being full. The spool must be opened again.
    pub fn append(&mut self, messages: &[Message]) -> Result<usize, SpoolError> {
        if FILE_BYTES <= self.files.back().map_or(0, |file| file.bytes) {
            self.tail = make(&self.folder, self.next)?;
            self.files.push_back(Kept { first: self.next, bytes: 0 });
            self.forget(self.committed)?;
        }
        let mut room = self.bytes_max.saturating_sub(self.bytes());
        let mut records = Vec::new();
        let mut taken = 0;
        for message in messages {
            let start = records.len();
            let number = self.next + taken as u64;
            write_record(&mut records, message, number);
            let bytes = (records.len() - start) as u64;
            if room < bytes {
                records.truncate(start);
                break;
            }
            room -= bytes;
            taken += 1;
        }
        if taken == 0 {
            return Ok(0);
        }
        let Some(file) = self.files.back_mut() else { return Ok(0) };
        let path = path(&self.folder, file.first);
        match self.tail.write_all(&records).and_then(|()| self.tail.sync_data()) {
            Ok(()) => {
                file.bytes += records.len() as u64;
                self.next += taken as u64;
                Ok(taken)
            }
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                self.tail
                    .set_len(file.bytes)
                    .and_then(|()| self.tail.sync_all())
                    .map_err(|error| at(&path, error))?;
                Ok(0)
            }
            Err(error) => Err(at(&path, error)),
        }
    }

    /// The message of a number; `None` beyond the last. Quick for the one after that of the call before.
    ///
    /// # Errors
    /// The number was forgotten, or its record is damaged.
    pub fn read(&mut self, number: u64) -> Result<Option<Message>, SpoolError> {
        if self.next <= number {
            return Ok(None);
        }
        if self.reader.as_ref().is_none_or(|reader| reader.next != number) {
            let file = self.files.iter().rev().find(|file| file.first <= number);
            let first = file.map_or(number, |file| file.first); // a forgotten one's file is missing: says which
            let mut reader = Reader::open(&self.folder, first)?;
            while reader.next < number {
                reader.message()?;
            }
            self.reader = Some(reader);
        }
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let message = reader.message()?;
        // The next file begins with the next number.
        let ended = self.files.iter().any(|file| file.first == reader.next);
        self.reader = if ended { None } else { Some(reader) };
        Ok(Some(message))
    }

    /// Forgets messages up to this number, of which the city says that they are committed: whole files of them.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn forget(&mut self, committed: u64) -> Result<(), SpoolError> {
        self.committed = self.committed.max(committed.min(self.last()));
        while self.files.get(1).is_some_and(|next| next.first <= self.committed + 1) {
            let Some(file) = self.files.pop_front() else { break };
            let path = path(&self.folder, file.first);
            fs::remove_file(&path).map_err(|error| at(&path, error))?;
        }
        Ok(())
    }
}

impl Reader {
    fn open(folder: &Path, first: u64) -> Result<Reader, SpoolError> {
        let path = path(folder, first);
        let file = File::open(&path).map_err(|error| at(&path, error))?;
        Ok(Reader { file: BufReader::new(file), path, next: first })
    }

    fn message(&mut self) -> Result<Message, SpoolError> {
        match read_record(&mut self.file, self.next) {
            Ok(Some((message, _))) => {
                self.next += 1;
                Ok(message)
            }
            Ok(None) => Err(SpoolError::Damaged { path: self.path.clone(), number: self.next }),
            Err(error) => Err(at(&self.path, error)),
        }
    }
}

fn owner(folder: &Path, source: &str, now_s: i64) -> Result<Owner, SpoolError> {
    let path = folder.join("gateway.json");
    let owner = match fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json).map_err(|error| at(&path, error.into()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let owner = Owner { source: source.to_owned(), epoch: now_s };
            let beside = folder.join("gateway.json.tmp");
            let write = || -> io::Result<()> {
                let mut file = File::create(&beside)?;
                file.write_all(&serde_json::to_vec(&owner)?)?;
                file.sync_all()?;
                fs::rename(&beside, &path)?;
                File::open(folder)?.sync_all()
            };
            write().map_err(|error| at(&path, error))?;
            owner
        }
        Err(error) => return Err(at(&path, error)),
    };
    if owner.source != source {
        let (folder, wanted) = (folder.to_owned(), source.to_owned());
        return Err(SpoolError::Stranger { folder, found: owner.source, wanted });
    }
    Ok(owner)
}

fn files(folder: &Path) -> io::Result<VecDeque<Kept>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(".spool")).and_then(|n| n.parse().ok());
        if let Some(first) = first {
            files.push(Kept { first, bytes: entry.metadata()?.len() });
        }
    }
    files.sort_unstable_by_key(|file| file.first);
    Ok(files.into())
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.spool"))
}

fn make(folder: &Path, first: u64) -> Result<File, SpoolError> {
    let path = path(folder, first);
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| at(&path, error))?;
    // Its name must be on disk before a record in it counts.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| at(folder, error))?;
    Ok(file)
}

/// The number after the last whole record of a file, and where that record ends.
fn whole(path: &Path, first: u64) -> Result<(u64, u64), SpoolError> {
    let mut file = BufReader::new(File::open(path).map_err(|error| at(path, error))?);
    let (mut next, mut end) = (first, 0);
    while let Some((_, bytes)) = read_record(&mut file, next).map_err(|error| at(path, error))? {
        next += 1;
        end += bytes;
    }
    Ok((next, end))
}

fn write_record(to: &mut Vec<u8>, message: &Message, number: u64) {
    let start = to.len();
    to.extend_from_slice(&[0; HEAD_BYTES]);
    to.extend_from_slice(&(message.topic.len() as u16).to_le_bytes());
    to.extend_from_slice(message.topic.as_bytes());
    to.extend_from_slice(&message.payload);
    let body = start + HEAD_BYTES;
    let length = (to.len() - body) as u32;
    let check = xxh3_64_with_seed(&to[body..], number);
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
    to[start + 4..body].copy_from_slice(&check.to_le_bytes());
}

/// A record and its length, or `None` where no whole record of this number begins.
fn read_record(from: &mut impl Read, number: u64) -> io::Result<Option<(Message, u64)>> {
    let mut head = [0; HEAD_BYTES];
    if !filled(from, &mut head)? {
        return Ok(None);
    }
    let (length, check) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
    let check = u64::from_le_bytes(check.try_into().unwrap_or_default());
    if !(2..=RECORD_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let mut body = vec![0; length];
    if !filled(from, &mut body)? || xxh3_64_with_seed(&body, number) != check {
        return Ok(None);
    }
    let topic_end = 2 + usize::from(u16::from_le_bytes([body[0], body[1]]));
    let topic = body.get(2..topic_end).and_then(|topic| str::from_utf8(topic).ok()).map(str::to_owned);
    let message = topic.map(|topic| Message { topic, payload: body.split_off(topic_end) });
    Ok(message.map(|message| (message, (HEAD_BYTES + length) as u64)))
}

/// False where the file ends before.
fn filled(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn at(path: &Path, error: io::Error) -> SpoolError {
    SpoolError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;

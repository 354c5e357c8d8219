//! A file that is read again when it changed. A broken new one changes nothing: the last good one stays.

use jiff::Timestamp;
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// A revoked token is refused after so long.
const LOOK_EVERY_MS: i64 = 1000;

/// A file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct FileError {
    path: PathBuf,
    line: Option<usize>,
    problem: String,
}

/// What is wrong inside of a file, and what was expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub line: Option<usize>,
    pub problem: String,
}

/// How a file's text becomes its value.
pub type Parse<T> = fn(&str) -> Result<T, Fault>;

/// The last good content of a file.
pub struct Watched<T> {
    path: PathBuf,
    bytes_max: u64,
    parse: Parse<T>,
    /// 1 while the file is another one than is used.
    gauge: &'static str,
    looked_at_ms: AtomicI64,
    /// Of what was read last, good or not. Held while reading, so that an older file never replaces a newer one.
    stamp: Mutex<Option<Stamp>>,
    value: RwLock<Arc<T>>,
}

/// What changes with a file. The time of change is there because a time of modification can be set back, and because
/// the next file may be given the number of one that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// # Errors
    /// The file cannot be read, is longer than `bytes_max`, or does not hold what it should.
    pub fn open(
        path: &Path,
        bytes_max: u64,
        parse: Parse<T>,
        gauge: &'static str,
        now: Timestamp,
    ) -> Result<Arc<Self>, FileError> {
        let (stamp, text) = read(path, bytes_max)?;
        let value = parse(&text).map_err(|fault| FileError::of(path, fault))?;
        metrics::gauge!(gauge).set(0);
        Ok(Arc::new(Self {
            path: path.to_owned(),
            bytes_max,
            parse,
            gauge,
            looked_at_ms: AtomicI64::new(now.as_millisecond()),
            stamp: Mutex::new(Some(stamp)),
            value: RwLock::new(Arc::new(value)),
        }))
    }

    /// The content, at most a second old. One caller a second looks; the others do not wait for it.
    pub async fn current(self: &Arc<Self>, now: Timestamp) -> Arc<T> {
        if self.is_due(now.as_millisecond()) {
            let watched = self.clone();
            // It only fails if it panics: then the last good content stays as well.
            let _ = tokio::task::spawn_blocking(move || watched.look()).await;
        }
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_due(&self, now_ms: i64) -> bool {
        let last = self.looked_at_ms.load(Ordering::Relaxed);
        // A clock that was set back must not keep a revoked token alive.
        let due = now_ms < last || LOOK_EVERY_MS <= now_ms.saturating_sub(last);
        due && self.looked_at_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn look(&self) {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let found = std::fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        if found == *stamp {
            return;
        }
        *stamp = found;
        let parsed = read(&self.path, self.bytes_max).and_then(|(read, text)| {
            *stamp = Some(read);
            (self.parse)(&text).map_err(|fault| FileError::of(&self.path, fault))
        });
        match parsed {
            Ok(value) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                metrics::gauge!(self.gauge).set(0);
                tracing::info!(file = %self.path.display(), "read again");
            }
            Err(FileError { path, line, problem }) => {
                metrics::gauge!(self.gauge).set(1);
                tracing::warn!(file = %path.display(), line, problem, "not taken, what was read before stays");
            }
        }
    }
}

impl FileError {
    pub fn of(path: &Path, Fault { line, problem }: Fault) -> Self {
        Self { path: path.to_owned(), line, problem }
    }

    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self::of(path, Fault::of(error.to_string()))
    }
}

impl Fault {
    pub fn of(problem: impl Into<String>) -> Self {
        Self { line: None, problem: problem.into() }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The stamp is taken before the text, from the same open file: what is written meanwhile is seen the next time.
fn read(path: &Path, bytes_max: u64) -> Result<(Stamp, String), FileError> {
    let io = |error: io::Error| FileError::io(path, &error);
    let file = File::open(path).map_err(io)?;
    let stamp = Stamp::of(&file.metadata().map_err(io)?);
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(io)?;
    if bytes_max < text.len() as u64 {
        return Err(FileError::of(path, Fault::of(format!("longer than {bytes_max} B"))));
    }
    Ok((stamp, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use std::fs;

    fn number(text: &str) -> Result<u32, Fault> {
        text.trim().parse().map_err(|error| Fault { line: Some(1), problem: format!("{error}") })
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changed_and_a_broken_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let start = Timestamp::UNIX_EPOCH;
        let watched = Watched::open(&path, 10, number, "test_refused", start).unwrap();
        let replace = |text: &str| {
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };
        let mut now = start;
        let mut later = |ms| {
            now += SignedDuration::from_millis(ms);
            now
        };
        replace("2");
        assert_eq!(*watched.current(later(999)).await, 1, "not looked at yet");
        assert_eq!(*watched.current(later(1)).await, 2);
        for broken in ["x", "", "12345678901"] {
            replace(broken);
            assert_eq!(*watched.current(later(1000)).await, 2, "{broken}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(*watched.current(later(1000)).await, 2);
        replace("3");
        assert_eq!(*watched.current(later(1000)).await, 3);
        replace("4");
        assert_eq!(*watched.current(start).await, 4, "a clock that was set back");
    }

    #[test]
    fn a_file_that_is_broken_at_the_start_is_an_error_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let open = || Watched::open(&path, 3, number, "test_refused", Timestamp::UNIX_EPOCH);
        assert!(open().err().unwrap().to_string().contains("No such file"));
        fs::write(&path, "x").unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.ends_with("number:1: invalid digit found in string"), "{error}");
        fs::write(&path, "1234").unwrap();
        assert!(open().err().unwrap().to_string().contains("longer than 3 B"));
    }
}

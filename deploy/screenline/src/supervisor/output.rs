//! What children write to standard error: to the console, or to a log file of bounded size.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::ChildStderr,
};

use crate::console::Console;

/// A longer line is cut: a log line, not a payload.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// At this size a log file is set aside; one earlier file is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Enough to see why a start failed.
const LAST_LINES: usize = 12;

/// The end of a child's output, for error messages.
#[derive(Debug, Clone, Default)]
pub struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// The lines, each indented by two.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("\n  {line}")).collect()
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// Where a child's lines go.
#[derive(Debug)]
pub struct Output {
    to: Destination,
    last_lines: LastLines,
}

#[derive(Debug, Clone)]
enum Destination {
    Console(Console),
    Log(PathBuf),
}

impl Output {
    /// Above our own status line.
    pub fn console(console: Console) -> Self {
        Self { to: Destination::Console(console), last_lines: LastLines::default() }
    }

    /// Into a log file, at most 32 MiB with the earlier one (`FILE.1`).
    pub fn log(path: PathBuf) -> Self {
        Self { to: Destination::Log(path), last_lines: LastLines::default() }
    }

    /// The end of what was written, of all runs.
    pub fn last_lines(&self) -> LastLines {
        self.last_lines.clone()
    }

    /// Copies lines until the child closes its standard error.
    pub fn follow(&self, stderr: ChildStderr) {
        let (to, last_lines) = (self.to.clone(), self.last_lines.clone());
        tokio::spawn(async move {
            let mut log = match &to {
                Destination::Console(_) => None,
                Destination::Log(path) => LogFile::open(path)
                    .inspect_err(
                        |error| tracing::warn!(%error, path = %path.display(), "cannot write a log file"),
                    )
                    .ok(),
            };
            let mut reader = BufReader::new(stderr);
            let mut line = Vec::new();
            // Each read is bounded, so that a child without line ends cannot fill our memory.
            while let Ok(1..) = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                last_lines.push(text);
                match (&to, &mut log) {
                    (Destination::Console(console), _) => console.line(text),
                    (Destination::Log(_), Some(log)) => log.line(text),
                    (Destination::Log(_), None) => {}
                }
                line.clear();
            }
        });
    }
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), bytes: file.metadata()?.len(), file })
    }

    /// A full disk must stop neither the child nor us, so failures to log are not passed on.
    fn line(&mut self, text: &str) {
        if LOG_BYTES_MAX < self.bytes {
            let mut earlier = self.path.clone().into_os_string();
            earlier.push(".1");
            if fs::rename(&self.path, earlier).is_ok()
                && let Ok(fresh) = Self::open(&self.path)
            {
                *self = fresh;
            }
        }
        if writeln!(self.file, "{text}").is_ok() {
            self.bytes += text.len() as u64 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgres.log");
        let mut log = LogFile::open(&path).unwrap();
        log.bytes = LOG_BYTES_MAX + 1;
        log.line("first line of the new file");
        assert_eq!(fs::read_to_string(&path).unwrap(), "first line of the new file\n");
        assert!(folder.path().join("postgres.log.1").exists());
    }
}

//! A text file as it is read: inflated where it is compressed, with its lines counted and its lengths bounded.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use flate2::read::MultiGzDecoder;

/// Floating cars of a large city and a day are some ten GB of XML; what inflates to more was made to.
const INFLATED_BYTES_MAX: u64 = 64 << 30;
/// A line of a table with the most columns, of up to 50 letters each.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Read at once.
const BUFFER_BYTES: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An open text.
pub type Text = Bounded<BufReader<Box<dyn Read>>>;

/// Opens a text, plain or compressed with gzip.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn text(file: &Path, progress: &AtomicProgress) -> anyhow::Result<Text> {
    let opened = File::open(file).context("open it")?;
    let mut plain =
        BufReader::with_capacity(BUFFER_BYTES, Counted { inner: opened, bytes: progress.clone() });
    let compressed = plain.fill_buf().context("read it")?.starts_with(&GZIP);
    let inner: Box<dyn Read> =
        if compressed { Box::new(MultiGzDecoder::new(plain)) } else { Box::new(plain) };
    Ok(Bounded::new(BufReader::with_capacity(BUFFER_BYTES, inner)))
}

/// Bytes that were read, seen by others.
pub type AtomicProgress = Arc<AtomicU64>;

/// Counts what is read of a file.
pub struct Counted<R> {
    pub inner: R,
    pub bytes: AtomicProgress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A text of bounded length, of rows or elements of bounded length.
pub struct Bounded<R> {
    inner: R,
    /// Bytes since the last end of a row, or since the last element was taken.
    since: u64,
    /// Whether it is a table, where a row ends with a line that is not within a quoted cell; and whether it is within one.
    is_table: bool,
    is_quoted: bool,
    /// The byte before.
    last: u8,
    bytes: u64,
    line: u64,
    longest: u64,
}

impl<R: BufRead> Bounded<R> {
    pub fn new(inner: R) -> Bounded<R> {
        Bounded {
            inner,
            since: 0,
            is_table: false,
            is_quoted: false,
            last: b'\n',
            bytes: 0,
            line: 1,
            longest: LINE_BYTES_MAX,
        }
    }

    /// As a table, whose quoted cells may hold ends of lines: a quote that is left open must not make a cell of the rest.
    pub fn of_cells(self) -> Bounded<R> {
        Bounded { is_table: true, ..self }
    }

    /// What is read from now on is an element of its own.
    pub fn begin(&mut self) {
        self.since = 0;
    }

    /// The line that is read now, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let limit = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if self.longest < self.since {
            return limit(format!(
                "line {} is longer than {} bytes: is it a text, is a quote left open?",
                self.line, self.longest
            ));
        }
        if INFLATED_BYTES_MAX < self.bytes {
            return limit(format!("it is longer than {INFLATED_BYTES_MAX} bytes: split it"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is in the buffer costs nothing to look at again, and cannot fail.
        if let Ok(buffer) = self.inner.fill_buf() {
            let taken = &buffer[..count.min(buffer.len())];
            self.bytes += taken.len() as u64;
            self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
            for byte in taken {
                self.since += 1;
                // A quote opens a cell at its beginning only, or again after the quote that is doubled.
                let opens = matches!(self.last, b'\n' | b',' | b';' | b'\t' | b'|' | b'"');
                match byte {
                    b'"' if self.is_table => self.is_quoted = !self.is_quoted && opens,
                    b'\n' if self.is_table && !self.is_quoted => self.since = 0,
                    _ => {}
                }
                self.last = *byte;
            }
        }
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let mut endless = Bounded::new(BufReader::new(io::repeat(b'x')));
        let error = io::copy(&mut endless, &mut io::sink()).unwrap_err().to_string();
        assert!(error.contains("line 1 is longer than 1048576 bytes"), "{error}");
    }

    #[test]
    fn a_quote_that_is_left_open_is_refused_too() {
        let table = b"a,\"b\n".iter().copied().chain(b"1,2\n".repeat(400_000)).collect::<Vec<u8>>();
        let mut reader = csv::Reader::from_reader(Bounded::new(table.as_slice()).of_cells());
        let error = reader.headers().unwrap_err();
        assert!(error.to_string().contains("a quote left open"), "{error}");
    }

    #[test]
    fn lines_are_counted_as_they_are_taken() {
        let mut text = Bounded::new(&b"a\nb\nc"[..]);
        text.consume(3);
        assert_eq!(text.line(), 2);
        let mut rest = String::new();
        text.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), text.line()), ("\nc", 3));
    }
}

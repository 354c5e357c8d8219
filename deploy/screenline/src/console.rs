//! The terminal, shared by log lines, the children's log lines and one status line that is rewritten in place.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Standard error. Cheap to clone; every clone is the same terminal.
#[derive(Debug, Clone, Default)]
pub struct Console {
    /// The status line that stands at the bottom of the terminal; empty when there is none.
    status: Arc<Mutex<String>>,
}

const CLEAR_LINE: &str = "\r\x1b[2K";
/// A status longer than the terminal is wide is cut: what wraps could not be rewritten in place.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

impl Console {
    /// Whether a line can be rewritten in place.
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Writes a line above the status line.
    pub fn line(&self, text: &str) {
        self.above_status(&[text.as_bytes(), b"\n"].concat());
    }

    /// Rewrites the status line; elsewhere than on a terminal it is a line like others.
    pub fn status(&self, text: &str) {
        if !self.is_terminal() {
            return self.line(text);
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = [NO_WRAP, text, WRAP].concat();
        write(&[CLEAR_LINE, &status].concat().into_bytes());
    }

    /// Leaves the last status where it is and starts a new line.
    pub fn end_status(&self) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if !status.is_empty() {
            status.clear();
            write(b"\n");
        }
    }

    fn above_status(&self, bytes: &[u8]) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_empty() {
            write(bytes);
        } else {
            write(&[CLEAR_LINE.as_bytes(), bytes, status.as_bytes()].concat());
        }
    }
}

/// A terminal that has gone away must not end the city.
fn write(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

impl Write for Console {
    /// The log writes whole lines, one a call.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.above_status(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = Console;

    fn make_writer(&'a self) -> Console {
        self.clone()
    }
}

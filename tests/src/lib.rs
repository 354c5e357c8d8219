//! The end-to-end harness: a [`City`] per test, which is `screenline up` on free ports with a private database.
//!
//! Scenarios are in `tests/street/`. Each runs at every storage level that the machine has:
//!
//! ```sh
//! cargo build --release                                # the harness starts this binary
//! cargo test --release -p tests -- --test-threads 2
//! ```
//!
//! - `SCREENLINE_TEST_STORAGE=plain|timescale|all` selects levels. Unset is `all`, where a machine without
//!   TimescaleDB skips its half, visibly; `timescale` asked for by name fails there.
//! - `SCREENLINE_TEST_SEED` chooses other moments to kill at.
//! - `SCREENLINE_TEST_PYTHON` is an interpreter with the packages of `requirements.txt`; the dashboard's
//!   checks also need Chromium at `/usr/bin/chromium`.

pub mod aging;
pub mod apart;
pub mod certificates;
pub mod city;
pub mod command;
pub mod cut;
pub mod doors;
pub mod flight;
pub mod mosquitto;
pub mod mqtt;
pub mod page;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
pub mod resources;
pub mod secured;
pub mod storage;
pub mod tables;

pub use city::{City, Plan};
pub use storage::Storage;

use std::io::Write;

/// Says something that the test runner must not swallow, such as why a test is skipped.
pub fn say(text: &str) {
    // `println!` is captured while a test passes; a write to the stream itself is not.
    let _ = writeln!(std::io::stderr(), "{text}");
}

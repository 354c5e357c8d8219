//! `screenline` with failpoints and planted bugs, for the proof of the delivery contract.

use std::process::ExitCode;

fn main() -> ExitCode {
    screenline::run()
}

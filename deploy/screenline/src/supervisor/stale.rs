//! Processes that an earlier run left behind, told from strangers that got the same process id.

use std::{fs, path::Path, time::Duration};

use anyhow::bail;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// Whether a process runs and one of its arguments is `argument`.
pub fn has_argument(pid: u32, argument: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0).any(|word| word == argument.as_os_str().as_encoded_bytes())
    })
}

/// Processes that work in a folder, as PostgreSQL's do in their cluster's.
pub fn working_in(folder: &Path) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder))
        .collect()
}

/// Ends a process that was recognised as ours, by signals, each with the time until the next.
///
/// # Errors
/// It is still there after the last signal.
pub async fn end(
    what: &str,
    pid: u32,
    is_ours: impl Fn() -> bool,
    steps: &[(Signal, Duration)],
) -> anyhow::Result<()> {
    warn!(pid, "{what} of an earlier run is still running, stopping it first");
    for (step, patience) in steps {
        let deadline = Instant::now() + *patience;
        // It may end between the look and the signal.
        let _ = signal::kill(Pid::from_raw(pid.cast_signed()), *step);
        while Instant::now() < deadline {
            if !is_ours() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    bail!("{what} of an earlier run (process {pid}) does not end: end it by hand and start again")
}

/// The process id in the first line of a file, if there is one.
pub fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

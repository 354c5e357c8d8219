//! One child process that is kept running until it is told to stop.

use std::{
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use processor::service::Backoff;
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::output::{LastLines, Output};
use crate::signals;

/// Builds the command anew for each start, because a restarted child keeps the port it got.
pub type CommandFor = Box<dyn FnMut() -> anyhow::Result<Command> + Send>;

/// How to run a child.
pub struct Spec {
    pub name: &'static str,
    pub command: CommandFor,
    /// Where its standard error goes, line by line.
    pub output: Output,
    /// Signals to stop it by, each with the time until the next one is sent.
    pub stop: &'static [(Signal, Duration)],
    /// Sent on our second signal, when nothing may be waited for.
    pub at_once: Signal,
}

/// A running child, restarted with back-off whenever it ends.
#[derive(Debug)]
pub struct Keeper {
    pub name: &'static str,
    pid: watch::Receiver<Option<u32>>,
    deaths: Arc<AtomicU64>,
    last_lines: LastLines,
    /// Dropped without `stop` when a start fails half way, it still lets the task stop the child.
    stop: DropGuard,
    task: JoinHandle<()>,
}

const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A child that ran this long starts again without delay debts: one start in five seconds is no storm.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

impl Keeper {
    /// Starts the child and a task that keeps it running.
    pub fn start(spec: Spec) -> Self {
        let (pid_to, pid) = watch::channel(None);
        let deaths = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        Self {
            name: spec.name,
            pid,
            last_lines: spec.output.last_lines(),
            task: tokio::spawn(keep(spec, pid_to, deaths.clone(), stop.clone())),
            deaths,
            stop: stop.drop_guard(),
        }
    }

    /// The process id, or `None` between two runs.
    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Changes with every start and end of the child.
    pub fn pid_changes(&self) -> watch::Receiver<Option<u32>> {
        self.pid.clone()
    }

    /// How often the child ended, or could not be started, without having been told to stop.
    pub fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// What the child said last, for an error message.
    pub fn last_lines(&self) -> String {
        self.last_lines.text()
    }

    /// Stops the child by its signals and waits until it has ended.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            warn!(child = self.name, %error, "the keeper of a child failed");
        }
    }
}

async fn keep(
    mut spec: Spec,
    pid: watch::Sender<Option<u32>>,
    deaths: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    let restarts = metrics::counter!("screenline_child_restarts_total", "child" => spec.name);
    let mut back_off = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    loop {
        let started = Instant::now();
        let outcome = match spawn(&mut spec) {
            Ok((child, _stdin)) => {
                let Some(id) = child.id() else { continue };
                signals::end_at_once(id, spec.at_once);
                pid.send_replace(Some(id));
                let outcome = run(child, id, spec.name, spec.stop, &stop).await;
                pid.send_replace(None);
                signals::forget(id);
                outcome
            }
            Err(error) => Some(format!("{error:#}")),
        };
        let Some(reason) = outcome else { return };
        deaths.fetch_add(1, Ordering::Relaxed);
        if HEALTHY_AFTER <= started.elapsed() {
            back_off.reset();
        }
        let wait = back_off.next_wait();
        warn!(child = spec.name, reason, ?wait, "child ended, will start it again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => restarts.increment(1),
        }
    }
}

/// Runs until the child ends by itself (why it did) or was told to stop (`None`).
async fn run(
    mut child: Child,
    id: u32,
    name: &'static str,
    steps: &[(Signal, Duration)],
    stop: &CancellationToken,
) -> Option<String> {
    tokio::select! {
        status = child.wait() => return Some(match status {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        }),
        () = stop.cancelled() => {}
    }
    let asked = Instant::now();
    for (signal, patience) in steps.iter().chain(&[(Signal::SIGKILL, Duration::from_secs(10))]) {
        // ESRCH: it has just ended by itself, and the wait below says so.
        let _ = signal::kill(Pid::from_raw(id.cast_signed()), *signal);
        if let Ok(status) = timeout(*patience, child.wait()).await {
            let how = status.map_or_else(|error| error.to_string(), describe);
            info!(child = name, how, elapsed = ?asked.elapsed(), "child stopped");
            return None;
        }
        warn!(child = name, ?signal, ?patience, "child did not stop in time");
    }
    None
}

/// The child and the pipe to its standard input, whose end tells a service that we are gone.
fn spawn(spec: &mut Spec) -> anyhow::Result<(Child, Option<tokio::process::ChildStdin>)> {
    let mut command = (spec.command)()?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0) // Ctrl-C is for us alone: we stop the children, in order
        .spawn()
        .with_context(|| format!("start {:?}", command.as_std().get_program()))?;
    // `wait` would close the pipe.
    let stdin = child.stdin.take();
    if let Some(stderr) = child.stderr.take() {
        spec.output.follow(stderr);
    }
    Ok((child, stdin))
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => {
            Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
        }
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Console;

    fn spec(script: &'static str, stop: &'static [(Signal, Duration)]) -> Spec {
        Spec {
            name: "test",
            command: Box::new(move || {
                let mut command = Command::new("sh");
                command.args(["-c", script]).stdin(Stdio::piped());
                Ok(command)
            }),
            output: Output::console(Console::default()),
            stop,
            at_once: Signal::SIGKILL,
        }
    }

    #[tokio::test]
    async fn a_child_that_ends_is_started_again() {
        let keeper = Keeper::start(spec("exit 3", &[]));
        let mut pid = keeper.pid_changes();
        let mut started = 0;
        while started < 2 {
            pid.changed().await.unwrap();
            started += usize::from(pid.borrow_and_update().is_some());
        }
        assert!(1 <= keeper.deaths());
        keeper.stop().await;
    }

    #[tokio::test]
    async fn a_child_that_ignores_the_first_signal_gets_the_next() {
        const STEPS: &[(Signal, Duration)] =
            &[(Signal::SIGINT, Duration::from_millis(300)), (Signal::SIGTERM, Duration::from_secs(5))];
        let keeper = Keeper::start(spec("trap '' INT; while :; do sleep 0.1; done", STEPS));
        let mut pid = keeper.pid_changes();
        let id = pid.wait_for(Option::is_some).await.unwrap().unwrap();
        keeper.stop().await;
        assert!(signal::kill(Pid::from_raw(id.cast_signed()), None).is_err(), "it is gone");
    }
}

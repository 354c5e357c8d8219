//! When to end: a signal, or the launcher's end.

use std::{
    io::Read,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use nix::{sys::signal, unistd::Pid};
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio_util::sync::CancellationToken;

/// Children that would outlive us, with the signal that ends each at once. Process-wide, as signals are.
static AT_ONCE: Mutex<Vec<(u32, signal::Signal)>> = Mutex::new(Vec::new());

/// A token that is cancelled by the first SIGINT, SIGTERM or SIGHUP. A second one ends the process at once:
/// children first, with code 130.
///
/// # Errors
/// The handlers cannot be installed.
pub fn shutdown() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = listen(SignalKind::interrupt()).context("install the SIGINT handler")?;
    let mut terminate = listen(SignalKind::terminate()).context("install the SIGTERM handler")?;
    let mut hangup = listen(SignalKind::hangup()).context("install the SIGHUP handler")?;
    tokio::spawn({
        let token = token.clone();
        async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if token.is_cancelled() {
                    tracing::warn!("second signal, ending at once");
                    for (pid, signal) in AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                        // It may have ended already.
                        let _ = signal::kill(Pid::from_raw(pid.cast_signed()), signal);
                    }
                    std::process::exit(130);
                }
                token.cancel();
            }
        }
    });
    Ok(token)
}

/// Cancels the token when standard input ends. The launcher holds the other end of that pipe and never writes to it,
/// so the end comes however the launcher ends, by kill -9 as well.
pub fn end_with_launcher(token: CancellationToken) {
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        token.cancel();
    });
}

/// Remembers a child for a second signal.
pub fn end_at_once(pid: u32, with: signal::Signal) {
    AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner).push((pid, with));
}

/// Waits until every child has ended. A start that failed half way leaves children that are still being stopped.
pub async fn children_ended() {
    while !AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Forgets a child that has ended.
pub fn forget(pid: u32) {
    AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != pid);
}

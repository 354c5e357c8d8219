//! What every service process shares: patience with a broken world, and the way from tokio to rayon.

mod secret;
pub mod tls;

use std::{panic::resume_unwind, time::Duration};

use tokio::task::spawn_blocking;

pub use secret::{Secret, masked};

/// How long to wait before the next attempt: doubling, with jitter, so that restarted services do not come in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    least: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(least: Duration, most: Duration) -> Self {
        Backoff { next: least, least, most }
    }

    /// Half to all of the present span; the next one is twice as long.
    pub fn next_wait(&mut self) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(self.most);
        span.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

/// Runs work that keeps cores busy beside tokio's own threads, which stay free for the network. The work may call
/// rayon and may take locks: it waits on a thread of its own, never on one of rayon's, which would pick up other work
/// while it waits, under the locks that it holds.
///
/// # Panics
/// When the work itself panics.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime is going away, and this task with it
        },
    }
}

//! What every service process shares: patience with a broken world, and the way from tokio to rayon.

use std::time::Duration;

use tokio::sync::oneshot;

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

/// Runs work that keeps a core busy on rayon's threads, so that tokio's stay free for the network.
///
/// # Panics
/// When the work itself panics.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let _ = done.send(outcome); // the waiting side may have gone away
    });
    match result.await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => unreachable!("the sender is always used"),
    }
}

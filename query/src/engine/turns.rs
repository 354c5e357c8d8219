//! Whose turn it is: so much runs at once, so much of one identity, and so much waits.

use crate::{
    caller::Caller,
    error::{QueryError, Result},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// How much may run and wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What it is, for people.
    pub what: &'static str,
    pub at_once: usize,
    /// Of one identity.
    pub each: usize,
    /// What waits; more is refused. Half of it may be one identity's.
    pub queue: usize,
}

#[derive(Debug)]
pub struct Turns {
    bounds: Bounds,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<Arc<str>, Arc<Mine>>>,
    waiting: AtomicUsize,
}

/// Of one identity.
#[derive(Debug)]
struct Mine {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Turns {
    pub fn new(bounds: Bounds) -> Self {
        let all = Arc::new(Semaphore::new(bounds.at_once));
        Self { bounds, all, each: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a turn among the caller's own, then among all that run.
    ///
    /// # Errors
    /// Too many wait already, or there was none before the deadline.
    pub async fn enter(&self, caller: &Caller, deadline: Instant) -> Result<[OwnedSemaphorePermit; 2]> {
        if let Some(permits) = self.try_enter(caller) {
            return Ok(permits);
        }
        let Bounds { what, at_once, each, queue } = self.bounds;
        let mine = self.of(caller);
        let full = |max: usize| {
            QueryError::Exhausted(format!("{max} {what} wait for their turn already; try again later"))
        };
        let _own = Place::take(&mine.waiting, queue.div_ceil(2)).ok_or_else(|| full(queue.div_ceil(2)))?;
        let _place = Place::take(&self.waiting, queue).ok_or_else(|| full(queue))?;
        let both = async {
            let own = mine.turns.clone().acquire_owned().await?;
            Ok::<_, AcquireError>([own, self.all.clone().acquire_owned().await?])
        };
        match timeout_at(deadline, both).await {
            Ok(Ok(permits)) => Ok(permits),
            Ok(Err(_)) => Err(QueryError::Busy("the service is stopping".into())),
            Err(_) => Err(QueryError::Deadline(format!(
                "no turn in time: {at_once} {what} run at once, {each} of one identity; try again later"
            ))),
        }
    }

    /// A turn, if there is one now.
    pub fn try_enter(&self, caller: &Caller) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = self.of(caller).turns.clone().try_acquire_owned().ok()?;
        Some([own, self.all.clone().try_acquire_owned().ok()?])
    }

    fn of(&self, caller: &Caller) -> Arc<Mine> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that ask now: one that is not held has all its turns.
        each.retain(|_, mine| {
            1 < Arc::strong_count(mine) || mine.turns.available_permits() < self.bounds.each
        });
        let mine =
            || Mine { turns: Arc::new(Semaphore::new(self.bounds.each)), waiting: AtomicUsize::new(0) };
        each.entry(caller.owner.clone()).or_insert_with(|| Arc::new(mine())).clone()
    }
}

/// A place in a queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        if max <= waiting.fetch_add(1, Ordering::Relaxed) {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

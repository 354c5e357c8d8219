//! Whose turn it is: so many queries run at once, so many of one identity, and so many wait.

use super::Limits;
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

#[derive(Debug)]
pub struct Turns {
    limits: Limits,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
    waiting: AtomicUsize,
}

impl Turns {
    pub fn new(limits: Limits) -> Self {
        let all = Arc::new(Semaphore::new(limits.concurrency));
        Self { limits, all, each: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a turn among the caller's queries, then among all that run.
    pub async fn enter(&self, caller: &Caller, deadline: Instant) -> Result<[OwnedSemaphorePermit; 2]> {
        if let Some(permits) = self.try_enter(caller) {
            return Ok(permits);
        }
        let mine = self.of(caller);
        let _place = Place::take(&self.waiting, self.limits.queue)?;
        let both = async {
            let own = mine.acquire_owned().await?;
            Ok::<_, AcquireError>([own, self.all.clone().acquire_owned().await?])
        };
        match timeout_at(deadline, both).await {
            Ok(Ok(permits)) => Ok(permits),
            Ok(Err(_)) => Err(QueryError::Unavailable("the service is stopping".into())),
            Err(_) => Err(QueryError::Deadline(format!(
                "no turn within {:?}: {} queries run at once, {} of one identity; try again later",
                self.limits.timeout, self.limits.concurrency, self.limits.concurrency_each
            ))),
        }
    }

    /// A turn, if there is one now.
    pub fn try_enter(&self, caller: &Caller) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = self.of(caller).try_acquire_owned().ok()?;
        Some([own, self.all.clone().try_acquire_owned().ok()?])
    }

    fn of(&self, caller: &Caller) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that ask now: one that is not held has all its turns.
        each.retain(|_, turns| {
            1 < Arc::strong_count(turns) || turns.available_permits() < self.limits.concurrency_each
        });
        let turns = || Arc::new(Semaphore::new(self.limits.concurrency_each));
        each.entry(caller.owner.clone()).or_insert_with(turns).clone()
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self> {
        if max <= waiting.fetch_add(1, Ordering::Relaxed) {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(QueryError::Exhausted(format!("{max} queries are waiting already; try again later")));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

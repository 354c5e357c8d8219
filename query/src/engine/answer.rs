//! The answer of a query on its way to the client.

use super::{Batches, GRACE, Inner, Limits, late};
use crate::{
    access::Answer,
    caller::{Caller, Door},
    error::{QueryError, Result},
    metrics::{self, Measured},
    output,
};
use datafusion::arrow::array::RecordBatch;
use futures::stream;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Counts a query, and writes its end into the access log.
pub struct Logged {
    pub measured: Measured,
    pub inner: Arc<Inner>,
    pub id: String,
    pub caller: Caller,
}

impl Drop for Logged {
    fn drop(&mut self) {
        let (rows, bytes, outcome) = self.measured.so_far();
        self.inner.log.answered(&self.id, &self.caller, &Answer { rows, bytes, outcome });
    }
}

/// The end of a query that its client holds.
pub struct Incoming {
    pub batches: mpsc::Receiver<RecordBatch>,
    pub outcome: oneshot::Receiver<Result<()>>,
    pub deadline: Instant,
    pub timeout: Duration,
}

/// What is left of the largest answer.
pub struct Room {
    rows: u64,
    bytes: u64,
    limits: Limits,
}

impl Room {
    pub fn of(limits: &Limits, door: Door) -> Self {
        // An export is streamed into a file, and a tail has no end.
        let is_bounded = matches!(door, Door::Flight | Door::FlightSql);
        let (rows, bytes) = if is_bounded { (limits.rows, limits.bytes) } else { (u64::MAX, u64::MAX) };
        Self { rows, bytes, limits: *limits }
    }

    pub fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let how = "ask for a shorter time range, fewer columns or a wider rollup, or download it as a file: \
                   GET /export/reading.parquet?from=..&to=.. on this port";
        let rows = self.rows.checked_sub(batch.num_rows() as u64);
        let bytes = self.bytes.checked_sub(output::bytes(batch) as u64);
        self.rows = rows.ok_or_else(|| {
            QueryError::Exhausted(format!("more than {} rows (--query-rows): {how}", self.limits.rows))
        })?;
        self.bytes = bytes.ok_or_else(|| {
            QueryError::Exhausted(format!("more than {} B (--query-bytes): {how}", self.limits.bytes))
        })?;
        Ok(())
    }
}

/// The batches, then the outcome: an answer that was cut short must never look complete.
pub fn answer(measured: Logged, incoming: Incoming) -> Batches {
    Box::pin(stream::unfold(Some((measured, incoming)), async |state| {
        let (mut measured, mut incoming) = state?;
        let ended = match timeout_at(incoming.deadline + GRACE, incoming.batches.recv()).await {
            Ok(Some(batch)) => {
                measured.measured.batch(batch.num_rows(), output::bytes(&batch));
                return Some((Ok(batch), Some((measured, incoming))));
            }
            Ok(None) => ended(incoming.outcome).await,
            Err(_) => Err(late(incoming.timeout)),
        };
        match ended {
            Ok(()) => {
                measured.measured.done();
                None
            }
            Err(error) => {
                measured.measured.failed(&error);
                Some((Err(error), None))
            }
        }
    }))
}

pub async fn ended(outcome: oneshot::Receiver<Result<()>>) -> Result<()> {
    outcome.await.unwrap_or_else(|_| Err(vanished()))
}

/// The task is gone without a word: it panicked.
pub fn vanished() -> QueryError {
    metrics::panicked();
    QueryError::Internal("the query ended in a panic, which is a bug; please report the statement".into())
}

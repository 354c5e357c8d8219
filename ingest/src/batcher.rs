//! Arrivals become batches: small when it is quiet, for freshness; large under load, for throughput.

use std::time::Duration;

use processor::model::{Batch, BatchId};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::subscriber::{Arrival, Receipt};

/// When a batch is closed.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub messages: usize,
    pub bytes: usize,
    pub linger: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits {
            messages: 4_096, // under half of the 10,000 a broker may have in flight, so that one fills while one is written
            bytes: 4 << 20,  // about 20,000 packed readings: COPY gains nothing beyond
            linger: Duration::from_millis(50),
        }
    }
}

/// A batch and the receipts of its messages, in order of arrival.
pub struct Gathered {
    pub batch: Batch,
    pub receipts: Vec<Receipt>,
}

/// Waits for a message and gathers what follows it; `None` when `shutdown` came and everything received is handed out.
pub async fn next_batch(
    arrivals: &mut mpsc::Receiver<Arrival>,
    limits: &BatchLimits,
    shutdown: &CancellationToken,
) -> Option<Gathered> {
    let first = tokio::select! {
        biased;
        () = shutdown.cancelled() => {
            arrivals.close();
            arrivals.recv().await?
        }
        arrival = arrivals.recv() => arrival?,
    };
    let deadline = Instant::now() + limits.linger;
    let mut gathered = Gathered {
        batch: Batch { id: BatchId(fastrand::i64(1..)), messages: Vec::new(), shed: 0 },
        receipts: Vec::new(),
    };
    let mut bytes = first.message.payload.len();
    gathered.push(first);
    while gathered.receipts.len() < limits.messages && bytes < limits.bytes {
        // A message that is there already is taken without asking the clock.
        let next = match arrivals.try_recv() {
            Ok(arrival) => Some(arrival),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                timeout_at(deadline, arrivals.recv()).await.unwrap_or(None)
            }
        };
        let Some(arrival) = next else { break };
        bytes += arrival.message.payload.len();
        gathered.push(arrival);
    }
    Some(gathered)
}

impl Gathered {
    fn push(&mut self, arrival: Arrival) {
        self.batch.messages.push(arrival.message);
        self.receipts.push(arrival.receipt);
    }
}

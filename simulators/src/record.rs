//! Records what a broker delivers, until it is told to end.
//!
//! What waits to be written is bounded: [`WAITING_BYTES_MAX`] of messages, one block, and what rumqttc reads at once, which
//! is at most ten packets. While the disk is slower than the broker, nothing more is read from the socket, and the broker
//! keeps or drops the rest as it is configured. With a kept session a message is acknowledged when its block is on disk,
//! so that a killed recorder loses none: it may record one twice.

mod files;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::broker::Broker;
use crate::connection::Protocol;
use crate::filter::{Filter, Wanted};
use crate::recording::{Header, PayloadTime, RecordingError};
use files::Files;
pub use files::{Output, Rotate};
use session::{News, Receipt};

/// Payload and topic bytes between the socket and the file.
pub const WAITING_BYTES_MAX: u32 = 64 << 20;

/// Messages between the socket and the file: a few batches.
const WAITING_MAX: usize = 4_096;
/// Messages written at once.
const BATCH: usize = 1_024;

/// With a kept session, a block ends when nothing came for so long: the broker may wait for acknowledgements, of which
/// mosquitto as it comes allows 20, before it sends more.
const IDLE: Duration = Duration::from_millis(10);

/// Topics that are counted: 16 MB.
const TOPICS_MAX: usize = 1_000_000;

/// What to record, where from, where to.
#[derive(Debug)]
pub struct Config {
    pub broker: Broker,
    pub protocol: Protocol,
    /// A session of this name is kept by the broker while we are away.
    pub client_id: Option<String>,
    /// Subscribed to; none is `#`, which leaves out `$SYS` and the like.
    pub filters: Vec<Filter>,
    /// Left out of what arrives.
    pub exclude: Vec<Filter>,
    /// Of the subscription: 0, or 1. Exactly once is not offered: its handshake cannot be taken up by another process.
    pub at_least_once: bool,
    pub output: Output,
    /// Go on in a file or set that is there.
    pub append: bool,
    /// Where the payloads keep their times, for the header.
    pub times: Vec<PayloadTime>,
    /// Stop after so many messages.
    pub messages_max: Option<u64>,
    /// Stop after this time.
    pub time_max: Option<Duration>,
}

/// How far a recorder is; read it from another task at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Whether we are subscribed at present.
    pub connected: AtomicBool,
    pub messages: AtomicU64,
    /// Bytes of their payloads.
    pub payload_bytes: AtomicU64,
    /// Bytes of whole blocks before compression.
    pub content_bytes: AtomicU64,
    /// Bytes of all files of this run, with what a continued one held before.
    pub file_bytes: AtomicU64,
    /// Bytes that this run wrote.
    pub written_bytes: AtomicU64,
    pub files: AtomicU64,
    /// Different topics, of which at most a million are counted.
    pub topics: AtomicU64,
    /// Messages that no recording can hold.
    pub left_out: AtomicU64,
    /// Times that nothing could be received.
    pub gaps: AtomicU64,
    /// Connections after the first.
    pub reconnects: AtomicU64,
}

/// Records until `shutdown`, a bound of the configuration, or an error. Everything that was received is written then.
///
/// # Errors
/// The output is there already or cannot be written, or the broker cannot be reached at first or refuses us.
pub async fn run(config: Config, progress: Arc<Progress>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let begun = Timestamp::now();
    let header = Header {
        name: config.output.name(),
        period_s: None,
        times: config.times.clone(),
        broker: Some(config.broker.to_string()),
        filters: session::filters(&config.filters),
        begun: Some(begun),
    };
    let files =
        tokio::task::spawn_blocking(move || Files::open(config.output, header, config.append)).await??;
    let (to, news) = mpsc::channel(WAITING_MAX);
    let (stop, done) = (CancellationToken::new(), CancellationToken::new());
    let subscription = session::Subscription {
        broker: config.broker,
        protocol: config.protocol,
        client_id: config.client_id,
        filters: config.filters,
        at_least_once: config.at_least_once,
    };
    let listening =
        tokio::spawn(session::listen(subscription, to, progress.clone(), stop.clone(), done.clone()));
    let keeper = Keeper {
        files,
        wanted: Wanted { filters: Vec::new(), exclude: config.exclude },
        messages_max: config.messages_max.unwrap_or(u64::MAX),
        taken: 0,
        receipts: VecDeque::new(),
        topics: HashSet::new(),
        progress,
    };
    let until = config.time_max.map(|time| Instant::now() + time);
    let kept = keep(keeper, news, until, &stop, &shutdown).await;
    stop.cancel();
    done.cancel();
    let listened = listening.await.context("the session's task")?;
    kept.and(listened)
}

/// Writes what comes until it ends or is to end.
async fn keep(
    mut keeper: Keeper,
    mut news: mpsc::Receiver<News>,
    until: Option<Instant>,
    stop: &CancellationToken,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut stopping = false;
    loop {
        let due = keeper.due().into_iter().chain(until.filter(|_| !stopping)).min();
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await, // nothing waits to be written
            }
        };
        let mut ended = false;
        tokio::select! {
            taken = news.recv_many(&mut batch, BATCH) => ended = taken == 0,
            () = timer => {}
            () = shutdown.cancelled(), if !stopping => stopping = true,
        }
        let idle = batch.is_empty();
        let taken = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
        // The disk blocks.
        let (back, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = keeper.take(taken, idle || ended);
            (keeper, outcome)
        })
        .await
        .context("the writer's thread")?;
        keeper = back;
        outcome?;
        stopping |= keeper.is_full() || until.is_some_and(|until| until <= Instant::now());
        if stopping {
            stop.cancel();
            news.close(); // what is in it still comes
        }
        if ended {
            return Ok(());
        }
    }
}

/// Writes messages, and acknowledges them when they are on disk.
struct Keeper {
    files: Files,
    wanted: Wanted,
    messages_max: u64,
    /// Messages handed to the files.
    taken: u64,
    /// Of messages that are not on disk, each with its number.
    receipts: VecDeque<(u64, Receipt)>,
    topics: HashSet<u64>,
    progress: Arc<Progress>,
}

impl Keeper {
    /// When the block is to be on disk.
    fn due(&self) -> Option<Instant> {
        let due = self.files.due().map(Instant::from_std);
        match self.receipts.is_empty() {
            true => due,
            false => Some(Instant::now() + IDLE),
        }
    }

    fn is_full(&self) -> bool {
        self.messages_max <= self.taken
    }

    fn take(&mut self, batch: Vec<News>, flush: bool) -> Result<(), RecordingError> {
        for news in batch {
            match news {
                News::Gap { from, to } => {
                    self.files.gap(from, to)?;
                    self.progress.gaps.fetch_add(1, Ordering::Relaxed);
                }
                News::Message(arrival) => self.message(*arrival)?,
            }
        }
        if flush {
            self.files.flush()?;
        }
        self.report();
        let durable = self.files.written().messages;
        while let Some((_, receipt)) = self.receipts.pop_front_if(|(number, _)| *number <= durable) {
            receipt.acknowledge();
        }
        Ok(())
    }

    fn message(&mut self, arrival: session::Arrival) -> Result<(), RecordingError> {
        let session::Arrival { message, receipt, .. } = arrival;
        // Beyond the bound nothing is acknowledged either: a kept session has it for the next run.
        if self.is_full() {
            return Ok(());
        }
        if self.wanted.takes(&message.topic) {
            match self.files.write(&message) {
                Ok(()) => {
                    self.taken += 1;
                    let progress = &self.progress;
                    progress.messages.fetch_add(1, Ordering::Relaxed);
                    progress.payload_bytes.fetch_add(message.payload.len() as u64, Ordering::Relaxed);
                    if self.topics.len() < TOPICS_MAX {
                        self.topics.insert(xxh3_64(message.topic.as_bytes()));
                    }
                }
                Err(RecordingError::Refused(problem)) => {
                    tracing::warn!(problem, "a message is left out");
                    self.progress.left_out.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        // One that is left out is acknowledged in its turn, or it comes again for ever.
        self.receipts.extend(receipt.map(|receipt| (self.taken, receipt)));
        Ok(())
    }

    fn report(&self) {
        let (written, progress) = (self.files.written(), &self.progress);
        progress.content_bytes.store(written.content_bytes, Ordering::Relaxed);
        progress.file_bytes.store(written.bytes, Ordering::Relaxed);
        progress.written_bytes.store(written.bytes - self.files.before(), Ordering::Relaxed);
        progress.files.store(self.files.count(), Ordering::Relaxed);
        progress.topics.store(self.topics.len() as u64, Ordering::Relaxed);
    }
}

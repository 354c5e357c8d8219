//! Plays a recording over MQTT and ends when every message is acknowledged.

mod lanes;
mod pace;
mod rewrite;
mod shift;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;
pub use crate::connection::Protocol;
use crate::filter::Wanted;
use crate::publisher::Publisher;
use crate::recording::{Message, PayloadTime, Recording};
use lanes::Lane;
pub use pace::Speed;
pub use rewrite::Rewrite;

/// Most connections of one replay: above, a broker gets no faster.
pub const CONNECTIONS_MAX: usize = 64;

/// What to replay, where to, how fast.
#[derive(Debug, Clone)]
pub struct Config {
    pub broker: Broker,
    pub broker_protocol: Protocol,
    pub recording: Recording,
    pub speed: Speed,
    pub history: History,
    pub repeat: Repeat,
    /// Only what was recorded from then on.
    pub from: Option<Bound>,
    /// Only what was recorded up to then.
    pub to: Option<Bound>,
    /// Only these topics, as they were recorded.
    pub wanted: Wanted,
    /// The first that is for a topic gives it another name.
    pub rewrite: Vec<Rewrite>,
    /// In place of the recorded QoS: 0, 1 or 2.
    pub qos: Option<u8>,
    /// From 1 to [`CONNECTIONS_MAX`]. What has one topic stays on one, in its order.
    pub connections: usize,
    /// What has the same first levels of its topic, so many, stays on one connection as well.
    pub source_levels: Option<usize>,
}

impl Config {
    /// All of the recording, once and as it was, over one connection.
    pub fn new(broker: Broker, recording: Recording, speed: Speed) -> Config {
        Config {
            broker,
            broker_protocol: Protocol::Auto,
            recording,
            speed,
            history: History::AsRecorded,
            repeat: Repeat::Once,
            from: None,
            to: None,
            wanted: Wanted::default(),
            rewrite: Vec::new(),
            qos: None,
            connections: 1,
            source_levels: None,
        }
    }
}

/// Which times the messages carry. They are moved by whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    AsRecorded,
    /// The last message is sent now.
    EndingNow,
    /// The first message is sent now.
    BeginningNow,
    /// The first message is sent then.
    BeginningAt(Timestamp),
}

/// What comes after the end. Each round's times are later by the recording's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Once,
    /// So many rounds in all.
    Times(u32),
    /// Until shutdown.
    Forever,
    /// Until shutdown, and after the first round at 1x.
    Live,
}

/// A time in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    At(Timestamp),
    /// So long after the first message.
    After(SignedDuration),
}

impl FromStr for Bound {
    type Err = String;

    /// `2024-01-01T00:00:00Z`, or `10m`: after the first message.
    fn from_str(text: &str) -> Result<Self, String> {
        let offset = || text.parse().ok().filter(|offset: &SignedDuration| !offset.is_negative());
        let bound = text.parse().map(Bound::At).ok().or_else(|| offset().map(Bound::After));
        bound.ok_or_else(|| {
            "give a time (2026-11-20T14:30:00Z) or an offset from the first message (10m)".to_owned()
        })
    }
}

/// How far a replay is; read it from another task at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages handed to the broker, each counted once.
    pub published: AtomicU64,
    /// Messages the broker has acknowledged; at QoS 0, those that were sent.
    pub acknowledged: AtomicU64,
    /// Messages to publish as far as known: grows by a recording with every round.
    pub total: AtomicU64,
    /// Time carried by the last published message, in Unix seconds; 0 before the first.
    pub position: AtomicI64,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub published: u64,
    /// Equal to `published`, unless a shutdown came with the broker out of reach.
    pub acknowledged: u64,
    /// Times a message was sent again after a connection was lost.
    pub sent_again: u64,
    /// Messages published with their recorded time, though others were moved: their payload has none.
    pub not_moved: u64,
    /// Bytes at the recording's end that are no whole block: what a crash left.
    pub cut_bytes: u64,
    /// Times that the recorder could not receive.
    pub gaps: u64,
}

/// Publishes the recording, each topic in its order, and waits for every acknowledgement.
///
/// A lost connection is made again, without end, and what was not acknowledged is sent again: a message
/// can reach the broker twice, but is never left out.
///
/// # Errors
/// When the broker cannot be reached at first or refuses us or a message, or the recording is damaged.
pub async fn run(
    config: Config,
    progress: Arc<Progress>,
    shutdown: CancellationToken,
) -> anyhow::Result<Summary> {
    ensure!(
        (1..=CONNECTIONS_MAX).contains(&config.connections),
        "{} connections: give 1 to {CONNECTIONS_MAX}",
        config.connections
    );
    ensure!(
        config.history != History::EndingNow || !config.recording.is_stream(),
        "where a stream ends is not known: give a file, or let it begin now"
    );
    let config = Arc::new(config);
    let mut publishers: Vec<Publisher> = Vec::new();
    for _ in 0..config.connections {
        let protocol = publishers.first().map_or(config.broker_protocol, |first| first.protocol);
        publishers
            .push(Publisher::start(config.broker.clone(), protocol, progress.clone(), &shutdown).await?);
    }
    let (ends, lanes) = lanes::channels(config.connections);
    let (to, reader) = oneshot::channel();
    // A thread that reads a pipe cannot be stopped, and must not keep the process.
    std::thread::spawn({
        let config = config.clone();
        move || to.send(lanes::read(&config, &progress, ends))
    });
    // One that fails ends the others.
    let stop = shutdown.child_token();
    let mut connections = JoinSet::new();
    for (publisher, lane) in publishers.into_iter().zip(lanes) {
        connections.spawn(publish(config.clone(), publisher, lane, stop.clone()));
    }
    let (mut summary, mut failed) = (Summary::default(), None);
    while let Some(ended) = connections.join_next().await {
        let (done, outcome) = ended.context("a connection's task")?;
        summary.published += done.published;
        summary.acknowledged += done.acknowledged;
        summary.sent_again += done.sent_again;
        summary.not_moved += done.not_moved;
        if let Err(error) = outcome {
            stop.cancel();
            failed = failed.or(Some(error));
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    // A reader that waits for more of a stream has nobody left to hand it to.
    if shutdown.is_cancelled() && config.recording.is_stream() {
        return Ok(summary);
    }
    let found = reader.await.context("the reader's thread")??;
    (summary.cut_bytes, summary.gaps) = (found.cut_bytes, found.gaps);
    if 0 < found.cut_bytes {
        warn!(bytes = found.cut_bytes, "the recording ends in a torn block, which was left out");
    }
    if 0 < found.gaps {
        info!(gaps = found.gaps, "the recorder was without its broker at times");
    }
    Ok(summary)
}

/// Publishes what comes along a lane, over one connection.
async fn publish(
    config: Arc<Config>,
    mut publisher: Publisher,
    lane: Lane,
    stop: CancellationToken,
) -> (Summary, anyhow::Result<()>) {
    let played = play(&config, &mut publisher, lane, &stop).await;
    // What was handed over before an error deserves its acknowledgement as well.
    let settled = publisher.settle(&stop).await;
    (publisher.finish().await, played.and(settled))
}

async fn play(
    config: &Config,
    publisher: &mut Publisher,
    mut lane: Lane,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    while let Some(bundle) = publisher.while_idle(lane.recv(), stop).await? {
        for due in bundle {
            let wait = || due.pace.wait(due.message.t, due.moved_s);
            if !publisher.wait_until(wait, stop).await? {
                return Ok(());
            }
            let times = &config.recording.header().times;
            let mut message = moved(due.message, due.moved_s, times, &mut publisher.summary)?;
            message.topic = rewrite::rewritten(message.topic, &config.rewrite);
            message.qos = config.qos.unwrap_or(message.qos);
            publisher.publish(message, stop).await?;
        }
    }
    Ok(())
}

fn moved(
    mut message: Message,
    by_s: i64,
    times: &[PayloadTime],
    summary: &mut Summary,
) -> anyhow::Result<Message> {
    if by_s == 0 {
        return Ok(message);
    }
    let t = message.t.checked_add(SignedDuration::from_secs(by_s));
    message.t = t.with_context(|| format!("move {} by {by_s} s", message.t))?;
    match shift::payload(&message.payload, &message.topic, times, by_s) {
        Some(payload) => message.payload = payload,
        None => summary.not_moved += 1,
    }
    Ok(message)
}

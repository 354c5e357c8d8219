//! Plays a recording over MQTT at QoS 1 and ends when every message is acknowledged.

mod shift;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;
pub use crate::connection::Protocol;
use crate::connection::{Connection, Event, IN_FLIGHT_MAX, Lost, LostKind};
use crate::recording::{Message, Recording};

/// Messages read ahead of their publication: a screenful of payloads, not a recording.
const READ_AHEAD: usize = 256;

/// How long a stop waits for the acknowledgements of what was sent.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the first connection may take: a broker may be starting beside us.
const START_TIMEOUT: Duration = Duration::from_secs(30);

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// Connections in a row that brought no acknowledgement. A broker that hangs up on one message would
/// otherwise be offered it for ever.
const FRUITLESS_MAX: u32 = 10;

/// The wall clock may be set while we wait for it, so we look again.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// What to replay, where to, how fast.
#[derive(Debug, Clone)]
pub struct Config {
    pub broker: Broker,
    pub broker_protocol: Protocol,
    pub recording: Recording,
    pub speed: Speed,
    pub history: History,
    /// Go on after the end with the next period, at 1x, until shutdown.
    pub then_loop: bool,
}

/// How fast time passes in a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the broker acknowledges.
    Max,
    /// Recorded seconds in a second; positive and finite.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    /// `max`, or a factor such as `60x`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(times) if 0.0 < times && times.is_finite() => Ok(Speed::Times(times)),
            _ => Err("`max`, or a factor above 0 such as 60x".to_owned()),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Max => f.write_str("max"),
            Speed::Times(times) => write!(f, "{times}x"),
        }
    }
}

/// Which times the messages carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    AsRecorded,
    /// Moved by whole seconds, so that the last message is sent now.
    EndingNow,
}

/// How far a replay is; read it from another task at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages handed to the broker, each counted once.
    pub published: AtomicU64,
    /// Messages the broker has acknowledged.
    pub acknowledged: AtomicU64,
    /// Messages to publish as far as known: grows by a recording with every loop.
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
}

/// Publishes the recording, in its order, and waits for every acknowledgement.
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
    let mut publisher =
        Publisher::start(config.broker.clone(), config.broker_protocol, progress, &shutdown).await?;
    let played = play(&config, &mut publisher, &shutdown).await;
    // What was handed over before an error deserves its acknowledgement as well.
    let settled = publisher.settle(&shutdown).await;
    let summary = publisher.finish().await;
    played?;
    settled?;
    Ok(summary)
}

async fn play(
    config: &Config,
    publisher: &mut Publisher,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let recording = config.recording.clone();
    let Some((first, last)) = tokio::task::spawn_blocking(move || recording.span()).await?? else {
        return Ok(()); // an empty recording, and a loop over it would never end
    };
    let period = i64::from(config.recording.header().period_s);
    let mut moved_s = match config.history {
        History::AsRecorded => 0,
        History::EndingNow => Timestamp::now().duration_since(last).as_secs(),
    };
    let mut pace = match config.speed {
        Speed::Max => Pace::Max,
        Speed::Times(times) => Pace::From { start: Instant::now(), first, times },
    };
    loop {
        publisher.progress.total.fetch_add(config.recording.header().messages, Ordering::Relaxed);
        let mut messages = read(&config.recording);
        while let Some(message) = messages.recv().await {
            let message = message?;
            if !publisher.wait_until(pace, message.t, moved_s, shutdown).await? {
                return Ok(());
            }
            let message = moved(message, moved_s, config, &mut publisher.summary)?;
            publisher.publish(message, shutdown).await?;
        }
        if !config.then_loop {
            return Ok(());
        }
        moved_s += period;
        pace = match config.history {
            History::EndingNow => Pace::Clock,
            History::AsRecorded => Pace::From { start: Instant::now(), first, times: 1.0 },
        };
    }
}

/// When a message is due.
#[derive(Clone, Copy)]
enum Pace {
    Max,
    /// `first` is due at `start`, the others after it at so many recorded seconds in a second.
    From {
        start: Instant,
        first: Timestamp,
        times: f64,
    },
    /// When the wall clock shows the message's moved time.
    Clock,
}

impl Pace {
    /// How long until a message is due; `None` when it is.
    fn wait(self, t: Timestamp, moved_s: i64) -> Option<Duration> {
        let wait = match self {
            Pace::Max => return None,
            Pace::From { start, first, times } => {
                let offset_s = t.duration_since(first).as_secs_f64() / times;
                // Beyond a century the clock's own range ends; the wait is cut by CLOCK_LOOK anyway.
                let due = start + Duration::from_secs_f64(offset_s.clamp(0.0, 3.2e9));
                due.checked_duration_since(Instant::now())?
            }
            Pace::Clock => {
                let due = t.saturating_add(SignedDuration::from_secs(moved_s)).ok()?;
                Duration::try_from(due.duration_since(Timestamp::now())).ok()?
            }
        };
        (!wait.is_zero()).then(|| wait.min(CLOCK_LOOK))
    }
}

/// Decompression blocks, so it has a thread of its own; dropping the receiver ends it.
fn read(recording: &Recording) -> mpsc::Receiver<anyhow::Result<Message>> {
    let (to, messages) = mpsc::channel(READ_AHEAD);
    let recording = recording.clone();
    tokio::task::spawn_blocking(move || match recording.read() {
        Ok(reader) => {
            for message in reader {
                if to.blocking_send(message.map_err(Into::into)).is_err() {
                    return;
                }
            }
        }
        Err(error) => {
            let _ = to.blocking_send(Err(error.into())); // nobody listens: nobody cares
        }
    });
    messages
}

fn moved(mut message: Message, by_s: i64, config: &Config, summary: &mut Summary) -> anyhow::Result<Message> {
    if by_s == 0 {
        return Ok(message);
    }
    let t = message.t.checked_add(SignedDuration::from_secs(by_s));
    message.t = t.with_context(|| format!("move {} by {by_s} s", message.t))?;
    let times = &config.recording.header().times;
    match shift::payload(&message.payload, &message.topic, times, by_s) {
        Some(payload) => message.payload = payload,
        None => summary.not_moved += 1,
    }
    Ok(message)
}

/// Keeps every message until it is acknowledged, over any number of connections.
struct Publisher {
    broker: Broker,
    protocol: Protocol,
    client_id: String,
    connection: Connection,
    /// Published and not acknowledged, oldest first, with a gap closed only at the front.
    window: VecDeque<Flight>,
    /// Connections since the last acknowledgement.
    fruitless: u32,
    progress: Arc<Progress>,
    summary: Summary,
}

struct Flight {
    message: Message,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Handed to the client, which has not named its packet id yet.
    Handed,
    Sent(u16),
    Acknowledged,
}

impl Publisher {
    async fn start(
        broker: Broker,
        protocol: Protocol,
        progress: Arc<Progress>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Publisher> {
        static REPLAYS: AtomicU64 = AtomicU64::new(0);
        let number = REPLAYS.fetch_add(1, Ordering::Relaxed);
        let client_id = format!("screenline-replay-{}-{number}", std::process::id());
        let give_up = Instant::now() + START_TIMEOUT;
        let (connection, protocol) = loop {
            match Connection::open(&broker, protocol, &client_id).await {
                Ok(opened) => break opened,
                Err(lost) if lost.kind == LostKind::Refused || give_up < Instant::now() => {
                    bail!("connect to the broker at {broker}: {}", lost.reason)
                }
                Err(_) => tokio::select! {
                    () = sleep(BACKOFF_FIRST) => {}
                    () = shutdown.cancelled() => bail!("stopped before the broker at {broker} was reached"),
                },
            }
        };
        info!(%broker, %protocol, "replay connected");
        let (window, summary) = (VecDeque::new(), Summary::default());
        Ok(Publisher { broker, protocol, client_id, connection, window, fruitless: 0, progress, summary })
    }

    /// True when the message is due, false when a shutdown came first. Acknowledgements are taken meanwhile.
    async fn wait_until(
        &mut self,
        pace: Pace,
        t: Timestamp,
        moved_s: i64,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<bool> {
        loop {
            if shutdown.is_cancelled() {
                return Ok(false);
            }
            let wait = pace.wait(t, moved_s);
            let full = self.window.len() >= usize::from(IN_FLIGHT_MAX);
            if wait.is_none() && !full {
                return Ok(true);
            }
            let due = wait.map(|wait| Instant::now() + wait);
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await, // only an acknowledgement makes room
                }
            };
            tokio::select! {
                event = self.connection.next() => self.take(event, shutdown).await?,
                () = timer => {}
                () = shutdown.cancelled() => return Ok(false),
            }
        }
    }

    async fn publish(&mut self, message: Message, shutdown: &CancellationToken) -> anyhow::Result<()> {
        self.progress.published.fetch_add(1, Ordering::Relaxed);
        self.progress.position.store(message.t.as_second(), Ordering::Relaxed);
        self.summary.published += 1;
        let handed = self.connection.publish(&message.topic, &message.payload);
        self.window.push_back(Flight { message, state: State::Handed });
        if let Err(error) = handed {
            let lost = Lost { reason: error.to_string(), kind: LostKind::Broken };
            self.reconnect(&lost, shutdown).await?;
        }
        Ok(())
    }

    /// Waits for all acknowledgements; after a shutdown at most [`STOP_TIMEOUT`].
    async fn settle(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let stop = async {
            shutdown.cancelled().await;
            sleep(STOP_TIMEOUT).await;
        };
        tokio::pin!(stop);
        // Reconnecting must go on during the five seconds, so it has a token of its own.
        let given_up = CancellationToken::new();
        while !self.window.is_empty() {
            let unacknowledged = self.window.len();
            let step = async {
                let event = self.connection.next().await;
                self.take(event, &given_up).await
            };
            tokio::select! {
                taken = step => taken?,
                () = &mut stop => {
                    warn!(unacknowledged, "replay stopped without the broker's acknowledgement");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn finish(self) -> Summary {
        self.connection.close().await;
        self.summary
    }

    async fn take(&mut self, event: Event, shutdown: &CancellationToken) -> anyhow::Result<()> {
        match event {
            Event::Sent(packet) => {
                // The client sends in the order of publishing.
                if let Some(flight) = self.window.iter_mut().find(|flight| flight.state == State::Handed) {
                    flight.state = State::Sent(packet);
                }
            }
            Event::Acknowledged(packet, refusal) => {
                let acknowledged = self.window.iter_mut().find(|flight| flight.state == State::Sent(packet));
                let Some(flight) = acknowledged else { return Ok(()) };
                if let Some(reason) = refusal {
                    bail!("the broker refuses a message on {}: {reason}", flight.message.topic);
                }
                flight.state = State::Acknowledged;
                self.fruitless = 0;
                self.summary.acknowledged += 1;
                self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
                while self.window.front().is_some_and(|flight| flight.state == State::Acknowledged) {
                    self.window.pop_front();
                }
            }
            Event::Received(_) => {} // nothing was subscribed to
            Event::Lost(lost) => self.reconnect(&lost, shutdown).await?,
        }
        Ok(())
    }

    /// Makes a new connection and sends again, in order, what is not acknowledged.
    async fn reconnect(&mut self, lost: &Lost, shutdown: &CancellationToken) -> anyhow::Result<()> {
        self.check_refusal(lost)?;
        let broker = &self.broker;
        let unacknowledged = self.window.len();
        warn!(%broker, reason = lost.reason, unacknowledged, "lost the broker, connecting again");
        let mut backoff = BACKOFF_FIRST;
        loop {
            tokio::select! {
                () = sleep(backoff) => {}
                () = shutdown.cancelled() => return Ok(()), // `settle` tries on for a while
            }
            backoff = BACKOFF_LAST.min(backoff * 2);
            match Connection::open(&self.broker, self.protocol, &self.client_id).await {
                Ok((connection, _)) => {
                    self.connection = connection;
                    break;
                }
                Err(lost) => self.check_refusal(&lost)?,
            }
        }
        self.window.retain(|flight| flight.state != State::Acknowledged);
        for flight in &mut self.window {
            self.connection.publish(&flight.message.topic, &flight.message.payload)?;
            flight.state = State::Handed;
            self.summary.sent_again += 1;
        }
        self.fruitless += 1;
        info!(broker = %self.broker, sent_again = self.window.len(), "replay connected again");
        Ok(())
    }

    fn check_refusal(&self, lost: &Lost) -> anyhow::Result<()> {
        if lost.kind == LostKind::Refused {
            bail!("the broker at {} refuses: {}", self.broker, lost.reason);
        }
        if self.fruitless >= FRUITLESS_MAX
            && let Some(Flight { message, .. }) = self.window.front()
        {
            bail!(
                "the broker at {} hung up {FRUITLESS_MAX} times on a message of {} bytes on {}: {}",
                self.broker,
                message.payload.len(),
                message.topic,
                lost.reason
            );
        }
        Ok(())
    }
}

//! Keeps every message until it is acknowledged, over any number of connections.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::connection::{Connection, Event, IN_FLIGHT_MAX, Lost, LostKind, Protocol};
use crate::recording::Message;
use crate::replay::{Progress, Summary};

/// How long a stop waits for the acknowledgements of what was sent.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the first connection may take: a broker may be starting beside us.
const START_TIMEOUT: Duration = Duration::from_secs(30);

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// Connections in a row that brought no acknowledgement. A broker that hangs up on one message would
/// otherwise be offered it for ever.
const FRUITLESS_MAX: u32 = 10;

/// Payload bytes that may be unacknowledged on a connection, but for the last message: they are held here and by the
/// client.
const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;

/// One connection at a time, made again when it is lost.
pub(crate) struct Publisher {
    broker: Broker,
    pub(crate) protocol: Protocol,
    client_id: String,
    connection: Connection,
    /// Published and not acknowledged, oldest first, with a gap closed only at the front.
    window: VecDeque<Flight>,
    /// Messages that have left the window on this connection: the number of the oldest in it.
    first: u64,
    /// The number of the first that the client has not named a packet id for: it sends in our order.
    unnamed: u64,
    /// Numbers by packet id.
    packets: HashMap<u16, u64>,
    /// Payload bytes in the window.
    bytes: usize,
    /// Connections since the last acknowledgement.
    fruitless: u32,
    progress: Arc<Progress>,
    pub(crate) summary: Summary,
}

struct Flight {
    message: Message,
    is_acknowledged: bool,
}

impl Publisher {
    pub(crate) async fn start(
        broker: Broker,
        protocol: Protocol,
        progress: Arc<Progress>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Publisher> {
        static FEEDS: AtomicU64 = AtomicU64::new(0);
        let number = FEEDS.fetch_add(1, Ordering::Relaxed);
        let client_id = format!("screenline-feed-{}-{number}-{:08x}", std::process::id(), fastrand::u32(..));
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
        info!(%broker, %protocol, "feed connected");
        Ok(Publisher {
            broker,
            protocol,
            client_id,
            connection,
            window: VecDeque::new(),
            first: 0,
            unnamed: 0,
            packets: HashMap::new(),
            bytes: 0,
            fruitless: 0,
            progress,
            summary: Summary::default(),
        })
    }

    /// True when the next message is due and there is room for it, false when a shutdown came first. `wait` says how long
    /// it is still to wait, `None` when it is due. Acknowledgements are taken meanwhile.
    pub(crate) async fn wait_until(
        &mut self,
        wait: impl Fn() -> Option<Duration>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<bool> {
        loop {
            if shutdown.is_cancelled() {
                return Ok(false);
            }
            let wait = wait();
            let full = self.window.len() >= usize::from(IN_FLIGHT_MAX) || self.bytes >= IN_FLIGHT_BYTES_MAX;
            if wait.is_none() && !full {
                return Ok(true);
            }
            let at = wait.map(|wait| Instant::now() + wait);
            let timer = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await, // only an acknowledgement makes room
                }
            };
            tokio::select! {
                event = self.connection.next() => self.take_all(event, shutdown).await?,
                () = timer => {}
                () = shutdown.cancelled() => return Ok(false),
            }
        }
    }

    /// Waits for what a lane brings next. Acknowledgements are taken meanwhile: the connection may be lost, and a pipe may
    /// be silent for long. `None` when the lane has ended or a shutdown came first.
    pub(crate) async fn while_idle<T>(
        &mut self,
        next: impl Future<Output = Option<T>>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<T>> {
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                next = &mut next => return Ok(next),
                () = shutdown.cancelled() => return Ok(None),
                event = self.connection.next() => self.take_all(event, shutdown).await?,
            }
        }
    }

    pub(crate) async fn publish(
        &mut self,
        message: Message,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.progress.published.fetch_add(1, Ordering::Relaxed);
        self.progress.position.store(message.t.as_second(), Ordering::Relaxed);
        self.summary.published += 1;
        let handed = self.connection.publish_recorded(&message);
        self.bytes += message.payload.len();
        self.window.push_back(Flight { message, is_acknowledged: false });
        if let Err(error) = handed {
            let lost = Lost { reason: error.to_string(), kind: LostKind::Broken };
            self.reconnect(&lost, shutdown).await?;
        }
        Ok(())
    }

    /// The oldest message that the broker has not acknowledged.
    pub(crate) fn oldest(&self) -> Option<&Message> {
        self.window.front().map(|flight| &flight.message)
    }

    /// Hangs up in the middle of what is sent, and connects again.
    pub(crate) async fn cut(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        // What is acknowledged already is not sent again, and a cut of ours is no fault of the broker's.
        while let Some(event) = self.connection.try_next() {
            self.take(event, shutdown).await?;
        }
        self.connection.cut();
        self.fruitless = 0;
        let lost = Lost { reason: "cut, as it was asked for".to_owned(), kind: LostKind::Broken };
        self.reconnect(&lost, shutdown).await
    }

    /// Waits for all acknowledgements; after a shutdown at most [`STOP_TIMEOUT`].
    pub(crate) async fn settle(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
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
                self.take_all(event, &given_up).await
            };
            tokio::select! {
                taken = step => taken?,
                () = &mut stop => {
                    warn!(unacknowledged, "feed stopped without the broker's acknowledgement");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn finish(self) -> Summary {
        self.connection.close().await;
        self.summary
    }

    /// Takes what has happened, and what has happened meanwhile.
    async fn take_all(&mut self, event: Event, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut next = Some(event);
        while let Some(event) = next {
            self.take(event, shutdown).await?;
            next = self.connection.try_next();
        }
        Ok(())
    }

    async fn take(&mut self, event: Event, shutdown: &CancellationToken) -> anyhow::Result<()> {
        match event {
            Event::Sent(packet) => {
                let number = self.unnamed;
                let at = (number - self.first) as usize;
                let Some(flight) = self.window.get(at) else { return Ok(()) };
                self.unnamed += 1;
                if flight.message.qos == 0 {
                    self.acknowledged(number); // nobody will say more about it
                } else {
                    self.packets.insert(packet, number);
                }
            }
            Event::Acknowledged(packet, refusal) => {
                let Some(number) = self.packets.remove(&packet) else { return Ok(()) };
                if let Some(reason) = refusal {
                    let flight = self.window.get((number - self.first) as usize);
                    let topic = flight.map_or("", |flight| flight.message.topic.as_str());
                    bail!("the broker refuses a message on {topic}: {reason}");
                }
                self.acknowledged(number);
            }
            Event::Received(_) => {} // nothing was subscribed to
            Event::Lost(lost) => self.reconnect(&lost, shutdown).await?,
        }
        Ok(())
    }

    fn acknowledged(&mut self, number: u64) {
        if let Some(flight) = self.window.get_mut((number - self.first) as usize) {
            flight.is_acknowledged = true;
        }
        self.fruitless = 0;
        self.summary.acknowledged += 1;
        self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        while let Some(flight) = self.window.pop_front_if(|flight| flight.is_acknowledged) {
            self.bytes -= flight.message.payload.len();
            self.first += 1;
        }
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
        self.window.retain(|flight| !flight.is_acknowledged);
        self.bytes = self.window.iter().map(|flight| flight.message.payload.len()).sum();
        self.packets.clear();
        (self.first, self.unnamed) = (0, 0);
        for flight in &self.window {
            self.connection.publish_recorded(&flight.message)?;
            self.summary.sent_again += 1;
        }
        self.fruitless += 1;
        info!(broker = %self.broker, sent_again = self.window.len(), "feed connected again");
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

//! The reference gateway: numbers messages, keeps them in a folder, and forgets them only when the city says that they are
//! committed. So nothing is lost when the broker, its disk, or this process is.
//!
//! ```text
//! input ──> spool (on disk, then numbered) ──> broker: gateway/NAME/<topic> at QoS 1
//!              └──<── forget ──<── screenline/ack/NAME: committed up to ...
//! ```
//!
//! It publishes what is not committed again after each new connection, and when the city's word does not move on. A full
//! spool takes nothing more: the input waits. A gateway in another language needs no more than this.

mod input;
mod spool;
mod stamp;

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::connection::{Connection, Event, IN_FLIGHT_MAX, Lost, LostKind, Protocol};

use input::Arrival;
pub use input::Input;
use spool::{Message, Spool};

/// Messages that become numbered by one flush to disk.
const GROUP: usize = 256;
/// Published and not yet committed. Beyond it the city is behind, and more in the broker helps nobody.
const AHEAD_MAX: u64 = 20_000;
/// How long a broker may take to tell what is committed, after which all is published that is not known to be.
const GREETING: Duration = Duration::from_secs(1);
/// Without progress for so long, what is not committed is published again; each time in vain it waits twice as long.
const RESEND_FIRST: Duration = Duration::from_secs(5);
const RESEND_LAST: Duration = Duration::from_secs(300);
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_LAST: Duration = Duration::from_secs(10);

/// How to run a gateway.
#[derive(Debug)]
pub struct Config {
    /// Its name: of its numbers, its topics, and its login where it has one.
    pub name: String,
    pub spool: PathBuf,
    /// What the spool may hold; at least 16 MiB.
    pub spool_bytes_max: u64,
    pub broker: Broker,
    pub protocol: Protocol,
    pub input: Input,
}

/// What a gateway did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Messages taken and numbered by this run.
    pub taken: u64,
    /// Messages handed to the broker, each time counted.
    pub published: u64,
    /// The city has committed every message up to this number.
    pub committed: u64,
    /// Messages that are kept and not committed.
    pub kept: u64,
}

/// What the city says on the topic of a gateway.
#[derive(Debug, Deserialize)]
struct Acknowledgement {
    epoch: i64,
    /// Every number up to it is committed.
    committed: u64,
    #[serde(default)]
    rejected: u64,
}

/// Takes messages until the input ends and all of it is committed, or until `shutdown`: what is kept then is published by
/// the next run.
///
/// # Errors
/// The spool cannot be used, or the broker refuses us or a message.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<Summary> {
    ensure!(
        is_name(&config.name),
        "{:?} is no name for a gateway: 1 to 64 letters, digits, dots, dashes and underscores",
        config.name
    );
    let now = Timestamp::now().as_second();
    let spool = Spool::open(&config.spool, &config.name, now, config.spool_bytes_max)?;
    info!(
        gateway = config.name,
        epoch = spool.epoch(),
        kept = spool.last() - spool.committed(),
        "spool opened"
    );
    let input = input::start(config.input, &config.name);
    let mut gateway = Gateway::new(config.name, config.broker, config.protocol, spool, input);
    tokio::select! {
        outcome = gateway.work() => outcome?,
        () = shutdown.cancelled() => {}
    }
    if let Line::Open(open) = gateway.line {
        open.connection.close().await;
    }
    let kept = gateway.spool.last() - gateway.spool.committed();
    Ok(Summary { committed: gateway.spool.committed(), kept, ..gateway.summary })
}

/// What may name a gateway: a level of a topic, a login, and nothing that means something to either.
pub fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

struct Gateway {
    name: String,
    broker: Broker,
    protocol: Protocol,
    spool: Spool,
    input: mpsc::Receiver<anyhow::Result<Arrival>>,
    /// Came and found no room in the spool.
    waiting: Vec<Arrival>,
    input_ended: bool,
    line: Line,
    reconnect_wait: Duration,
    resend_wait: Duration,
    /// What the city refused so far.
    rejected: u64,
    summary: Summary,
}

enum Line {
    Down { until: Instant },
    Dialling(JoinHandle<Result<(Connection, Protocol), Lost>>),
    Open(Open),
}

struct Open {
    connection: Connection,
    /// The number that is published next.
    next: u64,
    /// Handed over and not acknowledged by the broker.
    in_flight: u16,
    /// Until then the city's word is waited for.
    greeting: Option<Instant>,
    /// When to publish again what is not committed.
    resend: Instant,
}

impl Gateway {
    fn new(
        name: String,
        broker: Broker,
        protocol: Protocol,
        spool: Spool,
        input: mpsc::Receiver<anyhow::Result<Arrival>>,
    ) -> Gateway {
        Gateway {
            name,
            broker,
            protocol,
            spool,
            input,
            waiting: Vec::new(),
            input_ended: false,
            line: Line::Down { until: Instant::now() },
            reconnect_wait: RECONNECT_FIRST,
            resend_wait: RESEND_FIRST,
            rejected: 0,
            summary: Summary::default(),
        }
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        while !self.is_done() {
            let takes = self.waiting.is_empty() && !self.input_ended;
            tokio::select! {
                arrival = self.input.recv(), if takes => self.arrived(arrival)?,
                happened = self.line.next() => self.take(happened)?,
            }
            self.keep()?;
            self.publish()?;
        }
        Ok(())
    }

    /// Takes what came, and what else is there already.
    fn arrived(&mut self, first: Option<anyhow::Result<Arrival>>) -> anyhow::Result<()> {
        let Some(first) = first else {
            self.input_ended = true;
            return Ok(());
        };
        self.waiting.push(first?);
        while self.waiting.len() < GROUP
            && let Ok(next) = self.input.try_recv()
        {
            self.waiting.push(next?);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.input_ended && self.waiting.is_empty() && self.spool.committed() == self.spool.last()
    }

    /// Puts what came into the spool, as much as there is room for, and tells the input that it is kept. Blocks for a
    /// flush to disk, which takes milliseconds; connections have tasks of their own.
    fn keep(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let messages: Vec<Message> = self.waiting.iter().map(|arrival| arrival.message.clone()).collect();
        let taken = self.spool.append(&messages)?;
        self.summary.taken += taken as u64;
        self.waiting.drain(..taken).for_each(Arrival::kept);
        Ok(())
    }

    fn take(&mut self, happened: Happened) -> anyhow::Result<()> {
        match happened {
            Happened::Due => {
                let (broker, protocol) = (self.broker.clone(), self.protocol);
                let client_id = format!("{}-gateway", self.name);
                let dial = async move { Connection::open(&broker, protocol, &client_id).await };
                self.line = Line::Dialling(tokio::spawn(dial));
            }
            Happened::Opened(connection) => {
                info!(gateway = self.name, broker = %self.broker, "connected");
                // An error is followed by the loss of the connection.
                let _ = connection.subscribe(&format!("screenline/ack/{}", self.name));
                let now = Instant::now();
                self.line = Line::Open(Open {
                    connection,
                    next: self.spool.committed() + 1,
                    in_flight: 0,
                    greeting: Some(now + GREETING),
                    resend: now + self.resend_wait,
                });
            }
            Happened::Lost(Lost { reason, kind: LostKind::Refused }) => {
                bail!("the broker {} refuses us: {reason}", self.broker)
            }
            Happened::Lost(lost) => {
                warn!(gateway = self.name, broker = %self.broker, reason = lost.reason, "no connection, will retry");
                self.line = Line::Down { until: Instant::now() + self.reconnect_wait };
                self.reconnect_wait = (2 * self.reconnect_wait).min(RECONNECT_LAST);
            }
            Happened::Acknowledged(refusal) => {
                self.reconnect_wait = RECONNECT_FIRST;
                if let Some(reason) = refusal {
                    bail!("the broker refuses a message below gateway/{}: {reason}", self.name);
                }
            }
            Happened::Committed(payload) => self.committed(&payload)?,
            Happened::StandsStill => {
                info!(
                    gateway = self.name,
                    committed = self.spool.committed(),
                    "the city's word stands still, publishing again"
                );
                self.resend_wait = (2 * self.resend_wait).min(RESEND_LAST);
                if let Line::Open(open) = &mut self.line {
                    open.next = self.spool.committed() + 1;
                    open.resend = Instant::now() + self.resend_wait;
                }
            }
            Happened::Other => {}
        }
        Ok(())
    }

    /// Takes the city's word.
    fn committed(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let said: Acknowledgement = match serde_json::from_slice(payload) {
            Ok(said) => said,
            Err(error) => {
                warn!(gateway = self.name, %error, "cannot read what the city says on our topic");
                return Ok(());
            }
        };
        let Line::Open(open) = &mut self.line else { return Ok(()) };
        open.greeting = None;
        if self.spool.epoch() < said.epoch {
            warn!(
                gateway = self.name,
                ours = self.spool.epoch(),
                epoch = said.epoch,
                "another gateway has our name and a younger spool: nothing of ours can be acknowledged"
            );
        }
        if said.epoch != self.spool.epoch() {
            return Ok(()); // of the numbers before ours
        }
        if self.spool.last() < said.committed {
            warn!(
                gateway = self.name,
                ours = self.spool.last(),
                committed = said.committed,
                "the city knows more of our messages than we do: does another gateway have our name?"
            );
        }
        if self.rejected < said.rejected {
            warn!(
                gateway = self.name,
                rejected = said.rejected,
                "the city refused something in messages of ours: see `screenline rejected list`"
            );
            self.rejected = said.rejected;
        }
        if self.spool.committed() < said.committed {
            self.spool.forget(said.committed)?;
            open.next = open.next.max(self.spool.committed() + 1);
            self.resend_wait = RESEND_FIRST;
            open.resend = Instant::now() + self.resend_wait;
        }
        Ok(())
    }

    /// Hands over as much as may be on its way.
    fn publish(&mut self) -> anyhow::Result<()> {
        let Line::Open(open) = &mut self.line else { return Ok(()) };
        if open.greeting.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        open.greeting = None;
        while open.in_flight < IN_FLIGHT_MAX && open.next <= self.spool.committed() + AHEAD_MAX {
            let Some(message) = self.spool.read(open.next)? else { break };
            let stamp = stamp::Stamp { source: &self.name, epoch: self.spool.epoch(), seq: open.next };
            let topic = format!("gateway/{}/{}", self.name, message.topic);
            let payload = stamp.payload(&message.payload);
            if open.connection.publish_with(&topic, &payload, true, stamp.properties()).is_err() {
                break; // the connection is lost, and says so next
            }
            open.next += 1;
            open.in_flight += 1;
            self.summary.published += 1;
        }
        if self.spool.committed() + 1 == open.next {
            // Nothing is on its way: the wait begins with the next message.
            open.resend = Instant::now() + self.resend_wait;
        }
        Ok(())
    }
}

/// What happens on the way to the broker.
enum Happened {
    /// It is time to dial.
    Due,
    Opened(Connection),
    Lost(Lost),
    /// By the broker, or not, with its reason.
    Acknowledged(Option<String>),
    Committed(Vec<u8>),
    StandsStill,
    Other,
}

impl Line {
    /// Cancel safe.
    async fn next(&mut self) -> Happened {
        match self {
            Line::Down { until } => {
                sleep_until(*until).await;
                Happened::Due
            }
            Line::Dialling(dialling) => match dialling.await {
                Ok(Ok((connection, _))) => Happened::Opened(connection),
                Ok(Err(lost)) => Happened::Lost(lost),
                Err(error) => Happened::Lost(Lost { reason: error.to_string(), kind: LostKind::Broken }),
            },
            Line::Open(open) => {
                let greeted = async {
                    match open.greeting {
                        Some(until) => sleep_until(until).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    event = open.connection.next() => match event {
                        Event::Acknowledged(_, refusal) => {
                            open.in_flight = open.in_flight.saturating_sub(1);
                            Happened::Acknowledged(refusal)
                        }
                        Event::Received(payload) => Happened::Committed(payload),
                        Event::Lost(lost) => Happened::Lost(lost),
                        Event::Sent(_) => Happened::Other,
                    },
                    () = greeted => Happened::Other,
                    () = sleep_until(open.resend) => Happened::StandsStill,
                }
            }
        }
    }
}

//! Publishes a plan, over any number of lost connections, and writes down what happens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::ledger::Ledger;
use crate::broker::Broker;
use crate::connection::{Connection, Event, IN_FLIGHT_MAX, Lost};
use crate::replay::Protocol;

/// How long a publisher keeps a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until the broker acknowledges it, as any client does.
    Taken,
    /// Until `screenline/ack/<source>` passes its number, as a gateway does that outlives its broker's disk.
    Committed,
}

/// Where to publish, and how.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub broker_url: String,
    pub protocol: Protocol,
    /// Messages a second; as fast as the broker takes them where there is none.
    pub rate: Option<f64>,
    pub keep: Keep,
}

/// Messages written down and sent in one go: one flush to disk for all.
const GROUP: usize = 64;
/// Between looks at the clock while a rate is kept.
const TICK: Duration = Duration::from_millis(5);
/// A broker that is being started again refuses connections for so long at a time.
const RECONNECT: Duration = Duration::from_millis(100);
/// Messages are sent again so often without a number more being committed.
const TRIES_MAX: u32 = 15;
/// The acknowledgement topic stands still for so long before what it has not passed is sent again.
const COMMIT_PATIENCE: Duration = Duration::from_secs(3);

impl Publisher {
    pub fn new(broker_url: &str) -> Publisher {
        Publisher {
            broker_url: broker_url.to_owned(),
            protocol: Protocol::Auto,
            rate: None,
            keep: Keep::Taken,
        }
    }

    /// Publishes everything but the last message, and returns when all of it was taken (or committed).
    ///
    /// # Errors
    /// The broker's address is wrong, or the ledger cannot be written. A broker that is away is waited for, without end.
    pub async fn publish(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let all = &ledger.plan.sends;
        self.send(ledger, &all[..all.len().saturating_sub(1)]).await
    }

    /// Publishes the last message, the fresh one.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_fresh(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let all = &ledger.plan.sends;
        self.send(ledger, &all[all.len().saturating_sub(1)..]).await
    }

    async fn send(&self, ledger: &Ledger, messages: &[u32]) -> anyhow::Result<()> {
        let broker = Broker::parse(&self.broker_url)?;
        let mut line = Line::connect(self, &broker, ledger, "").await;
        line.send(messages).await?;
        if self.keep == Keep::Committed {
            let committed = Committed::of(self, ledger)?;
            let mut last = 0;
            let mut tries = 0;
            while let Some((late, moved_to)) = committed.late(ledger, messages).await {
                tries = if moved_to == last { tries + 1 } else { 0 };
                last = moved_to;
                ensure!(
                    tries < TRIES_MAX,
                    "the acknowledgement topics stand still: {} messages that the broker took are not committed",
                    late.len()
                );
                line.send(&late).await?;
            }
        }
        line.connection.close().await;
        Ok(())
    }
}

/// A connection and what is unacknowledged on it.
struct Line<'l> {
    publisher: &'l Publisher,
    broker: &'l Broker,
    ledger: &'l Ledger,
    client_id: String,
    connection: Connection,
    window: VecDeque<Flight>,
    /// Taken by the broker and not yet written down.
    taken: Vec<u32>,
}

struct Flight {
    message: u32,
    /// Known once the client sent it, in the order of publishing.
    packet: Option<u16>,
}

impl<'l> Line<'l> {
    async fn connect(
        publisher: &'l Publisher,
        broker: &'l Broker,
        ledger: &'l Ledger,
        role: &str,
    ) -> Line<'l> {
        let client_id = format!("oracle-{}{role}", ledger.plan.load.source);
        let connection = connect(broker, publisher.protocol, &client_id).await;
        Line { publisher, broker, ledger, client_id, connection, window: VecDeque::new(), taken: Vec::new() }
    }

    /// Until all of them were taken, or sent where nobody says so (QoS 0).
    async fn send(&mut self, messages: &[u32]) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut next = 0;
        while next < messages.len() || !self.window.is_empty() {
            let due = match self.publisher.rate {
                Some(rate) => (started.elapsed().as_secs_f64() * rate) as usize,
                None => messages.len(),
            };
            let room = usize::from(IN_FLIGHT_MAX) - self.window.len();
            let group = due.min(messages.len()).saturating_sub(next).min(room).min(GROUP);
            if 0 < group {
                self.hand_over(&messages[next..next + group]).await?;
                next += group;
            }
            // Everything that happened meanwhile; waits only where there is nothing to send.
            let mut wait = if 0 < group { Duration::ZERO } else { TICK };
            while self.taken.len() < GROUP
                && let Ok(event) = timeout(wait, self.connection.next()).await
            {
                self.take(event).await?;
                wait = Duration::ZERO;
            }
            self.write_down()?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, messages: &[u32]) -> anyhow::Result<()> {
        self.ledger.sent(messages)?;
        for message in messages {
            let handed = self.publish(*message);
            self.window.push_back(Flight { message: *message, packet: None });
            if handed.is_err() {
                self.reconnect().await?;
            }
        }
        Ok(())
    }

    fn publish(&self, message: u32) -> anyhow::Result<()> {
        let load = &self.ledger.plan.load;
        let message = &self.ledger.plan.messages[message as usize];
        let properties = match &message.number {
            Some(number) if load.numbers != super::Numbers::Payload => number.properties(),
            _ => Vec::new(),
        };
        self.connection.publish_with(&message.topic, &message.payload, !load.qos0, properties)
    }

    async fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Sent(_) if self.ledger.plan.load.qos0 => drop(self.window.pop_front()),
            Event::Sent(packet) => {
                if let Some(flight) = self.window.iter_mut().find(|flight| flight.packet.is_none()) {
                    flight.packet = Some(packet);
                }
            }
            Event::Acknowledged(packet, refusal) => {
                let position = self.window.iter().position(|flight| flight.packet == Some(packet));
                let flight = position.and_then(|position| self.window.remove(position));
                // A broker that is full says so: the message stays ours.
                match (flight, refusal) {
                    (Some(flight), None) => self.taken.push(flight.message),
                    (Some(flight), Some(_)) => {
                        sleep(RECONNECT).await;
                        self.hand_over_again(flight.message)?;
                    }
                    (None, _) => {}
                }
            }
            Event::Received(_) => {}
            Event::Lost(_) => self.reconnect().await?,
        }
        Ok(())
    }

    fn hand_over_again(&mut self, message: u32) -> anyhow::Result<()> {
        self.ledger.sent(&[message])?;
        // An error is followed by the loss of the connection, after which all of the window is sent again.
        let _ = self.publish(message);
        self.window.push_back(Flight { message, packet: None });
        Ok(())
    }

    /// Makes a new connection and sends again, in order, what was not taken.
    async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.write_down()?;
        'connection: loop {
            sleep(RECONNECT).await;
            self.connection = connect(self.broker, self.publisher.protocol, &self.client_id).await;
            let again: Vec<u32> = self.window.iter().map(|flight| flight.message).collect();
            if self.ledger.plan.load.qos0 {
                self.window.clear(); // at most once
                return Ok(());
            }
            self.ledger.sent(&again)?;
            for flight in &mut self.window {
                flight.packet = None;
            }
            for message in again {
                if self.publish(message).is_err() {
                    continue 'connection;
                }
            }
            return Ok(());
        }
    }

    fn write_down(&mut self) -> anyhow::Result<()> {
        if self.taken.is_empty() { Ok(()) } else { self.ledger.taken(&std::mem::take(&mut self.taken)) }
    }
}

async fn connect(broker: &Broker, protocol: Protocol, client_id: &str) -> Connection {
    loop {
        match Connection::open(broker, protocol, client_id).await {
            Ok((connection, _)) => return connection,
            Err(Lost { .. }) => sleep(RECONNECT).await,
        }
    }
}

/// Follows the acknowledgement topics of a load's publishers.
pub(super) struct Committed {
    /// The highest contiguous number that committed, by source.
    pub up_to: watch::Receiver<BTreeMap<String, i64>>,
    following: Vec<tokio::task::JoinHandle<()>>,
}

impl Committed {
    /// # Errors
    /// The broker's address is wrong.
    pub fn of(publisher: &Publisher, ledger: &Ledger) -> anyhow::Result<Committed> {
        let broker = Broker::parse(&publisher.broker_url)?;
        let (to, up_to) = watch::channel(BTreeMap::new());
        let to = Arc::new(to);
        let load = &ledger.plan.load;
        let follow = |source: String| {
            let (to, broker, protocol) = (to.clone(), broker.clone(), publisher.protocol);
            tokio::spawn(async move {
                // A number of its own: a witness and a publisher may follow the same topic.
                static FOLLOWERS: AtomicU64 = AtomicU64::new(0);
                let number = FOLLOWERS.fetch_add(1, Ordering::Relaxed);
                let client_id = format!("oracle-{source}-{}-{number}", std::process::id());
                loop {
                    let mut connection = connect(&broker, protocol, &client_id).await;
                    if connection.subscribe(&format!("screenline/ack/{source}")).is_err() {
                        continue;
                    }
                    loop {
                        match connection.next().await {
                            Event::Received(payload) => {
                                if let Ok(committed) = committed(&payload) {
                                    to.send_modify(|up_to| {
                                        up_to.insert(source.clone(), committed);
                                    });
                                }
                            }
                            Event::Lost(_) => break,
                            _ => {}
                        }
                    }
                }
            })
        };
        let following = [load.source.clone(), load.echo_source()].into_iter().map(follow).collect();
        Ok(Committed { up_to, following })
    }

    /// Waits until everything is committed (`None`), or nothing moves: then says what must be sent again, and the sum of
    /// what was committed.
    async fn late(&self, ledger: &Ledger, messages: &[u32]) -> Option<(Vec<u32>, i64)> {
        let mut up_to = self.up_to.clone();
        loop {
            let late: Vec<u32> = {
                let up_to = up_to.borrow_and_update();
                let is_late = |message: &&u32| {
                    let number = ledger.plan.messages[**message as usize].number.as_ref();
                    number.is_some_and(|n| up_to.get(&*n.source).copied().unwrap_or(0) < n.seq)
                };
                messages.iter().filter(is_late).copied().collect()
            };
            if late.is_empty() {
                return None;
            }
            if timeout(COMMIT_PATIENCE, up_to.changed()).await.is_err() {
                let moved_to = self.up_to.borrow().values().sum();
                return Some((late, moved_to));
            }
        }
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        self.following.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn committed(payload: &[u8]) -> anyhow::Result<i64> {
    let said: Value = serde_json::from_slice(payload)?;
    said["committed"].as_i64().context("`committed` in an acknowledgement")
}

//! The task that polls the connection and does nothing else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use processor::{faults::point, mapping::Mapping, model::Message, service::Backoff};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    address::Address,
    config::{Config, Protocol},
    gate::Gate,
    session::{self, Choice, Incoming, KEPT, Lost, Sender},
};

/// Taken beside the mapped topics, so that a sensor without a mapping becomes a rejection and not a silence.
const ALWAYS: [&str; 2] = ["city/#", "gateway/#"];

/// A connection that lived so long was not taken from us at once, as by another process under our client id.
const STEADY: Duration = Duration::from_secs(30);

/// The topics that we ask for, as the mapping wants them now.
pub struct Subscriptions {
    config: Config,
    gate: Arc<Gate>,
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    wanted: Vec<String>,
    /// Asked for by an earlier mapping: the broker's session keeps them until it is told.
    unwanted: Vec<String>,
}

impl Subscriptions {
    /// # Errors
    /// The mapping cannot be shared as the settings say.
    pub fn new(config: &Config, mapping: &Mapping, gate: Arc<Gate>) -> anyhow::Result<Self> {
        let topics = Topics { wanted: config.filters(mapping, &ALWAYS)?, unwanted: Vec::new() };
        Ok(Subscriptions { config: config.clone(), gate, topics: Mutex::new(topics) })
    }

    /// The topics of another mapping.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(&self, mapping: &Mapping) -> anyhow::Result<Vec<String>> {
        self.config.filters(mapping, &ALWAYS)
    }

    /// Asks for other topics from now on, on the present connection and on those to come.
    pub fn replace(&self, filters: Vec<String>) {
        let mut topics = self.topics();
        let new: Vec<String> = filters.iter().filter(|new| !topics.wanted.contains(new)).cloned().collect();
        let old = std::mem::replace(&mut topics.wanted, filters);
        topics.unwanted.extend(old);
        let Topics { wanted, unwanted } = &mut *topics;
        unwanted.retain(|old| !wanted.contains(old));
        // Where there is no room, or no connection, the next connection asks for all.
        let Some(sender) = self.gate.sender() else { return };
        if !new.is_empty() && sender.subscribe(&new).is_err() {
            sender.give_up();
            return;
        }
        if sender.unsubscribe(unwanted).is_ok() {
            unwanted.clear();
        }
    }

    fn ask(&self, sender: &Sender) -> anyhow::Result<()> {
        let mut topics = self.topics();
        sender.subscribe(&topics.wanted)?;
        sender.unsubscribe(&topics.unwanted)?;
        topics.unwanted.clear();
        Ok(())
    }

    fn wanted(&self) -> Vec<String> {
        self.topics().wanted.clone()
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a subscribed connection to the broker for as long as the service lives.
pub struct Subscriber {
    address: Address,
    client_id: String,
    protocol: Protocol,
    subscriptions: Arc<Subscriptions>,
    gate: Arc<Gate>,
}

impl Subscriber {
    pub fn new(config: &Config, subscriptions: Arc<Subscriptions>, gate: Arc<Gate>) -> anyhow::Result<Self> {
        Ok(Subscriber {
            address: config.broker()?,
            client_id: config.client_id.clone(),
            protocol: config.broker_protocol,
            subscriptions,
            gate,
        })
    }

    /// Polls, and connects again when a connection is lost. From `draining` on nothing new is taken in, while the last
    /// acknowledgements still leave; ends when the goodbye left, or at `stop`.
    pub async fn run(self, draining: CancellationToken, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut choice = Choice::new(self.protocol);
        while !stop.is_cancelled() {
            let (sender, receiver) = session::connect(&self.address, &self.client_id, KEPT, choice.version());
            let sender = Arc::new(sender);
            tokio::select! {
                () = self.gate.connecting(sender.clone()) => {}
                () = draining.cancelled() => return,
            }
            let opened = Instant::now();
            let polling = self.poll(&sender, receiver, &mut choice);
            let lost = tokio::select! {
                // Dropping the poll here is the end of this connection, so nothing can be lost inside it.
                () = stop.cancelled() => return,
                ended = polling => ended,
            };
            self.gate.lost();
            if STEADY < opened.elapsed() {
                backoff.reset();
            }
            let Err(lost) = lost else { return };
            if draining.is_cancelled() {
                return; // nothing left to send on a connection that is gone
            }
            metrics::counter!("screenline_broker_connections_lost_total").increment(1);
            if choice.turn(&lost) {
                info!(broker = %self.address, version = ?choice.version(), "the broker refused, trying the other MQTT version");
            } else {
                warn!(broker = %self.address, error = %lost, "connection to the broker is down, will retry");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_wait()) => {}
                () = draining.cancelled() => return,
            }
        }
    }

    async fn poll(
        &self,
        sender: &Sender,
        mut receiver: session::Receiver,
        choice: &mut Choice,
    ) -> Result<(), Lost> {
        let lost = |error: &dyn std::fmt::Display| Lost::Other(error.to_string());
        loop {
            match receiver.poll().await? {
                Incoming::Connected { session_present, .. } => {
                    info!(broker = %self.address, session_present, "connected");
                    choice.settle();
                    let greeting = self.gate.connected(session_present);
                    if greeting.forgotten {
                        metrics::counter!("screenline_broker_sessions_lost_total").increment(1);
                        warn!(broker = %self.address, "the broker forgot our session, and with it what waited there");
                    }
                    if greeting.subscribe {
                        self.subscriptions.ask(sender).map_err(|error| lost(&error))?;
                    }
                }
                Incoming::Subscribed { granted: true } => {
                    info!(filters = ?self.subscriptions.wanted(), "subscribed");
                    self.gate.subscribed();
                }
                Incoming::Subscribed { granted: false } => {
                    error!(filters = ?self.subscriptions.wanted(), "the broker does not grant QoS 1 on every topic: check its access rules");
                    return Err(Lost::Other("subscription refused".to_owned()));
                }
                Incoming::Published { topic, payload, retained, packet, number } => {
                    point("ingest.received").await.map_err(|error| lost(&error))?;
                    let received_at = Timestamp::now().into();
                    let message = Message { topic, payload, received_at, retained, number };
                    self.gate.take_in(message, packet, sender).await.map_err(|error| lost(&error))?;
                }
                Incoming::Disconnected => return Ok(()),
                Incoming::Acknowledged { .. } | Incoming::Other => {}
            }
        }
    }
}

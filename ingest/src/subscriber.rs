//! The task that polls the connection and does nothing else.

use std::{
    sync::Arc,
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

/// Keeps a subscribed connection to the broker for as long as the service lives.
pub struct Subscriber {
    address: Address,
    client_id: String,
    protocol: Protocol,
    filters: Vec<String>,
    gate: Arc<Gate>,
}

impl Subscriber {
    pub fn new(config: &Config, mapping: &Mapping, gate: Arc<Gate>) -> anyhow::Result<Self> {
        Ok(Subscriber {
            address: config.broker()?,
            client_id: config.client_id.clone(),
            protocol: config.broker_protocol,
            filters: config.filters(mapping.subscriptions(&ALWAYS)),
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
                        sender.subscribe(&self.filters).map_err(|error| lost(&error))?;
                    }
                }
                Incoming::Subscribed { granted: true } => {
                    info!(filters = ?self.filters, "subscribed");
                    self.gate.subscribed();
                }
                Incoming::Subscribed { granted: false } => {
                    error!(filters = ?self.filters, "the broker does not grant QoS 1 on every topic: check its access rules");
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

//! The task that polls the connection, and the budget that keeps it from taking more than we can hold.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use processor::{mapping::Mapping, model::Message, service::Backoff};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::{Config, Protocol},
    metrics::Gauges,
    session::{self, Address, Incoming, Lost, Sender, Version},
};

/// Bytes received and not yet acknowledged: ten seconds of a city at 6 MB/s. When it is spent the socket is not read,
/// and the broker, which is our spool, keeps the rest.
pub const BUDGET_BYTES: u32 = 64 << 20;
/// What a message costs beside its payload: topic, bookkeeping, allocator.
const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// Messages between the polling task and the batcher: a few batches; the budget is the real bound.
const ARRIVALS_MAX: usize = 16_384;
/// Taken beside the mapped topics, so that a sensor without a mapping becomes a rejection and not a silence.
const ALWAYS: [&str; 1] = ["city/#"];

/// A message and what it takes to acknowledge it.
#[derive(Debug)]
pub struct Arrival {
    pub message: Message,
    pub receipt: Receipt,
}

/// Stands for one delivery on one connection.
#[derive(Debug)]
pub struct Receipt {
    sender: Arc<Sender>,
    packet: Option<u16>,
    permit: Option<OwnedSemaphorePermit>,
    gauges: Arc<Gauges>,
}

/// Acknowledges deliveries, in order of arrival, and gives their share of the budget back.
pub fn acknowledge(receipts: Vec<Receipt>) {
    for receipt in receipts {
        if let Some(packet) = receipt.packet {
            receipt.sender.acknowledge(packet);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.gauges.gone(self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    }
}

/// Keeps a subscribed connection to the broker for as long as the service lives.
#[derive(Clone)]
pub struct Subscriber {
    address: Address,
    protocol: Protocol,
    filters: Arc<[String]>,
    budget: Arc<Semaphore>,
    arrivals: mpsc::Sender<Arrival>,
    gauges: Arc<Gauges>,
    subscribed: watch::Sender<bool>,
    current: Arc<Mutex<Option<Arc<Sender>>>>,
}

impl Subscriber {
    pub fn new(
        config: &Config,
        mapping: &Mapping,
        gauges: Arc<Gauges>,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Arrival>)> {
        let (arrivals, receiver) = mpsc::channel(ARRIVALS_MAX);
        let subscriber = Subscriber {
            address: Address::parse(&config.broker_url, &config.client_id)?,
            protocol: config.broker_protocol,
            filters: mapping.subscriptions(&ALWAYS).into(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES as usize)),
            arrivals,
            gauges,
            subscribed: watch::Sender::new(false),
            current: Arc::default(),
        };
        Ok((subscriber, receiver))
    }

    pub fn subscribed(&self) -> watch::Receiver<bool> {
        self.subscribed.subscribe()
    }

    /// Says goodbye to the broker, which keeps the session.
    pub fn disconnect(&self) {
        if let Some(sender) = &*self.current() {
            sender.disconnect();
        }
    }

    /// Polls, and connects again when a connection is lost. From `draining` on nothing new is taken in, while the last
    /// acknowledgements still leave; ends when the goodbye left, or at `stop`.
    pub async fn run(self, draining: CancellationToken, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut version = if self.protocol == Protocol::V311 { Version::V311 } else { Version::V5 };
        let mut ever_connected = false;
        while !stop.is_cancelled() {
            let (sender, receiver) = session::connect(&self.address, version);
            let sender = Arc::new(sender);
            *self.current() = Some(sender.clone());
            let polling = self.poll(&sender, receiver, &mut ever_connected, &mut backoff, &draining);
            let lost = tokio::select! {
                // Dropping the poll here is the end of this connection, so nothing can be lost inside it.
                () = stop.cancelled() => return,
                ended = polling => ended,
            };
            *self.current() = None;
            self.subscribed.send_replace(false);
            let Err(lost) = lost else { return };
            if draining.is_cancelled() {
                return; // nothing left to send on a connection that is gone
            }
            metrics::counter!("screenline_broker_connections_lost_total").increment(1);
            // Until one version worked: a broker that hangs up while it starts must not settle the matter.
            let refused = matches!(lost, Lost::Version(_)) || version == Version::V311;
            if self.protocol == Protocol::Auto && !ever_connected && refused {
                version = if version == Version::V5 { Version::V311 } else { Version::V5 };
                info!(broker = %self.address, ?version, "the broker refused, trying the other MQTT version");
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
        sender: &Arc<Sender>,
        mut receiver: session::Receiver,
        ever_connected: &mut bool,
        backoff: &mut Backoff,
        draining: &CancellationToken,
    ) -> Result<(), Lost> {
        loop {
            match receiver.poll().await? {
                Incoming::Connected { session_present } => {
                    info!(broker = %self.address, session_present, "connected");
                    *ever_connected = true;
                    backoff.reset();
                    // Always: the mapping may ask for other topics than the session kept.
                    sender.subscribe(&self.filters).map_err(|error| Lost::Other(error.to_string()))?;
                }
                Incoming::Subscribed { granted: true } => {
                    info!(filters = ?self.filters, "subscribed");
                    self.subscribed.send_replace(true);
                }
                Incoming::Subscribed { granted: false } => {
                    error!(filters = ?self.filters, "the broker does not grant QoS 1 on every topic: check its access rules");
                    return Err(Lost::Other("subscription refused".to_owned()));
                }
                Incoming::Published { topic, payload, retained, packet, number } => {
                    let received_at = Timestamp::now().into();
                    let message = Message { topic, payload, received_at, retained, number };
                    self.take_in(sender, message, packet, draining).await;
                    if sender.is_given_up() {
                        return Err(Lost::Other(
                            "more acknowledgements than a connection can have".to_owned(),
                        ));
                    }
                }
                Incoming::Disconnected => return Ok(()),
                Incoming::Other => {}
            }
        }
    }

    async fn take_in(
        &self,
        sender: &Arc<Sender>,
        message: Message,
        packet: Option<u16>,
        draining: &CancellationToken,
    ) {
        let bytes = message.payload.len() + message.topic.len() + MESSAGE_OVERHEAD_BYTES;
        let bytes = bytes.min(BUDGET_BYTES as usize) as u32;
        let taking = async {
            // Closed never: the permit is always there.
            let permit = self.budget.clone().acquire_many_owned(bytes).await.ok();
            self.gauges.arrived(bytes as usize);
            let receipt = Receipt { sender: sender.clone(), packet, permit, gauges: self.gauges.clone() };
            // Fails only while draining: the broker keeps what is not acknowledged.
            let _ = self.arrivals.send(Arrival { message, receipt }).await;
        };
        tokio::select! {
            biased;
            () = draining.cancelled() => {}
            () = sender.given_up() => {}
            () = taking => {}
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Arc<Sender>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

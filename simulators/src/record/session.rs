//! The subscription at the broker, over either of rumqttc's clients.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{anyhow, bail};
use jiff::Timestamp;
use rumqttc::{NetworkOptions, QoS, SubscribeFilter, SubscribeReasonCode, Transport, v5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use v5::mqttbytes::{
    QoS as Qos5,
    v5::{Filter as Filter5, Packet as Packet5, RetainForwardRule, SubscribeReasonCode as Reason5},
};

use super::{Progress, WAITING_BYTES_MAX};
use crate::broker::Broker;
use crate::connection::{Lost, LostKind, Protocol, lost_v5, lost_v311};
use crate::filter::Filter;
use crate::recording::{Message, PAYLOAD_BYTES_MAX, Properties};

/// Above what a recording holds, so that one that is too large is seen and said, and not lost in silence.
const PACKET_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;
/// Above the 65,535 packet ids of a connection: there is room for every acknowledgement.
const REQUESTS_MAX: usize = 131_072;
/// Messages that the broker may send unacknowledged: a few blocks of small ones.
const RECEIVE_MAXIMUM: u16 = 30_000;
/// How long the broker is asked to keep our session while we are away.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT_S: u64 = 5;
/// How long the first connection may take: a broker may be starting beside us.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// A goodbye, behind the acknowledgements that still wait.
const GOODBYE: Duration = Duration::from_secs(5);

pub(super) struct Subscription {
    pub(super) broker: Broker,
    pub(super) protocol: Protocol,
    pub(super) client_id: Option<String>,
    pub(super) filters: Vec<Filter>,
    pub(super) at_least_once: bool,
}

/// What is to be written.
pub(super) enum News {
    Message(Box<Arrival>),
    /// Nothing could be received in between, and the broker kept nothing.
    Gap {
        from: Timestamp,
        to: Timestamp,
    },
}

pub(super) struct Arrival {
    pub(super) message: Message,
    /// Where the broker waits for an acknowledgement of ours.
    pub(super) receipt: Option<Receipt>,
    /// Its part of [`WAITING_BYTES_MAX`].
    _room: OwnedSemaphorePermit,
}

/// The acknowledgement of one message, on its connection.
pub(super) struct Receipt {
    client: Client,
    packet: u16,
}

impl Receipt {
    /// Where the connection is gone, the message comes again.
    pub(super) fn acknowledge(self) {
        match self.client {
            Client::V5(client) => {
                let mut publish = v5::mqttbytes::v5::Publish::new("", Qos5::AtLeastOnce, Vec::new(), None);
                publish.pkid = self.packet;
                let _ = client.try_ack(&publish);
            }
            Client::V311(client) => {
                let mut publish = rumqttc::Publish::new("", QoS::AtLeastOnce, Vec::new());
                publish.pkid = self.packet;
                let _ = client.try_ack(&publish);
            }
        }
    }
}

#[derive(Clone)]
enum Client {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

enum Events {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
}

/// What a broker says.
enum Said {
    Connected {
        session_present: bool,
    },
    /// The first filter that it does not grant, by its place.
    Subscribed {
        refused: Option<usize>,
    },
    Published {
        message: Message,
        packet: Option<u16>,
    },
    Other,
}

/// What is subscribed to, as text.
pub(super) fn filters(filters: &[Filter]) -> Vec<String> {
    match filters.is_empty() {
        true => vec!["#".to_owned()],
        false => filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
    }
}

/// Hands over what arrives until `stop`; then only acknowledgements leave, until `done`.
pub(super) async fn listen(
    subscription: Subscription,
    to: mpsc::Sender<News>,
    progress: Arc<Progress>,
    stop: CancellationToken,
    done: CancellationToken,
) -> anyhow::Result<()> {
    let broker = subscription.broker.clone();
    let subscription = Arc::new(subscription);
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize));
    let give_up = Instant::now() + START_TIMEOUT;
    let mut version = match subscription.protocol {
        Protocol::V311 => Protocol::V311,
        Protocol::Auto | Protocol::V5 => Protocol::V5,
    };
    let (mut settled, mut lost_at, mut backoff) =
        (subscription.protocol != Protocol::Auto, None, BACKOFF_FIRST);
    loop {
        let (client, events) = subscription.connect(version);
        let mut connection = Connection {
            subscription: subscription.clone(),
            client: client.clone(),
            events,
            to: to.clone(),
            room: room.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
            lost_at,
            subscribed: Arc::default(),
        };
        let subscribed = connection.subscribed.clone();
        let mut polling = tokio::spawn(async move { connection.poll().await });
        let lost = tokio::select! {
            ended = &mut polling => ended?,
            () = done.cancelled() => {
                client.disconnect();
                // Until the broker hangs up: a socket that is closed with something unread in it is reset, and
                // acknowledgements on their way are lost with it.
                let _ = timeout(GOODBYE, &mut polling).await;
                polling.abort();
                return Ok(());
            }
        };
        progress.connected.store(false, Ordering::Relaxed);
        let was_subscribed = subscribed.load(Ordering::Relaxed);
        if was_subscribed {
            (settled, lost_at, backoff) = (true, Some(Timestamp::now()), BACKOFF_FIRST);
        }
        let lost = match lost {
            Ended::Over => return Ok(()),
            Ended::Denied(error) => return Err(error),
            Ended::Lost(lost) => lost,
        };
        if !settled && lost.kind == LostKind::Broken {
            // An old broker answers MQTT 5 in its own way: with a code of 3.1.1, or by hanging up.
            version = if version == Protocol::V5 { Protocol::V311 } else { Protocol::V5 };
        }
        if lost.kind == LostKind::Refused {
            bail!("the broker at {broker} refuses: {}", lost.reason);
        }
        if lost_at.is_none() && give_up < Instant::now() {
            bail!("connect to the broker at {broker}: {}", lost.reason);
        }
        if lost_at.is_some() {
            warn!(%broker, reason = lost.reason, "no connection to record from, will retry");
        }
        tokio::select! {
            () = sleep(backoff) => {}
            () = done.cancelled() => return Ok(()),
            () = stop.cancelled(), if lost_at.is_none() => {
                return Err(anyhow!("stopped before the broker at {broker} was reached"));
            }
        }
        backoff = BACKOFF_LAST.min(backoff * 2);
    }
}

/// How a connection ended.
enum Ended {
    Lost(Lost),
    /// It makes no sense to try again.
    Denied(anyhow::Error),
    /// Nobody listens to us.
    Over,
}

struct Connection {
    subscription: Arc<Subscription>,
    client: Client,
    events: Events,
    to: mpsc::Sender<News>,
    room: Arc<Semaphore>,
    progress: Arc<Progress>,
    stop: CancellationToken,
    /// When the connection before was lost.
    lost_at: Option<Timestamp>,
    /// For who waits for our end.
    subscribed: Arc<std::sync::atomic::AtomicBool>,
}

impl Connection {
    async fn poll(&mut self) -> Ended {
        loop {
            let said = match self.events.poll().await {
                Ok(said) => said,
                Err(lost) => return Ended::Lost(lost),
            };
            match said {
                Said::Connected { session_present } => {
                    if let Some(from) = self.lost_at.filter(|_| !session_present) {
                        let gap = News::Gap { from, to: Timestamp::now() };
                        let _ = self.to.send(gap).await; // where nobody listens, the end comes anyway
                    }
                    // A session that was kept over a lost connection has its subscriptions. Asking again would bring all
                    // retained messages again over MQTT 3.1.1.
                    if session_present && self.lost_at.is_some() {
                        self.is_subscribed();
                    } else if let Err(error) = self.client.subscribe(&self.subscription) {
                        return Ended::Denied(error);
                    }
                }
                Said::Subscribed { refused: Some(at) } => {
                    let filters = filters(&self.subscription.filters);
                    let filter = filters.get(at).map_or("", String::as_str);
                    return Ended::Denied(anyhow!(
                        "the broker at {} refuses the subscription to {filter}: check what our user may read there",
                        self.subscription.broker
                    ));
                }
                Said::Subscribed { refused: None } => self.is_subscribed(),
                Said::Published { message, packet } if !self.stop.is_cancelled() => {
                    let bytes =
                        u32::try_from(message.payload.len() + message.topic.len()).unwrap_or(u32::MAX);
                    // While there is no room the socket is not read.
                    let Ok(room) = self.room.clone().acquire_many_owned(bytes.min(WAITING_BYTES_MAX)).await
                    else {
                        return Ended::Over;
                    };
                    let receipt = packet
                        .filter(|_| self.subscription.client_id.is_some())
                        .map(|packet| Receipt { client: self.client.clone(), packet });
                    // After a stop nobody takes it, and it is not acknowledged.
                    let arrival = Arrival { message, receipt, _room: room };
                    let _ = self.to.send(News::Message(Box::new(arrival))).await;
                }
                Said::Published { .. } | Said::Other => {}
            }
        }
    }

    fn is_subscribed(&mut self) {
        if self.lost_at.is_some() {
            self.progress.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        let filters = filters(&self.subscription.filters);
        info!(broker = %self.subscription.broker, ?filters, "recording");
        self.subscribed.store(true, Ordering::Relaxed);
        self.progress.connected.store(true, Ordering::Relaxed);
    }
}

impl Subscription {
    /// A new connection, not yet dialled: polling dials it. Each has a client of its own, so that an acknowledgement meant
    /// for an old one never leaves on a new one, where its packet id may name another message.
    fn connect(&self, version: Protocol) -> (Client, Events) {
        let own = || format!("screenline-record-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let (client_id, kept) = (self.client_id.clone().unwrap_or_else(own), self.client_id.is_some());
        let Broker { host, port, login, tls } = &self.broker;
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        if version == Protocol::V311 {
            let mut options = rumqttc::MqttOptions::new(client_id, host, *port);
            options.set_clean_session(!kept).set_manual_acks(kept).set_keep_alive(KEEP_ALIVE);
            options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
            if let Some((user, password)) = login {
                options.set_credentials(user, password);
            }
            if let Some(tls) = tls {
                options.set_transport(Transport::tls_with_config(tls.clone()));
            }
            let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS_MAX);
            events.set_network_options(network);
            return (Client::V311(client), Events::V311(Box::new(events)));
        }
        let mut options = v5::MqttOptions::new(client_id, host, *port);
        options.set_clean_start(!kept).set_manual_acks(kept).set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(CONNECT_TIMEOUT_S).set_network_options(network);
        options.set_session_expiry_interval(kept.then(|| KEPT.as_secs() as u32));
        options.set_receive_maximum(Some(RECEIVE_MAXIMUM)).set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = tls {
            options.set_transport(Transport::tls_with_config(tls.clone()));
        }
        let (client, events) = v5::AsyncClient::new(options, REQUESTS_MAX);
        (Client::V5(client), Events::V5(Box::new(events)))
    }
}

impl Client {
    fn subscribe(&self, subscription: &Subscription) -> anyhow::Result<()> {
        let filters = filters(&subscription.filters);
        match self {
            Client::V5(client) => {
                let qos = if subscription.at_least_once { Qos5::AtLeastOnce } else { Qos5::AtMostOnce };
                client.try_subscribe_many(filters.into_iter().map(|path| {
                    let mut filter = Filter5::new(path, qos);
                    filter.preserve_retain = true; // a replay says what the publisher said
                    filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
                    filter
                }))?;
            }
            Client::V311(client) => {
                let qos = if subscription.at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                client.try_subscribe_many(filters.into_iter().map(|path| SubscribeFilter::new(path, qos)))?;
            }
        }
        Ok(())
    }

    fn disconnect(&self) {
        // An error says that the connection is gone already.
        match self {
            Client::V5(client) => drop(client.try_disconnect()),
            Client::V311(client) => drop(client.try_disconnect()),
        }
    }
}

impl Events {
    async fn poll(&mut self) -> Result<Said, Lost> {
        match self {
            Events::V5(events) => match events.poll().await {
                Ok(v5::Event::Incoming(packet)) => Ok(said_v5(packet)),
                Ok(v5::Event::Outgoing(_)) => Ok(Said::Other),
                Err(error) => Err(lost_v5(&error)),
            },
            Events::V311(events) => match events.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => Ok(said_v311(packet)),
                Ok(rumqttc::Event::Outgoing(_)) => Ok(Said::Other),
                Err(error) => Err(lost_v311(&error)),
            },
        }
    }
}

fn said_v5(packet: Packet5) -> Said {
    match packet {
        Packet5::ConnAck(connack) => Said::Connected { session_present: connack.session_present },
        Packet5::SubAck(suback) => {
            let granted = |code: &Reason5| matches!(code, Reason5::Success(_));
            Said::Subscribed { refused: suback.return_codes.iter().position(|code| !granted(code)) }
        }
        Packet5::Publish(publish) => {
            let properties = publish.properties.map_or_else(Properties::default, |properties| Properties {
                format: properties.payload_format_indicator,
                expiry_s: properties.message_expiry_interval,
                content_type: properties.content_type,
                response_topic: properties.response_topic,
                correlation: properties.correlation_data.map(|data| data.to_vec()),
                user: properties.user_properties,
            });
            let message = Message {
                t: Timestamp::now(),
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
                properties,
            };
            Said::Published { message, packet: (publish.qos == Qos5::AtLeastOnce).then_some(publish.pkid) }
        }
        _ => Said::Other,
    }
}

fn said_v311(packet: rumqttc::Packet) -> Said {
    match packet {
        rumqttc::Packet::ConnAck(connack) => Said::Connected { session_present: connack.session_present },
        rumqttc::Packet::SubAck(suback) => {
            let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
            Said::Subscribed { refused: suback.return_codes.iter().position(|code| !granted(code)) }
        }
        rumqttc::Packet::Publish(publish) => {
            let mut message = Message::new(Timestamp::now(), publish.topic, publish.payload.to_vec());
            (message.qos, message.retain) = (publish.qos as u8, publish.retain);
            Said::Published { message, packet: (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid) }
        }
        _ => Said::Other,
    }
}

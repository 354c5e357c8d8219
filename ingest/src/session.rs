//! One connection to a broker, over either of rumqttc's two clients.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use processor::model::Number;
use rumqttc::{
    AsyncClient as ClientV4, Event as EventV4, EventLoop as LoopV4, MqttOptions as OptionsV4, NetworkOptions,
    Packet as PacketV4, Publish as PublishV4, QoS as QosV4, SubscribeFilter,
    v5::{
        AsyncClient as ClientV5, Event as EventV5, EventLoop as LoopV5, MqttOptions as OptionsV5,
        mqttbytes::{
            QoS as QosV5,
            v5::{
                ConnectReturnCode, Filter, Packet as PacketV5, PubAckReason, Publish as PublishV5,
                RetainForwardRule, SubscribeReasonCode,
            },
        },
    },
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Protocol;

/// The largest packet MQTT knows. A client that announces less makes the broker discard larger messages silently; ours
/// take whatever the broker accepts, and refuse what is too large with a reason.
const PACKET_BYTES_MAX: u32 = 268_435_455;
/// Requests waiting to be sent: above the 65,535 packet ids of a connection, so that there is room for every
/// acknowledgement. (mosquitto 2.0 was seen to deliver far more than the window it was given.)
const REQUESTS_MAX: usize = 131_072;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long the broker keeps our session and its queue while we are away.
const SESSION_EXPIRY_S: u32 = 7 * 86_400;
/// Two batches and slack: a batch must be able to fill while another is written.
const RECEIVE_MAXIMUM: u16 = 10_000;

/// A broker's address and our name there.
#[derive(Clone, Debug)]
pub struct Address {
    host: String,
    port: u16,
    login: Option<(String, String)>,
    client_id: String,
}

impl Address {
    /// # Errors
    /// Not `mqtt://[user:password@]host[:port]`.
    pub fn parse(url: &str, client_id: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)
            .with_context(|| format!("{url:?} is no address such as mqtt://localhost:1883"))?;
        if url.scheme() != "mqtt" {
            bail!("the broker's address must start with mqtt://, not {}://", url.scheme());
        }
        let host = url.host_str().context("the broker's address has no host")?.to_owned();
        let plain = |text| {
            percent_decode_str(text).decode_utf8().map(String::from).context("decode the broker's user")
        };
        let login = match url.username() {
            "" => None,
            user => Some((plain(user)?, plain(url.password().unwrap_or_default())?)),
        };
        let client_id = client_id.to_owned();
        Ok(Address { host, port: url.port().unwrap_or(1883), login, client_id })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", Path::new(&self.host).display(), self.port)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V5,
    V311,
}

/// Which version to speak, found out where it may be either.
#[derive(Debug)]
pub struct Choice {
    version: Version,
    /// One worked, or no other may be tried.
    settled: bool,
}

impl Choice {
    pub fn new(protocol: Protocol) -> Self {
        let version = if protocol == Protocol::V311 { Version::V311 } else { Version::V5 };
        Choice { version, settled: protocol != Protocol::Auto }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// A connection was accepted.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// A connection was lost: says whether the other version is to be tried. Only until one worked: a broker that hangs
    /// up while it starts must not settle the matter.
    pub fn turn(&mut self, lost: &Lost) -> bool {
        let refused = matches!(lost, Lost::Version(_)) || self.version == Version::V311;
        let turns = !self.settled && refused;
        if turns {
            self.version = if self.version == Version::V5 { Version::V311 } else { Version::V5 };
        }
        turns
    }
}

/// Sends on a connection; void once the connection is lost, like every packet id that came over it. Nothing here waits.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    void: CancellationToken,
}

#[derive(Debug)]
enum Client {
    V5(ClientV5),
    V311(ClientV4),
}

/// Receives on a connection. Only one task may poll it, and never inside `select!` or `timeout`.
pub enum Receiver {
    V5(Box<LoopV5>),
    V311(Box<LoopV4>),
}

/// What came over a connection.
#[derive(Debug)]
pub enum Incoming {
    Connected {
        session_present: bool,
    },
    /// The broker's answer to our subscriptions: whether each was granted at QoS 1.
    Subscribed {
        granted: bool,
    },
    Published {
        topic: String,
        payload: Bytes,
        retained: bool,
        packet: Option<u16>,
        /// What the publisher counted, in the user properties `source`, `epoch` and `seq` of MQTT 5.
        number: Option<Number>,
    },
    /// The broker's answer to a message of ours.
    Acknowledged {
        taken: bool,
    },
    /// We said goodbye, and it left.
    Disconnected,
    Other,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The broker does not speak this version.
    #[error("the broker refuses this MQTT version: {0}")]
    Version(String),
    #[error("{0}")]
    Other(String),
}

/// A new connection, not yet dialled: polling dials it. Each has a client of its own, so that an acknowledgement meant
/// for an old one can never leave on a new one, where its packet id may name another message.
pub fn connect(address: &Address, version: Version) -> (Sender, Receiver) {
    match version {
        Version::V5 => {
            let mut options = OptionsV5::new(&address.client_id, &address.host, address.port);
            let mut network = NetworkOptions::new();
            network.set_tcp_nodelay(true);
            options
                .set_clean_start(false)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_connection_timeout(10)
                .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
                .set_receive_maximum(Some(RECEIVE_MAXIMUM))
                .set_max_packet_size(Some(PACKET_BYTES_MAX))
                .set_network_options(network);
            if let Some((user, password)) = &address.login {
                options.set_credentials(user, password);
            }
            let (client, events) = ClientV5::new(options, REQUESTS_MAX);
            (Sender::new(Client::V5(client)), Receiver::V5(Box::new(events)))
        }
        Version::V311 => {
            let mut options = OptionsV4::new(&address.client_id, &address.host, address.port);
            options
                .set_clean_session(false)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
            if let Some((user, password)) = &address.login {
                options.set_credentials(user, password);
            }
            let (client, mut events) = ClientV4::new(options, REQUESTS_MAX);
            let mut network = NetworkOptions::new();
            network.set_tcp_nodelay(true);
            network.set_connection_timeout(10);
            events.set_network_options(network);
            (Sender::new(Client::V311(client)), Receiver::V311(Box::new(events)))
        }
    }
}

impl Sender {
    fn new(client: Client) -> Self {
        Sender { client, void: CancellationToken::new() }
    }

    /// Asks for topics at QoS 1; the answer comes as [`Incoming::Subscribed`].
    pub fn subscribe(&self, filters: &[String]) -> anyhow::Result<()> {
        match &self.client {
            Client::V5(client) => {
                let filter = |path: &String| {
                    let mut filter = Filter::new(path, QosV5::AtLeastOnce);
                    filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
                    filter
                };
                Ok(client.try_subscribe_many(filters.iter().map(filter))?)
            }
            Client::V311(client) => {
                let filter = |path: &String| SubscribeFilter::new(path.clone(), QosV4::AtLeastOnce);
                Ok(client.try_subscribe_many(filters.iter().map(filter))?)
            }
        }
    }

    /// Acknowledges a packet of this connection. Where there is no room the connection is given up, and the broker will
    /// deliver again: waiting for room could wait for ever, because only the polling task makes some, and it may in turn
    /// be waiting to hand a message over.
    pub fn acknowledge(&self, packet: u16) {
        if self.void.is_cancelled() {
            return;
        }
        let sent = match &self.client {
            Client::V5(client) => {
                let mut publish = PublishV5::new(String::new(), QosV5::AtLeastOnce, Bytes::new(), None);
                publish.pkid = packet;
                client.try_ack(&publish).is_ok()
            }
            Client::V311(client) => {
                let mut publish = PublishV4::new(String::new(), QosV4::AtLeastOnce, Vec::new());
                publish.pkid = packet;
                client.try_ack(&publish).is_ok()
            }
        };
        if !sent {
            self.void.cancel();
        }
    }

    /// Publishes a message at QoS 1 that the broker keeps for who subscribes later; the answer comes as
    /// [`Incoming::Acknowledged`]. Says whether there was room for it.
    pub fn publish_retained(&self, topic: String, payload: Vec<u8>) -> bool {
        match &self.client {
            Client::V5(client) => client.try_publish(topic, QosV5::AtLeastOnce, true, payload).is_ok(),
            Client::V311(client) => client.try_publish(topic, QosV4::AtLeastOnce, true, payload).is_ok(),
        }
    }

    /// Comes when the connection was given up from this side.
    pub async fn given_up(&self) {
        self.void.cancelled().await;
    }

    pub fn is_given_up(&self) -> bool {
        self.void.is_cancelled()
    }

    pub fn disconnect(&self) {
        // An error says that the connection is gone already.
        match &self.client {
            Client::V5(client) => drop(client.try_disconnect()),
            Client::V311(client) => drop(client.try_disconnect()),
        }
    }
}

impl Receiver {
    /// # Errors
    /// The connection is lost; this receiver and its sender are void.
    pub async fn poll(&mut self) -> Result<Incoming, Lost> {
        match self {
            Receiver::V5(events) => match events.poll().await {
                Ok(EventV5::Incoming(packet)) => Ok(incoming_v5(packet)),
                Ok(EventV5::Outgoing(rumqttc::Outgoing::Disconnect)) => Ok(Incoming::Disconnected),
                Ok(EventV5::Outgoing(_)) => Ok(Incoming::Other),
                Err(error) => Err(lost_v5(&error)),
            },
            Receiver::V311(events) => match events.poll().await {
                Ok(EventV4::Incoming(packet)) => Ok(incoming_v4(packet)),
                Ok(EventV4::Outgoing(rumqttc::Outgoing::Disconnect)) => Ok(Incoming::Disconnected),
                Ok(EventV4::Outgoing(_)) => Ok(Incoming::Other),
                Err(error) => Err(Lost::Other(error.to_string())),
            },
        }
    }
}

fn incoming_v5(packet: PacketV5) -> Incoming {
    match packet {
        PacketV5::ConnAck(connack) => Incoming::Connected { session_present: connack.session_present },
        PacketV5::SubAck(suback) => {
            let granted = |code: &SubscribeReasonCode| {
                matches!(code, SubscribeReasonCode::Success(QosV5::AtLeastOnce | QosV5::ExactlyOnce))
            };
            Incoming::Subscribed { granted: suback.return_codes.iter().all(granted) }
        }
        PacketV5::Publish(publish) => Incoming::Published {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            retained: publish.retain,
            packet: (publish.qos != QosV5::AtMostOnce).then_some(publish.pkid),
            number: publish.properties.as_ref().and_then(|properties| number(&properties.user_properties)),
        },
        PacketV5::PubAck(puback) => Incoming::Acknowledged {
            taken: matches!(puback.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers),
        },
        _ => Incoming::Other,
    }
}

fn number(properties: &[(String, String)]) -> Option<Number> {
    let value = |wanted| properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    Number::new(value("source")?, value("epoch")?.parse().ok()?, value("seq")?.parse().ok()?)
}

fn incoming_v4(packet: PacketV4) -> Incoming {
    match packet {
        PacketV4::ConnAck(connack) => Incoming::Connected { session_present: connack.session_present },
        PacketV4::SubAck(suback) => {
            let granted = |code: &rumqttc::SubscribeReasonCode| {
                matches!(code, rumqttc::SubscribeReasonCode::Success(QosV4::AtLeastOnce | QosV4::ExactlyOnce))
            };
            Incoming::Subscribed { granted: suback.return_codes.iter().all(granted) }
        }
        PacketV4::Publish(publish) => Incoming::Published {
            topic: publish.topic,
            payload: publish.payload,
            retained: publish.retain,
            packet: (publish.qos != QosV4::AtMostOnce).then_some(publish.pkid),
            number: None,
        },
        PacketV4::PubAck(_) => Incoming::Acknowledged { taken: true },
        _ => Incoming::Other,
    }
}

fn lost_v5(error: &rumqttc::v5::ConnectionError) -> Lost {
    use rumqttc::v5::ConnectionError::{ConnectionRefused, MqttState, NotConnAck};
    match error {
        ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion,
        ) => Lost::Version(error.to_string()),
        // A 3.1.1 broker may answer with a packet that is none in version 5, or hang up.
        NotConnAck(_) | MqttState(_) => Lost::Version(error.to_string()),
        _ => Lost::Other(error.to_string()),
    }
}

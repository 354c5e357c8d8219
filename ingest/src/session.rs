//! One connection to a broker, over either of rumqttc's two clients.

use std::time::Duration;

use bytes::Bytes;
use processor::{model::Number, service::tls};
use rumqttc::{
    AsyncClient as ClientV4, Event as EventV4, EventLoop as LoopV4, MqttOptions as OptionsV4, NetworkOptions,
    Packet as PacketV4, Publish as PublishV4, QoS as QosV4, SubscribeFilter, Transport,
    v5::{
        AsyncClient as ClientV5, Event as EventV5, EventLoop as LoopV5, MqttOptions as OptionsV5,
        mqttbytes::{
            QoS as QosV5,
            v5::{
                ConnectReturnCode, Filter, Packet as PacketV5, PubAckReason, Publish as PublishV5,
                PublishProperties, RetainForwardRule, SubscribeReasonCode,
            },
        },
    },
};
use tokio_util::sync::CancellationToken;

use crate::address::Address;

use crate::config::Protocol;

/// The largest packet MQTT knows. A client that announces less makes the broker discard larger messages silently; ours
/// take whatever the broker accepts, and refuse what is too large with a reason.
const PACKET_BYTES_MAX: u32 = 268_435_455;
/// Requests waiting to be sent: above the 65,535 packet ids of a connection, so that there is room for every
/// acknowledgement. (mosquitto 2.0 was seen to deliver far more than the window it was given.)
const REQUESTS_MAX: usize = 131_072;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long the broker keeps our session and its queue while we are away.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Two batches and slack: a batch must be able to fill while another is written.
const RECEIVE_MAXIMUM: u16 = 10_000;

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
        let refused = matches!(lost, Lost::Version(_) | Lost::HungUp(_)) || self.version == Version::V311;
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
        limits: Limits,
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

/// What a broker announces when it lets us in. Over MQTT 3.1.1 none does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    pub packet_bytes: Option<u32>,
    /// Messages from us that it takes unacknowledged.
    pub window: Option<u16>,
    pub quality: Option<u8>,
    pub retains: Option<bool>,
    pub shares: Option<bool>,
    /// For how long it keeps a session, where that is not what we asked for.
    pub session_s: Option<u32>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It does not let us in, or we do not trust it: trying again as we are is in vain.
    #[error("{0}")]
    Refused(String),
    /// The broker does not speak this version.
    #[error("the broker refuses this MQTT version: {0}")]
    Version(String),
    /// The broker hung up, or sent what is no packet of MQTT 5: so does, to a greeting of MQTT 5, one that speaks
    /// another version only.
    #[error("{0}")]
    HungUp(String),
    #[error("{0}")]
    Other(String),
}

/// A new connection, not yet dialled: polling dials it. Each has a client of its own, so that an acknowledgement meant
/// for an old one can never leave on a new one, where its packet id may name another message. The broker keeps our session
/// for so long while we are away; for no time, it also ends the one that it has.
pub fn connect(address: &Address, client_id: &str, kept: Duration, version: Version) -> (Sender, Receiver) {
    let is_visit = kept.is_zero();
    match version {
        Version::V5 => {
            let mut options = OptionsV5::new(client_id, &address.host, address.port);
            let mut network = NetworkOptions::new();
            network.set_tcp_nodelay(true);
            options
                .set_clean_start(is_visit)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_connection_timeout(10)
                .set_session_expiry_interval(Some(kept.as_secs().try_into().unwrap_or(u32::MAX)))
                .set_receive_maximum(Some(RECEIVE_MAXIMUM))
                .set_max_packet_size(Some(PACKET_BYTES_MAX))
                .set_network_options(network);
            if let Some(login) = &address.login {
                options.set_credentials(&login.user, login.password.reveal());
            }
            if let Some(tls) = &address.tls {
                options.set_transport(Transport::tls_with_config(tls.clone()));
            }
            let (client, events) = ClientV5::new(options, REQUESTS_MAX);
            (Sender::new(Client::V5(client)), Receiver::V5(Box::new(events)))
        }
        Version::V311 => {
            let mut options = OptionsV4::new(client_id, &address.host, address.port);
            options
                .set_clean_session(is_visit)
                .set_manual_acks(true)
                .set_keep_alive(KEEP_ALIVE)
                .set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
            if let Some(login) = &address.login {
                options.set_credentials(&login.user, login.password.reveal());
            }
            if let Some(tls) = &address.tls {
                options.set_transport(Transport::tls_with_config(tls.clone()));
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

    /// Asks for no more messages of these topics.
    pub fn unsubscribe(&self, filters: &[String]) -> anyhow::Result<()> {
        for filter in filters {
            match &self.client {
                Client::V5(client) => client.try_unsubscribe(filter.clone())?,
                Client::V311(client) => client.try_unsubscribe(filter.clone())?,
            }
        }
        Ok(())
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

    /// Publishes a message at QoS 0, as Sparkplug wants its commands. Says whether there was room for it.
    pub fn publish_request(&self, topic: String, payload: Vec<u8>) -> bool {
        match &self.client {
            Client::V5(client) => client.try_publish(topic, QosV5::AtMostOnce, false, payload).is_ok(),
            Client::V311(client) => client.try_publish(topic, QosV4::AtMostOnce, false, payload).is_ok(),
        }
    }

    /// Publishes a message at QoS 1, with its number where MQTT 5 is spoken.
    pub fn publish(&self, topic: &str, payload: Bytes, number: &Number) -> anyhow::Result<()> {
        match &self.client {
            Client::V5(client) => {
                let property = |name: &str, value: String| (name.to_owned(), value);
                let properties = PublishProperties {
                    user_properties: vec![
                        property("source", number.source.to_string()),
                        property("epoch", number.epoch.to_string()),
                        property("seq", number.seq.to_string()),
                    ],
                    ..PublishProperties::default()
                };
                Ok(client.try_publish_with_properties(
                    topic,
                    QosV5::AtLeastOnce,
                    false,
                    payload,
                    properties,
                )?)
            }
            Client::V311(client) => Ok(client.try_publish(topic, QosV4::AtLeastOnce, false, payload)?),
        }
    }

    /// Comes when the connection was given up from this side.
    pub async fn given_up(&self) {
        self.void.cancelled().await;
    }

    /// The connection is of no use: another one is opened.
    pub fn give_up(&self) {
        self.void.cancel();
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
                Err(error) => Err(lost_v4(&error)),
            },
        }
    }
}

fn incoming_v5(packet: PacketV5) -> Incoming {
    match packet {
        PacketV5::ConnAck(connack) => {
            let limits = connack.properties.map(|announced| Limits {
                packet_bytes: announced.max_packet_size,
                window: announced.receive_max,
                quality: announced.max_qos,
                retains: announced.retain_available.map(|available| available != 0),
                shares: announced.shared_subscription_available.map(|available| available != 0),
                session_s: announced.session_expiry_interval,
            });
            Incoming::Connected {
                session_present: connack.session_present,
                limits: limits.unwrap_or_default(),
            }
        }
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
        PacketV4::ConnAck(connack) => {
            Incoming::Connected { session_present: connack.session_present, limits: Limits::default() }
        }
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
    use rumqttc::v5::{
        ConnectionError::{ConnectionRefused, MqttState, NotConnAck},
        StateError::Deserialization,
    };
    // This one does not name its source, in which a broker's last word over TLS may be.
    let about = match error {
        MqttState(Deserialization(inner)) => tls::problem(inner),
        _ => tls::problem(error),
    };
    if let Some(problem) = about {
        return Lost::Refused(problem);
    }
    match error {
        ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion,
        ) => Lost::Version(error.to_string()),
        ConnectionRefused(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            Lost::Refused(STRANGER.to_owned())
        }
        NotConnAck(_) | MqttState(_) => Lost::HungUp(error.to_string()),
        _ => Lost::Other(error.to_string()),
    }
}

fn lost_v4(error: &rumqttc::ConnectionError) -> Lost {
    use rumqttc::{ConnectReturnCode as Code, ConnectionError::ConnectionRefused};
    if let Some(problem) = tls::problem(error) {
        return Lost::Refused(problem);
    }
    match error {
        ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized) => {
            Lost::Refused(STRANGER.to_owned())
        }
        _ => Lost::Other(error.to_string()),
    }
}

const STRANGER: &str =
    "it does not know our user or password: check --broker-user and --broker-password-file";

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn property() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            Just("source".to_owned()),
            Just("epoch".to_owned()),
            Just("seq".to_owned()),
            any::<String>()
        ];
        let value =
            prop_oneof!["[a-z/+#]{0,5}", any::<i64>().prop_map(|value| value.to_string()), any::<String>()];
        (name, value)
    }

    proptest! {
        #[test]
        fn any_properties_are_a_number_or_none(properties in vec(property(), 0..8)) {
            let first = |wanted| properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            if let Some(found) = number(&properties) {
                prop_assert_eq!(first("source"), Some(found.source.to_string()));
                prop_assert_eq!(first("epoch").and_then(|text| text.parse().ok()), Some(found.epoch));
                prop_assert_eq!(first("seq").and_then(|text| text.parse().ok()), Some(found.seq));
                prop_assert!(0 <= found.epoch && 0 < found.seq);
            }
        }

        #[test]
        fn a_number_is_found_among_other_properties(
            before in vec("[a-d]{0,3}", 0..4),
            after in vec(property(), 0..4),
            source in "[a-zA-Z0-9._-]{1,64}",
            epoch in 0..=i64::MAX,
            seq in 1..1i64 << 62,
        ) {
            let ours = [("seq", seq.to_string()), ("source", source.clone()), ("epoch", epoch.to_string())];
            let ours = ours.map(|(name, value)| (name.to_owned(), value));
            let other = before.into_iter().map(|name| (name, "1".to_owned()));
            let properties: Vec<_> = other.chain(ours).chain(after).collect();
            prop_assert_eq!(number(&properties), Number::new(&source, epoch, seq));
        }
    }
}

//! One connection to a broker, for publishing above all, the same for both of rumqttc's clients.
//!
//! A connection is never repaired: whoever publishes drops it, client and event loop together, and makes
//! another. rumqttc's own retransmission would forget the messages of a lost session.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rumqttc::{NetworkOptions, QoS, TlsError, Transport, v5, v5::mqttbytes::v5::PublishProperties};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::recording::{Message, PAYLOAD_BYTES_MAX};

/// Messages sent and not yet acknowledged. Enough to hide a commit of the broker's; a bounded part of
/// the 65,535 packet ids.
pub(crate) const IN_FLIGHT_MAX: u16 = 1_000;

/// The payload, its topic of at most 64 KiB, and the packet's own fields.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (128 << 10);

const CONNECT_TIMEOUT_S: u64 = 5;
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 when the broker does not speak it.
    #[default]
    Auto,
    V5,
    V311,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Protocol::Auto),
            "5" => Ok(Protocol::V5),
            "3.1.1" => Ok(Protocol::V311),
            _ => Err("one of auto, 5, 3.1.1".to_owned()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Auto => "auto",
            Protocol::V5 => "5",
            Protocol::V311 => "3.1.1",
        })
    }
}

/// What happens on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The next of the published messages left under this packet id, 0 at QoS 0. In the order of publishing.
    Sent(u16),
    /// The broker took the message of this packet id, or says why it did not.
    Acknowledged(u16, Option<String>),
    /// The payload of a message on a topic that was subscribed to.
    Received(Vec<u8>),
    /// No further event comes.
    Lost(Lost),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) reason: String,
    pub(crate) kind: LostKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostKind {
    /// Nobody listens there, or nobody answers.
    Unreachable,
    /// Trying again cannot help: bad credentials, or a message above the broker's packet limit.
    Refused,
    /// Everything else, such as a closed connection. A broker that does not know MQTT 5 does this, too.
    Broken,
}

enum Client {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// An open connection. Dropping it closes the socket.
pub(crate) struct Connection {
    client: Client,
    events: mpsc::Receiver<Event>,
    poll: JoinHandle<()>,
}

impl Connection {
    /// Connects with one version of MQTT, or finds the version first under [`Protocol::Auto`].
    /// Returns the version that is spoken.
    pub(crate) async fn open(
        broker: &Broker,
        protocol: Protocol,
        client_id: &str,
    ) -> Result<(Connection, Protocol), Lost> {
        match protocol {
            Protocol::V311 => Ok((Self::open_v311(broker, client_id).await?, Protocol::V311)),
            Protocol::V5 => Ok((Self::open_v5(broker, client_id).await?, Protocol::V5)),
            Protocol::Auto => match Self::open_v5(broker, client_id).await {
                Ok(connection) => Ok((connection, Protocol::V5)),
                // An old broker answers in its own way: with a code of 3.1.1, or by hanging up.
                Err(lost) if lost.kind == LostKind::Broken => {
                    Ok((Self::open_v311(broker, client_id).await.map_err(|_| lost)?, Protocol::V311))
                }
                Err(lost) => Err(lost),
            },
        }
    }

    async fn open_v5(broker: &Broker, client_id: &str) -> Result<Connection, Lost> {
        let mut options = v5::MqttOptions::new(client_id, &broker.host, broker.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(CONNECT_TIMEOUT_S);
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
        options.set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
        options.set_network_options(network());
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &broker.tls {
            options.set_transport(Transport::tls_with_config(tls.clone()));
        }
        let (client, mut eventloop) = v5::AsyncClient::new(options, usize::from(IN_FLIGHT_MAX));
        eventloop.poll().await.map_err(|error| lost_v5(&error))?; // the first event is the broker's acceptance
        let (to, events) = events();
        let poll = tokio::spawn(async move {
            loop {
                let event = match eventloop.poll().await {
                    Ok(event) => event_v5(event),
                    Err(error) => Some(Event::Lost(lost_v5(&error))),
                };
                if !pass(&to, event).await {
                    return;
                }
            }
        });
        Ok(Connection { client: Client::V5(client), events, poll })
    }

    async fn open_v311(broker: &Broker, client_id: &str) -> Result<Connection, Lost> {
        let mut options = rumqttc::MqttOptions::new(client_id, &broker.host, broker.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_inflight(IN_FLIGHT_MAX);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &broker.tls {
            options.set_transport(Transport::tls_with_config(tls.clone()));
        }
        let (client, mut eventloop) = rumqttc::AsyncClient::new(options, usize::from(IN_FLIGHT_MAX));
        eventloop.set_network_options(network());
        eventloop.poll().await.map_err(|error| lost_v311(&error))?;
        let (to, events) = events();
        let poll = tokio::spawn(async move {
            loop {
                let event = match eventloop.poll().await {
                    Ok(event) => event_v311(event),
                    Err(error) => Some(Event::Lost(lost_v311(&error))),
                };
                if !pass(&to, event).await {
                    return;
                }
            }
        });
        Ok(Connection { client: Client::V311(client), events, poll })
    }

    /// Hands a message over at QoS 1 or 0, with user properties where MQTT 5 is spoken. Never waits: at most
    /// [`IN_FLIGHT_MAX`] may be unacknowledged, which is what the request queue holds.
    pub(crate) fn publish_with(
        &self,
        topic: &str,
        payload: &[u8],
        at_least_once: bool,
        user_properties: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        use v5::mqttbytes::QoS as Qos5;
        match &self.client {
            Client::V5(client) => {
                let qos = if at_least_once { Qos5::AtLeastOnce } else { Qos5::AtMostOnce };
                let properties = PublishProperties { user_properties, ..PublishProperties::default() };
                client.try_publish_with_properties(topic, qos, false, payload.to_vec(), properties)?;
            }
            Client::V311(client) => {
                let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                client.try_publish(topic, qos, false, payload.to_vec())?;
            }
        }
        Ok(())
    }

    /// Hands a message over as it was recorded: with its QoS, its retain flag, and its properties where MQTT 5 is spoken.
    pub(crate) fn publish_recorded(&self, message: &Message) -> anyhow::Result<()> {
        use v5::mqttbytes::QoS as Qos5;
        let Message { topic, payload, qos, retain, properties, .. } = message;
        match &self.client {
            Client::V5(client) => {
                let qos = [Qos5::AtMostOnce, Qos5::AtLeastOnce, Qos5::ExactlyOnce][usize::from(*qos).min(2)];
                let properties = PublishProperties {
                    payload_format_indicator: properties.format,
                    message_expiry_interval: properties.expiry_s,
                    content_type: properties.content_type.clone(),
                    response_topic: properties.response_topic.clone(),
                    correlation_data: properties.correlation.clone().map(Into::into),
                    user_properties: properties.user.clone(),
                    ..PublishProperties::default()
                };
                client.try_publish_with_properties(topic, qos, *retain, payload.clone(), properties)?;
            }
            Client::V311(client) => {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(*qos).min(2)];
                client.try_publish(topic, qos, *retain, payload.clone())?;
            }
        }
        Ok(())
    }

    /// Asks for a topic at QoS 1; its messages come as [`Event::Received`].
    pub(crate) fn subscribe(&self, topic: &str) -> anyhow::Result<()> {
        match &self.client {
            Client::V5(client) => client.try_subscribe(topic, v5::mqttbytes::QoS::AtLeastOnce)?,
            Client::V311(client) => client.try_subscribe(topic, QoS::AtLeastOnce)?,
        }
        Ok(())
    }

    /// Cancel safe. After [`Event::Lost`] it says so again.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => Event::Lost(Lost { reason: "connection closed".to_owned(), kind: LostKind::Broken }),
        }
    }

    /// What has happened already, without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Hangs up at once and without a word.
    pub(crate) fn cut(&self) {
        self.poll.abort();
    }

    /// Says goodbye, so that the broker does not log a lost client.
    pub(crate) async fn close(mut self) {
        let asked = match &self.client {
            Client::V5(client) => client.try_disconnect().is_ok(),
            Client::V311(client) => client.try_disconnect().is_ok(),
        };
        if asked {
            let goodbye = async { while !matches!(self.next().await, Event::Lost(_)) {} };
            // A second is more than a socket needs; all is acknowledged, so nothing depends on it.
            let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

fn network() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    network
}

/// A message gives two events, and the publisher reads them all before it publishes more.
fn events() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(2 * usize::from(IN_FLIGHT_MAX))
}

/// False when the connection is over.
async fn pass(to: &mpsc::Sender<Event>, event: Option<Event>) -> bool {
    let Some(event) = event else { return true };
    let lost = matches!(event, Event::Lost(_));
    to.send(event).await.is_ok() && !lost
}

fn event_v5(event: v5::Event) -> Option<Event> {
    use v5::mqttbytes::v5::{Packet, PubAckReason, PubRecReason};
    match event {
        v5::Event::Outgoing(outgoing) => sent(&outgoing),
        v5::Event::Incoming(Packet::PubAck(ack)) => {
            // "No subscriber" is the broker's acceptance too: what it keeps is its own business.
            let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
            Some(Event::Acknowledged(ack.pkid, (!taken).then(|| format!("{:?}", ack.reason))))
        }
        // Exactly once: refused in the first answer, or taken with the last.
        v5::Event::Incoming(Packet::PubRec(rec)) => {
            let taken = matches!(rec.reason, PubRecReason::Success | PubRecReason::NoMatchingSubscribers);
            (!taken).then(|| Event::Acknowledged(rec.pkid, Some(format!("{:?}", rec.reason))))
        }
        v5::Event::Incoming(Packet::PubComp(comp)) => Some(Event::Acknowledged(comp.pkid, None)),
        v5::Event::Incoming(Packet::Publish(publish)) => Some(Event::Received(publish.payload.to_vec())),
        v5::Event::Incoming(_) => None,
    }
}

fn event_v311(event: rumqttc::Event) -> Option<Event> {
    match event {
        rumqttc::Event::Outgoing(outgoing) => sent(&outgoing),
        rumqttc::Event::Incoming(rumqttc::Packet::PubAck(ack)) => Some(Event::Acknowledged(ack.pkid, None)),
        rumqttc::Event::Incoming(rumqttc::Packet::PubComp(comp)) => {
            Some(Event::Acknowledged(comp.pkid, None))
        }
        rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => {
            Some(Event::Received(publish.payload.to_vec()))
        }
        rumqttc::Event::Incoming(_) => None,
    }
}

fn sent(outgoing: &rumqttc::Outgoing) -> Option<Event> {
    match outgoing {
        rumqttc::Outgoing::Publish(packet) => Some(Event::Sent(*packet)),
        // The packet id is still in use by an unacknowledged message. rumqttc can wait here for ever.
        rumqttc::Outgoing::AwaitAck(packet) => {
            let reason = format!("packet id {packet} was not acknowledged in order");
            Some(Event::Lost(Lost { reason, kind: LostKind::Broken }))
        }
        _ => None,
    }
}

pub(crate) fn lost_v5(error: &v5::ConnectionError) -> Lost {
    use v5::mqttbytes::{Error, v5::ConnectReturnCode as Code};
    use v5::{ConnectionError, StateError};
    let kind = match error {
        ConnectionError::Io(error)
        | ConnectionError::Tls(TlsError::Io(error))
        | ConnectionError::MqttState(StateError::Deserialization(Error::Io(error))) => io_kind(error),
        ConnectionError::Timeout(_) => LostKind::Unreachable,
        ConnectionError::ConnectionRefused(
            Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod,
        )
        | ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { .. }) => LostKind::Refused,
        _ => LostKind::Broken,
    };
    Lost { reason: error.to_string(), kind }
}

pub(crate) fn lost_v311(error: &rumqttc::ConnectionError) -> Lost {
    use rumqttc::{ConnectReturnCode as Code, ConnectionError, StateError, mqttbytes::Error};
    let kind = match error {
        ConnectionError::Io(error)
        | ConnectionError::Tls(TlsError::Io(error))
        | ConnectionError::MqttState(StateError::Deserialization(Error::Io(error))) => io_kind(error),
        ConnectionError::NetworkTimeout => LostKind::Unreachable,
        ConnectionError::ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized)
        | ConnectionError::MqttState(StateError::Deserialization(Error::OutgoingPacketTooLarge { .. })) => {
            LostKind::Refused
        }
        _ => LostKind::Broken,
    };
    Lost { reason: error.to_string(), kind }
}

fn io_kind(error: &std::io::Error) -> LostKind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::TimedOut
        | ErrorKind::AddrNotAvailable => LostKind::Unreachable,
        // A certificate of theirs or of ours that is not believed.
        ErrorKind::InvalidData => LostKind::Refused,
        _ => LostKind::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_read_as_they_print() {
        for protocol in [Protocol::Auto, Protocol::V5, Protocol::V311] {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert!("4".parse::<Protocol>().is_err());
    }
}

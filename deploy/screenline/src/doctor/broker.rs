//! The broker and its limits: what it says of itself when a client connects.

use std::time::Duration;

use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, MqttOptions,
    mqttbytes::v5::{ConnAck, ConnectReturnCode, Packet},
};
use tokio::time::timeout;
use url::Url;

use super::Check;
use crate::supervisor::mosquitto::setting;

const PATIENCE: Duration = Duration::from_secs(5);
/// Ingest decodes payloads up to this size.
const PAYLOAD_BYTES_DECODED_MAX: u32 = 256 << 10;

/// What a private broker would be.
pub fn private() -> Check {
    Check::fine(
        "broker",
        format!(
            "private; packets up to {} bytes, {} messages in flight, {} bytes queued, then drops; saved every second \
             and at the end",
            setting("max_packet_size"),
            setting("max_inflight_messages"),
            setting("max_queued_bytes")
        ),
    )
}

/// Connects and listens to what the broker announces.
pub async fn given(url: &str) -> Vec<Check> {
    let hint = "check --broker-url (mqtt://[user:password@]host:port), and that the broker runs";
    let wrong = |problem: String| vec![Check::wrong("broker", "no answer", problem, hint)];
    let Ok(parsed) = Url::parse(url) else { return wrong("the address does not parse".into()) };
    let (Some(host), "mqtt") = (parsed.host_str(), parsed.scheme()) else {
        return wrong("the address is not mqtt://host:port".into());
    };
    let port = parsed.port().unwrap_or(1883);
    let mut options = MqttOptions::new(format!("screenline-doctor-{}", std::process::id()), host, port);
    options.set_clean_start(true);
    if !parsed.username().is_empty() {
        options.set_credentials(parsed.username(), parsed.password().unwrap_or_default());
    }
    match timeout(PATIENCE, connect(options)).await {
        Ok(Ok(connected)) => limits(&format!("{host}:{port}"), &connected),
        Ok(Err(ConnectionError::ConnectionRefused(ConnectReturnCode::UnsupportedProtocolVersion))) => {
            vec![Check::fine(
                "broker",
                format!("{host}:{port} speaks MQTT 3.1.1 only, so it announces no limits"),
            )]
        }
        Ok(Err(error)) => wrong(error.to_string()),
        Err(_) => wrong(format!("no answer within {PATIENCE:?}")),
    }
}

async fn connect(options: MqttOptions) -> Result<ConnAck, ConnectionError> {
    let (client, mut events) = AsyncClient::new(options, 10);
    let connected = loop {
        if let Event::Incoming(Packet::ConnAck(connected)) = events.poll().await? {
            break connected;
        }
    };
    if client.try_disconnect().is_ok() {
        // The answer to a disconnect is the end of the connection.
        while events.poll().await.is_ok() {}
    }
    Ok(connected)
}

fn limits(address: &str, connected: &ConnAck) -> Vec<Check> {
    let limits = connected.properties.clone();
    let packet = limits.as_ref().and_then(|limits| limits.max_packet_size);
    let window = limits.as_ref().and_then(|limits| limits.receive_max).unwrap_or(u16::MAX);
    let quality = limits.as_ref().and_then(|limits| limits.max_qos).unwrap_or(2);
    let shown = packet.map_or_else(|| "any size".to_owned(), |bytes| format!("up to {bytes} bytes"));
    let found = format!("{address} speaks MQTT 5; packets {shown}, {window} messages in flight to it");
    let hint = "change the broker's settings";
    let mut checks = vec![match packet {
        Some(bytes) if bytes < PAYLOAD_BYTES_DECODED_MAX => {
            Check::wrong("broker", found, "it refuses payloads that ingest would take (256 KiB)", hint)
        }
        _ => Check::fine("broker", found),
    }];
    if quality == 0 {
        let problem = "without QoS 1 nothing is acknowledged, and what is lost is lost unseen";
        checks.push(Check::wrong("broker's delivery", "QoS 0 only", problem, hint));
    }
    checks.push(Check::fine(
        "broker's queue",
        "not announced: allow unlimited messages for a client that is away, or it drops them silently",
    ));
    checks
}

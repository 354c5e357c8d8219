//! Where a gateway's messages come from. What was handed over is given up only when it is kept.

use std::io::BufRead;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, Publish, QoS, SubscribeFilter, Transport};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use super::spool::Message;
use crate::broker::Broker;
use crate::recording::{self, PAYLOAD_BYTES_MAX, Recording, RecordingError};

/// Messages between an input and the spool: two flushes to disk.
const WAITING_MAX: usize = 512;
const RECONNECT: Duration = Duration::from_secs(1);

/// Where messages come from.
#[derive(Debug)]
pub enum Input {
    /// Standard input: a message a line, as a recording has it: `{"topic":"city/a","payload":"..."}`.
    Lines,
    Recording(Recording),
    /// A broker near the sensors, with a session there; it keeps what we have not kept.
    Broker {
        broker: Broker,
        filters: Vec<String>,
    },
}

/// A message that waits to be kept.
pub(super) struct Arrival {
    pub(super) message: Message,
    receipt: Option<(AsyncClient, Publish)>,
}

impl Arrival {
    /// It is kept: whoever handed it over may forget it.
    pub(super) fn kept(self) {
        if let Some((client, publish)) = self.receipt {
            // Where that connection is gone, the message comes again.
            let _ = client.try_ack(&publish);
        }
    }
}

/// The channel ends with the input, or with an error; a broker has no end.
pub(super) fn start(input: Input, name: &str) -> mpsc::Receiver<anyhow::Result<Arrival>> {
    let (to, arrivals) = mpsc::channel(WAITING_MAX);
    match input {
        Input::Lines => {
            // A thread that reads a terminal cannot be stopped, and must not keep the process.
            std::thread::spawn(move || lines(std::io::stdin().lock(), &to));
        }
        Input::Recording(recording) => {
            std::thread::spawn(move || play(&recording, &to));
        }
        Input::Broker { broker, filters } => {
            tokio::spawn(listen(broker, filters, format!("{name}-gateway-input"), to));
        }
    }
    arrivals
}

fn lines(from: impl BufRead, to: &mpsc::Sender<anyhow::Result<Arrival>>) {
    for (at, line) in from.lines().enumerate() {
        let message = line.map_err(|error| error.to_string()).and_then(|line| message(&line));
        match message {
            Ok(message) => {
                if to.blocking_send(Ok(Arrival { message, receipt: None })).is_err() {
                    return;
                }
            }
            Err(problem) => warn!(line = at + 1, problem, "a line that is no message is left out"),
        }
    }
}

fn message(line: &str) -> Result<Message, String> {
    let (topic, payload) = recording::content_of_line(line)?;
    Ok(Message { topic, payload })
}

fn play(recording: &Recording, to: &mpsc::Sender<anyhow::Result<Arrival>>) {
    let arrival = |message: Result<recording::Message, RecordingError>| {
        let recording::Message { topic, payload, .. } = message?;
        Ok(Arrival { message: Message { topic, payload }, receipt: None })
    };
    match recording.read() {
        Ok(reader) => {
            for message in reader {
                if to.blocking_send(arrival(message)).is_err() {
                    return;
                }
            }
        }
        Err(error) => drop(to.blocking_send(Err(error.into()))), // nobody listens: nobody cares
    }
}

/// Over MQTT 3.1.1, which every broker near a sensor speaks. While the spool is full nothing is read, and the broker
/// keeps the rest.
async fn listen(
    broker: Broker,
    filters: Vec<String>,
    client_id: String,
    to: mpsc::Sender<anyhow::Result<Arrival>>,
) {
    loop {
        let mut options = MqttOptions::new(&client_id, &broker.host, broker.port);
        options.set_clean_session(false).set_manual_acks(true).set_keep_alive(Duration::from_secs(60));
        options.set_max_packet_size(2 * PAYLOAD_BYTES_MAX, 2 * PAYLOAD_BYTES_MAX);
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &broker.tls {
            options.set_transport(Transport::tls_with_config(tls.clone()));
        }
        // Acknowledgements never wait: there are fewer than packet ids.
        let (client, mut events) = AsyncClient::new(options, usize::from(u16::MAX));
        let lost = loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    let filters =
                        filters.iter().map(|path| SubscribeFilter::new(path.clone(), QoS::AtLeastOnce));
                    let _ = client.try_subscribe_many(filters);
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let message = Message { topic: publish.topic.clone(), payload: publish.payload.to_vec() };
                    let receipt = (client.clone(), publish);
                    if let Some(problem) = recording::problem(&message.topic, &message.payload) {
                        warn!(problem, "a message is left out");
                        let _ = receipt.0.try_ack(&receipt.1); // or it comes again for ever
                    } else if to.send(Ok(Arrival { message, receipt: Some(receipt) })).await.is_err() {
                        return;
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(_))) => info!(%broker, ?filters, "listening"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        warn!(%broker, error = %lost, "no connection to listen on, will retry");
        sleep(RECONNECT).await;
    }
}

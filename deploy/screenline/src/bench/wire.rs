//! A connection to a broker with nothing around it: frames are made beforehand, and acknowledgements leave in bursts, so
//! that the broker is measured and not a client.

use std::{collections::VecDeque, net::SocketAddr};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{
    Error, QoS,
    v4::{Connect, Packet, PubAck, Publish, Subscribe},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const READ_BYTES: usize = 256 << 10;
const WRITE_BYTES: usize = 64 << 10;
/// Above any message of ours.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// Unacknowledged messages of a publisher.
const WINDOW: usize = 1_000;
const PACKET_IDS: usize = 65_535;

pub struct Wire {
    stream: TcpStream,
    read: BytesMut,
}

impl Wire {
    /// # Errors
    /// The broker does not let us in.
    pub async fn connect(broker: SocketAddr, client: &str) -> anyhow::Result<Wire> {
        let stream = TcpStream::connect(broker).await.context("connect to the broker")?;
        stream.set_nodelay(true)?;
        let mut wire = Wire { stream, read: BytesMut::with_capacity(READ_BYTES) };
        let mut hello = Connect::new(client);
        hello.keep_alive = 60;
        let mut frame = BytesMut::new();
        hello.write(&mut frame)?;
        wire.stream.write_all(&frame).await?;
        wire.one(|packet| matches!(packet, Packet::ConnAck(_))).await?;
        Ok(wire)
    }

    /// # Errors
    /// The connection is lost.
    pub async fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        let mut frame = BytesMut::new();
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        subscribe.write(&mut frame)?;
        self.stream.write_all(&frame).await?;
        self.one(|packet| matches!(packet, Packet::SubAck(_))).await
    }

    /// Takes so many messages and acknowledges them, and does nothing else.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn count(&mut self, messages: usize) -> anyhow::Result<()> {
        let (mut counted, mut acks) = (0, BytesMut::with_capacity(WRITE_BYTES));
        while counted < messages {
            for packet in self.packets().await? {
                if let Packet::Publish(message) = packet {
                    counted += 1;
                    PubAck::new(message.pkid).write(&mut acks)?;
                }
            }
            self.stream.write_all(&acks).await?;
            acks.clear();
        }
        Ok(())
    }

    /// Publishes at QoS 1, and returns when all of it is acknowledged.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn publish(&mut self, messages: impl Iterator<Item = (String, Bytes)>) -> anyhow::Result<()> {
        let mut messages = messages.peekable();
        let (mut next, mut in_flight) = (0, 0);
        let mut frames = BytesMut::with_capacity(WRITE_BYTES * 2);
        while messages.peek().is_some() || 0 < in_flight {
            while in_flight < WINDOW && frames.len() < WRITE_BYTES {
                let Some((topic, payload)) = messages.next() else { break };
                let mut message = Publish::from_bytes(topic, QoS::AtLeastOnce, payload);
                message.pkid = (next % PACKET_IDS + 1) as u16;
                message.write(&mut frames)?;
                next += 1;
                in_flight += 1;
            }
            self.stream.write_all(&frames).await?;
            let is_full = WRITE_BYTES <= frames.len();
            frames.clear();
            if is_full && in_flight < WINDOW {
                continue;
            }
            let acknowledged = self.packets().await?;
            let acknowledged = acknowledged.iter().filter(|packet| matches!(packet, Packet::PubAck(_)));
            in_flight -= acknowledged.count();
        }
        Ok(())
    }

    async fn one(&mut self, is_it: impl Fn(&Packet) -> bool) -> anyhow::Result<()> {
        let packets = self.packets().await?;
        ensure!(packets.iter().any(is_it), "the broker answers {packets:?}");
        Ok(())
    }

    /// At least one.
    async fn packets(&mut self) -> anyhow::Result<VecDeque<Packet>> {
        let mut packets = VecDeque::new();
        loop {
            match Packet::read(&mut self.read, PACKET_BYTES_MAX) {
                Ok(packet) => packets.push_back(packet),
                Err(Error::InsufficientBytes(_)) if !packets.is_empty() => return Ok(packets),
                Err(Error::InsufficientBytes(_)) => {
                    self.read.reserve(READ_BYTES);
                    if self.stream.read_buf(&mut self.read).await? == 0 {
                        bail!("the broker hung up");
                    }
                }
                Err(error) => bail!("the broker sends what is no packet: {error}"),
            }
        }
    }
}

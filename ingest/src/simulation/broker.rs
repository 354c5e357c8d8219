//! A model broker: one session for each ingest, of any of the habits seen in real brokers.

use std::collections::VecDeque;

/// How a broker behaves, where brokers differ.
#[derive(Clone, Copy, Debug)]
pub struct Flavour {
    /// Messages in flight that it was asked not to exceed.
    pub window: usize,
    /// It does exceed it (mosquitto 2.0 over 3.1.1).
    pub exceeds_window: bool,
    /// A kept session's messages come again under new packet ids, from 1 (else under their own, as MQTT 5 asks).
    pub renumbers: bool,
    /// QoS 0 waits for a client that is away.
    pub keeps_unpromised: bool,
}

/// Packet ids of a model broker: few, so that they are soon used again, and more than it ever has in flight.
const PACKET_IDS: u16 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Up {
    Connect,
    Subscribe,
    Acknowledge(u16),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down {
    Accepted { session_present: bool },
    Subscribed { granted: bool },
    Publish { delivery: u32, packet: Option<u16> },
}

/// A connection: what is under way in both directions.
#[derive(Debug)]
pub struct Link {
    pub number: u32,
    pub up: VecDeque<Up>,
    pub down: VecDeque<Down>,
    /// The broker has not hung up.
    pub open: bool,
}

impl Link {
    pub fn dial(number: u32) -> Self {
        Link { number, up: VecDeque::from([Up::Connect]), down: VecDeque::new(), open: true }
    }
}

/// A message in a session.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    pub message: u32,
    /// At QoS 1.
    pub promised: bool,
    /// Sent before, on a connection that ended.
    pub again: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    packet: u16,
    parcel: Parcel,
    /// On the present connection.
    sent: bool,
}

/// What the broker sends next.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    pub parcel: Parcel,
    pub packet: Option<u16>,
    pub beyond_window: bool,
    /// The packet id named another message before.
    pub reused: bool,
}

#[derive(Debug, Default)]
pub struct Session {
    exists: bool,
    pub subscribed: bool,
    /// The number of the connection that it is served on.
    pub connection: Option<u32>,
    queue: VecDeque<Parcel>,
    /// In the order they are sent in.
    in_flight: VecDeque<InFlight>,
    last_packet: u16,
    /// Packet ids, as bits; outlives the session.
    used: u128,
}

impl Session {
    /// Says whether there was a session.
    pub fn connect(&mut self, connection: u32, flavour: &Flavour) -> bool {
        self.connection = Some(connection);
        for message in &mut self.in_flight {
            message.parcel.again |= message.sent;
            message.sent = false;
        }
        if flavour.renumbers {
            for message in self.in_flight.drain(..).rev() {
                self.queue.push_front(message.parcel);
            }
            self.last_packet = 0;
        }
        std::mem::replace(&mut self.exists, true)
    }

    /// Says whether the message is kept for the client.
    pub fn enqueue(&mut self, parcel: Parcel, flavour: &Flavour) -> bool {
        let kept = parcel.promised || self.connection.is_some() || flavour.keeps_unpromised;
        if kept {
            self.queue.push_back(parcel);
        }
        kept
    }

    pub fn send(&mut self, flavour: &Flavour) -> Option<Sending> {
        if let Some(message) = self.in_flight.iter_mut().find(|message| !message.sent) {
            message.sent = true;
            let (parcel, packet) = (message.parcel, Some(message.packet));
            return Some(Sending { parcel, packet, beyond_window: false, reused: false });
        }
        let parcel = *self.queue.front()?;
        let beyond_window = parcel.promised && flavour.window <= self.in_flight.len();
        let room = self.in_flight.len() < usize::from(PACKET_IDS);
        if beyond_window && !(flavour.exceeds_window && room) {
            return None;
        }
        self.queue.pop_front();
        if !parcel.promised {
            return Some(Sending { parcel, packet: None, beyond_window, reused: false });
        }
        let packet = self.next_packet();
        let bit = 1 << packet;
        let reused = self.used & bit != 0;
        self.used |= bit;
        self.in_flight.push_back(InFlight { packet, parcel, sent: true });
        Some(Sending { parcel, packet: Some(packet), beyond_window, reused })
    }

    fn next_packet(&mut self) -> u16 {
        loop {
            self.last_packet = self.last_packet % PACKET_IDS + 1;
            if self.in_flight.iter().all(|message| message.packet != self.last_packet) {
                return self.last_packet;
            }
        }
    }

    /// Takes an acknowledgement for what it says, as brokers do.
    ///
    /// # Errors
    /// The packet is not the one to be acknowledged next.
    pub fn acknowledge(&mut self, packet: u16) -> Result<Parcel, String> {
        if let Some(message) = self.in_flight.front().copied()
            && message.packet == packet
            && message.sent
        {
            self.in_flight.pop_front();
            return Ok(message.parcel);
        }
        Err(match self.in_flight.iter().find(|message| message.packet == packet) {
            Some(message) if message.sent => format!("packet {packet} is acknowledged out of order"),
            Some(_) => format!("packet {packet} is acknowledged before this connection delivered it"),
            None => format!("packet {packet} is acknowledged, and is not in flight"),
        })
    }

    /// The broker loses all that it knew of this client, and returns it.
    pub fn forget(&mut self) -> Vec<Parcel> {
        let forgotten = std::mem::take(self);
        self.used = forgotten.used;
        forgotten.in_flight.into_iter().map(|message| message.parcel).chain(forgotten.queue).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }
}

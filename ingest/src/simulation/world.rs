//! One schedule: a broker, a database and one or two ingests, and a scheduler that lets one of them take a step.

/// Tells a step, where somebody listens.
macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if let Some(told) = &mut $world.told {
            told.push(format!($($words)*));
        }
    };
}

mod fault;
mod shell;

use std::{collections::VecDeque, time::Duration};

use super::{
    broker::{Down, Flavour, Link, Parcel, Session, Up},
    database::{Database, Transaction},
    edge::{Edge, Edges},
};
use crate::core::{Arrival, Core, Limits, Moment};

/// A published message.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// At QoS 1.
    promised: bool,
    poison: bool,
    bytes: usize,
    /// The broker has it, and has not lost it.
    owed: bool,
}

/// What the shell of an ingest holds.
struct Ingest {
    core: Core<u32>,
    link: Option<Link>,
    /// The connection before, as far as the broker still reads what was sent on it.
    ended: Option<Link>,
    /// A message that is not taken in yet, and since when: nothing is polled before it is.
    hand: Option<(Arrival<u32>, Moment)>,
    /// When the batch that is filling has waited enough.
    waits_until: Option<Moment>,
    works: VecDeque<Work>,
    /// A batch is committed, and the acknowledgements are not yet taken from the core.
    acknowledging: bool,
    draining: bool,
}

/// A batch on its way through the pipeline.
struct Work {
    transaction: Transaction,
    /// The connection at its making.
    made_on: Option<u32>,
    stage: Stage,
    look_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Decoding,
    Ready,
    /// The COMMIT is sent.
    Committing,
    /// The database said yes, and the core does not know yet.
    Committed,
}

pub struct World {
    rng: fastrand::Rng,
    now: Moment,
    limits: Limits,
    flavour: Flavour,
    /// Whether a batch may be written before the one before it is.
    writers: usize,
    to_publish: usize,
    sent: Vec<Sent>,
    sessions: Vec<Session>,
    database: Database,
    ingests: Vec<Ingest>,
    connections: u32,
    batches: i64,
    /// Whether an ingest ended without its last counts.
    counts_lost: bool,
    shed: u64,
    faults: u8,
    calm: bool,
    steps: u64,
    edges: Edges,
    told: Option<Vec<String>>,
}

/// Whether something happened, or the invariant that was broken.
type Stepped = Result<bool, String>;

// Kinds of faults, as bits: each schedule has its own selection.
const CUT: u8 = 1;
const CRASH: u8 = 2;
const END: u8 = 4;
const FORGET: u8 = 8;
const OUTAGE: u8 = 16;
const FAILURE: u8 = 32;

impl World {
    pub fn new(seed: u64, tell: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let limits = Limits {
            budget_bytes: 100,
            shed_bytes: 80,
            return_bytes: 50,
            blocked: Duration::from_secs(20),
            batch_messages: rng.usize(1..6),
            batch_bytes: rng.usize(20..80),
            linger: Duration::from_millis(50),
            batches: rng.usize(1..4),
        };
        let flavour = Flavour {
            window: rng.usize(1..12),
            exceeds_window: rng.bool(),
            renumbers: rng.bool(),
            keeps_unpromised: rng.bool(),
        };
        let ingests = if rng.u8(..) < 64 { 2 } else { 1 };
        World {
            now: Duration::ZERO,
            limits,
            flavour,
            writers: rng.usize(1..3),
            to_publish: rng.usize(3..24),
            sent: Vec::new(),
            sessions: (0..ingests).map(|_| Session::default()).collect(),
            database: Database::default(),
            ingests: (0..ingests).map(|_| Ingest::new(limits)).collect(),
            connections: 0,
            batches: 0,
            counts_lost: false,
            shed: 0,
            faults: rng.u8(..),
            calm: false,
            steps: 0,
            edges: Edges::default(),
            told: tell.then(Vec::new),
            rng,
        }
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    pub fn told(self) -> Vec<String> {
        self.told.unwrap_or_default()
    }

    /// # Errors
    /// The invariant that was broken.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(50..350) {
            let who = self.rng.usize(..self.ingests.len());
            self.steps += u64::from(self.step(who)?);
        }
        tell!(self, "the faults stop");
        self.calm = true;
        self.database.down = false;
        self.drain_all()?;
        if self.sessions.iter().any(|session| !session.subscribed || session.connection.is_none()) {
            return Err("an ingest is ready, and the broker has no subscription of it".to_owned());
        }
        // And a fresh message passes.
        self.publish(Sent { promised: true, poison: false, bytes: 10, owed: false }, 1);
        self.drain_all()?;
        self.account()
    }

    fn step(&mut self, who: usize) -> Stepped {
        let struck = |fault: u8| self.faults & fault != 0;
        Ok(match self.rng.u16(..1_000) {
            0..90 => self.publish_any(),
            90..240 => self.receive(who)?,
            240..430 => self.send(who),
            430..620 => self.poll(who)?,
            620..710 => self.batch(who)?,
            710..860 => self.work(who)?,
            860..900 => self.acknowledge(who),
            900..940 => self.connect(who),
            940..965 => self.pass(),
            965..980 => self.orphan()?,
            980..986 if struck(CUT) => self.cut(who),
            986..989 if struck(CRASH) => self.crash(who),
            989..991 if struck(END) => self.drain(who),
            991..994 if struck(FORGET) => self.forget(who),
            994..1_000 if struck(OUTAGE) => self.toggle_database(),
            _ => false,
        })
    }

    /// Until nothing is left to do; the bound is far above what a schedule of this size needs.
    fn drain_all(&mut self) -> Result<(), String> {
        let mut still = false;
        for _ in 0..1_000 {
            let mut moved = u64::from(self.publish_any());
            while self.orphan()? {
                moved += 1;
            }
            for who in 0..self.ingests.len() {
                let steps = [
                    self.connect(who),
                    self.receive(who)?,
                    self.send(who),
                    self.poll(who)?,
                    self.batch(who)?,
                    self.work(who)?,
                    self.acknowledge(who),
                ];
                moved += steps.iter().filter(|moved| **moved).count() as u64;
            }
            self.steps += moved;
            if still && moved == 0 && self.is_drained() {
                return Ok(());
            }
            still = moved == 0;
            if still {
                self.now += self.limits.linger;
            }
        }
        let held: Vec<_> = self.ingests.iter().map(|ingest| ingest.core.held()).collect();
        Err(format!(
            "does not drain: {held:?}, broker empty: {}",
            self.sessions.iter().all(Session::is_empty)
        ))
    }

    fn is_drained(&self) -> bool {
        let quiet = |ingest: &Ingest| {
            ingest.core.held().messages == 0
                && ingest.works.is_empty()
                && ingest.hand.is_none()
                && ingest.core.ready()
        };
        self.to_publish == 0 && self.sessions.iter().all(Session::is_empty) && self.ingests.iter().all(quiet)
    }

    fn publish_any(&mut self) -> bool {
        if self.to_publish == 0 {
            return false;
        }
        self.to_publish -= 1;
        let (promised, poison) = (self.rng.u8(..) < 208, self.rng.u8(..) < 32);
        let bytes = if self.rng.u8(..) < 4 { 150 } else { self.rng.usize(5..30) };
        // Twice: two subscriptions that overlap, or a publisher that was not sure.
        let copies = if self.rng.u8(..) < 24 { 2 } else { 1 };
        self.publish(Sent { promised, poison, bytes, owed: false }, copies);
        true
    }

    fn publish(&mut self, mut sent: Sent, copies: usize) {
        let message = self.sent.len() as u32;
        let start = self.rng.usize(..self.sessions.len());
        for copy in 0..copies {
            // A shared subscription: to one of those who are subscribed, rather to one who is here.
            let members = (0..self.sessions.len()).map(|i| (start + i) % self.sessions.len());
            let member = members
                .filter(|member| self.sessions[*member].subscribed)
                .min_by_key(|member| self.sessions[*member].connection.is_none());
            let Some(member) = member else { break };
            if 0 < member {
                self.edges.hit(Edge::SharedByTwo);
            }
            if 0 < copy {
                self.edges.hit(Edge::MessageDuplicated);
            }
            let parcel = Parcel { message, promised: sent.promised, again: false };
            let kept = self.sessions[member].enqueue(parcel, &self.flavour);
            sent.owed |= kept && sent.promised;
        }
        tell!(self, "published message {message}: {sent:?}");
        self.sent.push(sent);
    }

    /// The broker reads a packet.
    fn receive(&mut self, who: usize) -> Stepped {
        let (ingest, session) = (&mut self.ingests[who], &mut self.sessions[who]);
        // What was sent on the connection before is read until the next one asks to be served.
        let served = |link: &&mut Link| session.connection == Some(link.number) && !link.up.is_empty();
        let (link, has_ended) = match (ingest.ended.as_mut().filter(served), &mut ingest.link) {
            (Some(ended), Some(_)) if self.rng.bool() => (ended, true),
            (Some(ended), None) => (ended, true),
            (_, Some(link)) if link.open => (link, false),
            _ => return Ok(false),
        };
        let Some(packet) = link.up.pop_front() else { return Ok(false) };
        match packet {
            Up::Connect => {
                if session.connection.is_some() {
                    self.edges.hit(Edge::ConnectionTakenOver);
                }
                let number = link.number;
                let session_present = session.connect(number, &self.flavour);
                link.down.push_back(Down::Accepted { session_present });
                tell!(self, "broker accepts connection {number} of {who}, session {session_present}");
            }
            Up::Subscribe => {
                let granted = self.calm || self.rng.u8(..) < 250;
                session.subscribed |= granted;
                link.down.push_back(Down::Subscribed { granted });
                tell!(self, "broker grants {who} its topics: {granted}");
            }
            Up::Acknowledge(packet) => {
                let message = session.acknowledge(packet)?.message;
                tell!(self, "broker takes packet {packet} of {who}, message {message}, for acknowledged");
                if !self.database.has(message) {
                    return Err(format!("message {message} is acknowledged and not in the tables"));
                }
                if has_ended {
                    self.edges.hit(Edge::AcknowledgedAfterCrash);
                }
            }
        }
        Ok(true)
    }

    /// The broker sends a message.
    fn send(&mut self, who: usize) -> bool {
        let (ingest, session) = (&mut self.ingests[who], &mut self.sessions[who]);
        let Some(connection) = session.connection.filter(|_| session.subscribed) else { return false };
        let Some(sending) = session.send(&self.flavour) else { return false };
        let parcel = sending.parcel;
        if parcel.again {
            self.edges.hit(Edge::MessageRedelivered);
        }
        if sending.beyond_window {
            self.edges.hit(Edge::WindowExceeded);
        }
        if sending.reused {
            self.edges.hit(Edge::PacketReused);
        }
        match ingest.link.as_mut().filter(|link| link.number == connection && link.open) {
            Some(link) => {
                let poison = self.sent[parcel.message as usize].poison;
                let delivery = self.database.deliver(parcel.message, poison);
                link.down.push_back(Down::Publish { delivery, packet: sending.packet });
                tell!(self, "broker sends {who} delivery {delivery}: {sending:?}");
            }
            // Into a connection whose other end is gone.
            None if !parcel.promised => self.edges.hit(Edge::UnpromisedLost),
            None => {}
        }
        true
    }

    /// Everything is where it belongs, and the counters say so.
    fn account(&self) -> Result<(), String> {
        for (number, sent) in self.sent.iter().enumerate() {
            if sent.owed && !self.database.has(number as u32) {
                return Err(format!("message {number} was promised and is not in the tables"));
            }
        }
        let ledger = self.database.ledger;
        let counted: u64 = self.database.deliveries.iter().map(|delivery| u64::from(delivery.counted)).sum();
        let placed = self.database.places();
        if ledger.received != counted || placed != ledger.accepted + ledger.rejected {
            return Err(format!("{ledger:?} for {counted} deliveries and {placed} messages in the tables"));
        }
        if self.shed < ledger.shed || !self.counts_lost && ledger.shed < self.shed {
            return Err(format!("{} messages were shed, the ledger says {}", self.shed, ledger.shed));
        }
        Ok(())
    }
}

impl Ingest {
    fn new(limits: Limits) -> Self {
        Ingest {
            core: Core::new(limits),
            link: None,
            ended: None,
            hand: None,
            waits_until: None,
            works: VecDeque::new(),
            acknowledging: false,
            draining: false,
        }
    }
}

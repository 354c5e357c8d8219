//! What ingest decides, apart from doing it: what is taken in, what makes a batch, which acknowledgement may leave and
//! when, when to let go of the broker. No I/O, no clock, no randomness: the shell tells what happened and does what is
//! decided here, and `simulation` does the same with a model broker and a model database.

use std::{collections::VecDeque, mem::take, time::Duration};

use processor::{
    faults::{Bug, planted},
    model::BatchId,
};

/// Since the service started.
pub type Moment = Duration;

/// Every bound, with its reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Received and not yet acknowledged. When it is spent the socket is not read, and the broker, which is our spool,
    /// keeps the rest.
    pub budget_bytes: usize,
    /// From here on messages of QoS 0 are dropped, so that those which were promised something have the rest.
    pub shed_bytes: usize,
    /// At most so much is held when a connection that was let go is opened again: else it would soon be let go again.
    pub return_bytes: usize,
    /// So long a full budget keeps the connection waiting; then it is let go on purpose.
    pub blocked: Duration,
    pub batch_messages: usize,
    pub batch_bytes: usize,
    /// A batch that is not full waits so long for more.
    pub linger: Duration,
    /// Batches handed out and not committed.
    pub batches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let budget_bytes = 64 << 20; // ten seconds of a city at 6 MB/s
        Limits {
            budget_bytes,
            shed_bytes: budget_bytes / 5 * 4,
            return_bytes: budget_bytes / 2,
            blocked: Duration::from_secs(20), // a broker gives up on us after 90 s without a ping
            batch_messages: 4_096, // under half of the 10,000 a broker may have in flight, so that one fills while one is written
            batch_bytes: 4 << 20,  // about 20,000 packed readings: COPY gains nothing beyond
            linger: Duration::from_millis(25),
            batches: 3, // one is written, one waits decoded, one is decoded
        }
    }
}

/// A message as it came over the connection.
#[derive(Debug)]
pub struct Arrival<M> {
    pub message: M,
    /// What to acknowledge; none for QoS 0.
    pub packet: Option<u16>,
    /// What it costs to hold.
    pub bytes: usize,
}

/// What becomes of an arrival. `wake` says that there may now be a batch where there was none.
#[derive(Debug)]
pub enum Offer<M> {
    Taken {
        wake: bool,
    },
    /// Of QoS 0, and dropped to leave room for the others.
    Shed {
        wake: bool,
    },
    /// We are draining; the broker keeps it.
    Refused,
    /// No room: offer it again when a batch committed, or at `until`. Poll nothing meanwhile.
    Full {
        arrival: Arrival<M>,
        until: Moment,
    },
    /// No room for too long: drop the connection; the broker keeps the message.
    LetGo,
}

/// The answer to a broker that accepted the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    pub subscribe: bool,
    /// The broker kept nothing of our session: what waited in it is lost.
    pub forgotten: bool,
}

/// Messages for one transaction.
#[derive(Debug)]
pub struct Gathered<M> {
    pub id: BatchId,
    pub messages: Vec<M>,
    /// Messages of QoS 0 dropped since the batch before.
    pub shed: u64,
}

#[derive(Debug)]
pub enum Next<M> {
    Batch(Gathered<M>),
    /// Ask again at this moment, or when woken.
    At(Moment),
    /// Ask again when woken, or when a batch committed.
    Wait,
    /// Drained: there will be no other.
    Drained,
}

/// What to do with a batch that was not written, or of which nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Under its own id, by which the database knows whether it was written after all.
    Again,
    /// We are draining; the broker delivers its messages again.
    GiveUp,
}

/// What is held, for gauges.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Held {
    /// Of the budget.
    pub bytes: usize,
    pub messages: usize,
    /// Of the messages: not yet in a batch.
    pub queued: usize,
    pub batches: usize,
    /// Messages of QoS 0 dropped, ever.
    pub shed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Down,
    /// Dialling, or connected and not yet granted its topics.
    Opening,
    Subscribed,
}

/// Stands for one delivery on one connection.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    generation: u64,
    packet: Option<u16>,
    bytes: usize,
}

/// A batch that was handed out.
#[derive(Debug)]
struct Flight {
    id: BatchId,
    receipts: Vec<Receipt>,
    committed: bool,
    failed: bool,
}

/// The state of an ingest, over messages of any kind.
#[derive(Debug)]
pub struct Core<M> {
    limits: Limits,
    link: Link,
    /// Counts connections. A packet id means something only on the connection it came over.
    generation: u64,
    /// Taken in, in order of arrival, and not in a batch.
    queue: VecDeque<(M, Receipt)>,
    queued_bytes: usize,
    /// Since when the batch that is filling has somebody waiting for it.
    filling_since: Option<Moment>,
    /// In order of arrival.
    flights: VecDeque<Flight>,
    /// May leave on the present connection, in this order.
    acknowledged: Vec<u16>,
    held: Held,
    /// Of QoS 0, dropped since the batch before.
    shed: u64,
    blocked_since: Option<Moment>,
    let_go: bool,
    draining: bool,
}

impl<M> Core<M> {
    pub fn new(limits: Limits) -> Self {
        Core {
            limits,
            link: Link::Down,
            generation: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            filling_since: None,
            flights: VecDeque::new(),
            acknowledged: Vec::new(),
            held: Held::default(),
            shed: 0,
            blocked_since: None,
            let_go: false,
            draining: false,
        }
    }

    /// Whether a connection may be opened; after one was let go, only once the writers move.
    pub fn may_connect(&self) -> bool {
        !self.let_go || self.held.bytes <= self.limits.return_bytes
    }

    /// A connection is opened: a new generation.
    pub fn connecting(&mut self) {
        self.let_go = false;
        self.generation += 1;
        self.link = Link::Opening;
    }

    /// Topics are asked for always: the mapping may name others than the session kept.
    pub fn connected(&self, session_present: bool) -> Greeting {
        let forgotten = !session_present && 1 < self.generation;
        Greeting { subscribe: !(forgotten && planted(Bug::ForgetSubscribe)), forgotten }
    }

    /// Every topic was granted at QoS 1.
    pub fn subscribed(&mut self) {
        self.link = Link::Subscribed;
    }

    /// The connection is gone, and what was to be acknowledged on it will be delivered again.
    pub fn lost(&mut self) {
        self.link = Link::Down;
        self.blocked_since = None;
        if !planted(Bug::NoFence) {
            self.acknowledged.clear();
        }
    }

    /// From now on nothing is taken in.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether messages flow: subscribed, and the database takes batches.
    pub fn ready(&self) -> bool {
        self.link == Link::Subscribed && !self.draining && !self.flights.iter().any(|flight| flight.failed)
    }

    pub fn held(&self) -> Held {
        Held { queued: self.queue.len(), batches: self.flights.len(), ..self.held }
    }

    /// Takes a message in, if there is room.
    pub fn offer(&mut self, arrival: Arrival<M>, now: Moment) -> Offer<M> {
        let bytes = arrival.bytes.min(self.limits.budget_bytes); // one that is larger than all has it alone
        let after = self.held.bytes + bytes;
        if arrival.packet.is_none()
            && (self.draining || 0 < self.held.bytes && self.limits.shed_bytes < after)
        {
            let wake = self.is_idle();
            self.shed += 1;
            self.held.shed += 1;
            return Offer::Shed { wake };
        }
        if self.draining {
            return Offer::Refused;
        }
        if self.limits.budget_bytes < after && !planted(Bug::Unbounded) {
            let until = *self.blocked_since.get_or_insert(now) + self.limits.blocked;
            if now < until {
                return Offer::Full { arrival, until };
            }
            self.let_go = true;
            return Offer::LetGo;
        }
        self.blocked_since = None;
        let (was_idle, was_full) = (self.is_idle(), self.is_full());
        let receipt = Receipt { generation: self.generation, packet: arrival.packet, bytes };
        self.queue.push_back((arrival.message, receipt));
        self.queued_bytes += bytes;
        self.held.bytes += bytes;
        self.held.messages += 1;
        Offer::Taken { wake: was_idle || !was_full && self.is_full() }
    }

    /// The next batch, to be called `id`: large under load, small when it is quiet.
    pub fn next_batch(&mut self, id: BatchId, now: Moment) -> Next<M> {
        if self.is_idle() {
            return if self.draining { Next::Drained } else { Next::Wait };
        }
        if self.limits.batches <= self.flights.len() {
            return Next::Wait;
        }
        let close = *self.filling_since.get_or_insert(now) + self.limits.linger;
        if now < close && !self.is_full() && !self.draining {
            return Next::At(close);
        }
        self.filling_since = None;
        let (messages, receipts): (Vec<M>, Vec<Receipt>) = self.queue.drain(..self.fitting()).unzip();
        self.queued_bytes -= receipts.iter().map(|receipt| receipt.bytes).sum::<usize>();
        let mut flight = Flight { id, receipts, committed: false, failed: false };
        if planted(Bug::AckBeforeCommit) {
            for receipt in &mut flight.receipts {
                self.acknowledge(*receipt);
                receipt.packet = None;
            }
        }
        self.flights.push_back(flight);
        Next::Batch(Gathered { id, messages, shed: take(&mut self.shed) })
    }

    /// A batch is in the tables. Its messages are acknowledged once all before them are too.
    pub fn committed(&mut self, id: BatchId) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.committed = true;
            flight.failed = false;
        }
        let unordered = planted(Bug::UnorderedAcks);
        let settled = |flights: &VecDeque<Flight>| {
            flights.iter().position(|flight| flight.committed).filter(|at| *at == 0 || unordered)
        };
        while let Some(mut flight) = settled(&self.flights).and_then(|at| self.flights.remove(at)) {
            if unordered {
                flight.receipts.reverse();
            }
            for receipt in flight.receipts {
                self.release(receipt);
            }
        }
    }

    /// A batch was not written, or nobody knows.
    pub fn failed(&mut self, id: BatchId) -> Retry {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.failed = true;
        }
        if self.draining { Retry::GiveUp } else { Retry::Again }
    }

    /// Forgets to acknowledge messages of a batch: a planted bug.
    pub fn withhold(&mut self, id: BatchId, messages: impl Iterator<Item = usize>) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            for message in messages {
                flight.receipts[message].packet = None;
            }
        }
    }

    /// What to acknowledge now on the present connection, in this order.
    pub fn acknowledgements(&mut self) -> Vec<u16> {
        if self.link == Link::Down { Vec::new() } else { take(&mut self.acknowledged) }
    }

    fn release(&mut self, receipt: Receipt) {
        self.held.bytes -= receipt.bytes;
        self.held.messages -= 1;
        self.acknowledge(receipt);
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        // Only where it came from: on another connection its packet id may name another message.
        let current = self.link != Link::Down && receipt.generation == self.generation;
        if let Some(packet) = receipt.packet
            && (current || planted(Bug::NoFence))
        {
            self.acknowledged.push(packet);
        }
    }

    /// Whether there is nothing to make a batch of. A batch may be without messages, to account for those shed.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.shed == 0
    }

    fn is_full(&self) -> bool {
        self.limits.batch_messages <= self.queue.len() || self.limits.batch_bytes <= self.queued_bytes
    }

    /// How many of the queue make one batch.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |(_, receipt): &&(M, Receipt)| {
            let fits = bytes < self.limits.batch_bytes;
            bytes += receipt.bytes;
            fits
        };
        self.queue.iter().take(self.limits.batch_messages).take_while(fits).count()
    }
}

#[cfg(test)]
mod tests;

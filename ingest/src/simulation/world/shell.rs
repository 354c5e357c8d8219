//! What the shell of an ingest does, as the scheduler lets it.

use processor::{
    faults::{Bug, planted},
    model::BatchId,
};

use super::{FAILURE, Stage, Stepped, Work, World};
use crate::{
    core::{Arrival, Moment, Next, Offer, Retry},
    simulation::{
        broker::{Down, Link, Up},
        database::{Commit, Transaction},
        edge::Edge,
    },
};

impl World {
    /// The task that polls takes a step.
    pub(super) fn poll(&mut self, who: usize) -> Stepped {
        let ingest = &mut self.ingests[who];
        if let Some((arrival, since)) = ingest.hand.take() {
            return self.take_in(who, arrival, since);
        }
        let Some(link) = &mut ingest.link else { return Ok(false) };
        let Some(packet) = link.down.pop_front() else {
            if !link.open {
                tell!(self, "ingest {who} sees that its connection is gone");
                self.hang_up(who);
                return Ok(true);
            }
            return Ok(false);
        };
        match packet {
            Down::Accepted { session_present } => {
                let greeting = ingest.core.connected(session_present);
                self.edges.hit(match (session_present, greeting.forgotten) {
                    (true, _) => Edge::SessionKept,
                    (false, false) => Edge::SessionNew,
                    (false, true) => Edge::SessionForgotten,
                });
                if greeting.subscribe {
                    link.up.push_back(Up::Subscribe);
                } else {
                    ingest.core.subscribed();
                }
            }
            Down::Subscribed { granted: true } => {
                self.edges.hit(Edge::SubscriptionGranted);
                ingest.core.subscribed();
            }
            Down::Subscribed { granted: false } => {
                self.edges.hit(Edge::SubscriptionDenied);
                self.hang_up(who);
            }
            Down::Publish { delivery, packet } => {
                let message = self.database.deliveries[delivery as usize].message;
                let bytes = self.sent[message as usize].bytes;
                return self.take_in(who, Arrival { message: delivery, packet, bytes }, self.now);
            }
        }
        Ok(true)
    }

    /// A message is offered that has been in hand since `since`.
    fn take_in(&mut self, who: usize, arrival: Arrival<u32>, since: Moment) -> Stepped {
        let (limits, now) = (self.limits, self.now);
        let ingest = &mut self.ingests[who];
        let (delivery, promised) = (arrival.message, arrival.packet.is_some());
        let offer = ingest.core.offer(arrival, now);
        tell!(self, "ingest {who} is offered delivery {delivery}: {offer:?}");
        let held = ingest.core.held();
        if limits.budget_bytes < held.bytes {
            return Err(format!("{} bytes are held, {} may be", held.bytes, limits.budget_bytes));
        }
        match offer {
            Offer::Taken { .. } if ingest.draining => Err("a drain takes a message in".to_owned()),
            Offer::Taken { .. } if !promised && 1 < held.messages && limits.shed_bytes < held.bytes => {
                Err(format!("QoS 0 takes what is left for others: {held:?}"))
            }
            Offer::Taken { .. } => {
                self.edges.hit(Edge::MessageTaken);
                Ok(true)
            }
            Offer::Shed { .. } => {
                self.shed += 1;
                self.edges.hit(Edge::MessageShed);
                Ok(true)
            }
            Offer::Refused => {
                self.edges.hit(Edge::MessageRefused);
                Ok(true)
            }
            Offer::Full { arrival, .. } => {
                ingest.hand = Some((arrival, since));
                self.edges.hit(Edge::MessageBlocked);
                Ok(false)
            }
            Offer::LetGo if now < since + limits.blocked => {
                Err(format!("the broker is let go after {:?}", now - since))
            }
            Offer::LetGo => {
                self.edges.hit(Edge::ConnectionLetGo);
                self.hang_up(who);
                Ok(true)
            }
        }
    }

    /// An ingest closes its connection, or sees that it is gone. What it sent may still be read.
    fn hang_up(&mut self, who: usize) {
        let ingest = &mut self.ingests[who];
        if ingest.acknowledging {
            self.edges.hit(Edge::LostWhileAcknowledging);
        }
        ingest.core.lost();
        ingest.hand = None;
        ingest.ended = ingest.link.take().filter(|link| link.open);
    }

    pub(super) fn connect(&mut self, who: usize) -> bool {
        let ingest = &mut self.ingests[who];
        if ingest.link.is_some() || ingest.draining {
            return false;
        }
        if !ingest.core.may_connect() {
            self.edges.hit(Edge::ConnectionHeldBack);
            return false;
        }
        self.connections += 1;
        ingest.core.connecting();
        ingest.link = Some(Link::dial(self.connections));
        tell!(self, "ingest {who} dials connection {}", self.connections);
        true
    }

    /// The pipeline takes a batch, if there is one.
    pub(super) fn batch(&mut self, who: usize) -> Stepped {
        let ingest = &mut self.ingests[who];
        let queued = ingest.core.held().queued;
        match ingest.core.next_batch(BatchId(self.batches), self.now) {
            Next::Batch(gathered) => {
                self.batches += 1;
                let messages = gathered.messages.len();
                let bytes = |delivery: &u32| {
                    let message = self.database.deliveries[*delivery as usize].message;
                    self.sent[message as usize].bytes
                };
                let is_full = messages == self.limits.batch_messages
                    || self.limits.batch_bytes <= gathered.messages.iter().map(bytes).sum();
                let has_waited = ingest.waits_until.take().is_some_and(|moment| moment <= self.now);
                self.edges.hit(match messages {
                    0 => Edge::BatchOfShedOnly,
                    _ if is_full => Edge::BatchFull,
                    _ if ingest.draining => Edge::BatchDrained,
                    _ => Edge::BatchLingered,
                });
                if !is_full && !has_waited && !ingest.draining {
                    return Err(format!("a batch of {messages} messages is neither full nor has it waited"));
                }
                tell!(self, "ingest {who} makes {gathered:?}");
                let transaction =
                    Transaction { id: gathered.id, deliveries: gathered.messages, shed: gathered.shed };
                ingest.works.push_back(Work {
                    transaction,
                    made_on: ingest.link.as_ref().map(|link| link.number),
                    stage: Stage::Decoding,
                    look_up: false,
                });
                ingest.acknowledging = true;
                Ok(true)
            }
            Next::Drained => self.ended_in_order(who),
            Next::At(moment) => {
                ingest.waits_until = Some(moment);
                Ok(false)
            }
            Next::Wait => {
                if 0 < queued {
                    self.edges.hit(Edge::BatchesAtLimit);
                }
                Ok(false)
            }
        }
    }

    /// A batch goes one step further.
    pub(super) fn work(&mut self, who: usize) -> Stepped {
        let ingest = &mut self.ingests[who];
        let writable = self.writers.min(ingest.works.len());
        if writable == 0 {
            return Ok(false);
        }
        let decoding = ingest.works.iter().position(|work| work.stage == Stage::Decoding);
        let at = match decoding {
            Some(at) if writable <= at || self.rng.bool() => at,
            _ => self.rng.usize(..writable),
        };
        match ingest.works[at].stage {
            Stage::Decoding => {
                ingest.works[at].stage = Stage::Ready;
                Ok(true)
            }
            Stage::Ready if self.database.down => {
                self.edges.hit(Edge::DatabaseDown);
                self.failed(who, at)
            }
            Stage::Ready => {
                let id = ingest.works[at].transaction.id;
                ingest.works[at].stage = Stage::Committing;
                // The claim of the batch's id waits for the end of a half-dead attempt.
                if let Some(orphan) = self.database.orphan_of(id) {
                    self.end(&orphan)?;
                }
                Ok(true)
            }
            Stage::Committing => self.commit(who, at),
            Stage::Committed => self.committed(who, at),
        }
    }

    fn commit(&mut self, who: usize, at: usize) -> Stepped {
        let work = &mut self.ingests[who].works[at];
        let chance = if self.calm || self.faults & FAILURE == 0 { 0 } else { self.rng.u8(..) };
        match chance {
            0..180 => {
                match self.database.commit(&work.transaction, work.look_up)? {
                    Commit::Written { rejected, rejected_again } => {
                        work.stage = Stage::Committed;
                        if rejected {
                            self.edges.hit(Edge::MessageRejected);
                        }
                        if rejected_again {
                            self.edges.hit(Edge::MessageRejectedAgain);
                        }
                    }
                    Commit::Settled => {
                        self.edges.hit(Edge::SettledById);
                        work.stage = Stage::Committed;
                    }
                    Commit::DuplicateKey => {
                        self.edges.hit(Edge::KeyStored);
                        work.look_up = true;
                    }
                }
                Ok(true)
            }
            180..216 => {
                self.edges.hit(Edge::WriteFailed);
                self.failed(who, at)
            }
            _ => {
                self.edges.hit(Edge::OutcomeUnknown);
                self.database.orphans.push(work.transaction.clone());
                self.failed(who, at)
            }
        }
    }

    fn failed(&mut self, who: usize, at: usize) -> Stepped {
        let ingest = &mut self.ingests[who];
        let work = &mut ingest.works[at];
        work.stage = Stage::Ready;
        let retry = ingest.core.failed(work.transaction.id);
        tell!(self, "ingest {who} does not know of {:?}: {retry:?}", work.transaction.id);
        if (retry == Retry::GiveUp) != ingest.draining {
            return Err(format!("{retry:?} after a failure, draining: {}", ingest.draining));
        }
        if retry == Retry::GiveUp {
            self.edges.hit(Edge::GaveUp);
            self.restart(who);
        }
        Ok(true)
    }

    fn committed(&mut self, who: usize, at: usize) -> Stepped {
        let ingest = &mut self.ingests[who];
        let Some(work) = ingest.works.remove(at) else { return Ok(false) };
        let transaction = work.transaction;
        tell!(self, "ingest {who} hears that {:?} is committed", transaction.id);
        self.edges.hit(if at == 0 { Edge::Committed } else { Edge::CommittedOutOfOrder });
        match &ingest.link {
            None => self.edges.hit(Edge::CommittedWhileDisconnected),
            Some(link) if work.made_on != Some(link.number) => {
                self.edges.hit(Edge::CommittedForOldConnection);
            }
            Some(_) => {}
        }
        let poison = |delivery: &u32| self.database.deliveries[*delivery as usize].poison;
        if planted(Bug::RejectedUnacknowledged) {
            let rejected = (0..transaction.deliveries.len()).filter(|i| poison(&transaction.deliveries[*i]));
            ingest.core.withhold(transaction.id, rejected);
        }
        ingest.core.committed(transaction.id);
        let held = ingest.core.held();
        let known =
            held.queued + ingest.works.iter().map(|work| work.transaction.deliveries.len()).sum::<usize>();
        if held.messages < known || ingest.works.is_empty() && known < held.messages {
            return Err(format!("{held:?} are said to be held, {known} are known of"));
        }
        ingest.acknowledging = true;
        Ok(true)
    }

    /// What may be acknowledged is sent. The connection may have been lost since the commit.
    pub(super) fn acknowledge(&mut self, who: usize) -> bool {
        let ingest = &mut self.ingests[who];
        let acknowledges = std::mem::take(&mut ingest.acknowledging);
        let packets = ingest.core.acknowledgements();
        if let Some(link) = &mut ingest.link {
            tell!(self, "ingest {who} acknowledges packets {packets:?}");
            link.up.extend(packets.into_iter().map(Up::Acknowledge));
        }
        acknowledges
    }
}

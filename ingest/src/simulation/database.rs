//! A model database: batches commit as wholes, and a batch's id says whether it did.

use processor::{
    faults::{Bug, planted},
    model::BatchId,
};

/// One delivery of a message to an ingest.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub message: u32,
    /// Whether nothing of the message can be used.
    pub poison: bool,
    /// How often the ledger counted it.
    pub counted: u32,
}

/// What a batch wants to store.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: BatchId,
    pub deliveries: Vec<u32>,
    pub shed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    Written {
        rejected: bool,
        rejected_again: bool,
    },
    /// The batch was committed before, by an attempt of which nobody knew.
    Settled,
    /// A key is stored already: nothing was written, look the keys up first.
    DuplicateKey,
}

/// In messages, as the real ledger.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ledger {
    pub received: u64,
    pub accepted: u64,
    pub repeated: u64,
    pub rejected: u64,
    pub shed: u64,
}

#[derive(Debug, Default)]
pub struct Database {
    pub down: bool,
    /// Transactions whose COMMIT was sent by somebody who did not wait for the answer.
    pub orphans: Vec<Transaction>,
    pub ledger: Ledger,
    pub deliveries: Vec<Delivery>,
    /// By message: whether it is in the tables, as a reading or as a rejection.
    placed: Vec<bool>,
    /// By id.
    batches: Vec<bool>,
}

impl Database {
    pub fn has(&self, message: u32) -> bool {
        self.placed.get(message as usize).copied().unwrap_or(false)
    }

    pub fn places(&self) -> u64 {
        self.placed.iter().filter(|placed| **placed).count() as u64
    }

    pub fn deliver(&mut self, message: u32, poison: bool) -> u32 {
        self.deliveries.push(Delivery { message, poison, counted: 0 });
        (self.deliveries.len() - 1) as u32
    }

    /// # Errors
    /// A delivery is counted twice.
    pub fn commit(&mut self, transaction: &Transaction, look_up: bool) -> Result<Commit, String> {
        let Transaction { id, deliveries, shed } = transaction;
        let slot = id.0 as usize;
        if self.batches.len() <= slot {
            self.batches.resize(slot + 1, false);
        }
        if self.batches[slot] && !planted(Bug::BlindRetry) {
            return Ok(Commit::Settled);
        }
        let stored = |delivery: &u32| self.has(self.deliveries[*delivery as usize].message);
        if !look_up && deliveries.iter().any(stored) {
            return Ok(Commit::DuplicateKey);
        }
        self.batches[slot] = true;
        self.ledger.shed += shed;
        let (mut rejected, mut rejected_again) = (false, false);
        for number in deliveries {
            let delivery = &mut self.deliveries[*number as usize];
            delivery.counted += 1;
            if 1 < delivery.counted {
                return Err(format!("delivery {number} of message {} is counted twice", delivery.message));
            }
            let (message, poison) = (delivery.message as usize, delivery.poison);
            if self.placed.len() <= message {
                self.placed.resize(message + 1, false);
            }
            self.ledger.received += 1;
            match (std::mem::replace(&mut self.placed[message], true), poison) {
                (true, poison) => {
                    rejected_again |= poison;
                    self.ledger.repeated += 1;
                }
                (false, true) => {
                    rejected = true;
                    self.ledger.rejected += 1;
                }
                (false, false) => self.ledger.accepted += 1,
            }
        }
        Ok(Commit::Written { rejected, rejected_again })
    }

    /// The orphan of a batch ends before another attempt at the batch goes on.
    pub fn orphan_of(&mut self, id: BatchId) -> Option<Transaction> {
        let at = self.orphans.iter().position(|orphan| orphan.id == id)?;
        Some(self.orphans.swap_remove(at))
    }
}

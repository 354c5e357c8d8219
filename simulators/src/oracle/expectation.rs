//! What the tables must say after a ledger's messages, and what they may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ledger::Entry;
use super::load::{Message, Numbers, Plan};
use super::tables::{COLUMNS, Place, Rejection, Totals};

/// Something that was sent: it may be there. If the broker took it, it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    pub taken: bool,
    /// Said by the first message of its key.
    pub first: bool,
    /// Messages that say so.
    pub messages: u32,
}

#[derive(Debug, Default)]
pub struct Expectation {
    /// By key and the value's bits: more than one where values conflict.
    pub facts: BTreeMap<Place, BTreeMap<u64, Claim>>,
    /// The flags that a reading earns when it is written, where it earns any.
    pub flags: BTreeMap<Place, i32>,
    /// With the readings refused; 0 for the whole message.
    pub rejections: BTreeMap<Rejection, (i64, Claim)>,
    /// By source and epoch, each number that was sent.
    pub numbers: BTreeMap<(Arc<str>, i64), BTreeMap<i64, Sent>>,
    /// The ledger's columns, if every send reached Screenline once.
    pub totals: Totals,
    /// Stored readings that are flagged late: at least, and at most.
    pub late: (i64, i64),
    /// Readings in messages that the ledger has elsewhere.
    pub uncounted: i64,
    /// Sends, and those of them that the broker took at least once.
    pub sends: i64,
    pub taken: i64,
}

/// What was sent under one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    pub taken: bool,
    /// Different messages: one, if all is well.
    pub messages: u32,
    /// Messages among them of which something must be refused.
    pub refused: u32,
}

impl Expectation {
    pub fn new(plan: &Plan, entries: &[Entry]) -> Expectation {
        let mut expected = Expectation::default();
        let numbered = plan.load.numbers != Numbers::None;
        for (message, entry) in plan.messages.iter().zip(entries) {
            if 0 < entry.sent {
                expected.add(message, entry.taken_us.is_some(), true);
                let again = i64::from(entry.sent) - 1;
                expected.again(message, again, numbered);
            }
        }
        expected.close();
        expected
    }

    /// A message that was sent, for the first time. `counted`: the ledger's lines of our own sources have it.
    pub fn add(&mut self, message: &Message, taken: bool, counted: bool) {
        self.sends += 1;
        self.taken += i64::from(taken);
        for fact in &message.facts {
            let name = (fact.key.sensor.clone(), fact.key.metric.clone());
            let place = (name, fact.key.time_us, fact.key.event);
            if fact.flags != 0 {
                self.flags.insert(place.clone(), fact.flags);
            }
            let values = self.facts.entry(place).or_default();
            let first = values.is_empty();
            let said = values.entry(fact.value.to_bits()).or_default();
            said.first |= first;
            claim(said, taken);
        }
        for refusal in &message.refusals {
            let rejection = Rejection {
                topic: message.topic.clone(),
                reason: refusal.reason.to_owned(),
                sha256: Sha256::digest(&message.payload).to_vec(),
            };
            let (readings, claimed) = self.rejections.entry(rejection).or_default();
            *readings = refusal.readings;
            claim(claimed, taken);
        }
        if let Some(number) = &message.number {
            let numbers = self.numbers.entry((number.source.clone(), number.epoch)).or_default();
            let sent = numbers.entry(number.seq).or_default();
            let reused = i64::from(0 < sent.messages);
            sent.taken |= taken;
            sent.messages += 1;
            sent.refused += u32::from(!message.refusals.is_empty());
            self.count("reused", reused);
        }
        if counted {
            self.count("received", 1);
            self.count("rejected", message.refused_readings());
            self.outcome(message, 1);
        } else {
            self.uncounted += message.facts.len() as i64;
        }
    }

    /// Counts what is stored of a message that was just added and is late: surely before the first time, and not from the
    /// second one on.
    pub fn late_before(&mut self, message: &Message, (surely_us, possibly_us): (i64, i64)) {
        for fact in &message.facts {
            let place =
                ((fact.key.sensor.clone(), fact.key.metric.clone()), fact.key.time_us, fact.key.event);
            let claim = self.facts.get(&place).and_then(|values| values.get(&fact.value.to_bits()));
            if claim.is_some_and(|claim| claim.first && claim.messages == 1) {
                self.late.0 += i64::from(fact.key.time_us < surely_us);
                self.late.1 += i64::from(fact.key.time_us < possibly_us);
            }
        }
    }

    /// The same message, sent so many times more. A repeat is known by its number, or as a rejection; else it is decoded
    /// again.
    pub fn again(&mut self, message: &Message, times: i64, numbered: bool) {
        self.sends += times;
        self.count("received", times);
        match numbered || message.is_refused() {
            true => self.count("repeated", times),
            false => self.outcome(message, times),
        }
    }

    /// What becomes of a message that is decoded, `times` times.
    fn outcome(&mut self, message: &Message, times: i64) {
        let says_nothing = message.facts.is_empty() && message.refusals.is_empty();
        let outcome = match (message.is_refused(), says_nothing) {
            (true, _) => "rejected_messages",
            (false, true) => "ignored",
            (false, false) => "accepted",
        };
        self.count(outcome, times);
        self.count("decoded", (message.facts.len() as i64 + message.refused_readings()) * times);
    }

    fn count(&mut self, column: &'static str, n: i64) {
        *self.totals.0.entry(column).or_default() += n;
    }

    /// Sums up: what is stored, and what of what was decoded stood there already.
    pub fn close(&mut self) {
        COLUMNS.into_iter().for_each(|column| self.count(column, 0));
        self.count("stored", self.facts.len() as i64);
        let conflicts: i64 = self.facts.values().map(|values| values.len() as i64 - 1).sum();
        self.count("conflict", conflicts);
        let of = |column| self.totals.of(column);
        let decoded = of("decoded") + self.uncounted;
        let duplicate = decoded - of("stored") - of("conflict") - of("rejected");
        self.count("duplicate", duplicate);
    }

    /// The numbers below the highest one sent that were never sent.
    pub fn gaps(&self, source: &(Arc<str>, i64)) -> BTreeSet<i64> {
        let Some(numbers) = self.numbers.get(source) else { return BTreeSet::new() };
        let last = numbers.keys().next_back().copied().unwrap_or(0);
        (1..last).filter(|seq| !numbers.contains_key(seq)).collect()
    }
}

fn claim(claim: &mut Claim, taken: bool) {
    claim.taken |= taken;
    claim.messages += 1;
}

//! What the tables must say after a ledger's messages, and what they may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ledger::Entry;
use super::load::{Numbers, Plan};
use super::tables::{COLUMNS, Place, Rejection, Totals};

/// Something that was sent: it may be there. If the broker took it, it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    pub taken: bool,
    /// Messages that say so.
    pub messages: u32,
}

#[derive(Debug, Default)]
pub struct Expectation {
    /// By key and the value's bits: more than one where values conflict.
    pub facts: BTreeMap<Place, BTreeMap<u64, Claim>>,
    /// With the readings refused; 0 for the whole message.
    pub rejections: BTreeMap<Rejection, (i64, Claim)>,
    /// By source and epoch, each number that was sent.
    pub numbers: BTreeMap<(Arc<str>, i64), BTreeMap<i64, Sent>>,
    /// The ledger's columns, if every send reached Screenline once.
    pub totals: Totals,
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
        let mut totals = [0i64; COLUMNS.len()];
        let mut add = |column: &str, n: i64| {
            if let Some(i) = COLUMNS.iter().position(|known| *known == column) {
                totals[i] += n;
            }
        };
        let numbered = plan.load.numbers != Numbers::None;
        for (message, entry) in plan.messages.iter().zip(entries) {
            if entry.sent == 0 {
                continue;
            }
            let taken = entry.taken_us.is_some();
            let sends = i64::from(entry.sent);
            expected.sends += sends;
            expected.taken += i64::from(taken);
            for fact in &message.facts {
                let name = (fact.key.sensor.clone(), fact.key.metric.into());
                let values = expected.facts.entry((name, fact.key.time_us, fact.key.event)).or_default();
                claim(values.entry(fact.value.to_bits()).or_default(), taken);
            }
            if let Some(refusal) = message.refusal {
                let rejection = Rejection {
                    topic: message.topic.clone(),
                    reason: refusal.reason.to_owned(),
                    sha256: Sha256::digest(&message.payload).to_vec(),
                };
                let (readings, claimed) = expected.rejections.entry(rejection).or_default();
                *readings = refusal.readings;
                claim(claimed, taken);
            }
            if let Some(number) = &message.number {
                let numbers = expected.numbers.entry((number.source.clone(), number.epoch)).or_default();
                let sent = numbers.entry(number.seq).or_default();
                add("reused", i64::from(0 < sent.messages));
                sent.taken |= taken;
                sent.messages += 1;
                sent.refused += u32::from(message.refusal.is_some());
            }
            // A repeat is known by its number, or as a rejection; else it is decoded again.
            let refused_readings = message.refusal.map_or(0, |refusal| refusal.readings);
            let whole = message.refusal.is_some_and(|refusal| refusal.readings == 0);
            let known = numbered || whole;
            add("received", sends);
            add("repeated", if known { sends - 1 } else { 0 });
            add(if whole { "rejected_messages" } else { "accepted" }, if known { 1 } else { sends });
            add("rejected", refused_readings);
            let decoded = message.facts.len() as i64 + refused_readings;
            add("decoded", if numbered { decoded } else { decoded * sends });
        }
        add("stored", expected.facts.len() as i64);
        let conflicts: i64 = expected.facts.values().map(|values| values.len() as i64 - 1).sum();
        add("conflict", conflicts);
        expected.totals = Totals(COLUMNS.into_iter().zip(totals).collect());
        let of = |column| expected.totals.of(column);
        let duplicate = of("decoded") - of("stored") - of("conflict") - of("rejected");
        expected.totals.0.insert("duplicate", duplicate);
        expected
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

//! Buckets that are being filled: their states, folded as this process commits, so that rolling need not read again what
//! was just written.
//!
//! A state that is taken from here has the same bits as one made from the tables, or it is not taken: facts are folded in
//! the order of time, each bucket's part answers for the batches that were folded into it, and the marks that the roller
//! takes must name exactly those, over exactly the rollups that were taken from here before. Whatever is in doubt is read
//! from the tables: a batch of another process or of before the start, one whose answer was lost, a fact that came out of
//! order, a registry that changed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem::take,
    sync::{Arc, RwLock},
};

use foldhash::fast::RandomState;
use rayon::prelude::*;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Marks,
    tables::{Voucher, Vouchers},
};
use crate::{
    aggregate::{Entry, Rollup},
    model::{
        BatchId, Event, Reading, SeriesId, State, Time, arithmetic::Rule, bucket::FIVE_MINUTES, series::PARTS,
    },
    registry::{self, Registry},
    service::compute,
};

/// States held: a kilobyte each. Of a city with more series in five minutes, some parts are read from the tables.
const STATES_MAX: usize = 100_000;
/// Facts that may wait while the roller takes marks; beyond, everything is read from the tables.
const WAITING_MAX: usize = 1_000_000;

/// What the writer folds and the roller takes.
#[derive(Clone, Debug, Default)]
pub struct Forming(Arc<Mutex<Buckets>>);

#[derive(Debug, Default)]
pub struct Buckets {
    /// Of the registry by which everything was folded.
    registry_version: i64,
    buckets: BTreeMap<Time, Bucket>,
    states: usize,
    roller: Phase,
}

/// Where the roller is.
#[derive(Debug, Default)]
enum Phase {
    #[default]
    Away,
    /// It takes marks: batches that are committed meanwhile wait, in their order, because nobody knows yet which of them it
    /// saw.
    Taking { batches: VecDeque<(BatchId, Vec<Entry>)>, facts: usize },
    /// It writes what it was given.
    Writing,
}

#[derive(Debug)]
struct Bucket {
    parts: [Part; PARTS as usize],
    slots: HashMap<SeriesId, Slot, RandomState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Of the batches folded since it was rolled.
    voucher: Voucher,
    /// What the roller was given, and has not yet committed.
    given: Option<Voucher>,
    /// The tables know better.
    is_lost: bool,
}

/// One series in one bucket.
#[derive(Debug)]
struct Slot {
    part: i16,
    rule: Rule,
    state: State,
    /// What comes must be later: the time of the last fact, and its passage.
    until: (Time, i64),
    /// Readings inside and beside of the rollup that stands.
    stands: Option<(i64, i64)>,
    given: Option<(i64, i64)>,
}

impl Forming {
    /// For a writer, from before its commit until the batch is folded: so the roller never takes marks of a batch that it
    /// does not find here.
    pub async fn lock(&self) -> OwnedMutexGuard<Buckets> {
        self.0.clone().lock_owned().await
    }

    /// The roller is about to take marks.
    pub(super) async fn take(&self) {
        let mut buckets = self.lock().await;
        if !matches!(buckets.roller, Phase::Away) {
            buckets.clear(); // it was given up on the way
        }
        buckets.roller = Phase::Taking { batches: VecDeque::new(), facts: 0 };
    }

    /// The rollups of the taken marks, as far as they are known here; the marks of the others are left in `marks`.
    /// `stands` are the rollups that stand in their buckets.
    pub(super) async fn give(
        &self,
        vouchers: Vouchers,
        marks: &mut Marks,
        stands: &[Rollup],
        registry: &Arc<RwLock<Registry>>,
    ) -> Vec<Rollup> {
        let stands = stands
            .iter()
            .map(|rollup| ((rollup.bucket, rollup.series), (rollup.state.count, rollup.state.flagged)));
        let (stands, registry) = (stands.collect(), registry.clone());
        let mut buckets = self.lock().await;
        let (rollups, given) =
            compute(move || buckets.give(vouchers, stands, &registry::read(&registry))).await;
        for (bucket, part) in given {
            if let Some(parts) = marks.get_mut(&bucket) {
                parts.remove(&part);
            }
        }
        marks.retain(|_, parts| !parts.is_empty());
        rollups
    }

    /// The roller committed what it was given.
    pub(super) async fn settle(&self) {
        self.lock().await.settle();
    }

    /// Nobody knows what became of what the roller was given.
    pub(super) async fn forget(&self) {
        self.lock().await.clear();
    }

    /// States that are held.
    pub async fn states(&self) -> usize {
        self.lock().await.states
    }
}

impl Buckets {
    /// Takes in what a batch stored, each list in order of time; after its commit.
    pub fn fold(&mut self, batch: BatchId, registry: &Registry, readings: &[&Reading], events: &[&Event]) {
        if registry.version() != self.registry_version {
            self.clear();
            self.registry_version = registry.version();
        }
        let readings = readings.iter().map(|r| (r.series, r.time, r.value, r.quality, None));
        let events = events.iter().map(|e| (e.series, e.time, 1.0, e.quality, Some(&e.passage)));
        let mut entries = Vec::with_capacity(readings.len() + events.len());
        for (id, time, value, quality, passage) in readings.chain(events) {
            // One that the registry does not know leaves a voucher that does not fit its marks.
            let Some(series) = registry.series(id).filter(|series| !series.quarantined) else { continue };
            let bucket = series.bucket_time(time).floor(FIVE_MINUTES);
            let (value, quality) = series.view(time, value, quality);
            let passage = passage.map(|passage| Box::new(passage.clone()));
            entries.push(Entry { series: id, bucket, time, value, quality, passage });
        }
        entries.sort_by_key(|entry| entry.time);
        match &mut self.roller {
            Phase::Taking { batches, facts } => {
                *facts += entries.len();
                batches.push_back((batch, entries));
                if WAITING_MAX < *facts {
                    self.clear();
                }
            }
            Phase::Away | Phase::Writing => self.fold_entries(batch, &entries, registry),
        }
    }

    fn fold_entries(&mut self, batch: BatchId, entries: &[Entry], registry: &Registry) {
        let mut touched = BTreeMap::<Time, u64>::new();
        let mut speeds = Vec::new();
        for at_once in entries.chunk_by(|a, b| a.time == b.time) {
            for entry in at_once {
                self.fold_entry(entry, registry, &mut touched, Some(&mut speeds));
            }
            // After the vehicles that they are the speed of.
            for entry in speeds.drain(..) {
                self.fold_entry(entry, registry, &mut touched, None);
            }
        }
        for (start, mask) in touched {
            let Some(bucket) = self.buckets.get_mut(&start) else { continue };
            for part in (0..PARTS).filter(|part| mask & 1 << part != 0) {
                bucket.parts[part as usize].voucher.add(batch);
            }
        }
    }

    /// Puts a speed that depends on its volume aside, where there is a list for them.
    fn fold_entry<'e>(
        &mut self,
        entry: &'e Entry,
        registry: &Registry,
        touched: &mut BTreeMap<Time, u64>,
        aside: Option<&mut Vec<&'e Entry>>,
    ) {
        let Some(series) = registry.series(entry.series) else { return };
        let part = series.part as usize;
        let bucket = self.buckets.entry(entry.bucket).or_default();
        *touched.entry(entry.bucket).or_default() |= 1 << part;
        if bucket.parts[part].is_lost {
            return;
        }
        if !bucket.slots.contains_key(&entry.series) {
            if STATES_MAX <= self.states {
                self.make_room(entry.bucket, series.part);
            }
            let Some(rule) = registry.rule(entry.series) else { return };
            let bucket = self.buckets.entry(entry.bucket).or_default();
            if bucket.parts[part].is_lost {
                return;
            }
            bucket.slots.insert(entry.series, Slot::new(series.part, rule));
            self.states += 1;
        }
        let Some(bucket) = self.buckets.get_mut(&entry.bucket) else { return };
        let Some(slot) = bucket.slots.get(&entry.series) else { return };
        let volume = match (slot.rule.volume, aside) {
            (Some(_), Some(aside)) => return aside.push(entry),
            (Some(volume), None) => Some(volume),
            (None, _) => None,
        };
        let volume = match volume {
            None => None,
            Some(id) if !bucket.slots.contains_key(&id) => {
                // Should its vehicles come later than their speed, the speed has to be looked at again.
                let Some(rule) = registry.rule(id) else { return };
                bucket.slots.insert(id, Slot { until: (entry.time, i64::MAX), ..Slot::new(slot.part, rule) });
                self.states += 1;
                None
            }
            Some(id) => bucket.slots.get_mut(&id).and_then(|volume| {
                volume.until = volume.until.max((entry.time, i64::MAX));
                let (time, value) = volume.state.values.map(|values| values.last)?;
                (time == entry.time && 0.0 <= value).then_some(value)
            }),
        };
        let Some(slot) = bucket.slots.get_mut(&entry.series) else { return };
        if !slot.add(entry, volume) {
            self.states -= bucket.lose(series.part);
        }
    }

    /// Gives up the oldest bucket; or where there is no other, a part of the one that is being filled.
    fn make_room(&mut self, filling: Time, part: i16) {
        let oldest = self.buckets.keys().next().copied().filter(|oldest| *oldest != filling);
        if let Some(bucket) = oldest.and_then(|oldest| self.buckets.remove(&oldest)) {
            self.states -= bucket.slots.len();
        } else if let Some(bucket) = self.buckets.get_mut(&filling) {
            self.states -= bucket.lose(part);
        }
    }

    /// The rollups, and of which buckets and parts.
    fn give(
        &mut self,
        mut wanted: Vouchers,
        stands: HashMap<(Time, SeriesId), (i64, i64)>,
        registry: &Registry,
    ) -> (Vec<Rollup>, Vec<(Time, i16)>) {
        let Phase::Taking { mut batches, .. } = take(&mut self.roller) else {
            return (Vec::new(), Vec::new());
        };
        self.roller = Phase::Writing;
        if registry.version() != self.registry_version {
            self.clear();
            return (Vec::new(), Vec::new());
        }
        let (mut rollups, mut given) = (Vec::new(), Vec::new());
        loop {
            let fits: Vec<(Time, i16)> = wanted
                .iter()
                .filter(|((bucket, part), voucher)| self.fits(*bucket, *part, voucher))
                .map(|(key, _)| *key)
                .collect();
            wanted.retain(|key, _| fits.binary_search(key).is_err());
            for of_bucket in fits.chunk_by(|a, b| a.0 == b.0) {
                let (start, mask) =
                    (of_bucket[0].0, of_bucket.iter().fold(0, |mask, (_, part)| mask | 1 << part));
                let Some(bucket) = self.buckets.get_mut(&start) else { continue };
                let doubted = mask & bucket.doubted(start, mask, &stands, registry);
                rollups.extend(bucket.rollups(start, mask & !doubted, registry));
                for (start, part) in of_bucket {
                    match doubted & 1 << part {
                        0 => given.push((*start, *part)),
                        _ => self.states -= bucket.lose(*part),
                    }
                }
            }
            let Some((batch, entries)) = batches.pop_front() else { break };
            self.fold_entries(batch, &entries, registry);
        }
        for (start, part) in wanted.keys() {
            if let Some(bucket) = self.buckets.get_mut(start) {
                self.states -= bucket.lose(*part);
            }
        }
        (rollups, given)
    }

    /// Whether all that the marks speak of was folded, and nothing else.
    fn fits(&self, bucket: Time, part: i16, voucher: &Voucher) -> bool {
        let part = self.buckets.get(&bucket).map(|bucket| &bucket.parts[part as usize]);
        part.is_some_and(|part| !part.is_lost && part.given.is_none() && part.voucher == *voucher)
    }

    fn settle(&mut self) {
        for bucket in self.buckets.values_mut() {
            for part in &mut bucket.parts {
                if let Some(given) = part.given.take() {
                    part.voucher.subtract(given);
                }
            }
            for slot in bucket.slots.values_mut() {
                slot.stands = slot.given.take().or(slot.stands);
            }
        }
        self.roller = Phase::Away;
    }

    fn clear(&mut self) {
        *self = Buckets { registry_version: self.registry_version, ..Buckets::default() };
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket { parts: [Part::default(); PARTS as usize], slots: HashMap::default() }
    }
}

impl Bucket {
    /// Leaves a part to the tables; how many states it had.
    fn lose(&mut self, part: i16) -> usize {
        let before = self.slots.len();
        self.slots.retain(|_, slot| slot.part != part);
        self.parts[part as usize] = Part { is_lost: true, ..Part::default() };
        before - self.slots.len()
    }

    /// The parts of a mask of which other rollups stand than were taken from here, or whose readings are put together by
    /// another rule today.
    fn doubted(
        &self,
        start: Time,
        mask: u64,
        stands: &HashMap<(Time, SeriesId), (i64, i64)>,
        registry: &Registry,
    ) -> u64 {
        let slots = self.slots.iter().filter(|(_, slot)| mask & 1 << slot.part != 0);
        let mut doubted = 0;
        for (id, slot) in slots {
            let is_same = stands.get(&(start, *id)).copied() == slot.stands
                && registry.rule(*id) == Some(slot.rule)
                && registry.floor(*id) <= Some(start);
            doubted |= u64::from(!is_same) << slot.part;
        }
        let unknown = stands.keys().filter(|(bucket, id)| *bucket == start && !self.slots.contains_key(id));
        let parts = unknown.filter_map(|(_, id)| registry.series(*id)).map(|series| series.part);
        doubted | parts.fold(0, |mask, part| mask | 1 << part)
    }

    /// The rollups of the parts of a mask.
    fn rollups(&mut self, start: Time, mask: u64, registry: &Registry) -> Vec<Rollup> {
        for part in (0..PARTS as usize).filter(|part| mask & 1 << part != 0) {
            self.parts[part].given = Some(self.parts[part].voucher);
        }
        let of_mask = |slot: &Slot| mask & 1 << slot.part != 0 && 0 < slot.state.count + slot.state.flagged;
        self.slots
            .par_iter_mut()
            .filter(|(id, slot)| of_mask(slot) && registry.series(**id).is_some())
            .map(|(id, slot)| {
                slot.given = Some((slot.state.count, slot.state.flagged));
                let mut state = slot.state.clone();
                state.pack();
                Rollup { series: *id, bucket: start, state }
            })
            .collect()
    }
}

impl Slot {
    fn new(part: i16, rule: Rule) -> Slot {
        let until = (Time::from_micros(i64::MIN), i64::MIN);
        Slot { part, rule, state: State::default(), until, stands: None, given: None }
    }

    /// Whether the entry came in its order.
    fn add(&mut self, entry: &Entry, volume: Option<f64>) -> bool {
        if entry.place() <= self.until {
            return false;
        }
        self.until = entry.place();
        let end = Time::from_micros(entry.bucket.micros() + FIVE_MINUTES);
        entry.add_to(&mut self.state, volume, end, &self.rule.arithmetic);
        true
    }
}

#[cfg(test)]
mod tests;

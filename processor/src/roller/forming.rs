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
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        aggregate,
        model::{Kind, Passage, Quality, Series},
        registry::Admission,
    };

    const SENSORS: i32 = 6;

    /// Of each sensor a speed, which is registered first, its volume and passages.
    fn registry() -> Arc<RwLock<Registry>> {
        let mut registry = Registry::new(Admission::Open);
        for sensor in 0..SENSORS {
            let name = format!("sensor-{sensor}");
            for (id, metric, kind, unit, interval_s) in [
                (0, "traffic.speed", Kind::Rate, "km/h", Some(60)),
                (1, "traffic.volume", Kind::Total, "{veh}", Some(60)),
                (2, "traffic.passage", Kind::Event, "{veh}", None),
            ] {
                let series = Series::new(SeriesId(sensor * 3 + id), kind, unit, interval_s);
                registry.add_series(&name, metric, series);
            }
        }
        Arc::new(RwLock::new(registry))
    }

    #[derive(Clone, Debug)]
    struct Stored {
        series: i32,
        /// Tens of seconds.
        tick: i64,
        value: u8,
        is_bad: bool,
    }

    fn stored() -> impl Strategy<Value = Stored> {
        (0..SENSORS * 3, 0..90i64, 0..3u8, prop::bool::weighted(0.1))
            .prop_map(|(series, tick, value, is_bad)| Stored { series, tick, value, is_bad })
    }

    /// One minute of every sensor, as a city sends it.
    fn minute() -> impl Strategy<Value = Vec<Stored>> {
        (0..15i64, vec(0..3u8, SENSORS as usize * 3)).prop_map(|(minute, values)| {
            let of = |(series, value)| Stored { series, tick: minute * 6, value, is_bad: false };
            (0..).zip(values).map(of).collect()
        })
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Folded,
        /// Of another process, or its answer was lost.
        Foreign,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Batch(Vec<Stored>, Fate),
        /// Batches that are committed before the marks are read, and after.
        Roll {
            seen: Vec<Vec<Stored>>,
            unseen: Vec<Vec<Stored>>,
            fails: bool,
        },
        /// The roller is stopped on the way.
        GivenUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        let batch = || prop_oneof![minute(), vec(stored(), 0..12)];
        let fate = prop_oneof![8 => Just(Fate::Folded), 1 => Just(Fate::Foreign)];
        let few = || vec(batch(), 0..3);
        let fails = prop::bool::weighted(0.1);
        prop_oneof![
            6 => (batch(), fate).prop_map(|(batch, fate)| Step::Batch(batch, fate)),
            3 => (few(), few(), fails).prop_map(|(seen, unseen, fails)| Step::Roll { seen, unseen, fails }),
            1 => Just(Step::GivenUp),
        ]
    }

    /// What the database would hold.
    #[derive(Default)]
    struct Tables {
        entries: BTreeMap<(SeriesId, Time, i64), Entry>,
        marks: Vec<(Time, i16, BatchId)>,
        rollups: BTreeMap<(SeriesId, Time), Rollup>,
        batches: i64,
    }

    impl Tables {
        /// Stores what is new, and folds it where it is ours.
        fn store(&mut self, batch: &[Stored], fate: Fate, forming: &mut Buckets, registry: &Registry) {
            self.batches += 1;
            let id = BatchId(fastrand::Rng::with_seed(self.batches as u64).i64(1..));
            let (mut readings, mut events) = (Vec::new(), Vec::new());
            let mut marks = BTreeSet::new();
            for Stored { series, tick, value, is_bad } in batch {
                let series = registry.series(SeriesId(*series)).unwrap();
                let time = Time::from_micros(tick * 10_000_000);
                let quality = if *is_bad { Quality::OUT_OF_RANGE } else { Quality::GOOD };
                let event = if series.kind == Kind::Event { i64::from(*value) } else { 0 };
                let bucket = series.bucket_time(time).floor(FIVE_MINUTES);
                if self.entries.contains_key(&(series.id, time, event)) {
                    continue;
                }
                let (mut value, mut passage) = (f64::from(*value), None);
                if series.kind == Kind::Event {
                    let measured = Passage {
                        id: event,
                        speed_kmh: Some(30.0 + value),
                        length_m: None,
                        on_time_s: None,
                        class: None,
                        tags: None,
                    };
                    let of =
                        Event { time, passage: measured.clone(), series: series.id, quality, message: 0 };
                    events.push(of);
                    (value, passage) = (1.0, Some(Box::new(measured)));
                } else {
                    readings.push(Reading { time, value, series: series.id, quality, message: 0 });
                }
                let entry = Entry { series: series.id, bucket, time, value, quality, passage };
                self.entries.insert((series.id, time, event), entry);
                marks.insert((bucket, series.part));
            }
            self.marks.extend(marks.into_iter().map(|(bucket, part)| (bucket, part, id)));
            if fate == Fate::Folded {
                readings.sort_by_key(|reading| (reading.time, reading.series));
                events.sort_by_key(|event| (event.time, event.series, event.passage.id));
                let (readings, events): (Vec<_>, Vec<_>) =
                    (readings.iter().collect(), events.iter().collect());
                forming.fold(id, registry, &readings, &events);
            }
        }

        /// What the rollups of some buckets and parts are, by their readings.
        fn truth(&self, marks: &Marks, registry: &Registry) -> Vec<Rollup> {
            let part = |id| registry.series(id).unwrap().part;
            let is_marked = |entry: &&Entry| {
                marks.get(&entry.bucket).is_some_and(|parts| parts.contains(&part(entry.series)))
            };
            let entries = self.entries.values().filter(is_marked).cloned().collect();
            aggregate::buckets(entries, FIVE_MINUTES, |id| registry.rule(id))
        }

        /// How many rollups had to be made of the tables.
        async fn roll(
            &mut self,
            (seen, unseen): (&[Vec<Stored>], &[Vec<Stored>]),
            fails: bool,
            forming: &Forming,
            registry: &Arc<RwLock<Registry>>,
        ) -> usize {
            forming.take().await;
            for batch in seen {
                self.store(batch, Fate::Folded, &mut *forming.lock().await, &registry::read(registry));
            }
            let (mut vouchers, mut marks) = (Vouchers::new(), Marks::new());
            let taken = take(&mut self.marks);
            for (bucket, part, batch) in &taken {
                vouchers.entry((*bucket, *part)).or_default().add(*batch);
                marks.entry(*bucket).or_default().insert(*part);
            }
            for batch in unseen {
                self.store(batch, Fate::Folded, &mut *forming.lock().await, &registry::read(registry));
            }
            let stands: Vec<Rollup> = self.rollups.values().cloned().collect();
            let stands: Vec<Rollup> =
                stands.into_iter().filter(|rollup| marks.contains_key(&rollup.bucket)).collect();
            let mut rest = marks.clone();
            let mut rollups = forming.give(vouchers, &mut rest, &stands, registry).await;
            if fails {
                self.marks.extend(taken);
                forming.forget().await;
                return 0;
            }
            let unformed = self.truth(&rest, &registry::read(registry));
            let read = unformed.len();
            rollups.extend(unformed);
            self.rollups.extend(rollups.into_iter().map(|rollup| ((rollup.series, rollup.bucket), rollup)));
            forming.settle().await;
            read
        }
    }

    proptest! {
        #[test]
        fn what_is_formed_is_what_the_readings_say(steps in vec(step(), 1..24)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (forming, registry, mut tables) = (Forming::default(), registry(), Tables::default());
                for step in &steps {
                    match step {
                        Step::Batch(batch, fate) => {
                            let mut buckets = forming.lock().await;
                            tables.store(batch, *fate, &mut buckets, &registry::read(&registry));
                        }
                        Step::Roll { seen, unseen, fails } => {
                            tables.roll((seen, unseen), *fails, &forming, &registry).await;
                        }
                        Step::GivenUp => forming.take().await,
                    }
                }
                tables.roll((&[], &[]), false, &forming, &registry).await;
                tables.roll((&[], &[]), false, &forming, &registry).await;
                let mut all = Marks::new();
                for rollup in tables.rollups.values() {
                    all.entry(rollup.bucket).or_default().extend(0..PARTS as i16);
                }
                let truth = tables.truth(&all, &registry::read(&registry));
                prop_assert_eq!(tables.rollups.into_values().collect::<Vec<_>>(), truth);
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn a_city_in_order_is_never_read_again() {
        let (forming, registry, mut tables) = (Forming::default(), registry(), Tables::default());
        for minute in 1..12 {
            let of = |series| Stored { series, tick: minute * 6, value: (series % 3) as u8, is_bad: false };
            let batch: Vec<Stored> = (0..SENSORS * 3).map(of).collect();
            tables.store(&batch, Fate::Folded, &mut *forming.lock().await, &registry::read(&registry));
            let later =
                batch.iter().map(|stored| Stored { tick: stored.tick + 1, ..stored.clone() }).collect();
            let read = tables.roll((&[batch], &[later]), false, &forming, &registry).await;
            assert_eq!(read, 0, "minute {minute}");
        }
        assert_eq!(forming.states().await, 3 * SENSORS as usize * 3);
    }
}

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
                let of = Event { time, passage: measured.clone(), series: series.id, quality, message: 0 };
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
            let (readings, events): (Vec<_>, Vec<_>) = (readings.iter().collect(), events.iter().collect());
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
        let later = batch.iter().map(|stored| Stored { tick: stored.tick + 1, ..stored.clone() }).collect();
        let read = tables.roll((&[batch], &[later]), false, &forming, &registry).await;
        assert_eq!(read, 0, "minute {minute}");
    }
    assert_eq!(forming.states().await, 3 * SENSORS as usize * 3);
}

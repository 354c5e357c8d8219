//! The same messages in any order, any number of times and in any batches leave the same tables.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use jiff::tz::TimeZone;
use processor::{
    aggregate::{self, Rollup},
    memory::Memory,
    model::{Kind, Level, Message, Passage, Quality, Series, SeriesId, Time, View, bucket::FIVE_MINUTES},
    process::{Processed, process},
    registry::{Admission, Registry},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::city::{MAPPING, RULES};

/// Half an hour before a day begins in Paris, so that buckets of every level come to their border.
const BEGIN_S: i64 = 1_715_635_800;
const STEP_S: i64 = 97;

/// What a sensor tells. `variant` 0 is the truth; another one is another value under the same key.
#[derive(Clone, Debug)]
enum Said {
    Register { meter: u8, step: i64, variant: u8 },
    Pack { detector: u8, step: i64, records: Vec<(u8, i64, u8)> },
    Passage { detector: u8, step: i64, vehicle: u8, variant: u8 },
}

fn said(variants: u8) -> impl Strategy<Value = Said> {
    let step = 0..40i64;
    prop_oneof![
        (0..3u8, step.clone(), 0..variants).prop_map(|(meter, step, variant)| Said::Register {
            meter,
            step,
            variant
        }),
        (0..2u8, step.clone(), vec((0..3u8, 0..4i64, 0..variants), 1..6))
            .prop_map(|(detector, step, records)| Said::Pack { detector, step, records }),
        (0..2u8, step, 0..3u8, 0..variants).prop_map(|(detector, step, vehicle, variant)| Said::Passage {
            detector,
            step,
            vehicle,
            variant
        }),
    ]
}

/// Of every size, so that a sum shows in which order it was made.
fn value(what: u8, second: i64, variant: u8) -> f64 {
    let seed = i64::from(what) * 7_919 + second * 104_729 + i64::from(variant) * 613;
    (seed as f64).sin() * 10f64.powi((seed % 13) as i32 - 4)
}

impl Said {
    fn message(&self) -> Message {
        let (topic, payload) = match self {
            Said::Register { meter, step, variant } => {
                let second = BEGIN_S + step * STEP_S;
                let value = value(*meter, second, *variant);
                let payload = format!(r#"{{"time":"{}","register_m3":{value:?}}}"#, time(second));
                (format!("city/water/m{meter}/register"), payload)
            }
            Said::Pack { detector, step, records } => {
                let base = BEGIN_S + step * STEP_S;
                let record = |(metric, back, variant): &(u8, i64, u8)| {
                    let (name, unit) =
                        [("volume", ""), ("occupancy", r#""u":"/100","#), ("speed", r#""u":"m/s","#)]
                            [usize::from(*metric)];
                    let value = value(10 + 4 * detector + metric, base - back * STEP_S, *variant);
                    format!(r#"{{"n":"{name}",{unit}"v":{value:?},"t":{}}}"#, -back * STEP_S)
                };
                let records: Vec<String> = records.iter().map(record).collect();
                let payload = format!(r#"[{{"bn":"d{detector}:","bt":{base}}},{}]"#, records.join(","));
                (format!("city/senml/d{detector}"), payload)
            }
            Said::Passage { detector, step, vehicle, variant } => {
                let speed = value(*vehicle, *step, *variant).abs();
                let entered = time(BEGIN_S + step * STEP_S);
                let payload =
                    format!(r#"{{"vehicle":{vehicle},"entered":"{entered}","speed_mps":{speed:?}}}"#);
                (format!("city/traffic/d{detector}/passage"), payload)
            }
        };
        Message { topic, payload: payload.into(), received_at: time(BEGIN_S), retained: false, number: None }
    }
}

fn time(second: i64) -> Time {
    Time::from_micros(second * 1_000_000)
}

fn registry() -> Registry {
    let mut registry = Registry::new(Admission::Closed);
    let mut id = 0;
    let mut add = |sensor: &str, metric: &str, unit: &str, kind, interval_s, max| {
        id += 1;
        let mut series = Series::new(SeriesId(id), kind, unit, interval_s);
        series.view = View::within(None, max);
        registry.add_series(sensor, metric, series);
    };
    for meter in ["m0", "m1", "m2"] {
        add(meter, "water.volume.total", "m3", Kind::Counter, None, Some(1e4));
    }
    for detector in ["d0", "d1"] {
        add(detector, "traffic.volume", "{veh}", Kind::Total, Some(60), None);
        add(detector, "traffic.occupancy", "%", Kind::Rate, Some(60), Some(1e3));
        add(detector, "traffic.speed.mean", "km/h", Kind::Rate, Some(60), None);
        add(detector, "traffic.vehicle", "{veh}", Kind::Event, None, None);
    }
    registry
}

/// The tables in a few lines: a key keeps the first value that it was given, and other values are kept beside.
#[derive(Default)]
struct Tables {
    kept: BTreeMap<Key, Kept>,
    /// By key and fingerprint.
    conflicts: BTreeSet<(Key, i64)>,
    /// Readings and events that were decoded, stored, there already, and in conflict.
    decoded: u64,
    stored: u64,
    duplicate: u64,
    conflicting: u64,
}

/// An event has an id.
type Key = (SeriesId, Time, Option<i64>);

struct Kept {
    /// 1 for an event.
    value: f64,
    quality: Quality,
    fingerprint: i64,
    passage: Option<Box<Passage>>,
}

impl Tables {
    /// What is left when these messages come in this order, one batch after the other.
    fn after(batches: &[Vec<Message>]) -> Tables {
        let registry = registry();
        let mut tables = Tables::default();
        for messages in batches {
            tables.store(&process(messages, &MAPPING, &registry, &RULES, &Memory::default()));
        }
        tables
    }

    fn store(&mut self, batch: &Processed) {
        assert_eq!((&batch.rejections[..], &batch.proposals[..]), (&[][..], &[][..]));
        self.decoded += batch.fates.iter().map(|fate| u64::from(fate.decoded)).sum::<u64>();
        for reading in &batch.readings {
            let (value, quality, fingerprint) = (reading.value, reading.quality, reading.fingerprint());
            let kept = Kept { value, quality, fingerprint, passage: None };
            self.take((reading.series, reading.time, None), kept);
        }
        for event in &batch.events {
            let (value, quality, fingerprint) = (1.0, event.quality, event.passage.fingerprint());
            let passage = Some(Box::new(event.passage.clone()));
            let kept = Kept { value, quality, fingerprint, passage };
            self.take((event.series, event.time, Some(event.passage.id)), kept);
        }
    }

    fn take(&mut self, key: Key, came: Kept) {
        match self.kept.entry(key) {
            Entry::Vacant(place) => {
                place.insert(came);
                self.stored += 1;
            }
            Entry::Occupied(kept) if kept.get().fingerprint == came.fingerprint => self.duplicate += 1,
            Entry::Occupied(_) => {
                self.conflicting += 1;
                self.conflicts.insert((key, came.fingerprint));
            }
        }
    }

    /// Every value that was ever said of a key, kept or beside.
    fn claims(&self) -> BTreeSet<(Key, i64)> {
        let kept = self.kept.iter().map(|(key, kept)| (*key, kept.fingerprint));
        kept.chain(self.conflicts.iter().copied()).collect()
    }

    /// The rollups of every level, made as the roller makes them, as bits.
    fn rollups(&self) -> Vec<Vec<Bits>> {
        let registry = registry();
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let entry = |(&(series, time, _), kept): (&Key, &Kept)| {
            let begin = registry.series(series).unwrap().bucket_time(time);
            let bucket = Level::FiveMinutes.start(begin, &paris);
            let Kept { value, quality, passage, .. } = kept;
            let (value, quality, passage) = (*value, *quality, passage.clone());
            aggregate::Entry { series, bucket, time, value, quality, passage }
        };
        let rule = |id| registry.rule(id);
        let narrow = aggregate::buckets(self.kept.iter().map(entry).collect(), FIVE_MINUTES, rule);
        let wider =
            |level: Level| aggregate::widen(narrow.clone(), |bucket| level.start(bucket, &paris), rule);
        [narrow.clone(), wider(Level::Hour), wider(Level::Day)]
            .map(|rollups| rollups.iter().map(bits).collect())
            .to_vec()
    }
}

type Bits = (SeriesId, Time, i64, i64, Option<([u64; 6], Time, Time)>, Option<Vec<u8>>);

/// All but `late`, which depends on when readings came.
fn bits(Rollup { series, bucket, state }: &Rollup) -> Bits {
    let values = state.values.map(|values| {
        let numbers = [values.sum, values.residue, values.min, values.max, values.first.1, values.last.1];
        (numbers.map(f64::to_bits), values.first.0, values.last.0)
    });
    let detail = state.detail.as_ref().map(|detail| detail.encode());
    (*series, *bucket, state.count, state.flagged, values, detail)
}

/// The messages in another order, some of them again, cut into batches; each received in its turn, so that some are
/// late and some are not.
fn otherwise(messages: &[Message], again: &[Index], seed: u64) -> Vec<Vec<Message>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut order: Vec<&Message> =
        messages.iter().chain(again.iter().map(|which| which.get(messages))).collect();
    random.shuffle(&mut order);
    let mut batches = vec![Vec::new()];
    for (message, second) in order.into_iter().zip(0..) {
        if random.u8(..4) == 0 {
            batches.push(Vec::new());
        }
        let received_at = time(BEGIN_S + 40 * STEP_S + 60 * second);
        batches.last_mut().unwrap().push(Message { received_at, ..message.clone() });
    }
    batches
}

proptest! {
    #[test]
    fn order_repetition_and_split_change_no_bit_of_a_rollup(
        said in vec(said(1), 1..40),
        again in vec(any::<Index>(), 0..20),
        seed in any::<u64>(),
    ) {
        let messages: Vec<Message> = said.iter().map(Said::message).collect();
        let plain = Tables::after(&otherwise(&messages, &[], 0));
        let other = Tables::after(&otherwise(&messages, &again, seed));
        prop_assert_eq!(plain.rollups(), other.rollups());
        prop_assert_eq!(plain.claims(), other.claims());
        prop_assert_eq!((plain.stored, plain.conflicting), (other.stored, other.conflicting));
        prop_assert_eq!(other.conflicting, 0);
        prop_assert_eq!(other.decoded, other.stored + other.duplicate);
    }

    #[test]
    fn whichever_value_came_first_none_that_was_said_is_gone(
        said in vec(said(3), 1..40),
        again in vec(any::<Index>(), 0..20),
        seed in any::<u64>(),
    ) {
        let messages: Vec<Message> = said.iter().map(Said::message).collect();
        let plain = Tables::after(&otherwise(&messages, &[], 0));
        let other = Tables::after(&otherwise(&messages, &again, seed));
        prop_assert_eq!(plain.claims(), other.claims());
        prop_assert_eq!(plain.stored, other.stored, "a key is stored once");
        prop_assert_eq!(other.claims().len() as u64, other.stored + other.conflicts.len() as u64);
        prop_assert_eq!(other.decoded, other.stored + other.duplicate + other.conflicting);
    }
}

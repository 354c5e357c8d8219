//! Readings become the states of their buckets, along one fixed path: in time order within a series, on every core
//! across series. The same set of readings gives the same bits.

use rayon::prelude::*;

use crate::{
    faults::{self, Bug},
    model::{Quality, SeriesId, State, Time},
};

/// A reading that is bound for a bucket.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    pub series: SeriesId,
    /// Start of the bucket.
    pub bucket: Time,
    pub time: Time,
    pub value: f64,
    pub quality: Quality,
}

/// The state of one series in one bucket, or a part of one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rollup {
    pub series: SeriesId,
    /// Start of the bucket.
    pub bucket: Time,
    pub state: State,
}

/// Readings in any order, each key once, into the state of every bucket they touch; sorted by series and bucket.
pub fn buckets(mut entries: Vec<Entry>) -> Vec<Rollup> {
    if faults::planted(Bug::ArrivalOrder) {
        entries.par_sort_by_key(|entry| (entry.series, entry.bucket));
    } else {
        entries.par_sort_unstable_by_key(|entry| (entry.series, entry.bucket, entry.time));
    }
    let groups: Vec<&[Entry]> =
        entries.chunk_by(|a, b| (a.series, a.bucket) == (b.series, b.bucket)).collect();
    groups
        .into_par_iter()
        .with_min_len(64)
        .map(|group| {
            let mut state = State::default();
            group.iter().for_each(|entry| state.add(entry.time, entry.value, entry.quality));
            Rollup { series: group[0].series, bucket: group[0].bucket, state }
        })
        .collect()
}

/// Narrow states in any order into wider ones: `wide` gives the start of the bucket that holds another's start.
pub fn widen(mut narrow: Vec<Rollup>, wide: impl Fn(Time) -> Time + Sync) -> Vec<Rollup> {
    narrow.par_sort_unstable_by_key(|rollup| (rollup.series, rollup.bucket));
    let mut widened: Vec<Rollup> = Vec::new();
    for rollup in narrow {
        let bucket = wide(rollup.bucket);
        match widened.last_mut() {
            Some(last) if (last.series, last.bucket) == (rollup.series, bucket) => {
                last.state = last.state.join(rollup.state);
            }
            _ => widened.push(Rollup { bucket, ..rollup }),
        }
    }
    widened
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::bucket::{FIVE_MINUTES, HOUR};

    fn entry((series, second, value): (i32, i64, f64)) -> Entry {
        let time = Time::from_micros(second * 1_000_000);
        let quality = if value < -900.0 { Quality::OUT_OF_RANGE } else { Quality::GOOD };
        Entry { series: SeriesId(series), bucket: time.floor(FIVE_MINUTES), time, value, quality }
    }

    proptest! {
        #[test]
        fn any_order_of_readings_gives_the_same_bits(
            readings in proptest::collection::hash_map((0..4i32, 0..8_000i64), -1e3..1e3f64, 1..300),
            seed in any::<u64>(),
        ) {
            let entries: Vec<Entry> = readings.into_iter().map(|((s, t), v)| entry((s, t, v))).collect();
            let mut shuffled = entries.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let narrow = buckets(entries);
            prop_assert_eq!(&narrow, &buckets(shuffled));
            let mut later = narrow.clone();
            later.reverse();
            let hour = |time: Time| time.floor(HOUR);
            prop_assert_eq!(widen(narrow, hour), widen(later, hour));
        }

        #[test]
        fn a_wider_bucket_agrees_with_its_readings(values in proptest::collection::vec(-800.0..1e6f64, 1..200)) {
            let entries: Vec<Entry> = values.iter().zip(0..).map(|(v, i)| entry((1, i * 17, *v))).collect();
            let wide = widen(buckets(entries), |_| Time::from_micros(0));
            let state = wide[0].state;
            let numbers = state.values.unwrap();
            let exact: f64 = values.iter().sum();
            prop_assert_eq!(wide.len(), 1);
            prop_assert_eq!(state.count, values.len() as i64);
            prop_assert!((numbers.sum + numbers.residue - exact).abs() <= 1e-6);
            prop_assert_eq!(numbers.min, values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!((numbers.first.1, numbers.last.1), (values[0], values[values.len() - 1]));
        }
    }
}

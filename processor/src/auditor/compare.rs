use serde::Serialize;

use crate::{
    aggregate::Rollup,
    model::{Level, SeriesId, State, Time},
};

/// A bucket whose rollup is not what its readings say.
#[derive(Clone, PartialEq, Debug)]
pub struct Mismatch {
    pub level: Level,
    pub bucket: Time,
    pub series: SeriesId,
    /// What the readings say; none where there are none.
    pub expected: Option<State>,
    pub stored: Option<State>,
}

/// Compares rollups with what readings say, both sorted by series and bucket, where `counts` lets them. Returns how
/// many buckets were compared.
pub fn compare(
    level: Level,
    expected: &[Rollup],
    stored: &[Rollup],
    counts: impl Fn(&Rollup) -> bool,
    mismatches: &mut Vec<Mismatch>,
) -> u64 {
    let key = |rollup: &Rollup| (rollup.series, rollup.bucket);
    let (mut expected, mut stored) = (expected.iter().peekable(), stored.iter().peekable());
    let mut compared = 0;
    loop {
        let next = match (expected.peek(), stored.peek()) {
            (None, None) => return compared,
            (Some(one), None) | (None, Some(one)) => key(one),
            (Some(one), Some(other)) => key(one).min(key(other)),
        };
        let expected = expected.next_if(|rollup| key(rollup) == next);
        let stored = stored.next_if(|rollup| key(rollup) == next);
        let Some(rollup) = expected.or(stored).filter(|rollup| counts(rollup)) else { continue };
        compared += 1;
        let (expected, stored) = (expected.map(|r| &r.state), stored.map(|r| &r.state));
        if expected.map(bits) != stored.map(bits) {
            let (expected, stored) = (expected.cloned(), stored.cloned());
            let (bucket, series) = (rollup.bucket, rollup.series);
            mismatches.push(Mismatch { level, bucket, series, expected, stored });
        }
    }
}

/// A state as the bits that the promise covers: all but `late`, which depends on when readings came.
fn bits(state: &State) -> (i64, i64, Option<[u64; 8]>, Option<Vec<u8>>) {
    let values = state.values.as_ref().map(|v| {
        let [sum, residue, min, max] = [v.sum, v.residue, v.min, v.max].map(f64::to_bits);
        let at = |time: Time| time.micros().cast_unsigned();
        let (first, last) = (v.first.1.to_bits(), v.last.1.to_bits());
        [sum, residue, min, max, first, last, at(v.first.0), at(v.last.0)]
    });
    (state.count, state.flagged, values, state.detail.as_ref().map(|detail| detail.encode()))
}

/// A state for people and for scripts.
#[derive(Serialize, Debug)]
pub struct Shown {
    pub count: i64,
    pub flagged: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residue: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<(String, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<(String, f64)>,
}

impl From<&State> for Shown {
    fn from(state: &State) -> Shown {
        let values = state.values.as_ref();
        let at = |(time, value): (Time, f64)| (time.to_string(), value);
        Shown {
            count: state.count,
            flagged: state.flagged,
            sum: values.map(|v| v.sum),
            residue: values.map(|v| v.residue),
            min: values.map(|v| v.min),
            max: values.map(|v| v.max),
            first: values.map(|v| at(v.first)),
            last: values.map(|v| at(v.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        aggregate::{self, Entry},
        model::{
            Arithmetic, Kind, Quality,
            arithmetic::{Meter, Rule},
            bucket::{FIVE_MINUTES, HOUR},
        },
    };

    fn counter(_: SeriesId) -> Option<Rule> {
        let arithmetic = Arithmetic::new(Kind::Counter, Some(60), None, Meter::default());
        Some(Rule { arithmetic, volume: None })
    }

    /// A bucket by the definition: one reading after the other, the sum as Neumaier wrote it in 1974.
    #[derive(Default)]
    struct Naive {
        count: i64,
        sum: f64,
        residue: f64,
        first: f64,
        last: f64,
    }

    impl Naive {
        fn add(&mut self, value: f64) {
            self.count += 1;
            self.last = value;
            if self.count == 1 {
                (self.sum, self.first) = (value, value);
                return;
            }
            let sum = self.sum + value;
            self.residue += if value.abs() <= self.sum.abs() {
                (self.sum - sum) + value
            } else {
                (value - sum) + self.sum
            };
            self.sum = sum;
        }

        fn bits(&self) -> [u64; 4] {
            [self.sum, self.residue, self.first, self.last].map(f64::to_bits)
        }
    }

    proptest! {
        #[test]
        fn our_path_and_a_naive_one_agree_and_every_change_is_found(
            readings in proptest::collection::btree_map((0..3i32, 0..7_200_000_000i64), -1e9..1e9f64, 1..200),
            spoiled in any::<prop::sample::Index>(),
        ) {
            let entries = readings.iter().map(|((series, micros), value)| {
                let time = Time::from_micros(*micros);
                let bucket = time.floor(FIVE_MINUTES);
                Entry { series: SeriesId(*series), bucket, time, value: *value, quality: Quality::GOOD, passage: None }
            });
            let narrow = aggregate::buckets(entries.collect(), FIVE_MINUTES, counter);
            let mut naive: BTreeMap<(i32, i64), Naive> = BTreeMap::new();
            for ((series, micros), value) in &readings {
                naive.entry((*series, micros / FIVE_MINUTES * FIVE_MINUTES)).or_default().add(*value);
            }
            prop_assert_eq!(narrow.len(), naive.len());
            for rollup in &narrow {
                let values = rollup.state.values.unwrap();
                let naive = &naive[&(rollup.series.0, rollup.bucket.micros())];
                prop_assert_eq!(rollup.state.count, naive.count);
                prop_assert_eq!(
                    [values.sum, values.residue, values.first.1, values.last.1].map(f64::to_bits),
                    naive.bits()
                );
            }

            // Joined window by window, as the auditor does, or all at once, as the roller does: the same bits.
            let hour = |time: Time| time.floor(HOUR);
            let mut streamed: Vec<Rollup> = Vec::new();
            for window in 0..24 {
                let start = Time::from_micros(window * FIVE_MINUTES);
                streamed.extend(narrow.iter().filter(|rollup| rollup.bucket == start).cloned());
                streamed = aggregate::widen(streamed, hour, counter);
            }
            let wide = aggregate::widen(narrow.clone(), hour, counter);
            let mut mismatches = Vec::new();
            prop_assert_eq!(compare(Level::Hour, &streamed, &wide, |_| true, &mut mismatches), wide.len() as u64);
            prop_assert_eq!(&mismatches, &[]);

            // One bit of one sum, a rollup that is missing, and one without readings.
            let which = spoiled.index(narrow.len());
            let mut changed = narrow.clone();
            let values = changed[which].state.values.as_mut().unwrap();
            values.residue = f64::from_bits(values.residue.to_bits() ^ 1);
            compare(Level::FiveMinutes, &narrow, &changed, |_| true, &mut mismatches);
            changed.remove(which);
            compare(Level::FiveMinutes, &narrow, &changed, |_| true, &mut mismatches);
            compare(Level::FiveMinutes, &changed, &narrow, |_| true, &mut mismatches);
            prop_assert_eq!(mismatches.len(), 3);
            let wrong = (narrow[which].series, narrow[which].bucket);
            prop_assert!(mismatches.iter().all(|m| (m.series, m.bucket) == wrong));
            prop_assert!(mismatches[1].stored.is_none() && mismatches[2].expected.is_none());
        }
    }

    #[test]
    fn what_does_not_count_is_not_compared_and_lateness_is_no_mismatch() {
        let state = |late| State { count: 1, late, ..State::default() };
        let rollup = |series, late| Rollup {
            series: SeriesId(series),
            bucket: Time::from_micros(0),
            state: state(late),
        };
        let mut mismatches = Vec::new();
        let counts = |rollup: &Rollup| rollup.series == SeriesId(1);
        let compared =
            compare(Level::Day, &[rollup(1, 0), rollup(2, 0)], &[rollup(1, 1)], counts, &mut mismatches);
        assert_eq!((compared, mismatches.len()), (1, 0));
    }
}

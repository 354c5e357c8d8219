use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::rows::Key;
use crate::model::{SeriesId, Time};

/// What this process committed: up to when each series came, and the keys of the last batches with the fingerprints of
/// what they hold. A repeat is told from them without asking the database. A miss costs only the slower path, so
/// forgetting is safe.
#[derive(Debug)]
pub struct Recent {
    /// As many as the registry has series.
    newest: HashMap<SeriesId, Time, RandomState>,
    /// Each sorted, the oldest first.
    runs: VecDeque<Vec<(Key, i64)>>,
    keys: usize,
    keys_max: usize,
}

const ENTRY_BYTES: usize = size_of::<(Key, i64)>();
/// Runs up to this share of all keys are merged with their neighbours, so that small batches do not make many runs.
const MERGED_SHARE: usize = 32;

impl Recent {
    pub fn within(bytes: usize) -> Self {
        let keys_max = (bytes / ENTRY_BYTES).max(1);
        Recent { newest: HashMap::default(), runs: VecDeque::new(), keys: 0, keys_max }
    }

    /// Whether a key is later than all that this process stored of its series: then nobody stored it, but for another
    /// process or this one before its start.
    pub fn is_ahead(&self, key: &Key) -> bool {
        self.newest.get(&key.series).is_some_and(|newest| *newest < key.time)
    }

    /// The fingerprint of what is stored under a key, if it is remembered.
    pub fn get(&self, key: &Key) -> Option<i64> {
        if self.newest.get(&key.series).is_none_or(|newest| *newest < key.time) {
            return None;
        }
        self.runs.iter().rev().find_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            if *key < first.0 || last.0 < *key {
                return None;
            }
            let at = run.binary_search_by_key(key, |(known, _)| *known).ok()?;
            Some(run[at].1)
        })
    }

    /// Keys with their fingerprints. Only after the commit: a key that was rolled back must not make its redelivery a
    /// duplicate.
    pub fn insert(&mut self, mut run: Vec<(Key, i64)>) {
        run.sort_unstable();
        for (key, _) in &run {
            let newest = self.newest.entry(key.series).or_insert(key.time);
            *newest = key.time.max(*newest);
        }
        self.keys += run.len();
        while let Some(before) = self.runs.back_mut() {
            if 2 * run.len() < before.len() || self.keys_max / MERGED_SHARE < before.len() + run.len() {
                break;
            }
            before.append(&mut run);
            before.sort(); // two sorted halves: one pass
            run = self.runs.pop_back().unwrap_or_default();
        }
        if !run.is_empty() {
            self.runs.push_back(run);
        }
        while self.keys_max < self.keys {
            self.keys -= self.runs.pop_front().map_or(self.keys, |run| run.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(micros: i64, series: i32) -> Key {
        Key { time: Time::from_micros(micros), series: SeriesId(series), event: 0 }
    }

    #[test]
    fn memory_is_bounded_and_the_newest_keys_are_kept() {
        let mut recent = Recent::within(200 * ENTRY_BYTES);
        (0..1_000).for_each(|i| recent.insert(vec![(key(i, 1), i)]));
        assert!(recent.keys <= 200 && recent.runs.iter().map(Vec::len).sum::<usize>() == recent.keys);
        assert!(100 <= recent.keys, "{} of 200 are kept", recent.keys);
        assert!(recent.runs.len() < 80, "{} runs", recent.runs.len());
        assert_eq!(
            (recent.get(&key(999, 1)), recent.get(&key(910, 1)), recent.get(&key(0, 1))),
            (Some(999), Some(910), None)
        );
    }

    #[test]
    fn what_is_later_than_all_of_its_series_is_ahead() {
        let mut recent = Recent::within(1 << 20);
        recent.insert(vec![(key(5, 1), 0), (key(9, 1), 0), (key(7, 2), 0)]);
        assert!(recent.is_ahead(&key(10, 1)) && !recent.is_ahead(&key(9, 1)) && !recent.is_ahead(&key(6, 1)));
        assert!(recent.is_ahead(&key(8, 2)));
        assert!(!recent.is_ahead(&key(8, 3)), "nobody knows what is stored of another series");
    }

    proptest! {
        #[test]
        fn it_tells_what_a_map_would_tell(batches in prop::collection::vec(
            prop::collection::btree_map((0..200i64, 0..5i32), any::<i64>(), 0..40), 0..30,
        )) {
            let mut recent = Recent::within(1 << 20);
            let mut map = HashMap::<Key, i64>::new();
            for batch in batches {
                let new = batch.into_iter().map(|((time, series), fingerprint)| (key(time, series), fingerprint));
                let new: Vec<_> = new.filter(|(key, _)| !map.contains_key(key)).collect();
                map.extend(new.iter().copied());
                recent.insert(new);
            }
            for time in 0..200 {
                for series in 0..5 {
                    let key = key(time, series);
                    prop_assert_eq!(recent.get(&key), map.get(&key).copied());
                    let is_last = map.keys().all(|known| known.series != key.series || known.time < key.time);
                    let is_known = map.keys().any(|known| known.series == key.series);
                    prop_assert_eq!(recent.is_ahead(&key), is_known && is_last);
                }
            }
        }
    }
}

use std::collections::HashMap;

use super::rows::Key;

/// Keys committed not long ago, with the fingerprint of what they hold: a repeat is told from them without asking
/// the database. A miss costs only the slower path, so forgetting is safe.
#[derive(Debug)]
pub struct RecentKeys {
    young: HashMap<Key, i64>,
    old: HashMap<Key, i64>,
    generation_max: usize,
}

/// What an entry takes in a map that is between half full and full.
const ENTRY_BYTES: usize = 56;

impl RecentKeys {
    pub fn within(bytes: usize) -> Self {
        RecentKeys {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (bytes / ENTRY_BYTES / 2).max(1),
        }
    }

    pub fn get(&self, key: &Key) -> Option<i64> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    /// Only after the commit: a key that was rolled back must not make its redelivery a duplicate.
    pub fn insert(&mut self, key: Key, fingerprint: i64) {
        if self.generation_max <= self.young.len() {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SeriesId, Time};

    #[test]
    fn memory_is_bounded_and_the_newest_keys_are_kept() {
        let key = |i| Key { time: Time::from_micros(i), series: SeriesId(1), event: 0 };
        let mut recent = RecentKeys::within(200 * ENTRY_BYTES);
        (0..1_000).for_each(|i| recent.insert(key(i), i));
        assert!(recent.young.len() + recent.old.len() <= 200);
        assert_eq!(
            (recent.get(&key(999)), recent.get(&key(900)), recent.get(&key(0))),
            (Some(999), Some(900), None)
        );
    }
}

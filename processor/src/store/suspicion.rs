use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Which sources sent stored keys not long ago: the keys of their next batches are looked up at once, because a COPY
/// that fails at its last row was paid for in full.
#[derive(Default, Debug)]
pub(super) struct Suspicion {
    /// Batches left, and how many the next offence earns. As many as a mapping has sources.
    sources: HashMap<Arc<str>, (u32, u32)>,
}

/// A source that keeps repeating itself is tried on the fast path once in so many batches.
const SUSPECT_BATCHES_MAX: u32 = 64;

impl Suspicion {
    pub fn advises_look_up(&self, sources: &BTreeSet<Arc<str>>) -> bool {
        sources.iter().filter_map(|source| self.sources.get(source)).any(|(left, _)| 0 < *left)
    }

    /// After a batch whose keys were looked up.
    pub fn learn(&mut self, sources: &BTreeSet<Arc<str>>, repeats_found: bool) {
        for source in sources {
            let (left, span) = self.sources.entry(source.clone()).or_insert((0, 1));
            *left = match (*left, repeats_found) {
                (0, true) => {
                    *span = (*span * 2).min(SUSPECT_BATCHES_MAX);
                    *span
                }
                (0, false) => 0,
                (left, _) => left - 1,
            };
            if !repeats_found {
                *span = (*span / 2).max(1);
            }
        }
    }
}

use std::collections::BTreeSet;

/// Which sources sent stored keys not long ago: the keys of their next batches are looked up at once, because a COPY
/// that fails at its last row was paid for in full.
#[derive(Debug)]
pub(super) struct Suspicion {
    /// By source, the unmapped last: batches left, and how many the next offence earns.
    sources: Vec<(u32, u32)>,
}

/// A source that keeps repeating itself is tried on the fast path once in so many batches.
const SUSPECT_BATCHES_MAX: u32 = 64;

impl Suspicion {
    pub fn new(sources: usize) -> Self {
        Suspicion { sources: vec![(0, 1); sources] }
    }

    fn slot(&self, source: Option<u16>) -> usize {
        source.map_or(self.sources.len() - 1, usize::from)
    }

    pub fn advises_look_up(&self, sources: &BTreeSet<Option<u16>>) -> bool {
        sources.iter().any(|source| 0 < self.sources[self.slot(*source)].0)
    }

    /// After a batch whose keys were looked up.
    pub fn learn(&mut self, sources: &BTreeSet<Option<u16>>, repeats_found: bool) {
        for source in sources {
            let slot = self.slot(*source);
            let (left, span) = &mut self.sources[slot];
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

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Which keys of a batch are looked up before it is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) enum LookUp {
    #[default]
    None,
    /// Those that are not later than all that this process stored of their series.
    Old,
    All,
}

/// Which sources sent stored keys not long ago: the keys of their next batches are looked up at once, because a COPY
/// that fails at its last row was paid for in full.
#[derive(Default, Debug)]
pub(super) struct Suspicion {
    /// As many as a mapping has sources.
    sources: HashMap<Arc<str>, Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Batches left.
    left: u32,
    /// How many the next offence earns.
    span: u32,
    /// What to look up in them.
    look_up: LookUp,
}

/// A source that keeps repeating itself is tried on the fast path once in so many batches.
const SUSPECT_BATCHES_MAX: u32 = 64;

impl Suspicion {
    pub fn advice(&self, sources: &BTreeSet<Arc<str>>) -> LookUp {
        let suspects = sources.iter().filter_map(|source| self.sources.get(source));
        suspects.filter(|suspect| 0 < suspect.left).map(|suspect| suspect.look_up).max().unwrap_or_default()
    }

    /// After a batch whose keys were looked up: which of them had to be.
    pub fn learn(&mut self, sources: &BTreeSet<Arc<str>>, needed: LookUp) {
        for source in sources {
            let new = Suspect { left: 0, span: 1, look_up: needed };
            let suspect = self.sources.entry(source.clone()).or_insert(new);
            let (found, more) = (needed != LookUp::None, suspect.look_up < needed);
            if suspect.left == 0 || more {
                suspect.look_up = needed;
            }
            suspect.left = match (suspect.left, found) {
                (0, false) => 0,
                (left, true) if left == 0 || more => {
                    suspect.span = (suspect.span * 2).min(SUSPECT_BATCHES_MAX);
                    suspect.span
                }
                (left, _) => left - 1,
            };
            if !found {
                suspect.span = (suspect.span / 2).max(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_repeats_is_looked_up_for_a_while_and_only_as_far_as_it_had_to_be() {
        let sources = BTreeSet::from([Arc::from("loops")]);
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.advice(&sources), LookUp::None);
        suspicion.learn(&sources, LookUp::Old);
        assert_eq!(suspicion.advice(&sources), LookUp::Old);
        suspicion.learn(&sources, LookUp::All); // one that was ahead collided
        assert_eq!(suspicion.advice(&sources), LookUp::All);
        for _ in 0..SUSPECT_BATCHES_MAX {
            suspicion.learn(&sources, LookUp::None);
        }
        assert_eq!(suspicion.advice(&sources), LookUp::None);
        suspicion.learn(&sources, LookUp::Old);
        assert_eq!(suspicion.advice(&sources), LookUp::Old, "what it was suspected of before is forgotten");
    }

    #[test]
    fn one_suspect_is_enough_and_others_go_free() {
        let (loops, meters) = (Arc::<str>::from("loops"), Arc::<str>::from("meters"));
        let mut suspicion = Suspicion::default();
        suspicion.learn(&BTreeSet::from([loops.clone()]), LookUp::All);
        assert_eq!(suspicion.advice(&BTreeSet::from([meters.clone()])), LookUp::None);
        assert_eq!(suspicion.advice(&BTreeSet::from([loops, meters])), LookUp::All);
    }
}

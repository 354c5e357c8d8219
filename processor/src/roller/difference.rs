//! What rolling changes: rollups that stand, and those that readings say, become rows to add, to change and to delete.

use std::cmp::Ordering;

use crate::{
    aggregate::Rollup,
    model::{SeriesId, Time},
    store::revision::Became,
};

/// What must be written so that what stands is what readings say. Rows that stand already are in none.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Difference {
    pub added: Vec<Rollup>,
    pub changed: Vec<Rollup>,
    pub gone: Vec<(SeriesId, Time)>,
}

impl Difference {
    /// Both are sorted by series and bucket; `counts` says of what stands whether it may be deleted.
    pub fn of(stands: &[Rollup], said: Vec<Rollup>, mut counts: impl FnMut(&Rollup) -> bool) -> Difference {
        let key = |rollup: &Rollup| (rollup.series, rollup.bucket);
        let mut difference = Difference::default();
        let mut stands = stands.iter().peekable();
        let mut delete = |stale: &Rollup, gone: &mut Vec<_>| {
            if counts(stale) {
                gone.push(key(stale));
            }
        };
        for rollup in said {
            while let Some(stale) = stands.next_if(|stale| key(stale) < key(&rollup)) {
                delete(stale, &mut difference.gone);
            }
            match stands.peek().map(|standing| key(standing).cmp(&key(&rollup))) {
                Some(Ordering::Equal) => {
                    if stands.next() != Some(&rollup) {
                        difference.changed.push(rollup);
                    }
                }
                _ => difference.added.push(rollup),
            }
        }
        stands.for_each(|stale| delete(stale, &mut difference.gone));
        difference
    }

    /// Every bucket that is written or deleted.
    pub fn changes(&self) -> Vec<(SeriesId, Time, Became)> {
        let added = self.added.iter().map(|rollup| (rollup.series, rollup.bucket, Became::Added));
        let changed = self.changed.iter().map(|rollup| (rollup.series, rollup.bucket, Became::Changed));
        let gone = self.gone.iter().map(|(series, bucket)| (*series, *bucket, Became::Gone));
        added.chain(changed).chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::State;

    type Rows = BTreeMap<(i32, i64), i64>;

    fn rollups(rows: &Rows) -> Vec<Rollup> {
        let rollup = |(&(series, bucket), &count): (&(i32, i64), &i64)| {
            let state = State { count, ..State::default() };
            Rollup { series: SeriesId(series), bucket: Time::from_micros(bucket), state }
        };
        rows.iter().map(rollup).collect()
    }

    fn rows() -> impl Strategy<Value = Rows> {
        proptest::collection::btree_map((0..4i32, 0..6i64), 0..3i64, 0..20)
    }

    proptest! {
        #[test]
        fn what_stands_becomes_what_is_said_with_the_fewest_rows(stands in rows(), said in rows()) {
            let difference = Difference::of(&rollups(&stands), rollups(&said), |_| true);
            let mut after = stands.clone();
            for (series, bucket) in &difference.gone {
                prop_assert!(after.remove(&(series.0, bucket.micros())).is_some());
            }
            for rollup in &difference.changed {
                let old = after.insert((rollup.series.0, rollup.bucket.micros()), rollup.state.count);
                prop_assert!(old.is_some_and(|old| old != rollup.state.count));
            }
            for rollup in &difference.added {
                prop_assert!(after.insert((rollup.series.0, rollup.bucket.micros()), rollup.state.count).is_none());
            }
            prop_assert_eq!(&after, &said);
            prop_assert_eq!(difference.changes().is_empty(), stands == said);
            let kept = Difference::of(&rollups(&stands), rollups(&said), |_| false);
            prop_assert_eq!(kept.gone.len(), 0);
        }
    }
}

//! Touches -> the rows of one segment that are left out of it and read from the database.

use super::changes::{Touch, Whose};
use super::file::Block;
use crate::{pushdown, series::Series, tables::Dataset};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

pub const DAY_NS: i64 = 86_400_000_000_000;

/// Rows that are left out of a segment and read from the database.
#[derive(Clone, Debug)]
pub struct Touched {
    /// Of these series; none: of all.
    ids: Option<Arc<BTreeSet<i32>>>,
    /// Nanoseconds; both ends are included.
    times: (i64, i64),
}

/// Tells which rows touches of a dataset mean.
pub struct Touching<'s> {
    dataset: &'static Dataset,
    series: &'s Series,
    parts: HashMap<i16, Arc<BTreeSet<i32>>>,
}

/// Whether a touch may mean rows of a day. A reading of an interval lies behind the bucket that it is of.
pub fn is_near(touch: &Touch, day: &Range<i64>) -> bool {
    touch.starts < day.end && day.start <= touch.ends.saturating_add(DAY_NS)
}

impl<'s> Touching<'s> {
    pub fn new(dataset: &'static Dataset, series: &'s Series) -> Self {
        Self { dataset, series, parts: HashMap::new() }
    }

    /// What a touch means of a day whose rows were of intervals up to `longest`; none: nothing.
    pub fn of(&mut self, touch: &Touch, day: &Range<i64>, longest: i64) -> Option<Touched> {
        if !is_near(touch, day) {
            return None;
        }
        let ids = match touch.whose {
            Whose::All => None,
            Whose::Series(id) => Some(Arc::new([id].into())),
            Whose::Part(part) => Some(self.part(part)),
        };
        let interval = self.interval(ids.as_deref(), longest);
        let ends = touch.ends.saturating_add(interval).saturating_sub(i64::from(interval == 0));
        // No further than the day: what is behind it is another segment's, or the rest's.
        let times = (touch.starts.max(day.start), ends.min(day.end - 1));
        (times.0 <= times.1).then_some(Touched { ids, times })
    }

    fn part(&mut self, part: i16) -> Arc<BTreeSet<i32>> {
        let series = self.series;
        self.parts.entry(part).or_insert_with(|| Arc::new(series.of_part(part).collect())).clone()
    }

    /// How far behind its bucket a reading may lie: of series that are gone as far as those that the segment was made of.
    fn interval(&self, ids: Option<&BTreeSet<i32>>, longest: i64) -> i64 {
        if self.dataset.grain_s != Some(0) {
            return 0;
        }
        match ids {
            None => self.series.longest_interval(None).max(longest),
            Some(ids) if ids.iter().all(|id| self.series.position(*id).is_some()) => {
                self.series.longest_interval(Some(ids))
            }
            Some(_) => DAY_NS,
        }
    }
}

impl Touched {
    pub fn has(&self, id: i32, time: i64) -> bool {
        self.times.0 <= time && time <= self.times.1 && self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
    }

    pub fn meets(&self, block: &Block) -> bool {
        let in_time = self.times.0 <= block.times.1 && block.times.0 <= self.times.1;
        let ids = |ids: &Arc<BTreeSet<i32>>| ids.range(block.series.0..=block.series.1).next().is_some();
        in_time && self.ids.as_ref().is_none_or(ids)
    }

    /// The rows that are read from the database in its place.
    pub fn condition(&self, dataset: &Dataset) -> String {
        let times = pushdown::within(dataset, &(self.times.0..self.times.1.saturating_add(1)));
        match &self.ids {
            None => times,
            Some(ids) => {
                let ids: Vec<i32> = ids.iter().copied().collect();
                format!("({times} AND {})", pushdown::among(&ids))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_ends_with_the_day() {
        let series = Series::of([(1, "a", "m", "u")]);
        let dataset = Dataset::named("rollup_5m").unwrap();
        let mut touching = Touching::new(dataset, &series);
        let over = Touch { whose: Whose::All, starts: DAY_NS - 10, ends: DAY_NS + 10 };
        assert_eq!(touching.of(&over, &(0..DAY_NS), 0).unwrap().times, (DAY_NS - 10, DAY_NS - 1));
        assert_eq!(touching.of(&over, &(DAY_NS..2 * DAY_NS), 0).unwrap().times, (DAY_NS, DAY_NS + 9));
        assert!(touching.of(&over, &(2 * DAY_NS..3 * DAY_NS), 0).is_none());
    }

    #[test]
    fn a_reading_lies_behind_its_bucket_also_of_a_series_that_is_gone_or_new() {
        let series = Series::of([(1, "a", "m", "u")]);
        let dataset = Dataset::named("reading").unwrap();
        let mut touching = Touching::new(dataset, &series);
        let times = |touching: &mut Touching, whose, longest| {
            touching.of(&Touch { whose, starts: 0, ends: 300 }, &(0..DAY_NS), longest).unwrap().times
        };
        assert_eq!(times(&mut touching, Whose::Series(1), 5000), (0, 299));
        assert_eq!(times(&mut touching, Whose::All, 5000), (0, 5300));
        assert_eq!(times(&mut touching, Whose::Series(2), 0), (0, DAY_NS - 1));
    }
}

//! What came between two moments: the batches that ingest committed, and their readings or passages.

use crate::{
    copy::Reader,
    database::Database,
    error::{QueryError, Result},
    moment::Moment,
    pushdown,
    scan::Select,
    segments,
    tables::{Column, Dataset, SERIES_ID, Stored},
};
use jiff::Timestamp;
use std::ops::Range;

/// Batches whose rows are read at once.
const BATCHES: usize = 500;
/// Ranges of time that one reading of the table names: more are joined over what lies between them.
const RANGES_MAX: usize = 64;

/// What is told as it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facts {
    Readings,
    Passages,
}

/// Facts of some transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    facts: Facts,
    /// In order.
    xids: Vec<u64>,
    /// When the last of them began.
    at: Timestamp,
    /// Nanoseconds; the ends are excluded.
    times: Vec<Range<i64>>,
}

/// What one moment sees and another does not, in the order of the transactions, some at a time: there may be a day of it.
pub struct Chunks<'m> {
    facts: Facts,
    from: &'m Moment,
    to: &'m Moment,
    /// The last that was told.
    after: u64,
}

impl Facts {
    pub const ALL: [Facts; 2] = [Facts::Readings, Facts::Passages];

    /// Those of a dataset; none where it is not told live.
    pub fn named(dataset: &str) -> Option<Facts> {
        Self::ALL.into_iter().find(|facts| facts.name() == dataset)
    }

    /// Their dataset, and their table.
    pub fn name(self) -> &'static str {
        match self {
            Facts::Readings => "reading",
            Facts::Passages => "event",
        }
    }

    /// Where they are.
    pub fn dataset(self) -> Result<&'static Dataset> {
        let name = self.name();
        Dataset::named(name).ok_or_else(|| QueryError::Internal(format!("no dataset {name}")))
    }

    /// All that is read of one, whoever follows, in this order.
    pub fn stored(self) -> Result<Vec<Stored>> {
        let columns = self.dataset()?.columns.iter().map(Column::stored);
        Ok([SERIES_ID].into_iter().chain(columns.filter(|stored| *stored != SERIES_ID)).collect())
    }

    /// The column of `batch` that says where they lie.
    fn times(self) -> &'static str {
        match self {
            Facts::Readings => "times",
            Facts::Passages => "event_times",
        }
    }
}

/// Facts in these times, whoever stored them.
pub fn within(times: Vec<Range<i64>>) -> Vec<Range<i64>> {
    joined(times, RANGES_MAX)
}

impl<'m> Chunks<'m> {
    pub fn between(facts: Facts, from: &'m Moment, to: &'m Moment) -> Self {
        Self { facts, from, to, after: 0 }
    }

    /// The next; none at the end.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next(&mut self, database: &Database) -> Result<Option<Chunk>> {
        let select = format!(
            "SELECT xid::text, at, lower(time), upper(time)
             FROM (SELECT xid, at, {times} AS times FROM batch
                   WHERE pg_snapshot_xmin($1::text::pg_snapshot) <= xid AND $3::text::xid8 < xid
                     AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
                     AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot) AND {times} IS NOT NULL
                   ORDER BY xid LIMIT {BATCHES}) AS new, unnest(times) AS time
             ORDER BY xid",
            times = self.facts.times()
        );
        let client = database.client().await?;
        let after = self.after.to_string();
        let rows = client.query(&select, &[&self.from.snapshot, &self.to.snapshot, &after]).await?;
        drop(client);
        let (mut xids, mut times, mut at): (Vec<u64>, _, _) = (Vec::new(), Vec::new(), None);
        for row in &rows {
            let xid: &str = row.try_get(0)?;
            let xid = xid.parse().map_err(|_| QueryError::Internal(format!("transaction {xid}")))?;
            if xids.last() != Some(&xid) {
                xids.push(xid);
            }
            at = Some(row.try_get(1)?);
            let (low, high): (Timestamp, Timestamp) = (row.try_get(2)?, row.try_get(3)?);
            times.push(segments::nanos(low)..segments::nanos(high).saturating_add(1));
        }
        let (Some(at), Some(last)) = (at, xids.last()) else { return Ok(None) };
        self.after = *last;
        Ok(Some(Chunk { facts: self.facts, xids, at, times: joined(times, RANGES_MAX) }))
    }
}

impl Chunk {
    /// Begins to read its rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(&self, database: &Database) -> Result<Reader> {
        // As rows keep them: without the epoch, which 4 billion transactions make.
        let xids: Vec<String> = self.xids.iter().map(|xid| (xid & u64::from(u32::MAX)).to_string()).collect();
        let stored_by = format!("xmin = ANY ('{{{}}}'::xid[])", xids.join(","));
        read(database, self.facts, &self.times, Some(stored_by)).await
    }

    /// The place behind it, on the way to a moment.
    pub fn place(&self, to: &Moment) -> Moment {
        to.up_to(self.xids.last().copied().unwrap_or(0), self.at)
    }
}

/// Begins to read facts of some times that fulfil a condition of ours.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    database: &Database,
    facts: Facts,
    times: &[Range<i64>],
    condition: Option<String>,
) -> Result<Reader> {
    let (dataset, stored) = (facts.dataset()?, facts.stored()?);
    let within: Vec<String> = times.iter().map(|times| pushdown::within(dataset, times)).collect();
    let within = if within.is_empty() { "false".into() } else { format!("({})", within.join(" OR ")) };
    let conditions = condition.into_iter().chain(dataset.only.map(str::to_owned)).chain([within]).collect();
    let expressions: Vec<&str> = stored.iter().map(|stored| stored.sql).collect();
    let (expressions, from) = (expressions.join(", "), dataset.from);
    let select = Select { expressions, from, conditions, order: Vec::new(), limit: None };
    Ok(Reader::new(database.copy(&select.sql()).await?, &stored))
}

/// At most so many ranges that hold the others: those that are nearest to each other become one.
fn joined(mut ranges: Vec<Range<i64>>, most: usize) -> Vec<Range<i64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart = 1_000_000_000_i64;
    loop {
        let mut joined: Vec<Range<i64>> = Vec::new();
        for range in &ranges {
            match joined.last_mut() {
                Some(last) if range.start.saturating_sub(last.end) <= apart => {
                    last.end = last.end.max(range.end);
                }
                _ => joined.push(range.clone()),
            }
        }
        if joined.len() <= most {
            return joined;
        }
        ranges = joined;
        apart = apart.saturating_mul(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_that_is_seen_of_facts_is_read_of_them() {
        for facts in Facts::ALL {
            assert_eq!(Facts::named(facts.name()), Some(facts));
            let stored = facts.stored().unwrap();
            assert!(facts.dataset().unwrap().columns.iter().all(|column| stored.contains(&column.stored())));
        }
        assert_eq!(Facts::named("sensor"), None);
    }

    proptest! {
        #[test]
        fn joined_ranges_are_few_and_hold_the_others(
            ranges in prop::collection::vec((0..i64::MAX / 2, 0..1_000_000_000_000i64), 0..300), most in 1..100usize,
        ) {
            let ranges: Vec<Range<i64>> = ranges.iter().map(|(start, long)| *start..start + long).collect();
            let joined = joined(ranges.clone(), most);
            prop_assert!(joined.len() <= most);
            let held = |range: &Range<i64>| joined.iter().any(|one| one.start <= range.start && range.end <= one.end);
            prop_assert!(ranges.iter().all(held));
            prop_assert!(joined.windows(2).all(|two| two[0].end < two[1].start));
        }
    }
}

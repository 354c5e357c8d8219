//! What came between two moments: the batches that ingest committed, and their readings.

use crate::{
    copy::Reader,
    database::Database,
    error::{QueryError, Result},
    moment::Moment,
    pushdown,
    scan::Select,
    segments,
    tables::{Dataset, Stored},
};
use jiff::Timestamp;
use std::ops::Range;

/// Batches whose readings are read at once.
const BATCHES: usize = 500;
/// Ranges of time that one reading of the table names: more are joined over what lies between them.
const RANGES_MAX: usize = 64;

/// Readings of some transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// In order.
    xids: Vec<u64>,
    /// When the last of them began.
    at: Timestamp,
    /// Nanoseconds; the ends are excluded.
    times: Vec<Range<i64>>,
}

/// What one moment sees and another does not, in the order of the transactions, some at a time: there may be a day of it.
pub struct Chunks<'m> {
    from: &'m Moment,
    to: &'m Moment,
    /// The last that was told.
    after: u64,
}

/// Where `reading` is.
pub fn readings() -> Result<&'static Dataset> {
    Dataset::named("reading").ok_or_else(|| QueryError::Internal("no dataset of readings".into()))
}

/// Readings in these times, whoever stored them.
pub fn within(times: Vec<Range<i64>>) -> Vec<Range<i64>> {
    joined(times, RANGES_MAX)
}

impl<'m> Chunks<'m> {
    pub fn between(from: &'m Moment, to: &'m Moment) -> Self {
        Self { from, to, after: 0 }
    }

    /// The next; none at the end.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next(&mut self, database: &Database) -> Result<Option<Chunk>> {
        let select = format!(
            "SELECT xid::text, at, lower(time), upper(time)
             FROM (SELECT xid, at, times FROM batch
                   WHERE pg_snapshot_xmin($1::text::pg_snapshot) <= xid AND $3::text::xid8 < xid
                     AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
                     AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot) AND times IS NOT NULL
                   ORDER BY xid LIMIT {BATCHES}) AS new, unnest(times) AS time
             ORDER BY xid"
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
        Ok(Some(Chunk { xids, at, times: joined(times, RANGES_MAX) }))
    }
}

impl Chunk {
    /// Begins to read its rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(&self, database: &Database, stored: &[Stored]) -> Result<Reader> {
        // As rows keep them: without the epoch, which 4 billion transactions make.
        let xids: Vec<String> = self.xids.iter().map(|xid| (xid & u64::from(u32::MAX)).to_string()).collect();
        let stored_by = format!("xmin = ANY ('{{{}}}'::xid[])", xids.join(","));
        read(database, stored, &self.times, Some(stored_by)).await
    }

    /// The place behind it, on the way to a moment.
    pub fn place(&self, to: &Moment) -> Moment {
        to.up_to(self.xids.last().copied().unwrap_or(0), self.at)
    }
}

/// Begins to read readings of some times that fulfil a condition of ours.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    database: &Database,
    stored: &[Stored],
    times: &[Range<i64>],
    condition: Option<String>,
) -> Result<Reader> {
    let dataset = readings()?;
    let within: Vec<String> = times.iter().map(|times| pushdown::within(dataset, times)).collect();
    let within = if within.is_empty() { "false".into() } else { format!("({})", within.join(" OR ")) };
    let conditions = condition.into_iter().chain(dataset.only.map(str::to_owned)).chain([within]).collect();
    let expressions: Vec<&str> = stored.iter().map(|stored| stored.sql).collect();
    let (expressions, from) = (expressions.join(", "), dataset.from);
    let select = Select { expressions, from, conditions, order: Vec::new(), limit: None };
    Ok(Reader::new(database.copy(&select.sql()).await?, stored))
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

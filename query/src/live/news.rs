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
use tokio_postgres::Client;

/// Batches whose readings are read at once.
const BATCHES: usize = 500;
/// Ranges of time that one reading of the table names: more are joined over what lies between them.
const RANGES_MAX: usize = 64;

/// Readings of some transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// As rows keep them: without the epoch, which 4 billion transactions make.
    xids: Vec<u32>,
    /// Nanoseconds; the ends are excluded.
    times: Vec<Range<i64>>,
}

/// Where `reading` is.
pub fn readings() -> Result<&'static Dataset> {
    Dataset::named("reading").ok_or_else(|| QueryError::Internal("no dataset of readings".into()))
}

/// What `to` sees and `from` does not, in the order of the transactions.
///
/// # Errors
/// The database cannot be read.
pub async fn between(client: &Client, from: &Moment, to: &Moment) -> Result<Vec<Chunk>> {
    let select = "SELECT xid::text::int8 & 4294967295, lower(times), upper(times)
                  FROM (SELECT xid, unnest(times) AS times FROM batch
                        WHERE pg_snapshot_xmin($1::text::pg_snapshot) <= xid
                          AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
                          AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)) AS new
                  ORDER BY xid";
    let mut batches: Vec<(u32, Vec<Range<i64>>)> = Vec::new();
    for row in client.query(select, &[&from.snapshot, &to.snapshot]).await? {
        let xid = u32::try_from(row.try_get::<_, i64>(0)?)
            .map_err(|_| QueryError::Internal("a transaction beyond 32 bits".into()))?;
        let (low, high): (Timestamp, Timestamp) = (row.try_get(1)?, row.try_get(2)?);
        let times = segments::nanos(low)..segments::nanos(high).saturating_add(1);
        match batches.last_mut() {
            Some((last, ranges)) if *last == xid => ranges.push(times),
            _ => batches.push((xid, vec![times])),
        }
    }
    Ok(batches.chunks(BATCHES).map(Chunk::of).collect())
}

/// Readings in these times, whoever stored them.
pub fn within(times: Vec<Range<i64>>) -> Vec<Range<i64>> {
    joined(times, RANGES_MAX)
}

impl Chunk {
    fn of(batches: &[(u32, Vec<Range<i64>>)]) -> Self {
        let times = batches.iter().flat_map(|(_, times)| times.iter().cloned()).collect();
        Self { xids: batches.iter().map(|(xid, _)| *xid).collect(), times: joined(times, RANGES_MAX) }
    }

    /// Begins to read its rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(&self, database: &Database, stored: &[Stored]) -> Result<Reader> {
        let xids: Vec<String> = self.xids.iter().map(ToString::to_string).collect();
        let stored_by = format!("xmin = ANY ('{{{}}}'::xid[])", xids.join(","));
        read(database, stored, &self.times, Some(stored_by)).await
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

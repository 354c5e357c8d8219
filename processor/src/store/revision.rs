//! What changed in the rollups, and when: for caches, and for who publishes numbers and must say that they changed.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::StoreError;
use crate::model::{Level, SeriesId, Time};

/// Buckets next to each other of one series, or of several, that changed in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// `None`: of several.
    pub series: Option<SeriesId>,
    pub starts: Time,
    /// Excluded.
    pub ends: Time,
    pub counts: Counts,
}

/// Buckets of a series.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub added: i32,
    pub changed: i32,
    pub gone: i32,
}

/// What became of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    Added,
    Changed,
    Gone,
}

/// Rows of one transaction and level: a repair of a few series is named exactly, more of them are one row.
const ROWS_MAX: usize = 64;
/// More buckets are no repair of a few series: they are not looked through.
const BUCKETS_MAX: usize = 20_000;

/// Changed buckets as few rows: those of a series that follow each other are one; more than [`ROWS_MAX`] of these are one
/// together. `end` gives the end of a bucket.
pub(crate) fn condense(
    mut changes: Vec<(SeriesId, Time, Became)>,
    end: impl Fn(Time) -> Time,
) -> Vec<Revision> {
    let one = |(series, bucket, became): &(SeriesId, Time, Became)| Revision {
        series: Some(*series),
        starts: *bucket,
        ends: end(*bucket),
        counts: (*became).into(),
    };
    let mut rows: Vec<Revision> = Vec::new();
    if changes.len() <= BUCKETS_MAX {
        changes.sort_unstable_by_key(|(series, bucket, _)| (*series, *bucket));
        for one in changes.iter().map(one) {
            match rows.last_mut() {
                Some(last) if last.series == one.series && last.ends == one.starts => last.take(&one),
                _ => rows.push(one),
            }
        }
        if rows.len() <= ROWS_MAX {
            return rows;
        }
    }
    let together = changes.iter().map(one).reduce(|mut all, one| {
        all.take(&one);
        all
    });
    together.map(|all| Revision { series: None, ..all }).into_iter().collect()
}

impl Revision {
    fn take(&mut self, other: &Revision) {
        self.starts = self.starts.min(other.starts);
        self.ends = self.ends.max(other.ends);
        self.counts.added += other.counts.added;
        self.counts.changed += other.counts.changed;
        self.counts.gone += other.counts.gone;
    }
}

impl From<Became> for Counts {
    fn from(became: Became) -> Counts {
        let one = |which| i32::from(became == which);
        Counts { added: one(Became::Added), changed: one(Became::Changed), gone: one(Became::Gone) }
    }
}

/// Notes revisions in the present transaction.
///
/// # Errors
/// The database fails.
pub(crate) async fn note(client: &Client, level: Level, revisions: &[Revision]) -> Result<(), StoreError> {
    for Revision { series, starts, ends, counts } in revisions {
        let insert = "INSERT INTO revision (level, series_id, starts, ends, added, changed, gone)
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (series, starts, ends) = (series.map(|id| id.0), starts.timestamp(), ends.timestamp());
        let Counts { added, changed, gone } = counts;
        client.execute(insert, &[&level.number(), &series, &starts, &ends, added, changed, gone]).await?;
    }
    Ok(())
}

/// Longer than anybody waits with asking what has changed.
const KEPT_DAYS: i32 = 400;

/// Deletes revisions of long ago.
///
/// # Errors
/// The database fails.
pub(super) async fn forget(client: &Client) -> Result<(), StoreError> {
    let delete = "DELETE FROM revision WHERE at < now() - make_interval(days => $1)";
    client.execute(delete, &[&KEPT_DAYS]).await?;
    Ok(())
}

/// A revision as people read it.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub at: Timestamp,
    pub level: Level,
    /// Sensor and metric; `None`: of several.
    pub series: Option<(String, String)>,
    pub starts: Timestamp,
    pub ends: Timestamp,
    pub counts: Counts,
}

/// What changed since an instant, the oldest first, at most `limit`.
///
/// # Errors
/// The database cannot be read.
pub async fn since(client: &Client, since: Timestamp, limit: i64) -> Result<Vec<Change>, StoreError> {
    let query = "SELECT at, level, sensor, metric, starts, ends, added, changed, gone
                 FROM revision LEFT JOIN series ON series.id = series_id
                 WHERE $1 <= at ORDER BY revision.id LIMIT $2";
    let rows = client.query(query, &[&since, &limit]).await?;
    let change = |row: &tokio_postgres::Row| {
        let level = row.get::<_, i16>(1);
        Some(Change {
            at: row.get(0),
            level: Level::ALL.into_iter().find(|known| known.number() == level)?,
            series: row.get::<_, Option<String>>(2).zip(row.get(3)),
            starts: row.get(4),
            ends: row.get(5),
            counts: Counts { added: row.get(6), changed: row.get(7), gone: row.get(8) },
        })
    };
    Ok(rows.iter().filter_map(change).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_change_is_in_one_row(changes in proptest::collection::btree_map((0..30i32, 0..40i64), 0..3u8, 0..200)) {
            let became = |n: &u8| [Became::Added, Became::Changed, Became::Gone][usize::from(*n)];
            let all: Vec<_> = changes
                .iter()
                .map(|((series, bucket), n)| (SeriesId(*series), Time::from_micros(*bucket), became(n)))
                .collect();
            let rows = condense(all.clone(), |bucket| Time::from_micros(bucket.micros() + 1));
            prop_assert!(rows.len() <= ROWS_MAX);
            let sum: i32 = rows.iter().map(|row| row.counts.added + row.counts.changed + row.counts.gone).sum();
            prop_assert_eq!(sum as usize, changes.len());
            for (series, bucket, _) in all {
                let holds = |row: &&Revision| {
                    row.series.is_none_or(|of| of == series) && row.starts <= bucket && bucket < row.ends
                };
                prop_assert_eq!(rows.iter().filter(holds).count(), 1);
            }
        }
    }
}

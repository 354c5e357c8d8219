//! What changed under segments: revisions and marks that one snapshot sees and an earlier one does not.

use crate::{error::Result, moment::Moment, tables::Dataset};
use jiff::Timestamp;
use tokio_postgres::Client;

/// Longer than any of our transactions: what an earlier snapshot did not see began after it, less this.
const TRANSACTION_MAX: &str = "1 hour";
const FIVE_MINUTES_NS: i64 = 300_000_000_000;

/// Whose rows of a time are others now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    All,
    /// Of all sensors of a part.
    Part(i16),
    Series(i32),
}

/// Rows that may be others than a segment has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    pub whose: Whose,
    /// Of the bucket, in Unix nanoseconds; the end is excluded.
    pub starts: i64,
    pub ends: i64,
}

/// Rollups of a level (0: five minutes, 1: hours, 2: days) that were changed since a moment.
///
/// # Errors
/// The database cannot be read.
pub async fn since(client: &Client, level: i16, moment: &Moment) -> Result<Vec<Touch>> {
    let select = format!(
        "SELECT series_id, starts, ends FROM revision
         WHERE level = $1 AND $2::timestamptz - interval '{TRANSACTION_MAX}' <= at AND NOT pg_visible_in_snapshot(xid, $3::text::pg_snapshot)"
    );
    let rows = client.query(&select, &[&level, &moment.at, &moment.snapshot]).await?;
    rows.iter()
        .map(|row| {
            let whose = row.try_get::<_, Option<i32>>(0)?.map_or(Whose::All, Whose::Series);
            Ok(Touch { whose, starts: nanos(row.try_get(1)?), ends: nanos(row.try_get(2)?) })
        })
        .collect()
}

/// Buckets of readings that came and are not rolled yet, from a time to another one, in nanoseconds; neighbours together.
///
/// # Errors
/// The database cannot be read.
pub async fn pending(client: &Client, from: i64, to: i64) -> Result<Vec<Touch>> {
    let time = |nanos: i64| Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    let select = "SELECT DISTINCT part, bucket FROM dirty
                  WHERE level = 0 AND $1 <= bucket AND bucket <= $2 ORDER BY part, bucket";
    let mut touches: Vec<Touch> = Vec::new();
    for row in client.query(select, &[&time(from), &time(to)]).await? {
        let (whose, starts) = (Whose::Part(row.try_get(0)?), nanos(row.try_get(1)?));
        let ends = starts.saturating_add(FIVE_MINUTES_NS);
        match touches.last_mut() {
            Some(last) if last.whose == whose && starts == last.ends => last.ends = ends,
            _ => touches.push(Touch { whose, starts, ends }),
        }
    }
    Ok(touches)
}

/// Up to when rows of a class are gone, or are going: nothing is added before `floor`, nothing is left before `cleared`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    pub class: String,
    pub floor: i64,
    pub cleared: i64,
}

impl Floor {
    /// Whether days of the class are dropped whole, and not row by row.
    pub fn goes_whole(&self) -> bool {
        ["readings", "events"].contains(&self.class.as_str())
    }
}

/// What is gone of a dataset, of all metrics or of some.
///
/// # Errors
/// The database cannot be read.
pub async fn floors(client: &Client, dataset: &Dataset) -> Result<Vec<Floor>> {
    let class = match dataset.name {
        "reading" => "readings",
        "event" => "events",
        name => name,
    };
    let select = "SELECT class, extract(epoch FROM floor)::int8,
                         coalesce(extract(epoch FROM nullif(cleared, '-infinity'))::int8, 0)
                  FROM retention WHERE class LIKE $1 || '%' AND '-infinity' < floor ORDER BY class";
    let rows = client.query(select, &[&class]).await?;
    let nanos = |seconds: i64| seconds.saturating_mul(1_000_000_000);
    rows.iter()
        .map(|row| {
            Ok(Floor {
                class: row.try_get(0)?,
                floor: nanos(row.try_get(1)?),
                cleared: nanos(row.try_get(2)?),
            })
        })
        .collect()
}

pub fn nanos(time: Timestamp) -> i64 {
    // The years 1677 to 2262; buckets beyond are not made.
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

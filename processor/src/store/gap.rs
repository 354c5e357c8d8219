//! Numbers that never came.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::StoreError;

/// Every gap in the numbers of a source, one row each: `source, epoch, first_seq, last_seq, hour`. A gap shows, and is
/// counted, in the hour in which the next number was received.
pub const GAPS: &str = "
    SELECT p.source, p.epoch, lower(gap) AS first_seq, upper(gap) - 1 AS last_seq, (
        SELECT min(h.hour) FROM source_hour h
        WHERE h.source = p.source AND h.epoch = p.epoch AND upper(gap) <= h.last_seq
    ) AS hour
    FROM source_position p, unnest(int8multirange(int8range(1, upper(p.seen))) - p.seen) AS gap
    WHERE NOT isempty(p.seen)";

/// The gaps of a source that showed in one hour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gaps {
    pub source: String,
    pub epoch: i64,
    pub hour: Timestamp,
    pub gaps: i64,
    /// Numbers that never came.
    pub messages: i64,
    /// The first and the last of them.
    pub first_seq: i64,
    pub last_seq: i64,
}

/// Numbers may reach 2^62, so that a sum of gaps may be more than fits.
const MESSAGES: &str = "least(sum(last_seq - first_seq + 1), 9223372036854775807)::int8";

/// The gaps that showed in a period, by source, epoch and hour.
///
/// # Errors
/// The database cannot be read.
pub async fn by_hour(client: &Client, from: Timestamp, to: Timestamp) -> Result<Vec<Gaps>, StoreError> {
    let select = format!(
        "SELECT source, epoch, hour, count(*), {MESSAGES}, min(first_seq), max(last_seq)
         FROM ({GAPS}) AS gap
         WHERE $1 <= hour AND hour < $2
         GROUP BY source, epoch, hour
         ORDER BY source, epoch, hour"
    );
    let gaps = |row: &Row| Gaps {
        source: row.get(0),
        epoch: row.get(1),
        hour: row.get(2),
        gaps: row.get(3),
        messages: row.get(4),
        first_seq: row.get(5),
        last_seq: row.get(6),
    };
    Ok(client.query(&select, &[&from, &to]).await?.iter().map(gaps).collect())
}

/// How many numbers never came, by source over all its epochs, the most first: as many sources as asked for, then the
/// sum of all others.
///
/// # Errors
/// The database cannot be read.
pub async fn by_source(client: &Client, sources_max: usize) -> Result<(Vec<(String, i64)>, i64), StoreError> {
    let select = format!(
        "SELECT p.source, coalesce(max(gap.messages), 0)
         FROM (SELECT DISTINCT source FROM source_position) AS p
         LEFT JOIN (SELECT source, {MESSAGES} AS messages FROM ({GAPS}) AS gap GROUP BY source) AS gap USING (source)
         GROUP BY p.source
         ORDER BY 2 DESC, 1"
    );
    let rows = client.query(&select, &[]).await?;
    let mut sources: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let others = sources.split_off(sources_max.min(sources.len()));
    Ok((sources, others.iter().fold(0, |sum, (_, messages)| sum.saturating_add(*messages))))
}

//! Numbers that never came: the view `source_gap`.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::StoreError;

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
         FROM source_gap
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

/// How many numbers never came, by source over all its epochs, the most first: of `sources_max` sources, and the sum of
/// all others.
///
/// # Errors
/// The database cannot be read.
pub async fn by_source(client: &Client, sources_max: i64) -> Result<(Vec<(String, i64)>, i64), StoreError> {
    let select = format!(
        "WITH missing AS (SELECT source, {MESSAGES} AS messages FROM source_gap GROUP BY source)
         SELECT source, messages, least(sum(messages) OVER (), 9223372036854775807)::int8 FROM missing
         ORDER BY messages DESC, source LIMIT $1"
    );
    let rows = client.query(&select, &[&sources_max]).await?;
    let sources: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let all: i64 = rows.first().map_or(0, |row| row.get(2));
    let others = sources.iter().fold(all, |rest, (_, messages)| rest.saturating_sub(*messages));
    Ok((sources, others))
}

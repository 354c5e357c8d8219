//! Rows that go one by one.

use jiff::Timestamp;
use tokio_postgres::Client;

use super::{Dropped, ROWS_COUNTED_MAX, Step, UTC_DAY};
use crate::{
    model::{Class, Kept, Kind, Time},
    registry::Gone,
    store::{StoreError, lock, partition},
};

/// Rows that one transaction deletes: a fraction of a second, for which the roller waits.
const ROWS_AT_ONCE: i64 = 20_000;
/// Numbers of a source whose payload hashes are remembered: more than a gateway has in flight. Of an older one the
/// readings' keys decide.
const REMEMBERED_NUMBERS: i64 = 20_000;

/// The table of a class, and the column that tells how old a row is.
pub fn table(kept: Kept) -> (&'static str, &'static str) {
    match kept {
        Kept::Readings => ("reading", "time"),
        Kept::Events => ("event", "time"),
        Kept::Rollups(level) => (level.table(), "bucket"),
        Kept::Conflicts => ("conflict", "time"),
        Kept::Rejections => ("rejection", "received_at"),
        Kept::Positions => ("source_hour", "hour"),
        Kept::Ledger => ("ledger", "hour"),
        Kept::Batches => ("batch", "at"),
    }
}

fn key(kept: Kept) -> &'static [&'static str] {
    match kept {
        Kept::Events => &["time", "series_id", "event_id"],
        Kept::Rollups(_) => &["bucket", "series_id"],
        _ => &["time", "series_id"],
    }
}

/// The lowest floor of the readings that rollups of a class are made of; `None` where all of some are kept.
pub async fn raw_floor(client: &Client, class: &Class, gone: &Gone) -> Result<Option<Time>, StoreError> {
    if class.prefix.is_empty() {
        return Ok(gone.raw_floor);
    }
    let mut lowest = None;
    let series = "SELECT DISTINCT kind, metric FROM series WHERE starts_with(metric, $1)";
    for row in client.query(series, &[&&*class.prefix]).await? {
        let kind: Kind = row.get::<_, &str>(0).parse().map_err(StoreError::Unfit)?;
        let Some(floor) = gone.floor(kind, row.get(1)) else { return Ok(None) };
        lowest = Some(lowest.unwrap_or(floor).min(floor));
    }
    Ok(lowest)
}

/// `AND series_id = ANY(...)` for a class of some metrics.
async fn of_series(client: &Client, class: &Class) -> Result<(String, usize), StoreError> {
    if class.prefix.is_empty() {
        return Ok((String::new(), usize::MAX));
    }
    let rows =
        client.query("SELECT id FROM series WHERE starts_with(metric, $1)", &[&&*class.prefix]).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.get::<_, i32>(0).to_string()).collect();
    Ok((format!("AND series_id = ANY('{{{}}}'::int4[])", ids.join(",")), ids.len()))
}

/// Whether a class has rows, or series, that a floor could be about.
pub async fn any(client: &Client, class: &Class, before: Time) -> Result<bool, StoreError> {
    if !class.prefix.is_empty() {
        return Ok(0 < of_series(client, class).await?.1);
    }
    let (table, column) = table(class.kept);
    let query = format!("SELECT EXISTS (SELECT FROM {table} WHERE {column} < '{before}')");
    Ok(client.query_one(&query, &[]).await?.get(0))
}

/// How many rows of a class are between what is cleared already and `before`.
pub async fn count(
    client: &Client,
    class: &Class,
    cleared: Option<Time>,
    before: Time,
) -> Result<i64, StoreError> {
    let (table, column) = table(class.kept);
    let of_series = if class.kept.has_metrics() { of_series(client, class).await?.0 } else { String::new() };
    let cleared = cleared.map_or_else(String::new, |cleared| format!("AND '{cleared}' <= {column}"));
    let query = format!(
        "SELECT count(*) FROM (
             SELECT FROM {table} WHERE {column} < '{before}' {cleared} {of_series} LIMIT {ROWS_COUNTED_MAX}
         ) going"
    );
    Ok(client.query_one(&query, &[]).await?.get(0))
}

/// The age of the oldest row that stays, where the table can say it without a search.
pub async fn oldest(
    client: &Client,
    class: &Class,
    before: Option<Time>,
) -> Result<Option<Time>, StoreError> {
    let (table, column) = table(class.kept);
    let (true, Some(before)) = (class.prefix.is_empty(), before) else { return Ok(None) };
    let query = format!("SELECT min({column}) FROM {table} WHERE '{before}' <= {column}");
    Ok(client.query_one(&query, &[]).await?.get::<_, Option<Timestamp>>(0).map(Time::from))
}

/// Deletes some of what is left of a class before its floor, a UTC day after the other: what is cleared is not looked at
/// again.
pub async fn clear(
    client: &Client,
    class: &Class,
    cleared: Option<Time>,
    before: Time,
) -> Result<Step, StoreError> {
    let (table, column) = table(class.kept);
    let first = match (cleared, class.kept) {
        (Some(cleared), _) => Some(cleared),
        (None, Kept::Rollups(_)) => {
            let query = format!("SELECT min({column}) FROM {table}");
            client.query_one(&query, &[]).await?.get::<_, Option<Timestamp>>(0).map(Time::from)
        }
        (None, _) => partition::days(client, table).await?.first().copied(),
    };
    let Some(first) = first.filter(|first| *first < before) else { return Ok(Step::Idle) };
    let last = before.min(Time::from_micros(first.floor(UTC_DAY).micros() + UTC_DAY));
    let key = key(class.kept);
    let same: Vec<String> = key.iter().map(|column| format!("old.{column} = going.{column}")).collect();
    client.batch_execute(&lock::begin_unrolled()).await?;
    let delete = format!(
        "DELETE FROM {table} AS old USING (
             SELECT {key} FROM {table}
             WHERE '{first}' <= {column} AND {column} < '{last}' {of_series} LIMIT {ROWS_AT_ONCE}
         ) AS going
         WHERE {same} AND '{first}' <= old.{column} AND old.{column} < '{last}'",
        key = key.join(", "),
        same = same.join(" AND "),
        of_series = of_series(client, class).await?.0,
    );
    let rows = client.execute(&delete, &[]).await? as i64;
    let done = (rows < ROWS_AT_ONCE).then_some(last.timestamp());
    let note = "UPDATE retention SET rows = rows + $2, cleared = coalesce($3, cleared) WHERE class = $1";
    client.execute(note, &[&class.to_string(), &rows, &done]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(Step::Dropped(Dropped { class: class.to_string(), days: 0, rows }))
}

/// Deletes some of the rows that are of no metric.
pub async fn delete_old(client: &Client, kept: Kept, before: Time) -> Result<Step, StoreError> {
    let (table, column) = table(kept);
    client.batch_execute(&lock::begin_unrolled()).await?;
    let delete = format!(
        "DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE {column} < $1 LIMIT {ROWS_AT_ONCE})"
    );
    let rows = client.execute(&delete, &[&before.timestamp()]).await? as i64;
    if rows == 0 {
        client.batch_execute("ROLLBACK").await?;
        return Ok(Step::Idle);
    }
    let note = "UPDATE retention SET rows = rows + $2 WHERE class = $1";
    client.execute(note, &[&kept.as_str(), &rows]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(Step::Dropped(Dropped { class: kept.as_str().to_owned(), days: 0, rows }))
}

/// Forgets the payload hashes of numbers that came long ago.
pub async fn trim_ring(client: &Client) -> Result<(), StoreError> {
    let delete = format!(
        "DELETE FROM source_payload AS old USING (
             SELECT source, epoch, id,
                    sum(cardinality(seqs)) OVER (PARTITION BY source ORDER BY epoch DESC, id DESC) - cardinality(seqs)
                        AS newer
             FROM source_payload
         ) AS ring
         WHERE old.source = ring.source AND old.epoch = ring.epoch AND old.id = ring.id
             AND {REMEMBERED_NUMBERS} <= ring.newer"
    );
    client.execute(&delete, &[]).await?;
    Ok(())
}

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio_postgres::Client;
use tracing::debug;

use super::{City, Level, StoreError};
use crate::model::{self, Time};

const DAY: i64 = 86_400_000_000;
/// Days that may be made at once: two months of history arriving together.
const BURST: f64 = 60.0;
/// Days made a second after that: a sensor with a mad clock must not fill the catalogue faster than people look.
const PER_SECOND: f64 = 20.0;
/// Days that one transaction makes: each holds a lock on its table.
const AT_ONCE: usize = 16;

/// The UTC days, by their starts, of which a table has a partition or a chunk.
///
/// # Errors
/// The database cannot be read.
pub async fn days(client: &Client, table: &str) -> Result<Vec<Time>, StoreError> {
    let query = match City::read(client).await?.level {
        Level::Plain => {
            "SELECT to_date(right(c.relname, 8), 'YYYYMMDD')::timestamptz
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = $1::text::regclass ORDER BY 1"
        }
        Level::TimescaleApache | Level::Timescale => {
            "SELECT range_start FROM timescaledb_information.chunks WHERE hypertable_name = $1 ORDER BY 1"
        }
    };
    let rows = client.query(query, &[&table]).await?;
    Ok(rows.iter().map(|row| row.get::<_, jiff::Timestamp>(0).into()).collect())
}

/// The UTC days, by their starts, that have rollups: found by jumping from day to day in the key.
///
/// # Errors
/// The database cannot be read.
pub async fn rolled_days(client: &Client, level: model::Level) -> Result<Vec<Time>, StoreError> {
    let query = format!(
        "WITH RECURSIVE first AS (
             SELECT min(bucket) AS bucket FROM {table}
             UNION ALL
             SELECT (SELECT min(bucket) FROM {table} WHERE date_trunc('day', first.bucket) + INTERVAL '1 day' <= bucket)
             FROM first WHERE first.bucket IS NOT NULL
         )
         SELECT date_trunc('day', bucket) FROM first WHERE bucket IS NOT NULL",
        table = level.table()
    );
    let rows = client.query(&query, &[]).await?;
    Ok(rows.iter().map(|row| row.get::<_, jiff::Timestamp>(0).into()).collect())
}

/// The days of a table with their size in bytes, indexes included.
///
/// # Errors
/// The database cannot be read.
pub(super) async fn sizes(client: &Client, table: &str) -> Result<Vec<(Time, i64)>, StoreError> {
    let query = match City::read(client).await?.level {
        Level::Plain => {
            "SELECT to_date(right(c.relname, 8), 'YYYYMMDD')::timestamptz, pg_total_relation_size(c.oid)
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = $1::text::regclass ORDER BY 1"
        }
        Level::TimescaleApache | Level::Timescale => {
            "SELECT range_start, pg_total_relation_size(to_regclass(format('%I.%I', chunk_schema, chunk_name)))
             FROM timescaledb_information.chunks WHERE hypertable_name = $1 ORDER BY 1"
        }
    };
    let rows = client.query(query, &[&table]).await?;
    // A day that is dropped meanwhile has no size any more.
    let there = rows
        .iter()
        .filter_map(|row| Some((row.get::<_, jiff::Timestamp>(0).into(), row.get::<_, Option<i64>>(1)?)));
    Ok(there.collect())
}

/// In a transaction: drops the days of a table that end at or before an instant. Returns how many.
///
/// # Errors
/// The database fails, or somebody reads the table for too long.
pub(super) async fn drop_days(client: &Client, table: &str, before: Time) -> Result<i64, StoreError> {
    match City::read(client).await?.level {
        Level::Plain => {
            let going =
                days(client, table).await?.into_iter().filter(|day| day.micros() + DAY <= before.micros());
            let names: Vec<String> = going.map(|day| partition_name(table, day)).collect();
            if !names.is_empty() {
                client.batch_execute(&format!("DROP TABLE {}", names.join(", "))).await?;
            }
            Ok(names.len() as i64)
        }
        Level::TimescaleApache | Level::Timescale => {
            let drop =
                format!("SELECT count(*) FROM drop_chunks('{table}', older_than => TIMESTAMPTZ '{before}')");
            Ok(client.query_one(&drop, &[]).await?.get(0))
        }
    }
}

fn partition_name(table: &str, day: Time) -> String {
    format!("{table}_{}", day.timestamp().strftime("%Y%m%d"))
}

/// Makes the days of `reading` and `event` before the batch that needs them, in short transactions of their own.
#[derive(Debug)]
pub struct Partitions {
    level: Level,
    known: [BTreeSet<i64>; 2],
    allowance: f64,
    refilled: Instant,
}

const TABLES: [&str; 2] = ["reading", "event"];

impl Partitions {
    pub fn new(level: Level) -> Self {
        Partitions { level, known: Default::default(), allowance: BURST, refilled: Instant::now() }
    }

    /// Looks at every day again: one that was there may have been dropped.
    pub fn forget(&mut self) {
        self.known = Default::default();
    }

    /// # Errors
    /// The database fails.
    pub async fn ensure(
        &mut self,
        client: &mut Client,
        table: &'static str,
        times: impl Iterator<Item = Time>,
    ) -> Result<(), StoreError> {
        let which = TABLES.iter().position(|name| *name == table).unwrap_or(0);
        let mut missing: Vec<i64> = Vec::new();
        for time in times {
            let day = time.micros().div_euclid(DAY);
            if missing.last() != Some(&day) && !self.known[which].contains(&day) {
                missing.push(day);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        for days in missing.chunks(AT_ONCE) {
            self.wait(days.len() as f64).await;
            self.create(client, table, days).await?;
            self.known[which].extend(days);
            metrics::counter!("screenline_partitions_ensured_total", "table" => table)
                .increment(days.len() as u64);
        }
        Ok(())
    }

    async fn wait(&mut self, days: f64) {
        let now = Instant::now();
        self.allowance = (self.allowance + (now - self.refilled).as_secs_f64() * PER_SECOND).min(BURST);
        self.refilled = now;
        self.allowance -= days;
        if self.allowance < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-self.allowance / PER_SECOND)).await;
        }
    }

    async fn create(&self, client: &mut Client, table: &str, days: &[i64]) -> Result<(), StoreError> {
        let transaction = client.transaction().await?;
        // Two writers may need the same day; the second finds it made.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('screenline partitions'))";
        transaction.execute(lock, &[]).await?;
        let mut made = 0;
        for day in days {
            let start = Time::from_micros(day * DAY);
            let end = Time::from_micros((day + 1) * DAY);
            let sql = match self.level {
                Level::Plain => {
                    let name = partition_name(table, start);
                    let there = transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await?;
                    if there.get(0) {
                        continue;
                    }
                    // Made apart and then attached: CREATE TABLE ... PARTITION OF would lock out every reader.
                    format!(
                        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
                    )
                }
                // A chunk is made by a row that is gone again before anyone can see it.
                Level::TimescaleApache | Level::Timescale => {
                    let column = if table == "event" { "event_id" } else { "value" };
                    format!(
                        "INSERT INTO {table} (time, series_id, quality, received_at, {column})
                             VALUES ('{start}', 0, 0, '{start}', 0);
                         DELETE FROM {table} WHERE time = '{start}' AND series_id = 0"
                    )
                }
            };
            transaction.batch_execute(&sql).await?;
            made += 1;
        }
        transaction.commit().await?;
        debug!(table, days = made, "made partitions");
        Ok(())
    }
}

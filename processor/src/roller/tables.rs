//! The roller's SQL.

use std::{collections::BTreeMap, sync::RwLock};

use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::{Client, Row};

use super::{Marks, Portion, difference::Difference};
use crate::{
    aggregate::Rollup,
    faults::{self, Bug},
    model::{
        BatchId, Level, Passage, Quality, SeriesId, State, Time,
        state::{Detail, Values},
    },
    registry::{self, Registry},
    store::{CopyFrames, Counts, StoreError, lock, read_copy},
};

/// A stored reading, or a stored event with the value 1.
pub(crate) struct Fact {
    pub series: SeriesId,
    pub time: Time,
    pub value: f64,
    pub quality: Quality,
    pub passage: Option<Box<Passage>>,
}

/// Which batches left marks, whatever their order: how many, and their ids put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Voucher {
    batches: i64,
    ids: i64,
}

/// By bucket and part.
pub(super) type Vouchers = BTreeMap<(Time, i16), Voucher>;

impl Voucher {
    pub fn add(&mut self, batch: BatchId) {
        self.batches += 1;
        self.ids ^= batch.0;
    }

    pub fn subtract(&mut self, other: Voucher) {
        self.batches -= other.batches;
        self.ids ^= other.ids;
    }
}

/// Deletes the marks of the oldest buckets before `open`, of so many parts at most, and says whose they were.
pub(super) async fn take_marks(
    client: &Client,
    level: Level,
    open: Time,
    portion: Portion,
) -> Result<Vouchers, StoreError> {
    let oldest =
        "SELECT DISTINCT bucket FROM dirty WHERE level = $1 AND bucket < $2 ORDER BY bucket LIMIT $3";
    let of_parts = format!(
        "part IN (SELECT DISTINCT part FROM dirty WHERE level = $1 AND bucket IN ({oldest}) ORDER BY part LIMIT $4)"
    );
    let wanted = format!("level = $1 AND bucket IN ({oldest}) AND {of_parts}");
    let statement = if faults::planted(Bug::ReadBeforeTake) {
        format!(
            "SELECT bucket, part, count(*), bit_xor(batch) FROM dirty WHERE {wanted} GROUP BY bucket, part"
        )
    } else {
        format!(
            "WITH taken AS (DELETE FROM dirty WHERE {wanted} RETURNING bucket, part, batch)
             SELECT bucket, part, count(*), bit_xor(batch) FROM taken GROUP BY bucket, part"
        )
    };
    let Portion { buckets, parts } = portion;
    let rows = client.query(&statement, &[&level.number(), &open.timestamp(), &buckets, &parts]).await?;
    let voucher = |row: &Row| Voucher { batches: row.get(2), ids: row.get(3) };
    Ok(rows.iter().map(|row| ((row.get::<_, Timestamp>(0).into(), row.get(1)), voucher(row))).collect())
}

/// Deletes the marks of some buckets, new ones too.
pub(super) async fn delete_marks(client: &Client, level: Level, marks: &Marks) -> Result<(), StoreError> {
    let buckets: Vec<Timestamp> = marks.keys().map(|bucket| bucket.timestamp()).collect();
    let delete = "DELETE FROM dirty WHERE level = $1 AND bucket = ANY($2)";
    client.execute(delete, &[&level.number(), &buckets]).await?;
    Ok(())
}

/// The buckets of a level that hold some narrower ones.
pub(crate) fn wider(level: Level, marks: &Marks, zone: &TimeZone) -> Marks {
    let mut wider = Marks::new();
    for (bucket, parts) in marks {
        wider.entry(level.start(*bucket, zone)).or_default().extend(parts);
    }
    wider
}

/// Leaves marks for the roller.
pub(crate) async fn insert_marks(client: &Client, level: Level, marks: &Marks) -> Result<(), StoreError> {
    let each = || marks.iter().flat_map(|(bucket, parts)| parts.iter().map(move |part| (bucket, *part)));
    let buckets: Vec<Timestamp> = each().map(|(bucket, _)| bucket.timestamp()).collect();
    let parts: Vec<i16> = each().map(|(_, part)| part).collect();
    client
        .execute(
            "INSERT INTO dirty (level, bucket, part, batch)
             SELECT $1, bucket, part, 0 FROM unnest($2::timestamptz[], $3::int2[]) AS mark (bucket, part)",
            &[&level.number(), &buckets, &parts],
        )
        .await?;
    Ok(())
}

/// Readings and events with `start <= time < end`, of some series or of all.
pub(crate) async fn read_facts(
    client: &Client,
    start: Time,
    end: Time,
    series: Option<&[SeriesId]>,
    facts: &mut Vec<Fact>,
) -> Result<(), StoreError> {
    let of_series = of_series(series);
    let order = if faults::planted(Bug::ArrivalOrder) { "ORDER BY received_at" } else { "" };
    let copy = |columns: &str, table: &str| {
        format!(
            "COPY (SELECT time, series_id, quality, {columns} FROM {table}
                   WHERE '{start}' <= time AND time < '{end}' {of_series} {order}) TO STDOUT (FORMAT binary)"
        )
    };
    read_copy(client, &copy("value", "reading"), |row| {
        let (time, series, quality) = (row.time()?, SeriesId(row.int4()?), Quality(row.int4()?));
        facts.push(Fact { series, time, value: row.float8()?, quality, passage: None });
        Ok(())
    })
    .await?;
    read_copy(client, &copy("event_id, speed, length, on_time_s, class", "event"), |row| {
        let (time, series, quality) = (row.time()?, SeriesId(row.int4()?), Quality(row.int4()?));
        let passage = Passage {
            id: row.int8()?,
            speed_kmh: row.optional_float8()?,
            length_m: row.optional_float8()?,
            on_time_s: row.optional_float8()?,
            class: row.optional_text()?.map(Into::into),
            tags: None,
        };
        facts.push(Fact { series, time, value: 1.0, quality, passage: Some(Box::new(passage)) });
        Ok(())
    })
    .await
}

/// Rollups with `start <= bucket < end`, of some series or of all.
pub(crate) async fn read_rollups(
    client: &Client,
    level: Level,
    start: Time,
    end: Time,
    series: Option<&[SeriesId]>,
    rollups: &mut Vec<Rollup>,
) -> Result<(), StoreError> {
    let condition = format!("'{start}' <= bucket AND bucket < '{end}'");
    copy_rollups(client, level, &condition, series, rollups).await
}

async fn copy_rollups(
    client: &Client,
    level: Level,
    condition: &str,
    series: Option<&[SeriesId]>,
    rollups: &mut Vec<Rollup>,
) -> Result<(), StoreError> {
    let copy = format!(
        "COPY (SELECT bucket, series_id, count, flagged, late, sum, residue, min, max, first, first_time, last, last_time, state
               FROM {} WHERE {condition} {}) TO STDOUT (FORMAT binary)",
        level.table(),
        of_series(series)
    );
    read_copy(client, &copy, |row| {
        let (bucket, series) = (row.time()?, SeriesId(row.int4()?));
        let (count, flagged, late) = (row.int8()?, row.int8()?, row.int8()?);
        let numbers = [(); 5].map(|()| row.optional_float8());
        let [sum, residue, min, max, first] = numbers;
        let (first, first_time) = (first?, row.optional_time()?);
        let (last, last_time) = (row.optional_float8()?, row.optional_time()?);
        let values = match (sum?, residue?, min?, max?, first.zip(first_time), last.zip(last_time)) {
            (Some(sum), Some(residue), Some(min), Some(max), Some((first, at)), Some((last, until))) => {
                Some(Values { sum, residue, min, max, first: (at, first), last: (until, last) })
            }
            _ => None,
        };
        let detail = row.optional_bytes()?.map(Detail::decode).transpose();
        let detail = detail
            .map_err(|error| StoreError::Unfit(format!("column `state` of {}: {error}", level.table())))?;
        let detail = detail.map(Box::new);
        rollups.push(Rollup { series, bucket, state: State { count, flagged, late, values, detail } });
        Ok(())
    })
    .await
}

fn of_series(series: Option<&[SeriesId]>) -> String {
    series.map_or_else(String::new, |ids| {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        format!("AND series_id = ANY('{{{}}}'::int4[])", ids.join(","))
    })
}

/// The rollups that stand in marked buckets, sorted by series and bucket.
pub(super) async fn standing(
    client: &Client,
    level: Level,
    marks: &Marks,
    series: Option<&[SeriesId]>,
) -> Result<Vec<Rollup>, StoreError> {
    let buckets: Vec<String> = marks.keys().map(|bucket| format!("\"{bucket}\"")).collect();
    let condition = format!("bucket = ANY('{{{}}}'::timestamptz[])", buckets.join(","));
    let mut stands = Vec::new();
    copy_rollups(client, level, &condition, series, &mut stands).await?;
    stands.sort_unstable_by_key(|rollup| (rollup.series, rollup.bucket));
    Ok(stands)
}

/// Writes what has changed. Returns how many rows.
pub(super) async fn write(
    client: &Client,
    level: Level,
    difference: &Difference,
    registry: &RwLock<Registry>,
    zone: &TimeZone,
) -> Result<u64, StoreError> {
    let Difference { added, changed, gone } = difference;
    if !gone.is_empty() {
        let buckets: Vec<Timestamp> = gone.iter().map(|(_, bucket)| bucket.timestamp()).collect();
        let series: Vec<i32> = gone.iter().map(|(series, _)| series.0).collect();
        let delete = format!(
            "DELETE FROM {} AS rollup
             USING unnest($1::timestamptz[], $2::int4[]) AS stale (bucket, series_id)
             WHERE rollup.bucket = stale.bucket AND rollup.series_id = stale.series_id",
            level.table()
        );
        client.execute(&delete, &[&buckets, &series]).await?;
    }
    let added = add(client, level, added, registry, zone).await?;
    Ok(added + replace(client, level, changed, registry, zone).await?)
}

/// Readings due in a bucket, where the series has an interval.
fn expected(rollup: &Rollup, ends: Time, registry: &Registry) -> Option<f64> {
    let interval_s = registry.series(rollup.series)?.interval_s?;
    Some((ends.micros() - rollup.bucket.micros()) as f64 / 1e6 / f64::from(interval_s))
}

const COLUMNS: &str = "bucket, series_id, count, flagged, late, expected, sum, residue, min, max, first, first_time, last, last_time, state";

/// Writes rollups where none stood: by COPY, at a fifth of the cost of an insertion that looks for conflicts.
async fn add(
    client: &Client,
    level: Level,
    rollups: &[Rollup],
    registry: &RwLock<Registry>,
    zone: &TimeZone,
) -> Result<u64, StoreError> {
    if rollups.is_empty() {
        return Ok(0);
    }
    let is_day = level == Level::Day;
    let zone_name = zone.iana_name().unwrap_or("UTC");
    let mut frames = CopyFrames::new();
    {
        let registry = registry::read(registry);
        for rollup in rollups {
            let Rollup { series, bucket, state: State { count, flagged, late, values, detail } } = rollup;
            let ends = level.end(*bucket, zone);
            frames.row(if is_day { 17 } else { 15 });
            frames.time(*bucket);
            frames.int4(series.0);
            frames.int8(*count);
            frames.int8(*flagged);
            frames.int8(*late);
            frames.optional_float8(expected(rollup, ends, &registry));
            let number = |number: fn(&Values) -> f64| values.as_ref().map(number);
            for number in [number(|v| v.sum), number(|v| v.residue), number(|v| v.min), number(|v| v.max)] {
                frames.optional_float8(number);
            }
            for end in [values.map(|v| v.first), values.map(|v| v.last)] {
                frames.optional_float8(end.map(|(_, value)| value));
                frames.optional_time(end.map(|(time, _)| time));
            }
            frames.optional_bytes(detail.as_ref().map(|detail| detail.encode()).as_deref());
            if is_day {
                frames.time(ends);
                frames.optional_text(Some(zone_name));
            }
        }
    }
    let day_columns = if is_day { ", ends, time_zone" } else { "" };
    let copy = format!("COPY {} ({COLUMNS}{day_columns}) FROM STDIN (FORMAT binary)", level.table());
    frames.send(client, &copy).await
}

/// Rows that one statement replaces.
const ROWS_AT_ONCE: usize = 20_000;

/// Writes rollups over those that stood there.
async fn replace(
    client: &Client,
    level: Level,
    rollups: &[Rollup],
    registry: &RwLock<Registry>,
    zone: &TimeZone,
) -> Result<u64, StoreError> {
    let (day_columns, day_values, day_update) = match level {
        Level::Day => {
            (", ends, time_zone", ", ends, $17", ", ends = excluded.ends, time_zone = excluded.time_zone")
        }
        _ => ("", "", ""),
    };
    if rollups.is_empty() {
        return Ok(0);
    }
    let columns = COLUMNS;
    let table = level.table();
    let update = |column: &str| match column {
        "count" | "flagged" | "sum" if faults::planted(Bug::Increment) => {
            format!("{column} = {table}.{column} + excluded.{column}")
        }
        _ => format!("{column} = excluded.{column}"),
    };
    let updates: Vec<String> = columns.split(", ").skip(2).map(update).collect();
    let statement = format!(
        "INSERT INTO {table} ({columns}{day_columns})
         SELECT {columns}{day_values}
         FROM unnest($1::timestamptz[], $2::int4[], $3::int8[], $4::int8[], $5::int8[], $6::float8[], $7::float8[],
                     $8::float8[], $9::float8[], $10::float8[], $11::float8[], $12::timestamptz[], $13::float8[],
                     $14::timestamptz[], $15::bytea[], $16::timestamptz[])
              AS new ({columns}, ends)
         ON CONFLICT (bucket, series_id) DO UPDATE SET {}{day_update}",
        updates.join(", ")
    );
    let statement = client.prepare(&statement).await?;
    let zone_name = zone.iana_name().unwrap_or("UTC");
    let mut written = 0;
    for chunk in rollups.chunks(ROWS_AT_ONCE) {
        let of = |number: fn(&Values) -> f64| -> Vec<Option<f64>> {
            chunk.iter().map(|rollup| rollup.state.values.as_ref().map(number)).collect()
        };
        let when = |time: fn(&Values) -> Time| -> Vec<Option<Timestamp>> {
            chunk
                .iter()
                .map(|rollup| rollup.state.values.as_ref().map(|values| time(values).timestamp()))
                .collect()
        };
        let buckets: Vec<Timestamp> = chunk.iter().map(|rollup| rollup.bucket.timestamp()).collect();
        let series: Vec<i32> = chunk.iter().map(|rollup| rollup.series.0).collect();
        let counts: Vec<i64> = chunk.iter().map(|rollup| rollup.state.count).collect();
        let flagged: Vec<i64> = chunk.iter().map(|rollup| rollup.state.flagged).collect();
        let late: Vec<i64> = chunk.iter().map(|rollup| rollup.state.late).collect();
        let ends: Vec<Time> = chunk.iter().map(|rollup| level.end(rollup.bucket, zone)).collect();
        let expected: Vec<Option<f64>> = {
            let registry = registry::read(registry);
            chunk.iter().zip(&ends).map(|(rollup, ends)| expected(rollup, *ends, &registry)).collect()
        };
        let ends: Vec<Timestamp> = ends.into_iter().map(Time::timestamp).collect();
        let (sum, residue, min, max) = (of(|v| v.sum), of(|v| v.residue), of(|v| v.min), of(|v| v.max));
        let (first, first_time) = (of(|v| v.first.1), when(|v| v.first.0));
        let (last, last_time) = (of(|v| v.last.1), when(|v| v.last.0));
        let states: Vec<Option<Vec<u8>>> =
            chunk.iter().map(|rollup| rollup.state.detail.as_ref().map(|detail| detail.encode())).collect();
        let mut parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
            &buckets,
            &series,
            &counts,
            &flagged,
            &late,
            &expected,
            &sum,
            &residue,
            &min,
            &max,
            &first,
            &first_time,
            &last,
            &last_time,
            &states,
            &ends,
        ];
        if level == Level::Day {
            parameters.push(&zone_name);
        }
        written += client.execute(&statement, &parameters).await?;
    }
    Ok(written)
}

/// Folds the ledger to one row a source and hour.
pub(super) async fn tidy(client: &Client) -> Result<(), StoreError> {
    let columns = Counts::COLUMNS.join(", ");
    let sums = Counts::COLUMNS.map(|column| format!("sum({column})::int8")).join(", ");
    client.batch_execute("BEGIN").await?;
    let lock = client.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&lock::ROLLER]).await?;
    if lock.get(0) {
        client
            .batch_execute(&format!(
                "WITH loose AS (
                     DELETE FROM ledger l USING (
                         SELECT source, hour FROM ledger GROUP BY source, hour HAVING 1 < count(*)
                     ) many
                     WHERE l.source = many.source AND l.hour = many.hour
                     RETURNING l.*
                 )
                 INSERT INTO ledger (source, hour, {columns})
                 SELECT source, hour, {sums} FROM loose GROUP BY source, hour"
            ))
            .await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

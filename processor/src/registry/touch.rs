//! Marks for what a change of the registry touches, back to the retained readings.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Client;

use super::{Gone, plan::Touch};
use crate::{
    model::{Kind, Time, bucket::FIVE_MINUTES, series::part_of},
    store::StoreError,
};

/// What was marked, and what could not be.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Touched {
    /// Rollups of five minutes that are computed again, with those that are made of them.
    pub buckets: i64,
    /// Days that are wholly or partly before the retained readings, and stay as they were.
    pub kept_days: i64,
    /// The first of them.
    pub kept_from: Option<Timestamp>,
    /// Nothing before it is computed again.
    pub floor: Option<Timestamp>,
}

/// Marks the buckets that hold readings of some series: those that were rolled. Others have their marks still.
/// Beside it nobody may roll.
///
/// # Errors
/// The database fails.
pub(super) async fn mark(client: &Client, touches: &[Touch]) -> Result<Touched, StoreError> {
    if touches.is_empty() {
        return Ok(Touched::default());
    }
    let gone = Gone::load(client).await?;
    let sensors: Vec<&str> = touches.iter().map(|touch| &*touch.sensor).collect();
    let select = "SELECT id, sensor, metric, kind, interval_s FROM series WHERE sensor = ANY($1)";
    let rows = client.query(select, &[&sensors]).await?;
    let known: HashMap<(&str, &str), &tokio_postgres::Row> =
        rows.iter().map(|row| ((row.get(1), row.get(2)), row)).collect();
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    let (mut starts, mut ends, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for touch in touches {
        let Some(row) = known.get(&(&*touch.sensor, &*touch.metric)) else { continue }; // new, and without readings
        let kind: Kind = row.get::<_, &str>(3).parse().map_err(StoreError::Unfit)?;
        let interval = kind.interval_micros(row.get::<_, Option<i32>>(4).map(i32::unsigned_abs));
        let bucket = |micros: i64| Time::from_micros(micros - interval).floor(FIVE_MINUTES).timestamp();
        ids.push(row.get::<_, i32>(0));
        parts.push(part_of(&touch.sensor));
        starts.push(touch.from.map(|from| bucket(from.micros())));
        ends.push(touch.to.map(|to| bucket(to.micros() - 1)));
        floors.push(gone.floor(kind, &touch.metric).map(Time::timestamp));
    }
    let mark = "WITH held AS (
             SELECT DISTINCT r.bucket, r.series_id, touched.part
             FROM rollup_5m r
             JOIN unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::int2[])
                 AS touched (id, starts, ends, floor, part) ON touched.id = r.series_id
             WHERE coalesce(starts, '-infinity') <= r.bucket AND r.bucket <= coalesce(ends, 'infinity')
                 AND coalesce(floor, '-infinity') <= r.bucket
         ), marked AS (
             INSERT INTO dirty (level, bucket, part, batch) SELECT DISTINCT 0, bucket, part, 0 FROM held
         )
         SELECT count(*) FROM held";
    let buckets = client.query_one(mark, &[&ids, &starts, &ends, &floors, &parts]).await?.get(0);
    let kept = "SELECT count(DISTINCT r.bucket), min(r.bucket), max(floor)
         FROM rollup_1d r
         JOIN unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])
             AS touched (id, starts, ends, floor) ON touched.id = r.series_id
         WHERE r.bucket < floor AND coalesce(starts, '-infinity') < r.ends
             AND r.bucket <= coalesce(touched.ends, 'infinity')";
    let row = client.query_one(kept, &[&ids, &starts, &ends, &floors]).await?;
    Ok(Touched { buckets, kept_days: row.get(0), kept_from: row.get(1), floor: row.get(2) })
}

//! How much of what was due was heard, from the rollups.
//!
//! A series with an interval is due in every hour that is over, from the one after it was first heard (in the period, or
//! in the month before it) and as long as the registry says that its sensor exists. What a series says more than is due
//! in one hour makes up for no other hour.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::StoreError;
use crate::model::{Time, bucket::HOUR};

/// What was due in an hour, and what was heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Heard {
    /// Readings of the hour, whether they were due or not.
    pub readings: i64,
    /// Series with an interval, of which readings were due.
    pub due_series: i64,
    /// Readings due.
    pub expected: i64,
    /// Readings heard of those due.
    pub observed: i64,
    /// Series of which fewer readings were heard than due.
    pub short_series: i64,
}

impl Heard {
    pub fn short_readings(&self) -> i64 {
        self.expected - self.observed
    }
}

/// What was due of one series in a period.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Coverage {
    pub sensor: String,
    pub metric: String,
    /// `None` for a series without an interval, of which nothing is ever due.
    pub interval_s: Option<i32>,
    /// Readings heard, the flagged ones included.
    pub observed: i64,
    /// Readings due; `None` without an interval.
    pub expected: Option<i64>,
    /// Readings heard of those due.
    pub covered: i64,
    /// Of those heard: late at their receipt.
    pub late: i64,
    pub last_heard: Option<Timestamp>,
}

impl Coverage {
    /// From 0 to 1; `None` where nothing was due.
    pub fn share(&self) -> Option<f64> {
        let expected = self.expected.filter(|expected| 0 < *expected)?;
        Some(self.covered as f64 / expected as f64)
    }
}

/// `due (id, sensor, metric, interval_s, an_hour, since, until)`: the series heard from $1 to $2, or in the 35 days
/// before.
const DUE: &str = "
    heard AS (
        SELECT series_id, min(since) AS since FROM (
            SELECT series_id, bucket + INTERVAL '1 hour' AS since FROM rollup_1h WHERE $1 <= bucket AND bucket < $2
            UNION ALL -- a day is rolled up when it is over
            SELECT series_id, $1 FROM rollup_1h WHERE $1::timestamptz - INTERVAL '26 hours' <= bucket AND bucket < $1
            UNION ALL
            SELECT series_id, $1 FROM rollup_1d -- days that ended before, the longest included
            WHERE $1::timestamptz - INTERVAL '35 days' <= bucket AND bucket <= $1::timestamptz - INTERVAL '25 hours'
        ) AS rollup
        GROUP BY series_id
    ), due AS (
        SELECT s.id, s.sensor, s.metric, s.interval_s, 3600.0 / s.interval_s AS an_hour,
            greatest(heard.since, exists.since) AS since, least(exists.until, $2) AS until
        FROM heard
        JOIN series s ON s.id = heard.series_id
        JOIN (SELECT id, min(valid_from) AS since, max(valid_to) AS until FROM sensor GROUP BY id) AS exists
            ON exists.id = s.sensor
    )";

/// What was due and heard in each hour of a period that is over. Series with an interval of more than an hour are not
/// due in any single one.
///
/// # Errors
/// The database cannot be read.
pub async fn by_hour(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<BTreeMap<Timestamp, Heard>, StoreError> {
    let select = format!(
        "WITH {DUE}, hourly AS (
             SELECT id, floor(an_hour)::int8 AS an_hour, since, until FROM due WHERE 1 <= an_hour AND since < until
         ), alike AS (
             SELECT since, until, count(*) AS series, sum(an_hour) AS expected FROM hourly GROUP BY since, until
         ), due_then AS (
             SELECT hour, sum(series)::int8 AS series, sum(expected)::int8 AS expected
             FROM generate_series($1::timestamptz, $2::timestamptz - INTERVAL '1 hour', INTERVAL '1 hour') AS hour
             LEFT JOIN alike ON since <= hour AND hour < until
             GROUP BY hour
         ), came AS (
             SELECT r.bucket AS hour, sum(r.count + r.flagged)::int8 AS readings,
                 sum(CASE WHEN id IS NOT NULL THEN least(r.count + r.flagged, an_hour) END)::int8 AS observed,
                 count(*) FILTER (WHERE an_hour <= r.count + r.flagged) AS whole
             FROM rollup_1h r
             LEFT JOIN hourly ON hourly.id = r.series_id AND since <= r.bucket AND r.bucket < until
             WHERE $1 <= r.bucket AND r.bucket < $2
             GROUP BY r.bucket
         )
         SELECT hour, readings, series, expected, observed, whole FROM due_then LEFT JOIN came USING (hour)"
    );
    let heard = |row: &Row| {
        let n = |column: &str| row.get::<_, Option<i64>>(column).unwrap_or(0);
        let heard = Heard {
            readings: n("readings"),
            due_series: n("series"),
            expected: n("expected"),
            observed: n("observed"),
            short_series: n("series") - n("whole"),
        };
        (row.get(0), heard)
    };
    let rows = client.query(&select, &[&from, &over(to, now)]).await?;
    Ok(rows.iter().map(heard).collect())
}

/// The end of the last hour that is over.
fn over(to: Timestamp, now: Timestamp) -> Timestamp {
    to.min(Time::from(now).floor(HOUR).timestamp())
}

/// Which series are asked for.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Wanted {
    pub sensor: Option<String>,
    pub limit: i64,
}

/// The series of the hours of a period that are over, those of which the least was heard first, those of which nothing is due last; and how many
/// there are in all.
///
/// # Errors
/// The database cannot be read.
pub async fn by_series(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
    wanted: &Wanted,
) -> Result<(Vec<Coverage>, i64), StoreError> {
    let select = format!(
        "WITH {DUE}, came AS (
             SELECT r.series_id, sum(r.count + r.flagged)::int8 AS observed, sum(r.late)::int8 AS late,
                 sum(least(r.count + r.flagged, ceil(due.an_hour))) FILTER (WHERE since <= r.bucket AND r.bucket < until) AS covered,
                 max(r.last_time) AS last_heard
             FROM rollup_1h r JOIN due ON due.id = r.series_id
             WHERE $1 <= r.bucket AND r.bucket < $2
             GROUP BY r.series_id
         ), judged AS (
             SELECT sensor, metric, interval_s, coalesce(observed, 0) AS observed,
                 floor(an_hour * greatest(extract(epoch FROM until - since) / 3600, 0))::int8 AS expected,
                 coalesce(covered, 0)::int8 AS covered, coalesce(late, 0) AS late, last_heard
             FROM due LEFT JOIN came ON came.series_id = due.id
             WHERE $3::text IS NULL OR sensor = $3
         )
         SELECT sensor, metric, interval_s, observed, expected, coalesce(least(covered, expected), 0) AS covered, late, last_heard,
             count(*) OVER () AS series
         FROM judged
         ORDER BY least(covered, expected)::float8 / nullif(expected, 0) NULLS LAST, expected - covered DESC, sensor, metric
         LIMIT $4"
    );
    let rows = client.query(&select, &[&from, &over(to, now), &wanted.sensor, &wanted.limit]).await?;
    let coverage = |row: &Row| Coverage {
        sensor: row.get("sensor"),
        metric: row.get("metric"),
        interval_s: row.get("interval_s"),
        observed: row.get("observed"),
        expected: row.get("expected"),
        covered: row.get("covered"),
        late: row.get("late"),
        last_heard: row.get("last_heard"),
    };
    let series = rows.first().map_or(0, |row| row.get("series"));
    Ok((rows.iter().map(coverage).collect(), series))
}

//! Recomputes rollups from the stored readings and events, by the rule and not by the code under test.

use std::collections::BTreeMap;

use anyhow::ensure;
use tokio_postgres::Client;

const FIVE_MINUTES_US: i64 = 300_000_000;

/// Source bad, clock skew, out of range, implausible, stuck: counted beside a bucket, never inside.
const EXCLUDED: i32 = 1 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9;

/// A stored reading: its time in microseconds, value, quality.
type Sample = (i64, f64, i32);

/// A bucket's numbers; floats as bits, because the promise is about bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Bucket {
    count: i64,
    flagged: i64,
    values: Option<[u64; 6]>, // sum, residue, min, max, first, last
    times: Option<(i64, i64)>,
}

/// Sum and what it lost to rounding (Neumaier 1974), of values in time order.
#[derive(Default)]
struct Sum {
    sum: f64,
    residue: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if self.sum.abs() >= value.abs() {
            self.residue += (self.sum - sum) + value;
        } else {
            self.residue += (value - sum) + self.sum;
        }
        self.sum = sum;
    }
}

/// Compares every five-minute bucket with the readings it is made of, bit for bit. Returns the number of buckets.
///
/// # Errors
/// Names the first bucket that differs, is missing, or has no readings.
pub async fn five_minutes(client: &Client) -> anyhow::Result<usize> {
    let readings = client
        .query(
            "SELECT (extract(epoch FROM r.time) * 1000000)::int8, r.series_id, r.value, r.quality, s.kind, s.interval_s
             FROM (
                 SELECT time, series_id, value, quality FROM reading
                 UNION ALL
                 SELECT time, series_id, 1, quality FROM event -- a passage counts one
             ) r
             JOIN series s ON s.id = r.series_id
             ORDER BY r.series_id, r.time",
            &[],
        )
        .await?;
    let mut samples: BTreeMap<(i64, i32), Vec<Sample>> = BTreeMap::new();
    for row in &readings {
        let (time, series): (i64, i32) = (row.get(0), row.get(1));
        let (kind, interval_s): (&str, Option<i32>) = (row.get(4), row.get(5));
        let carries_interval = matches!(kind, "total" | "rate" | "sliding");
        let back_us = if carries_interval { i64::from(interval_s.unwrap_or(0)) * 1_000_000 } else { 0 };
        let bucket = (time - back_us).div_euclid(FIVE_MINUTES_US) * FIVE_MINUTES_US;
        samples.entry((bucket, series)).or_default().push((time, row.get(2), row.get(3)));
    }
    let expected: BTreeMap<(i64, i32), Bucket> =
        samples.iter().map(|(key, these)| (*key, compute(these))).collect();

    let rows = client
        .query(
            "SELECT (extract(epoch FROM bucket) * 1000000)::int8, series_id, count, flagged, sum, residue, min, max,
                 first, last, (extract(epoch FROM first_time) * 1000000)::int8,
                 (extract(epoch FROM last_time) * 1000000)::int8
             FROM rollup_5m",
            &[],
        )
        .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let floats = [4, 5, 6, 7, 8, 9].map(|column| row.get::<_, Option<f64>>(column).map(f64::to_bits));
        let values =
            floats.iter().copied().collect::<Option<Vec<u64>>>().and_then(|bits| bits.try_into().ok());
        let times = row.get::<_, Option<i64>>(10).zip(row.get::<_, Option<i64>>(11));
        let bucket = Bucket { count: row.get(2), flagged: row.get(3), values, times };
        found.insert((row.get::<_, i64>(0), row.get::<_, i32>(1)), bucket);
    }
    for (key, bucket) in &expected {
        let stored = found.get(key);
        ensure!(
            stored == Some(bucket),
            "bucket and series {key:?}: readings say {bucket:?}, rollup_5m {stored:?}"
        );
    }
    if let Some((key, bucket)) = found.iter().find(|(key, _)| !expected.contains_key(key)) {
        ensure!(false, "bucket and series {key:?} has no readings, yet rollup_5m says {bucket:?}");
    }
    Ok(expected.len())
}

fn compute(samples: &[Sample]) -> Bucket {
    let good: Vec<&Sample> = samples.iter().filter(|(_, _, quality)| quality & EXCLUDED == 0).collect();
    let mut bucket = Bucket { count: good.len() as i64, ..Bucket::default() };
    bucket.flagged = samples.len() as i64 - bucket.count;
    let (Some(first), Some(last)) = (good.first(), good.last()) else { return bucket };
    let mut sum = Sum { sum: first.1, residue: 0.0 };
    let (mut min, mut max) = (first.1, first.1);
    for (_, value, _) in &good[1..] {
        sum.add(*value);
        min = min.min(*value);
        max = max.max(*value);
    }
    bucket.values = Some([sum.sum, sum.residue, min, max, first.1, last.1].map(f64::to_bits));
    bucket.times = Some((first.0, last.0));
    bucket
}

/// Checks that hours and days hold the readings of their five-minute buckets: numbers and extremes exactly, sums
/// up to rounding.
///
/// # Errors
/// Names the level that differs.
pub async fn hours_and_days(client: &Client) -> anyhow::Result<()> {
    for (level, span) in [("rollup_1h", "w.bucket + interval '1 hour'"), ("rollup_1d", "w.ends")] {
        let query = format!(
            "SELECT count(*)
             FROM {level} w
             LEFT JOIN LATERAL (
                 SELECT sum(n.count) AS count, sum(n.flagged) AS flagged, min(n.min) AS min, max(n.max) AS max,
                     sum(n.sum + n.residue) AS sum, min(n.first_time) AS first_time, max(n.last_time) AS last_time
                 FROM rollup_5m n
                 WHERE n.series_id = w.series_id AND w.bucket <= n.bucket AND n.bucket < {span}
             ) n ON true
             WHERE (w.count, w.flagged, w.min, w.max, w.first_time, w.last_time)
                 IS DISTINCT FROM (n.count, n.flagged, n.min, n.max, n.first_time, n.last_time)
                 OR abs(w.sum + w.residue - n.sum) > 1e-9 * (1 + abs(n.sum))"
        );
        let wrong: i64 = client.query_one(&query, &[]).await?.get(0);
        ensure!(wrong == 0, "{wrong} rows of {level} do not say what their five-minute buckets say");
        let query = format!(
            "SELECT (SELECT sum(count) FROM {level})::int8, (SELECT sum(count) FROM rollup_5m)::int8"
        );
        let row = client.query_one(&query, &[]).await?;
        let (wide, narrow): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        ensure!(wide == narrow, "{level} counts {wide:?} readings, rollup_5m {narrow:?}");
    }
    Ok(())
}

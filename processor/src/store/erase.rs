//! Erasure of a sensor on request: the only way by which rollups are deleted before their time. The rule that refuses a
//! redelivery commits first; from then on nothing can be added, and what is there goes a day at a time, with marks, so
//! that wider rollups are computed again without it. Asking again finishes what was interrupted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use tokio_postgres::Client;

use super::{
    City, StoreError, connect, lock,
    mention::Mention,
    partition,
    revision::{self, Became, Revision},
    sender, withheld,
};
use crate::{
    model::{
        Kind, Level, MetricName, SensorId, SeriesId, Time,
        bucket::{FIVE_MINUTES, HOUR},
        series::part_of,
    },
    registry::Gone,
    roller::{Marks, tables},
    validate::AHEAD_MAX,
};

/// What is to be erased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erasure {
    pub sensor: SensorId,
    /// Of one metric, or of all.
    pub metric: Option<MetricName>,
    /// Readings from this time on; absent: from the beginning.
    pub starts: Option<Time>,
    /// Readings before this time; absent: all that are there.
    pub ends: Option<Time>,
    /// Kept, so without a name.
    pub reason: String,
}

/// What was found, or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Traces {
    pub readings: i64,
    pub events: i64,
    pub conflicts: i64,
    pub rejections: i64,
    pub rollups: i64,
    /// Of the rollups: older than the readings still kept, so that they cannot be computed again.
    pub rollups_for_good: i64,
    /// Rows of the registry; none unless the whole sensor goes.
    pub registry: i64,
}

impl Traces {
    fn add(&mut self, going: &Going) {
        self.readings += going.readings.len() as i64;
        self.events += going.events.len() as i64;
        self.rollups += going.found[0];
        self.rollups_for_good += going.found[1];
    }
}

/// Erasures that a city remembers to refuse redeliveries: 100 bytes each in every ingest.
const ERASURES_MAX: i64 = 100_000;
const UTC_DAY: i64 = 24 * HOUR;
/// A local day of 25 hours.
const LONGEST_BUCKET: i64 = 25 * HOUR;

/// An erasure on its way through the tables.
pub struct Eraser {
    client: Client,
    erasure: Erasure,
    ends: Time,
    zone: TimeZone,
    gone: Gone,
    series: HashMap<SeriesId, Erased>,
    /// Its row in `erasure`; none while it is only looked.
    id: Option<i64>,
}

/// A series of which something goes.
struct Erased {
    interval: i64,
    floor: Option<Time>,
}

/// What of a UTC day goes.
#[derive(Default)]
struct Going {
    readings: Vec<(Time, SeriesId)>,
    events: Vec<(Time, SeriesId, i64)>,
    /// Of its buckets and of those its readings are in, there or not.
    rollups: BTreeMap<Level, BTreeSet<(Time, SeriesId)>>,
    /// Of its buckets and there: all, and those that cannot be computed again.
    found: [i64; 2],
}

impl Eraser {
    /// Finds what there is of a sensor.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn new(url: &str, erasure: Erasure) -> Result<Eraser, StoreError> {
        let client = connect(url, "screenline-erase").await?;
        client.batch_execute("SET statement_timeout = 0").await?; // a sensor's rows are found by reading a day's
        let zone = City::read(&client).await?.time_zone;
        let now: Timestamp = client.query_one("SELECT now()", &[]).await?.get(0);
        let latest = Time::from(now).plus(AHEAD_MAX);
        let gone = Gone::load(&client).await?;
        let query = "SELECT id, kind, metric, interval_s FROM series
                     WHERE sensor = $1 AND ($2::text IS NULL OR metric = $2)";
        let metric = erasure.metric.as_ref().map(MetricName::as_str);
        let mut series = HashMap::new();
        for row in client.query(query, &[&erasure.sensor.as_str(), &metric]).await? {
            let kind: Kind = row.get::<_, &str>(1).parse().map_err(StoreError::Unfit)?;
            let (id, interval_s) = (SeriesId(row.get(0)), row.get::<_, Option<i32>>(3));
            let interval = kind.interval_micros(interval_s.map(i32::unsigned_abs));
            series.insert(id, Erased { interval, floor: gone.floor(kind, row.get(2)) });
        }
        let ends = erasure.ends.unwrap_or(latest).min(latest);
        Ok(Eraser { client, erasure, ends, zone, gone, series, id: None })
    }

    /// The end of the period that is erased, excluded.
    pub fn ends(&self) -> Time {
        self.ends
    }

    /// Counts what would go.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn look(&self) -> Result<Traces, StoreError> {
        let mut traces = Traces { conflicts: self.conflicts(false).await?, ..Traces::default() };
        traces.rejections = self.rejections().await?.len() as i64;
        for day in self.days().await? {
            let going = self.going(day).await?;
            traces.add(&going);
        }
        if self.whole() {
            let count = "SELECT (SELECT count(*) FROM sensor WHERE id = $1) + (SELECT count(*) FROM series WHERE sensor = $1)";
            traces.registry = self.client.query_one(count, &[&self.erasure.sensor.as_str()]).await?.get(0);
        }
        Ok(traces)
    }

    /// Deletes it. `told` hears of every day that is done.
    ///
    /// # Errors
    /// The database fails; asking again finishes it.
    pub async fn erase(&mut self, mut told: impl FnMut(Time)) -> Result<Traces, StoreError> {
        self.begin().await?;
        let mut traces = Traces { conflicts: self.conflicts(true).await?, ..Traces::default() };
        let rejections = self.rejections().await?;
        let delete = "DELETE FROM rejection WHERE id = ANY($1)";
        traces.rejections = self.client.execute(delete, &[&rejections]).await? as i64;
        withheld::forget(&self.client, &Mention::of(self.erasure.sensor.as_str()), self.erasure.starts)
            .await?;
        sender::forget(&self.client, self.erasure.sensor.as_str()).await?;
        for day in self.days().await? {
            let going = self.going(day).await?;
            self.delete(&going).await?;
            traces.add(&going);
            told(day);
        }
        if self.whole() {
            traces.registry = self.forget_sensor().await?;
        }
        // Whoever holds what was there until now reads it anew.
        let finish = "WITH changed AS (UPDATE city SET registry_version = registry_version + 1)
             UPDATE erasure SET finished_at = now(), conflicts = conflicts + $2, rejections = rejections + $3
                      WHERE id = $1";
        self.client.execute(finish, &[&self.id, &traces.conflicts, &traces.rejections]).await?;
        Ok(traces)
    }

    /// Whether nothing of the sensor stays.
    fn whole(&self) -> bool {
        self.erasure.metric.is_none() && self.erasure.starts.is_none() && self.erasure.ends.is_none()
    }

    fn ids(&self) -> Vec<i32> {
        self.series.keys().map(|id| id.0).collect()
    }

    /// Commits the rule that refuses what is erased, or finds the one that an interrupted run left.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let Erasure { sensor, metric, starts, reason, .. } = &self.erasure;
        let hash = self.gone.hash(sensor.as_str());
        let (metric, starts) = (metric.as_ref().map(MetricName::as_str), starts.map(Time::timestamp));
        let client = &self.client;
        client.batch_execute(&lock::begin_alone()).await?;
        let count: i64 = client.query_one("SELECT count(*) FROM erasure", &[]).await?.get(0);
        if ERASURES_MAX <= count {
            return Err(StoreError::Unfit(format!(
                "{count} erasures are remembered: delete from table `erasure` those whose messages cannot come again"
            )));
        }
        let resume = "UPDATE erasure SET ends = greatest(ends, $4)
                      WHERE finished_at IS NULL AND sensor = $1 AND metric IS NOT DISTINCT FROM $2
                          AND starts IS NOT DISTINCT FROM $3
                      RETURNING id";
        let period: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&&hash[..], &metric, &starts, &self.ends.timestamp()];
        let id = match client.query(resume, &period).await?.first() {
            Some(row) => row.get(0),
            None => {
                let insert =
                    "INSERT INTO erasure (sensor, metric, starts, ends, reason) VALUES ($1, $2, $3, $4, $5)
                              RETURNING id";
                let [sensor, metric, starts, ends] = period;
                client.query_one(insert, &[sensor, metric, starts, ends, reason]).await?.get(0)
            }
        };
        client.batch_execute("UPDATE city SET registry_version = registry_version + 1; COMMIT").await?;
        self.id = Some(id);
        Ok(())
    }

    /// UTC days in which there may be something.
    async fn days(&self) -> Result<BTreeSet<Time>, StoreError> {
        let mut days = BTreeSet::new();
        if self.series.is_empty() {
            return Ok(days);
        }
        for table in ["reading", "event"] {
            days.extend(partition::days(&self.client, table).await?);
        }
        for level in Level::ALL {
            days.extend(partition::rolled_days(&self.client, level).await?);
        }
        let interval = self.series.values().map(|series| series.interval).max().unwrap_or(0);
        let first = self.erasure.starts.map(|starts| starts.micros() - interval - LONGEST_BUCKET - UTC_DAY);
        days.retain(|day| first.is_none_or(|first| first <= day.micros()) && *day < self.ends);
        Ok(days)
    }

    /// Read without a lock: since the rule committed nothing is added.
    async fn going(&self, day: Time) -> Result<Going, StoreError> {
        let whole = day..Time::from_micros(day.micros() + UTC_DAY);
        let times = whole.start.max(self.erasure.starts.unwrap_or(whole.start))..whole.end.min(self.ends);
        let mut going = Going::default();
        for row in self.rows("reading", "time", "0::int8", &times).await? {
            going.readings.push((row.0, row.1));
        }
        going.events = self.rows("event", "time", "event_id", &times).await?;
        let mut rollups: BTreeMap<Level, BTreeSet<(Time, SeriesId)>> = BTreeMap::new();
        for level in Level::ALL {
            for (bucket, id, _) in self.rows(level.table(), "bucket", "0::int8", &whole).await? {
                if self.reaches(level, bucket, id) {
                    rollups.entry(level).or_default().insert((bucket, id));
                    going.found[0] += 1;
                    going.found[1] += i64::from(!self.can_be_rolled(level, bucket, id));
                }
            }
        }
        // An interval that ends in this day may begin in the day before, and what is wider, too.
        let raw = going.readings.iter().copied().chain(going.events.iter().map(|(time, id, _)| (*time, *id)));
        let narrow: Vec<(Time, SeriesId)> = raw
            .map(|(time, id)| {
                (Time::from_micros(time.micros() - self.series[&id].interval).floor(FIVE_MINUTES), id)
            })
            .chain(rollups.get(&Level::FiveMinutes).into_iter().flatten().copied())
            .collect();
        for level in Level::ALL {
            let wide = narrow.iter().map(|(bucket, id)| (level.start(*bucket, &self.zone), *id));
            rollups.entry(level).or_default().extend(wide);
        }
        going.rollups = rollups;
        Ok(going)
    }

    async fn rows(
        &self,
        table: &str,
        time: &str,
        event: &str,
        span: &Range<Time>,
    ) -> Result<Vec<(Time, SeriesId, i64)>, StoreError> {
        let query = format!(
            "SELECT {time}, series_id, {event} FROM {table}
             WHERE '{}' <= {time} AND {time} < '{}' AND series_id = ANY($1)",
            span.start, span.end
        );
        let rows = self.client.query(&query, &[&self.ids()]).await?;
        let row =
            |row: &tokio_postgres::Row| (row.get::<_, Timestamp>(0).into(), SeriesId(row.get(1)), row.get(2));
        Ok(rows.iter().map(row).collect())
    }

    /// Whether a rollup may hold readings of the period.
    fn reaches(&self, level: Level, bucket: Time, id: SeriesId) -> bool {
        let shift = |time: Time| Time::from_micros(time.micros() - self.series[&id].interval);
        let ends_before = |starts: Time| level.end(bucket, &self.zone) <= shift(starts);
        bucket < shift(self.ends) && !self.erasure.starts.is_some_and(ends_before)
    }

    /// Whether what is left of a bucket can be computed.
    fn can_be_rolled(&self, level: Level, bucket: Time, id: SeriesId) -> bool {
        let floor = self.series[&id].floor;
        match level {
            Level::FiveMinutes => floor <= Some(bucket),
            _ => floor < Some(level.end(bucket, &self.zone)),
        }
    }

    async fn delete(&self, going: &Going) -> Result<(), StoreError> {
        let client = &self.client;
        client.batch_execute(&lock::begin_unrolled()).await?;
        let (times, ids): (Vec<_>, Vec<_>) =
            going.readings.iter().map(|(at, id)| (at.timestamp(), id.0)).unzip();
        let same = "old.time = going.time AND old.series_id = going.series_id";
        let delete = format!(
            "DELETE FROM reading AS old USING unnest($1::timestamptz[], $2::int4[]) AS going (time, series_id)
             WHERE {same}"
        );
        let readings = client.execute(&delete, &[&times, &ids]).await? as i64;
        let times: Vec<_> = going.events.iter().map(|(at, ..)| at.timestamp()).collect();
        let ids: Vec<_> = going.events.iter().map(|(_, id, _)| id.0).collect();
        let events: Vec<_> = going.events.iter().map(|(.., event)| *event).collect();
        let delete = format!(
            "DELETE FROM event AS old
             USING unnest($1::timestamptz[], $2::int4[], $3::int8[]) AS going (time, series_id, event_id)
             WHERE {same} AND old.event_id = going.event_id"
        );
        let events = client.execute(&delete, &[&times, &ids, &events]).await? as i64;
        let raw = going.readings.iter().copied().chain(going.events.iter().map(|(time, id, _)| (*time, *id)));
        let bucket = |(time, id): (Time, SeriesId)| {
            (Time::from_micros(time.micros() - self.series[&id].interval).floor(FIVE_MINUTES), id)
        };
        withheld::less(client, raw.map(bucket)).await?;
        let mut rollups = 0;
        for (level, keys) in &going.rollups {
            let (buckets, ids): (Vec<_>, Vec<_>) = keys.iter().map(|(at, id)| (at.timestamp(), id.0)).unzip();
            let delete = format!(
                "DELETE FROM {} AS old USING unnest($1::timestamptz[], $2::int4[]) AS going (bucket, series_id)
                 WHERE old.bucket = going.bucket AND old.series_id = going.series_id",
                level.table()
            );
            rollups += client.execute(&delete, &[&buckets, &ids]).await? as i64;
            let gone = keys.iter().map(|(bucket, id)| (*id, *bucket, Became::Gone));
            let revisions = revision::condense(gone.collect(), |bucket| level.end(bucket, &self.zone));
            // Which series it was must not be known any more.
            let revisions: Vec<_> =
                revisions.into_iter().map(|one| Revision { series: None, ..one }).collect();
            revision::note(client, *level, &revisions).await?;
            let part = part_of(self.erasure.sensor.as_str());
            let rolled = keys.iter().filter(|(bucket, id)| self.can_be_rolled(*level, *bucket, *id));
            let marks: Marks = rolled.map(|(bucket, _)| (*bucket, BTreeSet::from([part]))).collect();
            tables::insert_marks(client, *level, &marks).await?;
        }
        let note = "UPDATE erasure SET readings = readings + $2, events = events + $3, rollups = rollups + $4 WHERE id = $1";
        client.execute(note, &[&self.id, &readings, &events, &rollups]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    }

    async fn conflicts(&self, delete: bool) -> Result<i64, StoreError> {
        let rows = "FROM conflict WHERE series_id = ANY($1) AND time < $2 AND ($3::timestamptz IS NULL OR $3 <= time)";
        let starts = self.erasure.starts.map(Time::timestamp);
        let (ids, ends) = (self.ids(), self.ends.timestamp());
        let period: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&ids, &ends, &starts];
        Ok(match delete {
            true => self.client.execute(&format!("DELETE {rows}"), &period).await? as i64,
            false => self.client.query_one(&format!("SELECT count(*) {rows}"), &period).await?.get(0),
        })
    }

    /// Rejections that name the sensor in topic, detail or payload. When their readings were taken is not known: those
    /// received before the period cannot be of it, all others may.
    async fn rejections(&self) -> Result<Vec<i64>, StoreError> {
        let mention = Mention::of(self.erasure.sensor.as_str());
        let starts = self.erasure.starts.map(|starts| starts.minus(AHEAD_MAX).timestamp());
        let mut found = Vec::new();
        let mut last = i64::MIN;
        loop {
            // Payloads have 64 KiB at most: 16 MiB at once.
            let query = "SELECT id, topic, detail, payload FROM rejection
                         WHERE $1 < id AND ($2::timestamptz IS NULL OR $2 <= received_at) ORDER BY id LIMIT 256";
            let rows = self.client.query(query, &[&last, &starts]).await?;
            let Some(end) = rows.last() else { return Ok(found) };
            last = end.get(0);
            let named = rows.iter().filter(|row| {
                mention.is_in(row.get::<_, &str>(1).as_bytes())
                    || mention.is_in(row.get::<_, &str>(2).as_bytes())
                    || mention.is_in(row.get(3))
            });
            found.extend(named.map(|row| row.get::<_, i64>(0)));
        }
    }

    /// Takes the sensor out of the registry, unless it has sent since. Returns the rows deleted.
    async fn forget_sensor(&self) -> Result<i64, StoreError> {
        let client = &self.client;
        client.batch_execute(&lock::begin_alone()).await?;
        let since = "SELECT EXISTS (SELECT FROM reading WHERE $1 <= time AND series_id = ANY($2))
                         OR EXISTS (SELECT FROM event WHERE $1 <= time AND series_id = ANY($2))";
        let since: bool = client.query_one(since, &[&self.ends.timestamp(), &self.ids()]).await?.get(0);
        if since {
            client.batch_execute("ROLLBACK").await?;
            return Ok(0);
        }
        let sensor = self.erasure.sensor.as_str();
        let unnamed = "UPDATE revision SET series_id = NULL WHERE series_id = ANY($1)";
        client.execute(unnamed, &[&self.ids()]).await?;
        let mut rows = client.execute("DELETE FROM series WHERE sensor = $1", &[&sensor]).await?;
        rows += client.execute("DELETE FROM sensor WHERE id = $1", &[&sensor]).await?;
        client.execute("DELETE FROM quarantine WHERE sensor = $1", &[&sensor]).await?;
        client.batch_execute("UPDATE city SET registry_version = registry_version + 1; COMMIT").await?;
        Ok(rows as i64)
    }
}

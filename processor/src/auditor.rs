//! Computes rollups again from the readings, along the definition and beside the roller, and compares bit for bit:
//! readings in time order, five minutes, hours, local days. Each look is one snapshot; what is open in it, marked in it,
//! or older than the readings still kept, is left out.

mod compare;

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::{Arc, RwLock},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::Client;

pub use compare::{Mismatch, Shown};

use crate::{
    aggregate::{self, Entry, Rollup},
    model::{
        Level, Series, SeriesId, Time,
        bucket::{FIVE_MINUTES, HOUR},
        series::PARTS,
    },
    registry::{self, Registry},
    roller::{Marks, tables},
    service::compute,
    store::{self, StoreError, connect},
};

/// What a look found, by level where it is a list of three.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Audited {
    /// Rollups compared, or missed.
    pub compared: [u64; 3],
    pub mismatched: [u64; 3],
    /// The first of them, up to [`MISMATCHES_MAX`].
    pub mismatches: Vec<Mismatch>,
    /// Readings, events and rollups read.
    pub read: u64,
}

/// Mismatches that a look describes; the rest is counted.
pub const MISMATCHES_MAX: usize = 10_000;

impl Audited {
    pub fn add(&mut self, other: Audited) {
        let sum =
            |sums: &mut [u64; 3], more: [u64; 3]| sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        sum(&mut self.compared, other.compared);
        sum(&mut self.mismatched, other.mismatched);
        self.mismatches.extend(other.mismatches);
        self.mismatches.truncate(MISMATCHES_MAX);
        self.read += other.read;
    }
}

/// Looks for rollups that are not what their readings say, on a connection that it opens and opens again.
pub struct Auditor {
    url: String,
    client: Option<Client>,
    registry: Arc<RwLock<Registry>>,
    zone: TimeZone,
    /// Microseconds that are read at once; follows the rows they hold, so that memory stays bounded.
    window: i64,
}

/// Rows a window aims at: some 100 bytes each, while they are read and put in order.
const ROWS_WANTED: u64 = 1_000_000;
/// A rollup takes the memory of so many rows: that of the readings, and the one that is stored.
const ROWS_OF_ROLLUP: u64 = 8;

/// A span of time that is looked at.
struct Look {
    span: Range<Time>,
    /// Whether it is a local day, whose rollup is compared, too.
    day: bool,
    /// All where absent.
    series: Option<Vec<SeriesId>>,
}

impl Auditor {
    pub fn new(url: &str, registry: Arc<RwLock<Registry>>, zone: TimeZone) -> Self {
        Auditor { url: url.to_owned(), client: None, registry, zone, window: FIVE_MINUTES }
    }

    /// The starts of the local days that hold readings, events or rollups, from the floor to today.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn days(&mut self) -> Result<Vec<Time>, StoreError> {
        let client = self.take_client().await?;
        let mut utc = Vec::new();
        for table in ["reading", "event"] {
            utc.extend(store::partition_days(&client, table).await?);
        }
        for level in Level::ALL {
            utc.extend(store::rolled_days(&client, level).await?);
        }
        let row = client.query_one("SELECT raw_floor, now() FROM city", &[]).await?;
        let floor = row.get::<_, Option<Timestamp>>(0).map(Time::from);
        let now: Time = row.get::<_, Timestamp>(1).into();
        self.client = Some(client);
        let local = |micros: i64| Level::Day.start(Time::from_micros(micros), &self.zone);
        let days = utc.iter().map(|day| day.micros());
        let days: BTreeSet<Time> = days.flat_map(|day| [local(day), local(day + 24 * HOUR - 1)]).collect();
        Ok(days.into_iter().filter(|day| floor <= Some(*day) && *day <= now).collect())
    }

    /// Looks at every bucket of the local day that starts at `day`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn day(&mut self, day: Time) -> Result<Audited, StoreError> {
        let span = day..Level::Day.end(day, &self.zone);
        self.look(Look { span, day: true, series: None }).await
    }

    /// Looks at every bucket of some series in the local day that starts at `day`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn day_of(&mut self, day: Time, series: Vec<SeriesId>) -> Result<Audited, StoreError> {
        let span = day..Level::Day.end(day, &self.zone);
        self.look(Look { span, day: true, series: Some(series) }).await
    }

    /// Looks at a random share of the city, in a random hour of one of some local days; one time in 24 in the whole
    /// day, whose rollup is made of that much more.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn sample(&mut self, days: &[Time]) -> Result<Audited, StoreError> {
        let series = self.random_part().await?;
        let (Some(day), Some(_)) = (fastrand::choice(days).copied(), &series) else {
            return Ok(Audited::default()); // nothing is stored yet
        };
        let end = Level::Day.end(day, &self.zone);
        let look = match fastrand::u8(..24) {
            0 => Look { span: day..end, day: true, series },
            _ => {
                let hour = Time::from_micros(fastrand::i64(day.micros()..end.micros())).floor(HOUR);
                Look { span: hour.max(day)..next_hour(hour).min(end), day: false, series }
            }
        };
        self.look(look).await
    }

    /// Marks buckets, so that the roller makes them true.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn repair(&mut self, mismatches: &[Mismatch]) -> Result<(), StoreError> {
        let client = self.take_client().await?;
        for level in Level::ALL {
            let mut marks = Marks::new();
            for mismatch in mismatches.iter().filter(|mismatch| mismatch.level == level) {
                let part = registry::read(&self.registry).series(mismatch.series).map(|series| series.part);
                // A rollup of a series that was erased is in no part: it goes when its whole bucket is computed.
                let parts = part.map_or(0..PARTS as i16, |part| part..part + 1);
                marks.entry(mismatch.bucket).or_default().extend(parts);
            }
            tables::insert_marks(&client, level, &marks).await?;
        }
        self.client = Some(client);
        Ok(())
    }

    /// Sensor and metric of what a look found.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn names(
        &mut self,
        mismatches: &[Mismatch],
    ) -> Result<HashMap<SeriesId, (String, String)>, StoreError> {
        let ids: Vec<i32> = mismatches.iter().map(|mismatch| mismatch.series.0).collect();
        let client = self.take_client().await?;
        let rows = client.query("SELECT id, sensor, metric FROM series WHERE id = ANY($1)", &[&ids]).await?;
        self.client = Some(client);
        Ok(rows.iter().map(|row| (SeriesId(row.get(0)), (row.get(1), row.get(2)))).collect())
    }

    /// Hours of the ledger in which a message or a reading is in no column, or in two, in words.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ledger(&mut self) -> Result<Vec<String>, StoreError> {
        let client = self.take_client().await?;
        let rows = client
            .query(
                "SELECT source, hour FROM ledger GROUP BY source, hour
                 HAVING sum(received) <> sum(accepted + repeated + ignored + rejected_messages)
                     OR sum(decoded) <> sum(stored + duplicate + conflict + rejected)
                     OR sum(stored) < sum(late) OR sum(stored) < sum(quarantined)
                 ORDER BY hour, source LIMIT 100",
                &[],
            )
            .await?;
        self.client = Some(client);
        let words = |(source, hour): (&str, Timestamp)| format!("{source}, the hour from {hour}");
        Ok(rows.iter().map(|row| words((row.get(0), row.get(1)))).collect())
    }

    /// Readings and events that the ledger counts as stored, and those that are in the tables; `None` where some were
    /// dropped or erased.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn stored(&mut self) -> Result<Option<(i64, i64)>, StoreError> {
        let client = self.take_client().await?;
        // One statement is one snapshot.
        let row = client
            .query_one(
                "SELECT (SELECT coalesce(sum(stored), 0) FROM ledger)::int8,
                        (SELECT count(*) FROM reading) + (SELECT count(*) FROM event),
                        EXISTS (SELECT FROM retention WHERE floor IS NOT NULL) OR EXISTS (SELECT FROM erasure)",
                &[],
            )
            .await?;
        self.client = Some(client);
        let gone: bool = row.get(2);
        Ok((!gone).then(|| (row.get(0), row.get(1))))
    }

    async fn take_client(&mut self) -> Result<Client, StoreError> {
        match self.client.take() {
            Some(client) if !client.is_closed() => Ok(client),
            _ => connect(&self.url, "screenline-auditor").await,
        }
    }

    /// The series of the part that a random series is in.
    async fn random_part(&mut self) -> Result<Option<Vec<SeriesId>>, StoreError> {
        let client = self.take_client().await?;
        Registry::refresh(&self.registry, &client).await?;
        self.client = Some(client);
        let registry = registry::read(&self.registry);
        let count = registry.series_count();
        let Some(chosen) = registry.all_series().nth(fastrand::usize(..count.max(1))) else {
            return Ok(None);
        };
        let of_part = registry.all_series().filter(|series| series.part == chosen.part);
        Ok(Some(of_part.map(|series| series.id).collect()))
    }

    async fn look(&mut self, look: Look) -> Result<Audited, StoreError> {
        let client = self.take_client().await?;
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let version: i64 = client.query_one("SELECT registry_version FROM city", &[]).await?.get(0);
        let audited = self.look_in_snapshot(&client, &look).await?;
        client.batch_execute("COMMIT").await?;
        self.client = Some(client);
        // The registry is shared, and what it says of values may have changed since the snapshot: nothing was compared.
        let same = registry::read(&self.registry).version() == version;
        Ok(if same { audited } else { Audited::default() })
    }

    async fn look_in_snapshot(&mut self, client: &Client, look: &Look) -> Result<Audited, StoreError> {
        let Range { start, end } = look.span;
        let registry = self.registry.clone();
        let snapshot = Snapshot::take(client, look, &registry, &self.zone).await?;
        let mut audited = Audited::default();
        let (mut hour, mut day) = (Vec::new(), Vec::new());
        let mut at = start;
        // An hour that holds the border of two local days belongs to the one it begins in.
        let hours_end = next_hour(Time::from_micros(end.micros() - 1));
        while at < hours_end {
            let window = at..Time::from_micros(at.micros() + self.window).min(next_hour(at));
            let (narrow, read) = snapshot.five_minutes(&window).await?;
            self.follow(read + ROWS_OF_ROLLUP * narrow.len() as u64);
            audited.read += read;
            if at < end {
                snapshot.compare(Level::FiveMinutes, &window, &narrow, &mut audited).await?;
                if look.day {
                    day = widen(day, narrow.clone(), move |_| start, registry.clone()).await;
                }
            }
            hour = widen(hour, narrow, |time| time.floor(HOUR), registry.clone()).await;
            at = window.end;
            if at == at.floor(HOUR) {
                let begins = Time::from_micros(at.micros() - HOUR);
                if start <= begins {
                    snapshot.compare(Level::Hour, &(begins..at), &hour, &mut audited).await?;
                }
                hour.clear();
            }
        }
        if look.day {
            snapshot.compare(Level::Day, &look.span, &day, &mut audited).await?;
        }
        Ok(audited)
    }

    /// Makes windows narrower or wider, by the rows that the last one held.
    fn follow(&mut self, read: u64) {
        self.window = match read {
            few if few < ROWS_WANTED / 2 => (self.window * 2).min(HOUR),
            many if ROWS_WANTED * 2 < many => (self.window / 2 / FIVE_MINUTES).max(1) * FIVE_MINUTES,
            _ => self.window,
        };
    }
}

/// One state of the database, and what of a look may be compared in it.
struct Snapshot<'a> {
    client: &'a Client,
    registry: &'a Arc<RwLock<Registry>>,
    series: Option<&'a [SeriesId]>,
    /// In microseconds: a reading of an interval is stored that much after its bucket's time.
    intervals: BTreeSet<i64>,
    /// The starts of the buckets that are open, by level.
    open: [Time; 3],
    /// Buckets that the roller has still to make true, with their parts.
    marked: BTreeSet<(Level, Time, i16)>,
}

impl<'a> Snapshot<'a> {
    async fn take(
        client: &'a Client,
        look: &'a Look,
        registry: &'a Arc<RwLock<Registry>>,
        zone: &TimeZone,
    ) -> Result<Self, StoreError> {
        let first = Level::Day.start(look.span.start, zone).timestamp();
        let last = next_hour(look.span.end).timestamp();
        let marks = "SELECT DISTINCT level, bucket, part, now() FROM dirty
                     WHERE level = ANY('{0,1,2}') AND $1 <= bucket AND bucket < $2";
        let mut marked = BTreeSet::new();
        for row in client.query(marks, &[&first, &last]).await? {
            let (level, bucket, part): (i16, Timestamp, i16) = (row.get(0), row.get(1), row.get(2));
            // What is wider waits for what is narrower.
            for wider in Level::ALL.into_iter().filter(|wider| level <= wider.number()) {
                marked.insert((wider, wider.start(bucket.into(), zone), part));
            }
        }
        let now: Time = client.query_one("SELECT now()", &[]).await?.get::<_, Timestamp>(0).into();
        Registry::refresh(registry, client).await?; // it knows every series of this snapshot
        let series = look.series.as_deref();
        let intervals = {
            let registry = registry::read(registry);
            match series {
                Some(ids) => {
                    ids.iter().filter_map(|id| registry.series(*id)).map(Series::interval_micros).collect()
                }
                None => registry.all_series().map(Series::interval_micros).collect(),
            }
        };
        let open = Level::ALL.map(|level| level.start(now, zone));
        Ok(Snapshot { client, registry, series, intervals, open, marked })
    }

    /// What the readings say of the five-minute buckets in a window, and how many were read.
    async fn five_minutes(&self, window: &Range<Time>) -> Result<(Vec<Rollup>, u64), StoreError> {
        let mut facts = Vec::new();
        for span in shifted(window, &self.intervals) {
            tables::read_facts(self.client, span.start, span.end, self.series, &mut facts).await?;
        }
        let read = facts.len() as u64;
        let (registry, window) = (self.registry.clone(), window.clone());
        let rollups = compute(move || {
            let mut entries = Vec::with_capacity(facts.len());
            {
                let registry = registry::read(&registry);
                for tables::Fact { series: id, time, value, quality, passage } in facts {
                    let series = registry.series(id).ok_or_else(|| {
                        StoreError::Unfit(format!("a reading of series {}, which table `series` lacks", id.0))
                    })?;
                    let bucket = series.bucket_time(time).floor(FIVE_MINUTES);
                    if window.contains(&bucket) && !series.quarantined {
                        let (value, quality) = series.view(time, value, quality);
                        entries.push(Entry { series: id, bucket, time, value, quality, passage });
                    }
                }
            }
            Ok::<_, StoreError>(aggregate::buckets(entries, FIVE_MINUTES, |id| {
                registry::read(&registry).rule(id)
            }))
        });
        Ok((rollups.await?, read))
    }

    async fn compare(
        &self,
        level: Level,
        span: &Range<Time>,
        expected: &[Rollup],
        audited: &mut Audited,
    ) -> Result<(), StoreError> {
        let mut stored = Vec::new();
        tables::read_rollups(self.client, level, span.start, span.end, self.series, &mut stored).await?;
        stored.sort_unstable_by_key(|rollup| (rollup.series, rollup.bucket));
        let registry = registry::read(self.registry);
        let counts = |rollup: &Rollup| self.counts(level, rollup, &registry);
        let mut found = Audited { read: stored.len() as u64, ..Audited::default() };
        let compared = compare::compare(level, expected, &stored, counts, &mut found.mismatches);
        found.compared[level.number() as usize] = compared;
        found.mismatched[level.number() as usize] = found.mismatches.len() as u64;
        audited.add(found);
        Ok(())
    }

    fn counts(&self, level: Level, rollup: &Rollup, registry: &Registry) -> bool {
        let Rollup { series, bucket, .. } = *rollup;
        let part = registry.series(series).map(|series| series.part);
        let parts = part.map_or(0..=PARTS as i16, |part| part..=part);
        let marks = (level, bucket, *parts.start())..=(level, bucket, *parts.end());
        bucket < self.open[level.number() as usize]
            && registry.floor(series) <= Some(bucket)
            && self.marked.range(marks).next().is_none()
    }
}

fn next_hour(time: Time) -> Time {
    Time::from_micros(time.floor(HOUR).micros() + HOUR)
}

/// The spans in which readings of a window's buckets are stored, without a double.
fn shifted(window: &Range<Time>, intervals: &BTreeSet<i64>) -> Vec<Range<Time>> {
    let mut spans: Vec<Range<Time>> = Vec::new();
    for interval in intervals {
        let at = |time: Time| Time::from_micros(time.micros() + interval);
        let span = at(window.start)..at(window.end);
        match spans.last_mut() {
            Some(last) if span.start <= last.end => last.end = span.end,
            _ => spans.push(span),
        }
    }
    spans
}

async fn widen(
    mut wide: Vec<Rollup>,
    narrow: Vec<Rollup>,
    start: impl Fn(Time) -> Time + Send + Sync + 'static,
    registry: Arc<RwLock<Registry>>,
) -> Vec<Rollup> {
    compute(move || {
        wide.extend(narrow);
        aggregate::widen(wide, start, |id| registry::read(&registry).rule(id))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_intervals_are_read_where_they_are_stored_and_none_twice() {
        let at = Time::from_micros;
        let minutes = |m: i64| m * FIVE_MINUTES / 5;
        let intervals = BTreeSet::from([0, minutes(1), minutes(5), minutes(60)]);
        let spans = shifted(&(at(0)..at(minutes(5))), &intervals);
        assert_eq!(spans, [at(0)..at(minutes(10)), at(minutes(60))..at(minutes(65))]);
    }
}

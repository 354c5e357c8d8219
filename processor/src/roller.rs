//! Marks become rollups. A step takes marks FIRST and reads after: a writer that commits later leaves marks of its
//! own, so its buckets are computed again. A crash rolls the deletion back with everything else.

mod difference;
mod forming;
pub(crate) mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use difference::Difference;
pub use forming::Forming;
use jiff::tz::TimeZone;
use rayon::prelude::*;
use tables::Vouchers;
use tokio_postgres::Client;

use crate::{
    aggregate,
    faults::{self, Bug},
    model::{Level, Series, SeriesId, Time, bucket::FIVE_MINUTES, series::PARTS},
    registry::{self, Registry},
    service::compute,
    store::{StoreError, connect, lock, revision},
};

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rolled {
    /// Rollup rows written; 0 where nothing was due.
    pub rollups: u64,
    /// Of them: five minutes whose states were folded as their readings were committed.
    pub formed: u64,
    /// Readings and events, or narrower rollups, read for the others.
    pub read: u64,
    /// Whether closed buckets may still be marked.
    pub more: bool,
}

/// Keeps the rollups of one database true. One roller works at a time, whichever process it lives in.
pub struct Roller {
    url: String,
    client: Option<Client>,
    registry: Arc<RwLock<Registry>>,
    zone: TimeZone,
    /// What a writer of this process folds.
    forming: Option<Forming>,
    /// Readings that a series has in five minutes, roughly: follows what steps read and make.
    rows_each: f64,
    tidied: Option<Instant>,
}

const BUCKETS_MAX: f64 = 1_152.0; // four days
/// Readings that a step aims at: some 100 bytes each, while they are read and put in order.
const READINGS_WANTED: f64 = 500_000.0;
/// Rollups that a step aims at: some 400 bytes each, and as much again where some stand there already.
const ROLLUPS_WANTED: f64 = 150_000.0;
/// Until steps have shown how often the city's sensors speak: every minute.
const ROWS_EACH: f64 = 5.0;
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// How much a step takes, so that its memory stays bounded however large the city is: some buckets whole, or of one
/// bucket some parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Portion {
    buckets: i64,
    parts: i64,
}

impl Portion {
    /// Of a city of so many series, each of which has so many rows in a bucket.
    fn of(rows_wanted: f64, series: usize, rows_each: f64) -> Portion {
        let buckets = rows_wanted / (series.max(1) as f64 * rows_each);
        Portion {
            buckets: buckets.clamp(1.0, BUCKETS_MAX) as i64,
            parts: (buckets * PARTS as f64).clamp(1.0, PARTS as f64) as i64,
        }
    }

    fn is_whole(self) -> bool {
        self.parts == PARTS as i64
    }
}

/// Marked buckets of one level, with the marked parts of each.
pub(crate) type Marks = BTreeMap<Time, BTreeSet<i16>>;

impl Roller {
    pub fn new(url: &str, registry: Arc<RwLock<Registry>>, zone: TimeZone) -> Self {
        let (url, forming, rows_each) = (url.to_owned(), None, ROWS_EACH);
        Roller { url, client: None, registry, zone, forming, rows_each, tidied: None }
    }

    /// Takes what a writer of this process folds, and reads only the rest.
    pub fn with(mut self, forming: Forming) -> Self {
        self.forming = Some(forming);
        self
    }

    /// Takes the oldest marks of closed buckets, at one level, and makes their rollups true. Open buckets are left:
    /// they are answered from readings.
    ///
    /// # Errors
    /// The database fails; the marks stay, and the next step opens a new connection.
    pub async fn step(&mut self) -> Result<Rolled, StoreError> {
        self.step_of(&Level::ALL).await
    }

    /// A step of some levels, the narrower first.
    ///
    /// # Errors
    /// As [`Roller::step`].
    pub async fn step_of(&mut self, levels: &[Level]) -> Result<Rolled, StoreError> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.url, "screenline-roller").await?,
        };
        Registry::refresh(&self.registry, &client).await?;
        let mut rolled = Rolled::default();
        for level in levels {
            let one = match self.roll(&client, *level).await {
                Ok(one) => one,
                Err(error) => {
                    // Too much for one transaction may be what is wrong.
                    self.rows_each *= 2.0;
                    if let Some(forming) = &self.forming {
                        forming.forget().await;
                    }
                    return Err(error);
                }
            };
            rolled = Rolled {
                rollups: rolled.rollups + one.rollups,
                formed: rolled.formed + one.formed,
                read: rolled.read + one.read,
                more: one.more,
            };
            if one.more {
                break; // wider buckets would only be computed again
            }
        }
        if self.tidied.is_none_or(|at| TIDY_EVERY <= at.elapsed()) {
            tables::tidy(&client).await?;
            self.tidied = Some(Instant::now());
        }
        self.client = Some(client);
        Ok(rolled)
    }

    /// Marks of every level, up to a million.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn pending(&mut self) -> Result<i64, StoreError> {
        let Some(client) = &self.client else { return Ok(0) };
        let count = "SELECT count(*) FROM (SELECT FROM dirty LIMIT 1000000) AS marks";
        Ok(client.query_one(count, &[]).await?.get(0))
    }

    async fn roll(&mut self, client: &Client, level: Level) -> Result<Rolled, StoreError> {
        client.batch_execute("BEGIN").await?;
        let lock = client.query_one("SELECT pg_try_advisory_xact_lock($1), now()", &[&lock::ROLLER]).await?;
        let now: Time = lock.get::<_, jiff::Timestamp>(1).into();
        let open = level.start(now, &self.zone);
        let portion = self.portion(level);
        let forming = self.forming.clone().filter(|_| level == Level::FiveMinutes);
        if let Some(forming) = &forming {
            forming.take().await;
        }
        let vouchers = match lock.get(0) {
            true => tables::take_marks(client, level, open, portion).await?,
            false => Vouchers::new(), // another process rolls
        };
        let mut marks = Marks::new();
        for (bucket, part) in vouchers.keys() {
            marks.entry(*bucket).or_default().insert(*part);
        }
        faults::point("roller.taken").await?;
        // The marks may be of series that another process registered a moment ago.
        Registry::refresh(&self.registry, client).await?;
        let parts: BTreeSet<i16> = marks.values().flatten().copied().collect();
        let series = self.series_of(&parts, portion);
        let stands = match marks.is_empty() {
            true => Vec::new(),
            false => tables::standing(client, level, &marks, series.as_deref()).await?,
        };
        let (mut unformed, mut rollups) = (marks.clone(), Vec::new());
        if let Some(forming) = &forming {
            rollups = forming.give(vouchers, &mut unformed, &stands, &self.registry).await;
        }
        if marks.is_empty() {
            client.batch_execute("ROLLBACK").await?;
            if let Some(forming) = &forming {
                forming.settle().await;
            }
            return Ok(Rolled::default());
        }
        let formed = rollups.len();
        let (made, read) = match level {
            Level::FiveMinutes => self.roll_readings(client, &unformed, portion).await?,
            Level::Hour | Level::Day => self.roll_five_minutes(client, level, &marks, portion).await?,
        };
        faults::point("roller.read").await?;
        if faults::planted(Bug::ReadBeforeTake) {
            tables::delete_marks(client, level, &marks).await?;
        }
        let load = (read as f64 / READINGS_WANTED).max(made.len() as f64 / ROLLUPS_WANTED);
        rollups.extend(made);
        rollups.par_sort_unstable_by_key(|rollup| (rollup.series, rollup.bucket));
        let difference = {
            let registry = registry::read(&self.registry);
            Difference::of(&stands, rollups, |stale| {
                // One that the registry does not know was erased. Before the floor, readings were dropped and rollups stay.
                let part = registry.series(stale.series).map(|series| series.part);
                part.is_none_or(|part| marks[&stale.bucket].contains(&part))
                    && registry.floor(stale.series) <= Some(stale.bucket)
            })
        };
        let written = tables::write(client, level, &difference, &self.registry, &self.zone).await?;
        let revisions = revision::condense(difference.changes(), |bucket| level.end(bucket, &self.zone));
        revision::note(client, level, &revisions).await?;
        faults::point("roller.replaced").await?;
        if level == Level::FiveMinutes {
            for wider in [Level::Hour, Level::Day] {
                tables::insert_marks(client, wider, &tables::wider(wider, &marks, &self.zone)).await?;
            }
        }
        faults::point("roller.before_commit").await?;
        client.batch_execute("COMMIT").await?;
        faults::point("roller.after_commit").await?;
        if let Some(forming) = &forming {
            forming.settle().await;
        }
        let full = portion.buckets <= marks.len() as i64;
        // Only what was read says how much there is to read.
        if level == Level::FiveMinutes && formed == 0 {
            if full && load < 0.5 {
                self.rows_each /= 2.0;
            } else if 2.0 < load {
                self.rows_each *= 2.0;
            }
            self.rows_each = self.rows_each.clamp(0.01, 1e6);
        }
        Ok(Rolled { rollups: written, formed: formed as u64, read, more: full })
    }

    fn portion(&self, level: Level) -> Portion {
        let series = registry::read(&self.registry).all_series().count();
        match level {
            Level::FiveMinutes => Portion::of(READINGS_WANTED, series, self.rows_each),
            Level::Hour => Portion::of(ROLLUPS_WANTED, series, 12.0),
            Level::Day => Portion::of(ROLLUPS_WANTED, series, 300.0),
        }
    }

    async fn roll_readings(
        &self,
        client: &Client,
        marks: &Marks,
        portion: Portion,
    ) -> Result<(Vec<aggregate::Rollup>, u64), StoreError> {
        let mut rows = Vec::new();
        let reach = self.reach(marks);
        for span in spans(marks, reach, |start| Level::FiveMinutes.end(start, &self.zone)) {
            let wanted = self.series_of(&span.parts, portion);
            let end = Time::from_micros(span.end.micros() + reach);
            tables::read_facts(client, span.start, end, wanted.as_deref(), &mut rows).await?;
        }
        // Rows of series that were registered while we read.
        Registry::refresh(&self.registry, client).await?;
        let read = rows.len() as u64;
        let (marks, registry) = (marks.clone(), self.registry.clone());
        let rollups = compute(move || {
            let mut entries: Vec<aggregate::Entry> = Vec::with_capacity(rows.len());
            {
                let registry = registry::read(&registry);
                for tables::Fact { series: id, time, value, quality, passage } in rows {
                    // To skip it would lose it from its bucket for good; the marks stay instead.
                    let series = registry.series(id).ok_or_else(|| {
                        StoreError::Unfit(format!("a reading of series {}, which table `series` lacks", id.0))
                    })?;
                    let bucket = Level::FiveMinutes.start(series.bucket_time(time), &TimeZone::UTC);
                    let marked = marks.get(&bucket).is_some_and(|parts| parts.contains(&series.part));
                    // Nobody announced it: no marks are of it, but others share its bucket.
                    if series.quarantined {
                        continue;
                    }
                    // Before the floor some of the bucket's readings are gone: what stands there stays.
                    if marked && registry.floor(id) <= Some(bucket) {
                        let (value, quality) = series.view(time, value, quality);
                        entries.push(aggregate::Entry { series: id, bucket, time, value, quality, passage });
                    }
                }
            }
            Ok::<_, StoreError>(aggregate::buckets(entries, FIVE_MINUTES, |id| {
                registry::read(&registry).rule(id)
            }))
        });
        Ok((rollups.await?, read))
    }

    async fn roll_five_minutes(
        &self,
        client: &Client,
        level: Level,
        marks: &Marks,
        portion: Portion,
    ) -> Result<(Vec<aggregate::Rollup>, u64), StoreError> {
        let mut narrow = Vec::new();
        for span in spans(marks, 0, |start| level.end(start, &self.zone)) {
            let wanted = self.series_of(&span.parts, portion);
            tables::read_rollups(
                client,
                Level::FiveMinutes,
                span.start,
                span.end,
                wanted.as_deref(),
                &mut narrow,
            )
            .await?;
        }
        let read = narrow.len() as u64;
        let (marks, registry, zone) = (marks.clone(), self.registry.clone(), self.zone.clone());
        let rollups = compute(move || {
            let rule = |id| registry::read(&registry).rule(id);
            let mut wide = aggregate::widen(narrow, |time| level.start(time, &zone), rule);
            let registry = registry::read(&registry);
            wide.retain(|rollup| {
                let part = registry.series(rollup.series).map(|series| series.part);
                let marked = |part| marks.get(&rollup.bucket).is_some_and(|parts| parts.contains(&part));
                // Wholly before the floor it stays as it is, or as it was dropped.
                let open = registry.floor(rollup.series) < Some(level.end(rollup.bucket, &zone));
                part.is_some_and(marked) && open
            });
            wide
        });
        Ok((rollups.await, read))
    }

    /// The longest interval in microseconds among the marked parts: one that starts in a bucket may end, and be
    /// stored, that much after the bucket's end.
    fn reach(&self, marks: &Marks) -> i64 {
        let parts: BTreeSet<i16> = marks.values().flatten().copied().collect();
        let registry = registry::read(&self.registry);
        let marked = registry.all_series().filter(|series| parts.contains(&series.part));
        marked.map(Series::interval_micros).max().unwrap_or(0)
    }

    /// The series of some parts; no list where they are much of the city, all of which is wanted in the end, and naming
    /// them would cost more than skipping the rest.
    fn series_of(&self, parts: &BTreeSet<i16>, portion: Portion) -> Option<Vec<SeriesId>> {
        if (PARTS / 4) as usize <= parts.len() && portion.is_whole() {
            return None;
        }
        let registry = registry::read(&self.registry);
        let wanted = registry.all_series().filter(|series| parts.contains(&series.part));
        Some(wanted.map(|series| series.id).collect())
    }
}

/// Marked buckets read in one go, with at most `reach` between them: so no row is read twice.
struct Span {
    start: Time,
    end: Time,
    parts: BTreeSet<i16>,
}

fn spans(marks: &Marks, reach: i64, end: impl Fn(Time) -> Time) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (start, parts) in marks {
        match spans.last_mut() {
            Some(last) if start.micros() <= last.end.micros() + reach => {
                last.end = end(*start);
                last.parts.extend(parts);
            }
            _ => spans.push(Span { start: *start, end: end(*start), parts: parts.clone() }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_less_of_a_larger_city() {
        let of = |series| Portion::of(300_000.0, series, 300.0);
        assert_eq!(of(0), Portion { buckets: 1_000, parts: 64 });
        assert_eq!(of(100), Portion { buckets: 10, parts: 64 });
        assert_eq!(of(2_000), Portion { buckets: 1, parts: 32 });
        assert_eq!(of(1_000_000), Portion { buckets: 1, parts: 1 });
        assert!(of(100).is_whole() && !of(2_000).is_whole());
    }
}

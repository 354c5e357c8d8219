//! What the tables know of some series, as buckets of any width.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::RwLock,
};

use jiff::tz::TimeZone;
use tokio_postgres::Client;

use super::{Settled, settle};
use crate::{
    aggregate::{self, Entry, Rollup},
    model::{Level, Series, SeriesId, State, Time, bucket::FIVE_MINUTES, bucket::HOUR},
    registry::{self, Registry},
    roller::tables,
    store::StoreError,
};

/// How wide buckets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Microseconds, counted from 1970.
    Micros(i64),
    /// Local days of the city, of 23 to 25 hours.
    Days,
}

/// More buckets are not asked for by anybody who looks at them.
pub const BUCKETS_MAX: usize = 100_000;
/// A neighbour further away is not looked for, whatever `max_gap` says.
const REACH_MAX: i64 = 7 * 24 * HOUR;

impl Width {
    /// The buckets that touch a span of time.
    pub fn spans(self, span: &Range<Time>, zone: &TimeZone) -> Vec<Range<Time>> {
        let start = |time: Time| match self {
            Width::Micros(micros) => time.floor(micros),
            Width::Days => Level::Day.start(time, zone),
        };
        let end = |start: Time| match self {
            Width::Micros(micros) => Time::from_micros(start.micros() + micros),
            Width::Days => Level::Day.end(start, zone),
        };
        let mut spans = Vec::new();
        let mut at = start(span.start);
        while at < span.end && spans.len() <= BUCKETS_MAX {
            spans.push(at..end(at));
            at = end(at);
        }
        spans
    }

    /// The widest rollups that buckets can be made of; `None`: only readings are narrow enough.
    fn level(self) -> Option<Level> {
        match self {
            Width::Days => Some(Level::Day),
            Width::Micros(micros) if micros % HOUR == 0 => Some(Level::Hour),
            Width::Micros(micros) if micros % FIVE_MINUTES == 0 => Some(Level::FiveMinutes),
            Width::Micros(_) => None,
        }
    }
}

/// Reads some series in buckets of a width: closed ones from rollups, open ones from readings, with the neighbours that
/// settle the first and the last. Passages are observed where their detector's heartbeat was. A bucket takes some 300 bytes: give as many series as may be held at once.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    client: &Client,
    registry: &RwLock<Registry>,
    series: &[Series],
    spans: &[Range<Time>],
    width: Width,
    zone: &TimeZone,
) -> Result<Vec<Vec<Settled>>, StoreError> {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return Ok(vec![Vec::new(); series.len()]);
    };
    let now: jiff::Timestamp = client.query_one("SELECT now()", &[]).await?.get(0);
    let heartbeats: Vec<Option<Series>> = {
        let registry = registry::read(registry);
        let heartbeat = |series: &Series| registry.series(series.heartbeat?).cloned();
        series.iter().map(heartbeat).collect()
    };
    let mut all: Vec<Series> = series.iter().chain(heartbeats.iter().flatten()).cloned().collect();
    all.sort_unstable_by_key(|series| series.id);
    all.dedup_by_key(|series| series.id);
    let reader = Reader { client, registry, series: &all, width, zone, now: now.into() };
    let reach_of = |series: &Series| series.arithmetic.max_gap.min(REACH_MAX);
    let reach = all.iter().map(reach_of).max().unwrap_or(0);
    let shifted = |time: Time, micros: i64| Time::from_micros(time.micros() + micros);
    let (before, after) = (shifted(first.start, -reach)..first.start, last.end..shifted(last.end, reach));
    let mut states = States::new();
    reader.read(&before, Some(Level::FiveMinutes), &mut states).await?;
    reader.read(&(first.start..last.end), width.level(), &mut states).await?;
    reader.read(&after, Some(Level::FiveMinutes), &mut states).await?;
    let settled = |series: &Series| {
        let near = shifted(first.start, -reach_of(series))..shifted(last.end, reach_of(series));
        let is_near = |(span, _): &&(Range<Time>, State)| near.start < span.end && span.start < near.end;
        let states = states.get(&series.id).into_iter().flatten();
        let states: Vec<(Range<Time>, State)> = states.filter(is_near).cloned().collect();
        settle(spans, &states, &series.arithmetic)
    };
    let observed = |(series, heartbeat): (&Series, &Option<Series>)| {
        let mut buckets = settled(series);
        if let Some(heartbeat) = heartbeat {
            let beats = settled(heartbeat);
            buckets.iter_mut().zip(beats).for_each(|(bucket, beat)| bucket.covered = beat.covered);
        }
        buckets
    };
    Ok(series.iter().zip(&heartbeats).map(observed).collect())
}

/// The states of some series, those of each in time order.
type States = HashMap<SeriesId, Vec<(Range<Time>, State)>>;

struct Reader<'r> {
    client: &'r Client,
    registry: &'r RwLock<Registry>,
    series: &'r [Series],
    /// That was asked for.
    width: Width,
    zone: &'r TimeZone,
    now: Time,
}

impl Reader<'_> {
    /// Adds the states in a span of time: as wide as `level` where that is closed, then narrower ones, then those of
    /// readings.
    async fn read(
        &self,
        span: &Range<Time>,
        level: Option<Level>,
        states: &mut States,
    ) -> Result<(), StoreError> {
        let mut at = span.start;
        let before = Time::from_micros(at.micros() + FIVE_MINUTES - 1).floor(FIVE_MINUTES).min(span.end);
        if level.is_some() && at < before {
            self.read_fresh(&(at..before), states).await?;
            at = before;
        }
        let levels = [Level::Day, Level::Hour, Level::FiveMinutes];
        for closed in levels.into_iter().filter(|closed| level.is_some_and(|level| *closed <= level)) {
            let until = closed.start(self.now.min(span.end), self.zone);
            // A local midnight need not begin an hour.
            if at < until && closed.start(at, self.zone) == at {
                let mut rollups = Vec::new();
                let ids: Vec<SeriesId> = self.series.iter().map(|series| series.id).collect();
                tables::read_rollups(self.client, closed, at, until, Some(&ids), &mut rollups).await?;
                rollups.sort_unstable_by_key(|rollup| rollup.bucket);
                for Rollup { series, bucket, state } in rollups {
                    states.entry(series).or_default().push((bucket..closed.end(bucket, self.zone), state));
                }
                at = until;
            }
        }
        match at < span.end {
            true => self.read_fresh(&(at..span.end), states).await,
            false => Ok(()),
        }
    }

    /// Adds the states of readings, of the widest width that cuts the span and what was asked for into whole buckets.
    async fn read_fresh(&self, span: &Range<Time>, states: &mut States) -> Result<(), StoreError> {
        const WIDTHS: [i64; 5] = [FIVE_MINUTES, 60_000_000, 10_000_000, 1_000_000, 1];
        let cuts = |width: i64| [span.start, span.end].iter().all(|time| time.floor(width) == *time);
        let fits = |width: i64| !matches!(self.width, Width::Micros(asked) if asked % width != 0);
        let width = WIDTHS.into_iter().find(|width| cuts(*width) && fits(*width)).unwrap_or(1);
        let interval = self.series.iter().map(|series| series.arithmetic.interval).max().unwrap_or(0);
        let own: HashSet<SeriesId> = self.series.iter().map(|series| series.id).collect();
        let wanted: HashSet<SeriesId> =
            self.series.iter().filter_map(|series| series.volume).chain(own.iter().copied()).collect();
        let wanted: Vec<SeriesId> = wanted.into_iter().collect();
        let mut facts = Vec::new();
        let end = Time::from_micros(span.end.micros() + interval);
        tables::read_facts(self.client, span.start, end, Some(&wanted), &mut facts).await?;
        let mut entries = Vec::with_capacity(facts.len());
        {
            let registry = registry::read(self.registry);
            for tables::Fact { series: id, time, value, quality, passage } in facts {
                let Some(series) = registry.series(id) else { continue };
                let begins = series.bucket_time(time);
                if span.contains(&begins) {
                    let (value, quality) = series.view(time, value, quality);
                    let bucket = begins.floor(width);
                    entries.push(Entry { series: id, bucket, time, value, quality, passage });
                }
            }
        }
        let rollups = aggregate::buckets(entries, width, |id| registry::read(self.registry).rule(id));
        for Rollup { series, bucket, state } in
            rollups.into_iter().filter(|rollup| own.contains(&rollup.series))
        {
            let span = bucket..Time::from_micros(bucket.micros() + width);
            states.entry(series).or_default().push((span, state));
        }
        Ok(())
    }
}

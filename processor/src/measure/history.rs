//! What the tables know of some series, as buckets of any width.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::RwLock,
};

use tokio_postgres::Client;

use super::{
    Settled, Steps,
    road::Segment,
    settle,
    station::{self, Measured, Station},
};
use crate::{
    aggregate::{self, Entry, Rollup},
    model::{Level, Series, SeriesId, State, Time, bucket::FIVE_MINUTES, bucket::HOUR},
    registry::{self, Registry},
    roller::tables,
    store::StoreError,
};

/// A neighbour further away is not looked for, whatever `max_gap` says.
const REACH_MAX: i64 = 7 * 24 * HOUR;
/// Sensors do not speak more often, as a rule.
const SECOND: i64 = 1_000_000;
/// Buckets of series that are held at once, with the states they are made of: some 400 bytes each.
pub const CELLS_MAX: usize = 500_000;

/// Reads some series in buckets, as many at a time as may be held; `take` hears of each, in order, by its place in
/// `series`. Closed buckets come from rollups, open ones from readings, with the neighbours that settle the first and the
/// last. Passages are observed where their detector's heartbeat was.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    client: &Client,
    registry: &RwLock<Registry>,
    series: &[Series],
    steps: &Steps,
    mut take: impl FnMut(usize, Vec<Settled>),
) -> Result<(), StoreError> {
    let at_once = (CELLS_MAX / cells(series, steps)).max(1);
    for (chunk, some) in series.chunks(at_once).enumerate() {
        let settled = read_all(client, registry, some, steps).await?;
        settled.into_iter().enumerate().for_each(|(at, buckets)| take(chunk * at_once + at, buckets));
    }
    Ok(())
}

/// What some stations measured in buckets, all of them at once: of each station, in order. Where a station measures no
/// speed, it is estimated from these buckets, on its segment.
///
/// # Errors
/// The database cannot be read.
pub async fn stations(
    client: &Client,
    registry: &RwLock<Registry>,
    segments: &BTreeMap<String, Segment>,
    stations: &[Station],
    steps: &Steps,
) -> Result<Vec<Vec<Measured>>, StoreError> {
    let mut series: Vec<Series> = stations.iter().flat_map(Station::series).cloned().collect();
    // One that moved is of each of its places.
    series.sort_unstable_by_key(|series| series.id);
    series.dedup_by_key(|series| series.id);
    let mut settled: HashMap<SeriesId, Vec<Settled>> = HashMap::new();
    let take = |at: usize, buckets| drop(settled.insert(series[at].id, buckets));
    read(client, registry, &series, steps, take).await?;
    let measured = |station: &Station| {
        let at = |bucket: usize| station.measured(|series| settled.get(&series.id)?.get(bucket));
        let mut measured: Vec<Measured> = (0..steps.len()).map(at).collect();
        let free = segments.get(&station.segment).and_then(|segment| segment.free_flow_speed_kmh);
        station::single_loops(&mut measured, station.counts.len(), free);
        measured
    };
    Ok(stations.iter().map(measured).collect())
}

/// How many buckets, and states that they are made of, are held for one of these series; at least one.
pub fn cells(series: &[Series], steps: &Steps) -> usize {
    let reach = series.iter().map(reach).max().unwrap_or(0);
    let whole = steps.spans.last().map_or(0, |last| last.end.micros() - steps.spans[0].start.micros());
    let narrow = whole / steps.level().map_or_else(|| steps.grain().max(SECOND), level_micros);
    let narrow = usize::try_from(narrow + 2 * reach / FIVE_MINUTES).unwrap_or(CELLS_MAX);
    (steps.len() + narrow).max(1)
}

/// How far a series looks for its neighbours, in microseconds.
fn reach(series: &Series) -> i64 {
    series.arithmetic.max_gap.min(REACH_MAX)
}

const fn level_micros(level: Level) -> i64 {
    match level {
        Level::FiveMinutes => FIVE_MINUTES,
        Level::Hour => HOUR,
        Level::Day => 24 * HOUR,
    }
}

/// As [`read`], of all series at once: [`cells`] says how much that is.
///
/// # Errors
/// The database cannot be read.
pub async fn read_all(
    client: &Client,
    registry: &RwLock<Registry>,
    series: &[Series],
    steps: &Steps,
) -> Result<Vec<Vec<Settled>>, StoreError> {
    let spans = &steps.spans;
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return Ok(vec![Vec::new(); series.len()]);
    };
    let now: jiff::Timestamp = client.query_one("SELECT now()", &[]).await?.get(0);
    let heartbeats: Vec<Option<Series>> = {
        let registry = registry::read(registry);
        // One that speaks of more than a bucket does not say which bucket it was.
        let heartbeat = |series: &Series| {
            registry.series(series.heartbeat?).filter(|beat| steps.check([*beat]).is_ok()).cloned()
        };
        series.iter().map(heartbeat).collect()
    };
    let mut all: Vec<Series> = series.iter().chain(heartbeats.iter().flatten()).cloned().collect();
    all.sort_unstable_by_key(|series| series.id);
    all.dedup_by_key(|series| series.id);
    let reader = Reader { client, registry, series: &all, steps, now: now.into() };
    let farthest = all.iter().map(reach).max().unwrap_or(0);
    let shifted = |time: Time, micros: i64| Time::from_micros(time.micros() + micros);
    let (before, after) =
        (shifted(first.start, -farthest)..first.start, last.end..shifted(last.end, farthest));
    let mut states = States::new();
    reader.read(&before, Some(Level::FiveMinutes), &mut states).await?;
    reader.read(&(first.start..last.end), steps.level(), &mut states).await?;
    reader.read(&after, Some(Level::FiveMinutes), &mut states).await?;
    let settled = |series: &Series| {
        let near = shifted(first.start, -reach(series))..shifted(last.end, reach(series));
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
    steps: &'r Steps,
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
            let until = closed.start(self.now.min(span.end), &self.steps.zone);
            // A local midnight need not begin an hour.
            if at < until && closed.start(at, &self.steps.zone) == at {
                let mut rollups = Vec::new();
                let ids: Vec<SeriesId> = self.series.iter().map(|series| series.id).collect();
                tables::read_rollups(self.client, closed, at, until, Some(&ids), &mut rollups).await?;
                rollups.sort_unstable_by_key(|rollup| rollup.bucket);
                for Rollup { series, bucket, state } in rollups {
                    states
                        .entry(series)
                        .or_default()
                        .push((bucket..closed.end(bucket, &self.steps.zone), state));
                }
                at = until;
            }
        }
        match at < span.end {
            true => self.read_fresh(&(at..span.end), states).await,
            false => Ok(()),
        }
    }

    /// Adds the states of readings, of the widest width that cuts the span and the buckets.
    async fn read_fresh(&self, span: &Range<Time>, states: &mut States) -> Result<(), StoreError> {
        let cuts = |grain: &i64| [span.start, span.end].iter().all(|time| time.floor(*grain) == *time);
        let width = Some(self.steps.grain()).filter(cuts).unwrap_or(1);
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

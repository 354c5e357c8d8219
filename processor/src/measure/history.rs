//! What the tables know of a series, as buckets of any width.

use std::{ops::Range, sync::RwLock};

use jiff::tz::TimeZone;
use tokio_postgres::Client;

use super::{Settled, settle};
use crate::{
    aggregate::{self, Entry},
    model::{Arithmetic, Level, Series, State, Time, bucket::FIVE_MINUTES, bucket::HOUR},
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

/// Reads a series in buckets of a width: closed ones from rollups, open ones from readings, with the neighbours that
/// settle the first and the last.
///
/// # Errors
/// The database cannot be read.
pub async fn read(
    client: &Client,
    registry: &RwLock<Registry>,
    series: &Series,
    spans: &[Range<Time>],
    width: Width,
    zone: &TimeZone,
) -> Result<Vec<Settled>, StoreError> {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Ok(Vec::new()) };
    let now: jiff::Timestamp = client.query_one("SELECT now()", &[]).await?.get(0);
    let reader = Reader { client, registry, series, zone, now: now.into() };
    let reach = series.arithmetic.max_gap.min(REACH_MAX);
    let shifted = |time: Time, micros: i64| Time::from_micros(time.micros() + micros);
    let mut states =
        reader.states(&(shifted(first.start, -reach)..first.start), Some(Level::FiveMinutes)).await?;
    states.extend(reader.states(&(first.start..last.end), width.level()).await?);
    states.extend(reader.states(&(last.end..shifted(last.end, reach)), Some(Level::FiveMinutes)).await?);
    Ok(settle(spans, &states, &series.arithmetic))
}

struct Reader<'r> {
    client: &'r Client,
    registry: &'r RwLock<Registry>,
    series: &'r Series,
    zone: &'r TimeZone,
    now: Time,
}

impl Reader<'_> {
    /// The states in a span of time, in time order: as wide as `level` where that is closed, then narrower ones, then
    /// those of readings.
    async fn states(
        &self,
        span: &Range<Time>,
        level: Option<Level>,
    ) -> Result<Vec<(Range<Time>, State)>, StoreError> {
        let mut states = Vec::new();
        let mut at = span.start;
        let before = Time::from_micros(at.micros() + FIVE_MINUTES - 1).floor(FIVE_MINUTES).min(span.end);
        if level.is_some() && at < before {
            states.extend(self.fresh(&(at..before)).await?);
            at = before;
        }
        let levels = [Level::Day, Level::Hour, Level::FiveMinutes];
        for closed in levels.into_iter().filter(|closed| level.is_some_and(|level| *closed <= level)) {
            let until = closed.start(self.now.min(span.end), self.zone);
            // A local midnight need not begin an hour.
            if at < until && closed.start(at, self.zone) == at {
                let mut rollups = Vec::new();
                let ids = [self.series.id];
                tables::read_rollups(self.client, closed, at, until, Some(&ids), &mut rollups).await?;
                rollups.sort_unstable_by_key(|rollup| rollup.bucket);
                let spanned = |bucket: Time| bucket..closed.end(bucket, self.zone);
                states.extend(rollups.into_iter().map(|rollup| (spanned(rollup.bucket), rollup.state)));
                at = until;
            }
        }
        if at < span.end {
            states.extend(self.fresh(&(at..span.end)).await?);
        }
        Ok(states)
    }

    /// States of readings, of the widest width that cuts the span into whole buckets.
    async fn fresh(&self, span: &Range<Time>) -> Result<Vec<(Range<Time>, State)>, StoreError> {
        const WIDTHS: [i64; 5] = [FIVE_MINUTES, 60_000_000, 10_000_000, 1_000_000, 1];
        let fits = |width: &i64| [span.start, span.end].iter().all(|time| time.floor(*width) == *time);
        let width = WIDTHS.into_iter().find(fits).unwrap_or(1);
        let Arithmetic { interval, .. } = self.series.arithmetic;
        let mut wanted = vec![self.series.id];
        wanted.extend(self.series.volume);
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
        let own = rollups.into_iter().filter(|rollup| rollup.series == self.series.id);
        let spanned = |bucket: Time| bucket..Time::from_micros(bucket.micros() + width);
        Ok(own.map(|rollup| (spanned(rollup.bucket), rollup.state)).collect())
    }
}

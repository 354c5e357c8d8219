//! `demand`: the peaks of one meter on one local day, as `screenline utility demand` says them.

use super::{
    dataset::{Column, ENDS, METRIC, SENSOR, TIME, UNIT, column},
    period,
    rows::{Cell, Rows},
    scan::{Asked, at_once, bounded, settled},
    source::Session,
    utility,
};
use crate::{error::Result, tables::Kind};
use jiff::SignedDuration;
use processor::{
    measure::{
        Steps,
        demand::{self, Demand, Peak, Reactive, Windows},
        sensor::Usage,
        zone,
    },
    model::{Series, SeriesId, Time},
    registry,
};
use std::{collections::HashMap, ops::Range};

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SENSOR,
    column("zone", Kind::Text, "", "where it was at the begin of the day"),
    METRIC,
    UNIT,
    column("amount", Kind::Float, "", "what was used; null where a step of the day is missing"),
    column("demand_unit", Kind::Text, "", "of the peaks, in UCUM: kW of kW.h"),
    column("peak", Kind::Float, "", "highest demand of blocks on the local clock that were observed"),
    column("peak_at", Kind::Time, "", "begin of that block"),
    column(
        "sliding_peak",
        Kind::Float,
        "",
        "highest demand of windows as long as a block that begin in the day",
    ),
    column("sliding_peak_at", Kind::Time, "", "begin of that window"),
    column("block_s", Kind::Int32, "s", "900, or more where the meter is read less often"),
    column("load_factor", Kind::Float, "1", "mean over highest demand of the blocks that were observed"),
    column(
        "power_factor",
        Kind::Float,
        "1",
        "of active energy and the reactive energy of the same sensor, as energy.reactive beside energy.active; null without",
    ),
];

/// Meters whose days are held at once.
const METERS: usize = 500;
const HOUR_S: u32 = 3_600;

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let days = asked.steps(&session.zone)?;
    let Some(period) = period::since(SignedDuration::ZERO, &days)? else { return Ok(()) };
    let usages = utility::usages(asked, session, &period).await?;
    bounded(usages.len().saturating_mul(days.len()))?;
    let whole = period.start.into()..period.end.into();
    for some in usages.chunks(METERS) {
        let demands = demands(some, session, &whole).await?;
        let reactive = reactive(some, session, &whole).await?;
        for usage in some {
            let Some((windows, of_days)) = demands.get(&usage.series.id) else { continue };
            let reactive = reactive_of(usage, session, &reactive);
            for (at, span) in
                days.spans.iter().enumerate().filter(|(_, span)| usage.valid.contains(&span.start))
            {
                let Some(demand) = of_days.get(at) else { continue };
                let factor = reactive.and_then(|reactive| reactive.factor(at, demand.amount));
                rows.put(row(usage, span, demand, *windows, factor)).await?;
            }
        }
    }
    Ok(())
}

/// What some meters used on each of the days; nothing of those whose readings fill no windows.
async fn demands(
    some: &[Usage],
    session: &Session,
    whole: &Range<Time>,
) -> Result<HashMap<SeriesId, (Windows, Vec<Demand>)>> {
    let active = some.iter().filter_map(|usage| Some((Windows::of(&usage.series)?, usage.series.clone())));
    let mut demands = HashMap::new();
    each(session, active.collect(), whole, |series, windows, steps, amounts| {
        demands.insert(series.id, (windows, demand::days(steps, amounts, windows.block_s)));
    })
    .await?;
    Ok(demands)
}

/// Energies of whole days.
type Daily = HashMap<SeriesId, Vec<Option<f64>>>;

/// Of the reactive energies that belong to some meters.
async fn reactive(some: &[Usage], session: &Session, whole: &Range<Time>) -> Result<Daily> {
    let names = some.iter().filter_map(|usage| Some((&usage.sensor, demand::reactive(&usage.metric)?)));
    let series = names.flat_map(|(sensor, (lagging, leading))| {
        [lagging, leading].into_iter().filter_map(|metric| seen(session, sensor, &metric))
    });
    let hourly = |series: Series| {
        let step_s = Windows::of(&series)?.step_s;
        let step_s = if HOUR_S.is_multiple_of(step_s) { HOUR_S } else { step_s };
        Some((Windows { step_s, block_s: 0 }, series))
    };
    let mut daily = Daily::new();
    each(session, series.filter_map(hourly).collect(), whole, |series, _, steps, amounts| {
        daily.insert(series.id, demand::daily(steps, amounts));
    })
    .await?;
    Ok(daily)
}

fn seen(session: &Session, sensor: &str, metric: &str) -> Option<Series> {
    let registry = registry::read(session.registry());
    registry.find(sensor, metric).filter(|series| session.sees(series)).cloned()
}

/// Reads series in windows of their own, those of the same windows together.
async fn each(
    session: &Session,
    mut series: Vec<(Windows, Series)>,
    whole: &Range<Time>,
    mut take: impl FnMut(&Series, Windows, &Steps, &[Option<f64>]),
) -> Result<()> {
    series.sort_unstable_by_key(|(windows, series)| (*windows, series.id));
    // One that moved is there at each of its places.
    series.dedup_by_key(|(_, series)| series.id);
    for alike in series.chunk_by(|(one, _), (other, _)| one == other) {
        let windows = alike[0].0;
        let until = Time::from_micros(whole.end.micros() + i64::from(windows.block_s) * 1_000_000);
        let steps = Steps::of_days(&(whole.start..until), windows.step_s, &session.zone)?;
        let series: Vec<Series> = alike.iter().map(|(_, series)| series.clone()).collect();
        for some in series.chunks(at_once(&series, &steps)?) {
            for (series, buckets) in some.iter().zip(settled(session, some, &steps).await?) {
                let amounts = buckets.iter().map(|bucket| zone::observed(bucket, series.kind));
                take(series, windows, &steps, &amounts.collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

/// Those of one meter; `None`: it has none.
fn reactive_of<'d>(usage: &Usage, session: &Session, daily: &'d Daily) -> Option<Reactive<'d>> {
    let (lagging, leading) = demand::reactive(&usage.metric)?;
    let of = |metric: &str| Some(daily.get(&seen(session, &usage.sensor, metric)?.id)?.as_slice());
    Some(Reactive { lagging: of(&lagging)?, leading: of(&leading) })
}

fn row(
    usage: &Usage,
    span: &Range<Time>,
    demand: &Demand,
    windows: Windows,
    factor: Option<f64>,
) -> Vec<Cell> {
    let unit = &*usage.series.unit;
    let power = |peak: Option<Peak>| Cell::from(peak.map(|peak| peak.demand));
    let begins = |peak: Option<Peak>| Cell::from(peak.map(|peak| peak.from));
    vec![
        span.start.into(),
        span.end.into(),
        usage.sensor.as_str().into(),
        usage.zone.as_deref().into(),
        usage.metric.as_str().into(),
        unit.into(),
        demand.amount.into(),
        demand::unit(unit).as_str().into(),
        power(demand.block),
        begins(demand.block),
        power(demand.sliding),
        begins(demand.sliding),
        i32::try_from(windows.block_s).ok().into(),
        demand.load_factor.into(),
        factor.into(),
    ]
}

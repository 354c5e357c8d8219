//! The stations that a scan is of, and what they measured, some at a time.

use super::{
    narrow, period,
    scan::{self, Asked, fits},
    source::Session,
};
use crate::error::{QueryError, Result};
use jiff::SignedDuration;
use processor::{
    measure::{
        Steps, history,
        network::{self, Roads},
        road::{self, Pair},
        station::{Measured, Station},
    },
    model::Series,
};
use std::collections::BTreeSet;

/// What one scan holds of stations, beside the buckets that it reads: two million numbers.
pub const HELD_BYTES: usize = 32 << 20;

/// Every road with its stations.
pub async fn roads(session: &Session, steps: &Steps) -> Result<Roads> {
    let Some(period) = period::since(SignedDuration::ZERO, steps)? else { return Ok(Roads::default()) };
    Ok(network::roads(session.client()?, session.registry(), &period).await?)
}

/// Leaves the stations that the filters on segment and direction leave.
pub fn narrow(asked: &Asked, roads: &mut Roads) -> Result<()> {
    let roads_of = || roads.stations.iter().map(Station::road);
    let texts = [
        ("segment", roads_of().map(|(segment, _)| Some(segment)).collect()),
        ("direction", roads_of().map(|(_, direction)| direction).collect()),
    ];
    let mut kept = narrow::kept(asked, roads.stations.len(), texts)?.into_iter();
    roads.stations.retain(|_| kept.next().unwrap_or(true));
    Ok(())
}

/// Whether all of its detectors may be seen.
pub fn is_seen(session: &Session, station: &Station) -> bool {
    station.series().all(|series| session.sees(series))
}

/// # Errors
/// So many things of so many bytes are more than one scan holds.
pub fn held(count: usize, bytes_each: usize) -> Result<()> {
    if HELD_BYTES < count.saturating_mul(bytes_each) {
        return Err(QueryError::Exhausted(
            "so many stations over so many buckets are more than one scan holds: take a shorter range of time, or \
             wider buckets where the dataset has a width"
                .into(),
        ));
    }
    Ok(())
}

/// How many of some stations may be read at once.
///
/// # Errors
/// Not even one, or an interval does not fit into the buckets.
pub fn at_once(stations: &[Station], steps: &Steps) -> Result<usize> {
    for station in stations {
        for series in station.series() {
            fits(steps, series, "segment", || (&station.segment, "traffic"))?;
        }
    }
    chunk(stations, steps)
}

fn chunk(stations: &[Station], steps: &Steps) -> Result<usize> {
    let series: Vec<Series> = stations.iter().flat_map(Station::series).cloned().collect();
    let most = stations.iter().map(|station| station.series().count()).max().unwrap_or(1);
    Ok((scan::at_once(&series, steps)? / most.max(1)).max(1))
}

/// What some of the stations measured in each bucket, read at once.
pub async fn measured(
    session: &Session,
    roads: &Roads,
    some: &[Station],
    steps: &Steps,
) -> Result<Vec<Vec<Measured>>> {
    Ok(history::stations(session.client()?, session.registry(), &roads.segments, some, steps).await?)
}

/// The neighbours of which both may be seen.
pub fn pairs(session: &Session, roads: &Roads) -> Vec<Pair> {
    let seen: Vec<bool> = roads.stations.iter().map(|station| is_seen(session, station)).collect();
    // Who is hidden still stands between two others: these are no neighbours.
    let mut pairs = road::pairs(&roads.segments, &roads.stations);
    pairs.retain(|pair| seen[pair.upstream] && seen[pair.downstream]);
    pairs
}

/// A number of each station and bucket, of those that have a neighbour.
pub async fn each(
    session: &Session,
    roads: &Roads,
    pairs: &[Pair],
    steps: &Steps,
    of: fn(&Measured) -> Option<f64>,
) -> Result<Vec<Vec<Option<f64>>>> {
    let paired: BTreeSet<usize> = pairs.iter().flat_map(|pair| [pair.upstream, pair.downstream]).collect();
    let paired: Vec<usize> = paired.into_iter().collect();
    held(paired.len().saturating_mul(steps.len()), size_of::<Option<f64>>())?;
    let mut numbers = vec![Vec::new(); roads.stations.len()];
    let stations: Vec<Station> = paired.iter().map(|at| roads.stations[*at].clone()).collect();
    let at_once = chunk(&stations, steps)?;
    for (places, some) in paired.chunks(at_once).zip(stations.chunks(at_once)) {
        for (place, buckets) in places.iter().zip(measured(session, roads, some, steps).await?) {
            numbers[*place] = buckets.iter().map(of).collect();
        }
    }
    Ok(numbers)
}

//! `traffic(width)`: one detector, one bucket, by its place and direction.

use super::{
    dataset::{COVERAGE, Column, ENDS, LATE, SENSOR, TIME, column},
    narrow, period,
    rows::{Cell, Rows},
    scan::{Asked, at_once, bounded, fits, settled},
    source::Session,
};
use crate::{error::Result, tables::Kind};
use jiff::{SignedDuration, Timestamp};
use processor::{
    measure::{
        Settled, Steps, network,
        sensor::{Detector, Said},
    },
    model::{Series, SeriesId},
};
use std::{collections::HashMap, ops::Range};

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    SENSOR,
    column("segment", Kind::Text, "", "where it stood at the begin of the bucket"),
    column("direction", Kind::Text, "", "of its metric where that names one, else of the sensor"),
    column("lane", Kind::Int32, "", "as the registry says"),
    column("volume", Kind::Float, "{veh}", "vehicles; null where one of its lanes was silent"),
    column("pcu", Kind::Float, "{PCU}", "single vehicles as passenger car units"),
    column("flow", Kind::Float, "{veh}/h", "vehicles an hour of the time that was observed"),
    column("occupancy", Kind::Float, "%", "share of the time that the detector was covered"),
    column("time_mean_speed", Kind::Float, "km/h", "mean of the speeds at the detector"),
    column("space_mean_speed", Kind::Float, "km/h", "mean of the speeds along the road, by Wardrop"),
    column(
        "v15",
        Kind::Float,
        "km/h",
        "not exceeded by 15 %: of single vehicles, else of means of intervals",
    ),
    column(
        "v50",
        Kind::Float,
        "km/h",
        "not exceeded by half: of single vehicles, else of means of intervals",
    ),
    column(
        "v85",
        Kind::Float,
        "km/h",
        "not exceeded by 85 %: of single vehicles, else of means of intervals",
    ),
    column("headway_s", Kind::Float, "s", "from front to front, on average of a lane"),
    column("density", Kind::Float, "{veh}/km", "flow over space-mean speed, of all its lanes"),
    COVERAGE,
    LATE,
    column("classes", Kind::Text, "", "single vehicles by class, a JSON object"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let Some(period) = period::since(SignedDuration::ZERO, &steps)? else { return Ok(()) };
    let detectors = detectors(asked, session, &period).await?;
    bounded(detectors.len().saturating_mul(steps.len()))?;
    let series: Vec<Series> = detectors.iter().flat_map(Detector::series).cloned().collect();
    for detector in &detectors {
        for series in detector.series() {
            fits(&steps, series, "sensor", || (&detector.sensor, "traffic"))?;
        }
    }
    let most = detectors.iter().map(|detector| detector.series().count()).max().unwrap_or(1);
    for some in detectors.chunks((at_once(&series, &steps)? / most.max(1)).max(1)) {
        let heard = heard(some, session, &steps).await?;
        for detector in some {
            for (bucket, span) in steps.spans.iter().enumerate() {
                if detector.valid.contains(&span.start) {
                    let said = detector.said(|series| heard.get(&series.id)?.get(bucket));
                    let mut row = vec![span.start.into(), span.end.into()];
                    row.extend(of(detector, &said));
                    rows.put(row).await?;
                }
            }
        }
    }
    Ok(())
}

/// The detectors that may be seen, as far as filters leave them.
///
/// # Errors
/// The database cannot be read.
pub async fn detectors(asked: &Asked, session: &Session, period: &Range<Timestamp>) -> Result<Vec<Detector>> {
    let ids = narrow::ids(&asked.filters, &session.names, asked.measure.narrows);
    let (client, registry) = (session.client()?, session.registry());
    let mut detectors = network::detectors(client, registry, period, ids.as_deref()).await?;
    detectors.retain(|detector| detector.series().all(|series| session.sees(series)));
    kept(asked, detectors)
}

/// The buckets of every series of some detectors.
///
/// # Errors
/// The database cannot be read.
pub async fn heard<'d>(
    detectors: impl IntoIterator<Item = &'d Detector>,
    session: &Session,
    steps: &Steps,
) -> Result<HashMap<SeriesId, Vec<Settled>>> {
    let mut series: Vec<Series> = detectors.into_iter().flat_map(Detector::series).cloned().collect();
    // One that moved is there at each of its places.
    series.sort_unstable_by_key(|series| series.id);
    series.dedup_by_key(|series| series.id);
    let settled = settled(session, &series, steps).await?;
    Ok(series.iter().map(|series| series.id).zip(settled).collect())
}

fn kept(asked: &Asked, detectors: Vec<Detector>) -> Result<Vec<Detector>> {
    let text = |of: fn(&Detector) -> Option<&str>| detectors.iter().map(of).collect();
    let texts = [
        ("sensor", text(|detector| Some(&detector.sensor))),
        ("segment", text(|detector| detector.segment.as_deref())),
        ("direction", text(|detector| detector.direction.as_deref())),
    ];
    let kept = narrow::kept(asked, detectors.len(), texts)?;
    Ok(detectors.into_iter().zip(kept).filter_map(|(detector, kept)| kept.then_some(detector)).collect())
}

fn of(detector: &Detector, said: &Said) -> [Cell; 18] {
    let Said { measured, speeds, classes, .. } = said;
    let classes = classes.as_ref().and_then(|classes| serde_json::to_string(classes).ok());
    [
        detector.sensor.as_str().into(),
        detector.segment.as_deref().into(),
        detector.direction.as_deref().into(),
        detector.lane.into(),
        measured.volume.into(),
        said.passenger_cars.into(),
        measured.flow.into(),
        measured.occupancy.into(),
        speeds.time_mean.into(),
        measured.speed.into(),
        speeds.v15.into(),
        speeds.v50.into(),
        speeds.v85.into(),
        said.headway_s.into(),
        said.density.into(),
        said.coverage.into(),
        said.late.into(),
        classes.as_deref().into(),
    ]
}

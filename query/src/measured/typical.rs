//! `typical(width)`: what the detectors that are asked for say together on a usual day.

use super::{
    dataset::{Column, ENDS, TIME, column},
    period,
    rows::{Cell, Rows},
    scan::{Asked, CELLS, at_once, bounded, fits},
    source::Session,
    traffic,
};
use crate::{
    error::{QueryError, Result},
    tables::Kind,
};
use jiff::SignedDuration;
use processor::{
    measure::{
        Steps,
        sensor::Detector,
        typical::{self, Before, Together, Typical, WEEKS},
    },
    model::{Series, Time},
};
use std::{collections::BTreeMap, ops::Range};

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    column(
        "sensor",
        Kind::Text,
        "",
        "of all that are asked for, where it is one; filters say which are put together",
    ),
    column("segment", Kind::Text, "", "where all of them stand, if it is one"),
    column("direction", Kind::Text, "", "of all of them, if it is one"),
    column("detectors", Kind::Int64, "1", "that are put together, as those of a screenline"),
    column("weeks", Kind::Int64, "1", "of the 8 before, those that the quantiles are made of"),
    column("volume_p15", Kind::Float, "{veh}", "vehicles of all of them, not exceeded in 15 % of the weeks"),
    column(
        "volume_p50",
        Kind::Float,
        "{veh}",
        "the median; a week in which one of them was silent is left out",
    ),
    column("volume_p85", Kind::Float, "{veh}", "not exceeded in 85 % of the weeks"),
    column(
        "speed_p15",
        Kind::Float,
        "km/h",
        "space-mean speed of all vehicles, not exceeded in 15 % of the weeks",
    ),
    column("speed_p50", Kind::Float, "km/h", "the median"),
    column("speed_p85", Kind::Float, "km/h", "not exceeded in 85 % of the weeks"),
    column("occupancy_p15", Kind::Float, "%", "mean occupancy, not exceeded in 15 % of the weeks"),
    column("occupancy_p50", Kind::Float, "%", "the median"),
    column("occupancy_p85", Kind::Float, "%", "not exceeded in 85 % of the weeks"),
];

/// With a day for clocks that were changed.
const BACK: SignedDuration = SignedDuration::from_hours(24 * (7 * WEEKS as i64 + 1));

/// A detector where it stands, and when it stood there.
struct Place {
    detector: Detector,
    valid: Vec<Range<Time>>,
}

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let Some(whole) = period::since(BACK, &steps)? else { return Ok(()) };
    if CELLS < steps.len().saturating_mul(WEEKS) {
        return Err(QueryError::Exhausted(format!(
            "{} buckets, and typical answers up to {}: take wider ones, or a shorter range of time",
            steps.len(),
            CELLS / WEEKS
        )));
    }
    let places = places(traffic::detectors(asked, session, &whole).await?, &steps);
    bounded(places.len().saturating_mul(steps.len()).saturating_mul(WEEKS))?;
    let weeks = weeks(&places, session, &steps).await?;
    let common = |of: fn(&Detector) -> Option<&str>| {
        let first = of(&places.first()?.detector)?;
        places.iter().all(|place| of(&place.detector) == Some(first)).then_some(first)
    };
    let names = [
        common(|detector| Some(&detector.sensor)),
        common(|detector| detector.segment.as_deref()),
        common(|detector| detector.direction.as_deref()),
    ];
    for (span, weeks) in steps.spans.iter().zip(weeks.chunks(WEEKS)) {
        let detectors = places.iter().filter(|place| place.is_there(span.start)).count();
        if 0 < detectors {
            rows.put(row(span, names, detectors, &Typical::of(weeks))).await?;
        }
    }
    Ok(())
}

impl Place {
    fn is_there(&self, time: Time) -> bool {
        self.valid.iter().any(|valid| valid.contains(&time))
    }
}

/// Those that are there in the buckets. A row of the registry that changed something else is no other place.
fn places(detectors: Vec<Detector>, steps: &Steps) -> Vec<Place> {
    let mut places: BTreeMap<_, Place> = BTreeMap::new();
    for detector in detectors {
        let Detector { sensor, segment, direction, lane, valid, .. } = detector.clone();
        let new = || Place { detector, valid: Vec::new() };
        places.entry((segment, direction, lane, sensor)).or_insert_with(new).valid.push(valid);
    }
    let is_asked = |place: &Place| steps.spans.iter().any(|span| place.is_there(span.start));
    places.into_values().filter(is_asked).collect()
}

/// What they said together in the weeks before each step, step by step.
async fn weeks(places: &[Place], session: &Session, steps: &Steps) -> Result<Vec<Together>> {
    let mut weeks = vec![Together::default(); steps.len() * WEEKS];
    let all: Vec<Series> = places.iter().flat_map(|place| place.detector.series()).cloned().collect();
    for place in places {
        for series in place.detector.series() {
            fits(steps, series, "sensor", || (&place.detector.sensor, "typical"))?;
        }
    }
    let most = places.iter().map(|place| place.detector.series().count()).max().unwrap_or(1);
    for some in places.chunks((at_once(&all, steps)? / most.max(1)).max(1)) {
        for week in 1..=WEEKS {
            for Before { first, steps: past } in typical::before(steps, week)? {
                let heard = traffic::heard(some.iter().map(|place| &place.detector), session, &past).await?;
                for place in some {
                    let counts = !place.detector.counts.is_empty();
                    for (at, span) in past.spans.iter().enumerate() {
                        let step = first + at;
                        if !place.is_there(steps.spans[step].start) {
                            continue;
                        }
                        let said = || place.detector.said(|series| heard.get(&series.id)?.get(at)).measured;
                        let measured = place.is_there(span.start).then(said);
                        weeks[step * WEEKS + week - 1].add(measured.as_ref(), counts);
                    }
                }
            }
        }
    }
    Ok(weeks)
}

fn row(span: &Range<Time>, names: [Option<&str>; 3], detectors: usize, typical: &Typical) -> Vec<Cell> {
    let mut row = vec![span.start.into(), span.end.into()];
    row.extend(names.map(Cell::from));
    row.extend([detectors, typical.weeks].map(|count| Cell::from(count as i64)));
    for band in [typical.volume, typical.speed, typical.occupancy] {
        row.push(band.map(|band| band.p15).into());
        row.push(band.map(|band| band.p50).into());
        row.push(band.map(|band| band.p85).into());
    }
    row
}

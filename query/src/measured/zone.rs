//! Zones whose meters may be seen, one after the other.

use super::{
    narrow,
    scan::{Asked, bounded},
    source::Session,
};
use crate::error::Result;
use jiff::Timestamp;
use processor::measure::{
    Steps, network,
    zone::{Meter, Role},
};
use std::ops::Range;

/// What the meters of a zone count.
const METRIC: &str = "water.volume";

/// The zones that filters leave, in order.
///
/// # Errors
/// They have too many rows, or the database cannot be read.
pub async fn kept(asked: &Asked, session: &Session, steps: &Steps) -> Result<Vec<String>> {
    let rows = session.client()?.query("SELECT id FROM zone ORDER BY id", &[]).await?;
    let zones = rows.iter().map(|row| row.try_get(0));
    let mut zones: Vec<String> = zones.collect::<Result<_, tokio_postgres::Error>>()?;
    let names = zones.iter().map(|zone| Some(zone.as_str())).collect();
    let mut kept = narrow::kept(asked, zones.len(), [("zone", names)])?.into_iter();
    zones.retain(|_| kept.next().unwrap_or(true));
    bounded(zones.len().saturating_mul(steps.len()))?;
    Ok(zones)
}

/// The meters of a zone; `None` where the needed ones are not there, or one of them all may not be seen: what is left
/// would look like a loss.
///
/// # Errors
/// The database cannot be read.
pub async fn meters(
    session: &Session,
    zone: &str,
    period: &Range<Timestamp>,
    needed: &[Role],
) -> Result<Option<Vec<Meter>>> {
    let meters = network::meters(session.client()?, session.registry(), zone, METRIC, period).await?;
    let is_seen = meters.meters.iter().all(|meter| session.sees(&meter.series));
    Ok((is_seen && meters.lack(needed).is_none()).then_some(meters.meters))
}

//! The nights of a zone: from the tables.

use std::{ops::Range, sync::RwLock};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio_postgres::Client;

use super::{
    Steps, balance,
    utility::{Night, NightRule},
    zone::{self, Amounts, Meter, Role},
};
use crate::{registry::Registry, store::StoreError};

/// How far before a period nights are looked at: the baseline needs 28 of them, some of which may be missing.
pub const BACK: SignedDuration = SignedDuration::from_hours(35 * 24);

const HOUR_S: u32 = 3_600;

/// What comes in, leaves or stays in tanks: all that a night flow is made of.
pub fn flows(meters: &[Meter]) -> Vec<&Meter> {
    meters.iter().filter(|meter| meter.role != Role::Customer).collect()
}

/// The steps in which the flows of a zone are read together; `None`: one of them says totals that do not fill an hour.
pub fn step_s(flows: &[&Meter]) -> Option<u32> {
    let widest = flows.iter().map(|meter| balance::step_s(&meter.series)).max().unwrap_or(HOUR_S);
    Some(widest).filter(|step| HOUR_S.is_multiple_of(*step))
}

/// The nights of the local days that a period touches, which begins [`BACK`] before the first that is asked for. `told`
/// hears of each meter.
///
/// # Errors
/// Totals are too wide for a night flow, the days are too many, or the database cannot be read.
pub async fn nights(
    client: &Client,
    registry: &RwLock<Registry>,
    flows: &[&Meter],
    period: &Range<Timestamp>,
    zone: &TimeZone,
    rule: NightRule,
    mut told: impl FnMut(),
) -> Result<Vec<Night>, StoreError> {
    let step = step_s(flows).ok_or_else(|| {
        StoreError::Unfit(
            "an inlet, an export or a tank says totals that do not fill an hour: a night flow needs them at least hourly".into(),
        )
    })?;
    let days = period.start.into()..period.end.into();
    let steps = Steps::of_days(&days, step, zone)?;
    let mut all = Vec::with_capacity(flows.len());
    let take = |_: &Meter, amounts: Amounts| {
        all.push(amounts);
        told();
    };
    balance::amounts(client, registry, flows, &steps, zone::observed, take).await?;
    Ok(zone::nights(&steps, &zone::net_inflow(&steps, &all), rule))
}

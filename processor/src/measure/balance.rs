//! What the meters of a zone counted, step by step, and its daily balances: from the tables.

use std::{ops::Range, sync::RwLock};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio_postgres::Client;

use super::{
    Settled, Steps, history,
    zone::{self, Amounts, Ledger, Meter},
};
use crate::{
    model::{Kind, Series},
    registry::Registry,
    store::StoreError,
};

/// How far before a period days are looked at for an estimate: a register that stuck is known by how it counted before.
pub const BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

const QUARTER_S: u32 = 900;
const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 86_400;

/// The steps in which a meter is read: a quarter of an hour, or what its own totals speak of. A register is read between
/// its readings.
pub fn step_s(series: &Series) -> u32 {
    let interval = u32::try_from(series.arithmetic.interval / 1_000_000).unwrap_or(DAY_S);
    let fits = |step: &u32| interval == 0 || step.is_multiple_of(interval);
    [QUARTER_S, HOUR_S, DAY_S].into_iter().find(fits).unwrap_or(interval)
}

/// What some meters counted in whole local days, each in steps of `step_s`; `take` hears of one after the other.
///
/// # Errors
/// A reading speaks of more than a step, or the database cannot be read.
pub async fn amounts(
    client: &Client,
    registry: &RwLock<Registry>,
    meters: &[&Meter],
    steps: &Steps,
    of: fn(&Settled, Kind) -> Option<f64>,
    mut take: impl FnMut(&Meter, Amounts),
) -> Result<(), StoreError> {
    let series: Vec<Series> = meters.iter().map(|meter| meter.series.clone()).collect();
    steps.check(&series)?;
    let heard = |at: usize, buckets: Vec<Settled>| {
        let Meter { role, valid, series, .. } = meters[at];
        let of_step = buckets.iter().map(|bucket| of(bucket, series.kind)).collect();
        take(meters[at], Amounts { role: *role, valid: valid.clone(), of_step });
    };
    history::read(client, registry, &series, steps, heard).await
}

/// The balances of the local days that a period touches, which begins [`BACK`] before the first that is asked for. `told`
/// hears of each meter.
///
/// # Errors
/// The days are too many, or the database cannot be read.
pub async fn ledger(
    client: &Client,
    registry: &RwLock<Registry>,
    meters: &[Meter],
    period: &Range<Timestamp>,
    zone: &TimeZone,
    mut told: impl FnMut(),
) -> Result<Ledger, StoreError> {
    let mut widths: Vec<u32> = meters.iter().map(|meter| step_s(&meter.series)).collect();
    widths.sort_unstable();
    widths.dedup();
    let mut ledger = Ledger::default();
    for width in widths {
        let steps = Steps::of_days(&(period.start.into()..period.end.into()), width, zone)?;
        let group: Vec<&Meter> = meters.iter().filter(|meter| step_s(&meter.series) == width).collect();
        let take = |_: &Meter, amounts: Amounts| {
            ledger.add(&steps, &amounts);
            told();
        };
        amounts(client, registry, &group, &steps, zone::amount, take).await?;
    }
    Ok(ledger)
}

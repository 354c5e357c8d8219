//! `balance`: the water of one zone on one local day, as `screenline utility balance` says it.

use super::{
    dataset::{Column, ENDS, TIME, UNIT, column},
    period,
    rows::{Cell, Rows},
    scan::Asked,
    source::Session,
    zone,
};
use crate::{error::Result, tables::Kind};
use processor::measure::{
    balance::{self, BACK},
    utility::Balance,
    zone::{Day, Role},
};
use std::collections::BTreeMap;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    column("zone", Kind::Text, "", "with an inlet and a customer that count water"),
    UNIT,
    column("inflow", Kind::Float, "", "what came in; null where an inlet, an export or a tank was silent"),
    column("exported", Kind::Float, "", "what left for other zones"),
    column("stored", Kind::Float, "", "what tanks took up; negative where they emptied"),
    column("metered", Kind::Float, "", "what customers' meters counted"),
    column("loss", Kind::Float, "", "inflow - exported - stored - metered"),
    column("nrw_percent", Kind::Float, "%", "non-revenue water: loss of inflow - exported - stored"),
    column(
        "imputed",
        Kind::Float,
        "",
        "what silent or stuck meters of customers would have counted: an estimate",
    ),
    column("nrw_percent_imputed", Kind::Float, "%", "the same with what was imputed"),
    column("unknown", Kind::Int64, "1", "steps of customers' meters of which nothing is known"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let Some(whole) = period::since(BACK, &steps)? else { return Ok(()) };
    let (client, registry) = (session.client()?, session.registry());
    for zone in &zone::kept(asked, session, &steps).await? {
        let needed = [Role::Inlet, Role::Customer];
        let Some(meters) = zone::meters(session, zone, &whole, &needed).await? else { continue };
        let ledger = balance::ledger(client, registry, &meters, &whole, &session.zone, || ()).await?;
        let days: BTreeMap<_, _> = ledger.days().map(|day| (day.day, day)).collect();
        for (at, (date, _)) in steps.days().iter().enumerate() {
            if let Some(day) = days.get(date) {
                let mut row = vec![steps.spans[at].start.into(), steps.spans[at].end.into()];
                row.extend(of(zone, &meters[0].series.unit, day));
                rows.put(row).await?;
            }
        }
    }
    Ok(())
}

fn of(zone: &str, unit: &str, day: &Day) -> [Cell; 11] {
    let balance = day.balance();
    let of = |number: fn(&Balance) -> f64| Cell::from(balance.as_ref().map(number));
    [
        zone.into(),
        unit.into(),
        of(|balance| balance.inflow),
        of(|balance| balance.export),
        of(|balance| balance.stored),
        of(|balance| balance.metered),
        of(Balance::loss),
        balance.and_then(|balance| balance.non_revenue()).into(),
        balance.map(|_| day.imputed).into(),
        day.completed().and_then(|balance| balance.non_revenue()).into(),
        (day.unknown as i64).into(),
    ]
}

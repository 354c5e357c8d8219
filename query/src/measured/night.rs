//! `night`: the minimum night flow of one zone on one local day, as `screenline utility nights` says it.

use super::{
    dataset::{Column, ENDS, TIME, UNIT, column},
    period,
    rows::Rows,
    scan::Asked,
    source::Session,
    zone,
};
use crate::{error::Result, tables::Kind};
use processor::measure::{
    night::{self, BACK},
    utility::{Night, NightRule},
    zone::Role,
};
use std::collections::BTreeMap;

pub const COLUMNS: &[Column] = &[
    TIME,
    ENDS,
    column(
        "zone",
        Kind::Text,
        "",
        "with an inlet, and with inlets, exports and tanks that count at least hourly",
    ),
    UNIT,
    column(
        "flow",
        Kind::Float,
        "",
        "lowest hour of the net inflow from 02:00 to 04:00; null where a step is missing",
    ),
    column(
        "baseline",
        Kind::Float,
        "",
        "median of up to 28 nights before without an alarm; null of fewer than three",
    ),
    column(
        "alarm_limit",
        Kind::Float,
        "",
        "baseline and three median deviations, or a tenth, whichever is more",
    ),
    column("alarm", Kind::Bool, "", "whether the flow is above the limit"),
];

pub async fn read(asked: &Asked, session: &Session, rows: &mut Rows) -> Result<()> {
    let steps = asked.steps(&session.zone)?;
    let Some(whole) = period::since(BACK, &steps)? else { return Ok(()) };
    let (client, registry, rule) = (session.client()?, session.registry(), NightRule::default());
    for zone in &zone::kept(asked, session, &steps).await? {
        let Some(meters) = zone::meters(session, zone, &whole, &[Role::Inlet]).await? else { continue };
        let flows = night::flows(&meters);
        if night::step_s(&flows).is_none() {
            continue;
        }
        let nights = night::nights(client, registry, &flows, &whole, &session.zone, rule, || ()).await?;
        let nights: BTreeMap<_, _> = nights.into_iter().map(|night| (night.night, night)).collect();
        let unit = format!("{}/h", meters[0].series.unit);
        for (span, (date, _)) in steps.spans.iter().zip(steps.days()) {
            if let Some(Night { flow, baseline, limit, is_alarm, .. }) = nights.get(date).copied() {
                let (zone, unit) = (zone.as_str(), unit.as_str());
                rows.put(vec![
                    span.start.into(),
                    span.end.into(),
                    zone.into(),
                    unit.into(),
                    flow.into(),
                    baseline.into(),
                    limit.into(),
                    is_alarm.into(),
                ])
                .await?;
            }
        }
    }
    Ok(())
}

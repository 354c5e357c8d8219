//! `GET /city`: what a page has to know of the city before it asks for anything.

use crate::{
    caller::{Caller, Door},
    engine::Engine,
    identity::{Identity, Via},
    problem::Problem,
};
use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use serde_json::{Value, json};
use std::sync::Arc;

/// Readings before it are rejected always.
const FIRST_YEAR: i16 = 2000;
/// Somebody may ask for a day to come.
const YEARS_AHEAD: i32 = 2;

/// # Errors
/// The caller has no role here.
pub async fn city(
    State(engine): State<Arc<Engine>>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, Problem> {
    let caller = Caller::new(identity, Door::Export);
    engine.rules(&caller)?;
    let (now, zone) = (Timestamp::now(), engine.zone());
    let page = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now.to_string(),
        "time_zone": zone.iana_name(),
        "clocks": clocks(zone, now),
        "complete_until": engine.complete_until().await.ok().map(|until| until.to_string()),
        "role": &*caller.identity.role,
        "name": (caller.identity.via != Via::Open).then_some(&*caller.identity.name),
    });
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], page.to_string())
        .into_response())
}

/// Every change of the clocks as `[from, seconds east of Greenwich, abbreviation]`, so that a page needs no time-zone
/// database of its own: two can disagree.
fn clocks(zone: &TimeZone, now: Timestamp) -> Vec<Value> {
    let first =
        jiff::civil::date(FIRST_YEAR, 1, 1).to_zoned(TimeZone::UTC).map_or(now, |day| day.timestamp());
    let last = Zoned::new(now, TimeZone::UTC).saturating_add(YEARS_AHEAD.years()).timestamp();
    let info = zone.to_offset_info(first);
    let begin = json!([first.to_string(), info.offset().seconds(), info.abbreviation()]);
    let changes = zone.following(first).take_while(|change| change.timestamp() <= last);
    let change = |change: jiff::tz::TimeZoneTransition<'_>| {
        json!([change.timestamp().to_string(), change.offset().seconds(), change.abbreviation()])
    };
    std::iter::once(begin).chain(changes.map(change)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_change_when_the_database_of_zones_says() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let berlin = clocks(&TimeZone::get("Europe/Berlin").unwrap(), now);
        assert_eq!(berlin[0], json!(["2000-01-01T00:00:00Z", 3600, "CET"]));
        assert!(berlin.contains(&json!(["2026-10-25T01:00:00Z", 3600, "CET"])));
        assert!(berlin.contains(&json!(["2027-03-28T01:00:00Z", 7200, "CEST"])));
        assert_eq!(clocks(&TimeZone::UTC, now).len(), 1);
    }
}

//! A city that grows older than it keeps its readings.

use anyhow::{Context, ensure};
use jiff::{Timestamp, ToSpan};

use crate::{City, Plan, Storage, command, tables::Snapshot};

pub const ROLLUPS: [&str; 3] = ["rollup_5m", "rollup_1h", "rollup_1d"];

/// A SenML record of one metric in metres, on the topic of its sensor.
pub fn senml(sensor: &str, metric: &str, at: Timestamp, value: f64) -> (String, Vec<u8>) {
    let second = at.as_second();
    let pack = format!(r#"[{{"bn":"{sensor}:","bt":{second},"n":"{metric}","u":"m","v":{value}}}]"#);
    (format!("city/senml/{sensor}"), pack.into_bytes())
}

/// Noon in UTC, so many days ago: not near any border of a day.
///
/// # Errors
/// When the clock is far off.
pub fn noon(days_ago: i64) -> anyhow::Result<Timestamp> {
    let seconds = Timestamp::now().as_second().div_euclid(86_400) * 86_400 + 43_200;
    Timestamp::from_second(seconds - days_ago * 86_400).context("a day that long ago")
}

/// A quarter of an hour of readings, one a minute, with sums that depend on their order.
///
/// # Errors
/// When the clock is far off.
pub fn quarter(sensor: &str, metric: &str, days_ago: i64) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let noon = noon(days_ago)?;
    Ok((0..15)
        .map(|i| senml(sensor, metric, noon + (60 * i).seconds(), 0.1 + (i * i) as f64 * 1e3))
        .collect())
}

/// Readings are dropped when they are old, and what was rolled of them stays, whatever comes later: the floor holds also
/// when the city is told to keep its readings longer again. `later` makes the plan of the city that drops.
///
/// # Errors
/// Says what was lost, or what changed.
pub async fn history_outlives_its_readings(
    storage: Storage,
    later: impl Fn(Plan) -> Plan,
) -> anyhow::Result<()> {
    let city = City::up(storage).await?;
    for days_ago in [60, 5] {
        city.publish_all(quarter("weir", "level", days_ago)?).await?;
    }
    city.settled().await?;
    let before = Snapshot::read(city.database()).await?;
    let rolled = |snapshot: &Snapshot| ROLLUPS.map(|table| snapshot.rows(table).to_vec());
    ensure!(before.rows("rollup_5m").len() == 6, "two quarters of an hour are six buckets");
    let workplace = city.stop()?;

    let short = ["--lateness-horizon", "20d", "--keep", "readings=30d,events=30d,conflicts=30d"];
    let city = later(Plan::by_default(storage).args(&short)).on(workplace).start().await?;
    let readings = "SELECT count(*) FROM reading";
    city.eventually("old readings to be dropped", async || {
        let left: i64 = city.database().query_one(readings, &[]).await?.get(0);
        Ok((left <= 15).then_some(()))
    })
    .await?;
    let left: i64 = city.database().query_one(readings, &[]).await?.get(0);
    ensure!(left == 15, "{left} readings are left of the 15 that are young enough");
    let after = Snapshot::read(city.database()).await?;
    ensure!(rolled(&after) == rolled(&before), "rollups changed when their readings were dropped");
    let workplace = city.stop()?;

    // Longer again: the readings do not come back, and a late one must not make history of itself alone.
    let city = later(Plan::by_default(storage)).on(workplace).start().await?;
    let late = senml("weir", "level", noon(60)? + 30.seconds(), 7.0);
    city.publish_all(vec![late, senml("weir", "level", noon(5)? + 30.seconds(), 7.0)]).await?;
    city.settled().await?;
    let at_last = Snapshot::read(city.database()).await?;
    let old = |snapshot: &Snapshot| -> anyhow::Result<Vec<String>> {
        let day = noon(60)?.strftime("%Y-%m-%d").to_string();
        Ok(ROLLUPS
            .iter()
            .flat_map(|table| snapshot.rows(table))
            .filter(|row| row.contains(&day))
            .cloned()
            .collect())
    };
    ensure!(old(&at_last)? == old(&before)?, "a late reading changed history whose readings were dropped");
    ensure!(
        at_last.rows("rollup_5m") != before.rows("rollup_5m"),
        "a late reading above the floor changed nothing"
    );
    let refused = "SELECT count(*) FROM rejection WHERE reason = 'too_late'";
    let refused: i64 = city.database().query_one(refused, &[]).await?.get(0);
    ensure!(refused == 1, "{refused} readings were refused as too late");
    let floor = "SELECT raw_floor <= now() - interval '30 days' AND now() - interval '31 days 2 hours' < raw_floor FROM city";
    let floor: Option<bool> = city.database().query_one(floor, &[]).await?.get(0);
    ensure!(floor == Some(true), "the floor is not where the readings end");
    let audit = command::json(city.workplace(), &["audit", "--all"])?;
    ensure!(audit["compared"]["rollup_5m"] == 3, "above the floor there are three buckets: {audit}");
    city.stop()?;
    Ok(())
}

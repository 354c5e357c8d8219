use tokio_postgres::Client;

use super::Registry;
use crate::{
    faults,
    model::{First, Proposal, SensorId, plausible},
    store::StoreError,
};

/// Takes proposed series in, their sensors marked unreviewed or put into quarantine, in a transaction of its own: it must
/// not hold up other writers as long as a batch does.
///
/// # Errors
/// The database cannot be written.
pub async fn register(
    registry: &std::sync::RwLock<Registry>,
    client: &mut Client,
    proposals: &[Proposal],
) -> Result<(), StoreError> {
    let sensors: Vec<&str> = proposals.iter().map(|p| p.sensor.as_str()).collect();
    let metrics: Vec<&str> = proposals.iter().map(|p| p.metric.as_str()).collect();
    let units: Vec<&str> = proposals.iter().map(|p| &*p.unit).collect();
    let kinds: Vec<&str> = proposals.iter().map(|p| p.kind.as_str()).collect();
    let intervals: Vec<Option<i32>> = proposals.iter().map(|p| p.interval_s.map(|s| s as i32)).collect();
    let range = |p: &Proposal| plausible::range(p.metric.as_str(), p.kind, p.interval_s);
    let (least, most): (Vec<Option<f64>>, Vec<Option<f64>>) = proposals.iter().map(range).unzip();
    let transaction = client.transaction().await?;
    transaction.execute(super::SERIES_LOCK, &[]).await?;
    let first = |proposal: &Proposal| Some((proposal.sensor.clone(), proposal.first.clone()?));
    let first: Vec<(SensorId, First)> = proposals.iter().filter_map(first).collect();
    let newcomers: Vec<&str> = first.iter().map(|(sensor, _)| sensor.as_str()).collect();
    let topics: Vec<&str> = first.iter().map(|(_, first)| first.topic.as_str()).collect();
    let payloads: Vec<&[u8]> = first.iter().map(|(_, first)| first.payload.as_ref()).collect();
    let lengths: Vec<i64> = first.iter().map(|(_, first)| first.payload_bytes as i64).collect();
    let seen: Vec<_> = first.iter().map(|(_, first)| first.received_at.timestamp()).collect();
    // Who was registered meanwhile is no newcomer any more.
    transaction
        .execute(
            "WITH fresh AS (
                 INSERT INTO sensor (id)
                 SELECT DISTINCT id FROM unnest($1::text[]) AS new (id)
                 WHERE NOT EXISTS (SELECT FROM sensor WHERE sensor.id = new.id)
                 ORDER BY id
                 ON CONFLICT DO NOTHING
                 RETURNING id
             )
             INSERT INTO quarantine (sensor, topic, payload, payload_bytes, seen_at)
             SELECT DISTINCT ON (new.sensor) new.*
             FROM unnest($2::text[], $3::text[], $4::bytea[], $5::int8[], $6::timestamptz[])
                 AS new (sensor, topic, payload, payload_bytes, seen_at)
             WHERE new.sensor IN (SELECT id FROM fresh)
             ORDER BY new.sensor, new.seen_at",
            &[&sensors, &newcomers, &topics, &payloads, &lengths, &seen],
        )
        .await?;
    // The anti-join first: ON CONFLICT alone would burn an id for every series that is there already.
    transaction
        .execute(
            "INSERT INTO series (sensor, metric, unit, kind, interval_s, min, max)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int4[], $6::float8[], $7::float8[])
                 AS new (sensor, metric, unit, kind, interval_s, min, max)
             WHERE NOT EXISTS (SELECT FROM series s WHERE s.sensor = new.sensor AND s.metric = new.metric)
             ORDER BY sensor, metric
             ON CONFLICT DO NOTHING",
            &[&sensors, &metrics, &units, &kinds, &intervals, &least, &most],
        )
        .await?;
    transaction.commit().await?;
    faults::point("registry.registered").await?;
    // All that is new, not only ours: what another process registered before has lower ids, and must not be passed over.
    Registry::refresh(registry, client).await
}

use tokio_postgres::Client;

use super::Registry;
use crate::{faults, model::Proposal, store::StoreError};

/// Takes proposed series in, their sensors marked unreviewed, in a transaction of its own: it must not hold up
/// other writers as long as a batch does.
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
    let transaction = client.transaction().await?;
    transaction.execute(super::SERIES_LOCK, &[]).await?;
    transaction
        .execute(
            "INSERT INTO sensor (id)
             SELECT DISTINCT id FROM unnest($1::text[]) AS new (id)
             WHERE NOT EXISTS (SELECT FROM sensor WHERE sensor.id = new.id)
             ORDER BY id
             ON CONFLICT DO NOTHING",
            &[&sensors],
        )
        .await?;
    // The anti-join first: ON CONFLICT alone would burn an id for every series that is there already.
    transaction
        .execute(
            "INSERT INTO series (sensor, metric, unit, kind, interval_s)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int4[])
                 AS new (sensor, metric, unit, kind, interval_s)
             WHERE NOT EXISTS (SELECT FROM series s WHERE s.sensor = new.sensor AND s.metric = new.metric)
             ORDER BY sensor, metric
             ON CONFLICT DO NOTHING",
            &[&sensors, &metrics, &units, &kinds, &intervals],
        )
        .await?;
    transaction.commit().await?;
    faults::point("registry.registered").await?;
    // All that is new, not only ours: what another process registered before has lower ids, and must not be passed over.
    Registry::refresh(registry, client).await
}

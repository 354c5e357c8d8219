use serde::Deserialize;
use tokio_postgres::Client;

use crate::{
    model::{Kind, MetricName, SensorId},
    store::StoreError,
};

/// How many rows an import holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    pub sensors: usize,
    pub series: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{file} line {line}: {message}")]
    Row { file: &'static str, line: u64, message: String },
    /// Its rollups, and what its values mean, would change under what is stored.
    #[error(
        "{metric} of {sensor} has readings of another kind, unit or interval: import it as it is stored, or under another name"
    )]
    Recast { sensor: String, metric: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SensorRow {
    id: String,
    kind: Option<String>,
    owner: Option<String>,
    lon: Option<f64>,
    lat: Option<f64>,
    segment: Option<String>,
    direction: Option<String>,
    lane: Option<i32>,
    offset_m: Option<f64>,
    zone: Option<String>,
    role: Option<String>,
    privacy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesRow {
    sensor: String,
    metric: String,
    unit: String,
    kind: String,
    interval_s: Option<i32>,
    modulus: Option<f64>,
    resolution: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    max_rate: Option<f64>,
    max_gap_s: Option<i32>,
}

/// Writes sensors and series from CSV with a header, columns named as the tables' are; known rows are replaced.
/// All or nothing, in one transaction; the sensors count as reviewed.
///
/// # Errors
/// The file, the line and what is wrong there; or the database cannot be written.
pub async fn import(
    client: &mut Client,
    sensors_csv: &str,
    series_csv: &str,
) -> Result<Imported, ImportError> {
    let sensors: Vec<SensorRow> =
        rows("sensors", sensors_csv, |row: &SensorRow| row.id.parse::<SensorId>().map(|_| ()))?;
    let series: Vec<SeriesRow> = rows("series", series_csv, |row: &SeriesRow| {
        row.sensor.parse::<SensorId>()?;
        row.metric.parse::<MetricName>()?;
        row.kind.parse::<Kind>().map(|_| ())
    })?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    transaction.execute(super::SERIES_LOCK, &[]).await.map_err(StoreError::from)?;
    let put_sensor = transaction
        .prepare(
            "INSERT INTO sensor (id, kind, owner, lon, lat, segment, direction, lane, offset_m, zone, role, privacy, reviewed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12, 'personal'), true)
             ON CONFLICT (id, valid_from) DO UPDATE SET
                 kind = excluded.kind, owner = excluded.owner, lon = excluded.lon, lat = excluded.lat,
                 segment = excluded.segment, direction = excluded.direction, lane = excluded.lane,
                 offset_m = excluded.offset_m, zone = excluded.zone, role = excluded.role,
                 privacy = excluded.privacy, reviewed = true",
        )
        .await
        .map_err(StoreError::from)?;
    for row in &sensors {
        transaction
            .execute(
                &put_sensor,
                &[
                    &row.id,
                    &row.kind,
                    &row.owner,
                    &row.lon,
                    &row.lat,
                    &row.segment,
                    &row.direction,
                    &row.lane,
                    &row.offset_m,
                    &row.zone,
                    &row.role,
                    &row.privacy,
                ],
            )
            .await
            .map_err(StoreError::from)?;
    }
    let put_series = transaction
        .prepare(
            "INSERT INTO series (sensor, metric, unit, kind, interval_s, modulus, resolution, min, max, max_rate, max_gap_s)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (sensor, metric) DO UPDATE SET
                 unit = excluded.unit, kind = excluded.kind, interval_s = excluded.interval_s,
                 modulus = excluded.modulus, resolution = excluded.resolution, min = excluded.min,
                 max = excluded.max, max_rate = excluded.max_rate, max_gap_s = excluded.max_gap_s",
        )
        .await
        .map_err(StoreError::from)?;
    let recast = transaction
        .prepare(
            "SELECT FROM series s
             WHERE sensor = $1 AND metric = $2 AND (kind, interval_s, unit) IS DISTINCT FROM ($3, $4, $5)
                 AND (EXISTS (SELECT FROM reading WHERE series_id = s.id) OR EXISTS (SELECT FROM event WHERE series_id = s.id))",
        )
        .await
        .map_err(StoreError::from)?;
    for row in &series {
        let wanted: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&row.sensor, &row.metric, &row.kind, &row.interval_s, &row.unit];
        if transaction.query_opt(&recast, &wanted).await.map_err(StoreError::from)?.is_some() {
            return Err(ImportError::Recast { sensor: row.sensor.clone(), metric: row.metric.clone() });
        }
        transaction
            .execute(
                &put_series,
                &[
                    &row.sensor,
                    &row.metric,
                    &row.unit,
                    &row.kind,
                    &row.interval_s,
                    &row.modulus,
                    &row.resolution,
                    &row.min,
                    &row.max,
                    &row.max_rate,
                    &row.max_gap_s,
                ],
            )
            .await
            .map_err(StoreError::from)?;
    }
    let grow = "UPDATE city SET registry_version = registry_version + 1";
    transaction.execute(grow, &[]).await.map_err(StoreError::from)?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Imported { sensors: sensors.len(), series: series.len() })
}

fn rows<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    text: &str,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, ImportError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows = Vec::new();
    let mut records = reader.deserialize::<T>();
    while let Some(record) = records.next() {
        let line = records.reader().position().line();
        let wrong = |message| ImportError::Row { file, line, message };
        let row = record.map_err(|error| wrong(error.to_string()))?;
        check(&row).map_err(wrong)?;
        rows.push(row);
    }
    Ok(rows)
}

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

impl SensorRow {
    fn check(&self) -> Result<(), String> {
        self.id.parse::<SensorId>().map(|_| ())
    }
}

impl SeriesRow {
    fn check(&self) -> Result<(), String> {
        self.sensor.parse::<SensorId>()?;
        self.metric.parse::<MetricName>()?;
        self.kind.parse::<Kind>().map(|_| ())
    }
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
    let sensors: Vec<SensorRow> = rows("sensors", sensors_csv, SensorRow::check)?;
    let series: Vec<SeriesRow> = rows("series", series_csv, SeriesRow::check)?;
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
    let wrong = |line, message| ImportError::Row { file, line, message };
    let unread =
        |error: csv::Error| wrong(error.position().map_or(1, csv::Position::line), error.to_string());
    let columns = reader.headers().map_err(unread)?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unread)?;
        let row: T = record.deserialize(Some(&columns)).map_err(unread)?;
        let line = record.position().map_or(1, csv::Position::line);
        check(&row).map_err(|message| wrong(line, message))?;
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERIES: &str = "sensor,metric,unit,kind,interval_s,modulus,resolution,min,max,max_rate,max_gap_s\n\
        WM-101,water.volume.total,m3,counter,,99999.999,0.001,,,,7200\n\
        d1,traffic.speed.mean,km/h,rate,60,,,0,200,,\n";

    fn sensors(text: &str) -> Result<Vec<SensorRow>, ImportError> {
        rows("sensors", text, SensorRow::check)
    }

    fn series(text: &str) -> Result<Vec<SeriesRow>, ImportError> {
        rows("series", text, SeriesRow::check)
    }

    /// Names that are taken may name; what is refused is refused with its place.
    fn check(text: &str) -> Result<(), TestCaseError> {
        match sensors(text) {
            Ok(rows) => prop_assert!(rows.iter().all(|row| SensorId::allows(&row.id))),
            Err(error) => prop_assert!(error.to_string().starts_with("sensors line "), "{}", error),
        }
        match series(text) {
            Ok(rows) => {
                prop_assert!(
                    rows.iter()
                        .all(|row| MetricName::allows(&row.metric) && row.kind.parse::<Kind>().is_ok())
                );
            }
            Err(error) => prop_assert!(error.to_string().starts_with("series line "), "{}", error),
        }
        Ok(())
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        assert_eq!(series(SERIES).unwrap().len(), 2);
        assert_eq!(sensors("lat,id\n48.1,a\n").unwrap()[0].lat, Some(48.1));
        let error = |text| series(text).map(|rows| rows.len()).unwrap_err().to_string();
        assert!(
            error("sensor,metric,unit,kind\na,m,1,gauge\na b,m,1,gauge\n")
                .starts_with("series line 3: \"a b\"")
        );
        assert!(error("sensor,metric,unit,kind,color\na,m,1,gauge,red\n").starts_with("series line 2: "));
        assert!(error("sensor,metric,unit,kind\na,m,1\n").starts_with("series line 2: "));
    }

    proptest! {
        #[test]
        fn any_text_is_rows_or_refused(text in any::<String>(), table in "[a-c,\"\r\n;]{0,60}") {
            check(&text)?;
            check(&table)?;
            check(&format!("id,lat\n{table}"))?;
        }

        #[test]
        fn spoiled_rows_are_rows_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), to in any::<prop::sample::Index>()) {
            let mut bytes = SERIES.as_bytes().to_vec();
            *at.get_mut(&mut bytes) = byte;
            check(&String::from_utf8_lossy(&bytes))?;
            check(&SERIES[..to.index(SERIES.len())])?;
        }
    }
}

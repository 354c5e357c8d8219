use std::{collections::HashMap, pin::pin};

use futures::TryStreamExt;
use tokio_postgres::{Client, Row, types::ToSql};

use super::{Gone, Registry};
use crate::{
    model::{Arithmetic, Calibration, Series, SeriesId, Time, View, arithmetic::Meter},
    store::StoreError,
};

const SELECT: &str =
    "SELECT id, sensor, metric, unit, kind, interval_s, min, max, modulus, resolution, max_rate, max_gap_s,
    EXISTS (SELECT FROM quarantine q WHERE q.sensor = series.sensor) AS quarantined FROM series";

const NOTHING: [&(dyn ToSql + Sync); 0] = [];

/// Calibrations by series, those of each in order of time.
pub type Calibrations = HashMap<SeriesId, Vec<Calibration>>;

/// What holds from the beginning has no time in the table.
pub(super) const BEGINNING: Time = Time::from_micros(i64::MIN);

/// Every calibration of the city.
///
/// # Errors
/// The database cannot be read.
pub async fn calibrations(client: &Client) -> Result<Calibrations, tokio_postgres::Error> {
    let select = "SELECT series_id, CASE WHEN isfinite(valid_from) THEN valid_from END, scale, \"offset\"
                  FROM calibration ORDER BY valid_from";
    let mut all = Calibrations::new();
    for row in client.query(select, &[]).await? {
        let from = row.get::<_, Option<jiff::Timestamp>>(1).map_or(BEGINNING, Time::from);
        let calibration = Calibration { from, scale: row.get(2), offset: row.get(3) };
        all.entry(SeriesId(row.get(0))).or_default().push(calibration);
    }
    Ok(all)
}

impl Registry {
    /// Takes in what was registered since the last call; everything again after an import, a drop or an erasure.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn refresh(registry: &std::sync::RwLock<Registry>, client: &Client) -> Result<(), StoreError> {
        let (version, last_id) = {
            let registry = read(registry);
            (registry.version, registry.last_id)
        };
        let city = client.query_opt("SELECT registry_version FROM city", &[]).await?;
        let now: i64 = city.map_or(0, |row| row.get(0));
        if now == version {
            // What is new since the last import has no calibration.
            let rows = client.query(&format!("{SELECT} WHERE id > $1"), &[&last_id]).await?;
            if !rows.is_empty() {
                let mut registry = write(registry);
                rows.iter().for_each(|row| registry.add_row(row, &mut Calibrations::new()));
            }
            return Ok(());
        }
        let gone = Gone::load(client).await?;
        let sensors = "SELECT DISTINCT id, EXISTS (SELECT FROM quarantine q WHERE q.sensor = id) FROM sensor";
        let mut calibrations = calibrations(client).await?;
        let mut fresh = Registry { gone, version: now, ..Registry::new(read(registry).admission) };
        // Row by row: a million of them would be as large as the registry.
        let mut rows = pin!(client.query_raw(sensors, NOTHING).await?);
        while let Some(row) = rows.try_next().await? {
            fresh.add(row.get(0), row.get(1));
        }
        let mut rows = pin!(client.query_raw(SELECT, NOTHING).await?);
        while let Some(row) = rows.try_next().await? {
            fresh.add_row(&row, &mut calibrations);
        }
        let mut known = write(registry);
        // Another task may have loaded later than we. A series registered meanwhile has a higher id: the next call
        // takes it in.
        if (known.version, known.last_id) < (fresh.version, fresh.last_id) {
            *known = fresh;
        }
        Ok(())
    }

    fn add_row(&mut self, row: &Row, calibrations: &mut Calibrations) {
        let kind: &str = row.get("kind");
        let Ok(kind) = kind.parse() else { return }; // the table's CHECK allows no other
        let id = SeriesId(row.get("id"));
        let interval_s = row.get::<_, Option<i32>>("interval_s").map(i32::unsigned_abs);
        let mut series = Series::new(id, kind, row.get("unit"), interval_s);
        series.view = View {
            min: row.get("min"),
            max: row.get("max"),
            calibrations: calibrations.remove(&id).unwrap_or_default().into(),
        };
        let meter = Meter {
            modulus: row.get("modulus"),
            resolution: row.get("resolution"),
            max_rate: row.get("max_rate"),
        };
        let max_gap_s = row.get::<_, Option<i32>>("max_gap_s").map(i32::unsigned_abs);
        series.arithmetic = Arithmetic::new(kind, interval_s, max_gap_s, meter);
        let sensor = row.get("sensor");
        self.add(sensor, row.get("quarantined"));
        self.add_series(sensor, row.get("metric"), series);
    }
}

/// A poisoned lock means that a thread panicked while it held it; the maps are whole between two calls.
pub fn read(registry: &std::sync::RwLock<Registry>) -> std::sync::RwLockReadGuard<'_, Registry> {
    registry.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub fn write(registry: &std::sync::RwLock<Registry>) -> std::sync::RwLockWriteGuard<'_, Registry> {
    registry.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

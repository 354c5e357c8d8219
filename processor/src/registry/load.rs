use tokio_postgres::{Client, Row};

use super::{Gone, Registry};
use crate::{
    model::{Series, SeriesId},
    store::StoreError,
};

const COLUMNS: &str = "id, sensor, metric, unit, kind, interval_s, min, max";

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
            let query = format!("SELECT {COLUMNS} FROM series WHERE id > $1");
            let rows = client.query(&query, &[&last_id]).await?;
            if !rows.is_empty() {
                write(registry).add_rows(&rows);
            }
            return Ok(());
        }
        let gone = Gone::load(client).await?;
        let sensors = client.query("SELECT DISTINCT id FROM sensor", &[]).await?;
        let series = client.query(&format!("SELECT {COLUMNS} FROM series"), &[]).await?;
        let mut fresh = Registry { gone, version: now, ..Registry::new(read(registry).admission) };
        for row in &sensors {
            fresh.add_sensor(row.get(0));
        }
        fresh.add_rows(&series);
        let mut known = write(registry);
        // Another task may have loaded later than we. A series registered meanwhile has a higher id: the next call
        // takes it in.
        if (known.version, known.last_id) < (fresh.version, fresh.last_id) {
            *known = fresh;
        }
        Ok(())
    }

    pub(crate) fn add_rows(&mut self, rows: &[Row]) {
        for row in rows {
            let kind: &str = row.get("kind");
            let Ok(kind) = kind.parse() else { continue }; // the table's CHECK allows no other
            let series = Series {
                id: SeriesId(row.get("id")),
                kind,
                unit: row.get::<_, &str>("unit").into(),
                interval_s: row.get::<_, Option<i32>>("interval_s").map(|seconds| seconds.unsigned_abs()),
                min: row.get("min"),
                max: row.get("max"),
                part: 0, // set by the registry, from the sensor
            };
            self.add_series(row.get("sensor"), row.get("metric"), series);
        }
    }
}

/// A poisoned lock means that a thread panicked while it held it; the maps are whole between two calls.
pub fn read(registry: &std::sync::RwLock<Registry>) -> std::sync::RwLockReadGuard<'_, Registry> {
    registry.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub fn write(registry: &std::sync::RwLock<Registry>) -> std::sync::RwLockWriteGuard<'_, Registry> {
    registry.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! Which sensors are asked for: by name, or by their place in the registry.

use std::{ops::Range, sync::RwLock};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use processor::{
    model::{MetricName, SensorId, Series},
    registry::{self, Registry},
};
use tokio_postgres::Client;

#[derive(Debug, Clone, Args)]
pub struct SelectionArgs {
    /// What is measured
    pub metric: MetricName,
    /// Sensors, of which all together are one: the lanes of a road, the crossings of a river
    #[arg(value_name = "SENSOR", required_unless_present_any = ["segment", "zone"])]
    sensors: Vec<SensorId>,
    /// All sensors of a segment that measure it
    #[arg(long, value_name = "ID", conflicts_with = "sensors")]
    segment: Option<String>,
    /// Of these, the ones of a direction
    #[arg(long, value_name = "TEXT", requires = "segment")]
    direction: Option<String>,
    /// All sensors of a zone, and of the zones in it, that measure it
    #[arg(long, value_name = "ID", conflicts_with_all = ["sensors", "segment"])]
    zone: Option<String>,
}

/// A series that is asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Chosen {
    pub sensor: String,
    /// As the registry says.
    pub direction: Option<String>,
    pub series: Series,
}

impl SelectionArgs {
    /// The series that are asked for, of one kind and unit; at least one. A sensor was where its registry says so for some
    /// of the period.
    ///
    /// # Errors
    /// There is none, they cannot be put together, or the database cannot be read.
    pub async fn of(
        &self,
        client: &Client,
        registry: &RwLock<Registry>,
        period: &Range<Timestamp>,
    ) -> anyhow::Result<Vec<Chosen>> {
        let metric = self.metric.as_str();
        let named: Vec<&str> = self.sensors.iter().map(SensorId::as_str).collect();
        let select = "WITH RECURSIVE inside AS (
                          SELECT id FROM zone WHERE id = $3
                          UNION SELECT zone.id FROM zone JOIN inside ON zone.parent = inside.id
                      )
                      SELECT s.sensor, min(sensor.direction)
                      FROM series s JOIN sensor ON sensor.id = s.sensor
                      WHERE s.metric = $1
                          AND (s.sensor = ANY($7)
                               OR (sensor.segment = $2 OR sensor.zone IN (SELECT id FROM inside))
                                   AND ($4::text IS NULL OR sensor.direction = $4)
                                   AND sensor.valid_from < $6 AND $5 < sensor.valid_to)
                      GROUP BY s.sensor ORDER BY s.sensor";
        let Range { start, end } = period;
        let rows = client
            .query(select, &[&metric, &self.segment, &self.zone, &self.direction, &start, &end, &named])
            .await?;
        let found = |name: &&&str| rows.iter().any(|row| row.get::<_, &str>(0) == **name);
        if let Some(missing) = named.iter().find(|name| !found(name)) {
            anyhow::bail!("there is no {metric} of {missing}: see `screenline registry list`");
        }
        ensure!(!rows.is_empty(), "no sensor there measures {metric}: see `screenline registry list`");
        let registry = registry::read(registry);
        let chosen = |row: &tokio_postgres::Row| {
            let sensor: String = row.get(0);
            let series = registry.find(&sensor, metric).cloned();
            let series = series.with_context(|| format!("{metric} of {sensor} was erased meanwhile"))?;
            Ok(Chosen { sensor, direction: row.get(1), series })
        };
        let chosen: Vec<Chosen> = rows.iter().map(chosen).collect::<anyhow::Result<_>>()?;
        let first = &chosen[0].series;
        ensure!(
            chosen.iter().all(|one| one.series.kind == first.kind && one.series.unit == first.unit),
            "{metric} is not of one kind and unit at all these sensors: ask for them apart"
        );
        Ok(chosen)
    }
}

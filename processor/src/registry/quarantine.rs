//! Sensors that nobody announced: who they are, and how they are admitted with their history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Client;

use super::{
    Gone,
    import::{ImportError, patiently},
};
use crate::{
    model::{Kind, Level, Time, series::part_of},
    roller::{Marks, tables},
    store::{StoreError, lock},
};

/// A sensor in quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    pub sensor: String,
    /// Of its first message.
    pub topic: String,
    /// As much as was asked for of the first message.
    pub payload: Vec<u8>,
    pub payload_bytes: i64,
    pub seen_at: Timestamp,
    pub metrics: Vec<String>,
    /// Readings and events that are kept apart.
    pub readings: i64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

/// Which sensors are to be adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    Named(Vec<String>),
    /// As SQL's LIKE: `%` is any text, `_` any letter.
    Like(String),
    All,
}

/// What was admitted.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Adopted {
    pub sensors: Vec<String>,
    /// Readings and events that were kept apart, and are in the tables of the city now.
    pub readings: i64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Buckets of five minutes that are rolled now.
    pub buckets: i64,
}

/// The sensors in quarantine, the newest first, with so many bytes of their first payload.
///
/// # Errors
/// The database cannot be read.
pub async fn list(client: &Client, payload_bytes: i32) -> Result<Vec<Quarantined>, StoreError> {
    let select = "
        SELECT q.sensor, q.topic, substr(q.payload, 1, $1), q.payload_bytes, q.seen_at,
            coalesce(array_agg(DISTINCT s.metric) FILTER (WHERE s.metric IS NOT NULL), '{}'),
            coalesce(sum(w.readings), 0)::int8, min(w.first_time), max(w.last_time)
        FROM quarantine q
        LEFT JOIN series s ON s.sensor = q.sensor
        LEFT JOIN withheld w ON w.series_id = s.id
        GROUP BY q.sensor
        ORDER BY q.seen_at DESC, q.sensor";
    let rows = client.query(select, &[&payload_bytes]).await?;
    let quarantined = rows.iter().map(|row| Quarantined {
        sensor: row.get(0),
        topic: row.get(1),
        payload: row.get(2),
        payload_bytes: row.get(3),
        seen_at: row.get(4),
        metrics: row.get(5),
        readings: row.get(6),
        first: row.get(7),
        last: row.get(8),
    });
    Ok(quarantined.collect())
}

/// Admits sensors with all that they said, in one transaction.
///
/// # Errors
/// One that was named is not in quarantine, or the database fails: then nobody was admitted.
pub async fn adopt(client: &Client, whom: &Whom) -> Result<Adopted, ImportError> {
    patiently(client, &lock::begin_alone(), async || adopt_alone(client, whom).await).await
}

async fn adopt_alone(client: &Client, whom: &Whom) -> Result<Adopted, ImportError> {
    let (named, like) = match whom {
        Whom::Named(names) => (names.as_slice(), None),
        Whom::Like(pattern) => (&[][..], Some(pattern)),
        Whom::All => (&[][..], None),
    };
    let select = "SELECT sensor FROM quarantine
                  WHERE (cardinality($1::text[]) = 0 OR sensor = ANY($1)) AND ($2::text IS NULL OR sensor LIKE $2)
                  ORDER BY sensor";
    let found = client.query(select, &[&named, &like]).await.map_err(StoreError::from)?;
    let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    if let Some(absent) = named.iter().find(|name| !found.contains(name)) {
        let known = "SELECT EXISTS (SELECT FROM sensor WHERE id = $1)";
        let known: bool = client.query_one(known, &[absent]).await.map_err(StoreError::from)?.get(0);
        let sensor = absent.clone();
        return Err(if known {
            ImportError::Admitted { sensor }
        } else {
            ImportError::UnknownSensor { sensor }
        });
    }
    let adopted = admit(client, found).await?;
    if !adopted.sensors.is_empty() {
        let grow = "UPDATE city SET registry_version = registry_version + 1";
        client.batch_execute(grow).await.map_err(StoreError::from)?;
    }
    Ok(adopted)
}

/// Takes sensors out of quarantine: what was withheld of them becomes marks. Beside it nobody may roll and no batch be at
/// work.
///
/// # Errors
/// The database fails.
pub(super) async fn admit(client: &Client, sensors: Vec<String>) -> Result<Adopted, StoreError> {
    let gone = Gone::load(client).await?;
    let withheld = client
        .query(
            "DELETE FROM withheld w USING series s WHERE s.id = w.series_id AND s.sensor = ANY($1)
             RETURNING s.sensor, s.metric, s.kind, w.bucket, w.readings, w.first_time, w.last_time",
            &[&sensors],
        )
        .await?;
    let mut adopted = Adopted::default();
    let mut floors: BTreeMap<(&str, &str), Option<Time>> = BTreeMap::new();
    let mut marks = Marks::new();
    for row in &withheld {
        let (sensor, metric, bucket): (&str, &str, Timestamp) = (row.get(0), row.get(1), row.get(3));
        let kind: Kind = row.get::<_, &str>(2).parse().map_err(StoreError::Unfit)?;
        let floor = *floors.entry((row.get(2), metric)).or_insert_with(|| gone.floor(kind, metric));
        let bucket = Time::from(bucket);
        if floor.is_some_and(|floor| bucket < floor) {
            continue; // dropped since
        }
        marks.entry(bucket).or_default().insert(part_of(sensor));
        adopted.readings += row.get::<_, i64>(4);
        adopted.first = [adopted.first, Some(row.get(5))].into_iter().flatten().min();
        adopted.last = adopted.last.max(Some(row.get(6)));
    }
    adopted.buckets = marks.len() as i64;
    tables::insert_marks(client, Level::FiveMinutes, &marks).await?;
    client.execute("DELETE FROM quarantine WHERE sensor = ANY($1)", &[&sensors]).await?;
    adopted.sensors = sensors;
    Ok(adopted)
}

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::{
    model::{Class, Kept, Kind, Time},
    store::StoreError,
};

/// What is gone for good and must not come back: readings before the floors that retention left, and those that were
/// erased.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Of the whole city: readings and events before it were dropped.
    pub raw_floor: Option<Time>,
    pub floors: Vec<(Class, Time)>,
    salt: Vec<u8>,
    /// By the hash of the sensor.
    erased: HashMap<[u8; 32], Vec<Erased>>,
}

/// A time of which a sensor's readings were erased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    /// Of one metric, or of all.
    pub metric: Option<Box<str>>,
    /// Absent: from the beginning.
    pub starts: Option<Time>,
    pub ends: Time,
}

impl Gone {
    /// What stands in the tables. An erasure that ends before the floor is left out: its readings come too late anyway.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn load(client: &Client) -> Result<Gone, StoreError> {
        let time = |at: jiff::Timestamp| Time::from(at);
        let city = client.query_one("SELECT raw_floor, erasure_salt FROM city", &[]).await?;
        let mut gone =
            Gone { raw_floor: city.get::<_, Option<_>>(0).map(time), salt: city.get(1), ..Gone::default() };
        let floors = "SELECT class, floor FROM retention WHERE floor IS NOT NULL";
        for row in client.query(floors, &[]).await? {
            let class: Class = row.get::<_, &str>(0).parse().map_err(StoreError::Unfit)?;
            gone.floors.push((class, time(row.get(1))));
        }
        let erasures = "SELECT DISTINCT sensor, metric, starts, ends FROM erasure
                        WHERE (SELECT raw_floor FROM city) IS NULL OR (SELECT raw_floor FROM city) < ends";
        for row in client.query(erasures, &[]).await? {
            let hash: [u8; 32] = row
                .get::<_, &[u8]>(0)
                .try_into()
                .map_err(|_| StoreError::Unfit("a row of `erasure` whose sensor is no SHA-256".to_owned()))?;
            gone.erased.entry(hash).or_default().push(Erased {
                metric: row.get::<_, Option<&str>>(1).map(Into::into),
                starts: row.get::<_, Option<_>>(2).map(time),
                ends: time(row.get(3)),
            });
        }
        Ok(gone)
    }

    /// Readings and rollups whose bucket starts before it stay as they are. `None` where nothing was dropped.
    pub fn floor(&self, kind: Kind, metric: &str) -> Option<Time> {
        self.floor_of(Kept::raw(kind), metric).max(self.raw_floor)
    }

    /// The floor of one kind of row of a metric.
    pub fn floor_of(&self, kept: Kept, metric: &str) -> Option<Time> {
        self.floors.iter().filter(|(class, _)| class.holds(kept, metric)).map(|(_, floor)| *floor).max()
    }

    /// As `erasure` names a sensor.
    pub fn hash(&self, sensor: &str) -> [u8; 32] {
        self.fingerprint(sensor.as_bytes())
    }

    /// A fingerprint of bytes that may leave no other trace: without the city's salt nobody can look them up.
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(&self.salt).chain_update(bytes).finalize().into()
    }

    /// The times erased of a sensor.
    pub fn erased(&self, sensor: &str) -> &[Erased] {
        match self.erased.is_empty() {
            true => &[],
            false => self.erased.get(&self.hash(sensor)).map_or(&[], Vec::as_slice),
        }
    }
}

impl Erased {
    pub fn holds(&self, metric: &str, time: Time) -> bool {
        self.metric.as_deref().is_none_or(|erased| erased == metric)
            && self.starts.is_none_or(|starts| starts <= time)
            && time < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_floor_that_holds_a_series_counts() {
        let at = Time::from_micros;
        let class = |text: &str| text.parse::<Class>().unwrap();
        let mut gone = Gone::default();
        assert_eq!(gone.floor(Kind::Gauge, "camera.people"), None);
        gone.raw_floor = Some(at(10));
        gone.floors = vec![
            (class("readings"), at(10)),
            (class("readings:camera.*"), at(30)),
            (class("events"), at(20)),
            (class("rollup_5m"), at(5)),
        ];
        assert_eq!(gone.floor(Kind::Gauge, "camera.people"), Some(at(30)));
        assert_eq!(gone.floor(Kind::Gauge, "water.level"), Some(at(10)));
        assert_eq!(gone.floor(Kind::Event, "camera.people"), Some(at(20)));
        assert_eq!(gone.floor_of(Kept::Rollups(crate::model::Level::FiveMinutes), "x"), Some(at(5)));
    }
}

//! What every scan needs: the way to the tables, what the registry knows, the clocks of the city, and who may see what.

use crate::{
    database::Snapshot,
    error::{QueryError, Result},
    live::Last,
    policy::Rules,
    provider::Tables,
    series,
};
use jiff::tz::TimeZone;
use processor::{
    model::{Kind, Series, SeriesId},
    registry::{self, Admission, Registry},
    store::City,
};
use std::{
    fmt,
    sync::{Arc, RwLock},
};
use tokio::sync::OnceCell;

/// Shared by all scans; cheap to make another of, with other eyes.
#[derive(Clone)]
pub struct Source {
    tables: Arc<Tables>,
    known: Arc<Known>,
    pub rules: Arc<Rules>,
}

struct Known {
    registry: RwLock<Registry>,
    /// It cuts the stored days, so that it never changes.
    zone: OnceCell<TimeZone>,
}

/// The tables at one moment, and what the registry then knew.
pub struct Session {
    pub source: Source,
    reader: Snapshot,
    pub zone: TimeZone,
    pub names: Arc<series::Series>,
}

impl Source {
    /// For those of some rules; nothing is read yet.
    pub fn new(tables: Arc<Tables>, rules: Arc<Rules>) -> Self {
        let registry = RwLock::new(Registry::new(Admission::Closed));
        Self { tables, known: Arc::new(Known { registry, zone: OnceCell::new() }), rules }
    }

    /// The same for those of other rules.
    #[must_use]
    pub fn seen_by(&self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self.clone() }
    }

    /// Begins to read; what was registered since the last time is taken in.
    pub async fn session(&self) -> Result<Session> {
        let reader = self.tables.database.snapshot().await?;
        let client = reader.client()?;
        let city = async || Ok::<_, QueryError>(City::read(client).await?.time_zone);
        let zone = self.known.zone.get_or_try_init(city).await?.clone();
        // The names first: every series that has one is then in the registry, too.
        let names = self.tables.dictionary.refresh(client).await?;
        Registry::refresh(&self.known.registry, client).await?;
        Ok(Session { source: self.clone(), reader, zone, names })
    }
}

impl Session {
    pub fn client(&self) -> Result<&tokio_postgres::Client> {
        self.reader.client()
    }

    pub fn registry(&self) -> &RwLock<Registry> {
        &self.source.known.registry
    }

    /// A series that may be seen; of a sensor that nobody announced it is nobody's yet.
    pub fn series(&self, id: i32) -> Option<Series> {
        let registry = registry::read(self.registry());
        registry.series(SeriesId(id)).filter(|series| self.sees(series)).cloned()
    }

    pub fn sees(&self, series: &Series) -> bool {
        !series.quarantined && self.names.is_seen(series.id.0, &self.source.rules)
    }

    /// Of some series, those of values that may be seen.
    pub fn shown(&self, ids: &[i32]) -> Vec<i32> {
        let registry = registry::read(self.registry());
        let is_shown = |series: &Series| series.kind != Kind::Event && self.sees(series);
        ids.iter().copied().filter(|id| registry.series(SeriesId(*id)).is_some_and(is_shown)).collect()
    }

    /// The newest readings of some series.
    pub async fn latest(&self, ids: &[i32]) -> Result<Vec<(i32, Last)>> {
        let tables = &self.source.tables;
        tables.feed.latest(&tables.database, &self.names, ids).await
    }

    pub fn sees_metric(&self, sensor: &str, metric: &str) -> bool {
        registry::read(self.registry()).find(sensor, metric).is_some_and(|series| self.sees(series))
    }

    /// Gives the connection back.
    pub async fn finish(self) -> Result<()> {
        self.reader.finish().await
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("tables", &self.tables).finish_non_exhaustive()
    }
}

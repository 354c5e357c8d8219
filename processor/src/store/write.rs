//! A batch is one transaction: facts, marks, rejections, conflicts and the ledger commit together or not at all.

mod sift;
mod times;
mod transaction;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, RwLock},
};

use tokio_postgres::{Client, Statement};
use tracing::{debug, warn};

use self::{
    sift::Sifted,
    transaction::{Attempt, Transaction},
};
use super::{
    Counts, Level, Position, StoreError, bisect, connect,
    partition::Partitions,
    recent::Recent,
    sender,
    settle::Settlement,
    suspicion::{LookUp, Suspicion},
};
use crate::{
    faults::{self, Bug},
    memory::Memory,
    model::{Batch, BatchId, Proposal, Reason},
    process::Processed,
    registry::{self, Registry},
    roller::Forming,
};

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Written {
    pub counts: Counts,
    /// Of the stored: how many are events.
    pub events: i64,
    /// Whether the batch's keys were looked up before it was written.
    pub looked_up: bool,
    /// Where the numbered sources of the batch stand now.
    pub positions: Vec<Position>,
}

/// Memory for keys committed not long ago: a million, minutes of a city's redeliveries.
const RECENT_BYTES: usize = 32 << 20;
/// A key looked up as new can collide only with one that another writer committed meanwhile; so often in a row that
/// something else is wrong.
const COLLISIONS_MAX: u32 = 10;
/// The name under which messages without a source stand in the tables.
const UNMAPPED: &str = "unmapped";
/// The name under which messages are counted that were dropped unread.
const SHED: &str = "shed";

/// Writes batches on one connection, which it opens, and opens again after an error.
pub struct Writer {
    url: String,
    connection: Option<Connection>,
    partitions: Partitions,
    registry: Arc<RwLock<Registry>>,
    recent: Recent,
    suspicion: Suspicion,
    /// What the roller of this process need not read again.
    forming: Option<Forming>,
    /// What the batch whose COMMIT was sent last would have written.
    unsettled: Option<(BatchId, Written)>,
}

struct Connection {
    client: Client,
    claim: Statement,
    mark: Statement,
    account: Statement,
}

impl Writer {
    pub fn new(url: &str, level: Level, registry: Arc<RwLock<Registry>>) -> Self {
        Writer {
            url: url.to_owned(),
            connection: None,
            partitions: Partitions::new(level),
            registry,
            recent: Recent::within(RECENT_BYTES),
            suspicion: Suspicion::default(),
            forming: None,
            unsettled: None,
        }
    }

    /// Folds what it commits into the buckets that are being filled.
    pub fn with(mut self, forming: Forming) -> Self {
        self.forming = Some(forming);
        self
    }

    /// Brings the registry up to date, after [`StoreError::Outdated`].
    ///
    /// # Errors
    /// The database fails; calling again is safe.
    pub async fn refresh(&mut self) -> Result<(), StoreError> {
        let connection = self.take_connection().await?;
        Registry::refresh(&self.registry, &connection.client).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Takes proposed series into the registry.
    ///
    /// # Errors
    /// The database fails; calling again is safe.
    pub async fn register(&mut self, proposals: &[Proposal]) -> Result<(), StoreError> {
        let mut connection = self.take_connection().await?;
        registry::register(&self.registry, &mut connection.client, proposals).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Writes a batch, once: called again with the same batch after an error, it finds out by the batch's id
    /// whether the transaction before had committed after all.
    ///
    /// # Errors
    /// The database fails, or the batch was decided by an outdated registry; the connection is given up and the next
    /// call opens another.
    pub async fn write(&mut self, batch: &Batch, processed: &Processed) -> Result<Written, StoreError> {
        self.write_and_settle(batch, processed, None).await
    }

    /// Writes a batch of messages that were rejected once, as [`Writer::write`] does, and settles their rejections in
    /// the same transaction. In the ledger it is a source of its own, and what is still refused is a repeat.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn redrive(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: &Settlement,
    ) -> Result<Written, StoreError> {
        self.write_and_settle(batch, processed, Some(settlement)).await
    }

    async fn write_and_settle(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: Option<&Settlement>,
    ) -> Result<Written, StoreError> {
        match self.attempt(batch, processed, settlement).await {
            Err(error) if error.refuses_data() => {
                // A day that another process dropped meanwhile looks like a refused row.
                self.partitions.forget();
                self.write_without_refused(batch, processed, settlement).await
            }
            outcome => outcome,
        }
    }

    /// Each round takes at least one refused row out of the batch.
    async fn write_without_refused(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: Option<&Settlement>,
    ) -> Result<Written, StoreError> {
        let mut rest = Cow::Borrowed(processed);
        loop {
            let error = match self.attempt(batch, &rest, settlement).await {
                Err(error) if error.refuses_data() => error,
                outcome => return outcome,
            };
            let connection = self.take_connection().await?;
            let Some(less) = bisect::without_refused(&connection.client, batch, &rest).await? else {
                return Err(error);
            };
            self.connection = Some(connection);
            let refused = rest.readings.len() + rest.events.len() - less.readings.len() - less.events.len();
            warn!(%error, refused, "the database refuses rows of a batch: they become rejections");
            metrics::counter!("screenline_rejections_total", "reason" => Reason::Unstorable.as_str())
                .increment((less.rejections.len() - rest.rejections.len()) as u64);
            rest = Cow::Owned(less);
        }
    }

    async fn attempt(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: Option<&Settlement>,
    ) -> Result<Written, StoreError> {
        let mut connection = self.take_connection().await?;
        let readings = Sifted::new(processed.readings.iter(), &self.recent);
        let events = Sifted::new(processed.events.iter(), &self.recent);
        self.partitions.ensure(&mut connection.client, "reading", readings.times()).await?;
        self.partitions.ensure(&mut connection.client, "event", events.times()).await?;
        faults::point("partition.made").await?;

        let sources = batch_sources(processed);
        let mut look_up = self.suspicion.advice(&sources);
        let mut collisions = 0;
        let attempt = loop {
            let mut transaction =
                Transaction { writer: self, connection: &connection, batch, processed, settlement };
            match transaction.run(&readings, &events, look_up).await {
                Err(error) if error.is_duplicate_key() && faults::planted(Bug::SwallowDuplicateKey) => {
                    connection.client.batch_execute("ROLLBACK").await?;
                    break Attempt::default();
                }
                Err(error) if error.is_duplicate_key() && collisions < COLLISIONS_MAX => {
                    debug!("a stored key came again: looking the batch's keys up");
                    connection.client.batch_execute("ROLLBACK").await?;
                    look_up = LookUp::All;
                    collisions += 1;
                }
                outcome => break outcome?,
            }
        };
        if look_up != LookUp::None {
            self.suspicion.learn(&sources, attempt.needed);
        }
        self.recent.insert(attempt.known);
        self.connection = Some(connection);
        Ok(attempt.written)
    }

    /// What is remembered of senders, as it was committed last: after [`StoreError::Forgotten`], and at the start.
    ///
    /// # Errors
    /// The database fails; calling again is safe.
    pub async fn remembered(&mut self) -> Result<Memory, StoreError> {
        let connection = self.take_connection().await?;
        let memory = sender::load(&connection.client).await?;
        self.connection = Some(connection);
        Ok(memory)
    }

    async fn take_connection(&mut self) -> Result<Connection, StoreError> {
        match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => Ok(connection),
            _ => Connection::open(&self.url).await,
        }
    }
}

impl Connection {
    async fn open(url: &str) -> Result<Connection, StoreError> {
        let client = connect(url, "screenline-writer").await?;
        let claim = client
            .prepare(
                "WITH claimed AS (INSERT INTO batch (id, times, event_times)
                                  VALUES ($1, $2::text::tstzmultirange, $3::text::tstzmultirange)
                                  ON CONFLICT DO NOTHING RETURNING id)
                 SELECT EXISTS (SELECT FROM claimed), registry_version FROM city",
            )
            .await?;
        let mark = client
            .prepare(
                "INSERT INTO dirty (level, bucket, part, batch)
                 SELECT 0, bucket, part, $3 FROM unnest($1::timestamptz[], $2::int2[]) AS mark (bucket, part)",
            )
            .await?;
        let columns = Counts::COLUMNS.join(", ");
        let parameters: Vec<String> =
            (3..).take(Counts::COLUMNS.len()).map(|i| format!("${i}::int8[]")).collect();
        let account = format!(
            "INSERT INTO ledger (source, hour, {columns})
             SELECT * FROM unnest($1::text[], $2::timestamptz[], {})",
            parameters.join(", ")
        );
        let account = client.prepare(&account).await?;
        Ok(Connection { client, claim, mark, account })
    }
}

fn source_name(sources: &[Arc<str>], source: Option<u16>) -> &str {
    source.and_then(|index| sources.get(usize::from(index))).map_or(UNMAPPED, |name| name)
}

fn batch_sources(processed: &Processed) -> BTreeSet<Arc<str>> {
    let indices: BTreeSet<Option<u16>> = processed.fates.iter().map(|fate| fate.source).collect();
    indices.into_iter().map(|source| source_name(&processed.sources, source).into()).collect()
}

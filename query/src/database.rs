//! The way to PostgreSQL: a bounded pool of read-only sessions, and reads that stop at the server when dropped.

use crate::error::{QueryError, Result};
use anyhow::Context;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures::Stream;
use jiff::tz::TimeZone;
use processor::store::Address;
use std::{fmt, pin::Pin, time::Duration};
use tokio_postgres::CancelToken;
use tokio_postgres_rustls::MakeRustlsConnect;

/// For what should take milliseconds: connecting, a check of health.
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Database {
    pool: Pool,
    /// A cancellation travels on a connection of its own.
    tls: MakeRustlsConnect,
    statement_timeout: Duration,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Frames of one COPY. Dropped before its end, it cancels the statement at the server and gives up the connection:
/// a dropped future alone would leave the backend running.
pub struct Frames {
    stream: Pin<Box<tokio_postgres::CopyOutStream>>,
    lease: Lease,
}

struct Lease {
    client: Option<Object>,
    cancel: CancelToken,
    tls: MakeRustlsConnect,
}

impl Database {
    /// `url`: a URL or `key=value` pairs, also for a unix socket; see [`Address`].
    ///
    /// # Errors
    /// If the URL cannot be read, the database not be reached, or its tables are not there yet.
    pub async fn open(url: &str, connections: usize, statement_timeout: Duration) -> anyhow::Result<Self> {
        let database = Self::at(url, connections, statement_timeout)?;
        let client = database.client().await?;
        let there = client.query_one("SELECT to_regclass('reading') IS NOT NULL", &[]).await?;
        anyhow::ensure!(
            there.try_get::<_, bool>(0)?,
            "the database has no table `reading` yet: start ingest or `screenline up` first, which make the tables"
        );
        Ok(database)
    }

    /// Not connected yet.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn at(url: &str, connections: usize, statement_timeout: Duration) -> anyhow::Result<Self> {
        let Address { mut config, tls } = Address::parse(url)?;
        config.application_name("screenline query");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // Verified: a session that died while idle must not cost a query.
        let manager = Manager::from_config(
            config,
            tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            // A union of many tables gets its connections one after the other; the query's own deadline ends the wait.
            .wait_timeout(Some(statement_timeout))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .build()?;
        Ok(Self { pool, tls, statement_timeout })
    }

    /// The zone that cuts the city's days.
    pub async fn time_zone(&self) -> anyhow::Result<TimeZone> {
        let row = self.client().await?.query_one("SELECT time_zone FROM city", &[]).await?;
        let name: &str = row.try_get(0)?;
        TimeZone::get(name).with_context(|| format!("find the city's time zone {name:?}"))
    }

    pub async fn client(&self) -> Result<Object> {
        Ok(self.pool.get().await?)
    }

    /// The first instant that is not settled: of the earliest closed bucket that is still to be rolled, else of the open
    /// one.
    pub async fn complete_until(&self) -> Result<jiff::Timestamp> {
        let select = "SELECT coalesce(
                (SELECT min(bucket) FROM dirty WHERE level = 0 AND bucket <= now() - interval '5 minutes'),
                to_timestamp(floor(extract(epoch FROM now()) / 300) * 300))";
        Ok(self.client().await?.query_one(select, &[]).await?.try_get(0)?)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let answered = async { Ok(self.client().await?.simple_query("SELECT 1").await.map(drop)?) };
        let late = || QueryError::Unavailable(format!("no answer within {CONNECT:?}"));
        tokio::time::timeout(CONNECT, answered).await.unwrap_or_else(|_| Err(late()))
    }

    /// Starts `COPY (select) TO STDOUT` in a read-only transaction. `select` is SQL of ours.
    pub async fn copy(&self, select: &str) -> Result<Frames> {
        self.begin("READ ONLY").await?.copy(select).await
    }

    /// A read-only transaction in which everything is seen as at its first question.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.begin("READ ONLY ISOLATION LEVEL REPEATABLE READ").await
    }

    async fn begin(&self, manner: &str) -> Result<Snapshot> {
        let client = self.client().await?;
        let cancel = client.cancel_token();
        let lease = Lease { client: Some(client), cancel, tls: self.tls.clone() };
        // PostgreSQL counts it in an int4.
        let timeout_ms = i32::try_from(self.statement_timeout.as_millis()).unwrap_or(i32::MAX);
        let begin = format!("BEGIN {manner}; SET LOCAL statement_timeout = {timeout_ms}");
        lease.client()?.batch_execute(&begin).await?;
        Ok(Snapshot { lease })
    }
}

/// A transaction. Dropped before it was finished, it is cancelled at the server.
pub struct Snapshot {
    lease: Lease,
}

impl Snapshot {
    pub fn client(&self) -> Result<&tokio_postgres::Client> {
        self.lease.client()
    }

    pub async fn copy(self, select: &str) -> Result<Frames> {
        let stream = self.client()?.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
        Ok(Frames { stream: Box::pin(stream), lease: self.lease })
    }

    /// Gives the connection back.
    pub async fn finish(mut self) -> Result<()> {
        self.lease.finish().await
    }
}

impl Frames {
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        let next = std::future::poll_fn(|context| self.stream.as_mut().poll_next(context)).await;
        Ok(next.transpose()?)
    }

    /// Gives the connection back after the last frame.
    pub async fn finish(mut self) -> Result<()> {
        self.lease.finish().await
    }
}

impl Lease {
    fn client(&self) -> Result<&tokio_postgres::Client> {
        let client = self.client.as_ref().map(|client| &***client);
        client.ok_or_else(|| QueryError::Internal("a lease without its connection".into()))
    }

    async fn finish(&mut self) -> Result<()> {
        self.client()?.batch_execute("COMMIT").await?;
        drop(self.client.take());
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        // Out of the pool: the next user must not meet the rest of this answer.
        let client = Object::take(client);
        let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = cancel.cancel_query(tls).await {
                    tracing::warn!(%error, "could not cancel a query at the database");
                }
                drop(client);
            });
        }
    }
}

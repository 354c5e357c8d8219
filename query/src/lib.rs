//! The query service: Arrow Flight, Flight SQL and gRPC-web over the tables that ingest fills.
//!
//! ```text
//! client ──> http ──> flight ──> flight_sql ──> engine ──> provider ──> scan ──> database ──> PostgreSQL
//!            one      tickets    statements,    DataFusion  what is     COPY,    pool,
//!            port                prepared       and limits  pushed down copy     cancel
//!                                metadata       output                  series
//! ```
//! Clients' SQL never reaches the database: DataFusion plans it, and a scan is one `COPY (SELECT ..)` of ours with the
//! columns, times, integers and series that the plan needs. One query may read several tables, each in a snapshot of
//! its own.

mod copy;
mod database;
mod dialect;
mod engine;
mod error;
mod flight;
mod flight_sql;
#[cfg(test)]
mod hostile;
mod http;
mod metrics;
mod output;
mod prepared;
mod provider;
mod pushdown;
mod scan;
mod series;
mod sql_info;
mod statement;
mod tables;
mod ticket;

use anyhow::Context;
use engine::{Engine, Limits};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How `query` runs; `--help` shows it.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// PostgreSQL, as `postgres://..` or `key=value` pairs; `host=/directory` is a unix socket; encrypted with
    /// sslmode=verify-full, sslrootcert=FILE, sslcert=FILE and sslkey=FILE; its password also by passfile=FILE
    #[arg(long, env = "SCREENLINE_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Address for Flight and HTTP; port 0 takes a free one
    #[arg(long, env = "SCREENLINE_LISTEN", default_value = "127.0.0.1:8815")]
    pub listen: SocketAddr,
    /// Bytes of memory that all running queries share for sorting, grouping and joining
    #[arg(long, env = "SCREENLINE_QUERY_MEMORY_BYTES", default_value_t = 512 << 20)]
    pub query_memory_bytes: usize,
    /// Longest time of one query until its last row is taken, such as 30s or 5m
    #[arg(long, env = "SCREENLINE_QUERY_TIMEOUT", default_value = "5m", value_parser = duration)]
    pub query_timeout: Duration,
    /// Queries that run at once; four times as many may wait
    #[arg(long, env = "SCREENLINE_QUERY_CONCURRENCY", default_value_t = 8, value_parser = concurrency)]
    pub query_concurrency: usize,
}

/// A running service.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens, with the port that was taken.
    pub address: SocketAddr,
    /// True from the start: `start` returns when calls are answered.
    pub ready: watch::Receiver<bool>,
    /// Ends after the shutdown, or with the error that stopped the service.
    pub finished: JoinHandle<anyhow::Result<()>>,
}

/// Database connections for one running query: joins read several tables at once.
const CONNECTIONS_EACH: usize = 2;
/// And for health checks and the dictionary of series.
const CONNECTIONS_BESIDE: usize = 2;
const QUEUE_EACH: usize = 4;

/// Starts the service; it answers when this returns.
///
/// # Errors
/// If the database cannot be reached or has no tables yet, or the address is taken.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Handle> {
    metrics::describe();
    let limits = Limits {
        memory_bytes: config.query_memory_bytes,
        timeout: config.query_timeout,
        concurrency: config.query_concurrency,
        queue: config.query_concurrency * QUEUE_EACH,
    };
    let connections = config.query_concurrency * CONNECTIONS_EACH + CONNECTIONS_BESIDE;
    let database = database::Database::open(&config.database_url, connections, config.query_timeout)
        .await
        .context("open the database for queries")?;
    let engine = Arc::new(Engine::start(database, limits)?);
    let router = http::router(engine)?;
    let listener = http::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (to_ready, ready) = watch::channel(true);
    let finished = tokio::spawn(async move {
        let served = http::serve(listener, router, shutdown).await;
        let _ = to_ready.send(false); // nobody has to watch
        tracing::info!("query stopped");
        served
    });
    tracing::info!(%address, "query listens");
    Ok(Handle { address, ready, finished })
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|error| format!("{error}; expected e.g. 30s or 5m"))?;
    match Duration::try_from(parsed) {
        Ok(duration) if Duration::ZERO < duration => Ok(duration),
        _ => Err("must be longer than nothing".into()),
    }
}

fn concurrency(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=256).contains(&number) => Ok(number),
        _ => Err("must be from 1 to 256".into()),
    }
}

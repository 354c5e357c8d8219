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
//! its own. What no table holds is [`measured`]: computed while it is read.

pub mod access;
mod caller;
mod catalogue;
mod city;
mod copy;
mod counted;
mod dashboard;
mod database;
mod dialect;
mod engine;
mod entrance;
mod error;
mod export;
mod flight;
mod flight_sql;
mod functions;
mod growth;
#[cfg(test)]
mod hostile;
mod http;
pub mod identity;
mod live;
mod measured;
mod metrics;
mod moment;
mod openapi;
mod output;
mod pages;
mod policy;
mod prepared;
mod present;
mod problem;
mod prompt;
mod provider;
mod pushdown;
mod runs;
mod scan;
mod segments;
mod series;
mod sql_info;
mod statement;
mod tables;
mod ticket;
mod tls;

use access::AccessLog;
use anyhow::{Context, ensure};
use engine::{Engine, Limits};
use identity::{Authenticator, IdentityArgs};
use jiff::Timestamp;
use policy::Policy;
use segments::Segments;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tls::{Tls, TlsArgs};
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
    /// Queries of one identity that run at once
    #[arg(long, env = "SCREENLINE_QUERY_CONCURRENCY_EACH", default_value_t = 4, value_parser = concurrency)]
    pub query_concurrency_each: usize,
    /// Rows of one answer at most; downloads by /export have no such bound
    #[arg(long, env = "SCREENLINE_QUERY_ROWS", default_value_t = 50_000_000)]
    pub query_rows: u64,
    /// Bytes of one answer at most
    #[arg(long, env = "SCREENLINE_QUERY_BYTES", default_value_t = 8 << 30)]
    pub query_bytes: u64,
    /// Tails that are followed at once (tickets with "live": true); half as many of one identity
    #[arg(long, env = "SCREENLINE_QUERY_TAILS", default_value_t = 128, value_parser = concurrency)]
    pub query_tails: usize,
    /// How long a client may take nothing of an answer that waits for it
    #[arg(long, env = "SCREENLINE_QUERY_STALL", default_value = "30s", value_parser = duration)]
    pub query_stall: Duration,
    /// Who sees what, by role (TOML); without it, what `query/src/policy/default.toml` says
    #[arg(long, env = "SCREENLINE_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where it is written down who asked what; needed where anybody has to say who they are
    #[arg(long, env = "SCREENLINE_ACCESS_LOG", value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Folder for copies of closed days, which are read many times faster than the database's rows; emptied at the start.
    /// It holds what the tables hold: guard it as these
    #[arg(long, env = "SCREENLINE_SEGMENTS", value_name = "DIR")]
    pub segments: Option<PathBuf>,
    /// Bytes of them on disk; those unused for longest go first
    #[arg(long, env = "SCREENLINE_SEGMENTS_BYTES", default_value_t = 8 << 30)]
    pub segments_bytes: u64,
    /// Bytes of them in memory
    #[arg(long, env = "SCREENLINE_SEGMENTS_MEMORY_BYTES", default_value_t = 256 << 20)]
    pub segments_memory_bytes: u64,
    #[command(flatten)]
    pub identity: IdentityArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// A running service.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens, with the port that was taken.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_encrypted: bool,
    /// True from the start: `start` returns when calls are answered.
    pub ready: watch::Receiver<bool>,
    /// Ends after the shutdown, or with the error that stopped the service.
    pub finished: JoinHandle<anyhow::Result<()>>,
}

/// Database connections for each of the running queries: joins read several tables at once.
const CONNECTIONS_EACH: usize = 2;
/// And for plans in the making (4), the feed of what comes (3), tails that catch up (2), segments in the making (2), and
/// health checks.
const CONNECTIONS_BESIDE: usize = 12;
const QUEUE_EACH: usize = 4;

/// Starts the service; it answers when this returns.
///
/// # Errors
/// If the database cannot be reached or has no tables yet, or the address is taken.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Handle> {
    metrics::describe();
    let policy = Policy::load(config.policy.as_deref())?;
    let authenticator = Arc::new(authenticator(&config, &policy).await?);
    let log = match &config.access_log {
        Some(path) => AccessLog::open(path)?,
        None => AccessLog::none(),
    };
    let tls = Tls::load(&config.tls).context("TLS")?.map(Arc::new);
    let limits = Limits {
        memory_bytes: config.query_memory_bytes,
        timeout: config.query_timeout,
        concurrency: config.query_concurrency,
        concurrency_each: config.query_concurrency_each,
        queue: config.query_concurrency * QUEUE_EACH,
        rows: config.query_rows,
        bytes: config.query_bytes,
        connections: config.query_concurrency * CONNECTIONS_EACH,
        tails: config.query_tails,
        stall: config.query_stall,
    };
    let connections = limits.connections + CONNECTIONS_BESIDE;
    let database = database::Database::open(&config.database_url, connections, config.query_timeout)
        .await
        .context("open the database for queries")?;
    let zone = database.time_zone().await?;
    let kept = match &config.segments {
        Some(folder) => Some(Segments::open(folder, config.segments_bytes, config.segments_memory_bytes)?),
        None => None,
    };
    let engine = Arc::new(Engine::start(database, limits, zone, policy, log, kept)?);
    let router = http::router(engine, authenticator)?;
    let listener = http::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (to_ready, ready) = watch::channel(true);
    let is_encrypted = tls.is_some();
    let finished = tokio::spawn(async move {
        let served = http::serve(listener, router, tls, shutdown).await;
        let _ = to_ready.send(false); // nobody has to watch
        tracing::info!("query stopped");
        served
    });
    tracing::info!(%address, "query listens");
    Ok(Handle { address, is_encrypted, ready, finished })
}

/// Who is let in.
async fn authenticator(config: &Config, policy: &Policy) -> anyhow::Result<Authenticator> {
    let roles: BTreeSet<String> = policy.roles().map(|rules| rules.role().to_owned()).collect();
    let known = Arc::new(move |role: &str| roles.contains(role));
    let authenticator = Authenticator::start(&config.identity, known, Timestamp::now()).await?;
    authenticator.check_address(&config.listen)?;
    if authenticator.is_configured() {
        ensure!(
            config.access_log.is_some(),
            "give --access-log FILE: where people have to say who they are, it is written down what they asked"
        );
        if config.tls.tls_cert.is_none() && !config.listen.ip().is_loopback() {
            tracing::warn!(
                "tokens and answers travel unencrypted: give --tls-cert and --tls-key, or put a proxy in front"
            );
        }
    } else {
        policy.rules(policy::OPERATOR).context("nobody says who they are, and everybody is an operator")?;
        tracing::info!("everybody on this machine may ask everything: no --tokens and no --jwks are given");
    }
    Ok(authenticator)
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

//! A service's life in its own process: listen, start, say ready, end in order.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    monitor::{self, Pages},
    ports,
    ready::{Ready, ReadyFile},
    signals, telemetry,
};

/// The rest is redelivered or asked again, so waiting longer gains nothing.
const DRAIN: Duration = Duration::from_secs(10);

/// What every service takes beside its own settings.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// Address for /metrics, /healthz and /readyz; port 0 picks a free one
    #[arg(long, env = "SCREENLINE_METRICS_LISTEN", default_value = "127.0.0.1:9815")]
    pub metrics_listen: SocketAddr,
    /// Write addresses and process ids to this file, as JSON, once the service is ready
    #[arg(long, env = "SCREENLINE_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// End in order when standard input ends: set by `up`, whose end must be ours
    #[arg(long, hide = true)]
    pub supervised: bool,
}

#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    #[command(flatten)]
    config: ingest::Config,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    #[command(flatten)]
    config: query::Config,
    #[command(flatten)]
    service: ServiceArgs,
}

/// A service that `start` returned.
struct Started {
    ready: watch::Receiver<bool>,
    finished: JoinHandle<anyhow::Result<()>>,
    about: Ready,
}

/// Runs ingest until it is told to end.
///
/// # Errors
/// It cannot start, failed, or did not drain in time.
pub async fn ingest(args: IngestArgs) -> anyhow::Result<()> {
    let mapping = args.config.intake.mapping().context("load the mappings")?;
    run("ingest", args.service, async move |shutdown| {
        let handle = ingest::start(args.config, mapping, shutdown).await?;
        Ok(Started { ready: handle.ready, finished: handle.finished, about: Ready::default() })
    })
    .await
}

/// Runs query until it is told to end.
///
/// # Errors
/// As [`ingest`].
pub async fn query(args: QueryArgs) -> anyhow::Result<()> {
    ports::check("--listen", args.config.listen)?;
    if args.service.supervised {
        limit_memory(args.config.query_memory_bytes as u64, args.config.segments_memory_bytes);
    }
    run("query", args.service, async move |shutdown| {
        let handle = query::start(args.config, shutdown).await?;
        let about = Ready {
            flight: Some(format!(
                "{}://{}",
                if handle.is_encrypted { "grpc+tls" } else { "grpc" },
                handle.address
            )),
            http: Some(format!(
                "{}://{}",
                if handle.is_encrypted { "https" } else { "http" },
                handle.address
            )),
            ..Ready::default()
        };
        Ok(Started { ready: handle.ready, finished: handle.finished, about })
    })
    .await
}

async fn run(
    name: &'static str,
    args: ServiceArgs,
    start: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<Started>,
) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    if args.supervised {
        signals::end_with_launcher(shutdown.clone());
    }
    let listener = monitor::listen(args.metrics_listen).await?;
    let metrics = listener.local_addr()?;
    let (ready_to, ready) = watch::channel(false);
    monitor::serve(listener, Pages::new(telemetry::metrics(name)?, ready, Vec::new()));
    let ready_file = args.ready_file.map(ReadyFile::prepare).transpose()?;

    let mut started = tokio::select! {
        started = start(shutdown.clone()) => started.with_context(|| format!("start {name}"))?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let about = Ready {
        metrics: Some(format!("http://{metrics}/metrics")),
        pids: [(name.to_owned(), std::process::id())].into(),
        ..started.about
    };
    let mut announced = false;
    loop {
        let is_ready = *started.ready.borrow_and_update();
        ready_to.send_replace(is_ready);
        if is_ready && !announced {
            announced = true;
            info!(metrics = about.metrics, flight = about.flight, "{name} is ready");
            if let Some(file) = &ready_file {
                file.announce(&about)?;
            }
        }
        tokio::select! {
            Ok(()) = started.ready.changed() => {}
            finished = &mut started.finished => return ended(name, finished),
            () = shutdown.cancelled() => break,
        }
    }
    ready_to.send_replace(false);
    info!("{name} is told to end, draining");
    match timeout(DRAIN, started.finished).await {
        Ok(finished) => ended(name, finished),
        Err(_) => {
            warn!("{name} did not drain within {DRAIN:?}");
            bail!("{name} did not drain within {DRAIN:?}: what it had not acknowledged will come again")
        }
    }
}

fn ended(name: &str, finished: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    finished.with_context(|| format!("{name} panicked"))?.with_context(|| format!("run {name}"))
}

/// Makes query, not the machine, pay for a query that escapes its memory pool: its allocations fail above a bound,
/// and the kernel ends it first when memory runs out. The launcher starts it again.
fn limit_memory(pool_bytes: u64, segments_bytes: u64) {
    use nix::sys::resource::{Resource, setrlimit};
    // Six times the pool, because what grows has its old and its doubled memory before the pool hears of it, on every
    // core, while the allocator still holds what queries before it gave back; and a gigabyte for threads.
    let bytes = pool_bytes.saturating_mul(6).saturating_add(segments_bytes).saturating_add(1 << 30);
    if let Err(error) = setrlimit(Resource::RLIMIT_DATA, bytes, bytes) {
        warn!(%error, bytes, "cannot limit memory");
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "500") {
        warn!(%error, "cannot offer this process to the kernel's memory killer first");
    }
}

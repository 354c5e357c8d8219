//! The auditor, beside the roller: for ever, and so slowly that nobody notices.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use metrics::counter;
use processor::{
    auditor::{Audited, Auditor, Shown},
    model::{Level, Time},
    registry::Registry,
    service::Backoff,
    store::StoreError,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Between two looks, and while the roller is behind.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// A look rests fifty times as long as it took, and so uses two per cent of one connection.
const REST: u32 = 50;
/// Readings and rollups a second, on average: a hundredth of what the database reads.
const ROWS_PER_SECOND: f64 = 20_000.0;
/// How often it is asked anew which days there are, and the ledger's sums are looked at.
const DAYS_EVERY: Duration = Duration::from_secs(600);
/// Mismatches of one look that are described in the log.
const DESCRIBED_MAX: usize = 3;

/// `behind` is true while the roller has more to do than it does.
pub async fn run(
    database_url: String,
    registry: Arc<RwLock<Registry>>,
    zone: TimeZone,
    behind: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    for level in Level::ALL {
        counter!("screenline_audit_buckets_total", "level" => level.table()).increment(0);
        counter!("screenline_audit_mismatches_total", "level" => level.table()).increment(0);
    }
    counter!("screenline_audit_mismatches_total", "level" => "ledger").increment(0);
    let mut auditor = Auditor::new(&database_url, registry, zone);
    let mut days = Days::default();
    let mut backoff = Backoff::new(PAUSE_MIN, Duration::from_secs(60));
    let mut pause = PAUSE_MIN;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        if behind.load(Relaxed) {
            pause = PAUSE_MIN;
            continue;
        }
        let started = Instant::now();
        pause = match look(&mut auditor, &mut days).await {
            Ok(audited) => {
                backoff.reset();
                report(&mut auditor, &audited).await;
                let by_rows = Duration::from_secs_f64(audited.read as f64 / ROWS_PER_SECOND);
                by_rows.max(started.elapsed() * REST).max(PAUSE_MIN)
            }
            Err(error) => {
                warn!(%error, "the audit failed, will go on elsewhere");
                backoff.next_wait()
            }
        };
    }
}

/// The days there are to look at.
#[derive(Default)]
struct Days {
    starts: Vec<Time>,
    asked: Option<Instant>,
}

async fn look(auditor: &mut Auditor, days: &mut Days) -> Result<Audited, StoreError> {
    if days.asked.is_none_or(|asked| DAYS_EVERY <= asked.elapsed()) {
        days.starts = auditor.days().await?;
        days.asked = Some(Instant::now());
        for problem in auditor.ledger().await? {
            counter!("screenline_audit_mismatches_total", "level" => "ledger").increment(1);
            error!(problem, "the ledger does not add up: please report it");
        }
    }
    if days.starts.is_empty() {
        days.asked = None; // nothing is stored yet
    }
    auditor.sample(&days.starts).await
}

async fn report(auditor: &mut Auditor, audited: &Audited) {
    for (level, (compared, mismatched)) in
        Level::ALL.into_iter().zip(audited.compared.into_iter().zip(audited.mismatched))
    {
        counter!("screenline_audit_buckets_total", "level" => level.table()).increment(compared);
        counter!("screenline_audit_mismatches_total", "level" => level.table()).increment(mismatched);
    }
    let described = &audited.mismatches[..audited.mismatches.len().min(DESCRIBED_MAX)];
    let names = auditor.names(described).await.unwrap_or_default();
    for mismatch in described {
        let (sensor, metric) = names.get(&mismatch.series).cloned().unwrap_or_default();
        error!(
            level = mismatch.level.table(),
            bucket = %mismatch.bucket,
            sensor,
            metric,
            readings_say = ?mismatch.expected.as_ref().map(Shown::from),
            stored = ?mismatch.stored.as_ref().map(Shown::from),
            "a rollup is not what its readings say: `screenline audit --all --repair` computes it again; please report it"
        );
    }
}

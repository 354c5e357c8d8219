//! The roller, beside the pipeline: it has a connection of its own and nothing of the pipeline waits for it.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use metrics::{counter, gauge, histogram};
use processor::{
    registry::{self, Registry},
    roller::Roller,
    service::Backoff,
    store,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between looks for marks when none were due: the freshness of a closed bucket.
const PAUSE: Duration = Duration::from_millis(500);

/// Sets `behind` while there is more to do than was done.
pub async fn run(
    database_url: String,
    registry: Arc<RwLock<Registry>>,
    zone: TimeZone,
    behind: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    let mut roller = Roller::new(&database_url, registry.clone(), zone);
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let rolled = store::answered(roller.step()).await;
        behind.store(rolled.as_ref().map_or(true, |rolled| rolled.more), Relaxed);
        let pause = match rolled {
            Ok(rolled) => {
                backoff.reset();
                counter!("screenline_rollups_written_total").increment(rolled.rollups);
                counter!("screenline_roller_rows_read_total").increment(rolled.read);
                if 0 < rolled.rollups {
                    histogram!("screenline_roll_seconds").record(started.elapsed().as_secs_f64());
                }
                match store::answered(roller.pending()).await {
                    Ok(pending) => gauge!("screenline_dirty_marks").set(pending as f64),
                    Err(error) => warn!(%error, "could not count dirty marks"),
                }
                let quarantined = registry::read(&registry).quarantined_count();
                gauge!("screenline_quarantined_sensors").set(quarantined as f64);
                if rolled.more { Duration::ZERO } else { PAUSE }
            }
            Err(error) => {
                counter!("screenline_roller_failures_total").increment(1);
                warn!(%error, "rolling failed, the marks stay and it will be tried again");
                backoff.next_wait()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

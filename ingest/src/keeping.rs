//! Retention, beside the roller: drops what is older than it is kept, when nothing else has to be done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use metrics::{counter, gauge};
use processor::{
    service::Backoff,
    store::{Retention, Step, StoreError},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between looks when nothing was due. A day more or less is dropped a minute later.
const PAUSE: Duration = Duration::from_secs(60);
/// A step rests twice as long as it took: others come first.
const REST: u32 = 2;

/// `behind` is true while the roller has more to do than it does.
pub async fn run(database_url: String, zone: TimeZone, behind: Arc<AtomicBool>, shutdown: CancellationToken) {
    let mut retention = Retention::new(&database_url, zone);
    let mut backoff = Backoff::new(Duration::from_secs(1), PAUSE);
    let mut waiting = None;
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        if behind.load(Relaxed) {
            pause = Duration::from_secs(1);
            continue;
        }
        let started = Instant::now();
        let step = step(&mut retention).await;
        pause = match step {
            Ok(Step::Idle) => PAUSE,
            Ok(Step::Waiting(before)) => {
                if waiting != Some(before) {
                    info!(%before, "retention waits until the buckets before are rolled");
                }
                waiting = Some(before);
                Duration::from_secs(5)
            }
            Ok(Step::Dropped(dropped)) => {
                counter!("screenline_retention_days_dropped_total").increment(dropped.days.unsigned_abs());
                counter!("screenline_retention_rows_deleted_total", "class" => dropped.class.clone())
                    .increment(dropped.rows.unsigned_abs());
                if 0 < dropped.days {
                    info!(
                        days = dropped.days,
                        class = dropped.class,
                        "dropped days that are older than they are kept"
                    );
                }
                started.elapsed() * REST
            }
            Err(error) => {
                counter!("screenline_retention_failures_total").increment(1);
                warn!(%error, "retention failed, what is due stays due");
                backoff.next_wait()
            }
        };
    }
}

async fn step(retention: &mut Retention) -> Result<Step, StoreError> {
    let step = retention.step().await?;
    if let Some(floor) = retention.raw_floor().await? {
        gauge!("screenline_raw_floor_timestamp_seconds").set(floor.micros() as f64 / 1e6);
    }
    Ok(step)
}

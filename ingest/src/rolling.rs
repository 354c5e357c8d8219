//! The roller, beside the pipeline: it has a connection of its own and nothing of the pipeline waits for it.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use metrics::{counter, gauge, histogram};
use processor::{
    model::Level,
    registry::{self, Registry},
    roller::{Forming, Roller},
    service::Backoff,
    store,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between looks for marks when none were due: the freshness of a closed bucket.
const PAUSE: Duration = Duration::from_millis(500);
/// Hours and days rest so many times as long as they took: while the past comes in, each look would make them anew.
const WIDE_REST: u32 = 3;
/// Between counts of the marks, of which a large city has a million.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Sets `behind` while there is more to do than was done.
pub async fn run(
    mut roller: Roller,
    forming: Forming,
    registry: Arc<RwLock<Registry>>,
    behind: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let (mut wide_due, mut counted) = (Instant::now(), None::<Instant>);
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let levels = if wide_due <= started { &Level::ALL[..] } else { &[Level::FiveMinutes] };
        let rolled = store::answered(roller.step_of(levels)).await;
        if levels.len() == Level::ALL.len() {
            wide_due = Instant::now() + started.elapsed() * WIDE_REST;
        }
        behind.store(rolled.as_ref().map_or(true, |rolled| rolled.more), Relaxed);
        let pause = match rolled {
            Ok(rolled) => {
                backoff.reset();
                counter!("screenline_rollups_written_total").increment(rolled.rollups);
                counter!("screenline_rollups_formed_total").increment(rolled.formed);
                counter!("screenline_roller_rows_read_total").increment(rolled.read);
                if 0 < rolled.rollups {
                    histogram!("screenline_roll_seconds").record(started.elapsed().as_secs_f64());
                }
                gauge!("screenline_forming_states").set(forming.states().await as f64);
                if counted.is_none_or(|counted| COUNT_EVERY <= counted.elapsed()) {
                    match store::answered(roller.pending()).await {
                        Ok(pending) => gauge!("screenline_dirty_marks").set(pending as f64),
                        Err(error) => warn!(%error, "could not count dirty marks"),
                    }
                    counted = Some(Instant::now());
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

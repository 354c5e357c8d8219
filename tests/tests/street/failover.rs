//! The database's machine is lost, and its standby takes over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use simulators::replay::{self, Progress, Speed};
use tests::postgres::Postgres;
use tests::process::Workplace;
use tests::{Plan, Storage};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_and_nothing_is_lost() {
    // The stock server has no TimescaleDB.
    tests::storage::run(failover, Storage::Plain).await;
}

/// The primary is killed in the middle of a feed. What it had committed, the standby has; a commit that nobody answered
/// is settled there by its batch.
async fn failover(storage: Storage) -> anyhow::Result<()> {
    let servers = Workplace::new()?;
    let primary = block_in_place(|| Postgres::primary(&servers.path().join("primary")))?;
    let standby = block_in_place(|| primary.standby(&servers.path().join("standby")))?;
    let url = format!(
        "postgres://screenline@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let mut city = Plan::up(storage).args(&["--database-url", &url]).start().await?;

    let config = city.replay_config("sumo-grid", Speed::Max)?;
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(replay::run(config.clone(), progress.clone(), CancellationToken::new()));
    let some = || async { Ok((5_000 < progress.acknowledged.load(Ordering::Relaxed)).then_some(())) };
    city.eventually("5,000 published messages", async || some().await).await?;
    drop(primary);
    block_in_place(|| standby.promote())?;
    city.reconnect().await?;

    let summary = replay.await?.context("replay over the failover")?;
    ensure!(summary.acknowledged == summary.published, "{summary:?}");
    city.settled_at(summary.published).await?;
    city.has_all_of(config).await?;
    city.stop()?;
    Ok(())
}

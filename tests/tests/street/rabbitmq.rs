//! The durable broker: RabbitMQ with quorum queues, as shipped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use simulators::broker::Broker;
use simulators::replay::{self, Progress, Speed};
use tests::rabbitmq::{Queue, RabbitMq};
use tests::{Plan, Storage, say};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_durable_broker_loses_nothing() {
    if !RabbitMq::is_installed() {
        return say("SKIPPED a_crash_of_the_durable_broker_loses_nothing: no RabbitMQ, see deploy/setup");
    }
    tests::storage::run(crash, Storage::Plain).await;
}

/// The broker is killed in the middle of a feed: what it had acknowledged is stored, once.
async fn crash(storage: Storage) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut rabbitmq = RabbitMq::start(folder.path(), Queue::Quorum)?;
    let city = Plan::up(storage).args(&["--broker-url", &rabbitmq.url()]).start().await?;
    ensure!(!city.mqtt_url().contains(":screenline@"), "the ready file shows the broker's password");
    ensure!(city.log().contains("it changes a topic that has a dot"), "{}", city.log());
    // RabbitMQ notes a new quorum queue half a second after its making; killed before that it comes back without it.
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut config = city.replay_config("sumo-grid", Speed::Max)?;
    config.broker = Broker::parse(&rabbitmq.url())?;
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(replay::run(config.clone(), progress.clone(), CancellationToken::new()));
    let some = || async { Ok((5_000 < progress.acknowledged.load(Ordering::Relaxed)).then_some(())) };
    city.eventually("5,000 acknowledged messages", async || some().await).await?;
    tokio::task::block_in_place(|| rabbitmq.kill())?;
    tokio::time::sleep(Duration::from_millis(300)).await; // both clients notice
    tokio::task::block_in_place(|| rabbitmq.restart())?;

    let summary = replay.await?.context("replay over the crash")?;
    ensure!(summary.acknowledged == summary.published, "{summary:?}");
    city.settled_at(summary.published).await?;
    city.has_all_of(config).await?;
    city.stop()?;
    Ok(())
}

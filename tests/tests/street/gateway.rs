//! The reference gateway: what it took is stored, once, whatever happens to it and to the broker.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use simulators::broker::Broker;
use simulators::replay::{self, Progress, Speed};
use tests::mosquitto::Mosquitto;
use tests::process::{Program, Workplace};
use tests::{City, Plan, Storage};
use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

tests::at_each_level!(what_a_gateway_took_outlives_the_brokers_disk);

/// Readings of the feed wntr-net3, which has 40,808 messages: 202 come twice.
const READINGS: i64 = 40_606;

mod scenarios {
    pub use super::what_a_gateway_took_outlives_the_brokers_disk;
}

/// `screenline gateway run`, listening to a broker near its sensors.
struct Gateway {
    child: Child,
}

impl Gateway {
    fn start(folder: &Path, near: &Mosquitto, far: &Mosquitto) -> anyhow::Result<Gateway> {
        let log = folder.join("gateway.log");
        let before = fs::read_to_string(&log).unwrap_or_default().matches("listening").count();
        let child = Command::new(Program::Ordinary.path()?)
            .args(["gateway", "run", "gate-1", "--from", &near.url(), "--broker-url", &far.url()])
            .arg("--spool")
            .arg(folder.join("spool"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .context("start a gateway")?;
        let gateway = Gateway { child };
        while fs::read_to_string(&log)?.matches("listening").count() == before {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    fn end(mut self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn what_a_gateway_took_outlives_the_brokers_disk(storage: Storage) -> anyhow::Result<()> {
    let ours = Workplace::new()?;
    let near = Mosquitto::start(&ours.path().join("near"), &[])?;
    let mut far = Mosquitto::start(&ours.path().join("far"), &[])?;
    let city = Plan::up(storage).args(&["--broker-url", &far.url()]).start().await?;
    let gateway = block_in_place(|| Gateway::start(ours.path(), &near, &far))?;

    let mut config = city.replay_config("wntr-net3", Speed::Max)?;
    config.broker = Broker::parse(&near.url())?;
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(replay::run(config, progress.clone(), CancellationToken::new()));
    let sent = async |messages: u64| {
        city.eventually("messages near the sensors", async || {
            Ok((messages <= progress.acknowledged.load(Ordering::Relaxed)).then_some(()))
        })
        .await
    };

    // The city's broker loses all it has, twice; the gateway is killed in between.
    sent(5_000).await?;
    lose(&mut far).await?;
    sent(15_000).await?;
    block_in_place(|| gateway.end(Signal::SIGKILL))?;
    let gateway = block_in_place(|| Gateway::start(ours.path(), &near, &far))?;
    sent(25_000).await?;
    lose(&mut far).await?;
    let summary = replay.await?.context("replay near the sensors")?;
    ensure!(summary.acknowledged == summary.published, "{summary:?}");

    stored(&city, ours.path()).await?;
    block_in_place(|| gateway.end(Signal::SIGTERM))?;
    let account = city.account().await?;
    account.adds_up()?;
    ensure!(account.conflict == 0 && account.rejected_messages == 0, "{account:?}");
    city.stop()?;
    Ok(())
}

async fn lose(broker: &mut Mosquitto) -> anyhow::Result<()> {
    block_in_place(|| broker.kill())?;
    broker.wipe()?;
    sleep(Duration::from_millis(200)).await; // all clients notice
    block_in_place(|| broker.restart())
}

/// Waits until all of it is there, and every number of the gateway is committed.
async fn stored(city: &City, folder: &Path) -> anyhow::Result<()> {
    let sql = "SELECT (SELECT count(*) FROM reading),
                      (SELECT coalesce(string_agg(seen::text, ' '), '') FROM source_position WHERE source = 'gate-1')";
    let all = city.eventually("every reading of the feed", async || {
        let row = city.database().query_one(sql, &[]).await?;
        let (readings, seen): (i64, String) = (row.get(0), row.get(1));
        // One range from the first number on: no gap.
        let whole = seen.starts_with("{[1,") && seen.matches('[').count() == 1;
        Ok((readings == READINGS && whole).then_some(()))
    });
    all.await.with_context(|| fs::read_to_string(folder.join("gateway.log")).unwrap_or_default())
}

//! What is recorded is what was there: replayed into another city it makes the same tables, and a killed recorder loses
//! nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use simulators::broker::Broker;
use simulators::feed::Feed;
use simulators::recording::{Message, Recording};
use simulators::replay::{self, Progress, Speed};
use tests::city::PATIENCE;
use tests::command;
use tests::mosquitto::Mosquitto;
use tests::process::{Workplace, run};
use tests::tables::Snapshot;
use tests::{City, Storage, say};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

tests::at_each_level!(a_recorded_city_replayed_into_another_makes_the_same_tables);

const MESSAGES: u64 = 40_808;

mod scenarios {
    pub use super::a_recorded_city_replayed_into_another_makes_the_same_tables;
}

/// A running `screenline record`.
struct Recorder {
    child: Child,
    log: PathBuf,
}

impl Recorder {
    /// Returns when it is subscribed.
    fn start(folder: &Path, broker_url: &str, args: &[&str]) -> anyhow::Result<Recorder> {
        let log = folder.join("recorder.log");
        let before = fs::read_to_string(&log).unwrap_or_default().matches("recording").count();
        let child = command::alone(&["record", "--broker-url", broker_url, "--out"])?
            .arg(folder.join("city.rec"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .context("start a recorder")?;
        let recorder = Recorder { child, log };
        let deadline = Instant::now() + PATIENCE;
        while recorder.said().matches("recording").count() == before {
            ensure!(Instant::now() < deadline, "the recorder does not subscribe:\n{}", recorder.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(recorder)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(mut self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        let status = self.child.wait()?;
        ensure!(signal == Signal::SIGKILL || status.success(), "{status}:\n{}", self.said());
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The messages in whole blocks of a file that is being written.
fn messages(path: &Path) -> anyhow::Result<Vec<Message>> {
    Ok(Recording::open(path)?.read()?.collect::<Result<_, _>>()?)
}

fn holds(path: &Path, at_least: usize) -> anyhow::Result<Vec<Message>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = messages(path)?;
        if at_least <= found.len() {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{} of {at_least} messages were recorded", found.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub async fn a_recorded_city_replayed_into_another_makes_the_same_tables(
    storage: Storage,
) -> anyhow::Result<()> {
    let ours = Workplace::new()?;
    let path = ours.path().join("city.rec");
    let city = City::up(storage).await?;
    let args = ["--filter", "city/#", "--time", "city/water/+/register=rfc3339:/time"];
    let recorder = block_in_place(|| Recorder::start(ours.path(), city.mqtt_url(), &args))?;
    city.replay_feed("wntr-net3", Speed::Max, Arc::default()).await?;
    city.publish("city/water/WM-101/register", "{ no JSON").await?; // a rejection is a row as well
    city.settled().await?;
    let first = Snapshot::read(city.database()).await?;
    block_in_place(|| holds(&path, MESSAGES as usize + 1))?;
    block_in_place(|| recorder.end(Signal::SIGINT))?;
    city.stop()?;
    let recorded = messages(&path)?.len() as u64;
    ensure!(recorded == MESSAGES + 1, "{recorded} messages were recorded");

    let other = City::up(storage).await?;
    let file = path.display().to_string();
    let args =
        ["replay", &file, "--broker-url", other.mqtt_url(), "--speed", "max", "--connections", "4", "--json"];
    let output = block_in_place(|| run(&args, &[]))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(summary["acknowledged"] == MESSAGES + 1 && summary["gaps"] == 0, "{summary}");
    other.published(MESSAGES + 1);
    other.settled().await?;
    ensure!(!first.rows("reading").is_empty() && !first.rows("rejection").is_empty(), "nothing to compare");
    first.equals(&Snapshot::read(other.database()).await?)?;
    other.stop()?;
    Ok(())
}

/// Without a city: the broker and the recorder are all there is to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_recorder_that_is_started_again_loses_nothing() -> anyhow::Result<()> {
    let ours = Workplace::new()?;
    let path = ours.path().join("city.rec");
    let broker = block_in_place(|| Mosquitto::start(&ours.path().join("broker"), &[]))?;
    let args = ["--client-id", "recorder"];
    let feed = Feed::named("wntr-net3").context("the feed")?.recording()?;
    let mut recorder = block_in_place(|| Recorder::start(ours.path(), &broker.url(), &args))?;
    let config = replay::Config::new(Broker::parse(&broker.url())?, feed.clone(), Speed::Times(60_000.0));
    let progress = Arc::new(Progress::default());
    let replay = tokio::spawn(replay::run(config, progress, CancellationToken::new()));
    let mut cuts = 0;
    for at_least in [3_000, 12_000, 25_000] {
        let there = block_in_place(|| holds(&path, at_least))?.len();
        cuts += u32::from(there < MESSAGES as usize);
        block_in_place(|| recorder.end(Signal::SIGKILL))?;
        say(&format!("killed the recorder at {there} messages"));
        recorder = block_in_place(|| Recorder::start(ours.path(), &broker.url(), &args))?;
    }
    ensure!(0 < cuts, "everything was recorded before the recorder could be killed");
    let summary = replay.await??;
    ensure!(summary.acknowledged == MESSAGES, "{summary:?}");

    // At least once: what was on disk and not acknowledged comes twice.
    let deadline = Instant::now() + PATIENCE;
    let missing = || -> anyhow::Result<usize> {
        let mut found: Vec<_> = messages(&path)?.into_iter().map(|m| (m.topic, m.payload)).collect();
        found.sort_unstable();
        let sent = feed.read()?.map(|message| message.map(|m| (m.topic, m.payload)));
        let sent: Vec<_> = sent.collect::<Result<_, _>>()?;
        Ok(sent.iter().filter(|message| found.binary_search(message).is_err()).count())
    };
    while block_in_place(missing)? != 0 {
        ensure!(Instant::now() < deadline, "{} messages are missing", missing()?);
        block_in_place(|| std::thread::sleep(Duration::from_millis(200)));
    }
    block_in_place(|| recorder.end(Signal::SIGTERM))?;
    let recorded = messages(&path)?.len();
    say(&format!("{recorded} messages recorded of {MESSAGES}"));
    ensure!(MESSAGES as usize <= recorded, "{recorded} messages were recorded");
    Ok(())
}

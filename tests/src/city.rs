//! A running city, and what a test does to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use simulators::broker::Broker;
use simulators::feed::Feed;
use simulators::recording::{Header, Message, Recording, Writer};
use simulators::replay::{self, Progress, Speed};
use tokio::task::block_in_place;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

use crate::Storage;
use crate::command;
use crate::page::Page;
use crate::process::{Manner, Process, Program, Workplace};
use crate::tables::Account;

/// How long a city may take for anything. Generous: these tests say what happens, not how fast.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The tables must stand still for so long, unacknowledged messages and marks at zero, to count as settled.
const STILL: Duration = Duration::from_secs(2);

/// Marks of buckets that are over, with a minute for the roller's own idea of "over".
const DIRTY_CLOSED: &str = "
    SELECT count(*)
    FROM dirty
    WHERE bucket + CASE level
        WHEN 0 THEN interval '5 minutes'
        WHEN 1 THEN interval '1 hour'
        ELSE interval '25 hours'
    END < now() - interval '1 minute'";

/// How to start a city.
#[derive(Debug)]
pub struct Plan {
    command: &'static str,
    storage: Storage,
    args: Vec<String>,
    manner: Manner,
    workplace: Option<Workplace>,
}

impl Plan {
    /// `screenline up`, taking readings of any age and keeping them.
    pub fn up(storage: Storage) -> Plan {
        Plan::by_default(storage).args(&[
            "--lateness-horizon",
            "unlimited",
            "--keep",
            "readings=forever,events=forever",
        ])
    }

    /// `screenline up` with the settings it has by itself.
    pub fn by_default(storage: Storage) -> Plan {
        Plan::of("up", storage)
    }

    /// `screenline demo`.
    pub fn demo(storage: Storage) -> Plan {
        Plan::of("demo", storage)
    }

    /// Takes in sensors that nobody announced, unless the arguments say otherwise.
    fn of(command: &'static str, storage: Storage) -> Plan {
        let plan = Plan { command, storage, args: Vec::new(), manner: Manner::default(), workplace: None };
        plan.env("SCREENLINE_REGISTRY", "open")
    }

    /// Of the build with failpoints and planted bugs.
    #[must_use]
    pub fn faulty(mut self) -> Plan {
        self.manner.program = Program::Faulty;
        self
    }

    /// With a setting in the environment of the city and its children.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Plan {
        self.manner.env.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Plan {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// On the data that an earlier city left.
    #[must_use]
    pub fn on(mut self, workplace: Workplace) -> Plan {
        self.workplace = Some(workplace);
        self
    }

    /// Starts the city and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; its last lines are shown.
    pub async fn start(self) -> anyhow::Result<City> {
        let workplace = self.workplace.map_or_else(Workplace::new, Ok)?;
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut process = Process::city(self.command, &workplace, self.storage, &args, &self.manner)?;
        let ready = block_in_place(|| process.ready())?;
        let database = connect(ready["database"].as_str().context("`database` in the ready file")?).await?;
        let found = ready["storage"].as_str().unwrap_or_default();
        ensure!(
            found.starts_with(self.storage.name()),
            "asked for storage {}, got {found}",
            self.storage.name()
        );
        let recordings = AtomicU64::new(0);
        Ok(City { process, workplace, ready, database, published: AtomicU64::new(0), recordings })
    }
}

/// A city, stopped when dropped.
#[derive(Debug)]
pub struct City {
    // Before the workplace, so that it has ended when its folder is removed.
    process: Process,
    workplace: Workplace,
    ready: Value,
    database: Client,
    published: AtomicU64,
    recordings: AtomicU64,
}

impl City {
    /// `screenline up` at a storage level.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn up(storage: Storage) -> anyhow::Result<City> {
        Plan::up(storage).start().await
    }

    pub fn workplace(&self) -> &Workplace {
        &self.workplace
    }

    /// Leaves the city's folder where it is, for somebody to look at.
    pub fn keep_workplace(&mut self) {
        self.workplace.keep();
    }

    /// As [`Process::ready_file`].
    pub fn ready_file(&self) -> &Path {
        self.process.ready_file()
    }

    pub fn mqtt_url(&self) -> &str {
        self.ready["mqtt"].as_str().unwrap_or_default()
    }

    pub fn flight_url(&self) -> &str {
        self.ready["flight"].as_str().unwrap_or_default()
    }

    pub fn database_url(&self) -> &str {
        self.ready["database"].as_str().unwrap_or_default()
    }

    /// A connection to the city's database, in UTC.
    pub fn database(&self) -> &Client {
        &self.database
    }

    /// # Errors
    /// When the database does not take another connection.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.database_url()).await
    }

    /// Connects again, after the database was restarted.
    ///
    /// # Errors
    /// When it does not answer in [`PATIENCE`].
    pub async fn reconnect(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connect(self.database_url()).await {
                Ok(client) => {
                    self.database = client;
                    return Ok(());
                }
                Err(error) if deadline < Instant::now() => return Err(error),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Standard output of the program so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Standard error of the program so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// # Errors
    /// When nobody serves the metrics.
    pub async fn metrics(&self) -> anyhow::Result<Page> {
        Page::fetch(self.ready["metrics"].as_str().context("`metrics` in the ready file")?).await
    }

    /// The process id of a child: `ingest`, `query`, `postgres` or `mosquitto`.
    ///
    /// # Errors
    /// When the ready file does not name it.
    pub fn pid(&mut self, child: &str) -> anyhow::Result<u32> {
        let ready = self.process.ready_now()?.context("the ready file is gone")?;
        let pid = ready["pids"][child].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.with_context(|| format!("no process id of {child} in the ready file"))
    }

    /// Kills a child with SIGKILL and waits until it was started again.
    ///
    /// # Errors
    /// When the supervisor does not start it again.
    pub async fn kill(&mut self, child: &str) -> anyhow::Result<()> {
        let pid = self.pid(child)?;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).with_context(|| format!("kill {child}"))?;
        let deadline = Instant::now() + PATIENCE;
        while self.pid(child).map_or(true, |now| now == pid) {
            ensure!(Instant::now() < deadline, "{child} was killed and not started again");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// # Errors
    /// As [`City::kill`].
    pub async fn kill_ingest(&mut self) -> anyhow::Result<()> {
        self.kill("ingest").await
    }

    /// Publishes one message and waits for the broker's acknowledgement.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish(&self, topic: &str, payload: impl AsRef<[u8]>) -> anyhow::Result<()> {
        self.publish_all(vec![(topic.to_owned(), payload.as_ref().to_owned())]).await
    }

    /// Publishes messages in their order, at full speed, and waits for all acknowledgements.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_all(&self, messages: Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
        let number = self.recordings.fetch_add(1, Ordering::Relaxed);
        let path = self.workplace.path().join(format!("published-{number}.rec"));
        let mut writer = Writer::create(&path, &Header::named("test"))?;
        for (topic, payload) in messages {
            writer.write(&Message::new(Timestamp::UNIX_EPOCH, topic, payload))?;
        }
        writer.finish()?;
        self.replay(self.config(Recording::open(&path)?, Speed::Max)?, Arc::default()).await
    }

    /// Imports what a bundled feed says of its sensors, series, segments and zones.
    ///
    /// # Errors
    /// When there is no such feed, or it is refused.
    pub fn import_registry(&self, feed: &str) -> anyhow::Result<()> {
        let mut args = vec!["registry".to_owned(), "import".to_owned()];
        for (file, text) in Feed::named(feed).with_context(|| format!("no bundled feed {feed}"))?.registry() {
            let path = self.workplace.path().join(format!("{feed}-{file}"));
            fs::write(&path, text).context("write a registry file")?;
            args.push(path.display().to_string());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command::json(&self.workplace, &args).map(drop)
    }

    /// How a bundled feed is replayed to this city, with its recorded times.
    ///
    /// # Errors
    /// When there is no such feed.
    pub fn replay_config(&self, feed: &str, speed: Speed) -> anyhow::Result<replay::Config> {
        let feed = Feed::named(feed).with_context(|| format!("no bundled feed {feed}"))?;
        self.config(feed.recording()?, speed)
    }

    /// Replays a bundled feed with its recorded times.
    ///
    /// # Errors
    /// When there is no such feed, or the broker does not take a message.
    pub async fn replay_feed(&self, name: &str, speed: Speed, progress: Arc<Progress>) -> anyhow::Result<()> {
        self.replay(self.replay_config(name, speed)?, progress).await
    }

    /// Replays a feed that was replayed before, and settles: all of it was there, and once, if this adds nothing.
    ///
    /// # Errors
    /// Something was not there, or the broker does not take a message.
    pub async fn has_all_of(&self, config: replay::Config) -> anyhow::Result<()> {
        let before = self.account().await?;
        before.adds_up()?;
        let summary = replay::run(config, Arc::default(), CancellationToken::new()).await?;
        self.settled_at(u64::try_from(before.received)? + summary.published).await?;
        let after = self.account().await?;
        ensure!(before.stored == after.stored && after.conflict == 0, "before {before:?}, after {after:?}");
        Ok(())
    }

    /// Counts messages that somebody else published, so that [`City::settled`] waits for them.
    pub fn published(&self, messages: u64) {
        self.published.fetch_add(messages, Ordering::Relaxed);
    }

    fn config(&self, recording: Recording, speed: Speed) -> anyhow::Result<replay::Config> {
        Ok(replay::Config::new(Broker::parse(self.mqtt_url())?, recording, speed))
    }

    /// Replays as configured, and counts what was published.
    ///
    /// # Errors
    /// When the broker does not take a message.
    pub async fn replay(&self, config: replay::Config, progress: Arc<Progress>) -> anyhow::Result<()> {
        let summary = replay::run(config, progress, CancellationToken::new()).await?;
        ensure!(summary.acknowledged == summary.published, "{summary:?}");
        self.published(summary.published);
        Ok(())
    }

    /// Waits until everything that this harness published was received and acknowledged, and every bucket that
    /// is over was rolled.
    ///
    /// # Errors
    /// Says what is still missing after [`PATIENCE`] without progress.
    pub async fn settled(&self) -> anyhow::Result<()> {
        self.settled_at(self.published.load(Ordering::Relaxed)).await
    }

    /// Waits until at least so many messages were received, and for the rest as [`City::settled`].
    ///
    /// # Errors
    /// As [`City::settled`].
    pub async fn settled_at(&self, messages: u64) -> anyhow::Result<()> {
        let mut last = None;
        let mut since = Instant::now();
        loop {
            let received = self.account().await?.received;
            let dirty: i64 = self.database.query_one(DIRTY_CLOSED, &[]).await?.get(0);
            // Absent while ingest is being started again: not settled.
            let page = self.metrics().await.ok();
            let unacknowledged = page.and_then(|page| page.value("screenline_unacknowledged_messages"));
            let now = (received, dirty, unacknowledged);
            if last != Some(now) {
                (last, since) = (Some(now), Instant::now());
            }
            let arrived = u64::try_from(received).is_ok_and(|received| messages <= received);
            if arrived && dirty == 0 && unacknowledged == Some(0.0) && STILL < since.elapsed() {
                return Ok(());
            }
            if PATIENCE < since.elapsed() {
                bail!(
                    "the city does not settle: {received} of {messages} messages received, {dirty} marks of buckets \
                     that are over, {unacknowledged:?} unacknowledged messages, and no change for {PATIENCE:?}"
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks again until the answer is there.
    ///
    /// # Errors
    /// When it is not after [`PATIENCE`]; `what` says what was waited for.
    pub async fn eventually<T>(
        &self,
        what: &str,
        mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "still not there: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The totals of the ledger.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn account(&self) -> anyhow::Result<Account> {
        Account::read(&self.database).await
    }

    /// Sends SIGINT, as Ctrl-C does, waits for the end and returns standard output.
    ///
    /// # Errors
    /// When the program does not end, or not with success.
    pub fn interrupt(mut self) -> anyhow::Result<String> {
        self.process.signal(Signal::SIGINT)?;
        let status = block_in_place(|| self.process.wait())?;
        ensure!(status.success(), "screenline ended with {status} after Ctrl-C");
        self.process.forget();
        Ok(self.process.output())
    }

    /// Stops the city in order and leaves its data.
    ///
    /// # Errors
    /// When it does not stop, or not with success.
    pub fn stop(self) -> anyhow::Result<Workplace> {
        let City { mut process, workplace, .. } = self;
        block_in_place(|| process.stop())?;
        Ok(workplace)
    }
}

/// A connection in UTC.
///
/// # Errors
/// When the database does not take it.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("connect to the database")?;
    // Its end is the city's end, or the next query's error.
    tokio::spawn(connection);
    client.batch_execute("SET TIME ZONE 'UTC'").await?;
    Ok(client)
}

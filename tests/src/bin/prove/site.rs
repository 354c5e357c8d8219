//! A city that one run after the other is held in: with failpoints, and with hands on its processes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tests::city::connect;
use tests::rabbitmq::{Queue, RabbitMq};
use tests::{City, Plan, Storage};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::fault::{Blow, Fault, Moment, Target};

/// A started child is named in the ready file this soon, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// RabbitMQ notes a new quorum queue half a second after its making, and forgets it when it is killed before.
const QUEUE_NOTED: Duration = Duration::from_secs(5);
/// After the load, for a failpoint that the roller passes.
const STRIKE_PATIENCE: Duration = Duration::from_secs(3);

pub struct Site {
    pub city: City,
    pub storage: Storage,
    /// Runs held here so far.
    pub runs: u32,
    faults: PathBuf,
    /// In place of the private broker.
    durable: Option<Durable>,
}

/// A RabbitMQ, which nobody but us starts again.
struct Durable {
    broker: RabbitMq,
    // After the broker, so that it has ended when its folder is removed.
    _folder: TempDir,
}

impl Site {
    /// Starts a city of the faulty build, with more settings for its processes.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(storage: Storage, env: &[(&str, &str)]) -> anyhow::Result<Site> {
        Site::start_at(None, storage, env).await
    }

    /// Starts a city at a RabbitMQ with quorum queues.
    ///
    /// # Errors
    /// As [`Site::start`], or RabbitMQ is not installed.
    pub async fn start_durable(storage: Storage) -> anyhow::Result<Site> {
        ensure!(RabbitMq::is_installed(), "RabbitMQ is not installed: see deploy/setup --for test");
        let folder = tempfile::tempdir()?;
        let broker = block_in_place(|| RabbitMq::start(folder.path(), Queue::Quorum))?;
        let site = Site::start_at(Some(Durable { broker, _folder: folder }), storage, &[]).await?;
        sleep(QUEUE_NOTED).await;
        Ok(site)
    }

    async fn start_at(
        durable: Option<Durable>,
        storage: Storage,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Site> {
        let faults = tempfile::Builder::new().prefix("screenline-faults-").tempdir_in("/tmp")?.keep();
        let mut plan = Plan::up(storage).faulty().env("SCREENLINE_FAULTS", &faults.display().to_string());
        for (name, value) in env {
            plan = plan.env(name, value);
        }
        if let Some(Durable { broker, .. }) = &durable {
            plan = plan.args(&["--broker-url", &broker.url()]);
        }
        let city = plan.start().await?;
        Ok(Site { city, storage, runs: 0, faults, durable })
    }

    /// With the login, where there is one.
    pub fn mqtt_url(&self) -> String {
        match &self.durable {
            Some(Durable { broker, .. }) => broker.url(),
            None => self.city.mqtt_url().to_owned(),
        }
    }

    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.city.database_url()).await
    }

    /// Prepares a fault that strikes by itself, at a failpoint.
    ///
    /// # Errors
    /// The failpoint's file cannot be written.
    pub fn arm(&self, fault: &Fault) -> anyhow::Result<()> {
        let Moment::Point(point, nth) = fault.moment else { return Ok(()) };
        let what = match fault.blow {
            Blow::Kill => "kill",
            Blow::Stop(_) => "stop",
            Blow::Error => "error",
            Blow::Terminate | Blow::Disconnect => bail!("a failpoint does not {:?}", fault.blow),
        };
        // In one step: half a file would be another order.
        let beside = self.faults.join(".new");
        fs::write(&beside, format!("{nth} {what}"))?;
        fs::rename(beside, self.faults.join(point))?;
        Ok(())
    }

    /// Strikes at its moment, counted from now. Returns whether it struck: a failpoint that nothing passed did not.
    ///
    /// # Errors
    /// The process to strike does not exist.
    pub async fn strike(&mut self, fault: &Fault, load_ends: Instant) -> anyhow::Result<bool> {
        match fault.moment {
            Moment::AfterMs(ms) => {
                sleep(Duration::from_millis(ms)).await;
                self.blow(fault).await
            }
            Moment::Point(point, _) => {
                let file = self.faults.join(point);
                let deadline = load_ends + STRIKE_PATIENCE;
                while file.exists() {
                    if deadline < Instant::now() && fs::remove_file(&file).is_ok() {
                        return Ok(false);
                    }
                    sleep(LOOK).await;
                }
                if let Blow::Stop(seconds) = fault.blow {
                    sleep(Duration::from_secs(seconds)).await;
                    self.signal("ingest", Signal::SIGCONT)?;
                }
                Ok(true)
            }
        }
    }

    async fn blow(&mut self, fault: &Fault) -> anyhow::Result<bool> {
        if let (Target::Broker, Some(Durable { broker, .. })) = (fault.target, &mut self.durable) {
            match fault.blow {
                Blow::Kill => block_in_place(|| broker.kill())?,
                Blow::Terminate => block_in_place(|| broker.stop())?,
                Blow::Stop(seconds) => {
                    let pid = i32::try_from(broker.id())?;
                    self.stop_for(pid, seconds).await?;
                    return Ok(true);
                }
                Blow::Error | Blow::Disconnect => bail!("RabbitMQ has no {:?}", fault.blow),
            }
            block_in_place(|| broker.restart())?;
            return Ok(true);
        }
        let child = match fault.target {
            Target::Ingest => "ingest",
            Target::Query => "query",
            Target::Broker => "mosquitto",
            Target::Postmaster => "postgres",
            Target::Backend(whose) => return self.blow_on_backend(whose, fault.blow).await,
        };
        match fault.blow {
            Blow::Kill => self.signal(child, Signal::SIGKILL)?,
            Blow::Terminate if fault.target == Target::Postmaster => self.signal(child, Signal::SIGINT)?,
            Blow::Terminate => self.signal(child, Signal::SIGTERM)?,
            Blow::Stop(seconds) => {
                let pid = self.pid(child)?;
                self.stop_for(pid, seconds).await?;
            }
            Blow::Error | Blow::Disconnect => bail!("{child} has no {:?} at a random moment", fault.blow),
        }
        Ok(true)
    }

    async fn blow_on_backend(&mut self, whose: &str, blow: Blow) -> anyhow::Result<bool> {
        let database = self.connect().await?;
        let query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
        let Some(row) = database.query_opt(query, &[&whose]).await? else { return Ok(false) };
        let pid: i32 = row.get(0);
        match blow {
            Blow::Kill => signal(pid, Signal::SIGKILL)?,
            Blow::Stop(seconds) => self.stop_for(pid, seconds).await?,
            _ => drop(database.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await?),
        }
        Ok(true)
    }

    async fn stop_for(&self, pid: i32, seconds: u64) -> anyhow::Result<()> {
        signal(pid, Signal::SIGSTOP)?;
        sleep(Duration::from_secs(seconds)).await;
        signal(pid, Signal::SIGCONT)
    }

    fn signal(&mut self, child: &str, what: Signal) -> anyhow::Result<()> {
        signal(self.pid(child)?, what).with_context(|| format!("{what} to {child}"))
    }

    fn pid(&mut self, child: &str) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.city.pid(child)?)?)
    }

    /// Makes every passage of a failpoint take so long, until it is dropped. Ends with what went wrong.
    pub fn slow(&self, point: &str, by: Duration) -> impl Future<Output = anyhow::Error> + use<> {
        let (file, order) = (self.faults.join(point), format!("1 sleep {}", by.as_millis()));
        async move {
            loop {
                if let Err(error) = fs::write(&file, &order) {
                    return error.into();
                }
                sleep(LOOK).await;
            }
        }
    }

    /// Stops the city in order.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.faults)?;
        self.city.stop()?;
        Ok(())
    }

    /// Waits until every child runs again.
    ///
    /// # Errors
    /// One does not.
    pub async fn whole(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let broker = if self.durable.is_none() { Some("mosquitto") } else { None };
        for child in ["postgres", "ingest", "query"].into_iter().chain(broker) {
            while !self.pid(child).is_ok_and(|pid| kill(Pid::from_raw(pid), None).is_ok()) {
                ensure!(Instant::now() < deadline, "{child} was not started again");
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

fn signal(pid: i32, what: Signal) -> anyhow::Result<()> {
    match kill(Pid::from_raw(pid), what) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()), // it has just ended by itself
        Err(error) => Err(error).with_context(|| format!("{what} to process {pid}")),
    }
}

//! A city that one run after the other is held in: with failpoints, and with hands on its processes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::city::connect;
use tests::{City, Plan, Storage};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::fault::{Blow, Fault, Moment, Target};

/// A started child is named in the ready file this soon, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// After the load, for a failpoint that the roller passes.
const STRIKE_PATIENCE: Duration = Duration::from_secs(3);

pub struct Site {
    pub city: City,
    pub storage: Storage,
    /// Runs held here so far.
    pub runs: u32,
    faults: PathBuf,
}

impl Site {
    /// Starts a city of the faulty build, with more settings for its processes.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(storage: Storage, env: &[(&str, &str)]) -> anyhow::Result<Site> {
        let faults = tempfile::Builder::new().prefix("screenline-faults-").tempdir_in("/tmp")?.keep();
        let mut plan = Plan::up(storage).faulty().env("SCREENLINE_FAULTS", &faults.display().to_string());
        for (name, value) in env {
            plan = plan.env(name, value);
        }
        let city = plan.start().await?;
        Ok(Site { city, storage, runs: 0, faults })
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
        for child in ["postgres", "mosquitto", "ingest", "query"] {
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

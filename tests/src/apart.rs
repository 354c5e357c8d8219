//! A city whose ingest runs apart from it, behind proxies: to break its lines, or to run several.

use std::net::SocketAddr;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::block_in_place;

use crate::page::Page;
use crate::process::{Manner, Process, Program};
use crate::proxy::{Proxy, Upstream};
use crate::{City, Plan, Storage};

/// A city without an ingest of its own, and the lines to its database and its broker.
#[derive(Debug)]
pub struct Apart {
    pub database: Proxy,
    pub broker: Proxy,
    pub city: City,
    storage: Storage,
}

impl Apart {
    /// # Errors
    /// The city or a proxy does not start.
    pub async fn start(storage: Storage) -> anyhow::Result<Apart> {
        Self::start_with(storage, &[]).await
    }

    /// With more arguments for the city, such as another broker.
    ///
    /// # Errors
    /// As [`Apart::start`].
    pub async fn start_with(storage: Storage, more: &[&str]) -> anyhow::Result<Apart> {
        let city = Plan::up(storage).args(&["--no-ingest"]).args(more).start().await?;
        let broker: SocketAddr = city
            .mqtt_url()
            .trim_start_matches("mqtt://")
            .trim_end_matches('/')
            .parse()
            .context("the broker's address")?;
        let socket = city.workplace().data().join("run/.s.PGSQL.5432");
        let database = Proxy::start(Upstream::Unix(socket)).await?;
        let broker = Proxy::start(Upstream::Tcp(broker)).await?;
        Ok(Apart { database, broker, city, storage })
    }

    /// Starts an ingest behind the proxies; `name` names its files and its session.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn ingest(&self, name: &str) -> anyhow::Result<Ingest> {
        self.ingest_with(name, &[], &Manner { program: Program::Faulty, ..Manner::default() })
    }

    /// As [`Apart::ingest`], with more arguments, another build, or settings in the environment.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn ingest_with(&self, name: &str, more: &[&str], manner: &Manner) -> anyhow::Result<Ingest> {
        let database = format!("postgres://screenline@{}/screenline", self.database.address);
        let broker = format!("mqtt://{}", self.broker.address);
        let mut args = vec!["ingest", "--broker-url", &broker, "--database-url", &database];
        args.extend(["--lateness-horizon", "unlimited", "--keep", "readings=forever,events=forever"]);
        args.extend(["--registry", "open"]);
        args.extend(["--storage", self.storage.name()]);
        args.extend(["--metrics-listen", "127.0.0.1:0"]);
        if !more.contains(&"--client-id") {
            args.extend(["--client-id", name]);
        }
        args.extend(more);
        let mut process = Process::start_as(self.city.workplace(), name, &args, manner)?;
        let ready = block_in_place(|| process.ready())?;
        let metrics = ready["metrics"].as_str().context("`metrics` in the ready file")?.to_owned();
        Ok(Ingest { process, metrics })
    }
}

/// An ingest of its own.
#[derive(Debug)]
pub struct Ingest {
    process: Process,
    metrics: String,
}

impl Ingest {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// # Errors
    /// Nobody serves the metrics.
    pub async fn metrics(&self) -> anyhow::Result<Page> {
        Page::fetch(&self.metrics).await
    }

    /// A metric's sum over all labels, 0 where it has none.
    ///
    /// # Errors
    /// Nobody serves the metrics.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        Ok(self.metrics().await?.value(name).unwrap_or_default())
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// # Errors
    /// It has ended.
    pub fn signal(&self, what: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), what).with_context(|| format!("{what} to ingest"))
    }

    /// Stops it in order; its session stays with the broker.
    ///
    /// # Errors
    /// It does not end, or not with success.
    pub fn stop(mut self) -> anyhow::Result<()> {
        block_in_place(|| self.process.stop())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        block_in_place(|| self.process.wait())?;
        self.process.forget();
        Ok(())
    }
}

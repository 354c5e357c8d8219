//! What is measured on: a private city that goes away afterwards, with a second database for stages that write by hand.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use jiff::Timestamp;
use processor::{
    model::{Kind, MetricName, Proposal, SensorId, SeriesId},
    registry::{self, Admission, Registry},
    store::{self, Level, StorageChoice},
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_postgres::Client;

use super::{
    cpu::{self, OBSERVER, Seconds},
    figure::Round,
    load,
};
use crate::{
    city::{City, Services},
    cli::{Cli, Command, LogArgs, UpArgs},
    console::Console,
    exposition,
    monitor::Pages,
    supervisor::leftover,
    telemetry,
};

const DAY_S: i64 = 86_400;
/// Longer than any stage may need until what it sent is stored or rolled.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

pub struct Ground {
    pub city: City,
    pub level: Level,
    /// Of the broker.
    pub broker: SocketAddr,
    /// The database that only the bench writes to.
    pub bench_url: String,
    pub observer: Client,
    storage: StorageChoice,
    pages: Pages,
    _folder: TempDir,
}

/// The midnight (UTC) so many days before today's.
pub fn midnight_s(days_ago: i64) -> i64 {
    let now_s = Timestamp::now().as_second();
    now_s - now_s.rem_euclid(DAY_S) - days_ago * DAY_S
}

impl Ground {
    /// # Errors
    /// A city cannot be started here; what was started is stopped again.
    pub async fn start(storage: StorageChoice, log: &LogArgs, console: &Console) -> anyhow::Result<Ground> {
        let folder = tempfile::Builder::new()
            .prefix(leftover::PREFIX)
            .permissions(fs::Permissions::from_mode(0o755)) // the database has a user of its own
            .tempdir()
            .context("make a temporary data folder")?;
        let args = arguments(storage)?;
        let services = Services::default();
        let (_, ready) = watch::channel(true);
        let pages = Pages::new(telemetry::metrics("launcher")?, ready, services.pages(&args));
        let tell = |_: &str, _: Duration| {};
        let prepare = async |client: &mut Client| {
            register(client).await?;
            Ok(())
        };
        let city = City::start(&args, log, folder.path(), console, &services, &tell, prepare).await?;
        match Self::around(&city).await {
            Ok((broker, bench_url, observer)) => {
                let level = city.storage;
                Ok(Ground { city, level, broker, bench_url, observer, storage, pages, _folder: folder })
            }
            Err(error) => {
                city.stop().await;
                Err(error)
            }
        }
    }

    async fn around(city: &City) -> anyhow::Result<(SocketAddr, String, Client)> {
        let broker = url::Url::parse(&city.broker_url)?;
        let broker = broker.socket_addrs(|| Some(1883))?.first().copied().context("the broker's address")?;
        let observer = store::connect(&city.database_url, OBSERVER).await?;
        let admin = city.database_url.replace("user=screenline", "user=postgres");
        let admin = store::connect(&admin, OBSERVER).await?;
        admin.batch_execute("CREATE DATABASE bench OWNER screenline").await?;
        Ok((broker, city.database_url.replace("/screenline?", "/bench?"), observer))
    }

    /// The bench's own database, ready to be written to, with the series of the load.
    ///
    /// # Errors
    /// The database fails.
    pub async fn own_tables(&self) -> anyhow::Result<Tables> {
        let mut client = store::connect(&self.bench_url, "screenline-bench").await?;
        store::migrate(&mut client, self.storage, "UTC").await?;
        let (registry, ids) = register(&mut client).await?;
        Ok(Tables { client, registry: Arc::new(RwLock::new(registry)), ids })
    }

    /// What everybody has spent so far.
    pub async fn spent(&self) -> anyhow::Result<Seconds> {
        cpu::spent(&self.city.pids(), &self.observer).await
    }

    /// Does something, and says what it took. It answers how many items that were.
    pub async fn round(&self, work: impl Future<Output = anyhow::Result<u64>>) -> anyhow::Result<Round> {
        let before = self.spent().await?;
        let began = Instant::now();
        let items = work.await?;
        let wall_s = began.elapsed().as_secs_f64();
        Ok(Round { items, wall_s, cpu: cpu::between(&before, &self.spent().await?) })
    }

    /// A number of the city's metrics page.
    pub async fn metric(&self, name: &str) -> f64 {
        exposition::total(&self.pages.metrics().await, name).unwrap_or(0.0)
    }

    /// Waits until a query of one boolean says yes.
    ///
    /// # Errors
    /// It does not within five minutes, or the database fails.
    pub async fn until(&self, what: &str, holds: &str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.observer.query_one(holds, &[]).await?.get::<_, bool>(0) {
            anyhow::ensure!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until all five minutes before a time are rolled, and the hours and days of days that are over.
    ///
    /// # Errors
    /// As [`until`](Self::until).
    pub async fn rolled(&self, before_s: i64) -> anyhow::Result<()> {
        let none = format!(
            "SELECT NOT EXISTS (SELECT FROM dirty WHERE bucket < to_timestamp({before_s})
                                AND (level = 0 OR bucket < to_timestamp({})))",
            midnight_s(0)
        );
        self.until("everything is rolled", &none).await
    }
}

/// Makes the day of `reading` that begins at `start_s`, where the database does not make it itself.
///
/// # Errors
/// The database fails.
pub async fn day(client: &Client, level: Level, start_s: i64) -> anyhow::Result<()> {
    if level != Level::Plain {
        return Ok(());
    }
    let date = Timestamp::from_second(start_s)?.strftime("%Y%m%d");
    let day = format!(
        "CREATE TABLE IF NOT EXISTS reading_{date} PARTITION OF reading
         FOR VALUES FROM (to_timestamp({start_s})) TO (to_timestamp({}))",
        start_s + DAY_S
    );
    Ok(client.batch_execute(&day).await?)
}

/// Marks the five minutes from one time to another for the roller, of the whole city.
///
/// # Errors
/// The database fails.
pub async fn mark(client: &Client, from_s: i64, to_s: i64) -> anyhow::Result<()> {
    let marks = "INSERT INTO dirty (level, bucket, part, batch)
                 SELECT 0, to_timestamp(bucket), part, 0
                 FROM generate_series($1::int8, $2::int8, 300) AS bucket, generate_series(0, 63) AS part";
    client.execute(marks, &[&from_s, &(to_s - 1)]).await?;
    Ok(())
}

/// Tables that the bench writes by itself.
pub struct Tables {
    pub client: Client,
    pub registry: Arc<RwLock<Registry>>,
    pub ids: Vec<SeriesId>,
}

async fn register(client: &mut Client) -> anyhow::Result<(Registry, Vec<SeriesId>)> {
    let registry = RwLock::new(Registry::new(Admission::Open));
    let proposal = |(sensor, metric): (String, &str)| {
        let (sensor, metric): (SensorId, MetricName) = (sensor.parse()?, metric.parse()?);
        let (kind, unit) = (Kind::Gauge, "m".into());
        Ok::<_, String>(Proposal { sensor, metric, unit, kind, interval_s: Some(1), first: None })
    };
    let proposals =
        load::series().map(proposal).collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    registry::register(&registry, client, &proposals).await?;
    let registry = registry.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut ids: Vec<SeriesId> = registry.all_series().map(|series| series.id).collect();
    ids.sort_unstable();
    Ok((registry, ids))
}

/// Of a city on free ports, as `up` would start it.
fn arguments(storage: StorageChoice) -> anyhow::Result<UpArgs> {
    let free = "127.0.0.1:0";
    let storage = storage.to_string();
    let args = [
        "screenline",
        "up",
        "--listen",
        free,
        "--metrics-listen",
        free,
        "--mqtt-listen",
        free,
        "--registry",
        "open",
        "--storage",
        &storage,
    ];
    match Cli::try_parse_from(args)?.command {
        Command::Up(args) => Ok(*args),
        _ => unreachable!("`up` was asked for"),
    }
}

//! A running city: database, broker, ingest and query, started in that order and stopped in the reverse one.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, ensure};
use ingest::address::Access;
use nix::sys::signal::Signal;
use processor::{
    service::masked,
    store::{self, Keep, Level},
    validate::LATENESS_HORIZON,
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    access,
    cli::{LogArgs, UpArgs},
    console::Console,
    monitor, ports,
    ready::Ready,
    supervisor::{
        binaries::Binaries,
        child::{Keeper, Spec},
        data_folder::DataFolder,
        mosquitto::{self, Mosquitto},
        output::Output,
        postgres::{self, Postgres},
    },
};

/// A service drains for ten seconds and then ends by itself.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(15))];
/// Ingest reads the registry and query the series before they are ready; both are seconds for a large city.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// Above normal work: a dashboard may wait, a sensor's message may not.
const QUERY_NICENESS: &str = "5";
/// A service that ended as often before it was ever ready will not become so.
const STARTS_MAX: u64 = 3;

/// What runs. Parts that were given by URL are not ours to run.
#[derive(Debug)]
pub struct City {
    pub database_url: String,
    pub broker_url: String,
    /// What it takes to be let in at the broker.
    pub access: Access,
    pub storage: Level,
    /// Where Flight and HTTP are, as URLs.
    pub flight: String,
    pub http: String,
    parts: Parts,
}

/// The children, each present once it was started.
#[derive(Debug, Default)]
struct Parts {
    postgres: Option<Postgres>,
    mosquitto: Option<Mosquitto>,
    ingest: Option<Service>,
    query: Option<Service>,
    /// Where services put their ready files if there is no data folder.
    _runtime: Option<TempDir>,
    /// Last, so that its lock is held until the others are gone.
    _folder: Option<DataFolder>,
}

/// Told what was started, and how long it took.
pub type Tell<'a> = &'a (dyn Fn(&str, Duration) + Sync);

impl City {
    /// Starts what was not given by URL, then ingest and query, and returns when all of it is ready. `prepare` runs
    /// between the tables' migration and the start of the services.
    ///
    /// # Errors
    /// The first thing that could not be started; what was started before it is stopped again.
    pub async fn start(
        args: &UpArgs,
        log: &LogArgs,
        data: &Path,
        console: &Console,
        services: &Services,
        tell: Tell<'_>,
        prepare: impl AsyncFnOnce(&mut tokio_postgres::Client) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut parts = Parts::default();
        match launch(&mut parts, args, log, data, console, services, tell, prepare).await {
            Ok(Launched { database_url, broker_url, access, storage, flight, http }) => {
                Ok(Self { database_url, broker_url, access, storage, flight, http, parts })
            }
            Err(error) => {
                parts.stop_services().await;
                parts.stop_rest().await;
                Err(error)
            }
        }
    }

    /// What the ready file says of this city.
    pub fn ready(&self, metrics: SocketAddr) -> Ready {
        Ready {
            mqtt: Some(
                self.parts.mosquitto.as_ref().map_or_else(|| masked(&self.broker_url), Mosquitto::url),
            ),
            flight: Some(self.flight.clone()),
            http: Some(self.http.clone()),
            metrics: Some(format!("http://{metrics}/metrics")),
            database: Some(masked(&self.database_url)),
            storage: Some(self.storage.to_string()),
            pids: self.pids(),
        }
    }

    /// Process ids of the children that run now.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        self.keepers().filter_map(|keeper| Some((keeper.name.to_owned(), keeper.pid()?))).collect()
    }

    /// Stops ingest, after it has committed and acknowledged what it holds, then query.
    pub async fn stop_services(&mut self) {
        self.parts.stop_services().await;
    }

    /// Stops what is left: the broker, then the database.
    pub async fn stop(mut self) {
        self.parts.stop_services().await;
        self.parts.stop_rest().await;
    }

    fn keepers(&self) -> impl Iterator<Item = &Keeper> {
        let Parts { postgres, mosquitto, ingest, query, .. } = &self.parts;
        [
            postgres.as_ref().map(|postgres| &postgres.keeper),
            mosquitto.as_ref().map(|mosquitto| &mosquitto.keeper),
            ingest.as_ref().map(|ingest| &ingest.keeper),
            query.as_ref().map(|query| &query.keeper),
        ]
        .into_iter()
        .flatten()
    }
}

impl Parts {
    async fn stop_services(&mut self) {
        for service in [self.ingest.take(), self.query.take()].into_iter().flatten() {
            service.keeper.stop().await;
        }
    }

    async fn stop_rest(&mut self) {
        if let Some(mosquitto) = self.mosquitto.take() {
            mosquitto.keeper.stop().await;
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.keeper.stop().await;
        }
    }
}

/// Where the services' metrics will be, known before they are started so that our own pages can name them.
#[derive(Debug, Clone, Default)]
pub struct Services {
    ingest: Arc<OnceLock<SocketAddr>>,
    query: Arc<OnceLock<SocketAddr>>,
}

impl Services {
    /// For the pages of a city that `args` describe.
    pub fn pages(&self, args: &UpArgs) -> Vec<monitor::Service> {
        let ingest = monitor::Service { name: "ingest", metrics: self.ingest.clone() };
        let query = monitor::Service { name: "query", metrics: self.query.clone() };
        if args.no_ingest { vec![query] } else { vec![ingest, query] }
    }
}

#[derive(Debug)]
struct Service {
    keeper: Keeper,
    ready_file: PathBuf,
}

/// Where the parts are.
struct Launched {
    database_url: String,
    broker_url: String,
    access: Access,
    storage: Level,
    flight: String,
    http: String,
}

async fn launch(
    parts: &mut Parts,
    args: &UpArgs,
    log: &LogArgs,
    data: &Path,
    console: &Console,
    services: &Services,
    tell: Tell<'_>,
    prepare: impl AsyncFnOnce(&mut tokio_postgres::Client) -> anyhow::Result<()>,
) -> anyhow::Result<Launched> {
    let horizon = args.lateness_horizon.unwrap_or(LATENESS_HORIZON);
    Keep::new(&args.keep, horizon).map_err(anyhow::Error::msg)?; // ingest would refuse it, too late to be read
    ports::check("--listen", args.listen)?;
    if args.broker_url.is_none() {
        mosquitto::check(&args.broker, data)?;
    }
    let mut folder = match (&args.database_url, &args.broker_url) {
        (Some(_), Some(_)) => None,
        _ => Some(DataFolder::open(data)?),
    };
    let runtime = match &folder {
        Some(folder) => folder.path().join("services"),
        None => parts
            ._runtime
            .insert(tempfile::tempdir().context("make a folder for ready files")?)
            .path()
            .to_owned(),
    };
    fs::create_dir_all(&runtime).with_context(|| format!("make the folder {}", runtime.display()))?;

    let began = Instant::now();
    let database_url = match (&args.database_url, &mut folder) {
        (Some(url), _) => url.clone(),
        (None, Some(folder)) => {
            let binaries = Binaries::find(args.pg_bin.as_deref())?;
            let postgres = parts.postgres.insert(postgres::start(folder, &binaries, args.storage).await?);
            tell(
                &format!("database  PostgreSQL {} in {}", binaries.version, folder.path().display()),
                began.elapsed(),
            );
            postgres.url.clone()
        }
        (None, None) => unreachable!("there is a folder unless both URLs were given"),
    };
    let began = Instant::now();
    let (broker_url, access) = match (&args.broker_url, &folder) {
        (Some(url), _) => (url.clone(), args.access.clone()),
        (None, Some(folder)) => {
            let mosquitto = parts.mosquitto.insert(mosquitto::start(folder, &args.broker).await?);
            tell(&format!("broker    mosquitto on {}", mosquitto.address), began.elapsed());
            mosquitto.entrance()
        }
        (None, None) => unreachable!("there is a folder unless both URLs were given"),
    };
    parts._folder = folder;

    let began = Instant::now();
    let mut client =
        store::connect(&database_url, "screenline launcher").await.context("connect to the database")?;
    let storage =
        store::migrate(&mut client, args.storage, &args.time_zone).await.context("make the tables")?;
    tell(&format!("tables    storage level {storage}"), began.elapsed());
    prepare(&mut client).await?;
    drop(client);

    let began = Instant::now();
    let common = Common { runtime: &runtime, log, console, database_url: &database_url };
    let guarded = parts.mosquitto.as_ref().is_some_and(Mosquitto::asks_for_logins);
    if !args.no_ingest {
        let keys = parts._folder.as_ref().map(|folder| folder.path().join("pseudonyms"));
        parts.ingest = Some(ingest(args, &common, &broker_url, &access, guarded, keys));
    }
    let own = parts._folder.as_ref().map(|folder| folder.path().to_owned());
    let query = parts.query.insert(query(args, &common, own.as_deref()));
    let ingest = async {
        match &parts.ingest {
            Some(ingest) => ready(ingest).await.map(Some),
            None => Ok(None),
        }
    };
    let (ingest, query) = tokio::try_join!(ingest, ready(query))?;
    if let Some(ingest) = &ingest {
        let _ = services.ingest.set(host_of(&ingest.metrics)?); // this start is the only one
    }
    let _ = services.query.set(host_of(&query.metrics)?);
    tell(if ingest.is_some() { "services  ingest and query" } else { "service   query" }, began.elapsed());
    let said = |url: Option<String>| url.context("query did not say where it listens");
    let (flight, http) = (said(query.flight)?, said(query.http)?);
    Ok(Launched { database_url, broker_url, access, storage, flight, http })
}

/// What both services are given.
struct Common<'a> {
    runtime: &'a Path,
    log: &'a LogArgs,
    console: &'a Console,
    database_url: &'a str,
}

fn ingest(
    args: &UpArgs,
    common: &Common<'_>,
    broker_url: &str,
    access: &Access,
    guarded: bool,
    keys: Option<PathBuf>,
) -> Service {
    let mut own: Vec<OsString> = vec![
        "--storage".into(),
        args.storage.to_string().into(),
        "--time-zone".into(),
        (&args.time_zone).into(),
    ];
    if let Some(registry) = &args.registry {
        own.extend(["--registry".into(), registry.into()]);
    }
    if let Some(horizon) = &args.lateness_horizon {
        own.extend(["--lateness-horizon".into(), horizon.to_string().into()]);
    }
    for rule in &args.keep {
        own.extend(["--keep".into(), rule.to_string().into()]);
    }
    for mapping in &args.mappings {
        own.extend(["--mappings".into(), mapping.into()]);
    }
    // Addresses with passwords go by the environment: others can read a command line.
    let mut env: Vec<(&'static str, OsString)> = vec![("SCREENLINE_BROKER_URL", broker_url.into())];
    env.extend(access.environment());
    if let Some(keys) = keys.filter(|_| env::var_os("SCREENLINE_PSEUDONYM_KEYS").is_none()) {
        env.push(("SCREENLINE_PSEUDONYM_KEYS", keys.into()));
    }
    if guarded {
        // Whoever has a login writes below its own name, so only there a number can be believed.
        env.push(("SCREENLINE_NUMBERED_TOPICS", "gateway".into()));
    }
    service("ingest", None, own, env, common, None)
}

/// What a data folder holds for query is given to it, unless the environment says otherwise.
fn query(args: &UpArgs, common: &Common<'_>, folder: Option<&Path>) -> Service {
    let mut own: Vec<OsString> = Vec::new();
    let mut env: Vec<(&'static str, OsString)> = Vec::new();
    for (name, place) in [
        ("SCREENLINE_ACCESS_LOG", access::LOG),
        ("SCREENLINE_SEGMENTS", "segments"),
        ("SCREENLINE_TOKENS", "tokens.toml"),
        ("SCREENLINE_POLICY", "policy.toml"),
    ] {
        let Some(path) = folder.map(|folder| folder.join(place)) else { continue };
        let is_made = matches!(name, "SCREENLINE_ACCESS_LOG" | "SCREENLINE_SEGMENTS");
        if env::var_os(name).is_none() && (is_made || path.exists()) {
            env.push((name, path.into()));
        }
    }
    if let Some(bytes) = args.query_memory {
        own.extend(["--query-memory-bytes".into(), bytes.to_string().into()]);
    }
    service("query", Some(args.listen), own, env, common, Some(QUERY_NICENESS))
}

fn service(
    name: &'static str,
    listen: Option<SocketAddr>,
    own: Vec<OsString>,
    mut env: Vec<(&'static str, OsString)>,
    common: &Common<'_>,
    niceness: Option<&'static str>,
) -> Service {
    let ready_file = common.runtime.join(format!("{name}.ready.json"));
    env.push(("SCREENLINE_DATABASE_URL", common.database_url.into()));
    env.push(("SCREENLINE_LOG", common.log.directives().into()));
    env.push(("SCREENLINE_LOG_FORMAT", common.log.log_format.name().into()));
    let mut listen = listen;
    let mut metrics_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let command = {
        let ready_file = ready_file.clone();
        move || {
            // A restarted service keeps the ports that its first run got.
            if let Some(before) = Ready::read(&ready_file)? {
                metrics_listen = host_of(&before.metrics)?;
                listen = listen.map(|_| host_of(&before.http)).transpose()?;
                fs::remove_file(&ready_file).with_context(|| format!("remove {}", ready_file.display()))?;
            }
            let program = own_program()?;
            let mut command = match niceness {
                // `nice` becomes the program, so the process id is the service's.
                Some(niceness) => {
                    let mut nice = Command::new("nice");
                    nice.args(["-n", niceness]).arg(program);
                    nice
                }
                None => Command::new(program),
            };
            command.arg(name).args(&own).arg("--supervised").arg("--ready-file").arg(&ready_file);
            command.arg("--metrics-listen").arg(metrics_listen.to_string());
            if let Some(listen) = listen {
                command.arg("--listen").arg(listen.to_string());
            }
            command.envs(env.iter().map(|(name, value)| (name, value))).stdin(Stdio::piped());
            Ok(command)
        }
    };
    // What an earlier launcher's service wrote holds its ports, not ours.
    let _ = fs::remove_file(&ready_file);
    let keeper = Keeper::start(Spec {
        name,
        command: Box::new(command),
        output: Output::console(common.console.clone()),
        stop: STOP,
        at_once: Signal::SIGKILL,
    });
    Service { keeper, ready_file }
}

/// Our own program, also after its file was replaced by a newer one's build.
fn own_program() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("find our own program")?;
    Ok(if program.exists() { program } else { format!("/proc/{}/exe", std::process::id()).into() })
}

async fn ready(service: &Service) -> anyhow::Result<Ready> {
    let (started, name) = (Instant::now(), service.keeper.name);
    loop {
        if let Some(ready) = Ready::read(&service.ready_file)?
            && ready.pids.get(name).copied() == service.keeper.pid()
        {
            return Ok(ready);
        }
        ensure!(service.keeper.deaths() < STARTS_MAX, "{name} does not start{}", service.keeper.last_lines());
        ensure!(started.elapsed() < READY_PATIENCE, "{name} is not ready after {READY_PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The address in `http://ADDRESS/...`, as services write it.
fn host_of(url: &Option<String>) -> anyhow::Result<SocketAddr> {
    let url = url.as_deref().context("the service did not say where it listens")?;
    let rest = url.strip_prefix("http://").with_context(|| format!("read {url:?}"))?;
    rest.split('/').next().unwrap_or(rest).parse().with_context(|| format!("read the address in {url:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_what_a_service_wrote() {
        let url = |text: &str| Some(text.to_owned());
        assert_eq!(host_of(&url("http://127.0.0.1:8815")).unwrap(), "127.0.0.1:8815".parse().unwrap());
        assert_eq!(host_of(&url("http://[::1]:99/metrics")).unwrap(), "[::1]:99".parse().unwrap());
        assert!(host_of(&None).is_err() && host_of(&url("grpc://127.0.0.1:1")).is_err());
    }
}

//! `screenline demo`: a city with the bundled feeds, and an account of every message at the end.

mod report;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use processor::{
    model::{Class, Kept, Span},
    registry,
    store::{self, KeepRule, Totals},
};
use report::Report;
use simulators::{
    feed::{self, Feed},
    replay::{self, Config, History, Progress, Repeat, Speed},
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    city::{City, Services},
    cli::{DemoArgs, LogArgs},
    console::Console,
    exposition,
    monitor::{self, Pages},
    paper::thousands,
    ports,
    ready::ReadyFile,
    replay::bundled,
    signals,
    status::{REPEAT, REWRITE, Status},
    supervisor::leftover,
    telemetry,
};

/// How long the end waits for what was published and is not yet stored and rolled.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(60);
/// Marks of buckets that are still open stay; when no mark went for this long, only those are left.
const ROLLED_AFTER: Duration = Duration::from_secs(5);

/// The account counts every reading, so it is not asked for all the time.
const SETTLE_LOOK: Duration = Duration::from_millis(500);

/// Runs the demo until Ctrl-C, or for `--for`. The code is 1 when the ledger's sums do not hold.
///
/// # Errors
/// Something could not be started, or the account cannot be read.
pub async fn run(mut args: DemoArgs, log: LogArgs, console: Console) -> anyhow::Result<ExitCode> {
    let shutdown = signals::shutdown()?;
    let feeds = match &args.feed {
        Some(name) => vec![bundled(name)?],
        None => feed::ALL.to_vec(),
    };
    let speed = args.speed.as_deref().unwrap_or("max");
    let speed: Speed = speed.parse().map_err(|error| anyhow::anyhow!("--speed {speed:?}: give {error}"))?;

    if args.up.data.is_none() {
        leftover::remove(&console).await; // before the ports are looked at: it may hold them
    }
    args.up.listen = free("--listen", args.up.listen, &console)?;
    args.up.metrics_listen = free("--metrics-listen", args.up.metrics_listen, &console)?;
    if args.up.broker_url.is_none() {
        args.up.broker.mqtt_listen = free("--mqtt-listen", args.up.broker.mqtt_listen, &console)?;
    }
    args.up.registry.get_or_insert_with(|| "open".into());
    // The feeds are of years ago.
    if args.up.lateness_horizon.is_none() {
        args.up.lateness_horizon = Some(Span::Forever);
        if args.up.keep.is_empty() {
            let forever = |kept| KeepRule(Class::all(kept), Span::Forever);
            args.up.keep = vec![forever(Kept::Readings), forever(Kept::Events)];
        }
    }

    let ready_file = args.up.ready_file.clone().map(ReadyFile::prepare).transpose()?;
    let listener = monitor::listen(args.up.metrics_listen).await?;
    let metrics = listener.local_addr()?;
    let services = Services::default();
    let (ready_to, ready) = watch::channel(false);
    let pages = Pages::new(telemetry::metrics("launcher")?, ready, services.pages(&args.up));
    monitor::serve(listener, pages.clone());

    // Dropped after the city has stopped, on every way out.
    let (data, _temporary) = data_folder(&args)?;
    console.line("Starting a city");
    let tell = |what: &str, took: Duration| console.line(&format!("  {what} ({:.1} s)", took.as_secs_f64()));
    let import = async |client: &mut tokio_postgres::Client| import(client, &feeds, &tell).await;
    let city = tokio::select! {
        city = City::start(&args.up, &log, &data, &console, &services, &tell, import) => city?,
        () = shutdown.cancelled() => {
            console.line("Stopping what was started");
            signals::children_ended().await; // they still use the data folder
            return Ok(ExitCode::FAILURE);
        }
    };
    let about = city.ready(metrics);
    if let Some(file) = &ready_file {
        file.announce(&about)?;
    }
    ready_to.send_replace(true);
    console.line(&start_screen(&about, args.feed.as_deref(), &data));

    let demo = Demo { args: &args, city, pages, console: &console, published: Arc::default() };
    let code = demo.play(&feeds, speed, &shutdown).await;
    signals::children_ended().await; // also when it failed before it could stop them, in order
    ready_to.send_replace(false);
    code
}

struct Demo<'a> {
    args: &'a DemoArgs,
    city: City,
    pages: Pages,
    console: &'a Console,
    /// Acknowledged by the broker, of every replay that has ended.
    published: Arc<AtomicU64>,
}

impl Demo<'_> {
    /// Replays, shows the status line, and stops everything in order.
    async fn play(
        mut self,
        feeds: &[Feed],
        speed: Speed,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<ExitCode> {
        let client = store::connect(&self.city.database_url, "screenline demo").await?;
        let before = Totals::read(&client).await.context("read the account")?.counts.received;
        let stop_replay = shutdown.child_token();
        let mut replays = self.replay(feeds, speed, &stop_replay);
        let watched = self.watch(&mut replays, shutdown).await;
        // From here on everything is stopped, whatever failed.
        stop_replay.cancel();
        while let Some(ended) = replays.join_next().await {
            self.replay_ended(ended);
        }
        if watched
            && !shutdown.is_cancelled()
            && let Err(error) = self.settle(&client, before, shutdown).await
        {
            self.console.line(&format!("Not waiting for ingest: {error:#}"));
        }
        self.console.end_status();
        self.console.line("Stopping: ingest, query, broker, database");
        self.city.stop_services().await;
        let account = Totals::read(&client).await.context("read the final account");
        drop(client);
        self.city.stop().await;
        let account = account?;
        let report = Report::new(&account, self.published.load(Ordering::Relaxed));
        match self.args.json {
            true => println!("{}", serde_json::to_string(&report)?),
            false => print!("{}", report.text()),
        }
        Ok(if report.sums_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One task a feed: the named one as recorded, else all with their history ending now, and then on.
    fn replay(&self, feeds: &[Feed], speed: Speed, stop: &CancellationToken) -> JoinSet<anyhow::Result<()>> {
        let mut replays = JoinSet::new();
        let named = self.args.feed.is_some();
        for feed in feeds.iter().copied() {
            let city = &self.city;
            let broker = crate::broker::broker(&city.broker_url, &city.access);
            let (stop, published) = (stop.clone(), self.published.clone());
            let repeat = self.args.repeat;
            replays.spawn(async move {
                let broker = broker?;
                for _ in 0..repeat {
                    let mut config = Config::new(broker.clone(), feed.recording()?, speed);
                    if !named {
                        (config.history, config.repeat) = (History::EndingNow, Repeat::Live);
                    }
                    let summary = replay::run(config, Arc::<Progress>::default(), stop.clone())
                        .await
                        .with_context(|| format!("replay {}", feed.name))?;
                    published.fetch_add(summary.acknowledged, Ordering::Relaxed);
                    if stop.is_cancelled() {
                        break;
                    }
                }
                Ok(())
            });
        }
        replays
    }

    /// Shows the status until `--for` is over (true) or a signal came (false).
    async fn watch(&self, replays: &mut JoinSet<anyhow::Result<()>>, shutdown: &CancellationToken) -> bool {
        let mut status = Status::new(Instant::now());
        let every = if self.console.is_terminal() { REWRITE } else { REPEAT };
        let until = self.args.for_time.map(|time| Instant::now() + time);
        let mut next = Instant::now() + every;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = sleep_until(until.unwrap_or(next)), if until.is_some() => return true,
                Some(ended) = replays.join_next() => self.replay_ended(ended),
                () = sleep_until(next) => {
                    let line = status.line(&self.pages.metrics().await, Instant::now());
                    self.console.status(&line);
                    next = Instant::now() + every;
                }
            }
        }
    }

    /// A replay that fails is told and does not end the demo: the city goes on, and so does the account.
    fn replay_ended(&self, ended: Result<anyhow::Result<()>, tokio::task::JoinError>) {
        match ended.map_err(Into::into).and_then(|outcome| outcome) {
            Ok(()) => {
                let published = thousands(self.published.load(Ordering::Relaxed).cast_signed());
                self.console.line(&format!(
                    "A replay ended; {published} messages are published and acknowledged so far"
                ));
            }
            Err(error) => self.console.line(&format!("Replay failed: {error:#}")),
        }
    }

    /// Waits until what was published is stored and closed buckets are rolled.
    async fn settle(
        &self,
        client: &tokio_postgres::Client,
        before: i64,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + BACKLOG_PATIENCE;
        let due = before + self.published.load(Ordering::Relaxed).cast_signed();
        let (mut dirty, mut dirty_since, mut said) = (i64::MAX, Instant::now(), false);
        while !shutdown.is_cancelled() {
            let account = Totals::read(client).await.context("read the account")?;
            let unacknowledged =
                exposition::total(&self.pages.metrics().await, "screenline_unacknowledged_messages");
            let backlog =
                account.counts.received < due || unacknowledged.is_some_and(|messages| 0.0 < messages);
            if backlog || account.dirty < dirty {
                (dirty, dirty_since) = (account.dirty, Instant::now());
            }
            let rolled = account.dirty == 0 || ROLLED_AFTER <= dirty_since.elapsed();
            if !backlog && rolled {
                return Ok(());
            }
            if deadline <= Instant::now() {
                let missing = thousands((due - account.counts.received).max(0));
                self.console
                    .line(&format!("Not waiting longer: {missing} messages are still with the broker"));
                return Ok(());
            }
            if !said {
                said = true;
                self.console.line("Waiting up to 60 s for ingest to store and roll what was published");
            }
            sleep(SETTLE_LOOK).await;
        }
        Ok(())
    }
}

fn free(flag: &'static str, wanted: SocketAddr, console: &Console) -> anyhow::Result<SocketAddr> {
    let address = ports::next_free(flag, wanted)?;
    if address != wanted {
        console.line(&format!("{wanted} is taken, using {address} ({flag})"));
    }
    Ok(address)
}

/// The given folder, or a temporary one that others may pass through, because the database has a user of its own.
fn data_folder(args: &DemoArgs) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(data) = &args.up.data {
        return Ok((data.clone(), None));
    }
    let folder = tempfile::Builder::new()
        .prefix(leftover::PREFIX)
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .context("make a temporary data folder")?;
    Ok((folder.path().to_owned(), Some(folder)))
}

async fn import(
    client: &mut tokio_postgres::Client,
    feeds: &[Feed],
    tell: &(dyn Fn(&str, Duration) + Sync),
) -> anyhow::Result<()> {
    let began = Instant::now();
    let (mut sensors, mut series) = (0, 0);
    for feed in feeds {
        let files = feed.registry().map(|(name, text)| registry::File::new(name, text));
        registry::import(client, &files)
            .await
            .with_context(|| format!("import the registry of {}", feed.name))?;
        sensors += feed.sensors_csv.lines().count() - 1;
        series += feed.series_csv.lines().count() - 1;
    }
    tell(&format!("registry  {sensors} sensors, {series} series"), began.elapsed());
    Ok(())
}

/// Where to connect, and a first reading to send and to see again.
fn start_screen(about: &crate::ready::Ready, feed: Option<&str>, data: &std::path::Path) -> String {
    let known = |part: &Option<String>| part.clone().unwrap_or_default();
    let (flight, mqtt) = (known(&about.flight), known(&about.mqtt));
    let broker = url::Url::parse(&mqtt).ok();
    let host = broker.as_ref().and_then(|url| url.host_str()).unwrap_or("127.0.0.1").to_owned();
    let port = broker.as_ref().and_then(url::Url::port).unwrap_or(1883);
    let feeds = match feed {
        Some(name) => format!("{name}, with its recorded times"),
        None => "all bundled feeds, their history ending now, then on at their own pace".into(),
    };
    format!(
        r#"
Screenline is up. Replaying {feeds}.

  Dashboard {dashboard}
  MQTT      {mqtt}
  Flight    {flight}
  Metrics   {metrics}
  Database  psql '{database}'
  Data      {data}

Send a reading:
  mosquitto_pub -h {host} -p {port} -q 1 -t city/senml/hello -m '[{{"n":"hello:temperature","u":"Cel","v":21.5}}]'

See it (pip install pyarrow):
  import pyarrow.flight as fl
  c = fl.connect("{flight}")
  q = fl.FlightDescriptor.for_command("SELECT time, sensor, metric, value, unit FROM reading WHERE sensor = 'hello' ORDER BY time DESC LIMIT 1")
  print(c.do_get(c.get_flight_info(q).endpoints[0].ticket).read_all().to_pylist())

Ctrl-C stops everything in order and prints the final account.
"#,
        dashboard = known(&about.http),
        metrics = known(&about.metrics),
        database = known(&about.database),
        data = data.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::Ready;

    #[test]
    fn the_start_screen_s_lines_can_be_pasted() {
        let about = Ready {
            mqtt: Some("mqtt://127.0.0.1:1884".into()),
            flight: Some("grpc://127.0.0.1:8816".into()),
            http: Some("http://127.0.0.1:8816".into()),
            ..Ready::default()
        };
        let screen = start_screen(&about, None, std::path::Path::new("/tmp/x"));
        assert!(screen.contains(
            "mosquitto_pub -h 127.0.0.1 -p 1884 -q 1 -t city/senml/hello \
             -m '[{\"n\":\"hello:temperature\",\"u\":\"Cel\",\"v\":21.5}]'\n"
        ));
        assert!(screen.contains("fl.connect(\"grpc://127.0.0.1:8816\")"));
        assert!(screen.contains("  Dashboard http://127.0.0.1:8816\n"));
    }
}

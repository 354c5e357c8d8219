//! `screenline verify`: sends a load of its own through the running city and compares the tables with it; or compares them
//! with the answer key of a simulation.

mod key;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use processor::{
    registry,
    store::{self, Eraser, Erasure},
};
use serde_json::json;
use simulators::{
    broker::Broker,
    oracle::{self, Finding, Keep, Ledger, Load, Numbers, Oracle, Publisher, Report, Totals},
};
use tokio::{sync::watch, time::timeout};
use tokio_postgres::Client;

use crate::{cli::duration, console::Console, database::DatabaseArgs, fetch, paper::Paint};
use key::Comparison;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Publishes numbered messages under a source and sensors of its own (verify-TIME), with repeats, disorder, conflicts and bad
payloads among them, and keeps a ledger of what the broker took. Then compares: nothing lost, nothing made up, nothing
twice, every rollup bit for bit, every number, every rejection by reason, every column of the ledger. What it sent is
erased at the end. Exit code 1 if a promise does not hold.

With --key nothing is sent: what the tables hold, as the query service answers it, is compared with the answer key of
`screenline simulate`, row by row: readings, passages, conflicts, rejections, rollups at every level, numbers, the ledger.
What is still on its way is waited for. Exit code 0 only if nothing differs.

Needs a broker that takes messages on city/# from whoever --broker-url names, and numbers believed on any topic.

Examples:
  screenline verify
  screenline verify --for 60s --rate 2000 --json
  screenline verify --broker-url mqtt://broker.example:1883 --database-url postgres://screenline@db/screenline --keep
  screenline verify --key k.json --flight grpc://127.0.0.1:8815")]
pub struct VerifyArgs {
    /// The city's broker: mqtt://[user:password@]host:port
    #[arg(
        long,
        env = "SCREENLINE_BROKER_URL",
        value_name = "URL",
        hide_env_values = true,
        default_value = "mqtt://127.0.0.1:1883"
    )]
    broker_url: String,
    /// The city's metrics, which say whether memory stays bounded
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9815/metrics")]
    metrics_url: String,
    /// How long to send: `10s`, `5m`
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "10s")]
    for_time: Duration,
    /// Messages a second, of up to twenty readings each
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Leave what was sent in the tables
    #[arg(long)]
    keep: bool,
    /// Compare with this answer key of `screenline simulate`, and send nothing
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The city's query service, for --key; plain text, so one on this machine or behind a tunnel
    #[arg(long, value_name = "URL", default_value = "grpc://127.0.0.1:8815", requires = "key")]
    flight: String,
    /// A file with the token of an operator, for --key, where the service asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    token_file: Option<PathBuf>,
    /// How long to wait while nothing changes, for --key
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    patience: Duration,
    /// Show every difference, for --key
    #[arg(long, requires = "key")]
    all: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Few, because each is erased by name in the end.
const SENSORS: usize = 8;
/// The drain that is promised after any fault; here there is none.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends, waits, compares. The code is 1 when a promise does not hold.
///
/// # Errors
/// The broker or the database cannot be reached.
pub async fn run(args: VerifyArgs, console: &Console) -> anyhow::Result<ExitCode> {
    if let Some(key) = &args.key {
        let token = args.token_file.as_ref().map(|file| {
            fs::read_to_string(file).with_context(|| format!("read the token {}", file.display()))
        });
        let token = token.transpose()?;
        let comparison = Comparison {
            key,
            flight: &args.flight,
            token: token.as_deref().map(str::trim),
            patience: args.patience,
            all: args.all,
            json: args.json,
        };
        return key::run(&comparison, console).await;
    }
    let database = args.database.clone();
    database.with(async |url| verify(&args, url).await).await
}

async fn verify(args: &VerifyArgs, url: &str) -> anyhow::Result<ExitCode> {
    let connect = async || -> anyhow::Result<Client> { Ok(store::connect(url, "screenline-verify").await?) };
    let load = load(args)?;
    let broker = Broker::parse(&args.broker_url)?;
    broker
        .dial()
        .await
        .with_context(|| format!("nobody listens at {broker}: name the city's broker (--broker-url)"))?;
    let folder = tempfile::tempdir().context("make a folder for the ledger")?;
    let ledger = Ledger::create(&folder.path().join("ledger"), &load)?;
    let publisher = Publisher {
        rate: Some(f64::from(args.rate)),
        keep: Keep::Committed,
        ..Publisher::new(&args.broker_url)
    };

    let database = connect().await.context("connect to the database")?;
    announce(&database, &load).await.context("register the sensors of the load")?;
    let (done, until_done) = watch::channel(false);
    let sending = async {
        let sent = timeout(args.for_time + PATIENCE, publisher.publish(&ledger)).await;
        done.send_replace(true);
        sent
    };
    let (sent, witnessed) =
        tokio::join!(sending, oracle::witness(&publisher, &ledger, &database, until_done));
    sent.context("the broker does not take the messages, or nobody commits them")??;
    let drained = Instant::now();
    let oracle = Oracle::new(&ledger, &Totals::default());
    let mut report = oracle.settle(connect, PATIENCE).await?.report;
    publisher.publish_fresh(&ledger).await?;
    let after = oracle.settle(connect, PATIENCE).await?;
    if report.holds() {
        report = after.report;
    }
    report.findings.push(witnessed?);
    report.findings.push(alive(&report, drained.elapsed()));
    report.findings.extend(bounded(args, &database).await);
    report.findings.sort_by_key(|finding| finding.invariant);

    if !args.keep {
        erase(url, &database, &load).await.context("erase what was sent")?;
    }
    print(args, &load, &report);
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What nobody announced would wait in quarantine.
async fn announce(database: &Client, load: &Load) -> anyhow::Result<()> {
    let plan = load.plan();
    let facts = plan.messages.iter().flat_map(|message| &message.facts);
    let sensors: BTreeSet<&str> = facts.map(|fact| &*fact.key.sensor).collect();
    let rows: String = sensors.into_iter().map(|sensor| format!("{sensor},verify\n")).collect();
    let file = registry::File {
        table: Some(registry::Table::Sensor),
        ..registry::File::new("the load", &format!("id,kind\n{rows}"))
    };
    registry::import(database, &[file]).await?;
    Ok(())
}

/// The sensors of the load and all that they said. What was refused and names none of them stays, for as long as
/// rejections are kept.
async fn erase(url: &str, database: &Client, load: &Load) -> anyhow::Result<()> {
    let query = "SELECT DISTINCT id FROM sensor WHERE starts_with(id, $1)";
    for row in database.query(query, &[&load.prefix()]).await? {
        let sensor = row.get::<_, &str>(0).parse().map_err(anyhow::Error::msg)?;
        let reason = "end of screenline verify".to_owned();
        let erasure = Erasure { sensor, metric: None, starts: None, ends: None, reason };
        Eraser::new(url, erasure).await?.erase(|_| {}).await?;
    }
    Ok(())
}

/// Readings of some days ago, so that their buckets and days are over.
fn load(args: &VerifyArgs) -> anyhow::Result<Load> {
    let now = Timestamp::now();
    let messages = (args.for_time.as_secs_f64() * f64::from(args.rate)).ceil().max(SENSORS as f64) as usize;
    // A sensor has a reading a minute, so many messages reach far: back from yesterday's noon.
    let readings = 20;
    let minutes = (messages / SENSORS + 1) * readings;
    let yesterday = now.to_zoned(TimeZone::UTC).checked_sub(1.day().hours(12))?;
    let from = yesterday.checked_sub((minutes as i64).minutes())?.timestamp();
    let source = format!("verify-{}", now.as_second());
    Ok(Load {
        numbers: Numbers::Both,
        epoch: now.as_second(),
        sensors: SENSORS,
        messages,
        readings,
        ..Load::clean(&source, now.as_microsecond().unsigned_abs(), from).dirty()
    })
}

fn alive(report: &Report, took: Duration) -> Finding {
    let said = format!("{:.1} s after the last message", took.as_secs_f64());
    Finding::new("I7", "everything drains, and a fresh reading passes", report.holds(), said)
}

/// What the city's own page says of its memory. Nothing, where nobody serves it.
async fn bounded(args: &VerifyArgs, database: &Client) -> Option<Finding> {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'screenline%'";
    let connections: i64 = database.query_one(connections, &[]).await.ok()?.get(0);
    let rest = args.metrics_url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (_, page) = fetch::get(host.parse().ok()?, &format!("/{path}")).await.ok()?;
    let value = |name: &str| {
        let line = page.lines().find(|line| line.split(['{', ' ']).next() == Some(name))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let held = value("screenline_unacknowledged_bytes")?;
    let limit = value("screenline_unacknowledged_bytes_limit")?;
    let said = format!("{held} of {limit} bytes unacknowledged, {connections} connections to the database");
    Some(Finding::new("I8", "what is held stays bounded", held <= limit, said))
}

fn print(args: &VerifyArgs, load: &Load, report: &Report) {
    if args.json {
        let json = json!({
            "source": load.source,
            "messages": load.messages,
            "holds": report.holds(),
            "findings": report.findings,
            "erased": !args.keep,
        });
        println!("{json}");
        return;
    }
    let paint = Paint::of_stdout();
    println!("{} messages as {}", load.messages, load.source);
    for Finding { invariant, promise, holds, said, .. } in &report.findings {
        let mark = if *holds { paint.good("✓") } else { paint.bad("✗") };
        println!("  {mark} {invariant}  {promise}\n        {said}");
    }
    println!("{}", if report.holds() { "Every promise holds." } else { "A PROMISE DOES NOT HOLD." });
    if args.keep {
        println!("What was sent is left in the tables: sensors {}*", load.prefix());
    }
}

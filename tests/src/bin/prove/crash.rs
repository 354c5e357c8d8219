//! The crash matrix: a load, one fault in the middle of it, and the tables compared with what was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use fastrand::Rng;
use futures::future::try_join_all;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::Serialize;
use simulators::oracle::{Finding, Keep, Load, Numbers, Report};
use tests::{Storage, say};
use tokio::time::Instant;

use crate::Level;
use crate::fault::{Fault, Moment};
use crate::site::Site;
use crate::trial::{Shown, Trial};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many runs, with the seeds from --seed on
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// The first seed; a run with its seed alone is the same run
    #[arg(long, env = "SCREENLINE_TEST_SEED", default_value_t = 1)]
    seed: u64,
    /// Where the tables are
    #[arg(long, default_value = "both")]
    storage: Level,
    /// The broker: the private mosquitto, or the durable one
    #[arg(long, default_value = "mosquitto")]
    broker: BrokerKind,
    /// Cities at a time
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    /// Print one JSON object a run
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BrokerKind {
    Mosquitto,
    /// With quorum queues: it may be killed under any publisher, and in half of the runs is struck itself
    Rabbitmq,
}

/// Nothing changes for so long, and it never will: longer than any back-off of ours.
const PATIENCE: Duration = Duration::from_secs(25);
const MESSAGES: usize = 300;
/// Days that the runs' readings fall on, by turns: so that the days' rollups stay cheap.
const DAYS: u32 = 40;

/// What a run showed.
#[derive(Debug, Serialize)]
struct Run {
    seed: u64,
    storage: &'static str,
    fault: String,
    /// Whether the fault found its moment.
    struck: bool,
    holds: bool,
    seconds: f64,
    messages: usize,
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs as asked. True when every promise was kept.
///
/// # Errors
/// A city does not start.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let storages = args.storage.storages();
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    for worker in 0..args.jobs {
        let storage = storages[worker as usize % storages.len()];
        // One worker takes both levels by turns where there are fewer workers than levels.
        let storages = if (args.jobs as usize) < storages.len() { storages.clone() } else { vec![storage] };
        workers.push(work(args.clone(), storages, next.clone()));
    }
    let runs: Vec<Run> = try_join_all(workers).await?.into_iter().flatten().collect();
    let broken: Vec<&Run> = runs.iter().filter(|run| !run.holds).collect();
    let struck = runs.iter().filter(|run| run.struck).count();
    let seconds: f64 = runs.iter().map(|run| run.seconds).sum();
    say(&format!(
        "{} runs, {struck} faults struck, {} violations; {:.1} s a run",
        runs.len(),
        broken.len(),
        seconds / runs.len().max(1) as f64
    ));
    for run in &broken {
        say(&format!("violated: seed {} on {}: {}", run.seed, run.storage, run.fault));
    }
    Ok(broken.is_empty())
}

async fn work(args: Args, storages: Vec<Storage>, next: Arc<AtomicU64>) -> anyhow::Result<Vec<Run>> {
    let mut sites: Vec<Option<Site>> = storages.iter().map(|_| None).collect();
    let mut runs = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if args.runs <= number {
            for site in sites.into_iter().flatten() {
                site.stop()?;
            }
            return Ok(runs);
        }
        let at = number as usize % storages.len();
        let mut site = match sites[at].take() {
            Some(site) => site,
            None => start(args.broker, storages[at]).await.context("start a city")?,
        };
        let run = one(&mut site, args.broker, args.seed + number).await;
        if args.json {
            println!("{}", serde_json::to_string(&run)?);
        } else {
            print(&run);
        }
        if run.holds {
            sites[at] = Some(site);
        } else {
            site.city.keep_workplace();
            say(&format!("  logs and data are kept in {}", site.city.workplace().path().display()));
        }
        runs.push(run);
    }
}

async fn start(broker: BrokerKind, storage: Storage) -> anyhow::Result<Site> {
    match broker {
        BrokerKind::Mosquitto => Site::start(storage, &[]).await,
        BrokerKind::Rabbitmq => Site::start_durable(storage).await,
    }
}

fn print(run: &Run) {
    let Run { seed, storage, fault, struck, holds, seconds, messages, report, error } = run;
    let verdict = match (holds, struck) {
        (true, true) => "ok",
        (true, false) => "ok, not struck",
        (false, _) => "VIOLATED",
    };
    println!("seed {seed:<6} {storage:<9} {fault:<58} {verdict:<14} {seconds:>5.1} s  {messages} messages");
    for Finding { invariant, promise, said, .. } in report.violations() {
        println!("  ✗ {invariant}  {promise}: {said}");
    }
    if let Some(error) = error {
        println!("  {error}");
    }
}

/// Holds one run, and turns an error of the harness into a run that failed: it may be the fault's doing.
async fn one(site: &mut Site, broker: BrokerKind, seed: u64) -> Run {
    let mut rng = Rng::with_seed(seed);
    let durable = broker == BrokerKind::Rabbitmq;
    // Debian 12's RabbitMQ does not speak MQTT 5, which has the properties.
    let numbers = match durable {
        true => [Numbers::None, Numbers::Payload][rng.usize(..2)],
        false => [Numbers::None, Numbers::Properties, Numbers::Both][rng.usize(..3)],
    };
    let keep = if numbers != Numbers::None && rng.bool() { Keep::Committed } else { Keep::Taken };
    let fault = if durable && rng.bool() {
        Fault::of_the_broker(&mut rng, true)
    } else {
        Fault::draw(&mut rng, durable || keep == Keep::Committed)
    };
    let started = Instant::now();
    let storage = site.storage.name();
    let outcome = async {
        site.runs += 1;
        let from = from(site, &fault)?;
        let load = Load { numbers, messages: MESSAGES, ..Load::clean(&format!("run-{seed}"), seed, from) };
        let trial = Trial { keep, ..Trial::new(load.dirty(), Some(fault), PATIENCE) };
        trial.hold(site).await
    };
    let (struck, report, error) = match outcome.await {
        Ok(Shown { struck, report }) => (struck, report, None),
        Err(error) => (true, Report::default(), Some(format!("{error:#}"))),
    };
    Run {
        seed,
        storage,
        fault: fault.to_string(),
        struck,
        holds: error.is_none() && report.holds(),
        seconds: started.elapsed().as_secs_f64(),
        messages: MESSAGES,
        report,
        error,
    }
}

/// The day of a run's readings. A failpoint behind the making of a partition needs a day that has none yet.
fn from(site: &Site, fault: &Fault) -> anyhow::Result<Timestamp> {
    let first = match fault.moment {
        Moment::Point("partition.made", _) => "2010-01-01T03:00:00Z",
        _ => "2024-01-01T03:00:00Z",
    };
    let day = if first.starts_with("2010") { site.runs } else { site.runs % DAYS };
    let first: Timestamp = first.parse()?;
    Ok(first.to_zoned(TimeZone::UTC).checked_add(i64::from(day).days())?.timestamp())
}

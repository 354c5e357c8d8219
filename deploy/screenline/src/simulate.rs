//! `screenline simulate`: a made-up city on the air, with faults whose outcome is known beforehand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulators::{
    city::registry,
    oracle::Numbers,
    recording::{Header, Message, Writer},
    replay::{Protocol, Speed},
    simulation::{
        self, Fault, Going, KeyWriter, Lines, Outcome, Pace, Scenario, Simulation, TICK_S, course::Course,
    },
    speech::Format,
};
use tokio::time::{Instant, sleep};

use crate::{
    broker::BrokerArgs,
    cli::duration,
    console::Console,
    paper::{count, thousands},
    signals,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A city is districts of a hundred sensors: loops, radars and single vehicles on roads with signals and incidents, car parks,
meters of electricity, water, gas and heat with leaks and outages, weather, air and noise. What is measured is plausible:
flow, speed and density lie on a fundamental diagram, and water and energy balance to the last digit. The same seed, start
and options send the same bytes.

With --key, each run needs a --prefix of its own, or a time of its own at least a day from the others: what another run said
is not in its key. Readings are late after 15 minutes, as ingest has it by itself.

Sensors that nobody announced wait in quarantine, so announce them first: --registry DIR writes files for `screenline
registry import`.

--faults: `all`, or a TOML file of [[fault]] with kind, rate (the share of messages, senders, sensors or connections), and
if you like from, to (the window, from the start), sensors ([\"water\", \"loop\", \"district:3\", a name]), by, size, times.
Kinds: duplicate, drop, delay, reorder, burst, gap, stuck, drift, bias, clock_skew, rollover, exchange, wrong_unit, garbage,
oversize, reconnect_storm. `--faults all --show-faults` prints a file to start from.

Examples:
  screenline simulate --sensors 300 --registry ./city && screenline registry import ./city/*.csv
  screenline simulate --sensors 300 --for 10m
  screenline simulate --sensors 10000 --for 1h --speed max --from 2026-11-20T06:00:00Z
  screenline simulate --sensors 200000 --for 2m --rate 50000 --connections 8
  screenline simulate --sensors 10000 --for 10m --speed max --faults all --key k.json
  screenline verify --key k.json --flight grpc://127.0.0.1:8815
  screenline simulate --sensors 500 --for 5m --formats sparkplug,tasmota,things-stack")]
pub struct SimulateArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// From which everything follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many sensors, up to a million
    #[arg(long, default_value_t = 100)]
    sensors: u32,
    /// How much time of the city: `10m`, `24h`
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "10m")]
    for_time: Duration,
    /// When that time begins, to the minute [default: now at 1x, else so that it ends now]
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// How fast: `1x` is real time, `60x`, or `max`
    #[arg(long, default_value = "1x")]
    speed: String,
    /// Readings a second, at most
    #[arg(long, value_name = "READINGS")]
    rate: Option<f64>,
    /// Readings that a gateway puts into one message, at most
    #[arg(long, default_value_t = 50)]
    pack: usize,
    /// Connections to the broker; each sender stays on one
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// What sensors speak, by turns, named as ready mappings; what none of them says is SenML and traffic-passages
    #[arg(long, value_delimiter = ',', value_name = "FORMAT")]
    formats: Vec<Format>,
    /// With which the names of sensors begin [default: sim and the seed]
    #[arg(long)]
    prefix: Option<String>,
    /// What goes wrong: `all`, or a file
    #[arg(long, value_name = "all|FILE")]
    faults: Option<String>,
    /// Print the faults as a file, and send nothing
    #[arg(long, requires = "faults")]
    show_faults: bool,
    /// Write what the tables must hold at the end to this file, for `screenline verify --key`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write the city's registry to this folder, and send nothing
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Write a recording for `screenline replay`, and send nothing
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    to: Option<PathBuf>,
    /// Show the first messages, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on stdout at the end
    #[arg(long)]
    json: bool,
}

/// Messages that a dry run shows.
const SHOWN: usize = 10;
/// Between two looks at how far the run is.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a simulation. The code is 1 when it was stopped before its end.
///
/// # Errors
/// The broker cannot be reached, a fault is none, or a file cannot be written.
pub async fn run(args: SimulateArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let faults = match args.faults.as_deref() {
        None => Vec::new(),
        Some("all") => Fault::parse("all")?,
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| format!("read the faults {file}"))?;
            Fault::parse(&text).with_context(|| format!("the faults {file}"))?
        }
    };
    if args.show_faults {
        print!("{}", Fault::ALL);
        return Ok(ExitCode::SUCCESS);
    }
    let speed: Speed =
        args.speed.parse().map_err(|error| anyhow::anyhow!("--speed {:?}: give {error}", args.speed))?;
    let scenario = scenario(&args, speed, faults);
    if let Some(folder) = &args.registry {
        write_registry(folder, &Simulation::new(scenario.clone())?, console)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        show(&Simulation::new(scenario)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = args.to.clone() {
        return record(path, Simulation::new(Scenario { connections: 1, ..scenario })?, console).await;
    }
    scenario.check()?;
    if args.key.is_some() {
        foretold(&scenario, speed)?;
    }
    ensure!(
        args.key.is_none() || scenario.formats.iter().all(|format| format.keeps_time()),
        "--key: what the format `plain` says has no time, so nobody knows beforehand what is stored"
    );
    let shutdown = signals::shutdown()?;
    let going = Arc::new(Going::default());
    let broker = args.broker.broker()?;
    let lines = Lines::connect(&broker, Protocol::Auto, scenario.connections, &going, &shutdown).await?;
    let numbers = if args.key.is_some() { lines.numbers() } else { Numbers::None };
    let unnumbered = scenario.formats.iter().find(|format| !format.carries_number());
    if let (Numbers::Payload, Some(format)) = (numbers, unnumbered) {
        bail!(
            "--key: the broker speaks MQTT 3.1.1, and {format} has no place for a message's number: leave that format out"
        );
    }
    let simulation = Arc::new(Simulation::new(Scenario { numbers, ..scenario })?);
    let key = match &args.key {
        Some(path) => Some(Arc::new(Mutex::new(KeyWriter::create(path, &simulation.scenario)?))),
        None => None,
    };
    let bar = console.is_terminal().then(|| tokio::spawn(draw(simulation.clone(), going.clone())));
    let began = Instant::now();
    let pace = Pace { speed, rate: args.rate };
    let outcome =
        simulation::run(simulation.clone(), lines, pace, key.clone(), going.clone(), shutdown).await;
    let took = began.elapsed();
    if let Some(bar) = bar {
        bar.abort();
        console.line("");
    }
    let outcome = outcome?;
    if let Some(key) = key.and_then(Arc::into_inner) {
        let key = key.into_inner().unwrap_or_else(PoisonError::into_inner);
        finish(key, simulation.clone(), outcome.sent_again, console).await?;
    }
    print(&args, &simulation, &outcome, took, &going, console);
    Ok(if outcome.is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scenario(args: &SimulateArgs, speed: Speed, faults: Vec<Fault>) -> Scenario {
    let now = Timestamp::now();
    let ticks = (args.for_time.as_secs() as i64).div_euclid(TICK_S);
    let lasts_s = ticks * TICK_S;
    // What is left of it when it has been sent is before now: nothing is ahead of the clock.
    let back_s = match speed {
        Speed::Max => lasts_s,
        Speed::Times(times) => lasts_s - (lasts_s as f64 / times.max(1.0)) as i64,
    };
    let starts = args.from.unwrap_or_else(|| now - SignedDuration::from_secs(back_s));
    let starts = starts - SignedDuration::from_secs(starts.as_second().rem_euclid(60));
    let starts = Timestamp::from_second(starts.as_second()).unwrap_or(starts);
    Scenario {
        seed: args.seed,
        sensors: args.sensors,
        prefix: args.prefix.clone().unwrap_or_else(|| format!("sim{}", args.seed)),
        starts,
        ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
        pack: args.pack,
        formats: args.formats.clone(),
        numbers: Numbers::None,
        epoch: now.as_second(),
        connections: args.connections,
        faults,
        begun: now,
    }
}

/// Whether ingest takes every time, so that the answer is known beforehand.
fn foretold(scenario: &Scenario, speed: Speed) -> anyhow::Result<()> {
    let lasts_s = i64::from(scenario.ticks) * TICK_S;
    let sent_s = match speed {
        Speed::Max => 0,
        Speed::Times(times) => (lasts_s as f64 / times) as i64,
    };
    let ahead = SignedDuration::from_mins(4);
    let now = scenario.begun + ahead;
    ensure!(
        scenario.starts <= now
            && scenario.starts + SignedDuration::from_secs(lasts_s)
                <= now + SignedDuration::from_secs(sent_s),
        "--key: readings would be sent before their time, and refused: let --from be earlier"
    );
    let behind = scenario.faults.iter().filter_map(|fault| fault.by).filter(|by| by.is_negative()).min();
    let oldest = scenario.starts + behind.unwrap_or_default();
    ensure!(
        scenario.begun - SignedDuration::from_hours(390 * 24) < oldest,
        "--key: readings would be older than ingest takes by itself (--lateness-horizon, 400 days): let --from be later"
    );
    Ok(())
}

fn write_registry(folder: &Path, simulation: &Simulation, console: &Console) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let files = registry::files(&simulation.city, |sensor, metric| simulation.stored(sensor, metric));
    for file in &files {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).with_context(|| format!("write {}", path.display()))?;
    }
    let sensors = i64::from(simulation.scenario.sensors);
    console.line(&format!(
        "{} in {} files: screenline registry import {}/*.csv",
        count(sensors, "sensor", "sensors"),
        files.len(),
        folder.display()
    ));
    Ok(())
}

/// The first messages, as they would be sent.
fn show(simulation: &Simulation) {
    for sending in Course::new(simulation, 0).take(SHOWN) {
        let (said, readings) = simulation.utterance(&sending.due, sending.number.as_ref());
        let payload = String::from_utf8_lossy(&said.payload);
        println!("{} ({readings} readings, {} bytes)\n  {:.400}", said.topic, said.payload.len(), payload);
    }
}

/// Writes all of it as a recording, on a thread of its own.
async fn record(path: PathBuf, simulation: Simulation, console: &Console) -> anyhow::Result<ExitCode> {
    let to = path.clone();
    let written = tokio::task::spawn_blocking(move || {
        let scenario = &simulation.scenario;
        let period_s = u32::try_from(i64::from(scenario.ticks) * TICK_S).ok();
        let header = Header { period_s, ..Header::of_feed(&scenario.prefix) };
        let mut writer = Writer::create_new(&to, &header)?;
        for sending in Course::new(&simulation, 0) {
            let (said, _) = simulation.utterance(&sending.due, None);
            let t = scenario.starts + SignedDuration::from_micros(simulation.due_us(&sending));
            writer.write(&Message::new(t, said.topic, said.payload))?;
        }
        anyhow::Ok(writer.finish()?)
    });
    let messages = written.await??.messages;
    console.line(&format!("{} messages: screenline replay {}", thousands(messages as i64), path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Computes what must be in the tables, on a thread of its own.
async fn finish(
    key: KeyWriter,
    simulation: Arc<Simulation>,
    sent_again: u64,
    console: &Console,
) -> anyhow::Result<()> {
    let status = console.clone();
    let written = tokio::task::spawn_blocking(move || {
        key.finish(&simulation, sent_again, |done, all| {
            if status.is_terminal() {
                status.status(&format!("answer key: {} %", 100 * u64::from(done) / u64::from(all.max(1))));
            }
        })
    });
    written.await??;
    console.end_status();
    Ok(())
}

fn print(
    args: &SimulateArgs,
    simulation: &Simulation,
    outcome: &Outcome,
    took: Duration,
    going: &Going,
    console: &Console,
) {
    let rate = outcome.readings as f64 / took.as_secs_f64().max(1e-3);
    if args.json {
        let object = json!({
            "prefix": simulation.scenario.prefix,
            "starts": simulation.scenario.starts.to_string(),
            "messages": outcome.messages,
            "acknowledged": outcome.acknowledged,
            "readings": outcome.readings,
            "sent_again": outcome.sent_again,
            "complete": outcome.is_complete,
            "seconds": took.as_secs_f64(),
            "readings_per_second": rate.round(),
            "behind_ms": going.behind_ms.load(Ordering::Relaxed),
        });
        println!("{object}");
        return;
    }
    let number = |n: u64| thousands(n.cast_signed());
    console.line(&format!(
        "{} readings in {} messages, {} acknowledged, in {took:.1?}: {} readings/s",
        number(outcome.readings),
        number(outcome.messages),
        number(outcome.acknowledged),
        number(rate as u64)
    ));
    if !outcome.is_complete {
        console.line("stopped before its end");
    }
    if let Some(key) = &args.key {
        console.line(&format!("compare: screenline verify --key {}", key.display()));
    }
}

async fn draw(simulation: Arc<Simulation>, going: Arc<Going>) {
    let seconds = u64::from(simulation.last_tick()) * TICK_S as u64;
    let bar = ProgressBar::with_draw_target(Some(seconds), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}, {eta} left") {
        bar.set_style(style);
    }
    let (mut last, mut at) = (0, Instant::now());
    let mut rate = 0.0;
    loop {
        let readings = going.readings.load(Ordering::Relaxed);
        let since = at.elapsed();
        if Duration::from_secs(1) < since {
            rate = (readings - last) as f64 / since.as_secs_f64();
            (last, at) = (readings, Instant::now());
        }
        let second = going.second.load(Ordering::Relaxed);
        let shown = simulation.scenario.starts + SignedDuration::from_secs(second);
        bar.set_position(second.unsigned_abs());
        let behind_ms = going.behind_ms.load(Ordering::Relaxed);
        let behind =
            if behind_ms < 1_000 { String::new() } else { format!(", {} s behind", behind_ms / 1_000) };
        bar.set_message(format!(
            "{shown:.0}, {} readings, {}/s{behind}",
            thousands(readings.cast_signed()),
            thousands(rate as i64)
        ));
        sleep(LOOK).await;
    }
}

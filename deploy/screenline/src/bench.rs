//! `screenline bench`: how fast each stage is on this machine, beside what limits it, in one run.

mod client;
mod cpu;
mod decode;
mod figure;
mod ground;
mod hold;
mod load;
mod memory;
mod read;
mod roll;
mod street;
mod wire;
mod write;

use std::{collections::BTreeSet, fs, process::ExitCode, thread, time::Duration};

use clap::{Args, ValueEnum};
use cpu::{ALL, DATABASE, Who};
use figure::Figure;
use ground::Ground;
use hold::{Held, Plan};
use jiff::Timestamp;
use processor::store::StorageChoice;
use serde_json::json;
use street::Freshness;
use tokio::time::Instant;

use crate::{
    cli::{LogArgs, duration},
    console::Console,
    paper::{Paint, Table, bar, thousands},
    signals,
};

/// Letters of the chart's longest bar.
const BAR_LETTERS: usize = 40;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A private city is started for it in a temporary folder and taken away afterwards: give it some 3 GB
and a machine with nothing else to do. All stages take about five minutes. What is compared takes
turns; each figure is the median of its rounds. One whose rounds differ too much is marked with ~
and makes the exit code 2: measure again.

Stages:
  decode  payloads to readings, beside a parser of the same payloads
  write   readings to committed rows, beside COPY by the bare protocol; messages to rows
  roll    rows to rollups of five minutes, hours and days, beside COPY out of the database
  read    rows to a client over Flight, out of the database and out of segments, beside COPY and
          frames in memory
  street  publisher to stored and rolled, beside a subscriber that only counts; and how soon a
          reading is seen
  hold    only when it is named: --rate in real time, --for five minutes or more, with the rollups
          kept up; then the tables are counted. Ten minutes of 300,000 readings a second take 40 GB

Examples:
  screenline bench
  screenline bench read --rounds 9
  screenline bench hold --rate 50000 --for 10m
  screenline bench --json >figures.json")]
pub struct BenchArgs {
    /// What to measure [default: all]
    pub stage: Vec<Stage>,
    /// How often each stage is measured, after a round that warms it up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=99))]
    pub rounds: u16,
    /// Readings a second that are to be held
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub rate: u32,
    /// Series that they are of
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    pub series: u32,
    /// How long a rate is to be held
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub for_time: Duration,
    /// Tables as hypertables of TimescaleDB, or plain partitions; `auto` takes what the database has
    #[arg(long, env = "SCREENLINE_STORAGE", default_value = "auto", value_name = "auto|plain|timescale")]
    pub storage: StorageChoice,
    /// Print one JSON object on stdout, with all rounds; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Stage {
    Decode,
    Write,
    Roll,
    Read,
    Street,
    Hold,
}

/// Measures. The code is 2 where a figure is not stable.
///
/// # Errors
/// A city cannot be started here, or a stage does not do what it is measured for.
pub async fn run(args: BenchArgs, log: LogArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let shutdown = signals::shutdown()?;
    let began = Instant::now();
    console.status("starting a city");
    let ground = Ground::start(args.storage, &log, console).await?;
    let measured = tokio::select! {
        measured = measure(&ground, &args, console) => measured,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("stopped")),
    };
    console.end_status();
    let level = ground.level.to_string();
    ground.city.stop().await;
    let Measured { figures, freshness, held } = measured?;
    let unstable = figures.iter().any(|figure| !figure.is_stable());
    let machine = Machine::here();
    if args.json {
        let limit = |figure: &Figure| figures.iter().find(|one| Some(one.name) == figure.limit);
        let object = json!({
            "at": Timestamp::now().to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "machine": {"processor": machine.processor, "cores": machine.cores},
            "storage": level,
            "rounds": args.rounds,
            "seconds": began.elapsed().as_secs_f64(),
            "stable": !unstable,
            "figures": figures.iter().map(|figure| figure.json(limit(figure))).collect::<Vec<_>>(),
            "freshness": freshness.as_ref().map(|fresh| json!({
                "readings_per_second": fresh.readings_per_second,
                "p50_ms": fresh.half(),
                "p99_ms": fresh.quantile(0.99),
                "probes": fresh.millis.len(),
            })),
            "held": held.as_ref().map(Held::json),
        });
        println!("{object}");
    } else {
        let date = Timestamp::now().strftime("%Y-%m-%d");
        let rounds = args.rounds;
        println!("{date}, {}, storage {level}, medians of {rounds} rounds", machine.text());
        if !figures.is_empty() {
            print!("\n{}", table(&figures));
            print!("{}", chart(&figures));
        }
        if let Some(fresh) = &freshness {
            println!(
                "\nSeen by a client after publishing, beside {} readings/s: {:.0} ms, at the 99th percentile {:.0} ms\n  \
                 (to reach: 100 and 250 ms)",
                thousands(fresh.readings_per_second as i64),
                fresh.half(),
                fresh.quantile(0.99)
            );
        }
        if let Some(held) = &held {
            println!("\n{}", held.text());
        }
        if unstable {
            println!(
                "\n~ rounds differ too much to be a figure of this machine: give it peace, and measure again"
            );
        }
    }
    Ok(if unstable { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

struct Measured {
    figures: Vec<Figure>,
    freshness: Option<Freshness>,
    held: Option<Held>,
}

async fn measure(ground: &Ground, args: &BenchArgs, console: &Console) -> anyhow::Result<Measured> {
    let all = Stage::value_variants().iter().copied().filter(|stage| *stage != Stage::Hold);
    let stages: BTreeSet<Stage> =
        if args.stage.is_empty() { all.collect() } else { args.stage.iter().copied().collect() };
    let rounds = usize::from(args.rounds);
    let tables = ground.own_tables().await?;
    let mut measured = Measured { figures: Vec::new(), freshness: None, held: None };
    for (at, stage) in stages.iter().enumerate() {
        let name = stage.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        console.status(&format!("measuring {name}, {} of {}", at + 1, stages.len()));
        let figures = match stage {
            Stage::Decode => decode::run(ground, &tables, rounds).await?,
            Stage::Write => Box::pin(write::run(ground, &tables, rounds)).await?,
            Stage::Roll => roll::run(ground, &tables, rounds).await?,
            Stage::Read => read::run(ground, rounds).await?,
            Stage::Street => {
                measured.freshness = Some(street::freshness(ground).await?);
                street::run(ground, rounds).await?
            }
            Stage::Hold => {
                let (readings_per_second, series) = (f64::from(args.rate), args.series as usize);
                let plan = Plan { readings_per_second, series, time: args.for_time };
                measured.held = Some(hold::run(ground, plan, console).await?);
                Vec::new()
            }
        };
        measured.figures.extend(figures);
    }
    Ok(measured)
}

/// A line for each figure, with its limit above it.
fn table(figures: &[Figure]) -> String {
    let headings = [
        "stage",
        ">a second",
        ">of its limit",
        ">this",
        ">broker",
        ">ingest",
        ">query",
        ">database",
        "to reach",
    ];
    let mut table = Table::new(Paint::of_stdout(), &headings);
    for figure in figures {
        let limit = figures.iter().find(|one| Some(one.name) == figure.limit);
        let mark = if figure.is_stable() { "" } else { "~ " };
        let cpu = |who: &[Who]| {
            let seconds = figure.cpu(who);
            if seconds < 0.0005 { String::new() } else { format!("{seconds:.3}") }
        };
        table.row([
            figure.about.clone(),
            format!("{mark}{}", thousands(figure.rate() as i64)),
            limit.map(|limit| format!("{:.2}", figure.rate_of(limit))).unwrap_or_default(),
            cpu(&[Who::Bench]),
            cpu(&[Who::Broker]),
            cpu(&[Who::Ingest]),
            cpu(&[Who::Query]),
            cpu(&DATABASE),
            figure.bar.to_owned(),
        ]);
    }
    format!("{}  The columns of processes are CPU-seconds for a million readings, or rows.\n", table.text())
}

/// Where the CPU time of the whole street goes.
fn chart(figures: &[Figure]) -> String {
    let Some(street) = figures.iter().find(|figure| figure.name == "street") else { return String::new() };
    let spent: Vec<(Who, f64)> = ALL.map(|who| (who, street.cpu(&[who]))).to_vec();
    let all: f64 = spent.iter().map(|(_, seconds)| seconds).sum();
    let most = spent.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    let mut text = format!("\nCPU-seconds of a million readings, from publisher to rolled: {all:.2}\n");
    for (who, seconds) in spent {
        text += &format!("  {:26} {seconds:5.2}  {}\n", who.title(), bar(seconds / most, BAR_LETTERS));
    }
    text
}

struct Machine {
    processor: String,
    cores: usize,
}

impl Machine {
    fn here() -> Machine {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let processor = processor.map_or("unknown processor", |(_, name)| name).to_owned();
        Machine { processor, cores: thread::available_parallelism().map_or(1, Into::into) }
    }

    fn text(&self) -> String {
        format!("{} cores of {}", self.cores, self.processor)
    }
}

#[cfg(test)]
mod tests {
    use figure::Round;

    use super::*;

    #[test]
    fn a_table_says_what_is_beside_what_and_marks_what_is_no_figure() {
        let round = |wall_s: f64| Round {
            items: 1_000_000,
            wall_s,
            cpu: [(Who::Ingest, 0.5), (Who::Backend, 0.9), (Who::Upkeep, 0.1)].into(),
        };
        let figure = |name, walls: &[f64]| Figure {
            rounds: walls.iter().map(|wall_s| round(*wall_s)).collect(),
            ..Figure::new(name, name, "readings")
        };
        let limit = figure("drain", &[1.0, 1.0, 1.0]);
        let street = figure("street", &[2.0, 2.0, 2.0]).beside("drain", "0.6");
        let shaky = figure("shaky", &[1.0, 2.0, 3.0, 4.0]);
        let text = table(&[limit.clone(), street.clone(), shaky]);
        let line = |stage: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(stage)).unwrap().to_owned();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("street"), ["street", "500,000", "0.50", "0.500", "1.000", "0.6"]);
        assert_eq!(line("drain"), ["drain", "1,000,000", "0.500", "1.000"]);
        assert_eq!(line("shaky")[1], "~");
        let chart = chart(&[limit, street]);
        assert!(chart.contains("rolled: 1.50"), "{chart}");
        assert!(chart.contains(&"█".repeat(BAR_LETTERS)), "the longest is full: {chart}");
    }
}

//! `screenline health`: which sensors need a visit, and why.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::{Timestamp, ToSpan, civil::Date};
use processor::measure::{
    detector::Thresholds,
    health::{self, Finding, Inspection, LOOK_BACK},
};
use serde_json::json;

use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::{Paint, Table, count},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Detectors that count vehicles are judged by their samples of 05:00 to 22:00, with the thresholds of Caltrans' PeMS, or by
their passages; registers by whether they move; all others by whether they are heard, say what can be, and do not repeat
one value. The rules: processor/MEASURES.md. Exit code 1 if anything needs a visit.

Examples:
  screenline health
  screenline health --day 2026-11-20 --look-back 14 --roads rural
  screenline health --json | jq -r '.findings[] | [.sensor, .rule, .since] | @csv'")]
pub struct HealthArgs {
    /// The local day that is judged [default: yesterday]
    #[arg(long, value_name = "DATE")]
    day: Option<Date>,
    /// Say since when it is so, as far as so many days back
    #[arg(long, value_name = "DAYS", default_value_t = LOOK_BACK, value_parser = clap::value_parser!(u32).range(1..=60))]
    look_back: u32,
    /// Which thresholds hold: on rural roads detectors are empty more often
    #[arg(long, value_enum, default_value_t = Roads::Urban)]
    roads: Roads,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Roads {
    Urban,
    Rural,
}

/// # Errors
/// The database cannot be read.
pub async fn run(args: HealthArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| look(&args, url, console).await).await
}

async fn look(args: &HealthArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let Tables { client, registry, zone } = Tables::open(url, "screenline-health").await?;
    let day = match args.day {
        Some(day) => day,
        None => zone.to_datetime(Timestamp::now()).date().checked_sub(1.day())?,
    };
    let thresholds = match args.roads {
        Roads::Urban => Thresholds::URBAN,
        Roads::Rural => Thresholds::RURAL,
    };
    let inspection = Inspection { days: args.look_back, thresholds, ..Inspection::of(day, &zone) };
    let told = |done, of| console.status(&format!("{done} of {}", count(of as i64, "series", "series")));
    let findings = health::findings(&client, &registry, &inspection, told).await?;
    console.end_status();
    if args.json {
        let each = |finding: &Finding| {
            let Finding { sensor, metric, rule, since, advice } = finding;
            json!({"sensor": sensor, "metric": metric, "rule": rule, "since": since.to_string(), "advice": advice})
        };
        let findings: Vec<_> = findings.iter().map(each).collect();
        println!("{}", json!({"day": day.to_string(), "findings": findings}));
    } else if findings.is_empty() {
        println!("{day}: nothing needs a visit");
    } else {
        let mut table = Table::new(Paint::of_stdout(), &["since", "sensor", "metric", "rule", "what to do"]);
        for Finding { sensor, metric, rule, since, advice } in &findings {
            let cells = [&since.to_string(), sensor, metric, rule, &(*advice).to_owned()];
            table.row(cells.map(Clone::clone));
        }
        print!("{}", table.text());
        println!("{day}: {}", count(findings.len() as i64, "sensor needs a visit", "sensors need a visit"));
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

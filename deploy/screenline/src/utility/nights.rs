use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use jiff::Timestamp;
use processor::measure::{
    utility::{Night, NightRule},
    zone::{self, Meter, Role},
};
use serde_json::json;

use super::{ZoneArgs, amounts, step_s};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::PeriodArgs,
    rows::{Cell, Row, Rows},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The flow is the lowest hour of the net inflow (inlets less exports and storage) between 02:00 and 04:00 local time. Its
baseline is the median of the last 28 nights without an alarm, of at least three; the limit lies above it by three times
their median deviation, or by --percent, whichever is more. Exit code 1 if there is an alarm.

Examples:
  screenline utility nights north --last 60d
  screenline utility nights north --last 60d --in-a-row 2 --percent 15 --json")]
pub struct NightsArgs {
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    period: PeriodArgs,
    /// So many nights above the limit are an alarm
    #[arg(long, value_name = "NIGHTS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=30))]
    in_a_row: u8,
    /// The limit lies at least so much above the baseline
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    percent: u16,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: NightsArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| nights(&args, url, console).await).await
}

async fn nights(args: &NightsArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-utility").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let meters = args.zone.meters(&tables, &period).await?;
    let flowing: Vec<&Meter> = meters.iter().filter(|meter| meter.role != Role::Customer).collect();
    ensure!(
        flowing.iter().any(|meter| meter.role == Role::Inlet),
        "zone {} has no inlet: what comes in is not known",
        args.zone.zone
    );
    let widest = flowing.iter().map(|meter| step_s(&meter.series)).max().unwrap_or(3_600);
    ensure!(
        widest <= 3_600,
        "an inlet, an export or a tank of zone {} is read every {widest} s: a night flow needs an hour at least",
        args.zone.zone
    );
    let (mut all, mut steps) = (Vec::new(), None);
    let take = |meter: &Meter, of: &zone::Steps, amounts: Vec<Option<f64>>| {
        all.push((meter.role, amounts));
        steps.get_or_insert_with(|| of.clone());
    };
    amounts(&tables, &flowing, &period, widest, console, take).await?;
    let rule =
        NightRule { nights: args.in_a_row.into(), percent: args.percent.into(), ..NightRule::default() };
    let nights = steps.map_or_else(Vec::new, |steps| {
        zone::nights(&steps, &zone::net_inflow(&all, steps.spans.len()), rule)
    });
    let alarms = nights.iter().filter(|night| night.is_alarm).count();
    let rows = Rows(nights.iter().map(row).collect());
    match args.json {
        true => {
            let unit = format!("{}/h", meters[0].series.unit);
            println!(
                "{}",
                json!({"zone": args.zone.zone, "unit": unit, "alarms": alarms, "nights": rows.json()})
            );
        }
        false => print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[])),
    }
    Ok(if alarms == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(night: &Night) -> Row {
    vec![
        ("night", Cell::Day(night.night)),
        ("flow", Cell::Number(night.flow)),
        ("baseline", Cell::Number(night.baseline)),
        ("limit", Cell::Number(night.limit)),
        ("alarm", Cell::Flag(night.is_alarm)),
    ]
}

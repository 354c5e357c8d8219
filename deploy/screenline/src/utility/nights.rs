use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use processor::measure::{
    night::{self, BACK},
    utility::{Night, NightRule},
    zone::Role,
};
use serde_json::json;

use super::{ZoneArgs, tell};
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
baseline is the median of the last 28 nights that were not above their limit, of at least three, also of those before the
period; the limit lies above it by three times their median deviation, or by --percent, whichever is more. A night with a
step that was not observed has no flow. Exit code 1 if the last night with a flow is an alarm.

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
    // Nights before have the meters of their time.
    let from = period.start.checked_sub(BACK).context("a period that long ago")?;
    let whole = from..period.end;
    let meters = args.zone.meters(&tables, &whole, &[Role::Inlet]).await?;
    let flows = night::flows(&meters);
    let rule =
        NightRule { nights: args.in_a_row.into(), percent: args.percent.into(), ..NightRule::default() };
    let Tables { client, registry, zone } = &tables;
    let told = tell(console, flows.len());
    let nights = night::nights(client, registry, &flows, &whole, zone, rule, told).await;
    let mut nights = nights.with_context(|| format!("the nights of zone {}", args.zone.zone))?;
    console.end_status();
    let first = tables.zone.to_datetime(period.start).date();
    nights.retain(|night| first <= night.night);
    let alarms = nights.iter().filter(|night| night.is_alarm).count();
    let judged = nights.iter().filter(|night| night.flow.is_some() && night.limit.is_some()).count();
    let is_alarm = nights.iter().rev().find(|night| night.flow.is_some()).is_some_and(|night| night.is_alarm);
    let rows = Rows(nights.iter().map(row).collect());
    let (paint, unit) = (Paint::of_stdout(), format!("{}/h", meters[0].series.unit));
    match args.json {
        true => println!(
            "{}",
            json!({
                "zone": args.zone.zone, "unit": unit, "judged": judged, "alarms": alarms, "nights": rows.json(),
            })
        ),
        false => {
            print!("{}", rows.text(paint, &tables.zone, &[]));
            println!(
                "{}",
                paint.dim(&format!("  flows in {unit}; {judged} of {} nights could be judged", nights.len()))
            );
        }
    }
    Ok(if is_alarm { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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

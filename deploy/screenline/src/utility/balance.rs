use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use processor::measure::{
    balance::{self, BACK},
    utility::Balance,
    zone::{Day, Role},
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
loss = inflow - export - stored - metered, and nrw_percent is its percentage of inflow - export - stored. A customer's meter
that was silent or stuck is estimated from the same time of the other days, from a week before on, beside what was measured:
`imputed`, and `nrw_percent_imputed` with it. A register that was silent is spread over its gap. Days are local and whole:
one on which an inlet, an export or a tank was silent, and today, has no balance. `unknown` are the steps of customers' meters
of which nothing is known.

Examples:
  screenline utility balance city --from 2026-11-01 --to 2026-12-01
  screenline utility balance north --last 14d --json | jq -r '.days[] | [.day, .nrw_percent] | @csv'")]
pub struct BalanceArgs {
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    period: PeriodArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: BalanceArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| look(&args, url, console).await).await
}

async fn look(args: &BalanceArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-utility").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    // A register that stuck before the period is known by how it counted before.
    let from = period.start.checked_sub(BACK).context("a period that long ago")?;
    let whole = from..period.end;
    let meters = args.zone.meters(&tables, &whole, &[Role::Inlet, Role::Customer]).await?;
    let Tables { client, registry, zone } = &tables;
    let told = tell(console, meters.len());
    let ledger = balance::ledger(client, registry, &meters, &whole, zone, told).await?;
    console.end_status();
    let first = tables.zone.to_datetime(period.start).date();
    let rows = Rows(ledger.days().filter(|day| first <= day.day).map(row).collect());
    let (paint, unit) = (Paint::of_stdout(), &*meters[0].series.unit);
    match args.json {
        true => println!(
            "{}",
            json!({"zone": args.zone.zone, "unit": unit, "meters": meters.len(), "days": rows.json()})
        ),
        false => {
            print!("{}", rows.text(paint, &tables.zone, &[]));
            println!("{}", paint.dim(&format!("  amounts in {unit}, {} meters", meters.len())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(day: &Day) -> Row {
    let balance = day.balance();
    let of = |number: &dyn Fn(&Balance) -> f64| Cell::Number(balance.as_ref().map(number));
    vec![
        ("day", Cell::Day(day.day)),
        ("inflow", of(&|balance| balance.inflow)),
        ("export", of(&|balance| balance.export)),
        ("stored", of(&|balance| balance.stored)),
        ("metered", of(&|balance| balance.metered)),
        ("loss", of(&|balance| balance.loss())),
        ("nrw_percent", Cell::Number(balance.and_then(|balance| balance.non_revenue()))),
        ("imputed", Cell::Number(balance.map(|_| day.imputed))),
        ("nrw_percent_imputed", Cell::Number(day.completed().and_then(|balance| balance.non_revenue()))),
        ("unknown", Cell::Count(day.unknown as i64)),
    ]
}

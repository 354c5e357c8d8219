use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use jiff::Timestamp;
use processor::measure::{
    utility::Balance,
    zone::{Day, Ledger, Meter, Role},
};
use serde_json::json;

use super::{ZoneArgs, amounts, by_step};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::PeriodArgs,
    rows::{Cell, Row, Rows},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
loss = inflow - export - stored - metered, and nrw is its percentage of inflow - export - stored. A customer's meter that was
silent or stuck is estimated from the same time of the other days of the period, beside what was measured: `imputed`, and
`nrw_imputed` with it. A day on which an inlet, an export or a tank was silent has no balance; `unknown` are the steps of
customers' meters of which nothing is known.

Examples:
  screenline utility balance city --from 2026-11-01 --to 2026-12-01
  screenline utility balance north --last 14d --json | jq -r '.days[] | [.day, .nrw] | @csv'")]
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
    args.database.with(async |url| balance(&args, url, console).await).await
}

async fn balance(args: &BalanceArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-utility").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let meters = args.zone.meters(&tables, &period).await?;
    ensure!(
        meters.iter().any(|meter| meter.role == Role::Inlet),
        "zone {} has no inlet: what comes in is not known",
        args.zone.zone
    );
    let mut ledger = Ledger::default();
    for (step_s, group) in by_step(&meters) {
        let take = |meter: &Meter, steps: &_, amounts: Vec<_>| {
            ledger.add(meter.role, steps, &amounts);
        };
        amounts(&tables, &group, &period, step_s, console, take).await?;
    }
    let rows = Rows(ledger.days().map(row).collect());
    match args.json {
        true => {
            let (unit, count) = (&*meters[0].series.unit, meters.len());
            println!(
                "{}",
                json!({"zone": args.zone.zone, "unit": unit, "meters": count, "days": rows.json()})
            );
        }
        false => print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[])),
    }
    Ok(ExitCode::SUCCESS)
}

fn row(day: &Day) -> Row {
    let Day { day: date, balance, imputed, unknown } = day;
    let of = |number: &dyn Fn(&Balance) -> f64| Cell::Number(balance.as_ref().map(number));
    vec![
        ("day", Cell::Day(*date)),
        ("inflow", of(&|balance| balance.inflow)),
        ("export", of(&|balance| balance.export)),
        ("stored", of(&|balance| balance.stored)),
        ("metered", of(&|balance| balance.metered)),
        ("loss", of(&|balance| balance.loss())),
        ("nrw", Cell::Number(balance.and_then(|balance| balance.non_revenue()))),
        ("imputed", Cell::Number(balance.map(|_| *imputed))),
        ("nrw_imputed", Cell::Number(day.completed().and_then(|balance| balance.non_revenue()))),
        ("unknown", Cell::Count(*unknown as i64)),
    ]
}

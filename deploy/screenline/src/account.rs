//! `screenline account`: what came in, where it went, what is missing.

mod series;
mod text;

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use processor::store::{self, Account, City};
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    database::DatabaseArgs,
    paper::Paint,
    period::{Moment, Period, span},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A period is whole hours, by the city's clocks: a date is its midnight, and the end is not part of it. Messages are
counted in the hour of their receipt; readings are due in the hour they speak of. What is missing is said first. Exit
code 1 if a sum of the ledger does not hold; missing data is no error of the account.

Examples:
  screenline account                                      today
  screenline account --from 2026-11-20 --to 2026-11-21
  screenline account --last 24h --json
  screenline account --series --sensor WM-103             how much was heard of each series, the worst first")]
pub struct AccountArgs {
    /// From this date or time on [default: today]
    #[arg(long, value_name = "TIME", conflicts_with = "last")]
    from: Option<Moment>,
    /// To before this date or time [default: through the present hour]
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// The last hours or days: 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "to")]
    last: Option<SignedDuration>,
    /// How much was heard of each series, the worst first
    #[arg(long)]
    series: bool,
    /// Of this sensor only
    #[arg(long, value_name = "ID", requires = "series")]
    sensor: Option<String>,
    /// How many series to show
    #[arg(long, default_value_t = 20, requires = "series", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Prints the account of a period. The code is 1 when its sums do not hold.
///
/// # Errors
/// The period is none, or the database cannot be read.
pub async fn run(args: AccountArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| print(&args, url).await).await
}

async fn print(args: &AccountArgs, url: &str) -> anyhow::Result<ExitCode> {
    let client = store::connect(url, "screenline account").await.context("connect to the database")?;
    // A year of a large city takes longer than a batch may.
    client.batch_execute("SET statement_timeout = '15min'").await?;
    let city = City::read(&client).await?;
    let now = Timestamp::now();
    let period = Period::of(args.from, args.to, args.last, &city.time_zone, now)?;
    let sheet = Sheet { city: &city, period, paint: Paint::of_stdout() };
    if args.series {
        series::print(args, &sheet, &client, now).await?;
        return Ok(ExitCode::SUCCESS);
    }
    account(args, &sheet, &client, now).await
}

/// What every text is written on: the city, the period and the colours.
struct Sheet<'a> {
    city: &'a City,
    period: Period,
    paint: Paint,
}

async fn account(
    args: &AccountArgs,
    sheet: &Sheet<'_>,
    client: &Client,
    now: Timestamp,
) -> anyhow::Result<ExitCode> {
    let account =
        Account::read(client, sheet.period.from, sheet.period.to, now).await.context("read the account")?;
    let sums_hold = account.problems.is_empty();
    if args.json {
        println!("{}", as_json(&account, sheet)?);
    } else {
        print!("{}", text::account(&account, sheet));
    }
    Ok(if sums_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The account with its verdicts.
fn as_json(account: &Account, sheet: &Sheet<'_>) -> anyhow::Result<serde_json::Value> {
    let mut json = serde_json::to_value(account)?;
    let verdicts = json!({
        "time_zone": sheet.city.time_zone.iana_name(),
        "sums_hold": account.problems.is_empty(),
        "missing_messages": account.missing_messages(),
        "open_rejections": account.open_rejections(),
        "incomplete_hours": account.incomplete().count(),
    });
    if let (Some(json), serde_json::Value::Object(verdicts)) = (json.as_object_mut(), verdicts) {
        json.extend(verdicts);
    }
    let hours = json["hours"].as_array_mut().into_iter().flatten();
    for (json, hour) in hours.zip(&account.hours) {
        json["complete"] = (!hour.open && hour.is_complete()).into();
        json["share"] = hour.share().into();
    }
    Ok(json)
}

//! `screenline changes`: which rollups changed since a time, for who publishes numbers.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use processor::{
    model::Level,
    store::{
        self, City,
        revision::{self, Change, Counts},
    },
};
use serde_json::json;

use crate::{
    database::DatabaseArgs,
    paper::{Paint, Table},
    period::Moment,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A late reading changes its bucket of five minutes, its hour and its local day, and nothing else; each is listed with its
series. What changed in more than 64 places at once, as the first rolling of a city, is one line. Changes are kept for 400
days. The dataset `revision` of the query service has the same.

Examples:
  screenline changes --since 24h
  screenline changes --since 2026-11-01 --json | jq -r '.[] | select(.changed > 0) | .starts'")]
pub struct ChangesArgs {
    /// Changes made from this time on, by the city's clocks
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: Moment,
    /// List so many at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: u32,
    /// Print a JSON list on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// # Errors
/// The database cannot be read.
pub async fn run(args: ChangesArgs) -> anyhow::Result<ExitCode> {
    args.database
        .with(async |url| {
            let client =
                store::connect(url, "screenline-changes").await.context("connect to the database")?;
            let zone = City::read(&client).await?.time_zone;
            let since = args.since.at(&zone, Timestamp::now())?;
            let changes = revision::since(&client, since, args.limit.into()).await?;
            if args.json {
                println!("{}", serde_json::Value::from(changes.iter().map(about).collect::<Vec<_>>()));
                return Ok(ExitCode::SUCCESS);
            }
            if changes.is_empty() {
                println!("nothing changed since {}", since.to_zoned(zone).strftime("%F %H:%M"));
                return Ok(ExitCode::SUCCESS);
            }
            let headings = ["at", "width", "sensor", "metric", "from", "to", "added", "changed", "gone"];
            let mut table = Table::new(Paint::of_stdout(), &headings);
            let moment = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%F %H:%M").to_string();
            for Change { at, level, series, starts, ends, counts: Counts { added, changed, gone } } in
                &changes
            {
                let several = || ("several".to_owned(), String::new());
                let (sensor, metric) = series.clone().unwrap_or_else(several);
                let numbers = [added, changed, gone].map(ToString::to_string);
                let cells =
                    [moment(*at), width(*level).to_owned(), sensor, metric, moment(*starts), moment(*ends)];
                table.row(cells.into_iter().chain(numbers));
            }
            print!("{}", table.text());
            if args.limit as usize == changes.len() {
                println!("There may be more: --limit {}", args.limit.saturating_mul(10));
            }
            Ok(ExitCode::SUCCESS)
        })
        .await
}

const fn width(level: Level) -> &'static str {
    match level {
        Level::FiveMinutes => "5m",
        Level::Hour => "1h",
        Level::Day => "1d",
    }
}

fn about(change: &Change) -> serde_json::Value {
    let Change { at, level, series, starts, ends, counts: Counts { added, changed, gone } } = change;
    json!({
        "at": at.to_string(),
        "level": width(*level),
        "sensor": series.as_ref().map(|(sensor, _)| sensor),
        "metric": series.as_ref().map(|(_, metric)| metric),
        "starts": starts.to_string(),
        "ends": ends.to_string(),
        "added": added,
        "changed": changed,
        "gone": gone,
    })
}

//! `screenline retention`: what is older than it is kept, and dropping it now.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use processor::{
    registry::{Admission, Registry},
    roller::Roller,
    store::{self, City, Due, ROWS_COUNTED_MAX, Retention, Step},
};
use serde_json::json;

use crate::{
    database::DatabaseArgs,
    paper::{Paint, Table, count, thousands},
};

/// Marks of closed buckets are gone sooner, unless something is wrong.
const ROLL_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
How long each class is kept is a setting of the city: `screenline up --keep readings=13mo --keep readings:camera.*=30d`.
A running city drops what is due by itself, within a minute. Whole days go, by the city's clocks; a month counts 31
days. Rollups stay for ever unless a class says otherwise, and never go before their readings.

Examples:
  screenline retention --dry-run      what would go, and what goes next
  screenline retention                drop it now")]
pub struct RetentionArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Shows what is due, and drops it.
///
/// # Errors
/// The database fails, or marks that must be rolled first are not.
pub async fn run(args: RetentionArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| keep(&args, url).await).await
}

async fn keep(args: &RetentionArgs, url: &str) -> anyhow::Result<ExitCode> {
    let client = store::connect(url, "screenline-retention").await.context("connect to the database")?;
    let zone = City::read(&client).await?.time_zone;
    drop(client);
    let mut retention = Retention::new(url, zone.clone());
    let due = retention.due().await.context("look for what is due")?;
    ensure!(!due.is_empty(), "this database does not know yet how long to keep what: start its city once");
    let dropped = match args.dry_run {
        true => None,
        false => Some(drop_all(&mut retention, url, &zone).await?),
    };
    let floor = retention.raw_floor().await?.map(|floor| floor.timestamp());
    if args.json {
        println!("{}", json!({ "due": due, "dropped": dropped, "raw_floor": floor }));
    } else {
        print!("{}", text(&due, dropped.as_ref(), floor, &zone, Paint::of_stdout()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Days and rows that went, by class.
type Gone = BTreeMap<String, (i64, i64)>;

async fn drop_all(retention: &mut Retention, url: &str, zone: &TimeZone) -> anyhow::Result<Gone> {
    let mut gone = Gone::new();
    // Whether a city runs that rolls, is not known here.
    let registry = Arc::new(RwLock::new(Registry::new(Admission::Closed)));
    let mut roller = Roller::new(url, registry, zone.clone());
    let started = Instant::now();
    loop {
        match retention.step().await.context("drop what is due")? {
            Step::Idle => return Ok(gone),
            Step::Dropped(dropped) => {
                let sum = gone.entry(dropped.class).or_default();
                *sum = (sum.0 + dropped.days, sum.1 + dropped.rows);
            }
            Step::Waiting(before) => {
                ensure!(
                    started.elapsed() < ROLL_PATIENCE,
                    "buckets before {before} are still to be rolled, and their readings must not go before: see \
                     screenline_dirty_marks and the log of ingest"
                );
                if !roller.step().await.context("roll what is older than the readings to go")?.more {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

fn text(
    due: &[Due],
    dropped: Option<&Gone>,
    floor: Option<Timestamp>,
    zone: &TimeZone,
    paint: Paint,
) -> String {
    let day = |time: Option<Timestamp>| {
        time.map_or_else(|| "-".to_owned(), |time| zone.to_datetime(time).date().to_string())
    };
    let mut table = Table::new(paint, &["class", "kept for", "kept from", ">due now", ">size", "next goes"]);
    for due in due {
        let amount = match (due.days, due.rows) {
            (0, 0) => "-".to_owned(),
            (0, ROWS_COUNTED_MAX..) => format!("{} rows or more", thousands(ROWS_COUNTED_MAX)),
            (0, rows) => count(rows, "row", "rows"),
            (days, _) => count(days as i64, "day", "days"),
        };
        let size = if due.bytes == 0 { String::new() } else { format!("{} MiB", thousands(due.bytes >> 20)) };
        table.row([due.class.clone(), due.keep.clone(), day(due.floor), amount, size, day(due.next)]);
    }
    let mut text = table.text();
    if let Some(floor) = floor {
        text += &format!(
            "Readings and events before {} were dropped; late ones are rejected as too_late, rollups stay.\n",
            day(Some(floor))
        );
    }
    match dropped {
        None => {
            text += "Nothing was dropped: a running city does it by itself, `screenline retention` does it now.\n";
        }
        Some(gone) if gone.is_empty() => text += "Nothing was due.\n",
        Some(gone) => {
            for (class, (days, rows)) in gone {
                text += &match (days, rows) {
                    (0, rows) => format!("Deleted {} of {class}.\n", count(*rows, "row", "rows")),
                    (days, _) => format!("Dropped {} of {class}.\n", count(*days, "day", "days")),
                };
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_and_what_went_is_said_by_class() {
        let due = Due {
            class: "readings".to_owned(),
            keep: "13mo".to_owned(),
            floor: None,
            before: None,
            days: 3,
            bytes: 5 << 20,
            rows: 0,
            next: Some("2026-11-21T23:30:00Z".parse().unwrap()),
        };
        let zone = TimeZone::get("Europe/Paris").unwrap();
        let text_of =
            |dropped: Option<&Gone>| text(std::slice::from_ref(&due), dropped, None, &zone, Paint::PLAIN);
        let shown = text_of(None);
        assert!(shown.contains("3 days  5 MiB  2026-11-22"), "{shown}");
        assert!(shown.ends_with("does it now.\n"), "{shown}");
        let gone = Gone::from([("readings".to_owned(), (3, 0)), ("batches".to_owned(), (0, 1))]);
        assert!(text_of(Some(&gone)).ends_with("Deleted 1 row of batches.\nDropped 3 days of readings.\n"));
    }
}

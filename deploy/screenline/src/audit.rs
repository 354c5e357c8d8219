//! `screenline audit`: are the rollups what their readings say?

use std::{
    process::ExitCode,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use processor::{
    auditor::{Audited, Auditor, Mismatch, Shown},
    model::{self, Time},
    registry::{Admission, Registry},
    store::{self, City},
};
use serde_json::json;

use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{Paint, Table, count, thousands},
    period::Moment,
};

/// Random hours that are looked at without --all.
const SAMPLES: u32 = 100;
/// Mismatches shown to people.
const SHOWN_MAX: usize = 20;
const STATUS_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Every look is one snapshot of the database, so it may run beside everything else. Buckets that are open, marked for the
roller, or older than the readings still kept are left out. Exit code 1 if something is not as it should be.

Examples:
  screenline audit                       a hundred random hours, each of a share of the city
  screenline audit --all
  screenline audit --all --from 2026-11-01 --to 2026-11-20 --json
  screenline audit --all --repair        mark what is wrong, so that the roller computes it again")]
pub struct AuditArgs {
    /// Compute every rollup again, a local day at a time
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Look at so many random hours, each of a share of the city [default: 100]
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// Local days from this date on
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Local days before this date
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Mark mismatches, so that the roller computes them again
    #[arg(long)]
    repair: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What was found, with what it took.
struct Report {
    audited: Audited,
    days: usize,
    /// Hours of the ledger whose sums do not hold.
    ledger: Vec<String>,
    /// Readings and events counted as stored, and those there, where they can be compared.
    stored: Option<(i64, i64)>,
    repaired: bool,
}

/// Compares and prints. The code is 1 when something differs.
///
/// # Errors
/// The database cannot be read.
pub async fn run(args: AuditArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| audit(&args, url, console).await).await
}

async fn audit(args: &AuditArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let client = store::connect(url, "screenline-audit").await.context("connect to the database")?;
    let zone = City::read(&client).await?.time_zone;
    drop(client);
    let registry = Arc::new(RwLock::new(Registry::new(Admission::Closed)));
    let mut auditor = Auditor::new(url, registry, zone.clone());
    let days = between(auditor.days().await?, args, &zone)?;
    let mut report = Report {
        audited: Audited::default(),
        days: days.len(),
        ledger: auditor.ledger().await?,
        stored: None,
        repaired: args.repair,
    };
    let looks = if args.all { days.len() } else { args.sample.unwrap_or(SAMPLES) as usize };
    let mut told = Instant::now();
    for done in 0..looks {
        let found = match args.all {
            true => auditor.day(days[done]).await,
            false => auditor.sample(&days).await,
        };
        let found = found.context("compute rollups again")?;
        if args.repair && !found.mismatches.is_empty() {
            auditor.repair(&found.mismatches).await.context("mark what is wrong")?;
        }
        report.audited.add(found);
        if STATUS_EVERY < told.elapsed() {
            told = Instant::now();
            let (compared, wrong) = (sum(report.audited.compared), sum(report.audited.mismatched));
            console.status(&format!(
                "{} of {} looks, {} compared, {} wrong",
                done + 1,
                looks,
                count(compared, "rollup", "rollups"),
                thousands(wrong)
            ));
        }
    }
    console.end_status();
    if args.all && args.from.is_none() && args.to.is_none() {
        report.stored = auditor.stored().await.context("count readings and events")?;
    }
    let names = auditor.names(&report.audited.mismatches).await?;
    let named = |mismatch: &Mismatch| names.get(&mismatch.series).cloned().unwrap_or_default();
    if args.json {
        println!("{}", report.json(named));
    } else {
        print!("{}", report.text(Paint::of_stdout(), named));
    }
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The local days that a period touches.
fn between(days: Vec<Time>, args: &AuditArgs, zone: &TimeZone) -> anyhow::Result<Vec<Time>> {
    let now = Timestamp::now();
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.at(zone, now)).transpose();
    let (from, to) = (moment(args.from)?.map(Time::from), moment(args.to)?.map(Time::from));
    if let (Some(from), Some(to)) = (from, to) {
        ensure!(from < to, "the period ends ({to}) before it begins ({from})");
    }
    let touched = |day: &Time| {
        from.is_none_or(|from| from < model::Level::Day.end(*day, zone)) && to.is_none_or(|to| *day < to)
    };
    Ok(days.into_iter().filter(touched).collect())
}

fn sum(numbers: [u64; 3]) -> i64 {
    numbers.iter().sum::<u64>().cast_signed()
}

impl Report {
    fn is_fine(&self) -> bool {
        sum(self.audited.mismatched) == 0 && self.ledger.is_empty() && self.stored.is_none_or(|(a, b)| a == b)
    }

    fn text(&self, paint: Paint, named: impl Fn(&Mismatch) -> (String, String)) -> String {
        let Audited { compared, mismatched, mismatches, read } = &self.audited;
        let mut table = Table::new(paint, &["computed again", ">rollups", ">wrong"]);
        for (level, (compared, wrong)) in model::Level::ALL.into_iter().zip(compared.iter().zip(mismatched)) {
            let wrong_text = thousands(wrong.cast_signed());
            let wrong_text = if *wrong == 0 { wrong_text } else { paint.bad(&wrong_text) };
            table.row([level.table().to_owned(), thousands(compared.cast_signed()), wrong_text]);
        }
        let mut text = table.text();
        text += &format!(
            "  from {} of {}\n",
            count(read.cast_signed(), "row", "rows"),
            count(self.days as i64, "local day", "local days")
        );
        for mismatch in mismatches.iter().take(SHOWN_MAX) {
            let (sensor, metric) = named(mismatch);
            let (level, bucket) = (mismatch.level.table(), mismatch.bucket);
            text += &paint.bad(&format!("{level} from {bucket}, {metric} of {sensor}\n"));
            for (who, state) in [("the readings say", &mismatch.expected), ("stored is", &mismatch.stored)] {
                let state = state
                    .as_ref()
                    .map_or("nothing".to_owned(), |state| json!(Shown::from(state)).to_string());
                text += &format!("    {who:<17} {state}\n");
            }
        }
        let more = sum(*mismatched) - mismatches.len().min(SHOWN_MAX) as i64;
        if 0 < more {
            text += &format!("and {} more; --json lists up to 10,000\n", thousands(more));
        }
        for hour in &self.ledger {
            text += &paint.bad(&format!("the ledger's sums do not hold: {hour}\n"));
        }
        match self.stored {
            Some((counted, there)) if counted == there => {
                text +=
                    &format!("  {} in the ledger and in the tables\n", count(counted, "reading", "readings"));
            }
            Some((counted, there)) => {
                text += &paint.bad(&format!(
                    "the ledger counts {} readings and events as stored, the tables hold {}\n",
                    thousands(counted),
                    thousands(there)
                ));
            }
            None => {}
        }
        text += &match (self.is_fine(), self.repaired) {
            (true, _) => paint.good("Every bit is as the readings say.\n"),
            (false, true) => {
                "Wrong rollups are marked: the roller computes them again. Look once more when it has.\n"
                    .to_owned()
            }
            (false, false) => "Please report this. --repair computes wrong rollups again.\n".to_owned(),
        };
        text
    }

    fn json(&self, named: impl Fn(&Mismatch) -> (String, String)) -> serde_json::Value {
        let by_level = |numbers: [u64; 3]| {
            let levels = model::Level::ALL.into_iter().zip(numbers);
            levels.map(|(level, n)| (level.table().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>()
        };
        let mismatches = self.audited.mismatches.iter().map(|mismatch| {
            let (sensor, metric) = named(mismatch);
            json!({
                "level": mismatch.level.table(),
                "bucket": mismatch.bucket.to_string(),
                "sensor": sensor,
                "metric": metric,
                "readings_say": mismatch.expected.as_ref().map(Shown::from),
                "stored": mismatch.stored.as_ref().map(Shown::from),
            })
        });
        let mismatches: Vec<_> = mismatches.collect();
        json!({
            "ok": self.is_fine(),
            "compared": by_level(self.audited.compared),
            "wrong": by_level(self.audited.mismatched),
            "rows_read": self.audited.read,
            "days": self.days,
            "ledger": self.ledger,
            "stored": self.stored.map(|(counted, there)| json!({ "ledger": counted, "tables": there })),
            "mismatches": mismatches,
            "repaired": self.repaired,
        })
    }
}

#[cfg(test)]
mod tests {
    use processor::model::{SeriesId, State};

    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_both_states() {
        let mut report = Report {
            audited: Audited { compared: [10, 2, 1], ..Audited::default() },
            days: 1,
            ledger: Vec::new(),
            stored: Some((12, 12)),
            repaired: false,
        };
        let named = |_: &Mismatch| ("WM-1".to_owned(), "water.level".to_owned());
        assert!(report.is_fine() && report.text(Paint::PLAIN, named).contains("Every bit"));
        report.audited.mismatched[1] = 1;
        report.audited.mismatches.push(Mismatch {
            level: model::Level::Hour,
            bucket: Time::YEAR_2000,
            series: SeriesId(7),
            expected: Some(State { count: 3, ..State::default() }),
            stored: None,
        });
        let text = report.text(Paint::PLAIN, named);
        assert!(!report.is_fine());
        assert!(text.contains("rollup_1h from 2000-01-01T00:00:00Z, water.level of WM-1"), "{text}");
        assert!(text.contains(r#"{"count":3,"flagged":0}"#) && text.contains("nothing"), "{text}");
        let json = report.json(named);
        assert_eq!((&json["ok"], &json["wrong"]["rollup_1h"]), (&json!(false), &json!(1)));
    }
}

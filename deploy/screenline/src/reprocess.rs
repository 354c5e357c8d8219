//! `screenline reprocess`: what stored numbers would be by other rules, before the rules take over.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use processor::{
    auditor::{Auditor, MISMATCHES_MAX, Mismatch, Shown},
    model::{Level, SeriesId, State, Time},
    registry,
};
use serde_json::json;

use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::{Paint, Table, count},
    period::Moment,
    registry::files::FilesArgs,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The files are those of `screenline registry import`: series with other ranges, moduli or gaps, and calibrations. Their
readings are put together again by the new rules, beside the rollups that stand, and what differs is shown; nothing is
written. With --apply the files are imported then, and the roller writes what was shown: `screenline changes` lists it.
Rollups that wait for the roller are left out of the comparison.

Examples:
  screenline reprocess series.csv --diff
  screenline reprocess calibrations.csv --diff --from 2026-11-01 --json
  screenline reprocess series.csv --apply")]
pub struct ReprocessArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Show what would differ, and write nothing [default]
    #[arg(long, conflicts_with = "apply")]
    diff: bool,
    /// Import the files after showing what differs
    #[arg(long)]
    apply: bool,
    /// Compare local days from this date on
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Compare local days before this date
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// # Errors
/// A file is wrong, or the database cannot be used.
pub async fn run(args: ReprocessArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| reprocess(&args, url, console).await).await
}

async fn reprocess(args: &ReprocessArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let files = args.files.read()?;
    let Tables { client, registry, zone } = Tables::open(url, "screenline-reprocess").await?;
    client.batch_execute("SET statement_timeout = 0").await?; // rollups of years may be looked through
    let (plan, _) = registry::diff(&client, &files).await?;
    let version = registry::read(&registry).version();
    let touched = registry::write(&registry).rehearse(&plan).map_err(anyhow::Error::msg)?;
    let mut auditor = Auditor::new(url, registry.clone(), zone.clone());
    let days = days(&client, &touched, args, &zone).await?;
    let mut mismatches: Vec<Mismatch> = Vec::new();
    let (mut compared, mut differ) = ([0; 3], [0; 3]);
    for (done, day) in days.iter().enumerate() {
        let found =
            auditor.day_of(*day, touched.clone()).await.context("compute rollups by the new rules")?;
        let add =
            |sums: &mut [u64; 3], more: [u64; 3]| sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        add(&mut compared, found.compared);
        add(&mut differ, found.mismatched);
        let room = MISMATCHES_MAX - mismatches.len();
        mismatches.extend(found.mismatches.into_iter().take(room));
        console.status(&format!("{} of {}", done + 1, count(days.len() as i64, "local day", "local days")));
    }
    console.end_status();
    ensure!(registry::read(&registry).version() == version, "the registry was changed meanwhile: ask again");
    let names = auditor.names(&mismatches).await?;
    let named = |mismatch: &Mismatch| names.get(&mismatch.series).cloned().unwrap_or_default();
    let applied = args.apply && !plan.is_empty();
    if applied {
        registry::import(&client, &files).await?;
    }
    if args.json {
        let each = |mismatch: &Mismatch| {
            let (sensor, metric) = named(mismatch);
            json!({
                "level": mismatch.level.table(),
                "bucket": mismatch.bucket.to_string(),
                "sensor": sensor,
                "metric": metric,
                "before": mismatch.stored.as_ref().map(Shown::from),
                "after": mismatch.expected.as_ref().map(Shown::from),
            })
        };
        let differences: Vec<_> = mismatches.iter().map(each).collect();
        let report = json!({
            "series": touched.len(),
            "days": days.len(),
            "compared": compared,
            "differ": differ,
            "differences": differences,
            "applied": applied,
        });
        println!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", text(&mismatches, named, &zone));
    println!(
        "{} of {} would differ, in {} of {}.",
        count(differ.iter().sum::<u64>() as i64, "rollup", "rollups"),
        compared.iter().sum::<u64>(),
        count(touched.len() as i64, "series", "series"),
        count(days.len() as i64, "local day", "local days")
    );
    println!(
        "{}",
        if applied {
            "The files are imported: the roller writes this now."
        } else {
            "Nothing was changed: --apply takes the rules over."
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// The local days that have rollups of some series, in the period asked for.
async fn days(
    client: &tokio_postgres::Client,
    touched: &[SeriesId],
    args: &ReprocessArgs,
    zone: &TimeZone,
) -> anyhow::Result<Vec<Time>> {
    let now = Timestamp::now();
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.at(zone, now)).transpose();
    let (from, to) = (moment(args.from)?, moment(args.to)?);
    let ids: Vec<i32> = touched.iter().map(|id| id.0).collect();
    let query = "SELECT DISTINCT bucket FROM rollup_5m WHERE series_id = ANY($1)
                     AND ($2::timestamptz IS NULL OR $2 <= bucket) AND ($3::timestamptz IS NULL OR bucket < $3)";
    let rows = client.query(query, &[&ids, &from, &to]).await?;
    let mut days: Vec<Time> =
        rows.iter().map(|row| Level::Day.start(row.get::<_, Timestamp>(0).into(), zone)).collect();
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// A line for each series and local day that would differ: what people compare first.
fn text(mismatches: &[Mismatch], named: impl Fn(&Mismatch) -> (String, String), zone: &TimeZone) -> String {
    let mut table = Table::new(
        Paint::of_stdout(),
        &["day", "sensor", "metric", ">good", ">beside", ">sum", ">min", ">max"],
    );
    let days: BTreeMap<_, _> = mismatches
        .iter()
        .filter(|mismatch| mismatch.level == Level::Day)
        .map(|mismatch| ((named(mismatch), mismatch.bucket), mismatch))
        .collect();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let became = |before: String, after: String| match before == after {
        true => before,
        false => format!("{before} -> {after}"),
    };
    for (((sensor, metric), bucket), Mismatch { stored, expected, .. }) in days {
        let both = |of: &dyn Fn(&State) -> String| {
            let of = |state: &Option<State>| state.as_ref().map_or("-".to_owned(), of);
            became(of(stored), of(expected))
        };
        let values = |of: fn(&processor::model::state::Values) -> f64| {
            both(&|state: &State| number(state.values.as_ref().map(of)))
        };
        table.row([
            bucket.timestamp().to_zoned(zone.clone()).strftime("%F").to_string(),
            sensor,
            metric,
            both(&|state| state.count.to_string()),
            both(&|state| state.flagged.to_string()),
            values(|values| values.total()),
            values(|values| values.min),
            values(|values| values.max),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}

//! `screenline registry`: what the city knows of its sensors, in and out.

mod adopt;
pub(crate) mod files;
mod show;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use processor::{
    model::{MetricName, SensorId, Time},
    registry::{self, Imported, Table, export::Format},
    store::{self, City},
};
use tokio_postgres::Client;

use self::files::FilesArgs;
use crate::{database::DatabaseArgs, paper::Paint, period::Moment};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A file is CSV with a header, or a FeatureCollection of GeoJSON; columns and properties are named as the fields are, or
mapped by --columns or --map. What it holds is told by its columns or shapes: points are sensors, lines segments, polygons
zones. `screenline registry export TABLE` shows the fields of a table.

Examples:
  screenline registry import sensors.csv series.csv
  screenline registry import streets.geojson --dry-run
  screenline registry import sensors.csv --columns deploy/registry/aarhus.toml
  screenline registry diff sensors.csv                    what an import would change; exit code 1 if anything
  screenline registry export segments --format geojson > segments.geojson
  screenline registry list --quarantined
  screenline registry adopt cam-7 cam-8
  screenline registry exchange WM-101 --at 2026-11-20T09:30 --serial 77-1204
  screenline registry calibrate WM-101 water.flow --from 2026-11-01 --scale 1.02")]
pub struct RegistryArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Take in files, all or nothing; what is not in them stays
    Import(ImportArgs),
    /// Say what an import of files would change, row by row
    Diff(DiffArgs),
    /// Write a table as a file that import takes back unchanged
    Export(ExportArgs),
    /// Say what there is, or which sensors wait in quarantine
    List(show::ListArgs),
    /// Admit sensors from quarantine, with all that they said
    Adopt(adopt::AdoptArgs),
    /// Close the present row of a sensor and open the next one
    Exchange(ExchangeArgs),
    /// Say what makes the true values of a series, from a date on
    Calibrate(CalibrateArgs),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A column that a file does not have leaves what is known; an empty cell takes it away. A sensor that waits in quarantine is
adopted by its row. Rows with valid_from close the row before. A changed range or calibration marks the buckets it
touches, back to the readings still kept.

At most 64 MiB a file and 200,000 rows an import: a larger city comes in parts.")]
struct ImportArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Check everything, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
struct DiffArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Sensors in quarantine are left out. Import zones and segments first, then sensors, series and calibrations, or all files
at once.")]
struct ExportArgs {
    /// sensors, series, segments, zones or calibrations
    #[arg(value_name = "TABLE", default_value = "sensors")]
    table: Table,
    /// csv or geojson; series and calibrations are nowhere, so CSV only
    #[arg(long, default_value = "csv", value_parser = format)]
    format: Format,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
struct ExchangeArgs {
    /// The sensor's name
    sensor: SensorId,
    /// When the new device began, by the city's clocks
    #[arg(long, value_name = "TIME")]
    at: Moment,
    /// Of the new device
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    /// What else is another: kind=loop, lane=2; an empty text takes it away
    #[arg(long = "set", value_name = "FIELD=TEXT")]
    set: Vec<String>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Stored values stay as they were measured. Whoever reads them, dashboards and rollups, sees scale * value + offset from the
date on, up to the next calibration; the range of the series judges that. Buckets it touches are computed again, back to
the readings still kept.

Examples:
  screenline registry calibrate WM-101 water.flow --scale 1.02
  screenline registry calibrate d7 air.temperature --from 2026-11-01 --offset -0.4")]
struct CalibrateArgs {
    /// The sensor's name
    sensor: SensorId,
    /// The metric's name
    metric: MetricName,
    /// From this date or time on, by the city's clocks [default: from the beginning]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// What the value is multiplied by
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    scale: f64,
    /// What is added to it then
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    offset: f64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "csv" => Ok(Format::Csv),
        "geojson" => Ok(Format::GeoJson),
        other => Err(format!("{other:?} is neither csv nor geojson")),
    }
}

/// Runs one of the commands. The code of `diff` is 1 when an import would change something.
///
/// # Errors
/// A file is wrong, the database cannot be used, or there is nothing of what was asked for.
pub async fn run(args: RegistryArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Import(args) => args.database.with(async |url| import(&args, url).await).await?,
        Command::Diff(args) => return args.database.with(async |url| diff(&args, url).await).await,
        Command::Export(args) => args.database.with(async |url| export(&args, url).await).await?,
        Command::List(args) => args.database().with(async |url| show::run(&args, url).await).await?,
        Command::Adopt(args) => args.database().with(async |url| adopt::run(&args, url).await).await?,
        Command::Exchange(args) => args.database.with(async |url| exchange(&args, url).await).await?,
        Command::Calibrate(args) => args.database.with(async |url| calibrate(&args, url).await).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A connection, and the city that it leads to.
async fn open(url: &str) -> anyhow::Result<(Client, City)> {
    let client = store::connect(url, "screenline-registry").await.context("connect to the database")?;
    let city = City::read(&client).await?;
    client.batch_execute("SET statement_timeout = 0").await?; // rollups of years may be looked through
    Ok((client, city))
}

async fn import(args: &ImportArgs, url: &str) -> anyhow::Result<()> {
    let files = args.files.read()?;
    let (client, _) = open(url).await?;
    if args.dry_run {
        let (plan, _) = registry::diff(&client, &files).await?;
        match args.json {
            true => println!("{}", show::plan_json(&plan, true)),
            false => println!("{}Nothing was changed: --dry-run.", show::plan_text(&plan)),
        }
        return Ok(());
    }
    let imported = registry::import(&client, &files).await?;
    say(&imported, args.json);
    Ok(())
}

fn say(imported: &Imported, json: bool) {
    match json {
        true => println!("{}", show::imported_json(imported)),
        false => print!("{}", show::imported_text(imported)),
    }
}

async fn diff(args: &DiffArgs, url: &str) -> anyhow::Result<ExitCode> {
    let files = args.files.read()?;
    let (client, _) = open(url).await?;
    let (plan, only_here) = registry::diff(&client, &files).await?;
    match args.json {
        true => println!("{}", show::diff_json(&plan, &only_here)),
        false => print!("{}", show::diff_text(&plan, &only_here, Paint::of_stdout())),
    }
    Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn export(args: &ExportArgs, url: &str) -> anyhow::Result<()> {
    ensure!(
        args.format == Format::Csv || !matches!(args.table, Table::Series | Table::Calibration),
        "{} are nowhere, so they are no features: export them with --format csv",
        args.table.plural()
    );
    let (client, _) = open(url).await?;
    print!("{}", registry::export::export(&client, args.table, args.format).await?);
    Ok(())
}

async fn exchange(args: &ExchangeArgs, url: &str) -> anyhow::Result<()> {
    let (client, city) = open(url).await?;
    let at = args.at.at(&city.time_zone, Timestamp::now())?;
    let mut fields: Vec<(&str, String)> = Vec::new();
    fields.extend(args.serial.clone().map(|serial| ("serial", serial)));
    for set in &args.set {
        let (field, text) = set.split_once('=').with_context(|| format!("--set {set:?}: give FIELD=TEXT"))?;
        fields.push((field, text.to_owned()));
    }
    let imported = registry::exchange(&client, args.sensor.as_str(), at.into(), &fields).await?;
    say(&imported, args.json);
    Ok(())
}

async fn calibrate(args: &CalibrateArgs, url: &str) -> anyhow::Result<()> {
    let (client, city) = open(url).await?;
    let from = args.from.map(|from| from.at(&city.time_zone, Timestamp::now())).transpose()?.map(Time::from);
    let (sensor, metric) = (args.sensor.as_str(), args.metric.as_str());
    let imported = registry::calibrate(&client, sensor, metric, from, args.scale, args.offset).await?;
    say(&imported, args.json);
    Ok(())
}

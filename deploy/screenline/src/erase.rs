//! `screenline erase`: a sensor is forgotten, on request.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use processor::{
    model::{MetricName, SensorId, Time},
    store::{self, City, Eraser, Erasure, Traces},
};
use serde_json::json;

use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{Paint, Table, printable, thousands},
    period::Moment,
};

const STATUS_EVERY: Duration = Duration::from_secs(1);

/// What an erasure cannot reach.
const ELSEWHERE: &str = "\
Copies may remain in backups and archived write-ahead log until they age out, in queues of the broker, in gateways that
keep their messages, and in files that were exported. A message that comes again is refused: `erased`.
";

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Deletes readings, events, conflicts and rollups of a sensor, and rejections that name it in topic, detail or payload.
Wider rollups are computed again without it; rollups older than the readings still kept cannot be, and go for good.
Without a period and a metric its registry rows go, too. The erasure is kept in the table `erasure`, with a hash in
place of the name. Interrupted, it is finished by asking again.

Examples:
  screenline erase --sensor WM-103                                       say what there is
  screenline erase --sensor WM-103 --yes --reason 'request 2026-117'
  screenline erase --sensor cam-7 --metric camera.people --from 2026-11-01 --to 2026-11-08 --yes")]
pub struct EraseArgs {
    /// The sensor's name
    #[arg(long, value_name = "ID")]
    sensor: SensorId,
    /// Only of this metric
    #[arg(long, value_name = "NAME")]
    metric: Option<MetricName>,
    /// Readings from this date or time on, by the city's clocks [default: from the beginning]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Readings before this date or time [default: all there are]
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Erase; without it, only say what there is
    #[arg(long)]
    yes: bool,
    /// Why, for the table `erasure`; no names, please
    #[arg(long, value_name = "TEXT", default_value = "on request")]
    reason: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Says what there is of a sensor, or erases it.
///
/// # Errors
/// The period is none, or the database fails.
pub async fn run(args: EraseArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| erase(&args, url, console).await).await
}

async fn erase(args: &EraseArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    ensure!(
        !args.reason.contains(args.sensor.as_str()),
        "--reason names the sensor, and it is kept: say why without the name"
    );
    let client = store::connect(url, "screenline-erase").await.context("connect to the database")?;
    let (zone, now) = (City::read(&client).await?.time_zone, Timestamp::now());
    drop(client);
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.at(&zone, now)).transpose();
    let (starts, ends) = (moment(args.from)?.map(Time::from), moment(args.to)?.map(Time::from));
    let erasure = Erasure {
        sensor: args.sensor.clone(),
        metric: args.metric.clone(),
        starts,
        ends,
        reason: args.reason.clone(),
    };
    let mut eraser = Eraser::new(url, erasure).await?;
    if let Some(starts) = starts {
        ensure!(starts < eraser.ends(), "the period ends ({}) before it begins ({starts})", eraser.ends());
    }
    let traces = match args.yes {
        false => eraser.look().await.context("look for what there is")?,
        true => {
            let mut told = Instant::now();
            let erased = eraser.erase(|day| {
                if STATUS_EVERY < told.elapsed() {
                    told = Instant::now();
                    console.status(&format!("erased to {day}"));
                }
            });
            let erased = erased.await.context("erase; ask again to finish it");
            console.end_status();
            erased?
        }
    };
    if args.json {
        println!("{}", json!({ "erased": args.yes, "ends": eraser.ends().to_string(), "traces": traces }));
    } else {
        print!("{}", text(args, eraser.ends(), &traces, Paint::of_stdout()));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(args: &EraseArgs, ends: Time, traces: &Traces, paint: Paint) -> String {
    let metric = args.metric.as_ref().map_or_else(|| "all metrics".to_owned(), ToString::to_string);
    let from = if args.from.is_some() { "the given time" } else { "the beginning" };
    let sensor = printable(args.sensor.as_str());
    let mut text = format!("{metric} of {sensor}, from {from} to before {ends}\n");
    let for_good = match traces.rollups_for_good {
        0 => String::new(),
        rollups => format!("{} of them older than the readings still kept", thousands(rollups)),
    };
    let mut table = Table::new(paint, &[if args.yes { "erased" } else { "there is" }, ">rows", ""]);
    for (what, rows, note) in [
        ("readings", traces.readings, String::new()),
        ("events", traces.events, String::new()),
        ("conflicts", traces.conflicts, String::new()),
        ("rejections", traces.rejections, "that name the sensor in topic, detail or payload".to_owned()),
        ("rollups", traces.rollups, for_good),
        ("registry", traces.registry, String::new()),
    ] {
        table.row([what.to_owned(), thousands(rows), if rows == 0 { String::new() } else { note }]);
    }
    text += &table.text();
    text += if args.yes { ELSEWHERE } else { "Nothing was erased: add --yes.\n" };
    text
}

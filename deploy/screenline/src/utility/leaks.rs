use std::process::ExitCode;

use clap::Args;
use jiff::{Timestamp, ToSpan, civil::Date};
use processor::{
    measure::{
        Steps, utility,
        zone::{self, Amounts, Meter, Role},
    },
    model::Time,
};
use serde_json::json;

use super::{HOUR_S, ZoneArgs, amounts};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::{Paint, count},
    rows::{Cell, Rows},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A tap that never closes: the lowest hour of the local day is above the resolution of the meter. Needs meters that are read at
least every hour, every hour of the day, and a smallest step below the leak; others are counted as not judged. Exit code 1 if
there is one.

Examples:
  screenline utility leaks north
  screenline utility leaks city --day 2026-11-20 --json")]
pub struct LeaksArgs {
    #[command(flatten)]
    zone: ZoneArgs,
    /// The local day [default: yesterday]
    #[arg(long, value_name = "DATE")]
    day: Option<Date>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: LeaksArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| leaks(&args, url, console).await).await
}

async fn leaks(args: &LeaksArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-utility").await?;
    let day = match args.day {
        Some(day) => day,
        None => tables.zone.to_datetime(Timestamp::now()).date().checked_sub(1.day())?,
    };
    let midnight = |day: Date| day.to_zoned(tables.zone.clone()).map(|zoned| zoned.timestamp());
    let period = midnight(day)?..midnight(day.checked_add(1.day())?)?;
    let meters = args.zone.meters(&tables, &period, &[Role::Customer]).await?;
    let mut customers: Vec<&Meter> = meters.iter().filter(|meter| meter.role == Role::Customer).collect();
    let whole =
        |meter: &Meter| meter.valid.start <= period.start.into() && Time::from(period.end) <= meter.valid.end;
    let hourly =
        |meter: &Meter| meter.series.interval_s.is_some_and(|seconds| HOUR_S.is_multiple_of(seconds));
    let judged: Vec<&Meter> =
        customers.iter().copied().filter(|meter| whole(meter) && hourly(meter)).collect();
    // One that was exchanged in the day is there twice.
    customers.dedup_by_key(|meter| &meter.sensor);
    let steps = Steps::of_days(&(period.start.into()..period.end.into()), HOUR_S, &tables.zone)?;
    let (mut rows, mut unjudged) = (Vec::new(), customers.len() - judged.len());
    let take = |meter: &Meter, Amounts { of_step: hours, .. }: Amounts| {
        let resolution = meter.series.arithmetic.meter.resolution.unwrap_or(0.0);
        match utility::is_continuous(&hours, resolution) {
            None => unjudged += 1,
            Some(false) => {}
            Some(true) => rows.push(vec![
                ("sensor", Cell::text(&meter.sensor)),
                ("lowest_hour", Cell::Number(hours.iter().flatten().copied().reduce(f64::min))),
                ("volume", Cell::Number(hours.iter().copied().sum())),
            ]),
        }
    };
    amounts(&tables, &judged, &steps, zone::observed, console, take).await?;
    let rows = Rows(rows);
    let found = rows.0.len();
    if args.json {
        let unit = &*meters[0].series.unit;
        let (zone, day, customers) = (&args.zone.zone, day.to_string(), customers.len());
        println!(
            "{}",
            json!({
                "zone": zone, "day": day, "unit": unit, "customers": customers, "not_judged": unjudged, "leaks": rows.json(),
            })
        );
    } else {
        print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[]));
        println!(
            "{day}: {} of {} never stopped, {unjudged} cannot be judged; volumes in {}",
            count(found as i64, "customer", "customers"),
            customers.len(),
            meters[0].series.unit
        );
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

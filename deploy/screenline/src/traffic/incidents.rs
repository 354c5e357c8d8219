use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use processor::measure::{
    history::Width,
    road::{self, Alarm},
    traffic::California,
};

use super::{Observed, observe};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::PeriodArgs,
    rows::{Cell, Rows},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An incident lies between two neighbouring stations where occupancy is high before and has fallen behind, in minutes: by at
least --t1 points, by the share --t2 of the upstream one, and downstream by the share --t3 within two minutes; it is declared
in the next minute (Payne and Tignor 1978), and over when the share is below --t2 again.

Examples:
  screenline traffic incidents --last 6h
  screenline traffic incidents motorway-a --from 2026-11-20 --to 2026-11-21 --t1 10 --json")]
pub struct IncidentsArgs {
    /// Segments [default: all]
    #[arg(value_name = "SEGMENT")]
    segments: Vec<String>,
    #[command(flatten)]
    period: PeriodArgs,
    /// Percent of occupancy
    #[arg(long, default_value_t = 13.0)]
    t1: f64,
    /// From 0 to 1
    #[arg(long, default_value_t = 0.55)]
    t2: f64,
    /// From 0 to 1
    #[arg(long, default_value_t = 0.1)]
    t3: f64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

const MINUTE: i64 = 60_000_000;

pub async fn run(args: IncidentsArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| incidents(&args, url, console).await).await
}

async fn incidents(args: &IncidentsArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let observed = observe(&tables, &args.segments, &period, Width::Micros(MINUTE), console).await?;
    let rule = California::new(args.t1, args.t2, args.t3);
    let rows = rows(&observed, rule);
    if args.json {
        println!("{}", serde_json::json!({"incidents": rows.json()}));
    } else if rows.0.is_empty() {
        println!("no incident between {} stations", observed.roads.stations.len());
    } else {
        print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[]));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(Observed { roads, spans, measured }: &Observed, rule: California) -> Rows {
    let occupancies: Vec<Vec<Option<f64>>> =
        measured.iter().map(|station| station.iter().map(|bucket| bucket.occupancy).collect()).collect();
    let pairs = road::pairs(&roads.segments, &roads.stations);
    let row = |Alarm { first, last, pair }: Alarm| {
        let (before, behind) = (&roads.stations[pair.upstream], &roads.stations[pair.downstream]);
        vec![
            ("from", Cell::Time(spans[first].start)),
            ("to", Cell::Time(spans[last].end)),
            ("segment", Cell::text(&before.segment)),
            ("direction", Cell::Text(before.direction.clone())),
            ("upstream", Cell::text(before.name())),
            ("downstream", Cell::text(behind.name())),
            ("distance_km", Cell::Number(Some(pair.distance_km))),
        ]
    };
    Rows(road::incidents(&pairs, &occupancies, rule).into_iter().map(row).collect())
}

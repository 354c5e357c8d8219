use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use processor::{
    measure::{
        history::Width,
        road::{self, Congestion},
        traffic::QueueRule,
    },
    model::bucket::FIVE_MINUTES,
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
A bottleneck lies between two neighbouring stations where it is slow before (below 64 km/h) and 32 km/h faster behind, in 5
of 7 intervals of five minutes (Caltrans' PeMS). Its queue reaches against the traffic over every station that is below a
share of its segment's free_flow_speed_kmh.

Examples:
  screenline traffic queues --last 24h
  screenline traffic queues --from 2026-11-20 --to 2026-11-21 --slow 50 --json")]
pub struct QueuesArgs {
    /// Segments [default: all]
    #[arg(value_name = "SEGMENT")]
    segments: Vec<String>,
    #[command(flatten)]
    period: PeriodArgs,
    /// Percent of the speed in free flow below which vehicles queue
    #[arg(long, value_name = "PERCENT", default_value_t = 40, value_parser = clap::value_parser!(u8).range(1..=99))]
    slow: u8,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: QueuesArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| queues(&args, url, console).await).await
}

async fn queues(args: &QueuesArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let observed = observe(&tables, &args.segments, &period, Width::Micros(FIVE_MINUTES), console).await?;
    let rule = QueueRule { share: f64::from(args.slow) / 100.0, ..QueueRule::default() };
    let rows = rows(&observed, rule);
    if args.json {
        println!("{}", serde_json::json!({"queues": rows.json()}));
    } else if rows.0.is_empty() {
        println!("no bottleneck between {} stations", observed.roads.stations.len());
    } else {
        print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[]));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(Observed { roads, spans, measured }: &Observed, rule: QueueRule) -> Rows {
    let speeds: Vec<Vec<Option<f64>>> =
        measured.iter().map(|station| station.iter().map(|bucket| bucket.speed).collect()).collect();
    let free = |segment: &String| roads.segments.get(segment)?.free_flow_speed_kmh;
    let references: Vec<Option<f64>> = roads.stations.iter().map(|station| free(&station.segment)).collect();
    let pairs = road::pairs(&roads.segments, &roads.stations);
    let row = |found: Congestion| {
        let (head, ahead) = (&roads.stations[found.pair.upstream], &roads.stations[found.pair.downstream]);
        vec![
            ("from", Cell::Time(spans[found.first].start)),
            ("to", Cell::Time(spans[found.last].end)),
            ("segment", Cell::text(&head.segment)),
            ("direction", Cell::Text(head.direction.clone())),
            ("slow_at", Cell::text(head.name())),
            ("free_at", Cell::text(ahead.name())),
            ("distance_km", Cell::Number(Some(found.pair.distance_km))),
            ("queue_stations", Cell::Count(found.stations as i64)),
            ("queue_km", Cell::Number(Some(found.length_km))),
        ]
    };
    Rows(road::congestion(&pairs, &speeds, &references, rule).into_iter().map(row).collect())
}

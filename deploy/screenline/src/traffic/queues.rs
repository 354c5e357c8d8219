use std::process::ExitCode;

use clap::Args;
use processor::measure::{
    road::{self, BOTTLENECK_WIDTH, Congestion, Pair},
    station::Station,
    traffic::QueueRule,
};
use serde_json::json;

use super::{Network, NetworkArgs, Observed};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::{Paint, count},
    rows::{Cell, Rows, Units},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A bottleneck lies between two neighbouring stations where it is slow before (below 64 km/h) and 32 km/h faster behind, in 5
of 7 intervals of five minutes (Caltrans' PeMS): from the first of these intervals to the last one. Its queue, at its longest,
reaches against the traffic over every station that is below a share of its segment's free_flow_speed_kmh, else of its
speed_limit_kmh; without either it is empty. Stations whose intervals of speeds do not divide five minutes are left out.

Examples:
  screenline traffic queues --last 24h
  screenline traffic queues --from 2026-11-20 --to 2026-11-21 --slow 50 --json")]
pub struct QueuesArgs {
    #[command(flatten)]
    network: NetworkArgs,
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
    let network = Network::find(&tables, &args.network, BOTTLENECK_WIDTH, Station::says_speed).await?;
    let pairs = network.pairs("speeds every five minutes")?;
    let observed = network.observe(&tables, console).await?;
    let rule = QueueRule { share: f64::from(args.slow) / 100.0, ..QueueRule::default() };
    let rows = rows(&observed, &pairs, rule, &args.network);
    let (heard, paint) = (observed.heard(&pairs, |bucket| bucket.speed), Paint::of_stdout());
    if args.json {
        let (units, queues) = (Rows::units(UNITS), rows.json());
        println!("{}", json!({"units": units, "pairs": pairs.len(), "pairs_heard": heard, "queues": queues}));
    } else {
        if !rows.0.is_empty() {
            print!("{}", rows.text(paint, &tables.zone, &[]));
        }
        let found = count(rows.0.len() as i64, "bottleneck", "bottlenecks");
        println!("{found} between {heard} pairs of stations that were heard, of {}", pairs.len());
    }
    Ok(ExitCode::SUCCESS)
}

const UNITS: &Units = &[("distance_km", "km"), ("queue_km", "km")];

fn rows(observed: &Observed, pairs: &[Pair], rule: QueueRule, network: &NetworkArgs) -> Rows {
    let Observed { roads, steps, .. } = observed;
    let speeds = observed.each(|bucket| bucket.speed);
    let found = road::congestion(pairs, &speeds, &roads.reference_speeds(), rule);
    let row = |found: Congestion| {
        let (head, ahead) = (&roads.stations[found.pair.upstream], &roads.stations[found.pair.downstream]);
        vec![
            ("from", Cell::Time(steps.spans[found.first].start)),
            ("to", Cell::Time(steps.spans[found.last].end)),
            ("segment", Cell::text(&head.segment)),
            ("direction", Cell::Text(head.direction.clone())),
            ("slow_at", Cell::text(head.name())),
            ("free_at", Cell::text(ahead.name())),
            ("distance_km", Cell::Number(Some(found.pair.distance_km))),
            ("queue_stations", Cell::Number(found.queue.map(|(stations, _)| stations as f64))),
            ("queue_km", Cell::Number(found.queue.map(|(_, km)| km))),
        ]
    };
    Rows(found.into_iter().filter(|found| network.wants_pair(roads, &found.pair)).map(row).collect())
}

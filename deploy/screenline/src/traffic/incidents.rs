use std::process::ExitCode;

use clap::Args;
use processor::measure::{
    road::{self, Alarm, INCIDENT_WIDTH, Pair},
    station::Station,
    traffic::California,
};
use serde_json::json;

use super::{Network, NetworkArgs, Observed};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::{Paint, count},
    rows::{Cell, Rows},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An incident lies between two neighbouring stations where occupancy is high before and has fallen behind, in minutes: by at
least --t1 points, by the share --t2 of the upstream one, and downstream by the share --t3 within two minutes; it is declared
in the next minute (Payne and Tignor 1978), and over when the share is below --t2 again. `to` is the last minute in which it
was seen. Stations whose intervals of occupancies do not divide a minute are left out.

Examples:
  screenline traffic incidents --last 6h
  screenline traffic incidents motorway-a --from 2026-11-20 --to 2026-11-21 --t1 10 --json")]
pub struct IncidentsArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Percent of occupancy
    #[arg(long, default_value = "13", value_parser = percent)]
    t1: f64,
    /// From 0 to 1
    #[arg(long, default_value = "0.55", value_parser = share)]
    t2: f64,
    /// From 0 to 1
    #[arg(long, default_value = "0.1", value_parser = share)]
    t3: f64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: IncidentsArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| incidents(&args, url, console).await).await
}

async fn incidents(args: &IncidentsArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let network = Network::find(&tables, &args.network, INCIDENT_WIDTH, Station::says_occupancy).await?;
    let pairs = network.pairs("occupancies every minute")?;
    let observed = network.observe(&tables, console).await?;
    let rows = rows(&observed, &pairs, California::new(args.t1, args.t2, args.t3), &args.network);
    let heard = observed.heard(&pairs, |bucket| bucket.occupancy);
    if args.json {
        let incidents = rows.json();
        println!("{}", json!({"pairs": pairs.len(), "pairs_heard": heard, "incidents": incidents}));
    } else {
        if !rows.0.is_empty() {
            print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[]));
        }
        let found = count(rows.0.len() as i64, "incident", "incidents");
        println!("{found} between {heard} pairs of stations that were heard, of {}", pairs.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "give a share from 0 to 1".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "give points of occupancy, from 0 to 100".to_owned())
}

fn rows(observed: &Observed, pairs: &[Pair], rule: California, network: &NetworkArgs) -> Rows {
    let Observed { roads, steps, .. } = observed;
    let row = |Alarm { first, last, pair }: Alarm| {
        let (before, behind) = (&roads.stations[pair.upstream], &roads.stations[pair.downstream]);
        vec![
            ("from", Cell::Time(steps.spans[first].start)),
            ("to", Cell::Time(steps.spans[last].end)),
            ("segment", Cell::text(&before.segment)),
            ("direction", Cell::Text(before.direction.clone())),
            ("upstream", Cell::text(before.name())),
            ("downstream", Cell::text(behind.name())),
            ("distance_km", Cell::Number(Some(pair.distance_km))),
        ]
    };
    let found = road::incidents(pairs, &observed.each(|bucket| bucket.occupancy), rule);
    Rows(found.into_iter().filter(|alarm| network.wants_pair(roads, &alarm.pair)).map(row).collect())
}

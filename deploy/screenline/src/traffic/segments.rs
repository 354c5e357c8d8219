use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use processor::measure::{
    Steps, Width,
    road::Conditions,
    station::{Measured, Station},
    traffic::Edition,
};
use serde_json::json;

use super::{Network, NetworkArgs, Observed};
use crate::{
    console::Console,
    database::{DatabaseArgs, Tables},
    paper::Paint,
    rows::{Cell, Row, Rows, Units},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Delay and level of service are measured by the segment's free_flow_speed_kmh, else by its speed_limit_kmh; without either
they are empty. On motorways and trunk roads the level is one of density (lanes), elsewhere one of speed. A station that
counts and measures occupancy, but no speed, has an estimated one (single loop, g-factor): `estimated` says so.

Examples:
  screenline traffic segments --last 1h
  screenline traffic segments ring-4 ring-5 --width 15m --from 2026-11-20 --to 2026-11-21 --json")]
pub struct SegmentsArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// How wide buckets are: 1m, 15m, 1h, or 1d for local days
    #[arg(long, default_value = "1h")]
    width: Width,
    /// Which edition of the Highway Capacity Manual names the levels of streets
    #[arg(long, value_enum, default_value_t = Manual::Hcm2010)]
    edition: Manual,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Manual {
    Hcm2010,
    Hcm6,
}

pub async fn run(args: SegmentsArgs, console: &Console) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| segments(&args, url, console).await).await
}

async fn segments(args: &SegmentsArgs, url: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let keep = |station: &Station, _: &Steps| args.network.wants(&station.segment);
    let network = Network::find(&tables, &args.network, args.width, keep).await?;
    network.steps.check(network.roads.stations.iter().flat_map(Station::series))?;
    ensure!(
        network.roads.stations.len() * network.steps.len() <= ROWS_MAX,
        "that is more than {ROWS_MAX} rows: name segments, take wider buckets, or a shorter period"
    );
    let observed = network.observe(&tables, console).await?;
    let edition = match args.edition {
        Manual::Hcm2010 => Edition::Hcm2010,
        Manual::Hcm6 => Edition::Hcm6,
    };
    let (rows, paint) = (rows(&observed, edition), Paint::of_stdout());
    match args.json {
        true => println!("{}", json!({"units": Rows::units(UNITS), "segments": rows.json()})),
        false => print!("{}{}", rows.text(paint, &tables.zone, &["to"]), rows.legend(paint, UNITS)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What a person or a script takes at once: a kilobyte each.
const ROWS_MAX: usize = 200_000;
const UNITS: &Units = &[
    ("volume", "veh"),
    ("flow", "veh/h"),
    ("speed", "km/h"),
    ("occupancy", "%"),
    ("density", "veh/km/lane"),
    ("vehicle_km", "km"),
    ("vehicle_h", "h"),
    ("delay_h", "h"),
];

/// A row for each segment, direction and bucket.
fn rows(Observed { roads, steps, measured }: &Observed, edition: Edition) -> Rows {
    let mut rows = Vec::new();
    let places = roads.stations.chunk_by(|a, b| a.road() == b.road());
    let mut first = 0;
    for place in places {
        let stations = first..first + place.len();
        first = stations.end;
        let (segment, direction) = (&place[0].segment, &place[0].direction);
        let Some(road) = roads.segments.get(segment) else { continue };
        for (bucket, span) in steps.spans.iter().enumerate() {
            let of_stations: Vec<Measured> =
                stations.clone().map(|station| measured[station][bucket]).collect();
            let conditions = Conditions::of(road, &of_stations, edition);
            let mut row: Row = vec![
                ("segment", Cell::text(segment)),
                ("direction", Cell::Text(direction.clone())),
                ("from", Cell::Time(span.start)),
                ("to", Cell::Time(span.end)),
            ];
            row.extend(said(&conditions));
            rows.push(row);
        }
    }
    Rows(rows)
}

fn said(conditions: &Conditions) -> Row {
    let Conditions { volume, flow, speed, occupancy, coverage, density, travel_time_index, .. } = *conditions;
    let travel = conditions.travel;
    vec![
        ("coverage", Cell::Share(coverage)),
        ("volume", Cell::Number(volume)),
        ("pcu", Cell::Number(conditions.passenger_cars)),
        ("flow", Cell::Number(flow)),
        ("speed", Cell::Number(speed)),
        ("estimated", Cell::Flag(conditions.is_estimated)),
        ("occupancy", Cell::Number(occupancy)),
        ("density", Cell::Number(density)),
        ("tti", Cell::Number(travel_time_index)),
        ("los", Cell::Text(conditions.level_of_service.map(String::from))),
        ("vehicle_km", Cell::Number(travel.map(|travel| travel.vehicle_km))),
        ("vehicle_h", Cell::Number(travel.map(|travel| travel.vehicle_h))),
        ("delay_h", Cell::Number(travel.map(|travel| travel.delay_h))),
    ]
}

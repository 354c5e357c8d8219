//! `screenline traffic`: what the detectors of roads say together.

mod annual;
mod incidents;
mod queues;
mod segments;

use std::{collections::HashMap, ops::Range, process::ExitCode};

use anyhow::ensure;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use processor::{
    measure::{
        Settled,
        history::{self, Width},
        network::{self, Roads},
        road::{Measured, Station},
    },
    model::{Series, SeriesId, Time},
};

use self::{
    annual::{AnnualArgs, DaysArgs},
    incidents::IncidentsArgs,
    queues::QueuesArgs,
    segments::SegmentsArgs,
};
use crate::{console::Console, database::Tables};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The detectors at one place of a segment are a station: its registry says segment, direction and offset_m of each sensor.
Segments follow each other where to_node of one is from_node of the next. Formulas and sources: processor/MEASURES.md.

Examples:
  screenline traffic segments ring-4 --width 15m --last 24h
  screenline traffic queues --from 2026-11-20 --to 2026-11-21
  screenline traffic incidents --last 6h --json
  screenline traffic days traffic.volume bridge-1 --last 30d
  screenline traffic annual traffic.volume --segment ring-4 --year 2025")]
pub struct TrafficArgs {
    #[command(subcommand)]
    command: TrafficCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum TrafficCommand {
    /// Volume, speed, density, delay and level of service of segments
    Segments(SegmentsArgs),
    /// Bottlenecks, and how far the queues behind them reached
    Queues(QueuesArgs),
    /// Incidents between neighbouring stations, by the California algorithm
    Incidents(IncidentsArgs),
    /// Daily volumes, each with its peak hour and peak hour factor
    Days(DaysArgs),
    /// Annual average daily traffic by three methods, with K and D
    Annual(AnnualArgs),
}

/// # Errors
/// What is asked for is not there, or the database cannot be read.
pub async fn run(args: TrafficArgs, console: &Console) -> anyhow::Result<ExitCode> {
    match args.command {
        TrafficCommand::Segments(args) => segments::run(args, console).await,
        TrafficCommand::Queues(args) => queues::run(args, console).await,
        TrafficCommand::Incidents(args) => incidents::run(args, console).await,
        TrafficCommand::Days(args) => annual::days(args).await,
        TrafficCommand::Annual(args) => annual::annual(args).await,
    }
}

/// Buckets of series that are held at once: 300 bytes each.
const CELLS_MAX: usize = 500_000;
/// Buckets of stations that are said at once: 80 bytes each.
const SAID_MAX: usize = 5_000_000;

/// What the stations of a network measured.
struct Observed {
    roads: Roads,
    spans: Vec<Range<Time>>,
    /// Of each station, by bucket.
    measured: Vec<Vec<Measured>>,
}

/// Reads what stations measured, some at a time.
async fn observe(
    tables: &Tables,
    segments: &[String],
    period: &Range<Timestamp>,
    width: Width,
    console: &Console,
) -> anyhow::Result<Observed> {
    let Tables { client, registry, zone } = tables;
    let asked = (!segments.is_empty()).then_some(segments);
    let roads = network::roads(client, registry, asked, period).await?;
    if let Some(unknown) = segments.iter().find(|id| !roads.segments.contains_key(*id)) {
        anyhow::bail!("there is no segment {unknown}: see `screenline registry export segments`");
    }
    ensure!(
        !roads.stations.is_empty(),
        "no sensor stands on a segment: import sensors with the field `segment`, see `screenline registry --help`"
    );
    let spans = width.spans(&(period.start.into()..period.end.into()), zone);
    ensure!(
        spans.len() <= history::BUCKETS_MAX && roads.stations.len() * spans.len() <= SAID_MAX,
        "{} stations in {} buckets are too much: take wider buckets, a shorter period, or name segments",
        roads.stations.len(),
        spans.len()
    );
    let mut measured = Vec::with_capacity(roads.stations.len());
    let at_once = (CELLS_MAX / spans.len().max(1) / 4).max(1);
    for some in roads.stations.chunks(at_once) {
        let series: Vec<Series> = some.iter().flat_map(Station::series).cloned().collect();
        let settled = history::read(client, registry, &series, &spans, width, zone).await?;
        let settled: HashMap<SeriesId, Vec<Settled>> = series.iter().map(|one| one.id).zip(settled).collect();
        for station in some {
            let at = |bucket: usize| station.measured(|series| settled.get(&series.id)?.get(bucket));
            measured.push((0..spans.len()).map(at).collect());
        }
        console.status(&format!("{} of {} stations", measured.len(), roads.stations.len()));
    }
    console.end_status();
    Ok(Observed { roads, spans, measured })
}

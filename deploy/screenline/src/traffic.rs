//! `screenline traffic`: what the detectors of roads say together.

mod annual;
mod incidents;
mod queues;
mod segments;

use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use processor::measure::{
    Steps, Width,
    history::{self, CELLS_MAX},
    network::{self, Roads},
    road::{self, Pair},
    station::{Measured, Station},
};

use self::{
    annual::{AnnualArgs, DaysArgs},
    incidents::IncidentsArgs,
    queues::QueuesArgs,
    segments::SegmentsArgs,
};
use crate::{console::Console, database::Tables, period::PeriodArgs};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The detectors at one place of a segment are a station: the registry says segment, direction, lane and offset_m of each
sensor. offset_m rises with the traffic of the segment, and segments follow each other where to_node of one is from_node of
the next. Formulas and sources: processor/MEASURES.md.

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

/// Buckets of stations that are held at once: 100 bytes each.
const HELD_MAX: usize = 5_000_000;

/// The stations that are asked for, before any of their buckets is read.
struct Network {
    roads: Roads,
    steps: Steps,
}

impl Network {
    /// The stations that `keep` takes.
    async fn find(
        Tables { client, registry, zone }: &Tables,
        args: &NetworkArgs,
        width: Width,
        keep: impl Fn(&Station, &Steps) -> bool,
    ) -> anyhow::Result<Network> {
        let period = args.period.of(zone, Timestamp::now())?;
        let mut roads = network::roads(client, registry, &period).await?.without_passages();
        for id in &args.segments {
            ensure!(
                roads.segments.contains_key(id),
                "there is no segment {id}: see `screenline registry export segments`"
            );
            ensure!(
                roads.stations.iter().any(|station| station.segment == *id),
                "no traffic sensor stands on segment {id}: import sensors with the field `segment`"
            );
        }
        ensure!(
            !roads.stations.is_empty(),
            "no traffic sensor stands on a segment: import sensors with the field `segment`, see `screenline registry --help`"
        );
        let steps = Steps::of(&(period.start.into()..period.end.into()), width, zone)?;
        roads.stations.retain(|station| keep(station, &steps));
        ensure!(
            roads.stations.len() * steps.len() <= HELD_MAX,
            "{} stations in {} buckets are too much: take a shorter period",
            roads.stations.len(),
            steps.len()
        );
        Ok(Network { roads, steps })
    }

    /// Reads what the stations measured, some at a time.
    async fn observe(
        self,
        Tables { client, registry, .. }: &Tables,
        console: &Console,
    ) -> anyhow::Result<Observed> {
        let Network { roads, steps } = self;
        let mut measured = Vec::with_capacity(roads.stations.len());
        for some in roads.stations.chunks((CELLS_MAX / steps.len().max(1) / SERIES_EACH).max(1)) {
            measured.extend(history::stations(client, registry, &roads.segments, some, &steps).await?);
            console.status(&format!("{} of {} stations", measured.len(), roads.stations.len()));
        }
        console.end_status();
        Ok(Observed { roads, steps, measured })
    }

    /// The pairs of neighbouring stations; at least one.
    fn pairs(&self, what: &str) -> anyhow::Result<Vec<Pair>> {
        let pairs = road::pairs(&self.roads.segments, &self.roads.stations);
        ensure!(
            !pairs.is_empty(),
            "no two neighbouring stations say {what}: sensors need segment and offset_m in the registry, segments length_m, \
             from_node and to_node"
        );
        Ok(pairs)
    }
}

/// What the stations of a network measured.
struct Observed {
    roads: Roads,
    steps: Steps,
    /// Of each station, by bucket.
    measured: Vec<Vec<Measured>>,
}

impl Observed {
    /// A number of each station and bucket.
    fn each(&self, of: fn(&Measured) -> Option<f64>) -> Vec<Vec<Option<f64>>> {
        self.measured.iter().map(|station| station.iter().map(of).collect()).collect()
    }

    /// Pairs of which both stations said something.
    fn heard(&self, pairs: &[Pair], of: fn(&Measured) -> Option<f64>) -> usize {
        let heard = |station: usize| self.measured[station].iter().any(|bucket| of(bucket).is_some());
        pairs.iter().filter(|pair| heard(pair.upstream) && heard(pair.downstream)).count()
    }
}

/// Which part of the network is asked for, and when.
#[derive(Debug, Clone, Args)]
struct NetworkArgs {
    /// Segments [default: all]
    #[arg(value_name = "SEGMENT")]
    segments: Vec<String>,
    #[command(flatten)]
    period: PeriodArgs,
}

impl NetworkArgs {
    fn wants(&self, segment: &str) -> bool {
        self.segments.is_empty() || self.segments.iter().any(|id| id == segment)
    }

    /// Whether one of two neighbouring stations stands on what is asked for.
    fn wants_pair(&self, roads: &Roads, pair: &Pair) -> bool {
        [pair.upstream, pair.downstream].iter().any(|station| self.wants(&roads.stations[*station].segment))
    }
}

/// Series that a station has, roughly.
const SERIES_EACH: usize = 6;

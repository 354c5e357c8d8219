//! `screenline utility`: what the meters of zones and customers say together.

mod balance;
mod demand;
mod leaks;
mod nights;

use std::{ops::Range, process::ExitCode};

use anyhow::ensure;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use processor::{
    measure::{
        history::{self, BUCKETS_MAX, Width},
        network,
        zone::{self, Meter, Steps},
    },
    model::{MetricName, Series},
};

use self::{balance::BalanceArgs, demand::DemandArgs, leaks::LeaksArgs, nights::NightsArgs};
use crate::{console::Console, database::Tables};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A meter's zone and role stand in the registry, in the fields `zone` and `role` of its sensor: `inlet` (what comes in),
`export` (what leaves for another zone), `storage` (what tanks took up; negative where they emptied), `customer`. Tanks and
customers of the zones in a zone are its own, too; inlets and exports are not: inner zones trade among themselves.
Formulas and sources: processor/MEASURES.md.

Examples:
  screenline utility balance city --from 2026-11-01 --to 2026-12-01
  screenline utility nights north --last 60d
  screenline utility leaks north --day 2026-11-20
  screenline utility demand energy.active works-1 --reactive energy.reactive --last 30d")]
pub struct UtilityArgs {
    #[command(subcommand)]
    command: UtilityCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum UtilityCommand {
    /// Water balance and non-revenue water of a zone, day by day
    Balance(BalanceArgs),
    /// Minimum night flow of a zone, with an alarm where it leaves its baseline
    Nights(NightsArgs),
    /// Customers whose water never stopped on a day
    Leaks(LeaksArgs),
    /// Peak demand by block and sliding, load factor and power factor, day by day
    Demand(DemandArgs),
}

/// # Errors
/// What is asked for is not there, or the database cannot be read.
pub async fn run(args: UtilityArgs, console: &Console) -> anyhow::Result<ExitCode> {
    match args.command {
        UtilityCommand::Balance(args) => balance::run(args, console).await,
        UtilityCommand::Nights(args) => nights::run(args, console).await,
        UtilityCommand::Leaks(args) => leaks::run(args, console).await,
        UtilityCommand::Demand(args) => demand::run(args).await,
    }
}

#[derive(Debug, Clone, Args)]
struct ZoneArgs {
    /// The zone
    #[arg(value_name = "ZONE")]
    zone: String,
    /// What its meters count; also a name that begins theirs
    #[arg(long, default_value = "water.volume")]
    metric: MetricName,
}

impl ZoneArgs {
    /// The meters of the zone, of one unit; at least one.
    async fn meters(&self, tables: &Tables, period: &Range<Timestamp>) -> anyhow::Result<Vec<Meter>> {
        let Tables { client, registry, .. } = tables;
        let (zone, metric) = (self.zone.as_str(), self.metric.as_str());
        let meters = network::meters(client, registry, zone, metric, period).await?;
        ensure!(
            !meters.is_empty(),
            "no meter of zone {zone} counts {metric}: import sensors with the fields `zone` and `role`, see \
             `screenline utility --help`"
        );
        let unit = &meters[0].series.unit;
        ensure!(
            meters.iter().all(|meter| &meter.series.unit == unit),
            "the meters of zone {zone} count in several units: say which with --metric"
        );
        Ok(meters)
    }
}

/// Buckets of series that are held at once: 300 bytes each.
const CELLS_MAX: usize = 500_000;
/// As narrow as steps are: a register that is read more often is read well enough.
const STEP_LEAST_S: u32 = 900;

/// The steps in which a meter is read: a quarter of an hour, or what its own readings speak of.
fn step_s(series: &Series) -> u32 {
    series.interval_s.unwrap_or(0).max(STEP_LEAST_S)
}

/// What some meters counted, each in steps of `step_s`; `take` hears of one after the other.
async fn amounts<'m>(
    tables: &Tables,
    meters: &[&'m Meter],
    period: &Range<Timestamp>,
    step_s: u32,
    console: &Console,
    mut take: impl FnMut(&'m Meter, &Steps, Vec<Option<f64>>),
) -> anyhow::Result<()> {
    let Tables { client, registry, zone } = tables;
    let width = Width::Micros(i64::from(step_s) * 1_000_000);
    let spans = width.spans(&(period.start.into()..period.end.into()), zone);
    ensure!(spans.len() <= BUCKETS_MAX, "more than {BUCKETS_MAX} steps: take a shorter period");
    let steps = Steps { spans, seconds: step_s, zone: zone.clone() };
    let mut done = 0;
    for some in meters.chunks((CELLS_MAX / steps.spans.len().max(1)).max(1)) {
        let series: Vec<Series> = some.iter().map(|meter| meter.series.clone()).collect();
        let settled = history::read(client, registry, &series, &steps.spans, width, zone).await?;
        for (meter, buckets) in some.iter().zip(settled) {
            let kind = meter.series.kind;
            take(meter, &steps, buckets.iter().map(|bucket| zone::amount(bucket, kind)).collect());
        }
        done += some.len();
        console.status(&format!("{done} of {} meters", meters.len()));
    }
    console.end_status();
    Ok(())
}

/// Meters by the steps they are read in.
fn by_step(meters: &[Meter]) -> Vec<(u32, Vec<&Meter>)> {
    let mut groups: Vec<(u32, Vec<&Meter>)> = Vec::new();
    for meter in meters {
        let step = step_s(&meter.series);
        match groups.iter_mut().find(|(known, _)| *known == step) {
            Some((_, group)) => group.push(meter),
            None => groups.push((step, vec![meter])),
        }
    }
    groups
}

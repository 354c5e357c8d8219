//! `screenline utility`: what the meters of zones and customers say together.

mod balance;
mod demand;
mod leaks;
mod nights;

use std::{ops::Range, process::ExitCode};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use processor::{
    measure::{
        Settled, Steps, balance as measured,
        network::{self, Lack},
        zone::{Amounts, Meter, Role},
    },
    model::{Kind, MetricName},
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
    /// The meters of the zone, of one unit; with an inlet or a customer that is asked for.
    async fn meters(
        &self,
        tables: &Tables,
        period: &Range<Timestamp>,
        needed: &[Role],
    ) -> anyhow::Result<Vec<Meter>> {
        let Tables { client, registry, .. } = tables;
        let (zone, metric) = (self.zone.as_str(), self.metric.as_str());
        let meters = network::meters(client, registry, zone, metric, period).await?;
        match meters.lack(needed) {
            None => Ok(meters.meters),
            Some(Lack::Uncounted(flows)) => {
                let flows: Vec<String> =
                    flows.iter().map(|(role, sensor)| format!("{role} {sensor}")).collect();
                bail!(
                    "{} of zone {zone} counts no {metric}: give it a register or totals, say which with --metric, or take its \
                     role away",
                    flows.join(", ")
                )
            }
            Some(Lack::Absent(role)) => bail!(
                "no {role} of zone {zone} counts {metric}: import sensors with the fields `zone` and `role`, see \
                 `screenline utility --help`"
            ),
            Some(Lack::Units) => {
                bail!("the meters of zone {zone} count in several units: say which with --metric")
            }
        }
    }
}

const HOUR_S: u32 = 3_600;

/// What some meters counted in whole local days, each in steps of `step_s`; `take` hears of one after the other.
async fn amounts(
    tables: &Tables,
    meters: &[&Meter],
    steps: &Steps,
    of: fn(&Settled, Kind) -> Option<f64>,
    console: &Console,
    mut take: impl FnMut(&Meter, Amounts),
) -> anyhow::Result<()> {
    let Tables { client, registry, .. } = tables;
    let mut told = tell(console, meters.len());
    let heard = |meter: &Meter, amounts: Amounts| {
        take(meter, amounts);
        told();
    };
    measured::amounts(client, registry, meters, steps, of, heard).await?;
    console.end_status();
    Ok(())
}

/// Says how many meters of how many were read, now and then.
fn tell(console: &Console, of: usize) -> impl FnMut() {
    let mut done: usize = 0;
    move || {
        done += 1;
        if done.is_multiple_of(1_000) || done == of {
            console.status(&format!("{done} of {of} meters"));
        }
    }
}

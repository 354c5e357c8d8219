//! The test of the tests: every planted bug is caught by the run that is named for it, and the same run without it passes.

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use processor::faults::Bug;
use simulators::oracle::{Load, Report};
use tests::process::{Manner, Program};
use tests::{Plan, Storage, aging, cut, doors};

use crate::disorder;
use crate::fault::{Blow, Fault, Moment, Target};
use crate::site::Site;
use crate::trial::Trial;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only print which run catches which bug
    #[arg(long)]
    list: bool,
    /// Only this bug
    #[arg(long)]
    bug: Option<String>,
}

/// A run that catches a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catcher {
    /// The simulation of ingest's core, this many schedules of it.
    Simulation,
    /// A crash at a failpoint.
    Crash(&'static str, u32),
    /// The load of a seed, calm and in disorder.
    Disorder(u64),
    /// Single readings that trickle into buckets which are rolled meanwhile.
    Trickle,
    /// A load with everything that goes wrong in the field, and sums that are known exactly.
    Dirty,
    /// The line to the database, cut right after a COMMIT.
    Commit,
    /// A city that drops its old readings, and hears a late one.
    Aging,
    /// Every role at every door of the query service.
    Doors,
}

const SCHEDULES: u64 = 2_000;
/// Shorter than a proof's: what is caught need not be waited for as long as what is promised.
const PATIENCE: Duration = Duration::from_secs(8);
/// Cities at a time: the smallest machine has two cores.
const CITIES: usize = 2;
const SLOW: Duration = Duration::from_millis(300);

impl Catcher {
    fn of(bug: Bug) -> Catcher {
        match bug {
            Bug::AckBeforeCommit
            | Bug::NoFence
            | Bug::UnorderedAcks
            | Bug::ForgetSubscribe
            | Bug::Unbounded
            | Bug::RejectedUnacknowledged => Catcher::Simulation,
            Bug::MarksApart | Bug::SwallowDuplicateKey => Catcher::Crash("writer.after_commit", 6),
            Bug::ReadBeforeTake | Bug::MarkByEnd | Bug::Increment => Catcher::Trickle,
            Bug::ArrivalOrder => Catcher::Disorder(1),
            Bug::BlindRetry => Catcher::Commit,
            Bug::CountBeforeConflicts => Catcher::Dirty,
            Bug::DropWithoutFloor => Catcher::Aging,
            Bug::OpenExport | Bug::SharedHandle => Catcher::Doors,
        }
    }

    fn name(self) -> String {
        match self {
            Catcher::Simulation => format!("simulate --schedules {SCHEDULES}"),
            Catcher::Crash(point, nth) => format!("crash: kill -9 at {point}, passage {nth}"),
            Catcher::Disorder(seed) => format!("disorder --seed {seed} --runs 1"),
            Catcher::Trickle => "trickle: readings into buckets that are being rolled".to_owned(),
            Catcher::Dirty => "dirty: a load whose every sum is known".to_owned(),
            Catcher::Commit => "cut: the line to the database, after a COMMIT".to_owned(),
            Catcher::Aging => "aging: history outlives its readings".to_owned(),
            Catcher::Doors => "doors: every role at every door sees its own".to_owned(),
        }
    }

    /// What is wrong, if anything, with a bug planted or with none.
    async fn run(self, bug: Option<Bug>) -> anyhow::Result<Option<String>> {
        let name = bug.map(Bug::name).unwrap_or_default();
        let from: Timestamp = "2024-03-01T22:00:00Z".parse()?;
        let trial = match self {
            Catcher::Simulation => return Ok(simulation(bug)),
            Catcher::Commit => {
                let env = vec![("SCREENLINE_PLANT".to_owned(), name)];
                let manner = Manner { program: Program::Faulty, env };
                let shown = cut::commits(Storage::Plain, true, &manner, PATIENCE).await?;
                return Ok(wrong(&shown.report));
            }
            Catcher::Aging => {
                let faulty = |plan: Plan| plan.faulty().env("SCREENLINE_PLANT", &name);
                let outcome = aging::history_outlives_its_readings(Storage::Plain, faulty).await;
                return Ok(outcome.err().map(|error| format!("{error:#}")));
            }
            Catcher::Doors => {
                let faulty = |plan: Plan| plan.faulty().env("SCREENLINE_PLANT", &name);
                let outcome = doors::every_role_sees_its_own(Storage::Plain, faulty).await;
                return Ok(outcome.err().map(|error| format!("{error:#}")));
            }
            Catcher::Disorder(seed) => {
                let mut site = Site::start(Storage::Plain, &[("SCREENLINE_PLANT", &name)]).await?;
                let wrong = disorder::compare(&mut site, seed, PATIENCE).await?;
                site.stop()?;
                return Ok(wrong);
            }
            Catcher::Crash(point, nth) => {
                let moment = Moment::Point(point, nth);
                let fault = Fault { target: Target::Ingest, blow: Blow::Kill, moment };
                // From two gateways: what was stored before the crash comes again after it, among what is new.
                let load = Load { echoes: 0.5, shuffle: 1_000, ..Load::clean("planted", 1, from) };
                Trial::new(load, Some(fault), PATIENCE)
            }
            Catcher::Trickle => {
                let load = Load { readings: 1, messages: 1_200, ..Load::clean("planted", 1, from) };
                let lasts = Duration::from_secs(6);
                Trial { lasts, ..Trial::new(load, None, PATIENCE) }
            }
            Catcher::Dirty => Trial::new(Load::clean("planted", 1, from).dirty(), None, PATIENCE),
        };
        let mut site = Site::start(Storage::Plain, &[("SCREENLINE_PLANT", &name)]).await?;
        // The roller takes its time between what it reads and what it writes, so that a writer comes in between.
        let slow = site.slow("roller.read", SLOW);
        let shown = match self {
            Catcher::Trickle => tokio::select! {
                shown = trial.hold(&mut site) => shown,
                slowed = slow => Err(slowed),
            },
            _ => trial.hold(&mut site).await,
        };
        site.stop()?;
        Ok(wrong(&shown?.report))
    }
}

fn wrong(report: &Report) -> Option<String> {
    let first = report.violations().next()?;
    Some(format!("{}: {}", first.invariant, first.said))
}

fn simulation(bug: Option<Bug>) -> Option<String> {
    processor::faults::plant(bug);
    let report = ingest::simulation::simulate(SCHEDULES, 1, 2);
    processor::faults::plant(None);
    report.violations.first().map(|violation| format!("seed {}: {}", violation.seed, violation.what))
}

/// Plants one bug after the other. True when each was caught, and nothing was found where none was planted.
///
/// # Errors
/// There is no such bug, or a city does not start.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let bugs: Vec<Bug> =
        Bug::ALL.into_iter().filter(|bug| args.bug.as_ref().is_none_or(|name| *name == bug.name())).collect();
    let names = || Bug::ALL.map(Bug::name).join(", ");
    anyhow::ensure!(!bugs.is_empty(), "there is no such bug: they are {}", names());
    if args.list {
        bugs.iter().for_each(|bug| println!("{:<26} {}", bug.name(), Catcher::of(*bug).name()));
        return Ok(true);
    }
    // Each run once without a bug, or a catch would prove nothing.
    let mut runs: Vec<(Catcher, Option<Bug>)> =
        bugs.iter().map(|bug| (Catcher::of(*bug), Some(*bug))).collect();
    for bug in &bugs {
        let control = (Catcher::of(*bug), None);
        if !runs.contains(&control) {
            runs.push(control);
        }
    }
    // A simulation plants in this process, so nothing runs beside it.
    let (simulations, others): (Vec<_>, Vec<_>) =
        runs.into_iter().partition(|(catcher, _)| *catcher == Catcher::Simulation);
    let mut kept = true;
    for (catcher, bug) in simulations {
        kept &= verdict(catcher, bug).await?;
    }
    let mut verdicts =
        stream::iter(others).map(|(catcher, bug)| verdict(catcher, bug)).buffer_unordered(CITIES);
    while let Some(verdict) = verdicts.next().await {
        kept &= verdict?;
    }
    Ok(kept)
}

/// Runs one, and says what it found. True when that is what it had to find.
async fn verdict(catcher: Catcher, bug: Option<Bug>) -> anyhow::Result<bool> {
    let found = catcher.run(bug).await.with_context(|| catcher.name())?;
    let kept = found.is_some() == bug.is_some();
    let first =
        found.unwrap_or_default().lines().next().unwrap_or_default().chars().take(110).collect::<String>();
    let said = match (bug, kept) {
        (Some(_), true) => format!("caught: {first}"),
        (Some(_), false) => "NOT CAUGHT".to_owned(),
        (None, true) => "ok".to_owned(),
        (None, false) => format!("WRONG: {first}"),
    };
    let name = bug.map_or_else(|| "(nothing planted)".to_owned(), Bug::name);
    println!("{name:<26} {:<55} {said}", catcher.name());
    Ok(kept)
}

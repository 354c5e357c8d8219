//! The core under a seeded scheduler, between a model broker and a model database that fail in every way a real one does.
//! It says in seconds what real processes say in days: whether any order of events loses, forges or reorders an
//! acknowledgement, spends more than the budget, or stands still.
//!
//! A schedule is a few messages, the faults and the interleaving that its seed chooses; then the faults stop, all must
//! drain, and a fresh message must pass. After each step it is checked that
//! - nothing is acknowledged before its commit, and nothing that the broker takes for acknowledged is missing;
//! - acknowledgements leave in order, on the connection that delivered, and none twice;
//! - a delivery is counted once at most, and all counters sum;
//! - the budget is never exceeded.

mod broker;
mod database;
mod edge;
mod world;

use std::{fmt, thread};

pub use edge::{Edge, Edges};
use world::World;

/// Violations kept of each thread: the first ones say enough.
const VIOLATIONS_MAX: usize = 10;
/// Steps told of the first violation: what led to it is near its end.
const LAST_STEPS: usize = 40;

/// What many schedules showed.
#[derive(Clone, Default, Debug)]
pub struct Report {
    pub schedules: u64,
    /// In which something happened.
    pub steps: u64,
    pub edges: Edges,
    pub violations: Vec<Violation>,
}

/// A broken invariant. The schedule of this seed breaks it again: see [`replay`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub seed: u64,
    pub what: String,
}

/// Runs the schedules `seed`, `seed + 1`, ... on so many threads.
///
/// # Panics
/// When the core itself panics.
pub fn simulate(schedules: u64, seed: u64, threads: usize) -> Report {
    let threads = threads.max(1) as u64;
    let share = |thread: u64| {
        let mut report = Report::default();
        for number in (thread..schedules).step_by(threads as usize) {
            if report.violations.len() == VIOLATIONS_MAX {
                break;
            }
            let seed = seed.wrapping_add(number);
            let mut world = World::new(seed, false);
            let outcome = world.run();
            report.schedules += 1;
            report.steps += world.steps();
            report.edges.add(world.edges());
            report.violations.extend(outcome.err().map(|what| Violation { seed, what }));
        }
        report
    };
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        let reports = shares.into_iter().map(|share| share.join().expect("a schedule must not panic"));
        reports.fold(Report::default(), Report::join)
    })
}

/// Runs the schedule of one seed and tells every step of it, and what it broke.
pub fn replay(seed: u64) -> (Vec<String>, Option<Violation>) {
    let mut world = World::new(seed, true);
    let outcome = world.run();
    (world.told(), outcome.err().map(|what| Violation { seed, what }))
}

impl Report {
    fn join(mut self, other: Report) -> Report {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.edges.add(&other.edges);
        self.violations.extend(other.violations);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} schedules, {} steps, {} violations",
            self.schedules,
            self.steps,
            self.violations.len()
        )?;
        for Violation { seed, what } in &self.violations {
            writeln!(f, "violation, seed {seed}: {what}")?;
        }
        if let Some(Violation { seed, .. }) = self.violations.first() {
            let (told, _) = replay(*seed);
            writeln!(
                f,
                "seed {seed} ended so:\n  {}",
                told[told.len().saturating_sub(LAST_STEPS)..].join("\n  ")
            )?;
        }
        write!(f, "{}", self.edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schedule_breaks_the_core() {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let report = simulate(50_000, 1, threads);
        assert!(report.violations.is_empty(), "{report}");
        assert_eq!(report.edges.missed().count(), 0, "{report}");
    }

    #[test]
    fn a_seed_replays_its_schedule() {
        let (told, violation) = replay(7);
        assert_eq!(violation, None);
        assert!(!told.is_empty());
        assert_eq!(replay(7), (told, None));
    }
}

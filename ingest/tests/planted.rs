//! The simulation sees the bugs it is there to see. A process of its own, because a bug is planted in a whole process.

use ingest::simulation::simulate;
use processor::faults::{Bug, plant};

/// What the simulation must catch; the other bugs are in code that it has only a model of.
const CAUGHT: [Bug; 7] = [
    Bug::AckBeforeCommit,
    Bug::NoFence,
    Bug::UnorderedAcks,
    Bug::ForgetSubscribe,
    Bug::Unbounded,
    Bug::BlindRetry,
    Bug::RejectedUnacknowledged,
];

#[test]
fn each_planted_bug_is_caught() {
    for bug in CAUGHT {
        plant(Some(bug));
        let report = simulate(2_000, 1, 1);
        assert!(!report.violations.is_empty(), "{} is not caught", bug.name());
        println!("{}: {}", bug.name(), report.violations[0].what);
        plant(None);
        let seed = report.violations[0].seed;
        assert!(simulate(1, seed, 1).violations.is_empty(), "seed {seed} fails without the bug too");
    }
}

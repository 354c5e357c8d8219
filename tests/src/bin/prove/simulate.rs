//! The simulation of ingest's core: as many schedules as asked for.

use tests::say;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many schedules, with the seeds from --seed on
    #[arg(long, default_value_t = 1_000_000)]
    schedules: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell every step of the schedule of --seed
    #[arg(long)]
    replay: bool,
}

/// True when no schedule broke a promise.
pub fn run(args: &Args) -> bool {
    if args.replay {
        let (told, violation) = ingest::simulation::replay(args.seed);
        told.iter().for_each(|step| println!("{step}"));
        if let Some(violation) = &violation {
            say(&format!("violation: {}", violation.what));
        }
        return violation.is_none();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = ingest::simulation::simulate(args.schedules, args.seed, threads);
    println!("{report}");
    report.violations.is_empty()
}

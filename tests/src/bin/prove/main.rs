//! The proof of the delivery contract, as much of it as asked for. Everything follows from seeds: a run that fails is run
//! again with its own.

mod brokers;
mod crash;
mod disorder;
mod fault;
mod planted;
mod simulate;
mod site;
mod trial;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tests::Storage;
use tokio::signal::unix::{SignalKind, signal};

/// Proves the delivery contract on this machine
#[derive(Debug, Parser)]
#[command(
    max_term_width = 110,
    after_help = "\
Needs the builds `screenline` and `screenline-faults` beside it: ./deploy/prove makes them.
Exit code 1 if any promise was broken. Logs of such a run are kept, and named."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill, stop and fail processes in the middle of a load, and compare the tables with what was sent
    Crash(crash::Args),
    /// Measure what a crash of each broker loses of what it had acknowledged
    Brokers(brokers::Args),
    /// Send the same calmly and in disorder, and compare the tables
    Disorder(disorder::Args),
    /// Run ingest's core through as many orders of events as asked for
    Simulate(simulate::Args),
    /// Plant seventeen bugs, one after the other, and see each caught
    Planted(planted::Args),
}

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Plain,
    Timescale,
    /// By turns.
    Both,
}

impl Level {
    fn storages(self) -> Vec<Storage> {
        match self {
            Level::Plain => vec![Storage::Plain],
            Level::Timescale => vec![Storage::Timescale],
            Level::Both => vec![Storage::Plain, Storage::Timescale],
        }
    }
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let outcome = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let proof = async {
                match command {
                    Command::Crash(args) => crash::run(args).await,
                    Command::Brokers(args) => brokers::run(args).await,
                    Command::Disorder(args) => disorder::run(args).await,
                    Command::Simulate(args) => Ok(simulate::run(&args)),
                    Command::Planted(args) => planted::run(args).await,
                }
            };
            let mut terminated = signal(SignalKind::terminate())?;
            // Dropping the proof stops its cities.
            tokio::select! {
                outcome = proof => outcome,
                _ = tokio::signal::ctrl_c() => Ok(false),
                _ = terminated.recv() => Ok(false),
            }
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: {error:#}");
            ExitCode::FAILURE
        }
    }
}

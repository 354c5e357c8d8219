//! `screenline`: one program for the services of a city, and for what starts, feeds and inspects them.
//!
//! - [`cli`]: the arguments
//! - [`up`] and [`demo`]: a whole [`city`], whose children the [`supervisor`] runs
//! - [`service`]: `ingest` and `query`, each in its own process
//! - [`broker`]: the one that a command speaks to; [`record`]: what it delivers, into a file; [`replay`]: a recording over MQTT; [`doctor`]: what is here and what is wrong
//! - [`mapping`]: which payloads become which readings, tried out; [`import`]: files read by one
//! - [`account`]: what came in and what is missing; [`rejected`]: what was refused; both on a [`database`]
//! - [`registry`]: sensors, series, segments and zones, and those that nobody announced
//! - [`measure`]: what a sensor measured; [`health`]: which sensors need a visit
//! - [`reprocess`]: what numbers would be by other rules; [`changes`]: which are others since a time
//! - [`token`]: who may ask; [`access`]: who asked what
//! - [`bench`]: how fast each stage is here
//! - [`audit`]: are rollups true; [`retention`], [`erase`]: what goes, and why
//! - [`paper`], [`period`]: what people look at, and the times they name
//! - [`telemetry`], [`console`], [`monitor`], [`disk`], [`ready`], [`signals`]: what only a process may install or write

mod access;
mod account;
mod audit;
mod bench;
mod broker;
mod changes;
mod city;
mod cli;
mod console;
mod database;
mod demo;
mod disk;
mod doctor;
mod erase;
mod exposition;
mod fetch;
mod gateway;
mod health;
mod import;
mod mapping;
mod measure;
mod monitor;
mod paper;
mod period;
mod ports;
mod ready;
mod record;
mod registry;
mod rejected;
mod replay;
mod reprocess;
mod retention;
mod rows;
mod selection;
mod service;
mod signals;
mod simulate;
mod status;
mod supervisor;
mod telemetry;
mod token;
mod traffic;
mod up;
mod utility;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use console::Console;

/// Whoever reads what a command prints may have seen enough, as `head` has: that is no error.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic
            .payload_as_str()
            .is_some_and(|said| said.starts_with("failed printing to stdout: Broken pipe"))
        {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

/// The program: reads its arguments, runs one command, and says with which code to end.
pub fn run() -> ExitCode {
    let Cli { command, mut log } = Cli::parse();
    let console = Console::default();
    if !matches!(command, Command::Up(_) | Command::Demo(_) | Command::Ingest(_) | Command::Query(_)) {
        end_with_the_reader();
    }
    let usual = match command {
        Command::Up(_)
        | Command::Ingest(_)
        | Command::Query(_)
        | Command::Record(_)
        | Command::Replay(_)
        | Command::Gateway(_) => "info",
        _ => "warn",
    };
    log.settle(usual);
    let outcome = telemetry::log(log.directives(), log.log_format, console.clone()).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let outcome = match command {
                Command::Up(args) => {
                    Box::pin(up::run(*args, log, console.clone())).await.map(|()| ExitCode::SUCCESS)
                }
                Command::Demo(args) => Box::pin(demo::run(*args, log, console.clone())).await,
                Command::Ingest(args) => Box::pin(service::ingest(*args)).await.map(|()| ExitCode::SUCCESS),
                Command::Query(args) => Box::pin(service::query(*args)).await.map(|()| ExitCode::SUCCESS),
                Command::Record(args) => {
                    Box::pin(record::run(*args, &console)).await.map(|()| ExitCode::SUCCESS)
                }
                Command::Replay(args) => {
                    Box::pin(replay::run(*args, &console)).await.map(|()| ExitCode::SUCCESS)
                }
                Command::Simulate(args) => Box::pin(simulate::run(*args, &console)).await,
                Command::Token(args) => token::run(args, &console).map(|()| ExitCode::SUCCESS),
                Command::Access(args) => access::run(args),
                Command::Bench(args) => Box::pin(bench::run(args, log, &console)).await,
                Command::Doctor(args) => Box::pin(doctor::run(args)).await,
                Command::Gateway(args) => {
                    Box::pin(gateway::run(args, &console)).await.map(|()| ExitCode::SUCCESS)
                }
                Command::Mapping(args) => mapping::run(*args, &console),
                Command::Import(args) => Box::pin(import::run(*args, &console)).await,
                Command::Account(args) => Box::pin(account::run(*args)).await,
                Command::Rejected(args) => Box::pin(rejected::run(*args, &console)).await,
                Command::Registry(args) => Box::pin(registry::run(*args)).await,
                Command::Measure(args) => Box::pin(measure::run(*args)).await,
                Command::Traffic(args) => Box::pin(traffic::run(*args, &console)).await,
                Command::Utility(args) => Box::pin(utility::run(*args, &console)).await,
                Command::Health(args) => Box::pin(health::run(*args, &console)).await,
                Command::Reprocess(args) => Box::pin(reprocess::run(*args, &console)).await,
                Command::Changes(args) => Box::pin(changes::run(*args)).await,
                Command::Audit(args) => Box::pin(audit::run(*args, &console)).await,
                Command::Retention(args) => Box::pin(retention::run(*args)).await,
                Command::Erase(args) => Box::pin(erase::run(*args, &console)).await,
                Command::Verify(args) => Box::pin(verify::run(*args, &console)).await,
            };
            signals::children_ended().await;
            outcome
        })
    });
    outcome.unwrap_or_else(|error| {
        console.end_status();
        console.line(&format!("screenline: {error:#}"));
        ExitCode::FAILURE
    })
}

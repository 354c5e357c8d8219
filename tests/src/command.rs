//! Commands that look at a city and end: `screenline account`, `screenline rejected`.

use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::process::{Program, Workplace};

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// `screenline` with these arguments on the private database of a city, whether it runs or not.
///
/// # Errors
/// When the program is absent.
pub fn on(workplace: &Workplace, args: &[&str]) -> anyhow::Result<Command> {
    let mut command = alone(args)?;
    command.arg("--data").arg(workplace.data());
    Ok(command)
}

/// `screenline` with these arguments, and no other settings.
///
/// # Errors
/// When the program is absent.
pub fn alone(args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(Program::Ordinary.path()?);
    command.args(args).stdin(Stdio::null());
    // Settings of the shell that runs the tests are not this city's.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("SCREENLINE_") && !name_text.starts_with("SCREENLINE_PG") {
            command.env_remove(&name);
        }
    }
    Ok(command)
}

/// Runs a command until it ends, whatever its exit code.
///
/// # Errors
/// When the program cannot be started.
pub fn run(workplace: &Workplace, args: &[&str]) -> anyhow::Result<Said> {
    ended(on(workplace, args)?)
}

/// Waits for the end of a command, whatever its exit code.
///
/// # Errors
/// When the program cannot be started.
pub fn ended(mut command: Command) -> anyhow::Result<Said> {
    let output = block_in_place(|| command.output()).with_context(|| format!("run {command:?}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { status: output.status, out: text(output.stdout), err: text(output.stderr) })
}

/// The JSON object that a command with `--json` prints.
///
/// # Errors
/// When the command fails, or prints something else.
pub fn json(workplace: &Workplace, args: &[&str]) -> anyhow::Result<Value> {
    let said = run(workplace, &[args, &["--json"]].concat())?;
    ensure!(said.status.success(), "screenline {args:?} ended with {}: {}", said.status, said.err);
    serde_json::from_str(&said.out).with_context(|| format!("screenline {args:?} printed {}", said.out))
}

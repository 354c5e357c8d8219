//! Clients in Python, run by the interpreter that `SCREENLINE_TEST_PYTHON` names.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use tokio::task::block_in_place;

use crate::say;

/// Runs a script of `tests/clients`. False, visibly, when there is no interpreter.
///
/// # Errors
/// When the script fails; its output is in the error.
pub fn client(script: &str, args: &[&str]) -> anyhow::Result<bool> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let Some(output) = run(&[&[path.to_str().context("a path that is text")?], args].concat())? else {
        return Ok(false);
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{script} failed ({})\n{out}\n{err}", output.status);
    Ok(true)
}

/// Runs a script by its path; what it left out is said aloud.
///
/// # Errors
/// As [`client`].
pub fn script(path: &Path, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<()> {
    let path = path.to_str().context("a path that is text")?;
    let Some(output) = run_with(&[&[path], args].concat(), env)? else { return Ok(()) };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    out.lines().chain(err.lines()).filter(|line| line.contains("SKIPPED")).for_each(say);
    ensure!(output.status.success(), "{path} failed ({})\n{out}\n{err}", output.status);
    Ok(())
}

/// Runs the interpreter; `None`, visibly, when there is none.
///
/// # Errors
/// When it cannot be started.
pub fn run(args: &[&str]) -> anyhow::Result<Option<Output>> {
    run_with(args, &[])
}

/// Runs the interpreter with more in its environment.
///
/// # Errors
/// As [`run`].
pub fn run_with(args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Option<Output>> {
    let Some(python) = std::env::var_os("SCREENLINE_TEST_PYTHON") else {
        say("SKIPPED the Python clients: SCREENLINE_TEST_PYTHON is not set");
        return Ok(None);
    };
    let output = block_in_place(|| Command::new(&python).args(args).envs(env.iter().copied()).output());
    Ok(Some(output.with_context(|| format!("run {}", python.to_string_lossy()))?))
}

//! A running system against the answer key of a simulation.

use std::{path::Path, process::ExitCode, time::Duration};

use serde_json::json;
use simulators::{
    oracle::{Finding, Report, Seen},
    simulation::{self, AnswerKey, Step},
};

use crate::{
    console::Console,
    paper::{Paint, thousands},
};

/// Differences that are shown of each promise, unless all are asked for.
const SHOWN: usize = 20;

/// What is compared, and how it is told.
#[derive(Debug)]
pub struct Comparison<'a> {
    pub key: &'a Path,
    pub flight: &'a str,
    pub token: Option<&'a str>,
    pub patience: Duration,
    pub all: bool,
    pub json: bool,
}

/// Compares. The code is 0 only if nothing differs.
///
/// # Errors
/// The key cannot be read, or the service cannot be asked.
pub async fn run(comparison: &Comparison<'_>, console: &Console) -> anyhow::Result<ExitCode> {
    let key = AnswerKey::open(comparison.key)?;
    let mut seen = Seen::connect(comparison.flight, comparison.token).await?;
    let status = console.clone();
    let report = simulation::verify(&key, &mut seen, comparison.patience, |step| {
        if status.is_terminal() {
            status.status(&match step {
                Step::Received(now, due) => format!("{} of {} messages", thousands(now), thousands(due)),
                Step::Compared(now, all) => {
                    format!("{} of {} sensors compared", thousands(now.into()), thousands(all.into()))
                }
            });
        }
    })
    .await;
    console.end_status();
    print(comparison, &key, &report?)
}

fn print(comparison: &Comparison<'_>, key: &AnswerKey, report: &Report) -> anyhow::Result<ExitCode> {
    let differences: usize = report.findings.iter().map(|finding| finding.wrong).sum();
    let code = if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let scenario = &key.simulation.scenario;
    if comparison.json {
        let named: Vec<_> = report
            .violations()
            .flat_map(|finding| {
                finding.differences.iter().map(|what| json!({"invariant": finding.invariant, "what": what}))
            })
            .collect();
        let object = json!({
            "prefix": scenario.prefix,
            "complete": key.progress.is_complete() && key.is_whole,
            "holds": report.holds(),
            "findings": report.findings,
            "differences": differences,
            "named": named,
        });
        println!("{object}");
        return Ok(code);
    }
    let paint = Paint::of_stdout();
    for Finding { invariant, promise, holds, said, .. } in &report.findings {
        let mark = if *holds { paint.good("✓") } else { paint.bad("✗") };
        println!("  {mark} {invariant:3} {promise}\n        {}", if *holds { said } else { "" });
    }
    for finding in report.violations() {
        let shown = if comparison.all { finding.differences.len() } else { SHOWN };
        for what in finding.differences.iter().take(shown) {
            println!("{}: {what}", finding.invariant);
        }
        let rest = finding.wrong.saturating_sub(shown.min(finding.differences.len()));
        if 0 < rest {
            println!("{}: and {rest} more (--all shows them)", finding.invariant);
        }
    }
    if key.progress.is_complete() && !key.is_whole {
        println!("The key has no end: it was cut off while its answer was written.");
    }
    if !key.progress.is_complete() {
        println!("The run was stopped before its end: what was sent last may be there or not.");
    }
    println!(
        "{}",
        match differences {
            0 => "Zero differences.".to_owned(),
            1 => "1 DIFFERENCE.".to_owned(),
            n => format!("{n} DIFFERENCES."),
        }
    );
    if report.violations().any(|finding| finding.said.contains("is nowhere")) {
        println!(
            "Where sensors were not announced, their readings wait in quarantine: `screenline simulate --registry DIR` \
             writes what `screenline registry import` takes; or `screenline registry adopt --like '{}%'`.",
            scenario.prefix
        );
    }
    Ok(code)
}

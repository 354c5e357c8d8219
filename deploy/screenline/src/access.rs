//! `screenline access`: who asked the query service what, and whether that was changed since.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use query::access::{self, Entry, Event};
use serde_json::json;

use crate::{
    paper::{Paint, Table, cut},
    supervisor::data_folder,
};

/// Where a city keeps its access log, below its data folder.
pub const LOG: &str = "access/access.jsonl";

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Every question has two lines: one before anything was answered, one at the end with rows, bytes and outcome. Each line
has the hash of the one before it. Keep the head that `verify` prints where this machine cannot change it: a log that
was made anew as a whole shows only there.

Examples:
  screenline access list --last 20
  screenline access list --who grafana --json
  screenline access verify
  screenline access verify /srv/kept/access.*.jsonl")]
pub struct AccessArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// List questions, the latest last
    List(ListArgs),
    /// Check that no line was changed, taken out or put in; exit code 1 if one was
    Verify(VerifyArgs),
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    /// Only of this name
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// Print the lines as they are
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Clone, Args)]
struct VerifyArgs {
    /// Files in order [default: those of the city]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Clone, Args)]
struct PlaceArgs {
    /// The data folder of the city [default: as `up`]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The log of a query service that runs alone
    #[arg(long, env = "SCREENLINE_ACCESS_LOG", value_name = "FILE")]
    access_log: Option<PathBuf>,
}

/// # Errors
/// There is no log, or it was changed.
pub fn run(args: AccessArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(&args),
        Command::Verify(args) => verify(&args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let mut asked: Vec<Entry> = Vec::new();
    let files = args.place.files()?;
    access::verify(&files, |entry| {
        if args.who.as_ref().is_some_and(|who| *who != entry.who) {
            return;
        }
        match entry.event {
            Event::Asked => asked.push(entry.clone()),
            Event::Answered => {
                if let Some(question) = asked.iter_mut().rev().find(|asked| asked.id == entry.id) {
                    question.rows = entry.rows;
                    question.bytes = entry.bytes;
                    question.outcome.clone_from(&entry.outcome);
                }
            }
        }
        if 2 * args.last + 1000 < asked.len() {
            asked.drain(..asked.len() - args.last - 1000); // what still runs is among the last thousand
        }
    })?;
    let shown = &asked[asked.len().saturating_sub(args.last)..];
    if args.json {
        for entry in shown {
            println!("{}", serde_json::to_string(entry)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        ("at", false),
        ("who", false),
        ("role", false),
        ("door", false),
        ("rows", true),
        ("outcome", false),
        ("question", false),
    ];
    let mut table = Table::of(Paint::of_stdout(), columns.into_iter());
    for Entry { at, who, role, door, rows, outcome, what, .. } in shown {
        let rows = rows.map(|rows| rows.to_string()).unwrap_or_default();
        let question = what.as_deref().unwrap_or_default().replace('\n', " ");
        let outcome = outcome.clone().unwrap_or_else(|| "runs, or was cut".to_owned());
        table.row([
            at.strftime("%F %T").to_string(),
            cut(who, 24),
            cut(role, 12),
            door.clone(),
            rows,
            outcome,
            cut(&question, 80),
        ]);
    }
    print!("{}", table.text());
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let files = if args.files.is_empty() { args.place.files()? } else { args.files.clone() };
    match access::verify(&files, |_| {}) {
        Ok(head) if args.json => println!("{}", json!({"ok": true, "lines": head.lines, "head": head.hash})),
        Ok(head) => println!("{} lines, each follows the one before it; head {}", head.lines, head.hash),
        Err(error) => {
            match args.json {
                true => println!("{}", json!({"ok": false, "error": format!("{error:#}")})),
                false => eprintln!("screenline: {error:#}"),
            }
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl PlaceArgs {
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let path = match &self.access_log {
            Some(path) => path.clone(),
            None => self.data.clone().unwrap_or_else(data_folder::default_path).join(LOG),
        };
        let files = there(&path).with_context(|| format!("look for {}", path.display()))?;
        ensure!(
            !files.is_empty(),
            "there is no access log {}: give the data folder with --data, or the file with --access-log",
            path.display()
        );
        Ok(files)
    }
}

fn there(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match path.parent() {
        Some(folder) if folder.is_dir() => access::files(path),
        _ => Ok(Vec::new()),
    }
}

//! `screenline rejected redrive`: after a mapping or a registry was put right.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use anyhow::{Context, ensure};
use clap::Args;
use ingest::Intake;
use processor::{
    redrive::{Redrive, Refused},
    registry::Registry,
    store::{Counts, RejectionState},
    street::Street,
};
use serde_json::json;

use super::{FilterArgs, open};
use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{Paint, count, cut, printable, thousands},
};

/// Listed of those that are refused again; the others are counted.
const REFUSED_LISTED_MAX: usize = 10_000;
/// Shown to a person, of each reason.
const EXAMPLES: usize = 3;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Give the mappings and the registry's admission as ingest has them. What fits now is stored, and its rejection marked, in
one transaction; what is still refused stays open. It may be interrupted and started again, also while ingest runs.")]
pub struct RedriveArgs {
    /// These
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Write nothing, and say what would become of them
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    intake: Intake,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl RedriveArgs {
    pub fn database(&self) -> &DatabaseArgs {
        &self.database
    }
}

/// What a whole redrive did.
#[derive(Debug, Default)]
struct Done {
    rejections: u64,
    settled: u64,
    /// By their newest reason.
    refused: BTreeMap<&'static str, Vec<Refused>>,
    refused_unlisted: u64,
    cut: Vec<i64>,
    counts: Counts,
}

/// The street as the settings describe it.
pub fn street(intake: &Intake) -> anyhow::Result<Street> {
    Ok(Street {
        mapping: Arc::new(intake.mapping().context("load the mappings")?),
        registry: Arc::new(RwLock::new(Registry::new(intake.registry))),
        rules: intake.rules(),
        memory: Arc::default(),
    })
}

pub async fn run(args: &RedriveArgs, url: &str, console: &Console) -> anyhow::Result<()> {
    ensure!(
        args.all || !args.ids.is_empty() || !args.filter.is_empty(),
        "say which: by id, by --reason, --source, --topic, --since or --until, or --all"
    );
    let (client, city) = open(url).await?;
    let filter = args.filter.filter(&args.ids, Some(RejectionState::Open), &city.time_zone)?;
    let due: i64 = filter.groups(&client).await?.iter().map(|group| group.rejections).sum();
    let mut redrive = Redrive::new(url, street(&args.intake)?, filter).await?;
    let mut done = Done::default();
    while let Some(step) = redrive.step(args.dry_run).await? {
        done.rejections += step.rejections;
        done.settled += step.settled;
        done.cut.extend(step.cut);
        done.counts += step.counts;
        for refused in step.refused {
            let listed = done.refused.entry(refused.reason.as_str()).or_default();
            if listed.len() < REFUSED_LISTED_MAX { listed.push(refused) } else { done.refused_unlisted += 1 }
        }
        if console.is_terminal() {
            console.status(&format!(
                "{} of {}, {} settled",
                thousands(done.rejections.cast_signed()),
                count(due, "rejection", "rejections"),
                thousands(done.settled.cast_signed())
            ));
        }
    }
    console.end_status();
    match args.json {
        true => println!("{}", done.json(args.dry_run)),
        false => print!("{}", done.text(args.dry_run, Paint::of_stdout())),
    }
    Ok(())
}

impl Done {
    fn refused(&self) -> u64 {
        self.refused.values().map(|refused| refused.len() as u64).sum::<u64>() + self.refused_unlisted
    }

    fn json(&self, dry_run: bool) -> serde_json::Value {
        let one = |r: &Refused| json!({ "id": r.id, "reason": r.reason.as_str(), "detail": r.detail });
        json!({
            "dry_run": dry_run,
            "rejections": self.rejections,
            "settled": self.settled,
            "still_refused": self.refused(),
            "cut": self.cut,
            "stored": self.counts.stored,
            "duplicate": self.counts.duplicate,
            "conflict": self.counts.conflict,
            "late": self.counts.late,
            "refused": self.refused.values().flatten().map(one).collect::<Vec<_>>(),
            "refused_unlisted": self.refused_unlisted,
        })
    }

    fn text(&self, dry_run: bool, paint: Paint) -> String {
        let rejections = |number: u64| count(number.cast_signed(), "rejection", "rejections");
        if self.rejections == 0 {
            return "No open rejection is meant by that.\n".to_owned();
        }
        let mut text = match dry_run {
            true => format!(
                "{} would be settled, of {}.\n",
                rejections(self.settled),
                thousands(self.rejections.cast_signed())
            ),
            false => format!(
                "{} settled, of {}: {} stored, {} there already, {} in conflict.\n",
                rejections(self.settled),
                thousands(self.rejections.cast_signed()),
                count(self.counts.stored, "reading", "readings"),
                thousands(self.counts.duplicate),
                thousands(self.counts.conflict)
            ),
        };
        if self.settled == self.rejections {
            text = paint.good(&text);
        }
        if 0 < self.refused() {
            text += &paint.warn(&format!("{} still refused:\n", rejections(self.refused())));
        }
        for (reason, refused) in &self.refused {
            text += &format!("  {} {reason}\n", thousands(refused.len() as i64));
            for one in refused.iter().take(EXAMPLES) {
                text += &paint.dim(&format!("    {}: {}\n", one.id, cut(&printable(&one.detail), 90)));
            }
        }
        if let Some(first) = self.cut.first() {
            text += &paint.warn(&format!(
                "{} cannot be tried: of payloads longer than 64 KiB only the beginning is kept (the first is {first}).\n",
                rejections(self.cut.len() as u64)
            ));
        }
        text
    }
}

//! `screenline registry adopt`: sensors that nobody announced become the city's.

use anyhow::{bail, ensure};
use clap::Args;
use processor::registry::quarantine::{self, Whom};
use serde_json::json;

use super::show;
use crate::database::DatabaseArgs;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Their readings since the first one join the others, and their buckets are rolled, back to the readings still kept. What
they are and where they stand is for `screenline registry import`, which adopts those that its rows name.

Examples:
  screenline registry adopt cam-7 cam-8
  screenline registry adopt --like 'north/%'")]
pub struct AdoptArgs {
    /// These
    #[arg(value_name = "SENSOR")]
    sensors: Vec<String>,
    /// Those whose name is like this; % stands for any text, _ for any letter
    #[arg(long, value_name = "PATTERN", conflicts_with = "sensors")]
    like: Option<String>,
    /// All that wait
    #[arg(long, conflicts_with_all = ["sensors", "like"])]
    all: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl AdoptArgs {
    pub fn database(&self) -> &DatabaseArgs {
        &self.database
    }
}

/// # Errors
/// Nobody was named, one that was named does not wait, or the database fails.
pub async fn run(args: &AdoptArgs, url: &str) -> anyhow::Result<()> {
    let whom = match (&args.like, args.all) {
        (Some(pattern), _) => Whom::Like(pattern.clone()),
        (None, true) => Whom::All,
        (None, false) if args.sensors.is_empty() => bail!("say which: by name, --like or --all"),
        (None, false) => Whom::Named(args.sensors.clone()),
    };
    let (client, _) = super::open(url).await?;
    let adopted = quarantine::adopt(&client, &whom).await?;
    ensure!(
        !adopted.sensors.is_empty() || args.all,
        "nobody in quarantine is like that: `screenline registry list --quarantined` has those that wait"
    );
    match args.json {
        true => println!("{}", json!(adopted)),
        false if adopted.sensors.is_empty() => println!("nobody waits in quarantine"),
        false => print!("{}", show::adopted_text(&adopted)),
    }
    Ok(())
}

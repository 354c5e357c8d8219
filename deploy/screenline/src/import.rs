//! `screenline import`: files go into the tables, as if their parts had come as messages. The same file again is all
//! duplicates.

mod as_format;
mod as_mapping;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, RwLock},
};

use anyhow::{Context, ensure};
use clap::Args;
use processor::{
    decode::Limits,
    mapping::Mapping,
    memory::Memory,
    model::{Batch, BatchId, Message},
    registry::{Admission, Registry},
    store::{Counts, Writer},
    street::Street,
    validate::Rules,
};
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use self::as_format::FormatArgs;
use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{count, thousands},
    rejected::open,
};

/// A file that is one message is read as a whole: a day of a large city in DATEX II is a tenth of it.
const FILE_BYTES_MAX: usize = 512 << 20;
/// Readings that a dry run shows.
const SHOWN: usize = 10;
/// Refusals whose words are kept: nobody reads more, and all are in the tables.
const REFUSED_MAX: usize = 1_000;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
With --mapping and --topic, the mapping's source for the topic says how a file is read; CSV and line protocol are read
some lines at a time, a file whose name ends in .jsonl line by line, any other as one message. With --as, the file is the
output of another simulator or a table: it is read twice, first to find every error and announce its series, then to
store it. Readings of any age are taken; what is refused is kept as a rejection (`screenline rejected list`). Importing
again stores nothing twice.

Formats of --as:
  sumo-e1       induction loops of SUMO (E1), XML: counts, occupancies and speeds of intervals
  sumo-instant  instantaneous induction loops of SUMO, XML: passages
  sumo-events   passages, CSV: detector_id,veh_id,veh_type,t_enter_s,t_leave_s,speed_mps,length_m
  sumo-fcd      floating car data of SUMO, XML: passages over the detectors of --detectors
  epanet        results of EPANET: a table as WNTR writes them (--quantity says of what), or the binary output file
  wide, long    CSV with a column for each sensor, or a line for each value; --columns says which is what
  parquet       either of them in Parquet

Examples:
  screenline import flow_5min.csv --mapping pems-5min --topic import/pems-5min/715898 --dry-run
  screenline import events.csv.gz --mapping signal-events --topic import/signal-events
  screenline import measured.xml --mapping datex2 --topic import/datex2 --json
  screenline import e1.xml --as sumo-e1 --start 2024-05-14T05:00:00Z --dry-run
  screenline import fcd.xml.gz --as sumo-fcd --start 2024-05-14T05:00:00Z --detectors detectors.csv
  screenline import pressure.csv --as epanet --quantity pressure --start 2024-01-01T00:00:00Z --sensor-prefix net3.
  screenline import speeds.parquet --as parquet --columns speeds.toml --registry-out announced")]
pub struct ImportArgs {
    /// The files, plain or compressed with gzip
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Mapping files or folders, or the names of ready ones (`screenline mapping list`)
    #[arg(
        long,
        required_unless_present = "format",
        conflicts_with = "format",
        requires = "topic",
        value_delimiter = ',',
        value_name = "FILE|DIR|NAME"
    )]
    mapping: Vec<PathBuf>,
    /// The topic by which the mapping's source is found
    #[arg(long, requires = "mapping", conflicts_with = "format")]
    topic: Option<String>,
    /// What happens to a sensor nobody announced: open (taken in), quarantine (stored and kept apart) or closed (rejected)
    #[arg(long, default_value = "open", conflicts_with = "format")]
    registry: Admission,
    #[command(flatten)]
    of_format: FormatArgs,
    /// Show the first readings, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// # Errors
/// A file cannot be read, an option does not fit the others, or the database fails.
pub async fn run(args: ImportArgs, console: &Console) -> anyhow::Result<ExitCode> {
    match (&args.topic, args.of_format.importer()?) {
        (_, Some(importer)) => as_format::run(&args, importer, console).await,
        (Some(topic), None) => as_mapping::run(&args, topic, console).await,
        (None, None) => anyhow::bail!("say how it is read: --mapping with --topic, or --as"),
    }
}

fn street(mapping: Mapping, admission: Admission) -> Street {
    let rules = Rules {
        lateness_horizon: None,
        limits: Limits { payload_bytes: FILE_BYTES_MAX, samples: usize::MAX },
        ..Rules::default()
    };
    Street {
        mapping: Arc::new(mapping),
        registry: Arc::new(RwLock::new(Registry::new(admission))),
        rules,
        memory: Arc::new(Memory::default()),
    }
}

/// An import under way: the open tables, and what became of the messages so far.
struct Import {
    street: Street,
    client: Client,
    writer: Writer,
    outcome: Outcome,
}

#[derive(Default)]
struct Outcome {
    counts: Counts,
    refused: Vec<String>,
    refusals: i64,
}

impl Import {
    async fn open(street: Street, url: &str) -> anyhow::Result<Import> {
        let (client, city) = open(url).await?;
        Registry::refresh(&street.registry, &client).await.context("load the registry")?;
        let writer = Writer::new(url, city.level, street.registry.clone());
        Ok(Import { street, client, writer, outcome: Outcome::default() })
    }

    /// Writes some messages in one transaction; or tries them out.
    async fn take(&mut self, messages: Vec<Message>, dry_run: bool) -> anyhow::Result<()> {
        let batch = Arc::new(Batch { id: BatchId(fastrand::i64(1..)), messages, shed: 0 });
        let Outcome { counts, refused, refusals } = &mut self.outcome;
        let said = if dry_run {
            let said = self.street.try_out(batch).await;
            counts.decoded += said.fates.iter().map(|fate| i64::from(fate.decoded)).sum::<i64>();
            said
        } else {
            let (said, written) = self.street.write(&mut self.writer, batch, None).await?;
            *counts += written.counts;
            said
        };
        *refusals += said.rejections.len() as i64;
        let free = REFUSED_MAX - refused.len();
        let words = said.rejections.iter().map(|r| format!("{}: {}", r.reason.as_str(), r.detail));
        refused.extend(words.take(free));
        Ok(())
    }
}

impl Outcome {
    /// Says what became of it; `more` are members of the JSON object. The code is 1 when something was refused.
    fn print(
        &self,
        args: &ImportArgs,
        shown: &[String],
        more: Map<String, Value>,
    ) -> anyhow::Result<ExitCode> {
        let Outcome { counts, refused, refusals } = self;
        if args.json {
            let mut object = json!({
                "dry_run": args.dry_run,
                "decoded": counts.decoded,
                "stored": counts.stored,
                "duplicate": counts.duplicate,
                "conflict": counts.conflict,
                "refused": refused,
                "first": shown,
            });
            if let Value::Object(members) = &mut object {
                members.extend(more);
            }
            println!("{object}");
        } else {
            shown.iter().for_each(|line| println!("{line}"));
            let found = count(counts.decoded, "reading", "readings");
            match args.dry_run {
                true => println!("{found} found; nothing was written"),
                false => println!(
                    "{found}: {} stored, {} were there already, {} differ from what is stored",
                    thousands(counts.stored),
                    thousands(counts.duplicate),
                    thousands(counts.conflict)
                ),
            }
            refused.iter().take(SHOWN).for_each(|line| println!("refused: {line}"));
            if SHOWN < refused.len() {
                println!("{} refused in all", thousands(*refusals));
            }
        }
        ensure!(0 < counts.decoded || refused.is_empty(), "nothing of it can be read");
        Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

//! `screenline import`: a file goes through a mapping into the tables, as if its parts had come as messages. The same file
//! again is all duplicates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, RwLock},
};

use anyhow::{Context, ensure};
use clap::Args;
use ingest::ready;
use jiff::Timestamp;
use processor::{
    decode::{Decoder, Limits, inflated},
    mapping::{Mapping, Syntax},
    memory::Memory,
    model::{Batch, BatchId, Message},
    registry::{Admission, Registry},
    store::{Counts, Writer},
    street::Street,
    validate::Rules,
};
use serde_json::json;

use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{count, thousands},
    rejected::open,
};

/// A file is read as a whole: a day of a large city in DATEX II is a tenth of it.
const FILE_BYTES_MAX: usize = 512 << 20;
/// Lines that make one message: large enough to outweigh a message's cost, small enough for a rejection to be looked at.
const LINES_A_MESSAGE: usize = 500;
/// Messages that make one transaction: some ten thousand readings.
const MESSAGES_A_BATCH: usize = 32;
/// Readings that a dry run shows.
const SHOWN: usize = 10;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The mapping's source for the topic says how the file is read; CSV and line protocol are read some lines at a time, a file
whose name ends in .jsonl line by line, any other as one message. Readings of any age are taken; what is refused is kept
as a rejection (`screenline rejected list`). Importing again stores nothing twice.

Examples:
  screenline import flow_5min.csv --mapping pems-5min --topic import/pems-5min/715898 --dry-run
  screenline import events.csv.gz --mapping signal-events --topic import/signal-events
  screenline import measured.xml --mapping datex2 --topic import/datex2 --json")]
pub struct ImportArgs {
    /// The files, plain or compressed with gzip
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Mapping files or folders, or the names of ready ones (`screenline mapping list`)
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE|DIR|NAME")]
    mapping: Vec<PathBuf>,
    /// The topic by which the mapping's source is found
    #[arg(long)]
    topic: String,
    /// What happens to a sensor nobody announced: open (taken in), quarantine (stored and kept apart) or closed (rejected)
    #[arg(long, default_value = "open")]
    registry: Admission,
    /// Show the first readings, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: ImportArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let mapping = Mapping::parse(&ready::texts(&args.mapping)?)?;
    let syntax = mapping.routes(&args.topic).next().map(|(_, source, _)| source.syntax().cloned());
    let Some(syntax) = syntax else {
        anyhow::bail!("no source of the mapping takes the topic {:?}", args.topic)
    };
    let mut messages = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let line_by_line = file.file_stem().map(Path::new).into_iter().chain([file.as_path()]);
        let line_by_line = line_by_line.filter_map(Path::extension).any(|extension| extension == "jsonl");
        messages.extend(parts(&text, syntax.as_ref(), line_by_line).into_iter().map(|payload| Message {
            topic: args.topic.clone(),
            payload: payload.into(),
            received_at: Timestamp::now().into(),
            retained: false,
            number: None,
        }));
    }
    let rules = Rules {
        lateness_horizon: None,
        limits: Limits { payload_bytes: FILE_BYTES_MAX, samples: usize::MAX },
        ..Rules::default()
    };
    let street = Street {
        mapping: Arc::new(mapping),
        registry: Arc::new(RwLock::new(Registry::new(args.registry))),
        rules,
        memory: Arc::new(Memory::default()),
    };
    let database = args.database.clone();
    database.with(async |url| import(&args, street, messages, url, console).await).await
}

async fn import(
    args: &ImportArgs,
    street: Street,
    messages: Vec<Message>,
    url: &str,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let (client, city) = open(url).await?;
    Registry::refresh(&street.registry, &client).await.context("load the registry")?;
    let mut writer = Writer::new(url, city.level, street.registry.clone());
    let (mut counts, mut shown, mut refused) = (Counts::default(), Vec::new(), Vec::new());
    let all = messages.len();
    let mut done = 0;
    for part in messages.chunks(MESSAGES_A_BATCH) {
        let batch = Arc::new(Batch { id: BatchId(fastrand::i64(1..)), messages: part.to_vec(), shed: 0 });
        done += part.len();
        let said = if args.dry_run {
            if shown.len() < SHOWN {
                shown.extend(first_lines(&street, part).into_iter().take(SHOWN - shown.len()));
            }
            let said = street.try_out(batch).await;
            counts.decoded += said.fates.iter().map(|fate| i64::from(fate.decoded)).sum::<i64>();
            said
        } else {
            let (said, written) = street.write(&mut writer, batch, None).await?;
            counts += written.counts;
            said
        };
        refused.extend(said.rejections.iter().map(|r| format!("{}: {}", r.reason.as_str(), r.detail)));
        if console.is_terminal() {
            let (readings, percent) = (thousands(counts.decoded), 100 * done / all.max(1));
            console.status(&format!("{readings} readings, {percent} %"));
        }
    }
    console.end_status();
    if args.json {
        let object = json!({
            "dry_run": args.dry_run,
            "decoded": counts.decoded,
            "stored": counts.stored,
            "duplicate": counts.duplicate,
            "conflict": counts.conflict,
            "refused": refused,
            "first": shown,
        });
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
    }
    ensure!(0 < counts.decoded || refused.is_empty(), "nothing of it can be read");
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first readings of some messages, as the mapping reads them.
fn first_lines(street: &Street, messages: &[Message]) -> Vec<String> {
    let (limits, pseudonyms) = (street.rules.limits, &street.memory.pseudonyms);
    let decoder = Decoder { mapping: &street.mapping, limits, pseudonyms };
    let mut lines = Vec::new();
    for message in messages {
        decoder.decode(message, None, &mut |sample| {
            if lines.len() < SHOWN {
                lines.push(sample.to_string());
            }
            Ok(())
        });
    }
    lines
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let about = || format!("read {}", file.display());
    let bytes = fs::metadata(file).with_context(about)?.len();
    ensure!(
        bytes <= FILE_BYTES_MAX as u64,
        "{} has {bytes} bytes, the limit is {FILE_BYTES_MAX}: split it",
        file.display()
    );
    let text = fs::read(file).with_context(about)?;
    match inflated(&text, FILE_BYTES_MAX) {
        Ok(inflated) => Ok(inflated.into_owned()),
        Err(refusal) => anyhow::bail!("{}: {}", file.display(), refusal.detail),
    }
}

/// The messages that a file stands for.
fn parts(text: &[u8], syntax: Option<&Syntax>, line_by_line: bool) -> Vec<Vec<u8>> {
    let head = match syntax {
        Some(Syntax::Csv(rules)) => rules.columns.is_none(),
        Some(Syntax::Influx) => false,
        _ if line_by_line => {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            return lines.map(<[u8]>::to_vec).collect();
        }
        _ => return vec![text.to_vec()],
    };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let head = if head { lines.next().unwrap_or_default() } else { b"" };
    let lines: Vec<&[u8]> = lines.collect();
    let part = |lines: &[&[u8]]| [head, &lines.concat()].concat();
    lines.chunks(LINES_A_MESSAGE).map(part).collect()
}

#[cfg(test)]
mod tests {
    use processor::mapping::CsvRules;

    use super::*;

    #[test]
    fn a_long_table_is_read_in_parts_that_have_its_head() {
        let table: String =
            ["id,v\n".to_owned()].into_iter().chain((0..1_200).map(|i| format!("a,{i}\n"))).collect();
        let csv = Syntax::Csv(CsvRules { delimiter: b',', columns: None, comment: None });
        let parts = parts(table.as_bytes(), Some(&csv), false);
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.starts_with(b"id,v\na,")));
        assert!(parts[2].ends_with(b"a,1199\n"));
    }
}

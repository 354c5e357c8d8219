//! Files that go through a mapping.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use ingest::ready;
use jiff::Timestamp;
use processor::{
    decode::{Decoder, inflated},
    mapping::{Mapping, Syntax},
    model::Message,
    street::Street,
};

use super::{FILE_BYTES_MAX, Import, ImportArgs, SHOWN, street};
use crate::{console::Console, paper::thousands};

/// Lines that make one message: large enough to outweigh a message's cost, small enough for a rejection to be looked at.
const LINES_A_MESSAGE: usize = 500;
/// Messages that make one transaction: some ten thousand readings.
const MESSAGES_A_BATCH: usize = 32;

/// # Errors
/// A file cannot be read, no source of the mapping takes the topic, or the database fails.
pub async fn run(args: &ImportArgs, topic: &str, console: &Console) -> anyhow::Result<ExitCode> {
    let mapping = Mapping::parse(&ready::texts(&args.mapping)?)?;
    let syntax = mapping.routes(topic).next().map(|(_, source, _)| source.syntax().cloned());
    let Some(syntax) = syntax else { anyhow::bail!("no source of the mapping takes the topic {topic:?}") };
    let mut messages = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let line_by_line = file.file_stem().map(Path::new).into_iter().chain([file.as_path()]);
        let line_by_line = line_by_line.filter_map(Path::extension).any(|extension| extension == "jsonl");
        messages.extend(parts(&text, syntax.as_ref(), line_by_line).into_iter().map(|payload| Message {
            topic: topic.to_owned(),
            payload: payload.into(),
            received_at: Timestamp::now().into(),
            retained: false,
            number: None,
        }));
    }
    let street = street(mapping, args.registry);
    let database = args.database.clone();
    database.with(async |url| import(args, street, messages, url, console).await).await
}

async fn import(
    args: &ImportArgs,
    street: Street,
    messages: Vec<Message>,
    url: &str,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let mut import = Import::open(street, url).await?;
    let mut shown = Vec::new();
    let all = messages.len();
    let mut done = 0;
    for part in messages.chunks(MESSAGES_A_BATCH) {
        done += part.len();
        if args.dry_run && shown.len() < SHOWN {
            shown.extend(first_lines(&import.street, part).into_iter().take(SHOWN - shown.len()));
        }
        import.take(part.to_vec(), args.dry_run).await?;
        if console.is_terminal() {
            let (readings, percent) = (thousands(import.outcome.counts.decoded), 100 * done / all.max(1));
            console.status(&format!("{readings} readings, {percent} %"));
        }
    }
    console.end_status();
    import.outcome.print(args, &shown, serde_json::Map::new())
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

//! `screenline mapping`: what a mapping makes of a payload, before a message is entrusted to it.

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ingest::ready;
use jiff::Timestamp;
use processor::{
    decode::{Body, Decoder, Limits, Sample},
    mapping::Mapping,
    memory::{Memory, Recall},
    model::Message,
};

use crate::console::Console;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  screenline mapping list
  screenline mapping show tasmota > ours.toml
  screenline mapping check ours.toml
  screenline mapping try ours.toml --topic tele/plug7/SENSOR < payload.json
  mosquitto_sub -t 'tele/#' -C 1 | screenline mapping try tasmota --topic tele/plug7/SENSOR")]
pub struct MappingArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Compile mapping files and say what is in them; a wrong one is named with its line
    Check {
        /// Files, folders, or the names of ready mappings
        #[arg(required = true, value_name = "FILE|DIR|NAME")]
        mappings: Vec<PathBuf>,
    },
    /// Show the readings of one payload from standard input, or the reason why there are none
    Try {
        /// Files, folders, or the names of ready mappings, in order of precedence
        #[arg(required = true, value_name = "FILE|DIR|NAME")]
        mappings: Vec<PathBuf>,
        /// The topic that the payload came on
        #[arg(long)]
        topic: String,
        /// When it was received [default: now]
        #[arg(long, value_name = "TIME")]
        received: Option<Timestamp>,
        /// Print one JSON object a reading
        #[arg(long)]
        json: bool,
    },
    /// List the mappings that are part of the program
    List,
    /// Print a mapping that is part of the program, to be changed
    Show {
        /// As `screenline mapping list` has it
        name: String,
    },
}

pub fn run(args: MappingArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check { mappings } => {
            let mapping = load(&mappings)?;
            for source in mapping.sources() {
                writeln!(out, "{}  {}", source.name, source.topic.filter())?;
            }
        }
        Action::List => {
            for ready in ready::ALL {
                let about = ready.text.lines().next().unwrap_or_default().trim_start_matches("# ");
                writeln!(out, "{:<18} {about}", ready.name)?;
            }
        }
        Action::Show { name } => match ready::find(&name) {
            Some(ready) => write!(out, "{}", ready.text)?,
            None => bail!("{name:?} is no ready mapping: see `screenline mapping list`"),
        },
        Action::Try { mappings, topic, received, json } => {
            let mapping = load(&mappings)?;
            let mut payload = Vec::new();
            std::io::stdin().read_to_end(&mut payload).context("read the payload from standard input")?;
            let received_at = received.unwrap_or_else(Timestamp::now).into();
            let message =
                Message { topic, payload: payload.into(), received_at, retained: false, number: None };
            return try_out(&mapping, &message, json, &mut out, console);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn try_out(
    mapping: &Mapping,
    message: &Message,
    json: bool,
    out: &mut impl Write,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let memory = Memory::default();
    let mut recall = Recall::new(&memory, mapping);
    let decoder = Decoder { mapping, limits: Limits::default(), pseudonyms: &memory.pseudonyms };
    let mut lines = Vec::new();
    let verdict = decoder.decode(message, Some(&mut recall), &mut |sample| {
        lines.push(if json { object(&sample).to_string() } else { sample.to_string() });
        Ok(())
    });
    let source = verdict.source.map(|source| &mapping.sources()[source].name);
    if let Some(refusal) = verdict.refusal {
        let source = source.map(|source| format!(" by the source {source:?}")).unwrap_or_default();
        console.line(&format!("refused{source}: {}: {}", refusal.reason.as_str(), refusal.detail));
        return Ok(ExitCode::FAILURE);
    }
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    for refusal in &verdict.refused {
        console.line(&format!("one reading refused: {}: {}", refusal.reason.as_str(), refusal.detail));
    }
    if 0 < verdict.unlisted {
        console.line(&format!("{} values left out: no lookup lists their code", verdict.unlisted));
    }
    if lines.is_empty() && verdict.refused.is_empty() {
        let source = source.map_or("no source", |source| &**source);
        console.line(&format!("no readings: {source} takes the message and finds nothing measured in it"));
    }
    Ok(if verdict.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn object(sample: &Sample<'_>) -> serde_json::Value {
    let mut object = serde_json::json!({
        "time": sample.time.to_string(),
        "sensor": sample.sensor,
        "metric": sample.metric,
        "unit": sample.unit.or(sample.keep),
        "kind": sample.kind.as_str(),
        "interval_s": sample.interval_s,
        "flags": sample.quality.names().collect::<Vec<_>>(),
    });
    match &sample.body {
        Body::Value(value) => object["value"] = (*value).into(),
        Body::Event(passage) => {
            object["event"] = serde_json::json!({
                "id": passage.id,
                "speed_kmh": passage.speed_kmh,
                "length_m": passage.length_m,
                "on_time_s": passage.on_time_s,
                "class": passage.class,
                "tags": passage.tags,
            });
        }
    }
    object
}

fn load(paths: &[PathBuf]) -> anyhow::Result<Mapping> {
    Ok(Mapping::parse(&ready::texts(paths)?)?)
}

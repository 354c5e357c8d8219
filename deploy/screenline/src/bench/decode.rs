//! From payloads to readings, beside a parser that only tells the fields apart.

use std::sync::PoisonError;

use anyhow::ensure;
use processor::{
    mapping::Mapping,
    memory::Memory,
    model::{Message, Time},
    process::{Processed, process},
    validate::Rules,
};
use serde::Deserialize;

use super::{
    figure::Figure,
    ground::{Ground, Tables, midnight_s},
    load::{Load, PACK},
};

/// A million readings a round.
const MESSAGES: usize = 20_000;
/// As ingest gathers them: four megabytes.
pub const BATCH_MESSAGES: usize = 1_800;
const MAPPING: &str = r#"
    [[source]]
    name = "senml"
    topic = "city/senml/#"
    format = "senml-json"
"#;

#[derive(Deserialize)]
struct Record<'p> {
    #[serde(borrow, default)]
    n: &'p str,
    #[serde(default)]
    bt: f64,
    #[serde(default)]
    v: f64,
}

/// # Errors
/// What was sent is not what was understood.
pub async fn run(ground: &Ground, tables: &Tables, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let about = format!("tell the fields of SenML apart, {PACK} a message, one thread");
    let mut parse = Figure::new("parse", about, "readings");
    let mut decode = Figure::new("decode", "decode and validate the same, all cores", "readings")
        .beside("parse", "CPU at most 3 times");
    let reader = Reader::new()?;
    for round in 0..=rounds {
        let messages = messages(midnight_s(2) + (round * 1_000) as i64, MESSAGES);
        let due = (MESSAGES * PACK) as u64;
        let parsed = ground.round(async {
            let mut sum = 0.0;
            let mut readings = 0;
            for message in &messages {
                let records: Vec<Record<'_>> = serde_json::from_slice(&message.payload)?;
                readings += records.iter().filter(|record| !record.n.is_empty()).count() as u64;
                sum += records.iter().map(|record| record.v + record.bt).sum::<f64>();
            }
            ensure!(readings == due && sum.is_finite(), "{readings} of {due} readings were parsed");
            Ok(readings)
        });
        let parsed = parsed.await?;
        let decoded = ground.round(async {
            let batches = messages.chunks(BATCH_MESSAGES);
            let readings = batches.map(|batch| reader.read(batch, tables).readings.len() as u64).sum();
            ensure!(readings == due, "{readings} of {due} readings were decoded");
            Ok(readings)
        });
        let decoded = decoded.await?;
        if 0 < round {
            parse.rounds.push(parsed); // the first one warms up
            decode.rounds.push(decoded);
        }
    }
    Ok(vec![parse, decode])
}

/// As ingest reads.
pub struct Reader {
    mapping: Mapping,
    rules: Rules,
    memory: Memory,
}

impl Reader {
    pub fn new() -> anyhow::Result<Reader> {
        let mapping = Mapping::parse(&[("bench.toml", MAPPING)])?;
        Ok(Reader { mapping, rules: Rules::default(), memory: Memory::default() })
    }

    pub fn read(&self, batch: &[Message], tables: &Tables) -> Processed {
        let registry = tables.registry.read().unwrap_or_else(PoisonError::into_inner);
        process(batch, &self.mapping, &registry, &self.rules, &self.memory)
    }
}

/// Packs as they came from the broker a moment ago.
pub fn messages(start_s: i64, count: usize) -> Vec<Message> {
    let load = Load::new("city/senml/load", PACK, start_s);
    let received_at = Time::from(jiff::Timestamp::now());
    let message = |index| {
        let (topic, payload) = load.message(index);
        Message { topic, payload, received_at, retained: false, number: None }
    };
    (0..count).map(message).collect()
}

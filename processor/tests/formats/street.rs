//! A mapping without a city: messages in, lines out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use processor::{
    decode::{Decoder, Limits},
    mapping::Mapping,
    memory::{Memory, Recall},
    model::{Message, Time},
};

pub fn mappings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mappings")
}

/// The reference payloads, which are not part of the project.
pub fn payloads() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/payloads");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no {}", folder.display());
    }
    folder.is_dir().then_some(folder)
}

pub fn ready(name: &str) -> Mapping {
    let file = mappings().join(format!("{name}.toml"));
    let text = fs::read_to_string(&file).unwrap();
    Mapping::parse(&[(name, &text)]).unwrap()
}

pub fn message(topic: &str, payload: &[u8], received_at: &str) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.to_vec().into(),
        received_at: received_at.parse::<jiff::Timestamp>().map(Time::from).unwrap(),
        retained: false,
        number: None,
    }
}

/// The readings as lines, sorted as they were found, and what was refused; `memory` goes on.
pub fn lines(mapping: &Mapping, message: &Message, memory: &mut Memory) -> Vec<String> {
    let before = memory.clone();
    let mut recall = Recall::new(&before, mapping);
    let decoder = Decoder { mapping, limits: Limits::default(), pseudonyms: &before.pseudonyms };
    let mut lines = Vec::new();
    let verdict = decoder.decode(message, Some(&mut recall), &mut |sample| {
        lines.push(sample.to_string());
        Ok(())
    });
    memory.advance(&recall.changes());
    if let Some(refusal) = verdict.refusal {
        return vec![format!("refused {}: {}", refusal.reason.as_str(), refusal.detail)];
    }
    lines.extend(
        verdict
            .refused
            .iter()
            .map(|refusal| format!("one refused {}: {}", refusal.reason.as_str(), refusal.detail)),
    );
    lines.extend((0 < verdict.unlisted).then(|| format!("{} unlisted", verdict.unlisted)));
    lines
}

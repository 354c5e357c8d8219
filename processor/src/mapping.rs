//! Which topics and payloads become which series: TOML, compiled once.
//!
//! ```toml
//! [[source]]
//! name = "water-registers"
//! topic = "city/water/{meter}/register"        # {name}: one level captured, +: ignored, #: all that follow
//! format = "json"                              # or "senml-json"
//! sensor = "{meter}"                           # topic levels {name}, payload values {/path}
//! time = { path = "/time", as = "rfc3339" }    # rfc3339, unix_s, unix_ms, unix_ns, receive; fallback = path or "receive"
//! number = { source = "{/screenline/source}", epoch = "/screenline/epoch", seq = "/screenline/seq" } # who counts, and how
//! reading = [{ metric = "water.volume.total", value = "/register_m3", unit = "m3", kind = "counter" }]
//! ```
//!
//! The first source whose topic fits and whose `where` holds takes the message.

mod compile;
mod path;
mod template;
mod topic;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

pub use path::Path;
pub use template::Template;
pub use topic::{Captures, TopicPattern};

use crate::{
    decode::Json,
    model::{Kind, MetricName, Number},
};

/// All sources, in order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    sources: Vec<Source>,
}

/// The messages of one kind of sender.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: Arc<str>,
    pub topic: TopicPattern,
    pub conditions: Vec<Condition>,
    pub drop_if: Vec<Condition>,
    pub number: Option<NumberRule>,
    pub format: Format,
}

/// Where a payload carries its publisher's count of messages.
#[derive(Clone, Debug)]
pub struct NumberRule {
    /// Who counts.
    pub source: Template,
    /// Absent: the publisher never starts to count anew.
    pub epoch: Option<Path>,
    pub seq: Path,
}

#[derive(Clone, Debug)]
pub enum Format {
    Json(JsonRules),
    Senml(SenmlRules),
}

#[derive(Clone, Debug)]
pub struct JsonRules {
    pub sensor: Template,
    pub time: TimeRule,
    pub readings: Vec<ReadingRule>,
}

#[derive(Clone, Debug, Default)]
pub struct SenmlRules {
    /// What a record's name stands for; a name not listed is its own metric, a gauge in the record's unit.
    pub rename: HashMap<String, Measure>,
}

#[derive(Clone, Debug)]
pub struct ReadingRule {
    pub measure: MeasureRule,
    pub value: ValueRule,
    /// Values that mean "nothing measured".
    pub sentinels: Vec<f64>,
    pub number_from_string: bool,
    pub range: Option<(f64, f64)>,
    pub time: Option<TimeRule>,
    pub event: Option<EventRule>,
}

#[derive(Clone, Debug)]
pub enum MeasureRule {
    Fixed(Measure),
    /// By the text of a captured topic level.
    Lookup {
        capture: String,
        measures: HashMap<String, Measure>,
    },
}

#[derive(Clone, Debug)]
pub enum ValueRule {
    At(Path),
    Const(f64),
}

/// What is measured, in which unit (UCUM), and how it adds up.
#[derive(Clone, PartialEq, Debug)]
pub struct Measure {
    pub metric: MetricName,
    pub unit: Box<str>,
    pub kind: Kind,
    pub interval_s: Option<u32>,
}

/// Where a passage keeps what was measured of it.
#[derive(Clone, Debug)]
pub struct EventRule {
    /// Absent: a hash of the payload tells events apart.
    pub id: Option<Path>,
    pub speed: Option<Quantity>,
    pub length: Option<Quantity>,
    pub on_time: Option<Quantity>,
    pub class: Option<Path>,
}

#[derive(Clone, Debug)]
pub struct Quantity {
    pub path: Path,
    /// To the table's unit: km/h, m or s.
    pub factor: f64,
}

#[derive(Clone, Debug)]
pub struct TimeRule {
    pub at: Option<(Path, TimeFormat)>,
    pub fallback: Option<TimeFallback>,
}

#[derive(Clone, Debug)]
pub enum TimeFallback {
    Receive,
    At(Path),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum TimeFormat {
    Rfc3339,
    /// Units of so many microseconds since 1970.
    Unix {
        micros: f64,
    },
}

#[derive(Clone, Debug)]
pub struct Condition {
    pub path: Path,
    pub equals: Scalar,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// A mapping that cannot be used, with the file and the line.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("read mapping {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("mapping {file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Invalid { file: String, line: Option<usize>, message: String },
}

impl Mapping {
    /// Compiles mapping files in order of precedence; each is a name for messages and its TOML.
    ///
    /// # Errors
    /// The file, the line and what was expected there.
    pub fn parse(files: &[(&str, &str)]) -> Result<Mapping, MappingError> {
        let mut sources: Vec<Source> = Vec::new();
        for (file, text) in files {
            for (line, source) in compile::sources(file, text)? {
                if sources.iter().any(|known| known.name == source.name) {
                    let message = format!("the source {:?} is there twice", source.name);
                    return Err(MappingError::Invalid {
                        file: (*file).to_owned(),
                        line: Some(line),
                        message,
                    });
                }
                sources.push(source);
            }
        }
        Ok(Mapping { sources })
    }

    /// Reads and compiles files, and the `*.toml` of folders in order of name.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and a path that cannot be read.
    pub fn load(paths: &[PathBuf]) -> Result<Mapping, MappingError> {
        let mut texts = Vec::new();
        for path in paths {
            let read = |source| MappingError::Read { path: path.clone(), source };
            let mut files = vec![path.clone()];
            if path.is_dir() {
                let entries =
                    path.read_dir().and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(read)?;
                files = entries.into_iter().map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
                files.sort();
            }
            for file in files {
                let text = std::fs::read_to_string(&file);
                let text = text.map_err(|source| MappingError::Read { path: file.clone(), source })?;
                texts.push((file.display().to_string(), text));
            }
        }
        let texts: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Mapping::parse(&texts)
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The sources whose topic fits, in order of precedence, by index.
    pub fn routes<'m, 't>(
        &'m self,
        topic: &'t str,
    ) -> impl Iterator<Item = (usize, &'m Source, Captures<'m, 't>)> {
        let fit = move |(index, source): (usize, &'m Source)| {
            source.topic.captures(topic).map(|captures| (index, source, captures))
        };
        self.sources.iter().enumerate().filter_map(fit)
    }

    /// The MQTT topic filters that bring every mapped message once, beside those in `always`.
    pub fn subscriptions(&self, always: &[&str]) -> Vec<String> {
        let mapped = self.sources.iter().map(|source| source.topic.filter());
        let filters: Vec<String> = always.iter().map(|filter| (*filter).to_owned()).chain(mapped).collect();
        topic::without_covered(&filters)
    }
}

impl NumberRule {
    /// `None` where the payload carries none, or nothing that can be one.
    pub fn find(&self, captures: &Captures<'_, '_>, payload: &Json<'_>) -> Option<Number> {
        let whole = |path: &Path| match path.find(payload) {
            Some(Json::Int(number)) => Some(*number),
            _ => None,
        };
        let seq = whole(&self.seq)?;
        let epoch = self.epoch.as_ref().map_or(Some(0), whole)?;
        Number::new(&self.source.render(captures, payload).ok()?, epoch, seq)
    }
}

impl Condition {
    pub fn holds(&self, payload: &Json<'_>) -> bool {
        match (self.path.find(payload), &self.equals) {
            (Some(Json::Text(text)), Scalar::Text(wanted)) => text == wanted,
            (Some(Json::Bool(value)), Scalar::Bool(wanted)) => value == wanted,
            (Some(value), Scalar::Number(wanted)) => value.as_f64() == Some(*wanted),
            _ => false,
        }
    }
}

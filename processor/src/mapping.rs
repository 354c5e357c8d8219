//! Which topics and payloads become which series: TOML, compiled once.
//!
//! ```toml
//! [[source]]
//! name = "water-registers"
//! topic = "city/water/{meter}/register"        # {name}: one level captured, +: ignored, #: all that follow
//! format = "json"
//! sensor = "{meter}"                           # topic levels {name}, payload values {/path}, keys {@key}
//! time = { path = "/time", as = "rfc3339" }
//! reading = [{ metric = "water.volume.total", value = "/register_m3", unit = "m3", kind = "counter" }]
//! ```
//!
//! The first source whose topic fits and whose `where` holds takes the message. A path is a JSON Pointer: see [`Path`].
//! Where several paths may be given, the first that is there counts.
//!
//! # Keys of a source
//! - `format`: `json`, `cbor`, `number` (the payload is one value), `csv`, `xml`, `influx` (line protocol), `dsmr` (P1
//!   telegrams): all become one tree that the rules below read. `senml-json`, `senml-cbor` and `sparkplug-b` carry their
//!   own names, units and times and take only `rename = { name = "metric|unit|kind|interval_s" }`. `ignore`: not data.
//! - `where`, `drop_if`: lists of `{ path, eq | ne | in | not_in | exists | is }`; `drop_if` needs one that holds
//! - `each`: the rules are read once for every item that the path fits
//! - `time = { path, as, tz, fold, pattern, label, fallback }`: `as` is rfc3339 (also an interval `a/b`), unix_s, unix_ms,
//!   unix_us, unix_ns, local, strptime, dsmr, receive; `fold` is earlier, later or reject, for the hour that comes twice;
//!   `label = "start"` for times that begin their interval; `fallback` is paths, or receive
//! - `interval = { start, end, as, tz }`: the time is its end
//! - `lookup.<table> = { code = "metric|unit|kind|interval_s" }`, `unit_map = { sent = "UCUM" }`
//! - `number = { source, epoch, seq }`: who counts the messages, and how; `dedup`: paths that tell messages apart
//! - `redact`: paths that never reach disk or log; `tags = { name = path }` beside events, an identifier as
//!   `{ path, pseudonym = "daily" }`
//!
//! # Keys of a reading
//! - `metric` (may hold `{...}`), or `from_lookup = "table"` with `key = "{...}"`, which is `{table}` unless given
//! - `value`, or `sum` of several paths, or `const`; `parse`: number_from_string, number_with_unit, decimal_comma, on_off
//! - `unit`, `unit_path` or `unit_suffix = true` (`total_m3`); without, the registry's
//! - `kind`, `interval_s`, `sentinel`, `range`, `where`, `each`, `sensor`, `time`, `time_step = "-1h"` (of each next item),
//!   `expand = "phase"` (a list becomes `.phase1`, `.phase2`), `hold = "1h"` (a value not sent again stands so long)
//! - `event = { id, speed, length, on_time, class }` with `kind = "event"`

mod compile;
mod path;
mod raw;
mod template;
mod topic;

use std::{collections::HashMap, path::PathBuf, str::FromStr, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

use jiff::tz::TimeZone;

pub use path::{Item, Key, Path, Paths, Place};
pub use template::Template;
pub use topic::{Captures, TopicPattern};

use crate::{
    decode::Json,
    model::{Fold, Kind, MetricName, Number},
};

/// All sources, in order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    sources: Vec<Source>,
    names: Arc<[Arc<str>]>,
    fingerprint: u64,
}

/// The messages of one kind of sender.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: Arc<str>,
    pub topic: TopicPattern,
    pub conditions: Vec<Condition>,
    pub drop_if: Vec<Condition>,
    pub number: Option<NumberRule>,
    /// Whether a gzip or zlib payload, told by its first bytes, is inflated.
    pub decompress: bool,
    /// What tells messages apart; empty: nothing does, and the keys of their readings decide.
    pub dedup: Vec<Path>,
    pub secrets: Secrets,
    pub format: Format,
}

/// What of a payload never reaches disk or log.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    pub removed: Vec<Path>,
    /// Identifiers of which only a pseudonym is kept.
    pub opened: Vec<Path>,
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
    /// Not data.
    Ignore,
    Senml(SenmlRules),
    Sparkplug(SparkplugRules),
    Mapped(Box<MappedRules>),
}

/// How bytes become a tree.
#[derive(Clone, PartialEq, Default, Debug)]
pub enum Syntax {
    #[default]
    Json,
    Cbor,
    /// The payload is one value.
    Number,
    Csv(CsvRules),
    Xml,
    Influx,
    Dsmr,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CsvRules {
    pub delimiter: u8,
    /// Absent: the first line names them.
    pub columns: Option<Vec<String>>,
    pub comment: Option<u8>,
}

#[derive(Clone, Default, Debug)]
pub struct SenmlRules {
    pub syntax: Syntax,
    /// What a record's name stands for; a name not listed is its own metric, a gauge in the record's unit.
    pub rename: HashMap<Box<str>, Measure>,
}

#[derive(Clone, Debug)]
pub struct SparkplugRules {
    /// What a metric's name stands for; a name not listed is its own metric, a gauge in the unit of its birth.
    pub rename: HashMap<Box<str>, Measure>,
}

#[derive(Clone, Debug)]
pub struct MappedRules {
    pub syntax: Syntax,
    /// Where the rules are read; empty: once, at the payload.
    pub each: Paths,
    pub sensor: Template,
    pub time: TimeRule,
    pub interval: Option<IntervalRule>,
    pub readings: Vec<ReadingRule>,
    pub tags: Vec<TagRule>,
    /// Units as they are sent, to UCUM.
    pub unit_map: HashMap<String, Box<str>>,
}

#[derive(Clone, Debug)]
pub struct ReadingRule {
    pub conditions: Vec<Condition>,
    pub each: Paths,
    /// In place of the source's.
    pub sensor: Option<Template>,
    pub measure: MeasureRule,
    pub unit: UnitRule,
    pub value: ValueRule,
    pub parse: Parse,
    /// Values that mean "nothing measured".
    pub sentinels: Vec<f64>,
    pub range: Option<(f64, f64)>,
    pub time: Option<TimeRule>,
    /// Microseconds from each item of `each` to the next.
    pub time_step: i64,
    /// What the elements of a list are, for their metrics' names.
    pub expand: Option<Box<str>>,
    pub event: Option<EventRule>,
    pub hold: Option<HoldRule>,
}

#[derive(Clone, Debug)]
pub enum MeasureRule {
    Fixed(Measure),
    /// With a name made from topic and payload.
    Named {
        metric: Template,
        unit: Option<Box<str>>,
        kind: Kind,
        interval_s: Option<u32>,
    },
    /// By a code in topic or payload.
    Lookup {
        key: Template,
        measures: HashMap<Box<str>, Measure>,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub enum UnitRule {
    /// The measure's.
    Own,
    At(Paths),
    /// The last part of the metric's name: `total_m3`.
    Suffix,
}

#[derive(Clone, Debug)]
pub enum ValueRule {
    At(Paths),
    /// All of them must be there.
    Sum(Vec<Path>),
    Const(f64),
}

/// What a text may be, where a number is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parse {
    /// Nothing: a number is a number.
    Number,
    /// `"61.5"`
    Text,
    /// `"61.5 km/h"`; the unit it carries counts.
    TextWithUnit,
    /// `"61,5"`
    DecimalComma,
    /// `on`, `true`, `open`, `1` are 1; `off`, `false`, `closed`, `0` are 0.
    OnOff,
}

/// A value that is not sent again stands, for so many microseconds at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldRule {
    pub micros: i64,
}

/// What is measured, in which unit, and how it adds up.
#[derive(Clone, PartialEq, Debug)]
pub struct Measure {
    pub metric: MetricName,
    /// UCUM; absent: as the registry has it.
    pub unit: Option<Box<str>>,
    pub kind: Kind,
    pub interval_s: Option<u32>,
}

/// Where a passage keeps what was measured of it.
#[derive(Clone, Default, Debug)]
pub struct EventRule {
    /// Empty: what `dedup` names, or a hash of the payload, tells events apart.
    pub id: Paths,
    pub speed: Option<Quantity>,
    pub length: Option<Quantity>,
    pub on_time: Option<Quantity>,
    pub class: Paths,
}

#[derive(Clone, Debug)]
pub struct Quantity {
    pub at: Paths,
    /// To the table's unit: km/h, m or s.
    pub factor: f64,
}

/// What is kept beside an event.
#[derive(Clone, Debug)]
pub struct TagRule {
    pub name: Box<str>,
    pub at: Paths,
    /// As a keyed hash, whose key lives for a day.
    pub pseudonym: bool,
}

#[derive(Clone, Debug)]
pub struct TimeRule {
    pub at: Option<TimeAt>,
    /// Whether the time of receipt stands in where there is none.
    pub receive: bool,
    /// Whether it is the start of what was measured, not the end.
    pub starts: bool,
}

#[derive(Clone, Debug)]
pub struct TimeAt {
    pub paths: Paths,
    pub format: TimeFormat,
}

#[derive(Clone, Debug)]
pub struct IntervalRule {
    pub start: Paths,
    pub end: Paths,
    pub format: TimeFormat,
}

#[derive(Clone, Debug)]
pub enum TimeFormat {
    /// Or an ISO 8601 interval of two, which ends at the time.
    Rfc3339,
    /// Units of so many microseconds since 1970.
    Unix {
        micros: f64,
    },
    /// As RFC 3339, but its offset may be absent.
    Local {
        zone: TimeZone,
        fold: Fold,
    },
    Strptime {
        pattern: String,
        zone: TimeZone,
        fold: Fold,
    },
    /// `YYMMDDhhmmss` and S in summer, W in winter.
    Dsmr {
        zone: TimeZone,
    },
}

#[derive(Clone, Debug)]
pub struct Condition {
    /// Absent: the name or the index of the item that `each` stands on.
    pub at: Option<Paths>,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Test {
    In(Vec<Scalar>),
    /// Also where nothing is there.
    NotIn(Vec<Scalar>),
    Exists(bool),
    Is(Shape),
}

#[derive(Clone, PartialEq, Debug)]
pub enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Number,
    Text,
    Bool,
    List,
    Object,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "number" => Shape::Number,
            "text" => Shape::Text,
            "boolean" => Shape::Bool,
            "list" => Shape::List,
            "object" => Shape::Object,
            other => return Err(format!("{other:?} is none of number, text, boolean, list, object")),
        })
    }
}

/// A mapping that cannot be used, with the file and the line.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("read mapping {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("mapping {file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Invalid { file: String, line: Option<usize>, message: String },
}

/// A mapping file, or the `*.toml` of a folder in order of name: names for messages, and texts.
///
/// # Errors
/// A path that cannot be read.
pub fn read(path: &std::path::Path) -> Result<Vec<(String, String)>, MappingError> {
    let unread = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| MappingError::Read { path, source }
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = path.read_dir().and_then(Iterator::collect::<Result<Vec<_>, _>>);
        files = entries.map_err(unread(path))?.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
    }
    let text = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).map_err(unread(&file))?;
        Ok((file.display().to_string(), text))
    };
    files.into_iter().map(text).collect()
}

impl Mapping {
    /// Compiles mapping files in order of precedence; each is a name for messages and its TOML.
    ///
    /// # Errors
    /// The file, the line and what was expected there.
    pub fn parse(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Mapping, MappingError> {
        let mut sources: Vec<Source> = Vec::new();
        for (file, text) in files {
            let (file, text) = (file.as_ref(), text.as_ref());
            for (line, source) in compile::sources(file, text)? {
                if sources.iter().any(|known| known.name == source.name) {
                    let message = format!("the source {:?} is there twice", source.name);
                    return Err(MappingError::Invalid { file: file.to_owned(), line: Some(line), message });
                }
                sources.push(source);
            }
        }
        let names = sources.iter().map(|source| source.name.clone()).collect();
        Ok(Mapping { sources, names, fingerprint: Mapping::fingerprint_of(files) })
    }

    /// Two mappings with one fingerprint were compiled from the same files.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The fingerprint of a mapping of these files.
    pub fn fingerprint_of(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> u64 {
        // No text of TOML has a NUL: what ends one cannot begin the next.
        let texts = files.iter().map(|(file, text)| format!("{}\0{}\0", file.as_ref(), text.as_ref()));
        xxh3_64(texts.collect::<String>().as_bytes())
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The sources' names, in order.
    pub fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
    }

    /// The first source for a topic that reads by what came before.
    pub fn stateful(&self, topic: &str) -> Option<&Source> {
        let mut stateful = self.sources.iter().filter(|source| source.is_stateful());
        stateful.find(|source| source.topic.captures(topic).is_some())
    }

    /// Whether any source reads by what came before.
    pub fn is_stateful(&self) -> bool {
        self.sources.iter().any(Source::is_stateful)
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

impl Source {
    /// Whether its messages are read by what came before them.
    pub fn is_stateful(&self) -> bool {
        match &self.format {
            Format::Sparkplug(_) => true,
            Format::Mapped(rules) => rules.readings.iter().any(|reading| reading.hold.is_some()),
            Format::Ignore | Format::Senml(_) => false,
        }
    }

    /// How its bytes become a tree, where they do.
    pub fn syntax(&self) -> Option<&Syntax> {
        match &self.format {
            Format::Senml(rules) => Some(&rules.syntax),
            Format::Mapped(rules) => Some(&rules.syntax),
            Format::Ignore | Format::Sparkplug(_) => None,
        }
    }
}

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.opened.is_empty()
    }
}

impl NumberRule {
    /// `None` where the payload carries none, or nothing that can be one.
    pub fn find(&self, captures: &Captures<'_, '_>, payload: &Json<'_>) -> Option<Number> {
        let place = Place::of(payload);
        let whole = |path: &Path| match path.find(&place) {
            Some(Json::Int(number)) => Some(*number),
            _ => None,
        };
        let seq = whole(&self.seq)?;
        let epoch = self.epoch.as_ref().map_or(Some(0), whole)?;
        let mut source = String::new();
        self.source.render(captures, &place, &mut source).ok()?;
        Number::new(&source, epoch, seq)
    }
}

impl Condition {
    pub fn holds(&self, place: &Place<'_, '_>) -> bool {
        let key;
        let node = match &self.at {
            Some(paths) => paths.find(place).map(|(_, node)| node),
            None => {
                key = Json::Text(place.item(0).map(|item| item.key.to_string()).unwrap_or_default().into());
                Some(&key)
            }
        };
        let is = |scalar: &Scalar| match (node, scalar) {
            (Some(Json::Text(text)), Scalar::Text(wanted)) => text == wanted,
            (Some(Json::Bool(value)), Scalar::Bool(wanted)) => value == wanted,
            (Some(value), Scalar::Number(wanted)) => value.as_f64() == Some(*wanted),
            _ => false,
        };
        match &self.test {
            Test::In(scalars) => scalars.iter().any(is),
            Test::NotIn(scalars) => !scalars.iter().any(is),
            Test::Exists(wanted) => node.is_some() == *wanted,
            Test::Is(shape) => node.is_some_and(|node| node.is(*shape)),
        }
    }
}

//! Every setting of the service; `--help` is their reference.

use std::{path::PathBuf, str::FromStr};

use processor::{
    mapping::{Mapping, MappingError},
    model::Span,
    registry::Admission,
    store::{Keep, KeepRule, StorageChoice},
    validate::{LATENESS_HORIZON, Rules},
};

use crate::{
    address::{Access, Address},
    canary::Depth,
    ready,
};

#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    /// Where the tables are: postgres://user@host:port/name, or host=/socket/folder user=... dbname=...; encrypted with
    /// sslmode=verify-full, sslrootcert=FILE, sslcert=FILE and sslkey=FILE; its password also by passfile=FILE
    #[arg(long, env = "SCREENLINE_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Where the messages are: mqtt://host[:port], or mqtts:// for TLS
    #[arg(long, env = "SCREENLINE_BROKER_URL", hide_env_values = true)]
    pub broker_url: String,

    #[command(flatten)]
    pub access: Access,

    /// MQTT version: auto (5, or 3.1.1 where the broker refuses it), 5, 3.1.1
    #[arg(long, env = "SCREENLINE_BROKER_PROTOCOL", default_value = "auto")]
    pub broker_protocol: Protocol,

    /// How closely to look at the broker before the start: off, quick, or full, which also fills its queue with 1,500
    /// messages (`screenline doctor` does)
    #[arg(long, env = "SCREENLINE_BROKER_CHECK", default_value = "quick")]
    pub broker_check: Depth,

    /// Names the session that the broker keeps for us; each process that ingests needs its own, always the same
    #[arg(long, env = "SCREENLINE_CLIENT_ID", default_value = "screenline-ingest")]
    pub client_id: String,

    /// Share the messages with the other processes that name the same group, each under a client id of its own. The
    /// broker keeps a share for one that is away: a client id that is not coming back must be removed there
    #[arg(long, env = "SCREENLINE_SHARE", value_name = "GROUP", value_parser = group)]
    pub share: Option<String>,

    /// With --share: be the one process that takes the sources which remember their senders (Sparkplug B, `hold`), because
    /// those messages must be read in order
    #[arg(long, env = "SCREENLINE_OWNS_SENDERS", requires = "share")]
    pub owns_senders: bool,

    /// Storage level: auto (TimescaleDB where the server has it), plain, timescale
    #[arg(long, env = "SCREENLINE_STORAGE", default_value = "auto")]
    pub storage: StorageChoice,

    /// The city's IANA time zone, which cuts its days; fixed by the first start on a database
    #[arg(long, env = "SCREENLINE_TIME_ZONE", default_value = "UTC")]
    pub time_zone: String,

    /// How long rows are kept, by class: readings=13mo, rollup_5m=5y, rejections=30d, readings:camera.*=30d (metrics
    /// that begin so), events=forever; see `screenline retention` for all classes
    #[arg(long, env = "SCREENLINE_KEEP", value_delimiter = ',', value_name = "CLASS=SPAN")]
    pub keep: Vec<KeepRule>,

    #[command(flatten)]
    pub intake: Intake,
}

impl Config {
    /// Topic filters as they are subscribed to, with those in `always`.
    ///
    /// # Errors
    /// A source that remembers its senders would be shared with other processes.
    pub(crate) fn filters(&self, mapping: &Mapping, always: &[&str]) -> anyhow::Result<Vec<String>> {
        let Some(group) = &self.share else { return Ok(mapping.subscriptions(always)) };
        let owned: Vec<String> = mapping
            .sources()
            .iter()
            .filter(|source| source.is_stateful())
            .map(|source| source.topic.filter())
            .collect();
        let all = mapping.subscriptions(always);
        if let Some(shared) = owned.iter().find(|owned| !all.contains(owned)) {
            anyhow::bail!(
                "messages of {shared} must be read in order by one process, and a wider topic would share them: give \
                 their source a topic outside of city/ and gateway/, and of the other sources"
            );
        }
        let shared = all.iter().filter(|filter| !owned.contains(filter));
        let shared = shared.map(|filter| format!("$share/{group}/{filter}"));
        Ok(shared.chain(owned.iter().filter(|_| self.owns_senders).cloned()).collect())
    }

    /// How long every class is kept.
    ///
    /// # Errors
    /// What cannot be kept as asked, and what to ask for instead.
    pub fn keep(&self) -> anyhow::Result<Keep> {
        Keep::new(&self.keep, self.intake.lateness_horizon).map_err(anyhow::Error::msg)
    }

    /// The broker, and what it takes to be let in.
    ///
    /// # Errors
    /// The address is none, or a file for it cannot be used.
    pub fn broker(&self) -> anyhow::Result<Address> {
        Address::parse(&self.broker_url, &self.access)
    }
}

fn group(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '+', '#']) {
        return Err("a group is a name without /, + and #".to_owned());
    }
    Ok(text.to_owned())
}

/// What is taken in and how it is read: the same for a message that comes and for a rejected one that is tried again.
#[derive(clap::Args, Clone, Debug)]
pub struct Intake {
    /// What happens to a sensor nobody announced: quarantine (stored and kept apart until it is adopted), open (taken in,
    /// marked unreviewed) or closed (rejected)
    #[arg(long, env = "SCREENLINE_REGISTRY", default_value = "quarantine")]
    pub registry: Admission,

    /// How old a reading may be at its receipt: 400d, 12h, or unlimited; older ones are rejected as too late
    #[arg(long, env = "SCREENLINE_LATENESS_HORIZON", default_value_t = LATENESS_HORIZON)]
    pub lateness_horizon: Span,

    /// Whose numbers are believed: any, or only those below gateway/NAME/ that name this gateway (where logins guard
    /// those topics)
    #[arg(long, env = "SCREENLINE_NUMBERED_TOPICS", default_value = "any")]
    pub numbered_topics: NumberedTopics,

    /// Mapping files or folders, or the names of ready ones (`screenline mapping list`), in order of precedence; without
    /// any, those for topics below city/. A change of a file is taken while running
    #[arg(long, env = "SCREENLINE_MAPPINGS", value_delimiter = ',', value_name = "FILE|DIR|NAME")]
    pub mappings: Vec<PathBuf>,

    /// Folder for the keys of pseudonyms, which a mapping may ask for: one a day, destroyed a day later. All processes
    /// that ingest share it
    #[arg(long, env = "SCREENLINE_PSEUDONYM_KEYS", value_name = "DIR")]
    pub pseudonym_keys: Option<PathBuf>,
}

impl Intake {
    /// The mapping files that the settings name, or the built-in ones.
    ///
    /// # Errors
    /// A file cannot be read, or is wrong: file, line and what was expected.
    pub fn mapping(&self) -> anyhow::Result<Mapping> {
        let mapping = Mapping::parse(&self.mapping_texts()?)?;
        self.check(&mapping)?;
        Ok(mapping)
    }

    /// The files' names and texts, in order of precedence.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn mapping_texts(&self) -> Result<Vec<(String, String)>, MappingError> {
        let city: Vec<PathBuf> = ready::CITY.iter().map(PathBuf::from).collect();
        ready::texts(if self.mappings.is_empty() { &city } else { &self.mappings })
    }

    /// Whether a mapping can be used with the other settings.
    ///
    /// # Errors
    /// It asks for pseudonyms, and there is no place for their keys.
    pub(crate) fn check(&self, mapping: &Mapping) -> anyhow::Result<()> {
        let source = mapping.sources().iter().find(|source| !source.secrets.opened.is_empty());
        if let (Some(source), None) = (source, &self.pseudonym_keys) {
            anyhow::bail!(
                "source {:?} asks for pseudonyms: say where their keys are kept, with --pseudonym-keys DIR",
                source.name
            );
        }
        Ok(())
    }

    /// What is asked of readings.
    pub fn rules(&self) -> Rules {
        Rules {
            lateness_horizon: self.lateness_horizon.duration(),
            numbers_below_gateway_only: self.numbered_topics == NumberedTopics::Gateway,
            ..Rules::default()
        }
    }
}

/// Which MQTT version to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Auto,
    V5,
    V311,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Protocol::Auto),
            "5" => Ok(Protocol::V5),
            "3.1.1" => Ok(Protocol::V311),
            other => Err(format!("{other:?} is none of auto, 5, 3.1.1")),
        }
    }
}

/// On which topics the numbers of messages are believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberedTopics {
    Any,
    Gateway,
}

impl FromStr for NumberedTopics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(NumberedTopics::Any),
            "gateway" => Ok(NumberedTopics::Gateway),
            other => Err(format!("{other:?} is none of any, gateway")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        config: Config,
    }

    fn config(more: &[&str]) -> Config {
        let line = ["ingest", "--database-url", "postgres://db/city", "--broker-url", "mqtt://broker"];
        <Line as clap::Parser>::parse_from(line.iter().chain(more)).config
    }

    #[test]
    fn the_ready_mappings_of_a_city_are_in_use_where_none_is_named() {
        assert_eq!(config(&[]).intake.mapping().unwrap().sources().len(), ready::CITY.len());
        let all: Vec<&str> = ready::ALL.iter().map(|ready| ready.name).collect();
        let all = config(&["--pseudonym-keys", "/keys", "--mappings", &all.join(",")]);
        assert!(all.intake.mapping().is_ok());
        let error = config(&["--mappings", "camera-events"]).intake.mapping().unwrap_err().to_string();
        assert!(error.contains("--pseudonym-keys"), "{error}");
    }

    #[test]
    fn what_remembers_its_senders_is_not_shared() {
        let filters = |more: &[&str]| {
            let config = config(&[&["--mappings", "senml,sparkplug", "--share", "city"], more].concat());
            config.filters(&config.intake.mapping().unwrap(), &["city/#"]).unwrap()
        };
        assert_eq!(filters(&[]), ["$share/city/city/#"]);
        assert_eq!(filters(&["--owns-senders"]), ["$share/city/city/#", "spBv1.0/#"]);
        let held = "[[source]]\nname = \"a\"\ntopic = \"city/a\"\nformat = \"json\"\nsensor = \"a\"\n\
                    time = { as = \"receive\" }\n\
                    reading = [{ metric = \"m\", value = \"/v\", unit = \"1\", hold = \"1h\" }]\n";
        let mapping = Mapping::parse(&[("held.toml", held)]).unwrap();
        assert!(config(&["--share", "city"]).filters(&mapping, &["city/#"]).is_err());
        assert!(config(&[]).filters(&mapping, &["city/#"]).is_ok());
    }

    #[test]
    fn a_group_is_one_topic_level() {
        assert_eq!(group("city"), Ok("city".to_owned()));
        for wrong in ["", "a/b", "#", "+"] {
            assert!(group(wrong).is_err(), "{wrong}");
        }
    }
}

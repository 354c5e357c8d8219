//! The command line. Every setting is also a `SCREENLINE_*` variable; `--help` is the reference.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};
use ingest::address::Access;
use processor::{
    model::Span,
    store::{KeepRule, StorageChoice},
};

use crate::{
    access::AccessArgs,
    account::AccountArgs,
    audit::AuditArgs,
    bench::BenchArgs,
    changes::ChangesArgs,
    erase::EraseArgs,
    gateway::GatewayArgs,
    health::HealthArgs,
    import::ImportArgs,
    mapping::MappingArgs,
    measure::MeasureArgs,
    record::RecordArgs,
    registry::RegistryArgs,
    rejected::RejectedArgs,
    replay::ReplayArgs,
    reprocess::ReprocessArgs,
    retention::RetentionArgs,
    service::{IngestArgs, QueryArgs},
    simulate::SimulateArgs,
    supervisor::mosquitto::BrokerArgs,
    telemetry::Format,
    token::TokenArgs,
    traffic::TrafficArgs,
    utility::UtilityArgs,
    verify::VerifyArgs,
};

/// Takes a city's telemetry from MQTT to Arrow Flight without losing a reading
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  screenline demo                         see it run with the bundled feeds; Ctrl-C stops it all
  screenline up                           a private database and broker, ingest and query
  screenline replay wntr-net3 --speed 60x publish a recorded feed to the local broker
  screenline record --out city.rec        record what the local broker delivers
  screenline account --last 24h           what came in, where it went, what is missing
  screenline doctor                       what is here, what is wrong, what to do

Each command has its own --help. Logs go to stderr. Every long option is also an environment variable where its
help says so."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Log more: -v for debug, -vv for trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log level, or levels by module: `info`, `warn,ingest=debug` [default: info, in demo: warn]
    #[arg(long, global = true, env = "SCREENLINE_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, env = "SCREENLINE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
}

impl LogArgs {
    /// Settles what is logged, where the command's own level is `usual`. The children of a city log the same.
    pub fn settle(&mut self, usual: &str) {
        const DEBUG: &str = "info,screenline=debug,processor=debug,ingest=debug,query=debug,simulators=debug";
        const TRACE: &str =
            "debug,screenline=trace,processor=trace,ingest=trace,query=trace,simulators=trace";
        self.log = match (self.verbose, self.log.take()) {
            (0, given) => given.or_else(|| Some(usual.to_owned())),
            (1, _) => Some(DEBUG.to_owned()), // libraries at debug bury what we say
            (2.., _) => Some(TRACE.to_owned()),
        };
        self.verbose = 0;
    }

    /// What is logged: a level, or levels by module.
    pub fn directives(&self) -> &str {
        self.log.as_deref().unwrap_or("info")
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a city: database, broker, ingest and query
    Up(Box<UpArgs>),
    /// Run a city with the bundled feeds, and account for every message at the end
    Demo(Box<DemoArgs>),
    /// Run only the service that takes messages from the broker into the database
    Ingest(Box<IngestArgs>),
    /// Run only the service that answers Arrow Flight and Flight SQL
    Query(Box<QueryArgs>),
    /// Record what a broker delivers
    Record(Box<RecordArgs>),
    /// Publish a made-up city over MQTT, with faults whose outcome is known
    Simulate(Box<SimulateArgs>),
    /// Publish a recording or a bundled feed over MQTT
    Replay(Box<ReplayArgs>),
    /// Run a gateway that keeps its messages until the city has committed them
    Gateway(GatewayArgs),
    /// Check mappings, and try them on a payload without a broker
    Mapping(Box<MappingArgs>),
    /// Read a file through a mapping into the tables
    Import(Box<ImportArgs>),
    /// Say what came in, where it went, and what is missing, for any period
    Account(Box<AccountArgs>),
    /// Look at what was refused, try it again, or give it up
    Rejected(Box<RejectedArgs>),
    /// Import, compare and export sensors, series, segments and zones; adopt those that nobody announced
    Registry(Box<RegistryArgs>),
    /// Say what a sensor measured, in buckets of any width, and how much of it was observed
    Measure(Box<MeasureArgs>),
    /// Say what the detectors of roads measured together: levels of service, queues, incidents, annual averages
    Traffic(Box<TrafficArgs>),
    /// Say what the meters of zones counted together: balances, night flows, leaks, peak demand
    Utility(Box<UtilityArgs>),
    /// List the sensors that need a visit, with the reason and since when
    Health(Box<HealthArgs>),
    /// Show what rollups would be by other ranges, moduli or calibrations, and take them over
    Reprocess(Box<ReprocessArgs>),
    /// List the rollups that changed since a time
    Changes(Box<ChangesArgs>),
    /// Compute rollups again from their readings, and compare bit for bit
    Audit(Box<AuditArgs>),
    /// Say what is older than it is kept, and drop it now
    Retention(Box<RetentionArgs>),
    /// Forget a sensor, or a period of it, on request
    Erase(Box<EraseArgs>),
    /// Send a load through the running city and prove that the tables hold exactly that
    Verify(Box<VerifyArgs>),
    /// Make, list and revoke the tokens that the query service takes
    Token(TokenArgs),
    /// Show who asked what, and check that nothing of it was changed
    Access(AccessArgs),
    /// Measure each stage on this machine, beside what limits it
    Bench(BenchArgs),
    /// Say what is here, what is wrong, and what to do about it
    Doctor(DoctorArgs),
}

/// Where a city lives and listens.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Without URLs, a private PostgreSQL (unix socket only) and mosquitto (on loopback) run as children, with their data
in --data. With --database-url or --broker-url nothing is started in their place. Settings of ingest and query that
are not listed here reach them as SCREENLINE_* variables: see `screenline ingest --help`.

Ready file (--ready-file), replaced in one step: mqtt, flight, http, metrics, database, storage, and pids of the
children (ingest, query, postgres, mosquitto), which change when one is restarted.

Examples:
  screenline up
  screenline up --data /srv/city --listen 127.0.0.1:0 --mqtt-listen 127.0.0.1:0 --ready-file /run/city.json
  screenline up --broker-url mqtt://broker.example:1883 --database-url postgres://screenline@db/screenline")]
pub struct UpArgs {
    /// Folder for the private database and broker [default: /var/lib/screenline as root, else the user's state folder]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Use this database in place of a private one: postgres://user@host/name; encrypted with sslmode=verify-full
    #[arg(long, env = "SCREENLINE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Use this broker in place of a private one: mqtt://host:port, or mqtts://host:port for TLS
    #[arg(long, env = "SCREENLINE_BROKER_URL", value_name = "URL", hide_env_values = true)]
    pub broker_url: Option<String>,
    #[command(flatten)]
    pub access: Access,
    /// Address for Flight (gRPC) and HTTP; port 0 picks a free one
    #[arg(long, env = "SCREENLINE_LISTEN", default_value = "127.0.0.1:8815")]
    pub listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz of the whole city; port 0 picks a free one
    #[arg(long, env = "SCREENLINE_METRICS_LISTEN", default_value = "127.0.0.1:9815")]
    pub metrics_listen: SocketAddr,
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Write addresses and process ids to this file, as JSON, once everything is ready
    #[arg(long, env = "SCREENLINE_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Tables as hypertables of TimescaleDB, or plain partitions; `auto` takes what the database has
    #[arg(long, env = "SCREENLINE_STORAGE", default_value = "auto", value_name = "auto|plain|timescale")]
    pub storage: StorageChoice,
    /// The city's time zone (IANA name), by which local days are cut
    #[arg(long, env = "SCREENLINE_TIME_ZONE", default_value = "UTC", value_name = "ZONE")]
    pub time_zone: String,
    /// What happens to a sensor nobody announced: its readings are kept apart until it is adopted (`quarantine`), it is
    /// taken in by its first valid reading (`open`), or it is rejected (`closed`) [default: quarantine]
    #[arg(long, env = "SCREENLINE_REGISTRY", value_parser = ["quarantine", "open", "closed"])]
    pub registry: Option<String>,
    /// Readings older than this are rejected as too late: `400d`, or `unlimited` [default: 400d]
    #[arg(long, env = "SCREENLINE_LATENESS_HORIZON", value_name = "SPAN")]
    pub lateness_horizon: Option<Span>,
    /// How long rows are kept, by class: readings=13mo, rejections=30d, readings:camera.*=30d, events=forever; all
    /// classes are shown by `screenline retention`
    #[arg(long, env = "SCREENLINE_KEEP", value_delimiter = ',', value_name = "CLASS=SPAN")]
    pub keep: Vec<KeepRule>,
    /// Mapping files (TOML) in place of the built-in ones; may be given several times
    #[arg(long = "mappings", env = "SCREENLINE_MAPPINGS", value_name = "FILE", value_delimiter = ',')]
    pub mappings: Vec<PathBuf>,
    /// Memory for query's plans, such as `512MiB`; beyond four times that and a gigabyte the process is ended and restarted
    #[arg(long, env = "SCREENLINE_QUERY_MEMORY", value_name = "BYTES", value_parser = bytes)]
    pub query_memory: Option<u64>,
    /// Leave ingest out, for one or more that are run apart: `screenline ingest`
    #[arg(long)]
    pub no_ingest: bool,
    /// Folder of the PostgreSQL programs [default: what ./deploy/setup installed, else Debian's highest version]
    #[arg(long, env = "SCREENLINE_PG_BIN", value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Without --feed, all bundled feeds are replayed with their history moved to end now, at full speed, and then go on at
their own pace. With --feed, that one is replayed with its recorded times. The data folder is temporary unless --data
is given. The lateness horizon is unlimited, readings are kept for ever and the registry is open, unless told
otherwise.

Examples:
  screenline demo
  screenline demo --feed wntr-net3 --for 60s
  screenline demo --feed sumo-grid --speed 60x --data ./city
  screenline demo --feed sumo-grid --repeat 2 --for 60s --json")]
pub struct DemoArgs {
    #[command(flatten)]
    pub up: UpArgs,
    /// Replay this bundled feed only, with its recorded times
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// How fast: `1x`, `60x`, `max` [default: max]
    #[arg(long)]
    pub speed: Option<String>,
    /// Replay the feed this many times, one after the other
    #[arg(long, default_value_t = 1, requires = "feed", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Stop by itself after this time: `60s`, `5m`
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub for_time: Option<Duration>,
    /// Print the final account as one JSON object on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit code 1 if something is wrong.

Examples:
  screenline doctor
  screenline doctor --database-url postgres://screenline@db/screenline --broker-url mqtt://broker.example:1883 --json")]
pub struct DoctorArgs {
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// The data folder to look at [default: as `up`]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database to look at; without it, what a private one would be
    #[arg(long, env = "SCREENLINE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The broker to look at; without it, what a private one would be
    #[arg(long, env = "SCREENLINE_BROKER_URL", value_name = "URL", hide_env_values = true)]
    pub broker_url: Option<String>,
    #[command(flatten)]
    pub access: Access,
    /// Folder of the PostgreSQL programs
    #[arg(long, env = "SCREENLINE_PG_BIN", value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Address that Flight and HTTP would take
    #[arg(long, env = "SCREENLINE_LISTEN", default_value = "127.0.0.1:8815")]
    pub listen: SocketAddr,
    /// Address that metrics would take
    #[arg(long, env = "SCREENLINE_METRICS_LISTEN", default_value = "127.0.0.1:9815")]
    pub metrics_listen: SocketAddr,
    /// Address that the private broker would take
    #[arg(long, env = "SCREENLINE_MQTT_LISTEN", default_value = "127.0.0.1:1883")]
    pub mqtt_listen: SocketAddr,
}

/// `512MiB`, `2GiB`, `1000000`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("give bytes, or a number with KiB, MiB or GiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "give a number such as 512MiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes".into())
}

/// `60s`, `5m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed =
        text.parse::<jiff::SignedDuration>().map_err(|error| format!("give a time such as 60s: {error}"))?;
    Duration::try_from(parsed).map_err(|_| "give a time that is not negative".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(bytes("1000000"), Ok(1_000_000));
        assert!(bytes("1 TB").is_err() && bytes("MiB").is_err() && bytes("99999999999GiB").is_err());
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert!(duration("-1s").is_err() && duration("soon").is_err());
    }
}

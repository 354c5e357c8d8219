//! Where CPU time goes: seconds of every process of a city, and of what the database does for whom.

use std::{collections::BTreeMap, fs};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use tokio_postgres::Client;

/// Who spends it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// This process: what publishes and asks, and in stages without a city the stage itself.
    Bench,
    Broker,
    Ingest,
    Query,
    /// The database's backends that take or give rows to us.
    Backend,
    /// The database's backends of the roller.
    Roller,
    /// The database's own: WAL writer, checkpointer and whatever else it runs.
    Upkeep,
}

pub const ALL: [Who; 7] =
    [Who::Bench, Who::Broker, Who::Ingest, Who::Query, Who::Backend, Who::Roller, Who::Upkeep];
/// The database as a whole.
pub const DATABASE: [Who; 3] = [Who::Backend, Who::Roller, Who::Upkeep];

impl Who {
    pub fn title(self) -> &'static str {
        match self {
            Who::Bench => "this program",
            Who::Broker => "broker",
            Who::Ingest => "ingest, with the roller",
            Who::Query => "query",
            Who::Backend => "database: backends",
            Who::Roller => "database: of the roller",
            Who::Upkeep => "database: WAL and the like",
        }
    }

    fn of_application(name: &str) -> Option<Who> {
        match name {
            OBSERVER => None,
            "screenline-roller" => Some(Who::Roller),
            _ => Some(Who::Backend),
        }
    }
}

/// The connection that looks on; it is not counted.
pub const OBSERVER: &str = "screenline-bench-observer";

/// CPU-seconds since their starts.
pub type Seconds = BTreeMap<Who, f64>;

/// What all of a city's processes have spent so far. What ended is counted with the database's parent process.
///
/// # Errors
/// The database cannot be asked who is connected.
pub async fn spent(pids: &BTreeMap<String, u32>, observer: &Client) -> anyhow::Result<Seconds> {
    let mut seconds = Seconds::from([(Who::Bench, own_s())]);
    for (name, who) in [("mosquitto", Who::Broker), ("ingest", Who::Ingest), ("query", Who::Query)] {
        if let Some(times) = pids.get(name).and_then(|pid| Times::of(*pid)) {
            seconds.insert(who, times.own_s);
        }
    }
    let Some(postmaster) = pids.get("postgres").copied() else { return Ok(seconds) };
    let rows = observer.query("SELECT pid, application_name FROM pg_stat_activity", &[]).await?;
    let applications: BTreeMap<u32, String> =
        rows.iter().map(|row| (row.get::<_, i32>(0).unsigned_abs(), row.get(1))).collect();
    let mut add = |who, spent| *seconds.entry(who).or_insert(0.0) += spent;
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let Some(Times { own_s, .. }) = Times::of(pid) else { continue };
        match applications.get(&pid).filter(|name| !name.is_empty()) {
            Some(name) => drop(Who::of_application(name).map(|who| add(who, own_s))),
            None => add(Who::Upkeep, own_s),
        }
    }
    if let Some(Times { own_s, ended_children_s }) = Times::of(postmaster) {
        add(Who::Upkeep, own_s + ended_children_s);
    }
    Ok(seconds)
}

/// Spent between two looks. What a connection that ended in between had spent, its whole life long, is told as upkeep.
pub fn between(before: &Seconds, after: &Seconds) -> Seconds {
    after
        .iter()
        .map(|(who, spent)| (*who, (spent - before.get(who).copied().unwrap_or(0.0)).max(0.0)))
        .collect()
}

fn own_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

struct Times {
    own_s: f64,
    ended_children_s: f64,
}

impl Times {
    /// `None` where it has ended.
    fn of(pid: u32) -> Option<Times> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // utime, stime, cutime, cstime in ticks; USER_HZ is 100 on Linux.
        let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / 100.0);
        Some(Times { own_s: seconds(11)? + seconds(12)?, ended_children_s: seconds(13)? + seconds(14)? })
    }
}

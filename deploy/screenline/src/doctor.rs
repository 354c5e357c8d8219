//! `screenline doctor`: what is here, what is wrong, and what to do about it.

mod broker;
mod storage;

use std::{net::SocketAddr, path::Path, process::ExitCode};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::DoctorArgs,
    disk, ports,
    supervisor::{
        binaries::{self, Binaries},
        data_folder::{self, DataFolder, DataFolderError},
        identity::Identity,
    },
};

/// A day of a city's messages and their write-ahead log must fit, or the database stops in the middle of it.
const DISK_FREE_BYTES_MIN: u64 = 5 << 30;
/// Readings more than five minutes ahead of our clock are rejected.
const CLOCK_APART_S_MAX: f64 = 2.0;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    name: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    fn fine(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), problem: None, hint: None }
    }

    fn wrong(name: &'static str, found: impl Into<String>, problem: impl Into<String>, hint: &str) -> Self {
        Self { name, found: found.into(), problem: Some(problem.into()), hint: Some(hint.into()) }
    }
}

/// Looks at everything and prints it. The code is 1 when something is wrong.
///
/// # Errors
/// The report cannot be written as JSON.
pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut checks = vec![Check::fine("screenline", env!("CARGO_PKG_VERSION"))];
    checks.extend(postgres(&args));
    checks.push(mosquitto(&args));
    checks.extend(match &args.database_url {
        Some(url) => storage::given(url).await,
        None => vec![storage::private(args.pg_bin.as_deref())],
    });
    checks.extend(match &args.broker_url {
        Some(url) => broker::given(url, &args.access).await,
        None => vec![broker::private()],
    });
    let data = args.data.clone().unwrap_or_else(data_folder::default_path);
    let private = args.database_url.is_none() || args.broker_url.is_none();
    let mut running = false;
    if private {
        let (folder, in_use) = folder(&data);
        running = in_use;
        checks.push(folder);
        checks.push(disk(&data));
    }
    checks.push(clock());
    checks.push(port("port of Flight and HTTP", "--listen", args.listen, running));
    checks.push(port("port of metrics", "--metrics-listen", args.metrics_listen, running));
    if args.broker_url.is_none() {
        checks.push(port("port of the private broker", "--mqtt-listen", args.mqtt_listen, running));
    }

    let wrong = checks.iter().filter(|check| check.problem.is_some()).count();
    if args.json {
        println!("{}", serde_json::json!({ "ok": wrong == 0, "checks": checks }));
    } else {
        print!("{}", text(&checks, wrong));
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(checks: &[Check], wrong: usize) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = if check.problem.is_some() { "WRONG" } else { "ok" };
        text.push_str(&format!("{mark:<6}{:<27} {}\n", check.name, check.found));
        for line in [&check.problem, &check.hint].into_iter().flatten() {
            text.push_str(&format!("      {:<27} {line}\n", ""));
        }
    }
    text.push_str(&match wrong {
        0 => "Nothing is wrong.\n".to_owned(),
        1 => "One thing is wrong.\n".to_owned(),
        _ => format!("{wrong} things are wrong.\n"),
    });
    text
}

fn postgres(args: &DoctorArgs) -> Vec<Check> {
    let chosen = Binaries::find(args.pg_bin.as_deref());
    let mut checks = match &chosen {
        Ok(chosen) => vec![Check::fine("PostgreSQL, to be used", describe(chosen))],
        Err(_) if args.database_url.is_some() => {
            vec![Check::fine("PostgreSQL", "none here, and none needed")]
        }
        Err(error) => vec![Check::wrong(
            "PostgreSQL",
            "none",
            format!("{error:#}"),
            "run ./deploy/setup, or install the package postgresql, or use --database-url",
        )],
    };
    let others = Binaries::all()
        .into_iter()
        .filter(|other| chosen.as_ref().is_ok_and(|chosen| chosen.dir != other.dir));
    checks.extend(others.map(|other| Check::fine("PostgreSQL, also here", describe(&other))));
    checks
}

fn describe(binaries: &Binaries) -> String {
    let with = if binaries.timescaledb.is_some() { "with" } else { "without" };
    format!("{} in {}, {with} TimescaleDB", binaries.version, binaries.dir.display())
}

fn mosquitto(args: &DoctorArgs) -> Check {
    match binaries::mosquitto() {
        Ok(program) => {
            let version = binaries::mosquitto_version(&program).unwrap_or_else(|| "unknown version".into());
            Check::fine("mosquitto", format!("{version} in {}", program.display()))
        }
        Err(_) if args.broker_url.is_some() => Check::fine("mosquitto", "none here, and none needed"),
        Err(error) => Check::wrong(
            "mosquitto",
            "none",
            format!("{error:#}"),
            "run ./deploy/setup, or install the package mosquitto, or use --broker-url",
        ),
    }
}

/// The check, and whether a screenline runs on the folder.
fn folder(data: &Path) -> (Check, bool) {
    let name = "data folder";
    let shown = data.display().to_string();
    if !data.exists() {
        return (Check::fine(name, format!("{shown} (not made yet)")), false);
    }
    let reach = Identity::of_first(&["postgres"], "PostgreSQL")
        .and_then(|user| user.can_reach(&data.join("postgres")));
    if let Err(error) = reach {
        return (Check::wrong(name, shown, format!("{error:#}"), "see above"), false);
    }
    // Looked at only: `open` would mark an empty folder.
    if !data.join("screenline.json").exists() {
        let empty = std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
        let check = match empty {
            true => Check::fine(name, format!("{shown} (empty)")),
            false => Check::wrong(
                name,
                shown,
                "it is not empty and was not made by screenline",
                "give an empty or a new folder with --data",
            ),
        };
        return (check, false);
    }
    match DataFolder::open(data) {
        Ok(folder) => {
            let major = folder.marker().postgres_major;
            let cluster = major
                .map_or_else(|| "no cluster yet".into(), |major| format!("a cluster of PostgreSQL {major}"));
            (Check::fine(name, format!("{shown}, {cluster}")), false)
        }
        Err(DataFolderError::InUse(_)) => {
            (Check::fine(name, format!("{shown}, in use by a running screenline")), true)
        }
        Err(error) => {
            (Check::wrong(name, shown, error.to_string(), "give another folder with --data"), false)
        }
    }
}

fn disk(data: &Path) -> Check {
    let name = "disk";
    match disk::free(data) {
        Ok(free) if free.bytes < DISK_FREE_BYTES_MIN => Check::wrong(
            name,
            free.to_string(),
            "less than 5 GiB",
            "free some, or put --data on another disk",
        ),
        Ok(free) if free.is_low() => {
            Check::wrong(name, free.to_string(), "less than 10 % of it", disk::NEXT_STEP)
        }
        Ok(free) => Check::fine(name, free.to_string()),
        Err(error) => Check::wrong(name, data.display().to_string(), error.to_string(), "check that disk"),
    }
}

fn clock() -> Check {
    let now = Timestamp::now();
    let built: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let found = format!("{now:.0}");
    match now < built {
        true => Check::wrong(
            "clock",
            found,
            "it is before this program was written, so that true readings look as if from the future",
            "set the clock, and keep it by NTP",
        ),
        false => Check::fine("clock", found),
    }
}

fn port(name: &'static str, flag: &'static str, address: SocketAddr, running: bool) -> Check {
    match ports::check(flag, address) {
        Ok(address) => Check::fine(name, format!("{address} is free")),
        Err(ports::PortError::Taken { .. }) if running => {
            Check::fine(name, format!("{address} is taken, and a screenline is running"))
        }
        Err(error) => Check::wrong(
            name,
            address.to_string(),
            error.to_string(),
            "stop the other program, or choose another port",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_a_hint() {
        let checks = [
            Check::fine("clock", "2026-11-21T18:00:00Z"),
            Check::wrong("disk", "1 GiB", "less than 5 GiB", "free some"),
        ];
        let text = text(&checks, 1);
        assert!(text.contains("ok    clock"), "{text}");
        assert!(
            text.contains("WRONG disk") && text.contains("free some") && text.contains("One thing"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_is_looked_at_and_not_changed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("city");
        assert!(folder(&path).0.problem.is_none());
        assert!(!path.exists());
        std::fs::create_dir(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        std::fs::write(path.join("thesis.tex"), "x").unwrap();
        assert!(folder(&path).0.problem.is_some());
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }
}

//! The private PostgreSQL cluster: made by `initdb` in the data folder, reached by a unix socket alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use processor::store::StorageChoice;
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};
use tokio_postgres::{Client, Config, NoTls};
use tracing::{info, warn};

use super::{
    binaries::Binaries,
    child::{Keeper, Spec},
    data_folder::DataFolder,
    identity::Identity,
    output::Output,
    stale,
};
use crate::ready::replace;

/// Fast, then immediate: the second loses nothing either, but the next start replays the log.
const STOP: &[(Signal, Duration)] =
    &[(Signal::SIGINT, Duration::from_secs(30)), (Signal::SIGQUIT, Duration::from_secs(10))];
/// A unix socket's path holds 107 bytes, and `/.s.PGSQL.5432.lock` is added to it.
const SOCKET_FOLDER_BYTES_MAX: usize = 86;
/// Recovery after a crash replays at most `max_wal_size`, which a slow disk may take minutes for.
const START_PATIENCE: Duration = Duration::from_secs(600);
const DATABASE: &str = "screenline";

/// The running cluster.
#[derive(Debug)]
pub struct Postgres {
    pub keeper: Keeper,
    /// For every client: the database and role are both `screenline`.
    pub url: String,
    /// Holds the socket where the data folder's path is too long for one.
    _socket_folder: Option<TempDir>,
}

/// Starts the cluster, after making it if the data folder has none, and waits until it answers.
///
/// # Errors
/// The cluster is of another PostgreSQL version, TimescaleDB was asked for and is not there, the user `postgres` is
/// absent or cannot reach the folder, or the server does not start (with its last log lines).
pub async fn start(
    folder: &mut DataFolder,
    binaries: &Binaries,
    storage: StorageChoice,
) -> anyhow::Result<Postgres> {
    let identity = Identity::of_first(&["postgres"], "PostgreSQL")?;
    identity.can_reach(&folder.path().join("log"))?; // beside the cluster, and there already
    identity.can_reach(&binaries.dir.join("postgres"))?;
    let data = folder.path().join("postgres");
    check_version(&data, binaries)?;
    end_earlier(&data).await?;
    if !data.exists() {
        initdb(&data, binaries, &identity).await?;
        folder.note(|marker| marker.postgres_major = Some(binaries.major))?;
    }

    let timescaledb = with_timescaledb(folder, binaries, storage)?;
    let (socket, socket_folder) = socket_folder(folder.path(), &identity)?;
    let config = folder.path().join("postgresql.conf");
    let text = render_config(&socket, timescaledb, memory_bytes(), binaries.lz4);
    replace(&config, text.as_bytes()).with_context(|| format!("write {}", config.display()))?;

    let keeper = Keeper::start(Spec {
        name: "postgres",
        command: Box::new({
            let (program, data, identity) = (binaries.dir.join("postgres"), data.clone(), identity.clone());
            move || {
                let mut command = clean_command(&program, &identity);
                command.arg("-D").arg(&data).arg("-c").arg(format!("config_file={}", config.display()));
                command.current_dir(&data).stdin(Stdio::null());
                Ok(command)
            }
        }),
        output: Output::log(folder.log("postgres.log")),
        stop: STOP,
        at_once: Signal::SIGQUIT,
    });
    match prepare(&keeper, &socket, folder, timescaledb).await {
        Ok(url) => Ok(Postgres { keeper, url, _socket_folder: socket_folder }),
        Err(error) => {
            let log = folder.log("postgres.log");
            let last = keeper.last_lines();
            keeper.stop().await;
            Err(error.context(format!("start PostgreSQL {} ({}){last}", binaries.version, log.display())))
        }
    }
}

/// Waits for the server, then makes the role, the database and the extension where they are missing.
async fn prepare(
    keeper: &Keeper,
    socket: &Path,
    folder: &mut DataFolder,
    timescaledb: bool,
) -> anyhow::Result<String> {
    let client = answer(keeper, socket).await?;
    let exists = |rows: Vec<tokio_postgres::Row>| !rows.is_empty();
    if !exists(client.query("SELECT 1 FROM pg_roles WHERE rolname = 'screenline'", &[]).await?) {
        client.batch_execute("CREATE ROLE screenline LOGIN").await.context("create the role")?;
    }
    if !exists(client.query("SELECT 1 FROM pg_database WHERE datname = 'screenline'", &[]).await?) {
        client
            .batch_execute("CREATE DATABASE screenline OWNER screenline")
            .await
            .context("create the database")?;
    }
    // To see which libraries the server preloads, which decides the storage level.
    client.batch_execute("GRANT pg_read_all_settings TO screenline").await.context("grant the role")?;
    if timescaledb {
        // Noted first: from then on the cluster may hold what only the library can read.
        folder.note(|marker| marker.timescaledb = true)?;
        extension(socket).await.context("create the extension timescaledb")?;
    }
    Ok(url_at(socket))
}

/// For every client, at the socket in a folder: the database and role are both `screenline`.
fn url_at(socket: &Path) -> String {
    let host: String = url::form_urlencoded::byte_serialize(socket.as_os_str().as_encoded_bytes()).collect();
    format!("postgres:///{DATABASE}?host={}&user=screenline", host.replace("%2F", "/").replace('+', "%20"))
}

/// The URL of a cluster that another process runs.
pub fn running(data: &Path) -> Option<String> {
    let about = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let socket = about.lines().nth(4).filter(|folder| !folder.is_empty())?;
    Some(url_at(Path::new(socket)))
}

/// Created by the superuser, because the role that owns the database may not.
async fn extension(socket: &Path) -> anyhow::Result<()> {
    let behind = {
        let client = connect(socket, DATABASE).await?;
        client.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await?;
        let sql = "SELECT 1 FROM pg_available_extensions \
                   WHERE name = 'timescaledb' AND installed_version <> default_version";
        !client.query(sql, &[]).await?.is_empty()
    };
    if behind {
        // Must be the first statement of its session, before the old library is loaded.
        connect(socket, DATABASE).await?.batch_execute("ALTER EXTENSION timescaledb UPDATE").await?;
        info!("updated the extension timescaledb");
    }
    Ok(())
}

async fn answer(keeper: &Keeper, socket: &Path) -> anyhow::Result<Client> {
    let started = Instant::now();
    let mut said = started;
    loop {
        let error = match connect(socket, "postgres").await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        // Twice: the shared memory of a killed server may outlive it by a moment.
        ensure!(keeper.deaths() <= 2, "the server ends while it starts");
        ensure!(started.elapsed() < START_PATIENCE, "no answer after {START_PATIENCE:?}: {error}");
        if Duration::from_secs(10) <= said.elapsed() {
            info!(elapsed = ?started.elapsed(), %error, "waiting for the database");
            said = Instant::now();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn connect(socket: &Path, database: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = Config::new()
        .host_path(socket)
        .user("postgres")
        .dbname(database)
        .application_name("screenline launcher")
        .options("-c client_min_messages=warning") // "already exists" is no news
        .connect_timeout(Duration::from_secs(5))
        .connect(NoTls)
        .await?;
    tokio::spawn(async move {
        // The next statement reports a lost connection.
        let _ = connection.await;
    });
    Ok(client)
}

/// Beside its final place and renamed, so that an interrupted `initdb` is never taken for a cluster.
async fn initdb(data: &Path, binaries: &Binaries, identity: &Identity) -> anyhow::Result<()> {
    let new = data.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("remove the unfinished {}", new.display()))?;
    }
    identity.own_folder(&new)?;
    let mut command = clean_command(&binaries.dir.join("initdb"), identity);
    command.current_dir(&new).arg("-D").arg(&new).args([
        "--username=postgres",
        "--auth=trust", // who can open the socket may come in: its folder is closed to all but its owner
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
    ]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("run initdb")?;
    ensure!(
        output.status.success(),
        "initdb failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&new, data).with_context(|| format!("rename {}", new.display()))
}

fn check_version(data: &Path, binaries: &Binaries) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(data.join("PG_VERSION")) else {
        ensure!(
            !data.exists(),
            "{} has no readable PG_VERSION, so it is no cluster that could be started: restore it from a backup, or \
             give another folder with --data",
            data.display()
        );
        return Ok(());
    };
    let of_data = text.trim();
    if of_data != binaries.major.to_string() {
        let fitting = Binaries::all().into_iter().find(|other| other.major.to_string() == of_data);
        let hint = match fitting {
            Some(fitting) => format!("start with --pg-bin {}", fitting.dir.display()),
            None => format!("install PostgreSQL {of_data} and give its folder with --pg-bin"),
        };
        bail!(
            "{} was made by PostgreSQL {of_data}, but {} has PostgreSQL {}. Nothing is upgraded by itself: {hint}; or \
             move the data to {} with pg_upgrade or pg_dump; or begin a new folder with --data",
            data.display(),
            binaries.dir.display(),
            binaries.major,
            binaries.major,
        );
    }
    Ok(())
}

/// Stops a server of this very folder that outlived its launcher, and clears a pid file that names a stranger.
///
/// # Errors
/// A process that works in the folder does not end.
pub async fn end_earlier(data: &Path) -> anyhow::Result<()> {
    let pid_file = data.join("postmaster.pid");
    if let Some(pid) = stale::pid_in(&pid_file).filter(|pid| stale::has_argument(*pid, data)) {
        stale::end("the database", pid, || stale::has_argument(pid, data), STOP).await?;
    }
    // Without its server a backend ends at its next look; before that the files are not ours.
    let deadline = Instant::now() + Duration::from_secs(15);
    while let [pid, ..] = stale::working_in(data)[..] {
        ensure!(
            Instant::now() < deadline,
            "process {pid} still works in {}: end it by hand and start again",
            data.display()
        );
        sleep(Duration::from_millis(50)).await;
    }
    // PostgreSQL refuses to start while the pid in the file is alive, whosever process that is.
    if stale::pid_in(&pid_file).is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
        warn!(file = %pid_file.display(), "removing a pid file that names another program's process");
        fs::remove_file(&pid_file).with_context(|| format!("remove {}", pid_file.display()))?;
    }
    Ok(())
}

fn with_timescaledb(
    folder: &DataFolder,
    binaries: &Binaries,
    storage: StorageChoice,
) -> anyhow::Result<bool> {
    let (needed, available) = (folder.marker().timescaledb, binaries.timescaledb.is_some());
    if needed && !available {
        bail!(
            "{} holds TimescaleDB tables, but PostgreSQL {} in {} has no TimescaleDB: install it (Debian 13: \
             postgresql-17-timescaledb), or give other binaries with --pg-bin",
            folder.path().display(),
            binaries.version,
            binaries.dir.display()
        );
    }
    if storage == StorageChoice::Timescale && !available {
        bail!(
            "--storage timescale was asked for, but PostgreSQL {} in {} has no TimescaleDB: install it (Debian 13: \
             postgresql-17-timescaledb), or use --storage auto",
            binaries.version,
            binaries.dir.display()
        );
    }
    Ok(needed || (available && storage != StorageChoice::Plain))
}

/// `run` in the data folder, or a folder with a short path where that one is too long for a socket.
fn socket_folder(data: &Path, identity: &Identity) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let usual = data.join("run");
    if usual.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX {
        identity.own_folder(&usual)?;
        return Ok((usual, None));
    }
    let folder = tempfile::Builder::new()
        .prefix("screenline-run-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .context("make a folder for the database's socket")?;
    identity.own_folder(folder.path())?;
    identity.can_reach(folder.path())?;
    Ok((folder.path().to_owned(), Some(folder)))
}

fn clean_command(program: &Path, identity: &Identity) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name); // PGDATA, PGPORT and others are meant for the city's own cluster
    }
    command.env("LC_ALL", "C.UTF-8");
    identity.apply(&mut command);
    command
}

fn render_config(socket: &Path, timescaledb: bool, memory_bytes: u64, lz4: bool) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    // An eighth of the machine: ingest's working set is the last hours, and the page cache holds the rest.
    let shared_buffers_mib = ((memory_bytes / 8) >> 20).clamp(128, 2048);
    let mut lines = vec![
        "# Written by screenline at each start: use ALTER SYSTEM for settings of your own, it wins."
            .to_owned(),
        "listen_addresses = ''".into(),
        format!("unix_socket_directories = {}", quoted(&socket.to_string_lossy())),
        "unix_socket_permissions = 0700".into(),
        "cluster_name = 'screenline'".into(),
        "max_connections = 60".into(),
        "max_locks_per_transaction = 1024".into(),
        format!("shared_buffers = {shared_buffers_mib}MB"),
        "max_wal_size = 4GB".into(),
        format!("wal_compression = {}", if lz4 { "lz4" } else { "on" }),
        "jit = off".into(),
        "timezone = 'UTC'".into(),
        "log_timezone = 'UTC'".into(),
        "log_line_prefix = '%m [%p] %a '".into(),
    ];
    if timescaledb {
        lines.push("shared_preload_libraries = 'timescaledb'".into());
        lines.push("timescaledb.telemetry_level = off".into());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The machine's memory; a modest guess where the kernel does not say.
fn memory_bytes() -> u64 {
    let total = || -> Option<u64> {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    total().unwrap_or(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries {
            dir: "/nowhere/bin".into(),
            version: format!("{major}.1"),
            major,
            timescaledb: None,
            lz4: true,
        }
    }

    #[test]
    fn the_private_cluster_opens_no_port_and_scales_to_the_machine() {
        let config = render_config(Path::new("/data/o'clock/run"), false, 2 << 30, false);
        assert!(config.contains("listen_addresses = ''\n"));
        assert!(config.contains("unix_socket_directories = '/data/o''clock/run'\n"));
        assert!(config.contains("shared_buffers = 256MB\n") && config.contains("wal_compression = on\n"));
        assert!(!config.contains("timescaledb"));
        let large = render_config(Path::new("/run"), true, 256 << 30, true);
        assert!(large.contains("shared_buffers = 2048MB\n") && large.contains("wal_compression = lz4\n"));
        assert!(large.contains("shared_preload_libraries = 'timescaledb'\n"));
    }

    #[test]
    fn a_running_cluster_is_found_by_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(running(folder.path()), None);
        let file = folder.path().join("postmaster.pid");
        fs::write(&file, "17\n/data/postgres\n1700000000\n5432\n/data/my run\n\n  1 2\nready   \n").unwrap();
        assert_eq!(
            running(folder.path()).unwrap(),
            "postgres:///screenline?host=/data/my%20run&user=screenline"
        );
        fs::write(&file, "17\n/data/postgres\n").unwrap();
        assert_eq!(running(folder.path()), None, "a server that is starting has no socket yet");
    }

    #[test]
    fn a_cluster_of_another_version_is_refused_with_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("postgres");
        check_version(&data, &binaries(17)).unwrap();
        fs::create_dir(&data).unwrap();
        assert!(check_version(&data, &binaries(17)).is_err(), "a folder that is no cluster");
        fs::write(data.join("PG_VERSION"), "13\n").unwrap();
        let error = check_version(&data, &binaries(17)).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13") && error.contains("PostgreSQL 17"), "{error}");
        assert!(error.contains("--pg-bin"), "{error}");
        check_version(&data, &binaries(13)).unwrap();
    }
}

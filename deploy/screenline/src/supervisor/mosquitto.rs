//! The private broker: mosquitto as a child, on loopback, keeping what ingest has not yet taken.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tokio::{
    net::TcpStream,
    process::Command,
    time::{Instant, sleep},
};

use super::{
    binaries,
    child::{Keeper, Spec},
    data_folder::DataFolder,
    identity::Identity,
    output::Output,
    stale,
};
use crate::{ports, ready::replace};

/// On SIGTERM it saves its store; two gigabytes of queue take a while.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(60))];
/// The configuration that is shipped for a broker of one's own. The private one differs only where it must, so that what
/// is said, tested and measured of one is true of the other.
const SHIPPED: &str = include_str!("../../../broker/mosquitto.conf");

const CONFIG: &str = "mosquitto.conf";
const PID: &str = "mosquitto.pid";

/// The running broker.
#[derive(Debug)]
pub struct Mosquitto {
    pub keeper: Keeper,
    /// The same over restarts.
    pub address: SocketAddr,
}

/// Checks the address, before anything is started.
///
/// # Errors
/// It is not on loopback, or taken.
pub fn check(listen: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        listen.ip().is_loopback(),
        "the private broker asks nobody for a password, so it listens on loopback only: not on {listen}, given with \
         --mqtt-listen. Use a broker of your own with --broker-url for sensors outside this machine"
    );
    ports::check("--mqtt-listen", listen)?;
    Ok(())
}

/// Starts the broker and waits until it listens. Port 0 becomes a free one.
///
/// # Errors
/// Mosquitto is not installed, the address is not on loopback or is taken, or it does not start (with its last lines).
pub async fn start(folder: &DataFolder, listen: SocketAddr) -> anyhow::Result<Mosquitto> {
    check(listen)?;
    let program = binaries::mosquitto()?;
    let identity = Identity::of_first(&["mosquitto", "nobody"], "mosquitto")?;
    let store = folder.path().join("broker");
    identity.own_folder(&store)?;
    identity.can_reach(&store)?;
    // Written by us into a folder of ours, read by the broker: it must not be able to change what root starts.
    let (config, pid_file) = (folder.path().join(CONFIG), folder.path().join(PID));
    end_earlier(folder.path()).await?;
    let address = ports::resolve("--mqtt-listen", listen)?;
    replace(&config, render_config(address, &store).as_bytes())
        .with_context(|| format!("write {}", config.display()))?;

    let keeper = Keeper::start(Spec {
        name: "mosquitto",
        command: Box::new({
            let store = store.clone();
            move || {
                let mut command = Command::new(&program);
                command.arg("-c").arg(&config).current_dir(&store).stdin(Stdio::null());
                identity.apply(&mut command);
                Ok(command)
            }
        }),
        output: Output::log(folder.log("mosquitto.log")),
        stop: STOP,
        at_once: Signal::SIGTERM,
    });
    // Remembered for the launcher after us, should we be killed.
    let mut pid = keeper.pid_changes();
    tokio::spawn(async move {
        while pid.changed().await.is_ok() {
            let id = *pid.borrow_and_update();
            let written = match id {
                Some(id) => replace(&pid_file, format!("{id}\n").as_bytes()),
                None => std::fs::remove_file(&pid_file),
            };
            if let Err(error) = written {
                tracing::warn!(%error, file = %pid_file.display(), "cannot note the broker's process id");
            }
        }
    });
    match listening(&keeper, address).await {
        Ok(()) => Ok(Mosquitto { keeper, address }),
        Err(error) => {
            let last = keeper.last_lines();
            keeper.stop().await;
            Err(error.context(format!("start the broker ({}){last}", folder.log("mosquitto.log").display())))
        }
    }
}

/// Stops a broker of this very folder that outlived its launcher.
///
/// # Errors
/// It does not end.
pub async fn end_earlier(folder: &Path) -> anyhow::Result<()> {
    let config = folder.join(CONFIG);
    match stale::pid_in(&folder.join(PID)).filter(|pid| stale::has_argument(*pid, &config)) {
        Some(pid) => stale::end("the broker", pid, || stale::has_argument(pid, &config), STOP).await,
        None => Ok(()),
    }
}

async fn listening(keeper: &Keeper, address: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        ensure!(keeper.deaths() == 0, "the broker ends while it starts");
        // It reads its store first: seconds for gigabytes.
        ensure!(started.elapsed() < Duration::from_secs(120), "the broker does not listen on {address}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What both brokers are given for a setting; empty for one that is not in the file.
pub fn setting(name: &str) -> &'static str {
    settings().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
}

fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHIPPED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// The shipped configuration with the private broker's place in it.
fn render_config(listen: SocketAddr, store: &Path) -> String {
    let mut config = String::from("# Written by screenline at each start: changes are lost.\n");
    for line in SHIPPED.lines() {
        match line.split_once(' ').map(|(name, _)| name) {
            Some("listener") => config.push_str(&format!("listener {} {}", listen.port(), listen.ip())),
            Some("persistence_location") => {
                config.push_str(&format!("persistence_location {}/", store.display()));
            }
            _ => config.push_str(line),
        }
        config.push('\n');
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_broker_is_the_shipped_one_in_another_place() {
        let config = render_config("127.0.0.1:4711".parse().unwrap(), Path::new("/data/broker"));
        let differs: Vec<&str> =
            config.lines().skip(1).zip(SHIPPED.lines()).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        assert_eq!(differs, ["listener 4711 127.0.0.1", "persistence_location /data/broker/"]);
        assert_eq!(config.lines().count(), SHIPPED.lines().count() + 1);
    }

    #[test]
    fn the_shipped_broker_keeps_unlimited_messages_within_a_byte_cap() {
        for (name, value) in [
            ("persistence", "true"),
            ("max_queued_messages", "0"),
            ("max_queued_bytes", "2147483648"),
            ("max_packet_size", "4325376"),
            ("set_tcp_nodelay", "true"),
            ("persistent_client_expiration", ""), // a session waits as long as its client asked
        ] {
            assert_eq!(setting(name), value, "{name}");
        }
        let mut names: Vec<&str> =
            settings().map(|(name, _)| name).filter(|name| *name != "log_type").collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "a setting stands once");
    }
}

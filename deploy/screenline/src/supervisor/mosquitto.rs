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
/// What waits for an absent ingest, in payload bytes: about six minutes of a full line (6 MB/s), or 10 million small messages.
/// Mosquitto holds it in memory (about 550 MB a million messages of 200 B) and above the cap drops what comes, though it
/// acknowledges it: the cap protects the machine, and `doctor` prints it.
pub const QUEUED_BYTES_MAX: u64 = 2 << 30;
/// Sent and not yet acknowledged. Ingest acknowledges after commit, so a window is a batch or two.
pub const INFLIGHT_MESSAGES_MAX: u32 = 10_000;
/// A payload of 4 MiB with its topic (at most 64 KiB) and properties.
pub const PACKET_BYTES_MAX: u32 = (4 << 20) + (128 << 10);

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

/// Mosquitto's configuration. Its comments stand on their own lines, as it requires.
fn render_config(listen: SocketAddr, store: &Path) -> String {
    format!(
        "# Written by screenline at each start: changes are lost.\n\
         listener {port} {host}\n\
         # Loopback only, so whoever can connect is on this machine already.\n\
         allow_anonymous true\n\
         # Saved every second, and on SIGTERM: a killed broker loses what was acknowledged since the last save.\n\
         persistence true\n\
         persistence_location {store}/\n\
         autosave_on_changes false\n\
         autosave_interval 1\n\
         # As many messages as there are while ingest is away, within a cap of payload bytes.\n\
         max_queued_messages 0\n\
         max_queued_bytes {QUEUED_BYTES_MAX}\n\
         max_inflight_messages {INFLIGHT_MESSAGES_MAX}\n\
         max_packet_size {PACKET_BYTES_MAX}\n\
         set_tcp_nodelay true\n\
         log_dest stderr\n\
         log_timestamp_format %Y-%m-%dT%H:%M:%S\n\
         log_type error\n\
         log_type warning\n\
         log_type notice\n",
        port = listen.port(),
        host = listen.ip(),
        store = store.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_broker_keeps_unlimited_messages_within_a_byte_cap() {
        let config = render_config("127.0.0.1:1883".parse().unwrap(), Path::new("/data/broker"));
        for line in [
            "listener 1883 127.0.0.1",
            "persistence true",
            "persistence_location /data/broker/",
            "max_queued_messages 0",
            "max_queued_bytes 2147483648",
            "max_packet_size 4325376",
            "set_tcp_nodelay true",
        ] {
            assert!(config.lines().any(|other| other == line), "{line} in {config}");
        }
        assert!(
            !config.contains("persistent_client_expiration"),
            "a session waits as long as its client asked"
        );
    }
}

//! The private broker: mosquitto as a child, keeping what ingest has not yet taken.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use ingest::address::Access;
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
    logins::Logins,
    output::Output,
    stale,
};
use crate::{ports, ready::replace};

/// On SIGTERM it saves its store; two gigabytes of queue take a while.
const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, Duration::from_secs(60))];
/// The configuration that is shipped for a broker of one's own. The private one differs only where it must, so that what
/// is said, tested and measured of one is true of the other.
const SHIPPED: &str = include_str!("../../../broker/mosquitto.conf");

pub const CONFIG: &str = "mosquitto.conf";
pub const PID: &str = "mosquitto.pid";

/// The running broker.
#[derive(Debug)]
pub struct Mosquitto {
    pub keeper: Keeper,
    /// The same over restarts.
    pub address: SocketAddr,
    encrypted: bool,
    /// Where we enter ourselves, if the broker asks for logins.
    door: Option<Door>,
}

/// A listener on loopback for ourselves: not encrypted, and not for certificates.
#[derive(Debug)]
struct Door {
    inside: SocketAddr,
    access: Access,
}

/// Where the private broker listens, and whom it lets in.
#[derive(Debug, Clone, clap::Args)]
pub struct BrokerArgs {
    /// Address for the private broker; port 0 picks a free one. Off loopback it needs logins (`screenline gateway add`)
    /// or certificates
    #[arg(long, env = "SCREENLINE_MQTT_LISTEN", default_value = "127.0.0.1:1883", value_name = "ADDRESS")]
    pub mqtt_listen: SocketAddr,
    /// Certificate (PEM, with its chain) of the private broker: it then speaks TLS only
    #[arg(long, env = "SCREENLINE_MQTT_CERT", value_name = "FILE", requires = "mqtt_key")]
    pub mqtt_cert: Option<PathBuf>,
    /// The key (PEM) of --mqtt-cert, which the broker's user must be able to read
    #[arg(long, env = "SCREENLINE_MQTT_KEY", value_name = "FILE", requires = "mqtt_cert")]
    pub mqtt_key: Option<PathBuf>,
    /// Authorities (PEM) whose certificates let a gateway in, by the name in it and without a password
    #[arg(long, env = "SCREENLINE_MQTT_CLIENT_CA", value_name = "FILE", requires = "mqtt_cert")]
    pub mqtt_client_ca: Option<PathBuf>,
}

impl Mosquitto {
    /// For sensors and gateways.
    pub fn url(&self) -> String {
        format!("mqtt{}://{}", if self.encrypted { "s" } else { "" }, self.address)
    }

    pub fn asks_for_logins(&self) -> bool {
        self.door.is_some()
    }

    /// Where we enter ourselves, and what it takes.
    pub fn entrance(&self) -> (String, Access) {
        match &self.door {
            Some(door) => (format!("mqtt://{}", door.inside), door.access.clone()),
            None => (format!("mqtt://{}", self.address), Access::default()),
        }
    }
}

/// The user that the broker runs as.
///
/// # Errors
/// We are root and there is none.
pub fn identity() -> anyhow::Result<Identity> {
    Identity::of_first(&["mosquitto", "nobody"], "mosquitto")
}

/// Checks the address, before anything is started.
///
/// # Errors
/// Others may reach it and nobody asks them who they are, or it is taken.
pub fn check(args: &BrokerArgs, data: &Path) -> anyhow::Result<()> {
    let listen = args.mqtt_listen;
    let guarded = args.mqtt_client_ca.is_some() || !Logins::of(data).gateways()?.is_empty();
    ensure!(
        listen.ip().is_loopback() || guarded,
        "--mqtt-listen {listen} lets other machines in, and the private broker has no logins for them: make one with \
         `screenline gateway add NAME --data {}`, or ask for certificates with --mqtt-cert, --mqtt-key and \
         --mqtt-client-ca, or use a broker of your own with --broker-url",
        data.display()
    );
    ports::check("--mqtt-listen", listen)?;
    Ok(())
}

/// Starts the broker and waits until it listens. Port 0 becomes a free one.
///
/// # Errors
/// Mosquitto is not installed, the address is taken or open to strangers, or it does not start (with its last lines).
pub async fn start(folder: &DataFolder, args: &BrokerArgs) -> anyhow::Result<Mosquitto> {
    check(args, folder.path())?;
    let program = binaries::mosquitto()?;
    let identity = identity()?;
    let store = folder.path().join("broker");
    identity.own_folder(&store)?;
    identity.can_reach(&store)?;
    // Written by us into a folder of ours, read by the broker: it must not be able to change what root starts.
    let (config, pid_file) = (folder.path().join(CONFIG), folder.path().join(PID));
    end_earlier(folder.path()).await?;
    let address = ports::resolve("--mqtt-listen", args.mqtt_listen)?;
    let logins = Logins::of(folder.path());
    // Logins are asked for where strangers could come, and where somebody has made one.
    let asks = !address.ip().is_loopback() || args.mqtt_cert.is_some() || !logins.gateways()?.is_empty();
    let door = match asks {
        true => {
            if args.mqtt_cert.is_none() && !address.ip().is_loopback() {
                tracing::warn!(%address, "passwords travel unencrypted: give --mqtt-cert and --mqtt-key");
            }
            let inside = ports::resolve("--mqtt-listen", SocketAddr::from(([127, 0, 0, 1], 0)))?;
            Some(Door { inside, access: logins.prepare()? })
        }
        false => None,
    };
    let text = render_config(address, &store, door.as_ref().map(|door| (door.inside, &logins)), args);
    replace(&config, text.as_bytes()).with_context(|| format!("write {}", config.display()))?;

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
        Ok(()) => Ok(Mosquitto { keeper, address, encrypted: args.mqtt_cert.is_some(), door }),
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

/// The shipped configuration with the private broker's place in it, and with logins where it asks for them.
fn render_config(
    listen: SocketAddr,
    store: &Path,
    asks: Option<(SocketAddr, &Logins)>,
    args: &BrokerArgs,
) -> String {
    let mut config = String::from("# Written by screenline at each start: changes are lost.\n");
    for line in SHIPPED.lines() {
        match (line.split_once(' ').map(|(name, _)| name), asks) {
            (Some("listener"), _) => {
                config.push_str(&format!("listener {} {}", listen.port(), listen.ip()));
                let file = |name: &str, file: &Option<PathBuf>| {
                    file.as_ref().map_or_else(String::new, |file| format!("\n{name} {}", file.display()))
                };
                config.push_str(&file("certfile", &args.mqtt_cert));
                config.push_str(&file("keyfile", &args.mqtt_key));
                if args.mqtt_client_ca.is_some() {
                    config.push_str(&file("cafile", &args.mqtt_client_ca));
                    config.push_str("\nrequire_certificate true\nuse_identity_as_username true");
                }
                if let Some((inside, _)) = asks {
                    config.push_str(&format!("\nlistener {} {}", inside.port(), inside.ip()));
                }
            }
            (Some("allow_anonymous"), Some((_, logins))) => config.push_str(&format!(
                "allow_anonymous false\npassword_file {}\nacl_file {}",
                logins.passwords().display(),
                logins.rules().display()
            )),
            (Some("persistence_location"), _) => {
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

    fn open() -> BrokerArgs {
        BrokerArgs {
            mqtt_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            mqtt_cert: None,
            mqtt_key: None,
            mqtt_client_ca: None,
        }
    }

    #[test]
    fn a_broker_that_asks_for_logins_has_a_door_for_us() {
        let args = BrokerArgs {
            mqtt_cert: Some("/tls/server.crt".into()),
            mqtt_key: Some("/tls/server.key".into()),
            mqtt_client_ca: Some("/tls/ca.crt".into()),
            ..open()
        };
        let logins = Logins::of(Path::new("/data"));
        let asks = Some(("127.0.0.1:5000".parse().unwrap(), &logins));
        let config = render_config("0.0.0.0:8883".parse().unwrap(), Path::new("/data/broker"), asks, &args);
        let wanted = "listener 8883 0.0.0.0\ncertfile /tls/server.crt\nkeyfile /tls/server.key\ncafile /tls/ca.crt\n\
                      require_certificate true\nuse_identity_as_username true\nlistener 5000 127.0.0.1\n\
                      allow_anonymous false\npassword_file /data/broker.passwords\nacl_file /data/broker.acl\n";
        assert!(config.contains(wanted), "{config}");
    }

    #[test]
    fn a_broker_that_asks_nobody_is_not_for_other_machines() {
        let folder = tempfile::tempdir().unwrap();
        let args = BrokerArgs { mqtt_listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..open() };
        let said = check(&args, folder.path()).unwrap_err().to_string();
        assert!(said.contains("screenline gateway add") && said.contains("--mqtt-client-ca"), "{said}");
        Logins::of(folder.path()).add("gate-1").unwrap();
        check(&args, folder.path()).unwrap();
    }

    #[test]
    fn the_private_broker_is_the_shipped_one_in_another_place() {
        let config =
            render_config("127.0.0.1:4711".parse().unwrap(), Path::new("/data/broker"), None, &open());
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

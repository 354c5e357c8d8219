//! A private RabbitMQ: the durable broker of `deploy/broker/rabbitmq`, on free ports of loopback, that can be killed.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Its start is eight seconds of Erlang on an idle machine.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

const CONFIG: &str = include_str!("../../deploy/broker/rabbitmq/rabbitmq.conf");
const DEFINITIONS: &str = include_str!("../../deploy/broker/rabbitmq/definitions.json");
const PLUGINS: &str = include_str!("../../deploy/broker/rabbitmq/enabled_plugins");

const USER: &str = "screenline";
/// Of the password `screenline`, with four zero bytes of salt: base64(salt, SHA-256(salt, password)).
const PASSWORD_HASH: &str = "AAAAAPfNjxNsaizea3iUD5XiMw0XYS+uRpBkOAVuNzcHL014";

/// What a session's queue is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// As shipped.
    Quorum,
    Classic,
}

/// A running node, ended when dropped. The folder is the caller's, so that its data outlive a kill.
#[derive(Debug)]
pub struct RabbitMq {
    folder: PathBuf,
    port: u16,
    /// Erlang's port mapper: our own, or the node would start one that outlives it.
    epmd: Child,
    epmd_port: u16,
    server: Child,
}

impl RabbitMq {
    /// Whether the package is installed; `deploy/setup --for test` does it.
    pub fn is_installed() -> bool {
        Path::new(SERVER).exists()
    }

    /// Starts a node in a folder and waits until it takes clients.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen; its last lines are shown.
    pub fn start(folder: &Path, queue: Queue) -> anyhow::Result<RabbitMq> {
        let [port, epmd_port] = free_ports()?;
        fs::create_dir_all(folder).context("make the node's folder")?;
        let folder = folder.canonicalize()?;
        fs::write(folder.join("rabbitmq.conf"), config(&folder, port, queue))?;
        fs::write(folder.join("definitions.json"), definitions()?)?;
        fs::write(folder.join("enabled_plugins"), PLUGINS)?;
        let epmd = Command::new("epmd")
            .args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start epmd")?;
        let mut server = match spawn(&folder, epmd_port) {
            Ok(server) => server,
            Err(error) => {
                end(epmd);
                return Err(error);
            }
        };
        if let Err(error) = listening(&mut server, port, &folder) {
            end(server);
            end(epmd);
            return Err(error);
        }
        Ok(RabbitMq { folder, port, epmd, epmd_port, server })
    }

    /// User and password.
    pub const LOGIN: (&'static str, &'static str) = (USER, USER);

    pub fn port(&self) -> u16 {
        self.port
    }

    /// With the login.
    pub fn url(&self) -> String {
        format!("mqtt://{USER}:{USER}@127.0.0.1:{}", self.port)
    }

    /// Ends the node at once, as a crash does.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.server.kill().context("kill RabbitMQ")?;
        self.server.wait().context("wait for RabbitMQ")?;
        Ok(())
    }

    /// Ends the node in order.
    ///
    /// # Errors
    /// When it cannot be signalled, or does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.id().cast_signed()), Signal::SIGTERM).context("stop RabbitMQ")?;
        self.server.wait().context("wait for RabbitMQ")?;
        Ok(())
    }

    /// The node's process id.
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Starts the node again on its data and its port, after [`RabbitMq::kill`] or [`RabbitMq::stop`].
    ///
    /// # Errors
    /// As [`RabbitMq::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.server = spawn(&self.folder, self.epmd_port)?;
        listening(&mut self.server, self.port, &self.folder)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.epmd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // Held together, so that no two are the same.
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// The shipped configuration with the lines that name places, and its session limit by the name that this version has.
fn config(folder: &Path, port: u16, queue: Queue) -> String {
    let mut config = String::new();
    for line in CONFIG.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        config.push_str(&match key {
            "mqtt.listeners.tcp.default" => format!("{key} = 127.0.0.1:{port}"),
            "load_definitions" => format!("{key} = {}", folder.join("definitions.json").display()),
            "mqtt.durable_queue_type" if queue == Queue::Classic => format!("{key} = classic"),
            "mqtt.subscription_ttl" if knows_mqtt_5() => {
                "mqtt.max_session_expiry_interval_seconds = 604800".to_owned()
            }
            // A full disk of the machine that runs the tests is not what they look for.
            "disk_free_limit.absolute" => format!("{key} = 50MB"),
            _ => line.to_owned(),
        });
        config.push('\n');
    }
    config
}

/// RabbitMQ 3.13 and later.
pub fn knows_mqtt_5() -> bool {
    let Ok(entries) = fs::read_dir("/usr/lib/rabbitmq/lib") else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut numbers = name.trim_start_matches("rabbitmq_server-").split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (3, 13) <= (major, minor),
            _ => false,
        }
    })
}

/// The shipped definitions with a user.
fn definitions() -> anyhow::Result<String> {
    let mut definitions: Value = serde_json::from_str(DEFINITIONS).context("read the shipped definitions")?;
    definitions["users"] = json!([{
        "name": USER,
        "password_hash": PASSWORD_HASH,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "",
    }]);
    definitions["permissions"] =
        json!([{ "user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }]);
    Ok(definitions.to_string())
}

fn spawn(folder: &Path, epmd_port: u16) -> anyhow::Result<Child> {
    let [dist_port] = free_ports()?;
    let mut command = Command::new(SERVER);
    command
        .env("HOME", folder) // the Erlang cookie
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", "screenline@localhost")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_DIST_PORT", dist_port.to_string())
        // The script then becomes the node, whose process id we have.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput -kernel inet_dist_use_interface {127,0,0,1}")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("out"))?)
        .stderr(File::create(folder.join("err"))?);
    command.spawn().context("start RabbitMQ")
}

fn listening(server: &mut Child, port: u16, folder: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.try_wait()?;
        if ended.is_some() || deadline < Instant::now() {
            let said = fs::read_to_string(folder.join("out")).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            ensure!(ended.is_none(), "RabbitMQ ended while it started ({ended:?}):\n{last}");
            ensure!(Instant::now() < deadline, "RabbitMQ does not listen after {READY_TIMEOUT:?}:\n{last}");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_node_changes_only_where_it_is() {
        let config = config(Path::new("/tmp/node"), 1234, Queue::Quorum);
        let changed: Vec<&str> =
            CONFIG.lines().zip(config.lines()).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
        let expected = [
            "mqtt.listeners.tcp.default = 127.0.0.1:1234",
            "disk_free_limit.absolute = 50MB",
            "load_definitions = /tmp/node/definitions.json",
        ];
        assert_eq!(changed.iter().filter(|line| !line.contains("session_expiry")).count(), expected.len());
        assert!(expected.iter().all(|line| changed.contains(line)), "{changed:?}");
        assert!(config.lines().any(|line| line == "mqtt.durable_queue_type = quorum"));
    }

    #[test]
    fn the_shipped_definitions_let_nobody_in() {
        let shipped: Value = serde_json::from_str(DEFINITIONS).unwrap();
        assert_eq!(shipped["users"], json!([]));
        assert_eq!(shipped["permissions"], json!([]));
    }
}

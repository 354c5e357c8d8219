//! A mosquitto of a test's own, configured well or badly, that can be killed.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const SHIPPED: &str = include_str!("../../deploy/broker/mosquitto.conf");

/// A running broker, ended when dropped. The folder is the caller's.
#[derive(Debug)]
pub struct Mosquitto {
    folder: PathBuf,
    port: u16,
    server: Child,
}

impl Mosquitto {
    /// Starts a broker as shipped, but for settings: one that is given replaces the shipped one.
    ///
    /// # Errors
    /// When it does not listen; what it said is shown.
    pub fn start(folder: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Mosquitto> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::create_dir_all(folder).context("make the broker's folder")?;
        let folder = folder.canonicalize()?;
        fs::write(folder.join("mosquitto.conf"), config(&folder, port, settings))?;
        let server = spawn(&folder, port)?;
        Ok(Mosquitto { folder, port, server })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Ends the broker at once, as a crash does.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.server.kill().context("kill mosquitto")?;
        self.server.wait().context("wait for mosquitto")?;
        Ok(())
    }

    /// Ends the broker in order: it saves what it holds.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGTERM).context("stop mosquitto")?;
        self.server.wait().context("wait for mosquitto")?;
        Ok(())
    }

    /// Removes what the broker saved, as the loss of its disk does. After [`Mosquitto::kill`].
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn wipe(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.folder.join("mosquitto.db")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("wipe mosquitto's store")
            }
            _ => Ok(()),
        }
    }

    /// Kills the broker, wipes what it saved, and starts it again: a broker that lost its disk.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn lose_disk(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.wipe()?;
        self.restart()
    }

    /// Starts the broker again on its port and what it saved.
    ///
    /// # Errors
    /// As [`Mosquitto::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.server = spawn(&self.folder, self.port)?;
        Ok(())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn config(folder: &Path, port: u16, settings: &[(&str, &str)]) -> String {
    let mut config = String::from("user root\n"); // without effect for another user
    for line in SHIPPED.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        match name {
            "listener" => drop(writeln!(config, "listener {port} 127.0.0.1")),
            "persistence_location" => drop(writeln!(config, "{name} {}/", folder.display())),
            _ if line.starts_with('#') || settings.iter().any(|(other, _)| *other == name) => {}
            _ => drop(writeln!(config, "{line}")),
        }
    }
    for (name, value) in settings {
        let _ = writeln!(config, "{name} {value}"); // a String takes all
    }
    config
}

fn spawn(folder: &Path, port: u16) -> anyhow::Result<Child> {
    let log = folder.join("mosquitto.log");
    let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
    let program = places.into_iter().find(|path| Path::new(path).exists());
    let program = program.context("mosquitto is not installed: run deploy/setup")?;
    let mut server = Command::new(program)
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .context("start mosquitto")?;
    let deadline = Instant::now() + READY_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let said = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(server.try_wait()?.is_none(), "mosquitto ends while it starts:\n{}", said());
        if deadline < Instant::now() {
            let _ = server.kill();
            let _ = server.wait();
            anyhow::bail!("mosquitto does not listen:\n{}", said());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(server)
}

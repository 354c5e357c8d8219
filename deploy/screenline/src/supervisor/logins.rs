//! Who may enter the private broker: passwords as mosquitto hashes them, and what each may do.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use ingest::address::Access;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use super::{mosquitto, stale};
use crate::ready::replace;

const INGEST: &str = "screenline-ingest";
/// What each login may do: the rules that are shipped for a broker of one's own.
const RULES: &str = include_str!("../../../broker/mosquitto.acl");
/// 120 bits.
const PASSWORD_LETTERS: usize = 20;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The logins of a data folder.
#[derive(Debug, Clone)]
pub struct Logins {
    folder: PathBuf,
}

impl Logins {
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Names and hashes, a line each, as mosquitto reads them.
    pub fn passwords(&self) -> PathBuf {
        self.folder.join("broker.passwords")
    }

    pub fn rules(&self) -> PathBuf {
        self.folder.join("broker.acl")
    }

    /// The gateways that have one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn gateways(&self) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> = self.lines()?.iter().map(|line| name_in(line).to_owned()).collect();
        names.retain(|name| name != INGEST);
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a login for a gateway and returns its password, which is written down nowhere.
    ///
    /// # Errors
    /// The name has one already or may not have one, or a file cannot be written.
    pub fn add(&self, name: &str) -> anyhow::Result<String> {
        ensure!(
            simulators::gateway::is_name(name) && name != INGEST,
            "{name:?} is no name for a gateway: 1 to 64 letters, digits, dots, dashes and underscores"
        );
        let known = self.lines()?.iter().any(|line| name_in(line) == name);
        ensure!(!known, "{name} has a login: remove it first to get a new password");
        self.set(name)
    }

    /// Says whether there was one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn remove(&self, name: &str) -> anyhow::Result<bool> {
        let mut lines = self.lines()?;
        let before = lines.len();
        lines.retain(|line| name_in(line) != name);
        self.write(&lines)?;
        Ok(lines.len() < before)
    }

    /// Writes what a broker with logins reads, and makes a new password for ingest.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn prepare(&self) -> anyhow::Result<Access> {
        let password = self.set(INGEST)?;
        let file = self.folder.join("broker.ingest");
        closed(&file, &password).with_context(|| format!("write {}", file.display()))?;
        self.give(&self.rules(), RULES)?;
        Ok(Access {
            broker_user: Some(INGEST.to_owned()),
            broker_password_file: Some(file),
            ..Access::default()
        })
    }

    /// Lets a running broker of this folder read its logins again. Says whether one runs that asks for them.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn announce(&self) -> anyhow::Result<bool> {
        let config = self.folder.join(mosquitto::CONFIG);
        let asks = fs::read_to_string(&config).is_ok_and(|text| text.contains("\npassword_file "));
        let running =
            stale::pid_in(&self.folder.join(mosquitto::PID)).filter(|pid| stale::has_argument(*pid, &config));
        match running.filter(|_| asks) {
            Some(pid) => {
                signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP)
                    .context("tell the broker of the change")?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Gives a name a new password.
    fn set(&self, name: &str) -> anyhow::Result<String> {
        let password = password()?;
        let line = self.hashed(name, &password)?;
        let mut lines = self.lines()?;
        lines.retain(|line| name_in(line) != name);
        lines.push(line);
        self.write(&lines)?;
        Ok(password)
    }

    /// `name:hash`. The password goes by a file: others can read a command line.
    fn hashed(&self, name: &str, password: &str) -> anyhow::Result<String> {
        let file = self.folder.join(format!("broker.new.{}", std::process::id()));
        let hash = || -> anyhow::Result<String> {
            closed(&file, &format!("{name}:{password}\n"))?;
            let output = Command::new("mosquitto_passwd").arg("-U").arg(&file).output();
            let output = output.context("run mosquitto_passwd, which comes with the package mosquitto")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
            let line = fs::read_to_string(&file)?.trim().to_owned();
            ensure!(line.starts_with(&format!("{name}:$")), "mosquitto_passwd did not hash a password");
            Ok(line)
        };
        let line = hash().context("hash a password");
        // It holds the password until it is hashed.
        let _ = fs::remove_file(&file);
        line
    }

    fn lines(&self) -> anyhow::Result<Vec<String>> {
        let path = self.passwords();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn write(&self, lines: &[String]) -> anyhow::Result<()> {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        self.give(&self.passwords(), &text)
    }

    /// Writes a file that the broker's user reads and no other.
    fn give(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            replace(path, text.as_bytes())?;
            mosquitto::identity()?.own_file(path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

/// Makes a file that only we may read.
fn closed(path: &Path, text: &str) -> io::Result<()> {
    let _ = fs::remove_file(path); // one that is there keeps its mode
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn name_in(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

fn password() -> anyhow::Result<String> {
    use std::io::Read;
    let mut random = [0; PASSWORD_LETTERS];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.context("read /dev/urandom")?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_once_and_kept_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let logins = Logins::of(folder.path());
        assert!(logins.gateways().unwrap().is_empty());
        let password = logins.add("gate-1").unwrap();
        assert_eq!(password.len(), PASSWORD_LETTERS);
        logins.prepare().unwrap();
        assert_eq!(logins.gateways().unwrap(), ["gate-1"]);
        assert!(logins.add("gate-1").unwrap_err().to_string().contains("has a login"));
        assert!(logins.add("gate/1").is_err() && logins.add(INGEST).is_err());
        let kept = fs::read_to_string(logins.passwords()).unwrap();
        assert!(kept.contains("gate-1:$") && kept.contains("screenline-ingest:$"), "{kept}");
        for entry in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(&password), "{text}");
        }
        assert!(logins.remove("gate-1").unwrap() && !logins.remove("gate-1").unwrap());
        assert!(!logins.announce().unwrap(), "no broker runs here");
    }
}

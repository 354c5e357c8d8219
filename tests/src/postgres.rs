//! A PostgreSQL of a test's own that takes only encrypted connections with a client's certificate and a password.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::unistd::{User, geteuid};

use crate::certificates::{Authority, Signed};

const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server, ended when dropped. The folder is the caller's, and others may enter it.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    server: Child,
}

impl Postgres {
    /// Starts a server with a certificate, for clients whose certificates `authority` signed.
    ///
    /// # Errors
    /// When it is not installed, or does not listen; what it said is shown.
    pub fn start(
        folder: &Path,
        server: &Signed,
        authority: &Authority,
        password: &str,
    ) -> anyhow::Result<Postgres> {
        let bin = bin()?;
        let user = if geteuid().is_root() { User::from_name("postgres")? } else { None };
        let data = folder.join("data");
        fs::create_dir_all(folder)?;
        let own = |path: &Path, mode: u32| -> anyhow::Result<()> {
            if let Some(user) = &user {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
            Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
        };
        own(folder, 0o755)?;
        let password_file = folder.join("password");
        fs::write(&password_file, password)?;
        own(&password_file, 0o600)?;
        let (key, certificate) = (folder.join("server.key"), folder.join("server.crt"));
        fs::copy(&server.key, &key)?;
        fs::copy(&server.certificate, &certificate)?;
        own(&key, 0o600)?;
        own(&certificate, 0o644)?;

        let as_user = |program: &str| {
            let mut command = match &user {
                Some(user) => {
                    let mut command = Command::new("setpriv");
                    let (uid, gid) = (user.uid.as_raw().to_string(), user.gid.as_raw().to_string());
                    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]).arg(bin.join(program));
                    command
                }
                None => Command::new(bin.join(program)),
            };
            command.current_dir(folder).stdin(Stdio::null());
            command
        };
        let made = as_user("initdb")
            .args(["--no-sync", "-U", "screenline", "--auth-host=scram-sha-256", "--auth-local=reject"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(&data)
            .output()
            .context("run initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(
            data.join("pg_hba.conf"),
            "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n",
        )?;

        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = folder.join("log");
        let mut started = as_user("postgres");
        started.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "fsync=off"]);
        for (name, value) in [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", String::new()),
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", certificate.display().to_string()),
            ("ssl_key_file", key.display().to_string()),
            ("ssl_ca_file", authority.ca.display().to_string()),
        ] {
            started.arg("-c").arg(format!("{name}={value}"));
        }
        let mut server =
            started.stdout(Stdio::null()).stderr(File::create(&log)?).spawn().context("start postgres")?;
        let deadline = Instant::now() + READY_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            ensure!(server.try_wait()?.is_none(), "postgres ends while it starts:\n{said}");
            if deadline < Instant::now() {
                let _ = server.kill();
                let _ = server.wait();
                anyhow::bail!("postgres does not listen:\n{said}");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(Postgres { port, server })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its children notice and end; the data are thrown away.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn bin() -> anyhow::Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.push("/opt/screenline/postgresql/bin".into());
    found
        .into_iter()
        .rev()
        .find(|bin| bin.join("postgres").exists())
        .context("PostgreSQL is not installed: run deploy/setup")
}

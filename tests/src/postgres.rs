//! PostgreSQL servers of a test's own: one that takes only encrypted connections with a client's certificate and a
//! password, or one with a standby that has what it has committed.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::unistd::{User, geteuid};

use crate::certificates::{Authority, Signed};

const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// A port that is free may be taken before the server has it.
const PORTS_TRIED: usize = 5;
const TRUSTING: &str = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";
const ENCRYPTED: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n";

/// A running server, ended when dropped. The folder is the caller's, and others may enter it.
#[derive(Debug)]
pub struct Postgres {
    home: Home,
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
        let home = Home::make(folder)?;
        let password_file = home.keep("password", password.as_bytes(), 0o600)?;
        let key = home.keep("server.key", &fs::read(&server.key)?, 0o600)?;
        let certificate = home.keep("server.crt", &fs::read(&server.certificate)?, 0o644)?;
        home.initdb(&["--auth-host=scram-sha-256", "--pwfile", &password_file], ENCRYPTED)?;
        let (ca, off) = (authority.ca.display().to_string(), "off");
        home.start(&[
            ("fsync", off),
            ("ssl", "on"),
            ("ssl_cert_file", &certificate),
            ("ssl_key_file", &key),
            ("ssl_ca_file", &ca),
        ])
    }

    /// Starts a server for anybody on this machine, that may have a standby.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn primary(folder: &Path) -> anyhow::Result<Postgres> {
        let home = Home::make(folder)?;
        home.initdb(&["--auth-host=trust"], TRUSTING)?;
        home.start(&[])
    }

    /// Starts a standby of this server; from then on its commits wait for the standby.
    ///
    /// # Errors
    /// When it cannot be copied, or the copy does not start.
    pub fn standby(&self, folder: &Path) -> anyhow::Result<Postgres> {
        let home = Home::make(folder)?;
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-R", "-X", "stream", "-c", "fast"];
        home.run("pg_basebackup", &[&args[..], &["-D", &home.data()]].concat())?;
        // Promoted, it has no standby of its own to wait for.
        let standby = home.start(&[("synchronous_standby_names", "")])?;
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.ask("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")?;
        self.home.run("pg_ctl", &["reload", "-D", &self.home.data()])?;
        let deadline = Instant::now() + READY_TIMEOUT;
        while self.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")? != "1" {
            ensure!(Instant::now() < deadline, "the standby does not follow");
            sleep(Duration::from_millis(50));
        }
        Ok(standby)
    }

    /// Makes the primary of a standby.
    ///
    /// # Errors
    /// It does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.home.run("pg_ctl", &["promote", "--wait", "-D", &self.home.data()])
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The answer to a question with one answer.
    fn ask(&self, sql: &str) -> anyhow::Result<String> {
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", "postgres", "-AtXc", sql];
        let output = self.home.command("psql").args(args).output().context("run psql")?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

const USER: &str = "screenline";

/// A server's folder, which belongs to the user that it runs as: PostgreSQL does not run as root.
#[derive(Debug)]
struct Home {
    folder: PathBuf,
    bin: PathBuf,
    user: Option<User>,
}

impl Home {
    fn make(folder: &Path) -> anyhow::Result<Home> {
        let user = if geteuid().is_root() { User::from_name("postgres")? } else { None };
        fs::create_dir_all(folder)?;
        let home = Home { folder: folder.to_owned(), bin: bin()?, user };
        home.own(folder, 0o755)?;
        Ok(home)
    }

    fn own(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    /// Writes a file that only the server reads, and returns its path.
    fn keep(&self, name: &str, content: &[u8], mode: u32) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        fs::write(&path, content)?;
        self.own(&path, mode)?;
        Ok(path.display().to_string())
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                let (uid, gid) = (user.uid.as_raw().to_string(), user.gid.as_raw().to_string());
                command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let output = self.command(program).args(args).output().with_context(|| format!("run {program}"))?;
        ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn initdb(&self, access: &[&str], rules: &str) -> anyhow::Result<()> {
        let args = ["--no-sync", "-U", USER, "--auth-local=reject", "-D", &self.data()];
        self.run("initdb", &[&args[..], access].concat())?;
        Ok(fs::write(Path::new(&self.data()).join("pg_hba.conf"), rules)?)
    }

    fn start(self, settings: &[(&str, &str)]) -> anyhow::Result<Postgres> {
        for _ in 0..PORTS_TRIED {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(server) = self.listen(port, settings)? {
                return Ok(Postgres { home: self, port, server });
            }
        }
        bail!("{PORTS_TRIED} times somebody took the port before postgres did")
    }

    /// Starts the server and waits until it takes connections, which is later than it listens; none when somebody else
    /// took the port.
    fn listen(&self, port: u16, settings: &[(&str, &str)]) -> anyhow::Result<Option<Child>> {
        let log = self.folder.join("log");
        let mut command = self.command("postgres");
        let port = port.to_string();
        command.args(["-D", &self.data(), "-p", &port]);
        let always = [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")];
        for (name, value) in always.iter().chain(settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut server =
            command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn().context("start postgres")?;
        let deadline = Instant::now() + READY_TIMEOUT;
        while self.run("pg_isready", &["-q", "-h", "127.0.0.1", "-p", &port]).is_err() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if server.try_wait()?.is_some() {
                ensure!(said.contains("Address already in use"), "postgres ends while it starts:\n{said}");
                return Ok(None);
            }
            if deadline < Instant::now() {
                let _ = server.kill();
                let _ = server.wait();
                bail!("postgres takes no connections:\n{said}");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(Some(server))
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

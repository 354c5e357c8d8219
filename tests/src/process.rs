//! The program under test as a child process: started, waited for, stopped in order.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Storage, say};

/// `initdb` on a slow disk beside another city; waiting longer than needed costs nothing.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
const STOP_TIMEOUT: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 60;

/// Which build of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Program {
    #[default]
    Ordinary,
    /// With failpoints and planted bugs.
    Faulty,
}

impl Program {
    /// The program, beside the running executable of ours.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn path(self) -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe().context("find our own executable")?;
        let folder = own.parent().context("find the target folder")?;
        // Tests are built one folder deeper than programs.
        let folder = if folder.ends_with("deps") { folder.join("..") } else { folder.to_owned() };
        let (name, how) = match self {
            Program::Ordinary => ("screenline", "cargo build --release --workspace"),
            Program::Faulty => (
                "screenline-faults",
                "cargo build --release --workspace --features screenline/faults --bin screenline-faults",
            ),
        };
        let program = folder.join(name);
        ensure!(program.is_file(), "{} is absent: run {how} first", program.display());
        Ok(program)
    }
}

/// Runs `screenline` to its end.
///
/// # Errors
/// When the program is absent or cannot be started.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Output> {
    let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut command = command(&Manner { env, ..Manner::default() })?;
    command.args(args).output().with_context(|| format!("run screenline {args:?}"))
}

fn command(manner: &Manner) -> anyhow::Result<Command> {
    let mut command = Command::new(manner.program.path()?);
    // Settings of the shell that runs the tests are not this city's.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("SCREENLINE_") && !name_text.starts_with("SCREENLINE_PG") {
            command.env_remove(&name);
        }
    }
    command.envs(manner.env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    Ok(command)
}

/// How a program is started beside its arguments.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    pub program: Program,
    pub env: Vec<(String, String)>,
}

/// A folder in which one city lives, that PostgreSQL's own user can reach. Removed in the end.
#[derive(Debug)]
pub struct Workplace(TempDir);

impl Workplace {
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> anyhow::Result<Workplace> {
        // Always /tmp: a checkout or TMPDIR may be closed to the user `postgres`, or too long for its socket.
        let open = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("screenline-test-").permissions(open).tempdir_in("/tmp");
        Ok(Workplace(folder.context("make a folder in /tmp")?))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves the folder where it is, for somebody to look at.
    pub fn keep(&mut self) {
        self.0.disable_cleanup(true);
    }

    /// The city's data folder, kept from one start to the next.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }
}

/// A started `screenline`.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ready_file: PathBuf,
    out: PathBuf,
    err: PathBuf,
    /// Children that must not outlive it.
    children: Vec<i32>,
    settled: bool,
}

impl Process {
    /// Starts `screenline up` on free ports.
    ///
    /// # Errors
    /// When the program is absent or cannot be started.
    pub fn up(workplace: &Workplace, storage: Storage, more: &[&str]) -> anyhow::Result<Process> {
        Self::city("up", workplace, storage, more, &Manner::default())
    }

    /// Starts `screenline up` or `demo` on free ports.
    ///
    /// # Errors
    /// When the program is absent or cannot be started.
    pub fn city(
        command: &str,
        workplace: &Workplace,
        storage: Storage,
        more: &[&str],
        manner: &Manner,
    ) -> anyhow::Result<Process> {
        let data = workplace.data().display().to_string();
        let mut args = vec![command, "--data", &data, "--storage", storage.name()];
        args.extend([
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--mqtt-listen",
            "127.0.0.1:0",
        ]);
        args.extend(more);
        Self::start_as(workplace, command, &args, manner)
    }

    /// Starts `screenline` with exactly these arguments and a ready file; `name` names its files.
    ///
    /// # Errors
    /// When the program is absent or cannot be started.
    pub fn start(workplace: &Workplace, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        Self::start_as(workplace, name, args, &Manner::default())
    }

    /// As [`Process::start`], another build or with settings in the environment.
    ///
    /// # Errors
    /// When the program is absent or cannot be started.
    pub fn start_as(
        workplace: &Workplace,
        name: &str,
        args: &[&str],
        manner: &Manner,
    ) -> anyhow::Result<Process> {
        let file = |end: &str| workplace.path().join(format!("{name}.{end}"));
        let (ready_file, out, err) = (file("ready.json"), file("out"), file("err"));
        let mut command = command(manner)?;
        command.args(args).arg("--ready-file").arg(&ready_file);
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().context("start screenline")?;
        Ok(Process { child, ready_file, out, err, children: Vec::new(), settled: false })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it says what it listens on and which processes it has; they change when a child is started again.
    pub fn ready_file(&self) -> &Path {
        &self.ready_file
    }

    /// Waits for the ready file and returns its content.
    ///
    /// # Errors
    /// When the program ends instead, or says nothing for three minutes.
    pub fn ready(&mut self) -> anyhow::Result<Value> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(ready) = self.ready_now()? {
                return Ok(ready);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("screenline ended instead of becoming ready ({status})");
            }
            ensure!(Instant::now() < deadline, "screenline is not ready after {READY_TIMEOUT:?}");
            sleep(LOOK);
        }
    }

    /// What the ready file says now; the process ids in it change when a child is restarted.
    ///
    /// # Errors
    /// When the file is there and is not JSON.
    pub fn ready_now(&mut self) -> anyhow::Result<Option<Value>> {
        let Ok(text) = fs::read(&self.ready_file) else { return Ok(None) };
        let ready: Value = serde_json::from_slice(&text).context("read the ready file")?;
        let pids = ready["pids"].as_object().into_iter().flat_map(serde_json::Map::values);
        self.children = pids.filter_map(Value::as_i64).filter_map(|pid| i32::try_from(pid).ok()).collect();
        Ok(Some(ready))
    }

    /// Standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Standard output so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).context("signal screenline")
    }

    /// Stops the program by SIGTERM, in order, and waits for it.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let _ = self.ready_now();
        self.signal(Signal::SIGTERM)?;
        let status = self.wait()?;
        ensure!(status.success(), "screenline ended with {status} after SIGTERM");
        self.settled = true;
        Ok(())
    }

    /// Waits until the program ends by itself.
    ///
    /// # Errors
    /// When it has not ended after a minute and a half.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "screenline has not ended after {STOP_TIMEOUT:?}");
            sleep(LOOK);
        }
    }

    /// The end of this process is no news: its log is not shown.
    pub fn forget(&mut self) {
        self.settled = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.ready_now();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let stopped = self.signal(Signal::SIGTERM).is_ok() && self.wait().is_ok();
            if !stopped {
                for pid in &self.children {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                }
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if !self.settled {
            for file in [&self.out, &self.err] {
                let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
                say(&format!("--- last lines of {}\n{}", file.display(), last.join("\n")));
            }
        }
    }
}

//! A real broker for tests. They are skipped, visibly, where it is not installed.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::say;

/// A mosquitto with persistence, that can be killed and started again on the same port.
pub(crate) struct Mosquitto {
    program: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Mosquitto {
    pub(crate) fn start() -> Option<Mosquitto> {
        let places = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];
        let Some(program) = places.map(PathBuf::from).into_iter().find(|path| path.exists()) else {
            say("SKIPPED: mosquitto is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.path().display();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {path}/\n\
             max_queued_messages 0\nset_tcp_nodelay true\nuser root\nlog_dest none\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let child = spawn(&program, folder.path(), port);
        Some(Mosquitto { program, folder, port, child })
    }

    /// SIGTERM, after which mosquitto has saved its sessions; then a new process.
    pub(crate) fn restart(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.program, self.folder.path(), self.port);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, folder: &Path, port: u16) -> Child {
    let config = folder.join("mosquitto.conf");
    let child =
        Command::new(program).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "mosquitto does not listen on port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    child
}

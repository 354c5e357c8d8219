//! A TCP proxy that misbehaves on command, between ingest and what it talks to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What is behind the proxy.
#[derive(Debug, Clone)]
pub enum Upstream {
    Tcp(SocketAddr),
    /// A private database listens on its socket alone.
    Unix(PathBuf),
}

/// How the line is, for every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Nothing passes, and nobody is told: a half-open line.
    Hole,
    /// Every read is handed on so much later.
    Delay(Duration),
    /// Bytes a second.
    Throttle(u64),
    /// New connections are refused, and the old ones are gone.
    Down,
}

/// When a line breaks, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// After so many more bytes to the server.
    After(u64),
    /// At the nth COMMIT from now (1 is the next) of the connection that names itself so: before its bytes reach the server, or right after, before
    /// any answer.
    Commit { application: &'static str, nth: u32, forwarded: bool },
}

/// Bytes that came to the proxy, before it handed them on.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Counts the proxy's connections.
    pub connection: u64,
    pub to_server: bool,
    /// Microseconds since 1970, by the clock of this machine.
    pub at_us: i64,
    pub bytes: Vec<u8>,
}

/// A running proxy. Its lines end with it.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    weather: watch::Sender<Weather>,
    armed: Mutex<Option<Break>>,
    /// Cancelled to end every connection there is.
    lines: Mutex<CancellationToken>,
    /// Cancelled to freeze every connection there is.
    frozen: Mutex<CancellationToken>,
    tap: Mutex<Option<mpsc::UnboundedSender<Passed>>>,
    connections: AtomicU64,
    broken: AtomicU64,
}

/// The largest read: larger than a packet, small enough to delay and to throttle.
const CHUNK: usize = 16 << 10;
/// Hands bytes on in this grain when throttled.
const THROTTLE_TICK: Duration = Duration::from_millis(100);
/// `COMMIT` as a simple query of PostgreSQL's protocol.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Proxy {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(upstream: Upstream) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            weather: watch::Sender::new(Weather::Clear),
            armed: Mutex::default(),
            lines: Mutex::default(),
            frozen: Mutex::default(),
            tap: Mutex::default(),
            connections: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let accepting = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if *shared.weather.borrow() == Weather::Down {
                        continue; // dropped: the client is told at once
                    }
                    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(shared.clone().line(client, connection));
                }
            }
        });
        Ok(Proxy { address, shared, accepting })
    }

    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
        if weather == Weather::Down {
            self.cut();
        }
    }

    /// Ends every connection, with a reset: the client finds out at its next step.
    pub fn cut(&self) {
        let mut lines = lock(&self.shared.lines);
        lines.cancel();
        *lines = CancellationToken::new();
    }

    /// Freezes the connections there are, for good: they pass nothing and nobody is told. New ones are fine.
    pub fn freeze(&self) {
        let mut frozen = lock(&self.shared.frozen);
        frozen.cancel();
        *frozen = CancellationToken::new();
    }

    /// Breaks a line once, at a moment yet to come.
    pub fn arm(&self, when: Break) {
        *lock(&self.shared.armed) = Some(when);
    }

    /// Everything that passes from now on, in the order in which it came.
    pub fn tap(&self) -> mpsc::UnboundedReceiver<Passed> {
        let (tap, passed) = mpsc::unbounded_channel();
        *lock(&self.shared.tap) = Some(tap);
        passed
    }

    /// How often an armed break happened.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    async fn line(self: Arc<Self>, mut client: TcpStream, connection: u64) {
        let (cut, frozen) = (lock(&self.lines).clone(), lock(&self.frozen).clone());
        {
            let (from_client, to_client) = client.split();
            let both = async {
                match &self.upstream {
                    Upstream::Tcp(address) => {
                        let (from, to) = TcpStream::connect(address).await?.into_split();
                        self.both(connection, from_client, to, from, to_client).await
                    }
                    Upstream::Unix(path) => {
                        let (from, to) = UnixStream::connect(path).await?.into_split();
                        self.both(connection, from_client, to, from, to_client).await
                    }
                }
            };
            tokio::pin!(both);
            tokio::select! {
                _ = &mut both => {}
                () = cut.cancelled() => {}
                // Nothing is polled any more, and nothing dropped: the sockets stay open.
                () = frozen.cancelled() => cut.cancelled().await,
            }
        }
        // A reset, as a firewall sends it: not the end of a conversation.
        let _ = client.set_zero_linger();
    }

    /// Until one side ends.
    async fn both(
        &self,
        connection: u64,
        from_client: impl AsyncRead + Unpin,
        to_server: impl AsyncWrite + Unpin,
        from_server: impl AsyncRead + Unpin,
        to_client: impl AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        let watch = Watch { shared: self, tail: VecDeque::new(), application: Vec::new() };
        tokio::select! {
            ended = self.pump(connection, from_client, to_server, Some(watch)) => ended,
            ended = self.pump(connection, from_server, to_client, None) => ended,
        }
    }

    async fn pump(
        &self,
        connection: u64,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut watch: Option<Watch<'_>>,
    ) -> std::io::Result<()> {
        let mut weather = self.weather.subscribe();
        let mut chunk = vec![0; CHUNK];
        loop {
            // In a hole nothing is read either: the sender's window fills, as on a dead line.
            while *weather.borrow_and_update() == Weather::Hole {
                let _ = weather.changed().await;
            }
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            let mut bytes = &chunk[..read];
            if let Some(tap) = &*lock(&self.tap) {
                let at_us = Timestamp::now().as_microsecond();
                let to_server = watch.is_some();
                let _ = tap.send(Passed { connection, to_server, at_us, bytes: bytes.to_vec() });
            }
            let broken = watch.as_mut().and_then(|watch| watch.look(bytes));
            if let Some(passing) = broken {
                bytes = &bytes[..passing];
            }
            self.hand_on(bytes, &mut to, &mut weather).await?;
            if broken.is_some() {
                self.broken.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
    }

    async fn hand_on(
        &self,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        weather: &mut watch::Receiver<Weather>,
    ) -> std::io::Result<()> {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Clear | Weather::Down => to.write_all(bytes).await,
            Weather::Delay(delay) => {
                sleep(delay).await;
                to.write_all(bytes).await
            }
            Weather::Hole => {
                while *weather.borrow_and_update() == Weather::Hole {
                    let _ = weather.changed().await;
                }
                to.write_all(bytes).await
            }
            Weather::Throttle(bytes_a_second) => {
                let grain = (bytes_a_second as f64 * THROTTLE_TICK.as_secs_f64()).max(1.0);
                let pause = Duration::from_secs_f64(grain / bytes_a_second as f64);
                for (i, part) in bytes.chunks(grain as usize).enumerate() {
                    if *weather.borrow() != now {
                        return to.write_all(&bytes[i * grain as usize..]).await;
                    }
                    to.write_all(part).await?;
                    sleep(pause).await;
                }
                Ok(())
            }
        }
    }
}

/// Looks for the moment to break a line, in what goes to the server.
struct Watch<'s> {
    shared: &'s Shared,
    /// The end of what passed, as long as a COMMIT less one byte: it may lie across two reads.
    tail: VecDeque<u8>,
    /// The beginning of what passed, where PostgreSQL's clients name themselves.
    application: Vec<u8>,
}

impl Watch<'_> {
    /// How many of these bytes may still pass, where the line breaks among them.
    fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        let room = 512 - self.application.len().min(512);
        self.application.extend(&bytes[..bytes.len().min(room)]);
        let commits = self.commits_ending_in(bytes);
        let mut armed = lock(&self.shared.armed);
        let passing = match (*armed)? {
            Break::After(left) if bytes.len() as u64 <= left => {
                *armed = Some(Break::After(left - bytes.len() as u64));
                None
            }
            Break::After(left) => Some(left as usize),
            Break::Commit { application, .. } if !contains(&self.application, application.as_bytes()) => None,
            Break::Commit { application, nth, forwarded } => match commits.get(nth as usize - 1) {
                Some(end) => Some(if forwarded { *end } else { end.saturating_sub(COMMIT.len()) }),
                None => {
                    let nth = nth - commits.len() as u32;
                    *armed = Some(Break::Commit { application, nth, forwarded });
                    None
                }
            },
        };
        if passing.is_some() {
            *armed = None;
        }
        passing
    }

    /// Where the COMMITs end that end in these bytes.
    fn commits_ending_in(&mut self, bytes: &[u8]) -> Vec<usize> {
        let before = self.tail.len();
        let all: Vec<u8> = self.tail.iter().chain(bytes).copied().collect();
        let found = all.windows(COMMIT.len()).enumerate().filter(|(_, window)| *window == COMMIT);
        let ends = found.map(|(at, _)| at + COMMIT.len() - before).collect();
        self.tail = all[all.len().saturating_sub(COMMIT.len() - 1)..].to_vec().into();
        ends
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

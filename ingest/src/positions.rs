//! What we publish: the acknowledgement topic, which tells each publisher that numbers its messages how far they are
//! committed, so that it may forget them; and requests to senders whose messages cannot be read. On a connection of its own, because one that also publishes may delay its acknowledgements; and nothing
//! waits for it.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use metrics::{counter, gauge};
use processor::{
    memory::Request,
    service::Backoff,
    store::{self, Position, Positions, StoreError},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    address::Address,
    session::{self, Choice, Incoming, Lost, Receiver, Sender},
};

/// Below it each publisher has a retained message.
const TOPIC: &str = "screenline/ack";
/// Publishers remembered, some 40 MB: far more than a city has. Of one beyond, the position is told more often.
const SOURCES_MAX: usize = 200_000;
/// Requests that wait for a connection; of one beyond, its sender is asked later again.
const REQUESTS_MAX: usize = 10_000;
/// Between two rounds: a busy publisher is told once a second and not once a batch.
const PAUSE: Duration = Duration::from_secs(1);
/// Two processes that commit for one publisher may overtake each other on the way to the broker; the table knows.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// Messages that the broker has not acknowledged: few, because it may serve ten thousand publishers at once.
const IN_FLIGHT_MAX: u32 = 64;

/// What is to be told to whom: only the newest of each publisher.
#[derive(Default)]
pub struct Notices {
    state: Mutex<State>,
    posted: Notify,
}

#[derive(Default)]
struct State {
    known: BTreeMap<String, Known>,
    /// Sources whose newest position is not told.
    waiting: VecDeque<String>,
    /// What senders are to be asked, the oldest first.
    requests: VecDeque<Request>,
}

struct Known {
    position: Position,
    told: bool,
}

impl Notices {
    /// Takes positions to be told; older ones than are known change nothing.
    pub fn post(&self, positions: Vec<Position>) {
        let mut state = self.state();
        for position in positions {
            state.post(position);
        }
        drop(state);
        self.posted.notify_one();
    }

    /// Takes what senders are to be asked.
    pub fn request(&self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut state = self.state();
        state.requests.extend(requests);
        let beyond = state.requests.len().saturating_sub(REQUESTS_MAX);
        state.requests.drain(..beyond);
        drop(state);
        self.posted.notify_one();
    }

    fn next_request(&self) -> Option<Request> {
        self.state().requests.pop_front()
    }

    /// The next to tell.
    fn next(&self) -> Option<Position> {
        let mut state = self.state();
        let source = state.waiting.pop_front()?;
        let known = state.known.get_mut(&source)?;
        known.told = true;
        Some(known.position.clone())
    }

    /// All are to be told again: the broker may have lost what it kept.
    fn repeat(&self) {
        let state = &mut *self.state();
        state.known.values_mut().for_each(|known| known.told = false);
        state.waiting = state.known.keys().cloned().collect();
    }

    fn sources(&self) -> usize {
        self.state().known.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn post(&mut self, position: Position) {
        if let Some(known) = self.known.get_mut(&position.source) {
            if progress(&known.position) < progress(&position) {
                known.position = position;
                if std::mem::take(&mut known.told) {
                    self.waiting.push_back(known.position.source.clone());
                }
            }
            return;
        }
        if SOURCES_MAX <= self.known.len() {
            // Where none is told yet, this one waits until the table is read again.
            let Some((told, _)) = self.known.iter().find(|(_, known)| known.told) else { return };
            let told = told.clone();
            self.known.remove(&told);
        }
        self.waiting.push_back(position.source.clone());
        self.known.insert(position.source.clone(), Known { position, told: false });
    }
}

/// Grows with every message of a source.
fn progress(position: &Position) -> (i64, i64, i64, i64) {
    let seen = position.seen_to - position.missing;
    (position.epoch, seen + position.untracked, position.rejected, position.reused)
}

/// Publishes notices for as long as the service lives, and what is left at `stop`.
pub async fn publish(
    notices: Arc<Notices>,
    address: Address,
    client_id: String,
    mut choice: Choice,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    gauge!("screenline_sources_cached_limit").set(SOURCES_MAX as f64);
    loop {
        let (sender, receiver) = session::connect(&address, &client_id, Duration::ZERO, choice.version());
        let line = Line::new();
        let lost = tokio::select! {
            // Dropping it is the end of this connection.
            lost = line.listen(receiver) => lost,
            () = line.tell(&notices, &sender, &stop) => return,
        };
        if line.was_open() {
            choice.settle();
            backoff.reset();
        }
        if choice.turn(&lost) {
            info!(broker = %address, version = ?choice.version(), "the broker refused, trying the other MQTT version");
        } else {
            warn!(broker = %address, error = %lost, "connection for the acknowledgement topic is down, will retry");
        }
        tokio::select! {
            () = sleep(backoff.next_wait()) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One connection.
struct Line {
    /// Messages that may be sent: none before the broker accepted us.
    window: Semaphore,
    open: AtomicBool,
}

impl Line {
    fn new() -> Self {
        Line { window: Semaphore::new(0), open: AtomicBool::new(false) }
    }

    fn was_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    async fn listen(&self, mut receiver: Receiver) -> Lost {
        let mut refused = false;
        loop {
            match receiver.poll().await {
                Ok(Incoming::Connected { .. }) => {
                    self.open.store(true, Relaxed);
                    self.window.add_permits(IN_FLIGHT_MAX as usize);
                }
                Ok(Incoming::Acknowledged { taken }) => {
                    self.window.add_permits(1);
                    if !taken && !refused {
                        refused = true;
                        warn!("the broker refuses our messages below {TOPIC}: check its access rules");
                    }
                }
                Ok(_) => {}
                Err(lost) => return lost,
            }
        }
    }

    /// Ends when all is told after `stop`.
    async fn tell(&self, notices: &Notices, sender: &Sender, stop: &CancellationToken) {
        self.take(1).await;
        self.window.add_permits(1);
        notices.repeat();
        loop {
            let stopping = stop.is_cancelled();
            while let Some(position) = notices.next() {
                self.take(1).await;
                let (topic, text) = notice(&position);
                if !sender.publish_retained(topic, text) {
                    return pending().await; // the connection is gone, and `listen` will say so
                }
                counter!("screenline_positions_published_total").increment(1);
            }
            while let Some(Request { topic, payload }) = notices.next_request() {
                if !sender.publish_request(topic, payload) {
                    return pending().await;
                }
                counter!("screenline_requests_published_total").increment(1);
            }
            gauge!("screenline_sources_cached").set(notices.sources() as f64);
            if stopping {
                return self.take(IN_FLIGHT_MAX).await;
            }
            tokio::select! {
                () = async { sleep(PAUSE).await; notices.posted.notified().await } => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Waits for room in the window.
    async fn take(&self, messages: u32) {
        if let Ok(permits) = self.window.acquire_many(messages).await {
            permits.forget();
        }
    }
}

fn notice(position: &Position) -> (String, Vec<u8>) {
    let mut notice = serde_json::json!(position);
    notice["at"] = Timestamp::now().to_string().into();
    (format!("{TOPIC}/{}", position.source), notice.to_string().into_bytes())
}

/// Posts what the table says of publishers not long ago heard of, until `stop`.
pub async fn read_again(notices: Arc<Notices>, database_url: String, stop: CancellationToken) {
    let mut client = None;
    loop {
        tokio::select! {
            () = sleep(READ_AGAIN) => {}
            () = stop.cancelled() => return,
        }
        match read(client.take(), &database_url).await {
            Ok((connected, positions)) => {
                client = Some(connected);
                notices.post(positions);
            }
            Err(error) => warn!(%error, "could not read the positions of numbered sources, will retry"),
        }
    }
}

async fn read(client: Option<Client>, database_url: &str) -> Result<(Client, Vec<Position>), StoreError> {
    let client = match client.filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => store::connect(database_url, "screenline-positions").await?,
    };
    let positions = Positions::recent(&client).await?;
    Ok((client, positions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(source: &str, epoch: i64, committed: i64) -> Position {
        Position {
            source: source.to_owned(),
            epoch,
            committed,
            seen_to: committed,
            missing: 0,
            rejected: 0,
            reused: 0,
            untracked: 0,
        }
    }

    fn told(notices: &Notices) -> Vec<(String, i64, i64)> {
        let next = || notices.next().map(|told| (told.source, told.epoch, told.committed));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn only_the_newest_position_of_a_source_is_told() {
        let notices = Notices::default();
        notices.post(vec![position("a", 1, 5), position("b", 1, 1)]);
        notices.post(vec![position("a", 1, 7), position("a", 1, 6)]);
        assert_eq!(told(&notices), [("a".to_owned(), 1, 7), ("b".to_owned(), 1, 1)]);
        assert_eq!(told(&notices), []);
        notices.post(vec![position("a", 1, 7)]);
        assert_eq!(told(&notices), [], "nothing new");
        notices.post(vec![position("a", 2, 1), position("a", 1, 9)]);
        assert_eq!(told(&notices), [("a".to_owned(), 2, 1)], "an older epoch is over");
    }

    #[test]
    fn a_new_connection_tells_all_again() {
        let notices = Notices::default();
        notices.post(vec![position("a", 1, 5), position("b", 1, 1)]);
        told(&notices);
        notices.repeat();
        assert_eq!(told(&notices).len(), 2);
    }

    #[test]
    fn sources_beyond_the_bound_displace_those_that_were_told() {
        let notices = Notices::default();
        let name = |i: usize| format!("gateway-{i}");
        notices.post((0..SOURCES_MAX).map(|i| position(&name(i), 1, 1)).collect());
        notices.post(vec![position("late", 1, 1)]);
        assert_eq!((notices.sources(), told(&notices).len()), (SOURCES_MAX, SOURCES_MAX));
        notices.post(vec![position("late", 1, 1)]);
        assert_eq!((notices.sources(), told(&notices)), (SOURCES_MAX, vec![("late".to_owned(), 1, 1)]));
    }

    #[test]
    fn a_notice_says_how_far_a_source_is_committed() {
        let (topic, text) = notice(&position("gw-1", 17, 5));
        assert_eq!(topic, "screenline/ack/gw-1");
        let said: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&said["epoch"], &said["committed"]), (&17.into(), &5.into()));
        assert!(said["at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }
}

//! The core at work: told by the polling task what arrives and by the pipeline what was committed, it says to each what
//! to do next, and its acknowledgements leave.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use processor::{
    faults::{Fault, point},
    model::{Batch, BatchId, Message},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout_at},
};

use crate::{
    core::{Arrival, Core, Gathered, Greeting, Held, Limits, Moment, Next, Offer, Retry},
    session::Sender,
};

/// What a message costs beside its payload: topic, bookkeeping, allocator.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

pub struct Gate {
    state: Mutex<State>,
    /// There may be a batch.
    batch: Notify,
    /// There may be room.
    room: Notify,
    ready: watch::Sender<bool>,
    started: Instant,
}

struct State {
    core: Core<Message>,
    /// Of the present connection.
    sender: Option<Arc<Sender>>,
}

/// Why a message was not taken in: the connection is to be dropped.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the tables have taken nothing for too long: the broker keeps the messages until they do")]
    LetGo,
    #[error("more acknowledgements than a connection can have")]
    GivenUp,
}

impl Gate {
    pub fn new(limits: Limits) -> Self {
        Gate {
            state: Mutex::new(State { core: Core::new(limits), sender: None }),
            batch: Notify::new(),
            room: Notify::new(),
            ready: watch::Sender::new(false),
            started: Instant::now(),
        }
    }

    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub fn held(&self) -> Held {
        self.state().core.held()
    }

    /// Waits until a connection may be opened, and begins it.
    pub async fn connecting(&self, sender: Arc<Sender>) {
        loop {
            {
                let mut state = self.state();
                if state.core.may_connect() {
                    state.core.connecting();
                    state.sender = Some(sender);
                    return;
                }
            }
            self.room.notified().await;
        }
    }

    /// Of the present connection, if there is one.
    pub fn sender(&self) -> Option<Arc<Sender>> {
        self.state().sender.clone()
    }

    pub fn connected(&self, session_present: bool) -> Greeting {
        self.step(|core| core.connected(session_present))
    }

    pub fn subscribed(&self) {
        self.step(Core::subscribed);
    }

    pub fn lost(&self) {
        self.step(Core::lost);
    }

    /// Nothing is taken in any more; what was is handed out.
    pub fn drain(&self) {
        self.step(Core::drain);
        self.batch.notify_one();
        self.room.notify_one();
    }

    /// Says goodbye to the broker, which keeps the session.
    pub fn disconnect(&self) {
        if let Some(sender) = &self.state().sender {
            sender.disconnect();
        }
    }

    /// Takes a message in, once there is room for it.
    ///
    /// # Errors
    /// The connection must be dropped.
    pub async fn take_in(
        &self,
        message: Message,
        packet: Option<u16>,
        sender: &Sender,
    ) -> Result<(), Refused> {
        let bytes = message.payload.len() + message.topic.len() + MESSAGE_OVERHEAD_BYTES;
        let mut arrival = Arrival { message, packet, bytes };
        loop {
            let now = self.now();
            let offer = self.state().core.offer(arrival, now);
            let until = match offer {
                Offer::Taken { wake } | Offer::Shed { wake } => {
                    if wake {
                        self.batch.notify_one();
                    }
                    break;
                }
                Offer::Refused => break,
                Offer::Full { arrival: back, until } => {
                    arrival = back;
                    until
                }
                Offer::LetGo => return Err(Refused::LetGo),
            };
            tokio::select! {
                () = self.room.notified() => {}
                () = sleep_until((self.started + until).into()) => {}
                () = sender.given_up() => break,
            }
        }
        if sender.is_given_up() { Err(Refused::GivenUp) } else { Ok(()) }
    }

    /// Waits for the next batch; `None` when all is drained.
    ///
    /// # Errors
    /// At a failpoint.
    pub async fn next_batch(&self) -> Result<Option<Batch>, Fault> {
        loop {
            let (id, now) = (BatchId(fastrand::i64(1..)), self.now());
            let next = self.state().core.next_batch(id, now);
            match next {
                Next::Batch(gathered) => {
                    self.acknowledge().await?;
                    let Gathered { id, messages, shed } = gathered;
                    return Ok(Some(Batch { id, messages, shed }));
                }
                Next::At(moment) => {
                    // Either way it is asked again.
                    let _ = timeout_at((self.started + moment).into(), self.batch.notified()).await;
                }
                Next::Wait => self.batch.notified().await,
                Next::Drained => return Ok(None),
            }
        }
    }

    /// A batch is in the tables: its messages are acknowledged.
    ///
    /// # Errors
    /// At a failpoint.
    pub async fn committed(&self, id: BatchId) -> Result<(), Fault> {
        self.step(|core| core.committed(id));
        self.room.notify_one();
        self.batch.notify_one();
        self.acknowledge().await
    }

    pub fn failed(&self, id: BatchId) -> Retry {
        self.step(|core| core.failed(id))
    }

    /// Messages of a batch that will not be acknowledged: a planted bug.
    pub fn withhold(&self, id: BatchId, messages: impl Iterator<Item = usize>) {
        self.step(|core| core.withhold(id, messages));
    }

    /// Sends what may be acknowledged, on the connection it came over.
    async fn acknowledge(&self) -> Result<(), Fault> {
        let (packets, sender) = {
            let mut state = self.state();
            (state.core.acknowledgements(), state.sender.clone())
        };
        let Some(sender) = sender.filter(|_| !packets.is_empty()) else { return Ok(()) };
        point("ingest.before_ack").await?;
        let (first, second) = packets.split_at(packets.len() / 2);
        first.iter().for_each(|packet| sender.acknowledge(*packet));
        point("ingest.mid_ack").await?;
        second.iter().for_each(|packet| sender.acknowledge(*packet));
        point("ingest.after_ack").await
    }

    fn step<T>(&self, event: impl FnOnce(&mut Core<Message>) -> T) -> T {
        let mut state = self.state();
        let said = event(&mut state.core);
        let ready = state.core.ready();
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
        said
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }
}

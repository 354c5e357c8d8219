//! What comes in now. One feed reads what ingest committed since it looked last, as long as somebody wants it.
//!
//! ```text
//! batch, reading ──> feed ──> latest         the newest of each series, for dataset `latest`
//!  since a moment      └────> tail, tail ..  endless answers, each with its own filters, eyes and place
//! ```
//! A place is a moment of the database: whoever comes back with it gets what was committed since, and nobody waits for
//! somebody slower, who reads what was missed from the database.

mod latest;
mod news;
mod tail;

pub use latest::Last;
pub use tail::{Piece, Wanted, follow};

use crate::{
    database::Database,
    error::{QueryError, Result},
    moment::Moment,
    provider::Tables,
    series::{Dictionary, Series},
};
use datafusion::arrow::array::RecordBatch;
use latest::{Latest, Readings, STORED};
use news::Chunks;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{MutexGuard, Semaphore, broadcast};

/// Between two looks while somebody follows; a look may take a quarter of the time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const REST_FACTOR: u32 = 3;
/// And while the newest values were asked for lately, so that there is never much to read at once.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const KEPT_FOR: Duration = Duration::from_secs(300);
/// News that the slowest tail may be behind before it reads them from the database itself.
const NEWS_AHEAD: usize = 32;
/// Tails that read from the database at once.
const CATCHING_UP: usize = 2;
/// Readings of one look that are told to those who follow, at 40 bytes each. Of more they are told that there is more.
const ROWS_MAX: usize = 200_000;

#[derive(Debug)]
pub struct Feed {
    state: tokio::sync::Mutex<State>,
    events: broadcast::Sender<Arc<Event>>,
    /// When the newest values were asked for.
    asked: Mutex<Option<Instant>>,
    /// Tails that read what they missed: each holds a connection while its client takes it.
    catching_up: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    /// Up to which everything was told; none while nobody wants to know.
    moment: Option<Moment>,
    latest: Option<Latest>,
    looked: Option<Instant>,
}

/// What every tail hears.
#[derive(Debug)]
enum Event {
    News(News),
    /// The thread is lost: whoever follows has to begin anew from his place.
    Lost(QueryError),
}

/// What came from one moment to another.
#[derive(Debug)]
struct News {
    /// None: nobody looked before.
    from: Option<Moment>,
    to: Moment,
    /// With the columns of `STORED`.
    rows: Vec<RecordBatch>,
}

impl Default for Feed {
    fn default() -> Self {
        let (events, _) = broadcast::channel(NEWS_AHEAD);
        Self {
            state: tokio::sync::Mutex::default(),
            events,
            asked: Mutex::default(),
            catching_up: Semaphore::new(CATCHING_UP),
        }
    }
}

impl Feed {
    /// The newest of some series that are seen, as of now; in the order of `ids`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn latest(&self, database: &Database, names: &Series, ids: &[i32]) -> Result<Vec<(i32, Last)>> {
        let asked = Instant::now();
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        let mut state = self.state.lock().await;
        let is_old =
            |latest: &Latest| latest.registry_version != names.registry_version() || latest.is_provisional;
        if state.latest.as_ref().is_some_and(is_old) {
            state.latest = None;
        }
        if state.latest.is_none() || state.looked.is_none_or(|looked| looked < asked) {
            self.look(&mut state, database, names, true).await?;
        }
        let latest = state.latest.as_ref().ok_or_else(|| QueryError::Internal("no newest values".into()))?;
        Ok(ids.iter().filter_map(|id| Some((*id, latest.get(*id)?))).collect())
    }

    /// Joins those who follow, at the moment that is told; what comes after it is heard.
    async fn join(
        &self,
        database: &Database,
        names: &Series,
    ) -> Result<(Moment, broadcast::Receiver<Arc<Event>>)> {
        let mut state = self.state.lock().await;
        if state.moment.is_none() {
            self.look(&mut state, database, names, false).await?;
        }
        let moment =
            state.moment.clone().ok_or_else(|| QueryError::Internal("a feed without a moment".into()))?;
        Ok((moment, self.events.subscribe()))
    }

    /// Tells what came since the last look, and takes it in. After an error everything begins anew.
    async fn look(
        &self,
        state: &mut MutexGuard<'_, State>,
        database: &Database,
        names: &Series,
        with_latest: bool,
    ) -> Result<()> {
        let looked = self.try_look(state, database, names, with_latest).await;
        if let Err(error) = &looked {
            **state = State::default();
            self.lose(error.clone());
        }
        looked
    }

    async fn try_look(
        &self,
        state: &mut State,
        database: &Database,
        names: &Series,
        with_latest: bool,
    ) -> Result<()> {
        let began = Instant::now();
        let snapshot = database.snapshot().await?;
        let client = snapshot.client()?;
        let now = Moment::of(client).await?;
        let mut before = state.moment.clone();
        if before.as_ref().is_some_and(|before| before.server != now.server) {
            (before, state.latest) = (None, None);
            self.lose(QueryError::Unavailable("the database was restarted".into()));
        }
        let loaded = match state.latest.is_none() && with_latest {
            true => Some(Latest::load(client, database, names).await?),
            false => None,
        };
        snapshot.finish().await?;
        let (mut rows, mut count) = (Vec::new(), 0);
        let mut chunks = before.as_ref().map(|before| Chunks::between(before, &now));
        while let Some(chunks) = &mut chunks
            && let Some(chunk) = chunks.next(database).await?
        {
            let mut reader = chunk.read(database, &STORED).await?;
            while let Some(batch) = reader.next().await? {
                // One that is loaded below has them already.
                if let Some(latest) = &mut state.latest {
                    latest.take(&Readings::of(&batch)?, names);
                }
                count += batch.num_rows();
                if count <= ROWS_MAX && 0 < self.events.receiver_count() {
                    rows.push(batch);
                }
            }
        }
        if loaded.is_some() {
            state.latest = loaded;
        }
        state.looked = Some(began);
        state.moment = Some(now.clone());
        match count <= ROWS_MAX {
            true => self.tell(Event::News(News { from: before, to: now, rows })),
            false => self.lose(QueryError::Exhausted(format!(
                "more than {ROWS_MAX} readings came at once: go on with `resume`"
            ))),
        }
        Ok(())
    }

    fn lose(&self, error: QueryError) {
        self.tell(Event::Lost(error));
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(Arc::new(event)); // nobody may follow
    }

    /// Looks, if anybody wants it; how long to rest then.
    async fn keep(&self, database: &Database, dictionary: &Dictionary) -> Duration {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = asked.is_some_and(|asked| asked.elapsed() < KEPT_FOR);
        let mut state = self.state.lock().await;
        // Whoever joins does it in the same order.
        let is_followed = 0 < self.events.receiver_count();
        if !is_asked && !is_followed {
            *state = State::default();
            return LOOK_EVERY;
        }
        if !is_asked {
            state.latest = None;
        }
        let began = Instant::now();
        // Who may see a sensor is what the registry says now.
        let looked = async {
            let names = dictionary.refresh(&*database.client().await?).await?;
            self.look(&mut state, database, &names, false).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(%error, "what came in cannot be read now");
        }
        let every = if is_followed { LOOK_EVERY } else { KEEP_EVERY };
        every.max(began.elapsed() * REST_FACTOR)
    }
}

/// Looks at what comes as long as somebody wants it, until the service ends.
pub async fn tend(tables: Weak<Tables>) {
    loop {
        let Some(tables) = tables.upgrade() else { return };
        let rest = tables.feed.keep(&tables.database, &tables.dictionary).await;
        drop(tables);
        tokio::time::sleep(rest).await;
    }
}

//! What comes in now. One feed reads what ingest committed since it looked last, as long as somebody wants it.
//!
//! ```text
//! batch, reading ──> feed ──> latest         the newest of each series, for dataset `latest`
//!  and event,         └────> tail, tail ..  endless answers, each with its own filters, eyes and place
//!  since a moment
//! ```
//! A place is a moment of the database: whoever comes back with it gets what was committed since, and nobody waits for
//! somebody slower, who reads what was missed from the database.

mod latest;
mod news;
mod tail;

pub use latest::Last;
pub use news::Facts;
pub use tail::{Piece, Wanted, follow};

use crate::{
    database::Database,
    error::{QueryError, Result},
    moment::Moment,
    output,
    provider::Tables,
    series::{Dictionary, Series},
};
use datafusion::arrow::array::RecordBatch;
use latest::{Latest, Readings};
use news::Chunks;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{MutexGuard, Semaphore, broadcast};

/// Between two looks while somebody follows; a look may take half of the time.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const REST_FACTOR: u32 = 1;
/// And while the newest values were asked for lately, so that there is never much to read at once.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const KEPT_FOR: Duration = Duration::from_secs(300);
/// News that the slowest tail may be behind before it reads them from the database itself.
const NEWS_AHEAD: usize = 32;
/// Tails that read from the database at once.
const CATCHING_UP: usize = 2;
/// What one look tells those who follow: 250,000 readings, or 80,000 passages. Of more they are told only that.
const BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
pub struct Feed {
    state: tokio::sync::Mutex<State>,
    /// Those who follow readings, and those who follow passages: what nobody follows is not read.
    readings: broadcast::Sender<Arc<Event>>,
    passages: broadcast::Sender<Arc<Event>>,
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
    from: Moment,
    to: Moment,
    /// With what is read of its facts.
    rows: Vec<RecordBatch>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            state: tokio::sync::Mutex::default(),
            readings: broadcast::Sender::new(NEWS_AHEAD),
            passages: broadcast::Sender::new(NEWS_AHEAD),
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
        facts: Facts,
        database: &Database,
        names: &Series,
    ) -> Result<(Moment, broadcast::Receiver<Arc<Event>>)> {
        let mut state = self.state.lock().await;
        if state.moment.is_none() {
            self.look(&mut state, database, names, false).await?;
        }
        let moment =
            state.moment.clone().ok_or_else(|| QueryError::Internal("a feed without a moment".into()))?;
        Ok((moment, self.followers(facts).subscribe()))
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
            self.lose(error);
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
            self.lose(&QueryError::Unavailable("the database was restarted".into()));
        }
        let loaded = match state.latest.is_none() && with_latest {
            true => Some(Latest::load(client, database, names).await?),
            false => None,
        };
        snapshot.finish().await?;
        if let Some(before) = before {
            // One that is loaded below has them already.
            self.pass_on(Facts::Readings, &before, &now, database, state.latest.as_mut().zip(Some(names)))
                .await?;
            self.pass_on(Facts::Passages, &before, &now, database, None).await?;
        }
        if loaded.is_some() {
            state.latest = loaded;
        }
        state.looked = Some(began);
        state.moment = Some(now);
        Ok(())
    }

    /// Reads what came between two moments, where anybody wants it: for the newest values and for those who follow.
    async fn pass_on(
        &self,
        facts: Facts,
        from: &Moment,
        to: &Moment,
        database: &Database,
        mut latest: Option<(&mut Latest, &Series)>,
    ) -> Result<()> {
        let is_followed = self.is_followed(facts);
        if !is_followed && latest.is_none() {
            return Ok(());
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut chunks = Chunks::between(facts, from, to);
        while let Some(chunk) = chunks.next(database).await? {
            let mut reader = chunk.read(database).await?;
            while let Some(batch) = reader.next().await? {
                if let Some((latest, names)) = &mut latest {
                    latest.take(&Readings::of(&batch)?, names);
                }
                bytes += output::bytes(&batch);
                if is_followed && bytes <= BYTES_MAX {
                    rows.push(batch);
                }
            }
        }
        let event = match bytes <= BYTES_MAX {
            true => Event::News(News { from: from.clone(), to: to.clone(), rows }),
            false => {
                let text = format!("more than {} MiB came at once: go on with `resume`", BYTES_MAX >> 20);
                Event::Lost(QueryError::Exhausted(text))
            }
        };
        self.tell(facts, event);
        Ok(())
    }

    fn lose(&self, error: &QueryError) {
        for facts in Facts::ALL {
            self.tell(facts, Event::Lost(error.clone()));
        }
    }

    fn tell(&self, facts: Facts, event: Event) {
        let _ = self.followers(facts).send(Arc::new(event)); // nobody may follow
    }

    fn followers(&self, facts: Facts) -> &broadcast::Sender<Arc<Event>> {
        match facts {
            Facts::Readings => &self.readings,
            Facts::Passages => &self.passages,
        }
    }

    fn is_followed(&self, facts: Facts) -> bool {
        0 < self.followers(facts).receiver_count()
    }

    /// Looks, if anybody wants it; how long to rest then.
    async fn keep(&self, database: &Database, dictionary: &Dictionary) -> Duration {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = asked.is_some_and(|asked| asked.elapsed() < KEPT_FOR);
        let mut state = self.state.lock().await;
        // Whoever joins does it in the same order.
        let is_followed = Facts::ALL.into_iter().any(|facts| self.is_followed(facts));
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

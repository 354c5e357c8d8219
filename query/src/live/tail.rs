//! One endless answer: readings or passages as they are committed, for one pair of eyes, from a place on.

use super::{
    Event, Moment,
    news::{Chunks, Facts},
};
use crate::{
    engine,
    error::{QueryError, Result},
    policy::Rules,
    present::{Presentation, Unseen},
    provider::Tables,
    series::Series,
    tables::{Column, SeriesPart},
};
use datafusion::arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int32Type, SchemaRef},
};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::{Instant, timeout},
};
use tokio_postgres::Client;

/// So often at least something is sent, so that whoever waits can tell silence from a broken line.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// A tail that reads what it missed may take so long: others wait for it.
const CATCH_UP: Duration = Duration::from_secs(300);
/// A transaction may have begun so long before it ended: a place is good while all that came after it is kept.
const TRANSACTION_MAX: &str = "15 minutes";

/// What a tail sends.
#[derive(Clone, Debug)]
pub struct Piece {
    /// None: a sign of life.
    pub rows: Option<RecordBatch>,
    /// Where to go on from after this piece.
    pub place: Moment,
}

/// Which readings or passages somebody follows.
#[derive(Debug)]
pub struct Wanted {
    pub facts: Facts,
    pub columns: Vec<&'static Column>,
    pub schema: SchemaRef,
    pub rules: Arc<Rules>,
    pub sensors: Option<HashSet<String>>,
    pub metrics: Option<HashSet<String>>,
    /// Where to go on; none: from now.
    pub resume: Option<Moment>,
}

struct Tail<'t> {
    tables: &'t Tables,
    wanted: Wanted,
    presentation: Presentation,
    /// Where its columns stand in what is read.
    places: Vec<usize>,
    names: Arc<Series>,
    /// By series: whether it is wanted.
    known: HashMap<i32, bool>,
    to: mpsc::Sender<Piece>,
    stall: Duration,
}

/// Sends what is wanted until nobody listens any more, or until it fails.
///
/// # Errors
/// Why it ends; with the last place it can be gone on with.
pub async fn follow(tables: &Tables, wanted: Wanted, to: mpsc::Sender<Piece>, stall: Duration) -> Result<()> {
    let client = tables.database.client().await?;
    let names = tables.dictionary.refresh(&client).await?;
    if let Some(place) = &wanted.resume {
        check(&client, place, wanted.facts).await?;
    }
    drop(client);
    let (dataset, read) = (wanted.facts.dataset()?, wanted.facts.stored()?);
    let presentation =
        Presentation::new(dataset, &wanted.columns, wanted.schema.clone(), &wanted.rules, false);
    let place = |wanted| read.iter().position(|stored| stored == wanted);
    let places = presentation.stored().iter().filter_map(place).collect();
    let mut place = wanted.resume.clone();
    let mut tail = Tail { tables, wanted, presentation, places, names, known: HashMap::new(), to, stall };
    loop {
        let (now, mut events) = tables.feed.join(tail.wanted.facts, &tables.database, &tail.names).await?;
        match place {
            Some(from) => {
                let _turn = tables.feed.catching_up.acquire().await;
                let late = |_| {
                    QueryError::Deadline(format!(
                        "not caught up within {CATCH_UP:?}: go on with `resume`, or ask for less"
                    ))
                };
                timeout(CATCH_UP, tail.catch_up(&from, &now)).await.map_err(late)??;
            }
            None => tail.send(None, &now).await?,
        }
        place = Some(tail.listen(now, &mut events).await?);
    }
}

/// A place that everything after can still be told from.
async fn check(client: &Client, place: &Moment, facts: Facts) -> Result<()> {
    let now = Moment::of(client).await?;
    if place.lineage != now.lineage || now.ahead() < place.ahead() {
        return Err(QueryError::Invalid(
            "`resume` is of another database, or of another time of this one: begin anew without it".into(),
        ));
    }
    let select = format!(
        "SELECT cleared FROM retention
         WHERE class = 'batches' AND $1::timestamptz - interval '{TRANSACTION_MAX}' < cleared"
    );
    match client.query_opt(&select, &[&place.at]).await? {
        None => Ok(()),
        Some(row) => Err(QueryError::Invalid(format!(
            "`resume` is of {}, and what was committed is told from {} on: begin anew without it, and read what is missing \
             from dataset {} by `from` and `to`",
            place.at,
            row.try_get::<_, Timestamp>(0)?,
            facts.name()
        ))),
    }
}

impl Tail<'_> {
    /// Sends news until it is too far behind to hear them; the place where it is then.
    async fn listen(&mut self, mut place: Moment, events: &mut Receiver<Arc<Event>>) -> Result<Moment> {
        let mut told = Instant::now();
        loop {
            let event = match timeout(HEARTBEAT, events.recv()).await {
                Ok(Ok(event)) => event,
                Ok(Err(RecvError::Lagged(_))) => return Ok(place),
                Ok(Err(RecvError::Closed)) => return Err(QueryError::Busy("the service is stopping".into())),
                Err(_) => {
                    self.send(None, &place).await?;
                    told = Instant::now();
                    continue;
                }
            };
            let news = match &*event {
                Event::News(news) => news,
                Event::Lost(error) => return Err(error.clone()),
            };
            if news.from != place {
                return Ok(place); // nobody looked for a while: what came then is read from the database
            }
            let mut held = None;
            for rows in &news.rows {
                self.pass(rows, &mut held, &place).await?;
            }
            place = news.to.clone();
            if held.is_some() || HEARTBEAT <= told.elapsed() {
                self.send(held, &place).await?;
                told = Instant::now();
            }
        }
    }

    /// Sends what came between two moments.
    async fn catch_up(&mut self, from: &Moment, to: &Moment) -> Result<()> {
        let (mut place, mut held, mut told) = (from.clone(), None, Instant::now());
        let mut chunks = Chunks::between(self.wanted.facts, from, to);
        while let Some(chunk) = chunks.next(&self.tables.database).await? {
            let mut reader = chunk.read(&self.tables.database).await?;
            while let Some(rows) = reader.next().await? {
                self.pass(&rows, &mut held, &place).await?;
            }
            place = chunk.place(to);
            if HEARTBEAT <= told.elapsed() {
                self.send(held.take(), &place).await?;
                told = Instant::now();
            }
        }
        self.send(held, to).await
    }

    /// Sends what was held, and holds what is seen of these rows: only the last of some news has the place after them.
    async fn pass(
        &mut self,
        rows: &RecordBatch,
        held: &mut Option<RecordBatch>,
        before: &Moment,
    ) -> Result<()> {
        if let Some(seen) = self.seen(rows).await?
            && let Some(held) = held.replace(seen)
        {
            self.send(Some(held), before).await?;
        }
        Ok(())
    }

    /// What is wanted and may be seen of some rows, as it is seen.
    async fn seen(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        let ids = rows.column(0).as_primitive::<Int32Type>();
        self.names = self.tables.dictionary.newest();
        if ids.values().iter().any(|id| self.names.position(*id).is_none()) {
            let client = self.tables.database.client().await?;
            self.names = self.tables.dictionary.reload(&client).await?;
        }
        let is_wanted: BooleanArray = ids.values().iter().map(|id| Some(self.is_wanted(*id))).collect();
        if is_wanted.true_count() == 0 {
            return Ok(None);
        }
        let rows = filter_record_batch(&rows.project(&self.places)?, &is_wanted)?;
        match self.presentation.apply(&rows, &self.names) {
            Ok(seen) => Ok((0 < seen.num_rows()).then_some(seen)),
            Err(Unseen::Failed(error)) => Err(error),
            Err(Unseen::Unknown(id)) => {
                Err(QueryError::Internal(format!("a row of series {id}, which table `series` lacks")))
            }
        }
    }

    fn is_wanted(&mut self, id: i32) -> bool {
        let (wanted, names) = (&self.wanted, &self.names);
        let Some(at) = names.position(id) else { return false }; // erased meanwhile
        *self.known.entry(id).or_insert_with(|| {
            let is_among = |set: &Option<HashSet<String>>, part| {
                set.as_ref().is_none_or(|set| set.contains(names.text(part, at)))
            };
            is_among(&wanted.sensors, SeriesPart::Sensor) && is_among(&wanted.metrics, SeriesPart::Metric)
        })
    }

    async fn send(&self, rows: Option<RecordBatch>, place: &Moment) -> Result<()> {
        let piece = Piece { rows, place: place.clone() };
        match timeout(self.stall, self.to.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(engine::left()),
            Err(_) => Err(engine::stalled(self.stall)),
        }
    }
}

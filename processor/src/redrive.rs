//! Rejected messages go through the street again, by today's mapping and registry. What fits now is stored, and its
//! rejection settled, in one transaction: killed anywhere, a redrive is simply started again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::{Client, error::SqlState};

use crate::{
    model::{Batch, BatchId, Message, Reason},
    registry::Registry,
    store::{
        City, Counts, Filter, Redriven, Rejected, RejectionState, Settlement, StoreError, Writer, connect,
        rejected::PAYLOAD_BYTES_MAX, remembered,
    },
    street::Street,
};

/// Rejections of one transaction: at most 32 MB of payload.
const STEP_ROWS: i64 = 500;
/// "screenrd" in ASCII.
const REDRIVE_LOCK: i64 = 0x7363_7265_656e_7264;

/// Works through the rejections that a filter takes, once, in order of their ids.
pub struct Redrive {
    client: Client,
    writer: Writer,
    street: Street,
    filter: Filter,
    /// The id reached.
    after: i64,
    /// The newest at the start: what a running ingest rejects meanwhile is for the next redrive.
    until: i64,
}

/// What a step did.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Step {
    /// Rejections looked at: settled, refused again or cut.
    pub rejections: u64,
    pub settled: u64,
    /// Still open.
    pub refused: Vec<Refused>,
    /// Ids of those whose payload was not kept whole, so that nothing can be tried.
    pub cut: Vec<i64>,
    /// What became of the readings that fit now.
    pub counts: Counts,
}

/// A rejection that stays open, with what is said of it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub id: i64,
    pub reason: Reason,
    pub detail: String,
}

impl Redrive {
    /// # Errors
    /// The database cannot be reached or is not ours, or another redrive is at work.
    pub async fn new(url: &str, street: Street, filter: Filter) -> Result<Redrive, StoreError> {
        let client = connect(url, "screenline-redrive").await?;
        let city = City::read(&client).await?;
        // One that was killed holds its lock until its backend finds out.
        client.batch_execute("SET lock_timeout = '10s'").await?;
        match client.query_one("SELECT pg_advisory_lock($1)", &[&REDRIVE_LOCK]).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                return Err(StoreError::Unfit("another redrive is at work: wait for its end".to_owned()));
            }
            outcome => drop(outcome?),
        }
        let until = client.query_one("SELECT coalesce(max(id), 0) FROM rejection", &[]).await?.get(0);
        let writer = Writer::new(url, city.level, street.registry.clone());
        let filter = Filter { state: Some(RejectionState::Open), ..filter };
        Ok(Redrive { client, writer, street, filter, after: 0, until })
    }

    /// Redrives the next rejections; `None` when there are no more. With `dry_run` nothing is written, and what is new
    /// cannot be told from what is stored.
    ///
    /// # Errors
    /// The database fails. What earlier steps did stays; a new redrive goes on with the rest.
    pub async fn step(&mut self, dry_run: bool) -> Result<Option<Step>, StoreError> {
        let mut page = self.filter.page(&self.client, self.after, STEP_ROWS, PAYLOAD_BYTES_MAX).await?;
        page.retain(|rejected| rejected.id <= self.until);
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.id;
        let mut step = Step { rejections: page.len() as u64, ..Step::default() };
        let (whole, cut): (Vec<Rejected>, Vec<Rejected>) =
            page.into_iter().partition(|rejected| rejected.whole);
        step.cut = cut.iter().map(|rejected| rejected.id).collect();
        if whole.is_empty() {
            return Ok(Some(step));
        }
        Registry::refresh(&self.street.registry, &self.client).await?;
        let mut memory = remembered(&self.client).await?;
        memory.pseudonyms = self.street.memory.pseudonyms.clone();
        self.street.memory = Arc::new(memory);
        let (batch, settlement) = again(whole);
        let batch = Arc::new(batch);
        let (processed, settled): (_, HashSet<i64>) = match dry_run {
            true => {
                let processed = self.street.try_out(batch).await;
                let (settled, _) = settlement.verdicts(&processed.rejections);
                (processed, settled.into_iter().collect())
            }
            false => {
                let (processed, written) =
                    self.street.write(&mut self.writer, batch.clone(), Some(&settlement)).await?;
                step.counts = written.counts;
                // The ledger holds what is refused again for duplicates.
                let refused = processed.rejections.iter().map(|again| i64::from(again.readings));
                step.counts.duplicate -= refused.sum::<i64>();
                (processed, self.settled(&settlement).await?)
            }
        };
        step.settled = settled.len() as u64;
        let refused =
            settlement.0.iter().filter(|redriven| !settled.contains(&redriven.id)).map(|redriven| {
                let now = processed.rejections.iter().filter(|now| now.message == redriven.message);
                let now = now.max_by_key(|now| now.reason.as_str() == redriven.reason); // its own reason, if still so
                let (reason, detail) = match now {
                    Some(now) => (now.reason, now.detail.clone()),
                    None => (Reason::Unstorable, "the database refuses a reading of it".to_owned()),
                };
                Refused { id: redriven.id, reason, detail }
            });
        step.refused = refused.collect();
        Ok(Some(step))
    }

    /// As the database has it: the writer may have found rows that it refuses.
    async fn settled(&self, settlement: &Settlement) -> Result<HashSet<i64>, StoreError> {
        let ids: Vec<i64> = settlement.0.iter().map(|redriven| redriven.id).collect();
        let select = "SELECT id FROM rejection WHERE id = ANY($1) AND state = 'redriven'";
        Ok(self.client.query(select, &[&ids]).await?.iter().map(|row| row.get(0)).collect())
    }
}

/// The messages of some rejections, each once, with the rejections that it may settle.
fn again(rejections: Vec<Rejected>) -> (Batch, Settlement) {
    let mut known: HashMap<(String, Vec<u8>, jiff::Timestamp), u32> = HashMap::new();
    let mut messages = Vec::new();
    let redriven = rejections.into_iter().map(|rejected| {
        let key = (rejected.topic.clone(), rejected.sha256, rejected.received_at);
        let message = *known.entry(key).or_insert_with(|| {
            messages.push(Message {
                topic: rejected.topic,
                payload: rejected.payload.into(),
                received_at: rejected.received_at.into(),
                retained: rejected.retained,
                number: None, // it was committed with the rejection
            });
            messages.len() as u32 - 1
        });
        Redriven { id: rejected.id, message, reason: rejected.reason, open_reasons: rejected.open_reasons }
    });
    let settlement = Settlement(redriven.collect());
    (Batch { id: BatchId(fastrand::i64(1..)), messages, shed: 0 }, settlement)
}

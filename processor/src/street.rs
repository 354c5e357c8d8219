//! The street for what does not come from a broker: rejected messages that are tried again, and files.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use tracing::warn;

use crate::{
    mapping::Mapping,
    memory::Memory,
    model::{Batch, Proposal, Series, SeriesId},
    process::{Processed, process},
    registry::{self, Registry},
    service::{Backoff, compute},
    store::{Settlement, StoreError, Writer, Written},
    validate::Rules,
};

/// Attempts at one transaction, over some ten seconds: an operator waits, and nothing is lost by starting again.
const ATTEMPTS_MAX: u32 = 6;

/// What makes a reading of a message today.
#[derive(Clone)]
pub struct Street {
    pub mapping: Arc<Mapping>,
    pub registry: Arc<RwLock<Registry>>,
    pub rules: Rules,
    /// What is remembered of senders now; a message that does not come from a broker changes nothing of it.
    pub memory: Arc<Memory>,
}

impl Street {
    async fn process(&self, batch: Arc<Batch>) -> Processed {
        let street = self.clone();
        compute(move || {
            let registry = registry::read(&street.registry);
            let said = process(&batch.messages, &street.mapping, &registry, &street.rules, &street.memory);
            Processed { changes: Vec::new(), requests: Vec::new(), ..said }
        })
        .await
    }

    /// What today's mapping and registry make of messages, without the database: series that would be registered get
    /// ids below 0 in our memory.
    pub async fn try_out(&self, batch: Arc<Batch>) -> Processed {
        let said = self.process(batch.clone()).await;
        if said.proposals.is_empty() {
            return said;
        }
        {
            let mut registry = registry::write(&self.registry);
            let lowest = registry.all_series().map(|series| series.id.0).min().unwrap_or(0).min(0);
            for (id, proposal) in (1..).zip(&said.proposals) {
                let Proposal { kind, unit, interval_s, .. } = proposal;
                let series = Series::new(SeriesId(lowest - id), *kind, unit, *interval_s);
                registry.add_series(proposal.sensor.as_str(), proposal.metric.as_str(), series);
            }
        }
        Processed { proposals: said.proposals, ..self.process(batch).await }
    }

    /// Writes a batch, with patience; with a settlement, of messages that were rejected once.
    ///
    /// # Errors
    /// The database fails again and again. Writing the same again later is safe.
    pub async fn write(
        &self,
        writer: &mut Writer,
        batch: Arc<Batch>,
        settlement: Option<&Settlement>,
    ) -> Result<(Processed, Written), StoreError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut processed = self.process(batch.clone()).await;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt(writer, &batch, &mut processed, settlement).await {
                Ok(written) => return Ok((processed, written)),
                Err(error) if attempts < ATTEMPTS_MAX => {
                    warn!(%error, messages = batch.messages.len(), "writing failed, will retry");
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(
        &self,
        writer: &mut Writer,
        batch: &Arc<Batch>,
        processed: &mut Processed,
        settlement: Option<&Settlement>,
    ) -> Result<Written, StoreError> {
        loop {
            if !processed.proposals.is_empty() {
                writer.register(&processed.proposals).await?;
                *processed = self.process(batch.clone()).await;
            }
            let written = match settlement {
                Some(settlement) => writer.redrive(batch, processed, settlement).await,
                None => writer.write(batch, processed).await,
            };
            match written {
                Err(StoreError::Outdated) => {
                    writer.refresh().await?;
                    *processed = self.process(batch.clone()).await;
                }
                outcome => return outcome,
            }
        }
    }
}

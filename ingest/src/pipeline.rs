//! Decode, write, acknowledge. The next batch is decoded while one is written.

use std::{
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use processor::{
    faults::{Bug, planted, point},
    mapping::Mapping,
    model::{Batch, Time},
    process::{Outcome, Processed, process},
    registry::{self, Registry},
    service::{Backoff, compute},
    store::{self, StoreError, Writer, Written},
    validate::Rules,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    core::Retry,
    gate::Gate,
    metrics::{self, Gauges},
    positions::Notices,
};

pub struct Pipeline {
    pub mapping: Arc<Mapping>,
    pub registry: Arc<RwLock<Registry>>,
    pub rules: Rules,
    pub writer: Writer,
    pub gate: Arc<Gate>,
    pub notices: Arc<Notices>,
    pub gauges: Arc<Gauges>,
}

/// A decoded batch on its way to the tables.
struct Decoded {
    batch: Arc<Batch>,
    processed: Processed,
    /// As counted by the gauge; processing it again may find more.
    readings: usize,
}

impl Pipeline {
    /// Until `shutdown`; then writes what was received.
    ///
    /// # Errors
    /// The database does not answer during the shutdown: the broker will deliver those messages again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (decoded, mut to_write) = mpsc::channel::<Decoded>(1); // one decoded while one is written
        let decoder = Decoder { mapping: self.mapping, registry: self.registry, rules: self.rules };
        let decoding = {
            let (decoder, gate, gauges) = (decoder.clone(), self.gate.clone(), self.gauges.clone());
            tokio::spawn(async move {
                while let Some(batch) = gate.next_batch().await? {
                    point("ingest.batched").await?;
                    let batch = Arc::new(batch);
                    let processed = decoder.decode(batch.clone()).await;
                    let readings = gauges.decoded(&processed);
                    point("ingest.decoded").await?;
                    if decoded.send(Decoded { batch, processed, readings }).await.is_err() {
                        break; // the writing side gave up
                    }
                }
                anyhow::Ok(())
            })
        };
        let Pipeline { writer, gate, notices, gauges, .. } = self;
        let mut writing = Writing { decoder, writer, gate, notices, gauges, shutdown };
        while let Some(next) = to_write.recv().await {
            writing.write(next).await?;
        }
        decoding.await.context("the decoder panicked")?
    }
}

/// The pure half, on every core.
#[derive(Clone)]
struct Decoder {
    mapping: Arc<Mapping>,
    registry: Arc<RwLock<Registry>>,
    rules: Rules,
}

impl Decoder {
    async fn decode(&self, batch: Arc<Batch>) -> Processed {
        let decoder = self.clone();
        let started = Instant::now();
        let processed = compute(move || {
            let registry = registry::read(&decoder.registry);
            process(&batch.messages, &decoder.mapping, &registry, &decoder.rules)
        });
        let processed = processed.await;
        ::metrics::histogram!("screenline_decode_seconds").record(started.elapsed().as_secs_f64());
        processed
    }
}

/// The half that talks to the database.
struct Writing {
    decoder: Decoder,
    writer: Writer,
    gate: Arc<Gate>,
    notices: Arc<Notices>,
    gauges: Arc<Gauges>,
    shutdown: CancellationToken,
}

impl Writing {
    async fn write(&mut self, decoded: Decoded) -> anyhow::Result<()> {
        let Decoded { batch, mut processed, readings } = decoded;
        let started = Instant::now();
        let oldest = batch.messages.first().map(|message| message.received_at);
        self.gauges.writing(oldest);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let written = loop {
            match store::answered(self.attempt(&batch, &mut processed)).await {
                Ok(written) => break written,
                Err(error) => {
                    ::metrics::counter!("screenline_write_failures_total").increment(1);
                    if self.gate.failed(batch.id) == Retry::GiveUp {
                        return Err(error).context("write the last batch; its messages stay with the broker");
                    }
                    warn!(%error, messages = batch.messages.len(), "write failed, will retry");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        () = self.shutdown.cancelled() => {}
                    }
                }
            }
        };
        if planted(Bug::RejectedUnacknowledged) {
            let rejected = |at: &usize| processed.fates[*at].outcome == Outcome::Rejected;
            self.gate.withhold(batch.id, (0..processed.fates.len()).filter(rejected));
        }
        self.gate.committed(batch.id).await?;
        self.gauges.written(readings);
        metrics::count(&written, &processed);
        if !written.positions.is_empty() {
            self.notices.post(written.positions);
        }
        ::metrics::histogram!("screenline_write_seconds").record(started.elapsed().as_secs_f64());
        if let Some(oldest) = oldest {
            let age = Time::from(Timestamp::now()).micros() - oldest.micros();
            ::metrics::histogram!("screenline_commit_age_seconds").record(age as f64 / 1e6);
        }
        Ok(())
    }

    async fn attempt(
        &mut self,
        batch: &Arc<Batch>,
        processed: &mut Processed,
    ) -> Result<Written, StoreError> {
        loop {
            if !processed.proposals.is_empty() {
                self.writer.register(&processed.proposals).await?;
                *processed = self.decoder.decode(batch.clone()).await;
            }
            match self.writer.write(batch, processed).await {
                Err(StoreError::Outdated) => {
                    self.writer.refresh().await?;
                    *processed = self.decoder.decode(batch.clone()).await;
                }
                outcome => return outcome,
            }
        }
    }
}

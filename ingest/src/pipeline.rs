//! Decode, write, acknowledge. The next batch is decoded while one is written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use processor::{
    faults::{Bug, planted, point},
    model::{Batch, Time},
    process::Outcome,
    service::Backoff,
    store::{self, StoreError, Writer, Written},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    core::Retry,
    decoder::{Decoder, Read},
    gate::Gate,
    metrics::{self, Gauges},
    positions::Notices,
};

pub struct Pipeline {
    pub decoder: Decoder,
    pub writer: Writer,
    pub gate: Arc<Gate>,
    pub notices: Arc<Notices>,
    pub gauges: Arc<Gauges>,
}

/// A decoded batch on its way to the tables.
struct Decoded {
    batch: Arc<Batch>,
    read: Read,
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
        let decoding = {
            let (decoder, gate, gauges) = (self.decoder.clone(), self.gate.clone(), self.gauges.clone());
            tokio::spawn(async move {
                while let Some(batch) = gate.next_batch().await? {
                    point("ingest.batched").await?;
                    let batch = Arc::new(batch);
                    let read = decoder.read(batch.clone()).await;
                    let readings = gauges.decoded(&read.processed);
                    point("ingest.decoded").await?;
                    if decoded.send(Decoded { batch, read, readings }).await.is_err() {
                        break; // the writing side gave up
                    }
                }
                anyhow::Ok(())
            })
        };
        let Pipeline { decoder, writer, gate, notices, gauges } = self;
        let mut writing = Writing { decoder, writer, gate, notices, gauges, shutdown };
        while let Some(next) = to_write.recv().await {
            writing.write(next).await?;
        }
        decoding.await.context("the decoder panicked")?
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
        let Decoded { batch, mut read, readings } = decoded;
        let started = Instant::now();
        let oldest = batch.messages.first().map(|message| message.received_at);
        self.gauges.writing(oldest);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let written = loop {
            match store::answered(self.attempt(&batch, &mut read)).await {
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
        let processed = read.processed;
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
        self.notices.request(processed.requests);
        ::metrics::histogram!("screenline_write_seconds").record(started.elapsed().as_secs_f64());
        if let Some(oldest) = oldest {
            let age = Time::from(Timestamp::now()).micros() - oldest.micros();
            ::metrics::histogram!("screenline_commit_age_seconds").record(age as f64 / 1e6);
        }
        Ok(())
    }

    async fn attempt(&mut self, batch: &Arc<Batch>, read: &mut Read) -> Result<Written, StoreError> {
        loop {
            if !read.processed.proposals.is_empty() {
                self.writer.register(&read.processed.proposals).await?;
                self.decoder.again(batch.clone(), read).await;
            }
            match self.writer.write(batch, &read.processed).await {
                Err(StoreError::Outdated) => {
                    self.writer.refresh().await?;
                    self.decoder.again(batch.clone(), read).await;
                }
                Err(StoreError::Forgotten) => {
                    let memory = self.writer.remembered().await?;
                    self.decoder.anew(batch.clone(), read, memory).await;
                }
                outcome => return outcome,
            }
        }
    }
}

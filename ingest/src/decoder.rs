//! The pure half at work, on every core: which mapping, registry and memory a batch is read by.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use processor::{
    mapping::Mapping,
    memory::{Memory, Request},
    model::{Batch, Time},
    process::{Processed, process},
    registry::{self, Registry},
    service::compute,
    validate::Rules,
};

#[derive(Clone)]
pub struct Decoder {
    /// Replaced while running, between two batches.
    mapping: Arc<RwLock<Arc<Mapping>>>,
    registry: Arc<RwLock<Registry>>,
    rules: Rules,
    /// After the batch that was read last.
    memory: Arc<RwLock<Memory>>,
}

/// What a batch says, and the mapping that says so.
pub struct Read {
    pub mapping: Arc<Mapping>,
    pub processed: Processed,
}

impl Decoder {
    pub fn new(mapping: Mapping, registry: Arc<RwLock<Registry>>, rules: Rules, memory: Memory) -> Self {
        let mapping = Arc::new(RwLock::new(Arc::new(mapping)));
        Decoder { mapping, registry, rules, memory: Arc::new(RwLock::new(memory)) }
    }

    pub fn mapping(&self) -> Arc<Mapping> {
        self.mapping.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next batch is read by another mapping.
    pub fn replace_mapping(&self, mapping: Mapping) {
        *self.mapping.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mapping);
    }

    /// Reads the batch that follows the one read last.
    pub async fn read(&self, batch: Arc<Batch>) -> Read {
        let (decoder, mapping) = (self.clone(), self.mapping());
        let started = Instant::now();
        let read = compute(move || {
            let processed = decoder.process(&batch, &mapping, &decoder.remembered());
            decoder.memory_mut().advance(&processed.changes);
            Read { mapping, processed }
        });
        let read = read.await;
        metrics::histogram!("screenline_decode_seconds").record(started.elapsed().as_secs_f64());
        read
    }

    /// Reads a batch again as it was read before, but by the registry of now.
    pub async fn again(&self, batch: Arc<Batch>, read: &mut Read) {
        let (decoder, mapping) = (self.clone(), read.mapping.clone());
        let before = self.remembered().before(&read.processed.changes);
        read.processed = compute(move || decoder.process(&batch, &mapping, &before)).await;
    }

    /// Reads a batch again by what another process remembers of its senders.
    pub async fn anew(&self, batch: Arc<Batch>, read: &mut Read, memory: Memory) {
        let decoder = self.clone();
        let mapping = read.mapping.clone();
        read.processed = compute(move || {
            {
                let mut known = decoder.memory_mut();
                let pseudonyms = known.pseudonyms.clone();
                *known = memory;
                known.pseudonyms = pseudonyms;
            }
            let processed = decoder.process(&batch, &mapping, &decoder.remembered());
            decoder.memory_mut().advance(&processed.changes);
            processed
        })
        .await;
    }

    /// What to ask of senders whose messages were missed.
    pub fn overdue(&self, now: Time) -> Vec<Request> {
        self.memory_mut().overdue(now)
    }

    /// How many senders are remembered.
    pub fn senders(&self) -> usize {
        self.remembered().len()
    }

    pub fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self, batch: &Batch, mapping: &Mapping, memory: &Memory) -> Processed {
        let registry = registry::read(&self.registry);
        process(&batch.messages, mapping, &registry, &self.rules, memory)
    }
}

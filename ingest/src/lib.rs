//! The service that takes messages from a broker to the tables. A message is acknowledged only after the transaction
//! that holds it committed, and in order of arrival.
//!
//! ```text
//! broker ═> subscriber ──> gate ──batches──> decode ──processed──> writer ──> gate ──> acknowledgements ═> broker
//!                         64 MiB     3      (rayon)       1       one transaction
//! ```
//!
//! # Layout
//! - [`config`]: every setting; [`address`]: a broker's, with logins and certificates
//! - [`canary`]: a look at the broker before messages are entrusted to it
//! - `session`: one connection, over MQTT 5 or 3.1.1
//! - `subscriber`: the task that polls the connection and does nothing else
//! - `core`: every decision: the budget, batches, the order and the fence of acknowledgements; pure
//! - `simulation`: the core between a model broker and a model database, in any order of events; for the proof only
//! - `gate`: the core at work between the subscriber and the pipeline
//! - `pipeline`: decode, write, acknowledge; `decoder`: by which mapping and memory
//! - [`ready`]: mappings that are part of the program; `reloading`: changed ones are taken while running
//! - `pseudonyms`: keys that live for a day
//! - `positions`: the acknowledgement topic of publishers that number their messages, and requests to senders
//! - `rolling`: the roller beside them; `auditing`: the auditor; `keeping`: retention
//! - `account`: what is missing, as gauges
//! - `metrics`: what operators see

mod account;
pub mod address;
mod auditing;
pub mod canary;
pub mod config;
mod core;
mod decoder;
mod gate;
mod keeping;
mod metrics;
mod pipeline;
mod positions;
mod pseudonyms;
pub mod ready;
mod reloading;
mod rolling;
mod session;
#[cfg(any(test, feature = "faults"))]
pub mod simulation;
mod subscriber;

use std::{
    sync::{Arc, RwLock, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};
use processor::{
    mapping::Mapping,
    memory::SENDERS_MAX,
    registry::Registry,
    roller::{Forming, Roller},
    service::Backoff,
    store::{self, Positions, Writer},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use config::{Config, Intake};

use crate::{
    core::Limits,
    decoder::Decoder,
    gate::Gate,
    metrics::Gauges,
    pipeline::Pipeline,
    positions::Notices,
    session::Choice,
    subscriber::{Subscriber, Subscriptions},
};

/// A running service.
#[derive(Debug)]
pub struct Handle {
    /// Whether messages flow: subscribed, and the database takes batches.
    pub ready: watch::Receiver<bool>,
    /// Ends after the drain, or with the error that ended the service.
    pub finished: JoinHandle<anyhow::Result<()>>,
}

/// Starts the service; it is subscribed when this returns. Cancelling `shutdown` drains it: what was received is
/// written and acknowledged, and the session stays with the broker.
///
/// # Errors
/// The database cannot be migrated, the broker is not fit or does not let us in, or `shutdown` came first.
pub async fn start(config: Config, mapping: Mapping, shutdown: CancellationToken) -> anyhow::Result<Handle> {
    metrics::describe();
    let zone = TimeZone::get(&config.time_zone)
        .with_context(|| format!("{:?} is no time zone", config.time_zone))?;
    let keep = config.keep()?;
    let (level, ()) =
        tokio::try_join!(migrate(&config, &shutdown), canary::before_start(&config, &shutdown))?;
    info!(%level, "tables are ready");

    let registry = Arc::new(RwLock::new(Registry::new(config.intake.registry)));
    let client = store::connect(&config.database_url, "screenline-ingest").await?;
    Registry::refresh(&registry, &client).await.context("load the registry")?;
    let notices = Arc::new(Notices::default());
    notices.post(Positions::all(&client).await.context("read the positions of numbered sources")?);
    keep.store(&client).await.context("write how long rows are kept")?;
    let mut memory = store::remembered(&client).await.context("read what is remembered of senders")?;
    if let Some(folder) = &config.intake.pseudonym_keys {
        memory.pseudonyms = Arc::new(pseudonyms::load(folder, Timestamp::now())?);
    }
    drop(client);

    let gauges = Arc::new(Gauges::default());
    let gate = Arc::new(Gate::new(Limits::default()));
    let subscriptions = Arc::new(Subscriptions::new(&config, &mapping, gate.clone())?);
    let subscriber = Subscriber::new(&config, subscriptions.clone(), gate.clone())?;
    let decoder = Decoder::new(mapping, registry.clone(), config.intake.rules(), memory);
    let stop_polling = CancellationToken::new();
    let polling = tokio::spawn(subscriber.run(shutdown.clone(), stop_polling.clone()));
    tokio::spawn({
        let (gate, shutdown) = (gate.clone(), shutdown.clone());
        async move {
            shutdown.cancelled().await;
            gate.drain();
        }
    });

    let forming = Forming::default();
    let pipeline = Pipeline {
        decoder: decoder.clone(),
        writer: Writer::new(&config.database_url, level, registry.clone()).with(forming.clone()),
        gate: gate.clone(),
        notices: notices.clone(),
        gauges: gauges.clone(),
    };
    let flowing = tokio::spawn(pipeline.run(shutdown.clone()));
    let intake = config.intake.clone();
    tokio::spawn(reloading::run(intake, decoder.clone(), subscriptions, shutdown.clone()));
    if let Some(folder) = config.intake.pseudonym_keys.clone() {
        tokio::spawn(pseudonyms::run(folder, decoder.clone(), shutdown.clone()));
    }
    tokio::spawn(remind(decoder, notices.clone(), shutdown.clone()));
    let (url, behind) = (&config.database_url, Arc::new(AtomicBool::new(false)));
    let roller = Roller::new(url, registry.clone(), zone.clone()).with(forming.clone());
    let rolling = rolling::run(roller, forming, registry.clone(), behind.clone(), shutdown.clone());
    let rolling = tokio::spawn(rolling);
    let keeping = tokio::spawn(keeping::run(url.clone(), zone.clone(), behind.clone(), shutdown.clone()));
    let auditing = tokio::spawn(auditing::run(url.clone(), registry, zone, behind, shutdown.clone()));
    let stop_telling = CancellationToken::new();
    let address = config.broker()?;
    let client_id = format!("{}-positions", config.client_id);
    let choice = Choice::new(config.broker_protocol);
    tokio::spawn(positions::read_again(notices.clone(), config.database_url.clone(), stop_telling.clone()));
    let mut telling =
        tokio::spawn(positions::publish(notices, address, client_id, choice, stop_telling.clone()));
    let observing = tokio::spawn(metrics::observe(gauges, gate.clone()));
    tokio::spawn(account::run(config.database_url.clone(), shutdown.clone()));

    let ready = gate.ready();
    let mut subscribed = ready.clone();
    tokio::select! {
        outcome = subscribed.wait_for(|subscribed| *subscribed) => drop(outcome.context("subscribe")?),
        () = shutdown.cancelled() => {}
    }
    let finished = tokio::spawn(async move {
        let flowed = flowing.await.context("the pipeline panicked")?;
        if flowed.is_err() {
            shutdown.cancel();
        }
        // Acknowledgements are in the client's queue: they leave while the connection is polled.
        gate.disconnect();
        if tokio::time::timeout(Duration::from_secs(5), polling).await.is_err() {
            warn!("the broker did not take the last acknowledgements; it will deliver those messages again");
            stop_polling.cancel();
        }
        // What is not told now is told at the next start.
        stop_telling.cancel();
        if tokio::time::timeout(Duration::from_secs(2), &mut telling).await.is_err() {
            telling.abort();
        }
        rolling.await.context("the roller panicked")?;
        auditing.abort(); // it only reads
        keeping.abort(); // in a transaction
        observing.abort();
        flowed
    });
    Ok(Handle { ready, finished })
}

/// Asks senders whose messages were missed, though nothing more of them comes.
async fn remind(decoder: Decoder, notices: Arc<Notices>, shutdown: CancellationToken) {
    ::metrics::gauge!("screenline_senders_remembered_limit").set(SENDERS_MAX as f64);
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shutdown.cancelled() => return,
        }
        notices.request(decoder.overdue(Timestamp::now().into()));
        ::metrics::gauge!("screenline_senders_remembered").set(decoder.senders() as f64);
    }
}

/// The database may still be starting: asked again until it answers.
async fn migrate(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<store::Level> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        let attempt = async {
            let mut client = store::connect(&config.database_url, "screenline-ingest").await?;
            store::migrate(&mut client, config.storage, &config.time_zone).await
        };
        match attempt.await {
            Ok(level) => return Ok(level),
            Err(error) if error.lost_connection() => {
                warn!(%error, "the database does not answer, will retry");
            }
            Err(error) => return Err(error).context("migrate the tables"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = shutdown.cancelled() => anyhow::bail!("stopped before the database answered"),
        }
    }
}

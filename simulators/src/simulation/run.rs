//! A run: every connection sends its course, each message when it is due, until the broker has acknowledged all of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::Far;
use super::course::Course;
use super::fault::Kind;
use super::key::KeyWriter;
use super::{Simulation, TICK_S};
use crate::broker::Broker;
use crate::oracle::Numbers;
use crate::publisher::Publisher;
use crate::recording::Message;
use crate::replay::{Progress, Protocol, Speed};

/// How fast a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub speed: Speed,
    /// Readings a second, at most.
    pub rate: Option<f64>,
}

/// How far a run is; read it from another task at any time.
#[derive(Debug, Default)]
pub struct Going {
    pub messages: Arc<Progress>,
    /// Readings sent.
    pub readings: AtomicU64,
    /// Simulated time up to which everything was sent, in seconds since the start; of the connection that is furthest.
    pub second: AtomicI64,
    /// By how many milliseconds the last message was late, because the broker or this machine is too slow.
    pub behind_ms: AtomicU64,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    pub messages: u64,
    pub acknowledged: u64,
    pub readings: u64,
    pub sent_again: u64,
    /// Whether it came to its end.
    pub is_complete: bool,
}

/// Connections to a broker.
pub struct Lines(Vec<Publisher>);

impl Lines {
    /// # Errors
    /// The broker cannot be reached, or refuses us.
    pub async fn connect(
        broker: &Broker,
        protocol: Protocol,
        connections: u32,
        going: &Going,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Lines> {
        let mut lines: Vec<Publisher> = Vec::new();
        for _ in 0..connections {
            let protocol = lines.first().map_or(protocol, |first| first.protocol);
            lines.push(Publisher::start(broker.clone(), protocol, going.messages.clone(), shutdown).await?);
        }
        Ok(Lines(lines))
    }

    /// How messages can be numbered on them.
    pub fn numbers(&self) -> Numbers {
        match self.0.first().map(|line| line.protocol) {
            Some(Protocol::V311) => Numbers::Payload,
            _ => Numbers::Properties,
        }
    }
}

/// Sends all of a run, and notes in the key how far it came.
///
/// # Errors
/// The broker refuses us or a message, or the key cannot be written.
pub async fn run(
    simulation: Arc<Simulation>,
    lines: Lines,
    pace: Pace,
    key: Option<Arc<Mutex<KeyWriter>>>,
    going: Arc<Going>,
    shutdown: CancellationToken,
) -> anyhow::Result<Outcome> {
    let stop = shutdown.child_token();
    let mut connections = JoinSet::new();
    let started = Instant::now();
    for (connection, publisher) in (0..).zip(lines.0) {
        let sender = Sender {
            simulation: simulation.clone(),
            connection,
            started,
            pace,
            key: key.clone(),
            going: going.clone(),
            readings: 0,
        };
        connections.spawn(sender.send(publisher, stop.clone()));
    }
    let (mut outcome, mut failed) = (Outcome { is_complete: true, ..Outcome::default() }, None);
    while let Some(ended) = connections.join_next().await {
        let (done, result) = ended.context("a connection's task")?;
        outcome.messages += done.messages;
        outcome.acknowledged += done.acknowledged;
        outcome.readings += done.readings;
        outcome.sent_again += done.sent_again;
        match result {
            Ok(is_complete) => outcome.is_complete &= is_complete && done.messages == done.acknowledged,
            Err(error) => {
                stop.cancel(); // one that fails ends the others
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(outcome), Err)
}

/// One connection of a run.
struct Sender {
    simulation: Arc<Simulation>,
    connection: u32,
    started: Instant,
    pace: Pace,
    key: Option<Arc<Mutex<KeyWriter>>>,
    going: Arc<Going>,
    readings: u64,
}

/// Messages between two cuts of a storm: some are acknowledged, and some are not.
const BETWEEN_CUTS: u32 = 7;

impl Sender {
    async fn send(
        mut self,
        mut publisher: Publisher,
        stop: CancellationToken,
    ) -> (Outcome, anyhow::Result<bool>) {
        let sent = self.course(&mut publisher, &stop).await;
        // What was handed over before an error deserves its acknowledgement as well.
        let settled = publisher.settle(&stop).await;
        let is_settled = publisher.oldest().is_none();
        let summary = publisher.finish().await;
        let outcome = Outcome {
            messages: summary.published,
            acknowledged: summary.acknowledged,
            readings: self.readings,
            sent_again: summary.sent_again,
            is_complete: false,
        };
        let result = sent.and_then(|is_complete| {
            settled?;
            if is_complete && is_settled {
                self.note(u32::MAX, u32::MAX)?;
            }
            Ok(is_complete)
        });
        (outcome, result)
    }

    /// False when a shutdown came first.
    async fn course(&mut self, publisher: &mut Publisher, stop: &CancellationToken) -> anyhow::Result<bool> {
        let simulation = self.simulation.clone();
        let scenario = &simulation.scenario;
        let (mut tick, mut in_tick) = (0, 0);
        let mut cuts = 0;
        for sending in Course::new(&simulation, self.connection) {
            if tick != sending.tick {
                tick = sending.tick;
                in_tick = 0;
                cuts = self.cuts(tick);
                let oldest = publisher.oldest().map_or(tick, |oldest| self.tick_of(oldest.t));
                self.note(tick, oldest.saturating_sub(1))?;
                self.going.second.fetch_max(i64::from(tick) * TICK_S, Ordering::Relaxed);
            }
            let due_us = simulation.due_us(&sending);
            let (started, pace, readings) = (self.started, self.pace, self.readings);
            let connections = f64::from(scenario.connections);
            let due = || {
                let by_speed = match pace.speed {
                    Speed::Max => Duration::ZERO,
                    // The first readings speak of the first tick, so they come at its end.
                    Speed::Times(times) => seconds(due_us as f64 / 1e6 / times),
                };
                let by_rate =
                    pace.rate.map_or(Duration::ZERO, |rate| seconds(readings as f64 * connections / rate));
                started + by_speed.max(by_rate)
            };
            let wait = || due().checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero());
            if !publisher.wait_until(wait, stop).await? {
                return Ok(false);
            }
            let behind = Instant::now().saturating_duration_since(due());
            if pace.speed != Speed::Max || pace.rate.is_some() {
                self.going.behind_ms.store(behind.as_millis() as u64, Ordering::Relaxed);
            }
            let (said, count) = simulation.utterance(&sending.due, sending.number.as_ref());
            let t = scenario.starts.checked_add(SignedDuration::from_secs(i64::from(tick) * TICK_S))?;
            let mut message = Message::new(t, said.topic, said.payload);
            if let (Some(number), Numbers::Properties | Numbers::Both) = (&sending.number, scenario.numbers) {
                message.properties.user = number.properties();
            }
            publisher.publish(message, stop).await?;
            self.readings += count as u64;
            self.going.readings.fetch_add(count as u64, Ordering::Relaxed);
            in_tick += 1;
            if 0 < cuts && in_tick % BETWEEN_CUTS == 0 {
                cuts -= 1;
                if scenario.numbers == Numbers::None {
                    // Without numbers nobody could tell a message that comes again from another one.
                    publisher.settle(stop).await?;
                }
                publisher.cut(stop).await?;
            }
        }
        Ok(true)
    }

    /// How often the connection is cut in a tick: the times of a storm, spread over its window.
    fn cuts(&self, tick: u32) -> u32 {
        let scenario = &self.simulation.scenario;
        let storms =
            scenario.faults.iter().enumerate().filter(|(_, fault)| fault.kind == Kind::ReconnectStorm);
        let of = |(n, fault): (usize, &super::Fault)| {
            let (from, to) = fault.ticks(scenario.ticks);
            let chance = self.simulation.chance.of(2_000 + n as u64).of(u64::from(self.connection));
            if tick <= from || to < tick || !chance.happens(fault.rate) {
                return 0;
            }
            let (times, ticks) = (u64::from(fault.times.unwrap_or(1)), u64::from(to - from));
            let until = |tick: u32| times * u64::from(tick - from) / ticks;
            (until(tick) - until(tick - 1)) as u32
        };
        storms.map(of).sum()
    }

    fn tick_of(&self, t: Timestamp) -> u32 {
        (t.duration_since(self.simulation.scenario.starts).as_secs() / TICK_S) as u32
    }

    fn note(&self, sent: u32, taken: u32) -> anyhow::Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let at_us = Timestamp::now().as_microsecond();
        let far = Far { connection: self.connection, sent, taken, at_us };
        key.lock().unwrap_or_else(PoisonError::into_inner).far(far)
    }
}

/// Of at most a century: the clock's own range ends somewhere beyond.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 3.2e9))
}

//! Facts as the messages that sensors would have sent, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap, path::PathBuf};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Fact, Found, Importer, instant::left_us};
use crate::{
    observation::Utterance,
    speech::{passages, senml},
};

/// Readings of one pack: a gateway sends no more at once.
const READINGS_A_PACK: usize = 200;
/// Messages that wait for earlier ones, of some 300 bytes each. Simulators write in the order of time, up to the vehicle
/// that stands on a detector longest.
const WAITING_MAX: usize = 100_000;
/// Below it are the packs of what was imported; the ready mapping `senml` reads them.
const TOPIC: &str = "city/senml/import";
/// What a level of a topic cannot hold.
const RESERVED: &AsciiSet = &CONTROLS.add(b'/').add(b'#').add(b'+').add(b'%');

/// Turns facts into messages, in the order in which they come: readings of one sensor and time are one pack.
#[derive(Default)]
pub struct Speaker {
    pack: Option<Started>,
}

struct Started {
    sensor: String,
    time_us: i64,
    pack: senml::Pack,
}

impl Speaker {
    /// # Errors
    /// What `take` returns.
    pub fn say(
        &mut self,
        fact: Fact<'_>,
        take: &mut dyn FnMut(i64, Utterance) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match fact {
            Fact::Passage { detector, passage } => {
                take(left_us(&passage), passages::say(detector, &passage, ""))
            }
            Fact::Reading { sensor, reading, .. } => {
                let fits = |started: &Started| {
                    started.sensor == sensor
                        && started.time_us == reading.time_us
                        && started.pack.readings() < READINGS_A_PACK
                };
                if !self.pack.as_ref().is_some_and(fits) {
                    self.finish(take)?;
                }
                let started = self.pack.get_or_insert_with(|| Started {
                    sensor: sensor.to_owned(),
                    time_us: reading.time_us,
                    pack: senml::Pack::new(""),
                });
                started.pack.push(sensor, &reading);
                Ok(())
            }
        }
    }

    /// Says what is left.
    ///
    /// # Errors
    /// What `take` returns.
    pub fn finish(
        &mut self,
        take: &mut dyn FnMut(i64, Utterance) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(Started { sensor, time_us, pack }) = self.pack.take() else { return Ok(()) };
        let topic = format!("{TOPIC}/{}", utf8_percent_encode(&sensor, RESERVED));
        take(time_us, Utterance { topic, payload: pack.finish() })
    }
}

impl Importer {
    /// The messages of a file, in its order.
    ///
    /// # Errors
    /// As of [`Importer::read`].
    pub fn say(
        &self,
        file: &std::path::Path,
        take: &mut dyn FnMut(i64, Utterance) -> anyhow::Result<()>,
    ) -> anyhow::Result<Found> {
        let mut speaker = Speaker::default();
        let found = self.read(file, &mut |fact| speaker.say(fact, take))?;
        speaker.finish(take)?;
        Ok(found)
    }
}

/// A message that waits: by its time, then in the order in which it was said.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    time_us: i64,
    number: u64,
    topic: String,
    payload: Vec<u8>,
}

/// The messages of some files in the order of their times, as a recording has them: a reading's at its own time, a
/// passage's when the vehicle has left. Files are read in the order given, and put into order over 100,000 messages.
///
/// # Errors
/// As of [`Importer::read`]; or a message is earlier than one that was given 100,000 messages before.
pub fn messages(
    importer: &Importer,
    files: &[PathBuf],
    take: &mut dyn FnMut(Timestamp, Utterance) -> anyhow::Result<()>,
) -> anyhow::Result<Found> {
    let mut waiting: BinaryHeap<Reverse<Waiting>> = BinaryHeap::new();
    let (mut last_us, mut number) = (i64::MIN, 0);
    let mut give = |Reverse(Waiting { time_us, topic, payload, .. }): Reverse<Waiting>| {
        let time = Timestamp::from_microsecond(time_us).context("a time beyond the calendar")?;
        ensure!(
            last_us <= time_us,
            "{topic} speaks of {time}, which is earlier than what came {WAITING_MAX} messages before: sort the file by \
             its times, or give files in their order"
        );
        last_us = time_us;
        take(time, Utterance { topic, payload })
    };
    let mut found = Found::default();
    for file in files {
        let of_file = importer.say(file, &mut |time_us, Utterance { topic, payload }| {
            number += 1;
            waiting.push(Reverse(Waiting { time_us, number, topic, payload }));
            match waiting.len() {
                0..=WAITING_MAX => Ok(()),
                _ => waiting.pop().map_or(Ok(()), &mut give),
            }
        })?;
        found.join(of_file)?;
    }
    while let Some(next) = waiting.pop() {
        give(next)?;
    }
    Ok(found)
}

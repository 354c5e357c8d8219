//! The order in which a connection sends: tick by tick, what was held before what is new, voice by voice.

use std::collections::{BTreeMap, HashMap};

use super::Simulation;
use crate::oracle::Number;

/// A message that is to be sent, from which it can be made at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    pub voice: u32,
    /// In which it was said first.
    pub tick: u32,
    /// Which of the voice's messages of that tick.
    pub nth: u32,
    pub what: What,
}

/// What is sent of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It, for the first time.
    Said,
    /// It again, under the same number.
    Again,
    /// It, by a second gateway.
    Echo,
    /// The same keys with other values.
    Other,
    /// Nothing, but its number is used up.
    Lost,
    Garbage(u8),
    Oversize,
}

/// A message in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// In which it is sent.
    pub tick: u32,
    /// Of how many voices it stands behind in that tick: when within the tick it is due.
    pub behind: u32,
    pub due: Due,
    pub number: Option<Number>,
}

/// Everything that a connection sends.
#[derive(Debug)]
pub struct Course<'s> {
    simulation: &'s Simulation,
    connection: u32,
    tick: u32,
    /// Counts down the voices of this tick.
    voice: u32,
    /// What is to be sent in this tick, backwards.
    ready: Vec<(u32, Due)>,
    /// What waits for a later one. Bounded by the rates of the faults that hold messages, and by how long they may.
    held: BTreeMap<u32, Vec<Due>>,
    /// The last number given, of the gateway and of the second one.
    last: [i64; 2],
    /// What is to be sent again, with its number once it has one.
    again: HashMap<Due, Option<Number>>,
}

/// Voices whose messages are made at once.
const VOICES: u32 = 256;

impl<'s> Course<'s> {
    pub fn new(simulation: &'s Simulation, connection: u32) -> Course<'s> {
        Course {
            simulation,
            connection,
            tick: 0,
            voice: u32::MAX,
            ready: Vec::new(),
            held: BTreeMap::new(),
            last: [0, 0],
            again: HashMap::new(),
        }
    }

    /// Fills `ready` with what comes next; false at the end.
    fn refill(&mut self) -> bool {
        let simulation = self.simulation;
        let voices = simulation.voices.count();
        while self.ready.is_empty() {
            if voices <= self.voice {
                if simulation.last_tick() <= self.tick && self.held.is_empty() {
                    return false;
                }
                self.tick += 1;
                self.voice = self.connection;
                let held = self.held.remove(&self.tick).unwrap_or_default();
                self.ready.extend(held.into_iter().map(|due| (0, due)));
                continue;
            }
            let to = voices.min(self.voice + VOICES * simulation.scenario.connections);
            while self.voice < to {
                let (voice, tick) = (self.voice, self.tick);
                simulation.planned(voice, tick, |at, due| {
                    if due.what == What::Again {
                        self.again.insert(Due { what: What::Said, ..due }, None);
                    }
                    match at == tick {
                        true => self.ready.push((voice, due)),
                        false => self.held.entry(at).or_default().push(due),
                    }
                });
                self.voice += simulation.scenario.connections;
            }
        }
        self.ready.reverse();
        true
    }

    fn number(&mut self, due: &Due) -> Option<Number> {
        let simulation = self.simulation;
        if due.what == What::Again {
            return self.again.remove(&Due { what: What::Said, ..*due }).flatten();
        }
        if !simulation.is_counted(due) {
            return None;
        }
        let last = &mut self.last[usize::from(due.what == What::Echo)];
        *last += 1;
        let seq = *last;
        let source = simulation.scenario.source(self.connection, due.what == What::Echo);
        let number = Number { source: source.into(), epoch: simulation.scenario.epoch, seq };
        if let Some(again) = self.again.get_mut(due) {
            *again = Some(number.clone());
        }
        Some(number)
    }
}

impl Iterator for Course<'_> {
    type Item = Sending;

    fn next(&mut self) -> Option<Sending> {
        loop {
            if self.ready.is_empty() && !self.refill() {
                return None;
            }
            let (behind, due) = self.ready.pop()?;
            let number = self.number(&due);
            if due.what != What::Lost {
                return Some(Sending { tick: self.tick, behind, due, number });
            }
        }
    }
}

//! A simulated city on the air: which messages its sensors and gateways send, in which order, with which faults, and what
//! must become of each.
//!
//! ```text
//! Scenario ──> City (what is true) ──> Voices (who says it) ──> faults ──> Course (in which order) ──> broker
//!     └──────────────────────────────────────────────────────────────────────> Expectation (what the tables must hold)
//! ```
//!
//! Both ends are computed from the scenario, message by message and in any order, and nothing is remembered between them.

mod answer;
pub mod course;
mod fault;
mod garbage;
mod key;
mod run;
mod scenario;
mod shown;
#[cfg(test)]
mod tests;
mod verify;
mod voice;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use answer::{Answer, Far, Numbered, Progress, SeriesAnswer};
use course::{Due, What};
pub use fault::{Fault, HELD_TICKS_MAX, Kind};
pub use key::{AnswerKey, KeyWriter};
pub use run::{Going, Lines, Outcome, Pace, run};
pub use scenario::{CONNECTIONS_MAX, PACK_MAX, Scenario};
use shown::Shown;
pub use verify::{Step, verify};
pub use voice::{Voice, Voices, spoken};

use crate::city::City;
use crate::city::chance::Chance;
use crate::observation::{Passage, Reading, Utterance};
use crate::oracle::{Fact, Key, Message, Number, Numbers, Refusal};
use crate::speech::{self, Format, Said, Stored, senml::Pack};

/// Seconds of a tick: the shortest interval in which anybody reports.
pub const TICK_S: i64 = 20;
const TICK_US: i64 = TICK_S * 1_000_000;
/// Ticks of a minute. Who reports each minute does so in one of them, so that the load is even.
const MINUTE_TICKS: u32 = 3;

/// A run of a city.
#[derive(Debug, Clone)]
pub struct Simulation {
    pub scenario: Scenario,
    pub city: City,
    pub voices: Voices,
    chance: Chance,
}

/// What a sensor says by itself in a tick.
struct Report {
    said: Vec<Utterance>,
    /// What must be stored of each message.
    stored: Vec<Vec<Stored>>,
    /// Why all of it is refused: its clock is wrong.
    refused: Option<&'static str>,
}

impl Simulation {
    /// # Errors
    /// As [`Scenario::check`].
    pub fn new(scenario: Scenario) -> anyhow::Result<Simulation> {
        scenario.check()?;
        let city = City::new(scenario.plan());
        let voices = Voices::new(&city, scenario.pack, &scenario.formats);
        let chance = Chance::new(scenario.seed).of(77);
        Ok(Simulation { scenario, city, voices, chance })
    }

    /// The last tick in which somebody speaks for the first time.
    pub fn last_tick(&self) -> u32 {
        self.scenario.ticks + MINUTE_TICKS - 1
    }

    /// The connection on which a voice is heard.
    pub fn connection(&self, voice: u32) -> u32 {
        voice % self.scenario.connections
    }

    /// When a message is due, in microseconds since the start: who speaks in a tick does so one after the other.
    pub fn due_us(&self, sending: &course::Sending) -> i64 {
        let of_tick = f64::from(sending.behind) / f64::from(self.voices.count().max(1));
        ((f64::from(sending.tick) + of_tick) * TICK_US as f64) as i64
    }

    /// The time of which a voice speaks in a tick, where it does.
    fn speaks_of(&self, voice: u32, tick: u32) -> Option<i64> {
        let back = match self.voices.get(voice).is_quick {
            true => 0,
            false => voice / self.scenario.connections % MINUTE_TICKS,
        };
        let of = tick.checked_sub(back)?;
        let is_full = self.voices.get(voice).is_quick || of.is_multiple_of(MINUTE_TICKS);
        let is_within = 0 < of && of <= self.scenario.ticks;
        (is_full && is_within).then(|| self.scenario.starts_us() + i64::from(of) * TICK_US)
    }

    /// What a voice plans to send of a tick: when, and what became of it. Messages of a tick are told apart by a number.
    pub(crate) fn planned(&self, voice: u32, tick: u32, mut take: impl FnMut(u32, Due)) {
        let Some(time_us) = self.speaks_of(voice, tick) else { return };
        let spoken = self.voices.get(voice);
        let messages = match spoken.is_passages {
            true => self.passages(voice, time_us).len() as u32,
            false if spoken.format == Format::Senml => 1,
            false => self.report(voice, tick, "").said.len() as u32,
        };
        for nth in 0..messages {
            let due = |what| Due { voice, tick, nth, what };
            match self.strike(voice, tick, nth) {
                None => take(tick, due(What::Said)),
                Some((fault, chance)) => {
                    self.struck(voice, tick, fault, chance, |at, what| take(at, due(what)));
                }
            }
        }
    }

    /// The first fault that strikes a message, with what else is drawn for it.
    fn strike(&self, voice: u32, tick: u32, nth: u32) -> Option<(&Fault, Chance)> {
        let format = self.voices.get(voice).format;
        let is_spoilable = matches!(format, Format::Senml | Format::TrafficPassages);
        for (n, fault) in self.scenario.faults.iter().enumerate() {
            let by_sender = matches!(fault.kind, Kind::Gap | Kind::Burst);
            if fault.kind.strikes_sensors() || fault.kind == Kind::ReconnectStorm {
                continue;
            }
            if !is_spoilable && matches!(fault.kind, Kind::Garbage | Kind::Oversize | Kind::Duplicate)
                || !format.stands_alone()
            {
                continue;
            }
            let (from, to) = fault.ticks(self.scenario.ticks);
            if tick <= from || to < tick {
                continue;
            }
            let chance = self.chance.of(n as u64).of(u64::from(voice));
            let of_message = chance.of(u64::from(tick)).of(u64::from(nth));
            let drawn = if by_sender { chance } else { of_message };
            let concerns = || self.voices.sensors(voice).any(|sensor| fault.concerns(&self.city, sensor));
            if drawn.happens(fault.rate) && concerns() {
                return Some((fault, of_message.of(1)));
            }
        }
        None
    }

    fn struck(&self, voice: u32, tick: u32, fault: &Fault, chance: Chance, mut take: impl FnMut(u32, What)) {
        let step = if self.voices.get(voice).is_quick { 1 } else { MINUTE_TICKS };
        match fault.kind {
            Kind::Duplicate => {
                take(tick, What::Said);
                let what = match chance.share() {
                    share if share < 0.6 => What::Again,
                    share if share < 0.85 => What::Echo,
                    _ => What::Other,
                };
                take(tick + 1 + chance.of(1).below(3) as u32, what);
            }
            Kind::Drop => take(tick, What::Lost),
            Kind::Delay => {
                let seconds = fault.by.unwrap_or_default().as_secs().max(1) as u64;
                let most = seconds.div_ceil(TICK_S as u64);
                take(tick + 1 + chance.below(most) as u32, What::Said);
            }
            Kind::Reorder => {
                let most = u64::from(fault.times.unwrap_or(1));
                take(tick + step * (1 + chance.below(most) as u32), What::Said);
            }
            Kind::Burst => take(fault.ticks(self.scenario.ticks).1.max(tick), What::Said),
            Kind::Garbage => take(tick, What::Garbage(chance.below(garbage::KINDS) as u8)),
            Kind::Oversize => take(tick, What::Oversize),
            // A gap is silence; the others strike what is shown.
            _ => {}
        }
    }

    /// Whether a message has a number that is found: then the ledger counts it under the scenario's own sources.
    pub fn is_counted(&self, due: &Due) -> bool {
        match self.scenario.numbers {
            Numbers::None => false,
            Numbers::Properties | Numbers::Both => true,
            // Nobody finds the number in a payload that cannot be read, or that has no place for it.
            Numbers::Payload => {
                let format = self.voices.get(due.voice).format;
                let is_spoilt = matches!(due.what, What::Garbage(kind) if !garbage::keeps(kind, format));
                format.carries_number() && !is_spoilt && due.what != What::Oversize
            }
        }
    }

    /// The message of a due, and what must become of it.
    pub fn message(&self, due: &Due, number: Option<Number>) -> Message {
        let mut message = Message {
            topic: String::new(),
            payload: Vec::new(),
            facts: Vec::new(),
            refusals: Vec::new(),
            number,
        };
        let (said, _) = self.utterance(due, message.number.as_ref());
        (message.topic, message.payload) = (said.topic, said.payload);
        if let What::Garbage(kind) = due.what
            && !garbage::keeps(kind, self.voices.get(due.voice).format)
        {
            message.refusals.push(garbage::refusal(kind, self.voices.get(due.voice).format));
            return message;
        }
        if due.what == What::Oversize {
            message.refusals.push(Refusal { reason: "too_large", readings: 0 });
            return message;
        }
        self.facts(due, &mut message);
        if let What::Garbage(kind) = due.what {
            message.refusals.push(garbage::refusal(kind, self.voices.get(due.voice).format));
        }
        message
    }

    /// The message of a due, as it is sent, and how many readings its sender put into it.
    pub fn utterance(&self, due: &Due, number: Option<&Number>) -> (Utterance, usize) {
        let member = match (self.scenario.numbers, number) {
            (Numbers::Payload | Numbers::Both, Some(number)) => number.member(),
            _ => String::new(),
        };
        let (said, readings) = self.said(due, &member);
        let said = match due.what {
            What::Garbage(kind) => garbage::spoil(kind, self.voices.get(due.voice).format, said),
            What::Oversize => garbage::oversize(said),
            _ => said,
        };
        (said, readings)
    }

    fn said(&self, due: &Due, member: &str) -> (Utterance, usize) {
        let voice = self.voices.get(due.voice);
        let other = i64::from(due.what == What::Other);
        let Some(time_us) = self.speaks_of(due.voice, due.tick) else { return Default::default() };
        if voice.is_passages {
            let passages = self.passages(due.voice, time_us);
            let said = passages.get(due.nth as usize).zip(self.voices.sensors(due.voice).next());
            let Some((passage, sensor)) = said else { return Default::default() };
            let mut passage = *passage;
            passage.speed.digits += other;
            let sequence = time_us as u64 + u64::from(due.nth);
            let said =
                speech::say(voice.format, &self.city.id(sensor), sequence, Said::Passage(&passage), member);
            return (said.into_iter().next().unwrap_or_default(), 1);
        }
        if voice.format == Format::Senml {
            let mut pack = Pack::new(member);
            let mut name = (u32::MAX, String::new());
            self.shown(due.voice, due.tick, |shown| {
                if name.0 != shown.sensor {
                    name = (shown.sensor, self.city.id(shown.sensor));
                }
                let mut reading = shown.reading;
                reading.value.digits += other;
                pack.push(&name.1, &reading);
            });
            let topic = format!("city/senml/{}_{:05}/{}", self.scenario.prefix, voice.district, due.voice);
            let readings = pack.readings();
            return (Utterance { topic, payload: pack.finish() }, readings);
        }
        let Report { said, stored, .. } = self.report(due.voice, due.tick, member);
        let readings = stored.get(due.nth as usize).map_or(0, Vec::len);
        (said.into_iter().nth(due.nth as usize).unwrap_or_default(), readings)
    }

    fn report(&self, voice: u32, tick: u32, member: &str) -> Report {
        let Voice { format, is_quick, .. } = self.voices.get(voice);
        let (mut readings, mut refused) = (Vec::new(), None);
        let mut name = String::new();
        self.shown(voice, tick, |shown| {
            if name.is_empty() {
                name = self.city.id(shown.sensor);
            }
            readings.push(shown.reading);
            refused = refused.or(shown.refused);
        });
        // One report after the other: before the first one, a node of Sparkplug is born with two messages.
        let reports = u64::from(tick / if is_quick { 1 } else { MINUTE_TICKS }) - 1;
        let sequence = match (format, reports) {
            (Format::Sparkplug, 1..) => reports + 2,
            _ => reports,
        };
        let said = speech::say(format, &name, sequence, Said::Readings(&readings), member);
        let stored = speech::stored(format, &name, Said::Readings(&readings));
        let stored = match said.len() == stored.len() && format != Format::Sparkplug {
            true => stored.into_iter().map(|stored| vec![stored]).collect(),
            false => {
                let mut each = vec![Vec::new(); said.len()];
                if let Some(last) = each.last_mut() {
                    *last = stored;
                }
                each
            }
        };
        Report { said, stored, refused }
    }

    fn facts(&self, due: &Due, message: &mut Message) {
        let voice = self.voices.get(due.voice);
        let other = i64::from(due.what == What::Other);
        let Some(time_us) = self.speaks_of(due.voice, due.tick) else { return };
        let mut refused: BTreeMap<&'static str, i64> = BTreeMap::new();
        let fact = |stored: Stored| {
            let Stored { sensor, metric, time_us, event_id, value, .. } = stored;
            let event = event_id.unwrap_or_default();
            let key = Key { sensor: sensor.into(), metric: metric.into(), time_us, event };
            Fact { key, value, flags: 0 }
        };
        if voice.is_passages {
            let passages = self.passages(due.voice, time_us);
            let said = passages.get(due.nth as usize).zip(self.voices.sensors(due.voice).next());
            if let Some((passage, sensor)) = said {
                let mut passage = *passage;
                passage.speed.digits += other;
                let stored = speech::stored(voice.format, &self.city.id(sensor), Said::Passage(&passage));
                message.facts.extend(stored.into_iter().map(fact));
            }
            return;
        }
        if voice.format != Format::Senml {
            let Report { mut stored, refused, .. } = self.report(due.voice, due.tick, "");
            let stored = stored.get_mut(due.nth as usize).map(std::mem::take).unwrap_or_default();
            match refused {
                Some(reason) if !stored.is_empty() => {
                    message.refusals.push(Refusal { reason, readings: stored.len() as i64 });
                }
                _ => message.facts.extend(stored.into_iter().map(fact)),
            }
            return;
        }
        // A gateway that speaks SenML: what it shows is what is stored.
        let mut name: (u32, Arc<str>) = (u32::MAX, "".into());
        self.shown(due.voice, due.tick, |shown| {
            if name.0 != shown.sensor {
                name = (shown.sensor, self.city.id(shown.sensor).into());
            }
            let mut value = shown.reading.value;
            value.digits += other;
            let Reading { metric, time_us, .. } = shown.reading;
            match shown.refused {
                Some(reason) => *refused.entry(reason).or_default() += 1,
                None => {
                    let key = Key { sensor: name.1.clone(), metric: metric.into(), time_us, event: 0 };
                    message.facts.push(Fact { key, value: value.value(), flags: shown.flags });
                }
            }
        });
        let refusals = refused.into_iter().map(|(reason, readings)| Refusal { reason, readings });
        message.refusals.extend(refusals);
    }

    /// The vehicles of which a voice speaks at a time.
    fn passages(&self, voice: u32, time_us: i64) -> Vec<Passage<'static>> {
        let mut passages = Vec::new();
        for sensor in self.voices.sensors(voice) {
            self.city.passages(sensor, (time_us - TICK_US, time_us), |passage| passages.push(passage));
        }
        passages
    }

    /// What the sensors of a voice show, with the faults that strike them.
    fn shown(&self, voice: u32, tick: u32, mut take: impl FnMut(Shown)) {
        let Some(time_us) = self.speaks_of(voice, tick) else { return };
        for sensor in self.voices.sensors(voice) {
            shown::of(self, sensor, (voice, time_us), &mut take);
        }
    }
}

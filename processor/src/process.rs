//! Decode and validate a batch, on every core. Pure: a bad message becomes a rejection, never an error.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    decode::{Body, Decoder, Kept, Sample, Verdict},
    mapping::Mapping,
    memory::{self, Change, Memory, Recall, Request},
    model::{
        Event, Kind, Message, MetricName, Number, Proposal, Quality, Reading, Reason, SensorId, Series,
        reason::Refusal,
        unit::{self, Conversion},
    },
    registry::{Admission, Known, QUARANTINED_MAX, QUARANTINED_METRICS_MAX, Registry, SERIES_MAX},
    validate::{self, Rules},
};

/// What a batch of messages said.
#[derive(Clone, Debug, Default)]
pub struct Processed {
    pub readings: Vec<Reading>,
    pub events: Vec<Event>,
    /// Series that the registry must take in first. Where there are any, their readings are left out here:
    /// register them and process the batch again.
    pub proposals: Vec<Proposal>,
    pub rejections: Vec<Rejection>,
    /// What became of each message, in order of arrival.
    pub fates: Vec<Fate>,
    /// What is remembered from now on of senders whose messages cannot be read alone; the same whatever the registry
    /// knows.
    pub changes: Vec<Change>,
    /// What senders must be asked once the batch is committed.
    pub requests: Vec<Request>,
    /// The names of the mapping's sources.
    pub sources: Arc<[Arc<str>]>,
    /// Of the registry that decided it.
    pub registry_version: i64,
}

/// What became of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Index of the mapping's source that took it.
    pub source: Option<u16>,
    /// As its publisher counted it, where that may be believed.
    pub number: Option<Number>,
    /// Two messages with one identity are one.
    pub identity: Option<u64>,
    pub outcome: Outcome,
    /// Readings and events found in it, the refused ones included.
    pub decoded: u32,
    /// Values left out because no lookup lists their code.
    pub unlisted: u32,
    /// What may be kept of the payload.
    pub kept: Kept,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Accepted,
    /// Understood, and without a reading: a heartbeat, or dropped by the mapping's wish.
    Ignored,
    /// Nothing of it could be used.
    Rejected,
}

/// A refused message, or the readings of one message refused for one reason.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    /// Index into the batch.
    pub message: u32,
    pub reason: Reason,
    pub detail: String,
    /// Of the payload as it may be kept; of one that may not, with the city's salt.
    pub sha256: [u8; 32],
    /// Readings refused; 0 where the whole message was.
    pub readings: u32,
}

/// Longer than any UCUM code of a measurement.
const UNIT_CHARS_MAX: usize = 32;
/// Messages that one task decodes: enough to outweigh the cost of handing them over.
const CHUNK_MESSAGES: usize = 128;

/// What a batch of messages says to a city that knows `registry` and asks for `rules`.
///
/// ```
/// use processor::{
///     mapping::Mapping,
///     memory::Memory,
///     model::{Message, Time},
///     process,
///     registry::{Admission, Registry},
///     validate::Rules,
/// };
///
/// let mapping = Mapping::parse(&[("city.toml", r#"
///     [[source]]
///     name = "water-registers"
///     topic = "city/water/{meter}/register"
///     format = "json"
///     sensor = "{meter}"
///     time = { path = "/time", as = "rfc3339" }
///     reading = [{ metric = "water.volume.total", value = "/register_m3", unit = "m3", kind = "counter" }]
/// "#)])?;
/// let message = |payload: &'static str| Message {
///     topic: "city/water/WM-101/register".to_owned(),
///     payload: payload.into(),
///     received_at: Time::from_micros(1_704_067_203_000_000),
///     retained: false,
///     number: None,
/// };
/// let messages = [
///     message(r#"{"time":"2024-01-01T00:00:00Z","register_m3":8690.735}"#),
///     message(r#"{"time":"0001-01-01T00:00:00Z","register_m3":8690.735}"#),
/// ];
/// let registry = Registry::new(Admission::Open);
/// let said = process(&messages, &mapping, &registry, &Rules::default(), &Memory::default());
/// // An open registry takes the meter in; a reading of the year 1 is refused, and its neighbour is not.
/// assert_eq!(said.proposals[0].sensor.as_str(), "WM-101");
/// assert_eq!(said.rejections[0].reason.as_str(), "before_2000");
/// # Ok::<(), processor::mapping::MappingError>(())
/// ```
pub fn process(
    messages: &[Message],
    mapping: &Mapping,
    registry: &Registry,
    rules: &Rules,
    memory: &Memory,
) -> Processed {
    let decoder = Decoder { mapping, limits: rules.limits, pseudonyms: &memory.pseudonyms };
    let shares: Vec<Share> = share_out(messages, mapping)
        .into_par_iter()
        .map(|work| {
            let mut recall = work.in_order.then(|| Recall::new(memory, mapping));
            let chunk = Chunk::new(registry, rules, decoder);
            let mut share = chunk.process(&work.messages, messages, recall.as_mut());
            share.said.changes = recall.map(Recall::changes).unwrap_or_default();
            share
        })
        .collect();
    let mut all = merge(shares, messages.len());
    all.sources = mapping.names().clone();
    all.registry_version = registry.version();
    all
}

/// Messages for one task, as indices in order of arrival.
struct Work {
    messages: Vec<u32>,
    /// Of one sender that is remembered from one message to the next.
    in_order: bool,
}

fn share_out(messages: &[Message], mapping: &Mapping) -> Vec<Work> {
    let mut alone: Vec<u32> = Vec::with_capacity(messages.len());
    let mut senders: BTreeMap<Cow<'_, str>, Vec<u32>> = BTreeMap::new();
    let stateful = mapping.is_stateful();
    for (i, message) in (0..).zip(messages) {
        match stateful.then(|| memory::sender_of(mapping, &message.topic)).flatten() {
            Some(sender) => senders.entry(sender).or_default().push(i),
            None => alone.push(i),
        }
    }
    let ordered = senders.into_values().map(|messages| Work { messages, in_order: true });
    let chunks = alone.chunks(CHUNK_MESSAGES);
    chunks.map(|chunk| Work { messages: chunk.to_vec(), in_order: false }).chain(ordered).collect()
}

/// What one task found, and the messages that it speaks of.
struct Share {
    said: Processed,
    messages: Vec<u32>,
}

fn merge(shares: Vec<Share>, messages: usize) -> Processed {
    let mut all = Processed::default();
    let mut proposed: HashSet<(SensorId, MetricName)> = HashSet::new();
    let in_order = shares.iter().flat_map(|share| &share.messages).is_sorted();
    let mut fates: Vec<(u32, Fate)> = Vec::new();
    all.fates.reserve(messages);
    all.readings.reserve(shares.iter().map(|share| share.said.readings.len()).sum());
    for Share { mut said, messages } in shares {
        said.proposals.retain(|p| proposed.insert((p.sensor.clone(), p.metric.clone())));
        all.proposals.append(&mut said.proposals);
        all.readings.append(&mut said.readings);
        all.events.append(&mut said.events);
        all.rejections.append(&mut said.rejections);
        all.changes.append(&mut said.changes);
        all.requests.append(&mut said.requests);
        match in_order {
            true => all.fates.append(&mut said.fates),
            false => fates.extend(messages.into_iter().zip(said.fates)),
        }
    }
    fates.sort_by_key(|(message, _)| *message);
    all.fates.extend(fates.into_iter().map(|(_, fate)| fate));
    all
}

/// One task's share of a batch.
struct Chunk<'r> {
    registry: &'r Registry,
    rules: &'r Rules,
    decoder: Decoder<'r>,
    out: Processed,
    proposed: HashSet<(Box<str>, Box<str>)>,
    /// Between units that came and those of their series; a task meets few.
    conversions: Vec<(Box<str>, Arc<str>, Option<Conversion>)>,
    /// The sensor of the reading before.
    last: Option<Known<'r>>,
}

impl<'r> Chunk<'r> {
    fn new(registry: &'r Registry, rules: &'r Rules, decoder: Decoder<'r>) -> Self {
        let out = Processed::default();
        Chunk { registry, rules, decoder, out, proposed: HashSet::new(), conversions: Vec::new(), last: None }
    }

    fn process(
        mut self,
        indices: &[u32],
        messages: &[Message],
        mut recall: Option<&mut Recall<'_>>,
    ) -> Share {
        self.out.fates.reserve(indices.len());
        self.out.readings.reserve(indices.len());
        for index in indices {
            let fate = self.message(*index, &messages[*index as usize], recall.as_deref_mut());
            self.out.fates.push(fate);
        }
        Share { said: self.out, messages: indices.to_vec() }
    }

    fn message(&mut self, index: u32, message: &Message, recall: Option<&mut Recall<'_>>) -> Fate {
        let before = (self.out.readings.len(), self.out.events.len(), self.out.proposals.len());
        let decoder = self.decoder;
        let take = &mut |sample: Sample<'_>| self.sample(index, message, sample);
        let Verdict { source, number, identity, count, refused, unlisted, refusal, kept, requests } =
            decoder.decode(message, recall, take);
        self.out.requests.extend(requests);
        let source = source.map(|index| index as u16);
        let numbered = validate::number(number, message, self.rules);
        let (number, refusal) = match numbered {
            Ok(number) => (number, refusal),
            Err(mismatch) => (None, Some(mismatch)),
        };
        if let Some(refusal) = refusal {
            self.give_up(before);
            self.reject(index, message, refusal, &kept, 0);
            return Fate {
                source,
                number,
                identity,
                outcome: Outcome::Rejected,
                decoded: 0,
                unlisted: 0,
                kept,
            };
        }
        self.reject_readings(index, message, refused, &kept);
        // Only now it is known what may be kept of a newcomer's message.
        let newcomers = self.out.proposals[before.2..].iter_mut().filter(|proposal| proposal.first.is_some());
        newcomers.for_each(|proposal| proposal.first = Some(message.first(kept.of(&message.payload))));
        let outcome = if count == 0 { Outcome::Ignored } else { Outcome::Accepted };
        Fate { source, number, identity, outcome, decoded: count as u32, unlisted, kept }
    }

    /// Nothing of a message can be used: what was taken of it goes.
    fn give_up(&mut self, (readings, events, proposals): (usize, usize, usize)) {
        self.out.readings.truncate(readings);
        self.out.events.truncate(events);
        for proposal in self.out.proposals.drain(proposals..) {
            self.proposed.remove(&(proposal.sensor.as_str().into(), proposal.metric.as_str().into()));
        }
    }

    fn sample(&mut self, index: u32, message: &Message, sample: Sample<'_>) -> Result<(), Refusal> {
        if message.retained && sample.quality.intersects(Quality::TIME_SUBSTITUTED) {
            let detail = "a retained message without a time: when it was measured is not known";
            return Err(Refusal::new(Reason::BadTime, detail));
        }
        let mut quality = sample.quality | validate::time(sample.time, message.received_at, self.rules)?;
        let registry = self.registry;
        let known = registry.sensor(sample.sensor, self.last);
        self.last = known.or(self.last);
        if registry.is_erased(sample.sensor, known, sample.metric, sample.time) {
            return Err(Refusal::new(Reason::Erased, "of a sensor and a time that were erased"));
        }
        let Some(series) = known.and_then(|known| registry.series_of(known, sample.metric)) else {
            validate::floor(sample.time, registry.gone().floor(sample.kind, sample.metric))?;
            return self.propose(&sample, message);
        };
        validate::floor(series.bucket_time(sample.time), registry.floor(series.id))?;
        if (series.kind == Kind::Event) != matches!(sample.body, Body::Event(_)) {
            let detail = format!("{} of {} is kept as {}", sample.metric, sample.sensor, series.kind);
            return Err(Refusal::new(Reason::KindMismatch, detail));
        }
        quality |= validate::span(sample.spans_s, series);
        let time = sample.time;
        match sample.body {
            Body::Value(value) => {
                let (value, doubt) = self.convert(value, &sample, series)?;
                let value = value + 0.0; // -0 is 0: the same fact has the same bits
                // What a mapping said of its range stands only where the registry says nothing.
                let (_, seen) = series.view(time, value, quality);
                quality = quality.without(Quality::OUT_OF_RANGE) | seen.only(Quality::OUT_OF_RANGE) | doubt;
                self.out.readings.push(Reading { time, value, series: series.id, quality, message: index });
            }
            Body::Event(passage) => {
                let passage = *passage;
                self.out.events.push(Event { time, passage, series: series.id, quality, message: index });
            }
        }
        Ok(())
    }

    fn propose(&mut self, sample: &Sample<'_>, message: &Message) -> Result<(), Refusal> {
        if self.registry.admission == Admission::Closed {
            return Err(if self.registry.knows_sensor(sample.sensor) {
                let detail = format!("the registry knows no {} of {}", sample.metric, sample.sensor);
                Refusal::new(Reason::UnknownSeries, detail)
            } else {
                Refusal::new(Reason::UnknownSensor, format!("the registry does not know {}", sample.sensor))
            });
        }
        let key = (Box::from(sample.sensor), Box::from(sample.metric));
        if self.proposed.contains(&key) {
            return Ok(());
        }
        if SERIES_MAX <= self.registry.series_count() + self.out.proposals.len() {
            return Err(Refusal::new(
                Reason::TooManySeries,
                format!("the limit of {SERIES_MAX} series is reached"),
            ));
        }
        let newcomer =
            self.registry.admission == Admission::Quarantine && !self.registry.knows_sensor(sample.sensor);
        if newcomer && QUARANTINED_MAX <= self.registry.quarantined_count() {
            let detail = format!("{QUARANTINED_MAX} sensors are in quarantine: adopt or erase some");
            return Err(Refusal::new(Reason::TooManySeries, detail));
        }
        if QUARANTINED_METRICS_MAX <= self.registry.quarantined_metrics(sample.sensor).unwrap_or(0) {
            let detail = format!("{} is in quarantine with {QUARANTINED_METRICS_MAX} metrics", sample.sensor);
            return Err(Refusal::new(Reason::TooManySeries, detail));
        }
        let bad_name = |detail| Refusal::new(Reason::BadName, detail);
        self.out.proposals.push(Proposal {
            sensor: sample.sensor.parse::<SensorId>().map_err(bad_name)?,
            metric: sample.metric.parse::<MetricName>().map_err(bad_name)?,
            unit: self.unit_of(sample),
            kind: sample.kind,
            interval_s: sample.interval_s,
            first: newcomer.then(|| message.first(None)),
        });
        self.proposed.insert(key);
        Ok(())
    }

    /// The unit in which a new series is kept: the one that all series of its metric share, if what is sent converts.
    fn unit_of(&self, sample: &Sample<'_>) -> Box<str> {
        let wanted = sample.keep.or(sample.unit).unwrap_or("1");
        let fits = |kept: &&str| !unit::is_known(wanted) || unit::conversion(wanted, kept).is_some();
        match self.registry.unit_of(sample.metric).filter(fits) {
            Some(kept) => kept.into(),
            None => wanted.chars().filter(|c| !c.is_control()).take(UNIT_CHARS_MAX).collect(),
        }
    }

    /// The value in its series' unit, and what is to be said against it.
    fn convert(
        &mut self,
        value: f64,
        sample: &Sample<'_>,
        series: &Series,
    ) -> Result<(f64, Quality), Refusal> {
        let Some(sent) = sample.unit.or(sample.keep) else { return Ok((value, Quality::GOOD)) };
        let known = self.conversions.iter().find(|known| *known.0 == *sent && known.1 == series.unit);
        let conversion = match known {
            Some((.., conversion)) => *conversion,
            None => {
                let conversion = unit::conversion(sent, &series.unit).filter(|_| unit::is_known(sent));
                self.conversions.push((sent.into(), series.unit.clone(), conversion));
                conversion
            }
        };
        match conversion {
            Some(Conversion { scale: 1.0, offset: 0.0 }) => Ok((value, Quality::GOOD)),
            Some(conversion) => match conversion.apply(value) {
                value if value.is_finite() => Ok((value, Quality::GOOD)),
                value => {
                    let detail = format!("{} is {value} in {:?}", sample.metric, series.unit);
                    Err(Refusal::new(Reason::NotFinite, detail))
                }
            },
            None if unit::is_known(sent) => {
                let detail =
                    format!("{} in {sent:?}, the series is kept in {:?}", sample.metric, series.unit);
                Err(Refusal::new(Reason::UnitMismatch, detail))
            }
            None if *sent == *series.unit => Ok((value, Quality::UNIT_UNKNOWN)),
            None => Ok((value, Quality::UNIT_UNKNOWN | Quality::IMPLAUSIBLE)),
        }
    }

    /// One rejection a reason: a pack of a thousand readings from next year is one line, not a thousand.
    fn reject_readings(&mut self, index: u32, message: &Message, mut refused: Vec<Refusal>, kept: &Kept) {
        refused.sort_by_key(|refusal| refusal.reason);
        for same in refused.chunk_by(|a, b| a.reason == b.reason) {
            let mut refusal = same[0].clone();
            if 1 < same.len() {
                refusal.detail = format!("{} readings; the first: {}", same.len(), refusal.detail);
            }
            self.reject(index, message, refusal, kept, same.len() as u32);
        }
    }

    fn reject(&mut self, index: u32, message: &Message, refusal: Refusal, kept: &Kept, readings: u32) {
        let sha256 = match kept.of(&message.payload) {
            Some(payload) => Sha256::digest(payload).into(),
            None => self.registry.gone().fingerprint(&message.payload),
        };
        let Refusal { reason, detail } = refusal;
        self.out.rejections.push(Rejection { message: index, reason, detail, sha256, readings });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SeriesId, Time, View};

    const NOW: Time = Time::from_micros(1_700_000_000_000_000);

    fn mapping() -> Mapping {
        let text = r#"
            [[source]]
            name = "pack"
            topic = "city/senml/#"
            format = "senml-json"
        "#;
        Mapping::parse(&[("test.toml", text)]).unwrap()
    }

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: payload.to_vec().into(),
            received_at: NOW,
            retained: false,
            number: None,
        }
    }

    fn open_registry(series: &[(&str, &str, &str)]) -> Registry {
        let mut registry = Registry::new(Admission::Open);
        for (i, (sensor, metric, unit)) in series.iter().enumerate() {
            let id = SeriesId(i as i32 + 1);
            let mut series = Series::new(id, Kind::Gauge, unit, None);
            series.view = View::within(None, Some(50.0));
            registry.add_series(sensor, metric, series);
        }
        registry
    }

    #[test]
    fn bad_messages_become_rejections_and_leave_their_neighbours() {
        let good = br#"[{"n":"a:level","u":"m","v":1}]"#;
        let messages = [
            message("city/senml/x", good),
            message("city/senml/x", b"\xff"),
            message("city/other", good),
            message("city/senml/x", &vec![b' '; 1 << 20]),
            message(
                "city/senml/x",
                br#"[{"n":"a:level","u":"m","v":1,"t":1800000000},{"n":"a:flow","u":"L/s","v":2}]"#,
            ),
            message("city/senml/x", br#"[{"bn":"a:"}]"#),
        ];
        let registry = open_registry(&[("a", "level", "m"), ("a", "flow", "L/s")]);
        let out = process(&messages, &mapping(), &registry, &Rules::default(), &Memory::default());
        let reasons: Vec<_> =
            out.rejections.iter().map(|r| (r.message, r.reason.as_str(), r.readings)).collect();
        assert_eq!(
            reasons,
            [(1, "not_utf8", 0), (2, "no_mapping", 0), (3, "too_large", 0), (4, "future", 1)]
        );
        assert_eq!(out.readings.len(), 2);
        let outcomes: Vec<_> = out.fates.iter().map(|fate| (fate.outcome, fate.decoded)).collect();
        use Outcome::*;
        assert_eq!(
            outcomes,
            [(Accepted, 1), (Rejected, 0), (Rejected, 0), (Rejected, 0), (Accepted, 2), (Ignored, 0)]
        );
    }

    #[test]
    fn a_closed_registry_refuses_what_it_does_not_know() {
        let messages = [message("city/senml/x", br#"[{"n":"a:level","v":1}]"#)];
        let out = process(
            &messages,
            &mapping(),
            &Registry::new(Admission::Closed),
            &Rules::default(),
            &Memory::default(),
        );
        assert_eq!(out.rejections[0].reason, Reason::UnknownSensor);
        assert!(out.readings.is_empty() && out.proposals.is_empty());
    }

    #[test]
    fn a_newcomer_waits_in_quarantine_with_its_first_message() {
        let payload: &[u8] = br#"[{"n":"a:level","u":"m","v":1}]"#;
        let messages = [message("city/senml/x", payload), message("city/senml/y", payload)];
        let said = |messages: &[Message], registry: &Registry| {
            process(messages, &mapping(), registry, &Rules::default(), &Memory::default())
        };
        let mut registry = Registry::new(Admission::Quarantine);
        let out = said(&messages, &registry);
        let first = out.proposals[0].first.clone().unwrap();
        assert_eq!((out.proposals.len(), &*first.topic, &*first.payload), (1, "city/senml/x", payload));
        registry.add_quarantined("a");
        registry.add_series("a", "level", Series::new(SeriesId(1), Kind::Gauge, "m", None));
        assert!(registry.series(SeriesId(1)).unwrap().quarantined);
        assert_eq!(said(&messages, &registry).readings.len(), 2);
        // A new metric of a sensor that is known is taken in as in an open city.
        let mut registry = Registry::new(Admission::Quarantine);
        registry.add_sensor("a");
        assert_eq!(said(&messages, &registry).proposals[0].first, None);
        for i in 0..QUARANTINED_MAX {
            registry.add_quarantined(&format!("x{i}"));
        }
        let more = [message("city/senml/x", br#"[{"n":"b:level","u":"m","v":1}]"#)];
        assert_eq!(said(&more, &registry).rejections[0].reason, Reason::TooManySeries);
    }

    #[test]
    fn each_new_series_is_proposed_once_by_its_first_valid_reading() {
        let payload = |i: usize| format!(r#"[{{"n":"s{}:level","u":"m","v":{i}}}]"#, i % 7);
        let mut messages: Vec<_> =
            (0..1000).map(|i| message("city/senml/x", payload(i).as_bytes())).collect();
        messages.push(message("city/senml/x", br#"[{"n":"never:level","v":1,"t":1900000000}]"#));
        let out = process(
            &messages,
            &mapping(),
            &Registry::new(Admission::Open),
            &Rules::default(),
            &Memory::default(),
        );
        assert_eq!((out.readings.len(), out.proposals.len(), out.rejections.len()), (0, 7, 1));
    }

    #[test]
    fn a_value_is_kept_in_the_unit_of_its_series_and_flagged_out_of_range() {
        let registry = open_registry(&[("a", "speed", "km/h")]);
        let text = br#"[{"bn":"a:","n":"speed","u":"m/s","v":10},{"n":"speed","u":"m/s","v":20,"t":-1},{"n":"speed","u":"kg","v":20,"t":-2}]"#;
        let out = process(
            &[message("city/senml/x", text)],
            &mapping(),
            &registry,
            &Rules::default(),
            &Memory::default(),
        );
        let values: Vec<_> =
            out.readings.iter().map(|r| (r.value, r.quality.intersects(Quality::OUT_OF_RANGE))).collect();
        assert_eq!(values, [(36.0, false), (72.0, true)]);
        assert_eq!(out.rejections[0].reason, Reason::UnitMismatch);
    }
}

//! Decode and validate a batch, on every core. Pure: a bad message becomes a rejection, never an error.

use std::{collections::HashSet, rc::Rc};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    decode::{self, Body, Sample, Verdict},
    mapping::Mapping,
    model::{
        Event, Kind, Message, MetricName, Number, Proposal, Quality, Reading, Reason, SensorId, Series,
        reason::Refusal, unit,
    },
    registry::{Admission, Registry, SERIES_MAX},
    validate::{self, Rules},
};

/// What a batch of messages said.
#[derive(Clone, Debug, Default)]
pub struct Processed {
    pub readings: Vec<Reading>,
    pub events: Vec<Event>,
    /// Series that an open registry must take in first. Where there are any, their readings are left out here:
    /// register them and process the batch again.
    pub proposals: Vec<Proposal>,
    pub rejections: Vec<Rejection>,
    /// What became of each message, in order of arrival.
    pub fates: Vec<Fate>,
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
    pub outcome: Outcome,
    /// Readings and events found in it, the refused ones included.
    pub decoded: u32,
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
/// let said = process(&messages, &mapping, &Registry::new(Admission::Open), &Rules::default());
/// // An open registry takes the meter in; a reading of the year 1 is refused, and its neighbour is not.
/// assert_eq!(said.proposals[0].sensor.as_str(), "WM-101");
/// assert_eq!(said.rejections[0].reason.as_str(), "before_2000");
/// # Ok::<(), processor::mapping::MappingError>(())
/// ```
pub fn process(messages: &[Message], mapping: &Mapping, registry: &Registry, rules: &Rules) -> Processed {
    let chunks: Vec<Processed> = messages
        .par_chunks(CHUNK_MESSAGES)
        .enumerate()
        .map(|(i, chunk)| Chunk::new(registry, rules).process(i * CHUNK_MESSAGES, chunk, mapping))
        .collect();
    merge(chunks, registry.version())
}

fn merge(chunks: Vec<Processed>, registry_version: i64) -> Processed {
    let mut all = Processed { registry_version, ..Processed::default() };
    let mut proposed: HashSet<(SensorId, MetricName)> = HashSet::new();
    for mut chunk in chunks {
        chunk.proposals.retain(|p| proposed.insert((p.sensor.clone(), p.metric.clone())));
        all.proposals.append(&mut chunk.proposals);
        all.readings.append(&mut chunk.readings);
        all.events.append(&mut chunk.events);
        all.rejections.append(&mut chunk.rejections);
        all.fates.append(&mut chunk.fates);
    }
    all
}

/// One task's share of a batch.
struct Chunk<'r> {
    registry: &'r Registry,
    rules: &'r Rules,
    out: Processed,
    proposed: HashSet<(Rc<str>, Rc<str>)>,
}

impl<'r> Chunk<'r> {
    fn new(registry: &'r Registry, rules: &'r Rules) -> Self {
        Chunk { registry, rules, out: Processed::default(), proposed: HashSet::new() }
    }

    fn process(mut self, first: usize, messages: &[Message], mapping: &Mapping) -> Processed {
        for (i, message) in messages.iter().enumerate() {
            let fate = self.message((first + i) as u32, message, mapping);
            self.out.fates.push(fate);
        }
        self.out
    }

    fn message(&mut self, index: u32, message: &Message, mapping: &Mapping) -> Fate {
        let Verdict { source, number, decoded } = decode::message(message, mapping);
        let source = source.map(|index| index as u16);
        let numbered = validate::number(number, message, self.rules);
        let (number, decoded) = match numbered {
            Ok(number) => (number, decoded),
            Err(refusal) => (None, Err(refusal)),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(refusal) => {
                self.reject(index, message, refusal, 0);
                return Fate { source, number, outcome: Outcome::Rejected, decoded: 0 };
            }
        };
        let found = decoded.samples.len() + decoded.refused.len();
        let mut refused = decoded.refused;
        for sample in decoded.samples {
            if let Err(refusal) = self.sample(index, message, sample) {
                refused.push(refusal);
            }
        }
        self.reject_readings(index, message, refused);
        let outcome = if found == 0 { Outcome::Ignored } else { Outcome::Accepted };
        Fate { source, number, outcome, decoded: found as u32 }
    }

    fn sample(&mut self, index: u32, message: &Message, mut sample: Sample) -> Result<(), Refusal> {
        if UNIT_CHARS_MAX < sample.unit.len() || sample.unit.contains(char::is_control) {
            let unit = sample.unit.chars().filter(|c| !c.is_control()).take(UNIT_CHARS_MAX);
            sample.unit = unit.collect::<String>().into();
        }
        if message.retained && sample.quality.intersects(Quality::TIME_SUBSTITUTED) {
            let detail = "a retained message without a time: when it was measured is not known";
            return Err(Refusal::new(Reason::BadTime, detail));
        }
        let mut quality = sample.quality | validate::time(sample.time, message.received_at, self.rules)?;
        if self.registry.is_erased(&sample.sensor, &sample.metric, sample.time) {
            return Err(Refusal::new(Reason::Erased, "of a sensor and a time that were erased"));
        }
        let Some(series) = self.registry.find(&sample.sensor, &sample.metric) else {
            validate::floor(sample.time, self.registry.gone().floor(sample.kind, &sample.metric))?;
            return self.propose(&sample);
        };
        validate::floor(series.bucket_time(sample.time), self.registry.floor(series.id))?;
        if (series.kind == Kind::Event) != matches!(sample.body, Body::Event { .. }) {
            let detail = format!("{} of {} is kept as {}", sample.metric, sample.sensor, series.kind);
            return Err(Refusal::new(Reason::KindMismatch, detail));
        }
        let time = sample.time;
        match sample.body {
            Body::Value(value) => {
                let value = convert(value, &sample, series)? + 0.0; // -0 is 0: the same fact has the same bits
                quality |= validate::range(value, series);
                self.out.readings.push(Reading { time, value, series: series.id, quality, message: index });
            }
            Body::Event { id, speed_kmh, length_m, on_time_s, class } => self.out.events.push(Event {
                time,
                id,
                speed_kmh,
                length_m,
                on_time_s,
                class,
                series: series.id,
                quality,
                message: index,
            }),
        }
        Ok(())
    }

    fn propose(&mut self, sample: &Sample) -> Result<(), Refusal> {
        if self.registry.admission == Admission::Closed {
            return Err(if self.registry.knows_sensor(&sample.sensor) {
                let detail = format!("the registry knows no {} of {}", sample.metric, sample.sensor);
                Refusal::new(Reason::UnknownSeries, detail)
            } else {
                Refusal::new(Reason::UnknownSensor, format!("the registry does not know {}", sample.sensor))
            });
        }
        let key = (sample.sensor.clone(), sample.metric.clone());
        if self.proposed.contains(&key) {
            return Ok(());
        }
        if SERIES_MAX <= self.registry.series_count() + self.out.proposals.len() {
            return Err(Refusal::new(
                Reason::TooManySeries,
                format!("the limit of {SERIES_MAX} series is reached"),
            ));
        }
        let bad_name = |detail| Refusal::new(Reason::BadName, detail);
        self.out.proposals.push(Proposal {
            sensor: sample.sensor.parse::<SensorId>().map_err(bad_name)?,
            metric: sample.metric.parse::<MetricName>().map_err(bad_name)?,
            unit: sample.unit.as_ref().into(),
            kind: sample.kind,
            interval_s: sample.interval_s,
        });
        self.proposed.insert(key);
        Ok(())
    }

    /// One rejection a reason: a pack of a thousand readings from next year is one line, not a thousand.
    fn reject_readings(&mut self, index: u32, message: &Message, mut refused: Vec<Refusal>) {
        refused.sort_by_key(|refusal| refusal.reason);
        for same in refused.chunk_by(|a, b| a.reason == b.reason) {
            let mut refusal = same[0].clone();
            if 1 < same.len() {
                refusal.detail = format!("{} readings; the first: {}", same.len(), refusal.detail);
            }
            self.reject(index, message, refusal, same.len() as u32);
        }
    }

    fn reject(&mut self, index: u32, message: &Message, refusal: Refusal, readings: u32) {
        self.out.rejections.push(Rejection {
            message: index,
            reason: refusal.reason,
            detail: refusal.detail,
            sha256: Sha256::digest(&message.payload).into(),
            readings,
        });
    }
}

fn convert(value: f64, sample: &Sample, series: &Series) -> Result<f64, Refusal> {
    if *series.unit == *sample.unit {
        return Ok(value);
    }
    let Some(conversion) = unit::conversion(&sample.unit, &series.unit) else {
        let detail =
            format!("{} in {:?}, the series is kept in {:?}", sample.metric, sample.unit, series.unit);
        return Err(Refusal::new(Reason::UnitMismatch, detail));
    };
    match conversion.apply(value) {
        value if value.is_finite() => Ok(value),
        value => {
            Err(Refusal::new(Reason::NotFinite, format!("{} is {value} in {:?}", sample.metric, series.unit)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SeriesId, Time};

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
            let unit = (*unit).into();
            let series =
                Series { id, kind: Kind::Gauge, unit, interval_s: None, min: None, max: Some(50.0), part: 0 };
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
        let out = process(&messages, &mapping(), &registry, &Rules::default());
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
        let out = process(&messages, &mapping(), &Registry::new(Admission::Closed), &Rules::default());
        assert_eq!(out.rejections[0].reason, Reason::UnknownSensor);
        assert!(out.readings.is_empty() && out.proposals.is_empty());
    }

    #[test]
    fn each_new_series_is_proposed_once_by_its_first_valid_reading() {
        let payload = |i: usize| format!(r#"[{{"n":"s{}:level","u":"m","v":{i}}}]"#, i % 7);
        let mut messages: Vec<_> =
            (0..1000).map(|i| message("city/senml/x", payload(i).as_bytes())).collect();
        messages.push(message("city/senml/x", br#"[{"n":"never:level","v":1,"t":1900000000}]"#));
        let out = process(&messages, &mapping(), &Registry::new(Admission::Open), &Rules::default());
        assert_eq!((out.readings.len(), out.proposals.len(), out.rejections.len()), (0, 7, 1));
    }

    #[test]
    fn a_value_is_kept_in_the_unit_of_its_series_and_flagged_out_of_range() {
        let registry = open_registry(&[("a", "speed", "km/h")]);
        let text = br#"[{"bn":"a:","n":"speed","u":"m/s","v":10},{"n":"speed","u":"m/s","v":20,"t":-1},{"n":"speed","u":"kg","v":20,"t":-2}]"#;
        let out = process(&[message("city/senml/x", text)], &mapping(), &registry, &Rules::default());
        let values: Vec<_> =
            out.readings.iter().map(|r| (r.value, r.quality.intersects(Quality::OUT_OF_RANGE))).collect();
        assert_eq!(values, [(36.0, false), (72.0, true)]);
        assert_eq!(out.rejections[0].reason, Reason::UnitMismatch);
    }
}

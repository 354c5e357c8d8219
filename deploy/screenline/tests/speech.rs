//! What the simulated sensors say in any format is stored as they predict, bit for bit: by the ready mapping of that name and
//! the processor, without a database.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use ingest::ready;
use jiff::Timestamp;
use processor::{
    mapping::Mapping,
    memory::Memory,
    model::{Kind, Message, Number, Quality, Series, SeriesId, Time},
    process::{Fate, Processed, process},
    registry::{Admission, Registry},
    validate::Rules,
};
use proptest::prelude::*;
use simulators::{
    observation::{Decimal, Passage, Reading, Utterance},
    speech::{Format, Said, Stored, metric, say, stored},
};

const SENSOR: &str = "e1_A0A1.n-0";
/// Later than all that is said.
const RECEIVED: &str = "2040-01-01T00:00:00Z";
const INTERVALS_S: [u32; 6] = [0, 20, 30, 60, 300, 3_600];

static MAPPINGS: LazyLock<HashMap<Format, Mapping>> = LazyLock::new(|| {
    let mapping = |format: Format| {
        let ready = ready::find(format.name()).unwrap_or_else(|| panic!("no ready mapping {format}"));
        (format, Mapping::parse(&[(ready.name, ready.text)]).unwrap())
    };
    Format::ALL.into_iter().map(mapping).collect()
});

fn micros(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

/// Times at which clocks change where mappings have them, and others.
fn moments() -> Vec<i64> {
    let whole = [
        "2026-10-25T00:30:00Z", // Europe, and again:
        "2026-10-25T01:30:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-29T01:00:00Z",
        "2026-11-01T08:30:00Z", // California, and again:
        "2026-11-01T09:30:00Z",
        "2026-11-01T09:00:00Z",
        "2026-11-01T09:05:00Z",
        "2026-03-08T10:05:00Z",
        "2026-11-01T05:45:00.3Z", // Indiana, and again:
        "2026-11-01T06:45:00.3Z",
        "2026-03-08T07:00:00Z",
        "2000-02-29T23:59:59.999999Z",
        "2026-12-31T23:59:59.5Z",
        "2038-01-19T03:14:08.123457Z",
    ];
    whole.into_iter().map(micros).collect()
}

fn values() -> Vec<Decimal> {
    let values = [
        (0, 0),
        (0, 3),
        (1, 0),
        (-1, 0),
        (-10, 1),
        (-99, 0),
        (255, 0),
        (655_350, 1),
        (125, 1),
        (-4_925, 2),
        (31, 1),
        (1, 3),
        (7, 0),
        (99_999_999_999, 3),
        (123_456_789_012, 6),
        (-98_765_432_109, 4),
        (150_000_000, 9),
    ];
    values.into_iter().map(|(digits, places)| Decimal::new(digits, places)).collect()
}

/// Everything that a format says of one interval, at each of the times.
fn readings(format: Format, interval_s: u32, said: &[(i64, Decimal)]) -> Vec<Reading<'static>> {
    let metrics: Vec<_> =
        metric::UNITS.iter().filter(|(metric, _)| format.says(metric, interval_s)).collect();
    let at = |(time_us, value): &(i64, Decimal)| {
        let (time_us, mut value) = (*time_us, *value);
        let reading = |(metric, unit): &&(&'static str, &'static str)| {
            value.digits += 1; // no two are alike
            Reading {
                metric,
                unit,
                time_us,
                interval_s,
                value: Decimal { digits: value.digits - 1, ..value },
            }
        };
        metrics.iter().map(reading).collect::<Vec<_>>()
    };
    said.iter().flat_map(at).collect()
}

/// Of a city that takes in whom it does not know.
struct City {
    registry: Registry,
    memory: Memory,
    series: Vec<(String, String, String, u32)>,
}

impl City {
    fn new() -> City {
        City { registry: Registry::new(Admission::Open), memory: Memory::default(), series: Vec::new() }
    }

    fn know(&mut self, sensor: &str, metric: &str, kind: Kind, unit: &str, interval_s: Option<u32>) {
        if self.registry.find(sensor, metric).is_some() {
            return;
        }
        let id = SeriesId(self.series.len() as i32);
        self.registry.add_series(sensor, metric, Series::new(id, kind, unit, interval_s));
        self.series.push((sensor.to_owned(), metric.to_owned(), unit.to_owned(), interval_s.unwrap_or(0)));
    }

    /// What becomes of messages that arrive together: all of it is stored.
    fn hear(&mut self, format: Format, said: &[Utterance]) -> Processed {
        let received_at = Time::from_micros(micros(RECEIVED));
        let message = |said: &Utterance| Message {
            topic: said.topic.clone(),
            payload: said.payload.clone().into(),
            received_at,
            retained: false,
            number: None,
        };
        let messages: Vec<Message> = said.iter().map(message).collect();
        let rules = Rules { lateness_horizon: None, ..Rules::default() };
        let first = process(&messages, &MAPPINGS[&format], &self.registry, &rules, &self.memory);
        for new in &first.proposals {
            self.know(new.sensor.as_str(), new.metric.as_str(), new.kind, &new.unit, new.interval_s);
        }
        let out = process(&messages, &MAPPINGS[&format], &self.registry, &rules, &self.memory);
        self.memory.advance(&out.changes);
        let later = received_at.plus(Duration::from_secs(60));
        assert_eq!(self.memory.clone().overdue(later), [], "{format}: a number was passed over");
        let text = |i: u32| String::from_utf8_lossy(&messages[i as usize].payload).into_owned();
        if let Some(rejection) = out.rejections.first() {
            panic!(
                "{format}: {} of {}: {}",
                rejection.reason.as_str(),
                text(rejection.message),
                rejection.detail
            );
        }
        assert!(out.proposals.is_empty() && out.requests.is_empty(), "{format}");
        for (i, fate) in (0..).zip(&out.fates) {
            assert_eq!(fate.unlisted, 0, "{format}: {}", text(i));
        }
        out
    }

    fn stored(&self, out: &Processed) -> Vec<Stored> {
        let row = |series: SeriesId, time: Time, event_id, value| {
            let (sensor, metric, unit, interval_s) = self.series[series.0 as usize].clone();
            Stored { sensor, metric, time_us: time.micros(), event_id, value, unit, interval_s }
        };
        let readings =
            out.readings.iter().map(|reading| row(reading.series, reading.time, None, reading.value));
        let events = out.events.iter().map(|event| {
            let speed = event.passage.speed_kmh.unwrap_or(f64::NAN);
            row(event.series, event.time, Some(event.passage.id), speed)
        });
        readings.chain(events).collect()
    }
}

/// Sensor, metric, time, event, the bits of the value, unit, and seconds of the interval.
type Row = (String, String, i64, Option<i64>, u64, String, u32);

/// As they can be compared: every bit counts, where the format says it.
fn comparable(format: Format, stored: Vec<Stored>, told: bool) -> Vec<Row> {
    let mut rows: Vec<_> = stored
        .into_iter()
        .map(|stored| {
            let Stored { sensor, metric, time_us, event_id, value, unit, interval_s } = stored;
            let time_us = if format.keeps_time() { time_us } else { 0 };
            (sensor, metric, time_us, event_id.filter(|_| told), value.to_bits(), unit, interval_s)
        })
        .collect();
    rows.sort();
    rows
}

/// Says it, hears it, and compares; the fates of the messages.
fn check(format: Format, sensor: &str, said: Said<'_>, member: &str) -> Vec<Fate> {
    let expected = stored(format, sensor, said);
    let mut city = City::new();
    if format == Format::Influx {
        let of = |row: &Stored| (row.sensor.clone(), row.metric.clone(), row.unit.clone());
        expected
            .iter()
            .map(of)
            .for_each(|(sensor, metric, unit)| city.know(&sensor, &metric, Kind::Gauge, &unit, None));
    }
    let said = say(format, sensor, 0, said, member);
    assert_eq!(said.is_empty(), expected.is_empty(), "{format}");
    let out = city.hear(format, &said);
    for reading in &out.readings {
        assert_eq!(reading.quality.intersects(Quality::TIME_SUBSTITUTED), !format.keeps_time(), "{format}");
    }
    let told = expected.iter().any(|stored| stored.event_id.is_some());
    let found = comparable(format, city.stored(&out), told);
    let payloads =
        || said.iter().map(|said| String::from_utf8_lossy(&said.payload)).collect::<Vec<_>>().join("\n");
    assert_eq!(found, comparable(format, expected, told), "{format}: {}", payloads());
    out.fates
}

fn passage(time_us: i64, vehicle: i64, speed: Decimal) -> Passage<'static> {
    let (on_time, length) = (Decimal::new(34, 2), Decimal::new(460, 2));
    Passage { vehicle, time_us, class: "car", on_time, speed, length }
}

#[test]
fn each_ready_mapping_has_a_format_of_its_name() {
    let mut names = Format::ALL.map(Format::name);
    names.sort_unstable();
    let mut ready: Vec<_> = ready::ALL.iter().map(|ready| ready.name).collect();
    ready.sort_unstable();
    assert_eq!(names.as_slice(), ready);
}

#[test]
fn what_is_said_is_stored_as_predicted() {
    for format in Format::ALL {
        let mut any = false;
        for time_us in moments() {
            for value in values() {
                for interval_s in INTERVALS_S {
                    let readings = readings(format, interval_s, &[(time_us, value)]);
                    any |= !readings.is_empty();
                    check(format, SENSOR, Said::Readings(&readings), "");
                }
                if format.says(metric::PASSAGE, 0) {
                    any = true;
                    check(format, SENSOR, Said::Passage(&passage(time_us, -3, value)), "");
                }
            }
        }
        assert!(any, "{format} says nothing");
    }
}

#[test]
fn a_format_says_what_it_claims_and_nothing_else() {
    for format in Format::ALL {
        let passage = passage(micros("2026-11-22T12:00:00Z"), 3, Decimal::new(1_317, 2));
        let claimed = format.says(metric::PASSAGE, 0);
        assert_eq!(!stored(format, SENSOR, Said::Passage(&passage)).is_empty(), claimed, "{format}");
        for (metric, unit) in metric::UNITS.into_iter().chain([(metric::PASSAGE, "{veh}")]) {
            for interval_s in INTERVALS_S {
                let reading = Reading {
                    metric,
                    unit,
                    time_us: passage.time_us,
                    interval_s,
                    value: Decimal::new(125, 1),
                };
                let kept = stored(format, SENSOR, Said::Readings(&[reading]));
                let is_alone = format == Format::Zigbee2mqtt && metric == metric::VOLTAGE;
                let claimed = format.says(metric, interval_s) && metric != metric::PASSAGE && !is_alone;
                assert_eq!(!kept.is_empty(), claimed, "{format}: {metric} of {interval_s} s");
                check(format, SENSOR, Said::Readings(&[reading]), "");
            }
        }
    }
}

#[test]
fn a_number_is_found_where_a_format_carries_one() {
    const MEMBER: &str = r#""screenline":{"source":"north","epoch":1700000000,"seq":17},"#;
    let number = Number::new("north", 1_700_000_000, 17);
    assert!(number.is_some());
    let said = [micros("2026-11-22T12:00:00Z"), micros("2026-11-22T12:05:00Z")];
    let said = said.map(|time_us| (time_us, Decimal::new(125, 1)));
    for format in Format::ALL {
        let mut numbered = 0;
        let mut check = |said: Said<'_>| {
            let fates = check(format, SENSOR, said, MEMBER);
            for (i, fate) in fates.iter().enumerate() {
                let carried = number.clone().filter(|_| i == 0 && format.carries_number());
                assert_eq!(fate.number, carried, "{format}");
                numbered += 1;
            }
        };
        for interval_s in INTERVALS_S {
            check(Said::Readings(&readings(format, interval_s, &said)));
        }
        if format.says(metric::PASSAGE, 0) {
            check(Said::Passage(&passage(said[0].0, 3, said[0].1)));
        }
        assert!(0 < numbered, "{format}");
    }
}

/// A long conversation: frame counters, identities and numbers of Sparkplug go on from message to message.
#[test]
fn messages_follow_each_other() {
    for format in Format::ALL {
        let mut city = City::new();
        let mut sequence = 0;
        let mut identities = HashMap::new();
        let mut expected = Vec::new();
        let mut found = Vec::new();
        for i in 0..300 {
            let time_us = micros("2026-11-22T12:00:00Z") + i * 60_000_000;
            // A node of Sparkplug is born anew at times, as its host may ask.
            if format == Format::Sparkplug && i == 270 {
                sequence = 0;
            }
            let readings: Vec<Reading<'_>> = [0, 30, 60, 300]
                .iter()
                .flat_map(|s| readings(format, *s, &[(time_us, Decimal::new(i, 1))]))
                .collect();
            let passage = passage(time_us, i, Decimal::new(i, 1));
            let said = match format.says(metric::PASSAGE, 0) {
                true => Said::Passage(&passage),
                false => Said::Readings(&readings),
            };
            let rows = stored(format, SENSOR, said);
            for row in rows.iter().filter(|_| format == Format::Influx) {
                city.know(&row.sensor, &row.metric, Kind::Gauge, &row.unit, None);
            }
            expected.extend(rows);
            let said = say(format, SENSOR, sequence, said, "");
            sequence += said.len() as u64;
            let out = city.hear(format, &said);
            found.extend(city.stored(&out));
            for identity in out.fates.iter().filter_map(|fate| fate.identity) {
                assert_eq!(identities.insert(identity, i), None, "{format}");
            }
        }
        let told = expected.iter().any(|row| row.event_id.is_some());
        // Of one series, the interval is what its first message said.
        let rows = |rows: Vec<Stored>| {
            let mut rows = comparable(format, rows, told);
            rows.iter_mut().for_each(|row| row.6 = 0);
            rows.sort();
            rows
        };
        let (expected, found) = (rows(expected), rows(found));
        assert!(expected == found, "{format}: {} rows are expected, {} found", expected.len(), found.len());
    }
}

fn time() -> impl Strategy<Value = i64> {
    let any = micros("2000-01-02T00:00:00Z")..micros("2039-12-31T00:00:00Z");
    let changing = (prop::sample::select(moments()), -7_200_000_000i64..7_200_000_000)
        .prop_map(|(time_us, off)| (time_us + off).max(micros("2000-01-02T00:00:00Z")));
    let whole = any.clone().prop_map(|time_us| time_us - time_us.rem_euclid(60_000_000));
    prop_oneof![any, changing, whole]
}

fn value() -> impl Strategy<Value = Decimal> {
    let digits = prop_oneof![-100_000_000_000i64..100_000_000_000, -1_000i64..70_000];
    (digits, 0u8..8).prop_map(|(digits, places)| Decimal::new(digits, places))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_is_stored_as_predicted(
        sensor in "[A-Za-z][A-Za-z0-9_.-]{0,14}[A-Za-z0-9]",
        said in prop::collection::vec((time(), value()), 1..4),
        interval_s in prop::sample::select(INTERVALS_S.to_vec()),
    ) {
        for format in Format::ALL {
            check(format, &sensor, Said::Readings(&readings(format, interval_s, &said)), "");
            if format.says(metric::PASSAGE, 0) {
                let (time_us, value) = said[0];
                check(format, &sensor, Said::Passage(&passage(time_us, value.digits, value)), "");
            }
        }
    }
}

//! Finnish roads and their weather, as the ready mapping `digitraffic` reads them: one value in a message, its code in the
//! topic, times in whole seconds.

use super::{
    Speaker, Stored, metric,
    moment::{SECOND, cut},
};
use crate::observation::{Decimal, Reading, Utterance};

/// A value that is none, of a road.
const NONE: f64 = -1.0;

/// How a metric is said.
struct Term {
    metric: &'static str,
    interval_s: u32,
    code: u32,
    /// Times the value is what is said.
    factor: i64,
    /// Metric and unit under which it is stored.
    kept: (&'static str, &'static str),
}

const fn term(
    metric: &'static str,
    interval_s: u32,
    code: u32,
    factor: i64,
    kept: (&'static str, &'static str),
) -> Term {
    Term { metric, interval_s, code, factor, kept }
}

/// Five minutes slide, and are said as an hour of them; an hour is counted.
const TERMS: [Term; 6] = [
    term(metric::VOLUME, 3_600, 5054, 1, ("traffic.volume.dir1", "{veh}")),
    term(metric::VOLUME, 300, 5116, 12, ("traffic.flow.dir1", "{veh}/h")),
    term(metric::SPEED, 300, 5122, 1, ("traffic.speed.dir1", "km/h")),
    term(metric::TEMPERATURE, 0, 1, 1, (metric::TEMPERATURE, "Cel")),
    term("wind.speed", 0, 16, 1, ("wind.speed", "m/s")),
    term(metric::HUMIDITY, 0, 21, 1, (metric::HUMIDITY, "%")),
];

impl Term {
    fn of(metric: &str, interval_s: u32) -> Option<&'static Term> {
        TERMS.iter().find(|term| term.metric == metric && term.interval_s == interval_s)
    }

    fn value(&self, reading: &Reading<'_>) -> Decimal {
        reading.value.scaled(self.factor, 1, reading.value.places)
    }
}

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    Term::of(metric, interval_s).is_some()
}

fn known(reading: &Reading<'_>) -> Option<&'static Term> {
    let term = Term::of(reading.metric, reading.interval_s).filter(|_| metric::is_in_unit(reading))?;
    let is_none = term.interval_s != 0 && term.value(reading).value() == NONE;
    (!is_none).then_some(term)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.single(readings, |reading| known(reading).is_some());
    let said = said.filter_map(|(Speaker { sensor, member, .. }, reading)| {
        let term = known(reading)?;
        let (value, code, end) = (term.value(reading), term.code, reading.time_us.div_euclid(SECOND));
        let (service, interval) = match i64::from(term.interval_s) {
            0 => ("weather-v2", String::new()),
            seconds => ("tms-v2", format!(r#","start":{},"end":{end}"#, end - seconds)),
        };
        let payload = format!(r#"{{{member}"value":{value},"time":{end}{interval}}}"#);
        Some(Utterance { topic: format!("{service}/{sensor}/{code}"), payload: payload.into_bytes() })
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let kept = readings.iter().filter_map(|reading| {
        let term = known(reading)?;
        let (metric, unit) = term.kept;
        let station = match term.interval_s {
            0 => format!("fi-weather:{sensor}"),
            _ => format!("fi-tms:{sensor}"),
        };
        let (time_us, value) = (cut(reading.time_us, SECOND), term.value(reading).value());
        Some(Stored::instant(&station, metric, time_us, value).kept_in(unit).over(term.interval_s))
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_said_under_its_code() {
        let reading = |metric, unit, interval_s, value| Reading {
            metric,
            unit,
            time_us: 1_667_970_000_900_000,
            interval_s,
            value,
        };
        let readings = [
            reading("traffic.volume", "{veh}", 300, Decimal::whole(9)),
            reading("air.temperature", "Cel", 0, Decimal::new(-10, 1)),
            reading("traffic.speed.mean", "km/h", 300, Decimal::whole(-1)),
        ];
        let said = say(Speaker { sensor: "23001", sequence: 0, member: r#""x":1,"# }, &readings);
        let said: Vec<_> = said
            .iter()
            .map(|said| (said.topic.as_str(), std::str::from_utf8(&said.payload).unwrap()))
            .collect();
        assert_eq!(
            said,
            [
                (
                    "tms-v2/23001/5116",
                    r#"{"x":1,"value":108,"time":1667970000,"start":1667969700,"end":1667970000}"#
                ),
                ("weather-v2/23001/1", r#"{"value":-1.0,"time":1667970000}"#)
            ]
        );
        assert_eq!(stored("23001", &readings).len(), 2);
    }
}

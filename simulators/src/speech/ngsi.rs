//! FIWARE entities, as the ready mapping `ngsi` reads them, in turn in their three shapes: key-values in a notification,
//! NGSIv2 as it is, NGSI-LD in its envelope. Occupancies are ratios, and water is said in litres.

use super::{
    Speaker, Stored, identity, metric,
    moment::{SECOND, timestamp},
    speaker::field,
};
use crate::observation::{Decimal, Reading, Utterance};

const TRAFFIC: [(&str, &str); 3] =
    [(metric::VOLUME, "intensity"), (metric::OCCUPANCY, "occupancy"), (metric::SPEED, "averageVehicleSpeed")];
/// A longer interval is none.
const INTERVAL_S_MAX: u32 = 86_400;
/// Of a ratio, and of a litre, in the units that are kept.
const PERCENT: f64 = 100.0;
const LITRE: f64 = 0.001;

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    match interval_s {
        0 => metric == metric::WATER,
        seconds => field(&TRAFFIC, metric).is_some() && seconds <= INTERVAL_S_MAX,
    }
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

fn value(reading: &Reading<'_>) -> Decimal {
    match reading.metric {
        metric::OCCUPANCY => reading.value.shifted(-2),
        metric::WATER => reading.value.shifted(3),
        _ => reading.value,
    }
}

/// How the properties of an entity are written.
#[derive(Clone, Copy)]
enum Shape {
    KeyValues,
    Normalized,
    Linked,
}

impl Shape {
    fn time(self, name: &str, time_us: i64) -> String {
        let time = timestamp(time_us);
        match self {
            Shape::KeyValues => format!(r#","{name}":"{time}""#),
            Shape::Normalized => format!(r#","{name}":{{"type":"DateTime","value":"{time}"}}"#),
            Shape::Linked => {
                format!(r#","{name}":{{"type":"Property","value":{{"@type":"DateTime","@value":"{time}"}}}}"#)
            }
        }
    }

    fn number(self, name: &str, value: Decimal) -> String {
        match self {
            Shape::KeyValues => format!(r#","{name}":{value}"#),
            Shape::Normalized => format!(r#","{name}":{{"type":"Number","value":{value}}}"#),
            Shape::Linked => format!(r#","{name}":{{"type":"Property","value":{value}}}"#),
        }
    }
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.messages(readings, can).map(|(Speaker { sensor, sequence, member }, group)| {
        let shape = match sequence % 3 {
            0 => Shape::KeyValues,
            1 => Shape::Normalized,
            _ => Shape::Linked,
        };
        let entity = match group[0].interval_s {
            0 => water(sensor, group[0]),
            seconds => traffic(sensor, shape, seconds, &group),
        };
        let payload = match shape {
            Shape::KeyValues => {
                let subscription = identity::hash(sensor, None);
                format!(r#"{{{member}"subscriptionId":"{subscription:024x}","data":[{{{entity}}}]}}"#)
            }
            Shape::Normalized => format!("{{{member}{entity}}}"),
            Shape::Linked => {
                let metadata = r#""metadata":{"Content-Type":"application/ld+json"}"#;
                format!(r#"{{{member}{metadata},"body":{{{entity}}}}}"#)
            }
        };
        Utterance { topic: format!("ngsi/{sensor}"), payload: payload.into_bytes() }
    });
    said.collect()
}

fn traffic(sensor: &str, shape: Shape, interval_s: u32, group: &[&Reading<'_>]) -> String {
    let end = group[0].time_us;
    let start = end - i64::from(interval_s) * SECOND;
    let mut entity =
        format!(r#""id":"urn:ngsi-ld:TrafficFlowObserved:{sensor}","type":"TrafficFlowObserved""#);
    entity.push_str(&shape.time("dateObservedFrom", start));
    entity.push_str(&shape.time("dateObservedTo", end));
    for reading in group {
        if let Some(name) = field(&TRAFFIC, reading.metric) {
            entity.push_str(&shape.number(name, value(reading)));
        }
    }
    entity
}

/// With its own time and the code of its unit, which only a property can have.
fn water(sensor: &str, reading: &Reading<'_>) -> String {
    let (litres, time) = (value(reading), timestamp(reading.time_us));
    format!(
        r#""id":"urn:ngsi-ld:WaterConsumptionObserved:{sensor}","type":"WaterConsumptionObserved","waterConsumption":{{"type":"Property","value":{litres},"unitCode":"LTR","observedAt":"{time}"}}"#
    )
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let kind = if reading.interval_s == 0 { "WaterConsumptionObserved" } else { "TrafficFlowObserved" };
        let said = value(reading).value();
        let value = match reading.metric {
            metric::OCCUPANCY => said * PERCENT,
            metric::WATER => said * LITRE,
            _ => said,
        };
        let entity = format!("ngsi:urn:ngsi-ld:{kind}:{sensor}");
        Stored::instant(&entity, reading.metric, reading.time_us, value).over(reading.interval_s)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_takes_three_shapes_in_turn() {
        let reading = |metric, unit, interval_s, value| Reading {
            metric,
            unit,
            time_us: 1_795_346_100_000_000,
            interval_s,
            value,
        };
        let readings = [
            reading("traffic.volume", "{veh}", 300, Decimal::whole(197)),
            reading("traffic.occupancy", "%", 300, Decimal::whole(76)),
        ];
        let said = |sequence| {
            let said = say(Speaker { sensor: "r", sequence, member: "" }, &readings);
            String::from_utf8(said[0].payload.clone()).unwrap()
        };
        assert_eq!(
            said(0),
            format!(
                r#"{{"subscriptionId":"{:024x}","data":[{{"id":"urn:ngsi-ld:TrafficFlowObserved:r","type":"TrafficFlowObserved","dateObservedFrom":"2026-11-22T11:10:00Z","dateObservedTo":"2026-11-22T11:15:00Z","intensity":197,"occupancy":0.76}}]}}"#,
                identity::hash("r", None)
            )
        );
        assert_eq!(
            said(1),
            r#"{"id":"urn:ngsi-ld:TrafficFlowObserved:r","type":"TrafficFlowObserved","dateObservedFrom":{"type":"DateTime","value":"2026-11-22T11:10:00Z"},"dateObservedTo":{"type":"DateTime","value":"2026-11-22T11:15:00Z"},"intensity":{"type":"Number","value":197},"occupancy":{"type":"Number","value":0.76}}"#
        );
        assert_eq!(
            said(2),
            r#"{"metadata":{"Content-Type":"application/ld+json"},"body":{"id":"urn:ngsi-ld:TrafficFlowObserved:r","type":"TrafficFlowObserved","dateObservedFrom":{"type":"Property","value":{"@type":"DateTime","@value":"2026-11-22T11:10:00Z"}},"dateObservedTo":{"type":"Property","value":{"@type":"DateTime","@value":"2026-11-22T11:15:00Z"}},"intensity":{"type":"Property","value":197},"occupancy":{"type":"Property","value":0.76}}}"#
        );
        let meter = [reading("water.volume.total", "m3", 0, Decimal::new(191_051, 3))];
        let said = say(Speaker { sensor: "7", sequence: 1, member: "" }, &meter);
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            r#"{"id":"urn:ngsi-ld:WaterConsumptionObserved:7","type":"WaterConsumptionObserved","waterConsumption":{"type":"Property","value":191051,"unitCode":"LTR","observedAt":"2026-11-22T11:15:00Z"}}"#
        );
    }
}

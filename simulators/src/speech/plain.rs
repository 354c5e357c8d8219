//! One number a topic, as the ready mapping `plain` reads it: no time, so the receipt's is kept.

use super::{Stored, metric, speaker::field};
use crate::observation::{Decimal, Reading, Utterance};

const FIELDS: [(&str, &str); 4] = [
    (metric::VOLUME, "count"),
    (metric::SPEED, "speed"),
    (metric::LEVEL, "level"),
    (metric::TEMPERATURE, "temperature"),
];
/// Numbers that mean that there is none.
const NONE: [f64; 4] = [-99.0, -1.0, 255.0, 65_535.0];

pub(super) fn says(metric: &str) -> bool {
    field(&FIELDS, metric).is_some()
}

/// As it is said: speeds in miles an hour, with one place.
fn number(reading: &Reading<'_>) -> Option<Decimal> {
    let value = match reading.metric {
        metric::SPEED => reading.value.scaled(metric::MILE.1, metric::MILE.0, 1),
        _ => reading.value,
    };
    let can = says(reading.metric) && metric::is_in_unit(reading) && !NONE.contains(&value.value());
    can.then_some(value)
}

pub(super) fn say(sensor: &str, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = readings.iter().filter_map(|reading| {
        let (value, field) = (number(reading)?, field(&FIELDS, reading.metric)?);
        let mut payload = Vec::new();
        value.write(&mut payload);
        Some(Utterance { topic: format!("plain/city/{sensor}/{field}"), payload })
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let sensor = format!("city:{sensor}");
    let kept = readings.iter().filter_map(|reading| {
        let said = number(reading)?.value();
        let value = if reading.metric == metric::SPEED { said * metric::MILE_KMH } else { said };
        Some(Stored::instant(&sensor, reading.metric, reading.time_us, value))
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_all_that_is_said() {
        let reading =
            |metric, unit, value| Reading { metric, unit, time_us: 60_000_000, interval_s: 60, value };
        let readings = [
            reading("traffic.speed.mean", "km/h", Decimal::new(507, 1)),
            reading("traffic.volume", "{veh}", Decimal::whole(255)),
            reading("air.temperature", "Cel", Decimal::new(-990, 1)),
            reading("air.temperature", "Cel", Decimal::new(-991, 1)),
        ];
        let said = say("L7", &readings);
        let said: Vec<_> = said
            .iter()
            .map(|said| (said.topic.as_str(), std::str::from_utf8(&said.payload).unwrap()))
            .collect();
        assert_eq!(said, [("plain/city/L7/speed", "31.5"), ("plain/city/L7/temperature", "-99.1")]);
        assert_eq!(stored("L7", &readings)[0].value, 31.5 * 1.609_344);
    }
}

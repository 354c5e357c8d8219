//! The register of a water meter, as the ready mapping `water-registers` reads it.

use super::{Speaker, Stored, metric, moment::timestamp};
use crate::observation::{Reading, Utterance};

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    (metric, interval_s) == (metric::WATER, 0)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.single(readings, can).map(|(Speaker { sensor, member, .. }, reading)| {
        let (time, value) = (timestamp(reading.time_us), reading.value);
        let payload = format!(r#"{{{member}"time":"{time}","register_m3":{value}}}"#);
        Utterance { topic: format!("city/water/{sensor}/register"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let said = readings.iter().filter(|reading| can(reading));
    said.map(|reading| Stored::instant(sensor, reading.metric, reading.time_us, reading.value.value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_register_is_said_with_its_time() {
        let readings = [Reading {
            metric: "water.volume.total",
            unit: "m3",
            time_us: 1_704_067_200_000_000,
            interval_s: 0,
            value: Decimal::new(8_690_735, 3),
        }];
        let said = say(Speaker { sensor: "WM-101", sequence: 0, member: "" }, &readings);
        assert_eq!(said[0].topic, "city/water/WM-101/register");
        assert_eq!(said[0].payload, br#"{"time":"2024-01-01T00:00:00Z","register_m3":8690.735}"#);
        assert_eq!(stored("WM-101", &readings)[0].value, 8_690.735);
    }
}

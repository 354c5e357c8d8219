//! Zigbee devices, as the ready mapping `zigbee2mqtt` reads them, with `last_seen` in milliseconds. A voltage is that of the
//! mains only beside a power; alone it would be a battery's, and is not said.

use super::{
    Speaker, Stored, metric,
    moment::{MILLISECOND, cut, timestamp},
    speaker::{field, groups, members, value},
};
use crate::observation::{Reading, Utterance};

const FIELDS: [(&str, &str); 6] = [
    (metric::TEMPERATURE, "temperature"),
    (metric::HUMIDITY, "humidity"),
    (metric::PRESSURE, "pressure"),
    (metric::POWER, "power"),
    (metric::VOLTAGE, "voltage"),
    (metric::IMPORT, "energy"),
];

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && field(&FIELDS, metric).is_some()
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

/// What each message says: without a voltage that stands alone.
fn said<'r>(readings: &'r [Reading<'r>]) -> impl Iterator<Item = Vec<&'r Reading<'r>>> {
    let groups = groups(readings, can).into_iter().map(|mut group| {
        if value(&group, metric::POWER).is_none() {
            group.retain(|reading| reading.metric != metric::VOLTAGE);
        }
        group
    });
    groups.filter(|group| !group.is_empty())
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.counted(said(readings)).map(|(Speaker { sensor, member, .. }, group)| {
        let fields = members(&group, &FIELDS);
        let seen = timestamp(cut(group[0].time_us, MILLISECOND)).strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let payload = format!(r#"{{{member}{fields},"linkquality":120,"last_seen":"{seen}"}}"#);
        Utterance { topic: format!("zigbee2mqtt/{sensor}"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let device = format!("zigbee:{sensor}");
    let kept = said(readings).flatten().map(|reading| {
        let (time_us, value) = (cut(reading.time_us, MILLISECOND), reading.value.value());
        let kept = Stored::instant(&device, reading.metric, time_us, value);
        match reading.metric {
            metric::VOLTAGE => Stored { metric: "voltage.mains".to_owned(), ..kept },
            _ => kept,
        }
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_voltage_is_said_beside_a_power_only() {
        let reading = |metric, unit, time_us, value| Reading { metric, unit, time_us, interval_s: 0, value };
        let readings = [
            reading("voltage", "V", 1_795_345_170_000_900, Decimal::whole(229)),
            reading("power.active", "W", 1_795_345_170_000_900, Decimal::new(5, 1)),
            reading("voltage", "V", 1_795_345_171_000_000, Decimal::whole(3)),
            reading("air.humidity", "%", 1_795_345_172_000_000, Decimal::whole(48)),
        ];
        let said = say(Speaker { sensor: "hall", sequence: 0, member: "" }, &readings);
        let said: Vec<_> = said.into_iter().map(|said| String::from_utf8(said.payload).unwrap()).collect();
        assert_eq!(
            said,
            [
                r#"{"voltage":229,"power":0.5,"linkquality":120,"last_seen":"2026-11-22T10:59:30.000Z"}"#,
                r#"{"humidity":48,"linkquality":120,"last_seen":"2026-11-22T10:59:32.000Z"}"#
            ]
        );
        let metrics: Vec<_> = stored("hall", &readings).into_iter().map(|stored| stored.metric).collect();
        assert_eq!(metrics, ["voltage.mains", "power.active", "air.humidity"]);
    }
}

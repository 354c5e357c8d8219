//! Meters heard by wmbusmeters, as the ready mapping `wmbusmeters` reads them: one telegram a medium, times in whole seconds.
//! The id is the meter's whole address, for eight digits of a hash would soon name two meters alike.

use super::{
    Speaker, Stored, identity, metric,
    moment::{SECOND, cut, timestamp},
};
use crate::observation::{Reading, Utterance};

/// Metric, medium, the driver of such a meter, and the key of its register.
const MEDIA: [(&str, &str, &str, &str); 4] = [
    (metric::WATER, "water", "multical21", "total_m3"),
    (metric::GAS, "gas", "apator08", "total_m3"),
    (metric::IMPORT, "electricity", "amiplus", "total_energy_consumption_kwh"),
    (metric::HEAT, "heat", "kamheat", "total_energy_consumption_kwh"),
];

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && MEDIA.iter().any(|(known, ..)| *known == metric)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let id = identity::eui(speaker.sensor);
    let said = speaker.single(readings, can).filter_map(|(Speaker { sensor, member, .. }, reading)| {
        let (_, media, meter, key) = MEDIA.iter().find(|(known, ..)| *known == reading.metric)?;
        let (value, time) = (reading.value, timestamp(cut(reading.time_us, SECOND)));
        let payload = format!(
            r#"{{{member}"media":"{media}","meter":"{meter}","name":"{sensor}","id":"{id}","{key}":{value},"timestamp":"{time}"}}"#
        );
        Some(Utterance { topic: format!("wmbusmeters/{id}"), payload: payload.into_bytes() })
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let meter = format!("wmbus:{}", identity::eui(sensor));
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        Stored::instant(&meter, reading.metric, cut(reading.time_us, SECOND), reading.value.value())
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_telegram_names_its_medium() {
        let readings = [Reading {
            metric: "heat.energy.total",
            unit: "kW.h",
            time_us: 1_795_348_690_999_999,
            interval_s: 0,
            value: Decimal::whole(103),
        }];
        let said = say(Speaker { sensor: "a", sequence: 0, member: "" }, &readings);
        assert_eq!(said[0].topic, "wmbusmeters/AF63DC4C8601EC8C");
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            r#"{"media":"heat","meter":"kamheat","name":"a","id":"AF63DC4C8601EC8C","total_energy_consumption_kwh":103,"timestamp":"2026-11-22T11:58:10Z"}"#
        );
        assert_eq!(stored("a", &readings)[0].time_us, 1_795_348_690_000_000);
    }
}

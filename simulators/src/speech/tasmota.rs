//! Tasmota energy meters, as the ready mapping `tasmota` reads them: local time without an offset, so that in autumn an hour
//! is taken for the one before it.

use super::{
    Speaker, Stored, metric,
    moment::{SECOND, cut, local, reheard, zone},
    speaker::{field, members},
};
use crate::observation::{Reading, Utterance};

const ZONE: &str = "Europe/Berlin";
const FIELDS: [(&str, &str); 3] =
    [(metric::IMPORT, "Total"), (metric::POWER, "Power"), (metric::VOLTAGE, "Voltage")];

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && field(&FIELDS, metric).is_some()
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let zone = zone(ZONE);
    let said = speaker.messages(readings, can).map(|(Speaker { sensor, member, .. }, group)| {
        let time = local(group[0].time_us, &zone).strftime("%Y-%m-%dT%H:%M:%S");
        let fields = members(&group, &FIELDS);
        let payload = format!(r#"{{{member}"Time":"{time}","ENERGY":{{{fields}}}}}"#);
        Utterance { topic: format!("tele/{sensor}/SENSOR"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let (device, zone) = (format!("tasmota:{sensor}"), zone(ZONE));
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let time_us = reheard(cut(reading.time_us, SECOND), &zone);
        Stored::instant(&device, reading.metric, time_us, reading.value.value())
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn an_hour_that_comes_twice_is_said_twice() {
        let reading = |metric, unit, time_us, value| Reading { metric, unit, time_us, interval_s: 0, value };
        let readings = [
            reading("energy.active.import", "kW.h", 1_792_888_200_000_000, Decimal::new(17_303, 3)),
            reading("power.active", "W", 1_792_888_200_000_000, Decimal::whole(-61)),
            reading("voltage", "V", 1_792_891_800_000_000, Decimal::whole(229)),
        ];
        let said = say(Speaker { sensor: "plug7", sequence: 0, member: r#""x":1,"# }, &readings);
        let said: Vec<_> = said.into_iter().map(|said| String::from_utf8(said.payload).unwrap()).collect();
        assert_eq!(
            said,
            [
                r#"{"x":1,"Time":"2026-10-25T02:30:00","ENERGY":{"Total":17.303,"Power":-61}}"#,
                r#"{"Time":"2026-10-25T02:30:00","ENERGY":{"Voltage":229}}"#
            ]
        );
        assert_eq!(stored("plug7", &readings)[2].time_us, 1_792_888_200_000_000);
    }
}

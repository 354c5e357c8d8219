//! LoRaWAN uplinks, decoded by the network server: `chirpstack` (ChirpStack v4) and `things-stack` (The Things Stack v3).

use super::{
    Speaker, Stored, identity, metric,
    moment::timestamp,
    speaker::{field, members},
};
use crate::observation::{Reading, Utterance};

/// As the codec of a device's profile names them.
const FIELDS: [(&str, &str); 7] = [
    (metric::TEMPERATURE, "temperature"),
    (metric::HUMIDITY, "humidity"),
    (metric::PRESSURE, "pressure"),
    ("air.pm10", "pm10"),
    ("air.pm2_5", "pm2_5"),
    (metric::WATER, "volume_m3"),
    (metric::LEVEL, "level_m"),
];

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && field(&FIELDS, metric).is_some()
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

pub(super) fn say_chirpstack(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let eui = identity::eui(speaker.sensor).to_ascii_lowercase();
    let said = speaker.messages(readings, can).map(|(speaker, group)| {
        let Speaker { sensor, sequence, member } = speaker;
        let (uuid, time) = (identity::uuid(sensor, sequence), timestamp(group[0].time_us));
        // A counter that is zero is left out, as proto3 has it.
        let frame = if sequence == 0 { String::new() } else { format!(r#""fCnt":{sequence},"#) };
        let fields = members(&group, &FIELDS);
        let payload = format!(
            r#"{{{member}"deduplicationId":"{uuid}","time":"{time}","deviceInfo":{{"deviceName":"{sensor}","devEui":"{eui}"}},{frame}"fPort":2,"object":{{{fields}}}}}"#
        );
        Utterance { topic: format!("application/1/device/{eui}/event/up"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn say_things_stack(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let eui = identity::eui(speaker.sensor).to_ascii_lowercase();
    let said = speaker.messages(readings, can).map(|(speaker, group)| {
        let Speaker { sensor, sequence, member } = speaker;
        let time = timestamp(group[0].time_us);
        let frame = if sequence == 0 { String::new() } else { format!(r#""f_cnt":{sequence},"#) };
        let fields = members(&group, &FIELDS);
        let payload = format!(
            r#"{{{member}"end_device_ids":{{"device_id":"{sensor}","dev_eui":"{eui}"}},"received_at":"{time}","uplink_message":{{"session_key_id":"{eui}",{frame}"f_port":2,"received_at":"{time}","decoded_payload":{{{fields}}}}}}}"#
        );
        Utterance { topic: format!("v3/city/devices/{sensor}/up"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let device = format!("lora:{}", identity::eui(sensor).to_ascii_lowercase());
    let said = readings.iter().filter(|reading| can(reading));
    said.map(|reading| Stored::instant(&device, reading.metric, reading.time_us, reading.value.value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn an_uplink_is_said_as_its_server_says_it() {
        let reading = |metric, unit, digits| Reading {
            metric,
            unit,
            time_us: 1_795_348_798_123_000,
            interval_s: 0,
            value: Decimal::new(digits, 1),
        };
        let readings = [
            reading("air.temperature", "Cel", -15),
            reading("air.temperature", "K", 1),
            reading("gas", "", 1),
        ];
        let speaker = Speaker { sensor: "a", sequence: 10, member: "" };
        let text = |said: Vec<Utterance>| {
            assert_eq!(said.len(), 1);
            (said[0].topic.clone(), String::from_utf8(said[0].payload.clone()).unwrap())
        };
        let (topic, payload) = text(say_chirpstack(speaker, &readings));
        assert_eq!(topic, "application/1/device/af63dc4c8601ec8c/event/up");
        let uuid = identity::uuid("a", 10);
        assert_eq!(
            payload,
            format!(
                r#"{{"deduplicationId":"{uuid}","time":"2026-11-22T11:59:58.123Z","deviceInfo":{{"deviceName":"a","devEui":"af63dc4c8601ec8c"}},"fCnt":10,"fPort":2,"object":{{"temperature":-1.5}}}}"#
            )
        );
        let (topic, payload) = text(say_things_stack(Speaker { sequence: 0, ..speaker }, &readings));
        assert_eq!(topic, "v3/city/devices/a/up");
        assert_eq!(
            payload,
            r#"{"end_device_ids":{"device_id":"a","dev_eui":"af63dc4c8601ec8c"},"received_at":"2026-11-22T11:59:58.123Z","uplink_message":{"session_key_id":"af63dc4c8601ec8c","f_port":2,"received_at":"2026-11-22T11:59:58.123Z","decoded_payload":{"temperature":-1.5}}}"#
        );
        assert_eq!(stored("a", &readings).len(), 1);
    }
}

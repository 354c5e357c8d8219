//! Shelly devices of the second generation, as the ready mapping `shelly` reads them: energy in watt-hours, times in seconds
//! with two places.
//!
//! The mapping holds what a device does not say again for an hour, so each message must say everything that the device
//! measures.

use super::{Speaker, Stored, metric, moment::cut, speaker::value};
use crate::observation::{Decimal, Reading, Utterance};

/// Microseconds.
const RESOLUTION: i64 = 10_000;
/// A watt-hour, in kilowatt-hours.
const WATT_HOUR: f64 = 0.001;

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && [metric::POWER, metric::VOLTAGE, metric::IMPORT, metric::EXPORT].contains(&metric)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

fn is_energy(metric: &str) -> bool {
    metric == metric::IMPORT || metric == metric::EXPORT
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.messages(readings, can).map(|(Speaker { sensor, member, .. }, group)| {
        let time = Decimal::new(group[0].time_us.div_euclid(RESOLUTION), 2);
        let mut params = format!(r#""ts":{time}"#);
        let mut switch = String::new();
        if let Some(power) = value(&group, metric::POWER) {
            switch.push_str(&format!(r#","apower":{power}"#));
        }
        if let Some(voltage) = value(&group, metric::VOLTAGE) {
            switch.push_str(&format!(r#","voltage":{voltage}"#));
        }
        if let Some(energy) = value(&group, metric::IMPORT) {
            switch.push_str(&format!(r#","aenergy":{{"total":{}}}"#, energy.shifted(3)));
        }
        if !switch.is_empty() {
            params.push_str(&format!(r#","switch:0":{{"id":0{switch}}}"#));
        }
        if let Some(energy) = value(&group, metric::EXPORT) {
            params.push_str(&format!(r#","emdata:0":{{"id":0,"total_act_ret":{}}}"#, energy.shifted(3)));
        }
        let payload = format!(
            r#"{{{member}"src":"{sensor}","dst":"{sensor}/events","method":"NotifyStatus","params":{{{params}}}}}"#
        );
        Utterance { topic: format!("{sensor}/events/rpc"), payload: payload.into_bytes() }
    });
    said.collect()
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let device = format!("shelly:{sensor}");
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let value = match is_energy(reading.metric) {
            true => reading.value.shifted(3).value() * WATT_HOUR,
            false => reading.value.value(),
        };
        Stored::instant(&device, reading.metric, cut(reading.time_us, RESOLUTION), value)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_all_that_is_measured() {
        let reading = |metric, unit, value| Reading {
            metric,
            unit,
            time_us: 1_795_348_700_509_000,
            interval_s: 0,
            value,
        };
        let readings = [
            reading("power.active", "W", Decimal::new(-2005, 1)),
            reading("voltage", "V", Decimal::whole(229)),
            reading("energy.active.import", "kW.h", Decimal::new(512_325, 5)),
            reading("energy.active.export", "kW.h", Decimal::whole(7)),
        ];
        let said = say(Speaker { sensor: "shelly-a1", sequence: 0, member: "" }, &readings);
        assert_eq!(said[0].topic, "shelly-a1/events/rpc");
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            r#"{"src":"shelly-a1","dst":"shelly-a1/events","method":"NotifyStatus","params":{"ts":1795348700.50,"switch:0":{"id":0,"apower":-200.5,"voltage":229,"aenergy":{"total":5123.25}},"emdata:0":{"id":0,"total_act_ret":7000}}}"#
        );
        let values: Vec<f64> = stored("shelly-a1", &readings).iter().map(|stored| stored.value).collect();
        assert_eq!(values, [-200.5, 229.0, 5123.25 * 0.001, 7.0]);
    }
}

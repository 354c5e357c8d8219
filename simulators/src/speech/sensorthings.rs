//! OGC SensorThings observations, as the ready mapping `sensorthings` reads them: what a sensor measures is a datastream of
//! its own, named by both, and the metric is always `observation`.

use super::{Speaker, Stored, metric, moment::timestamp};
use crate::observation::{Reading, Utterance};

const METRIC: &str = "observation";

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == 0 && metric != metric::PASSAGE && !metric.is_empty() && !metric.contains(['/', '+', '#'])
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s)
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.single(readings, can).map(|(Speaker { sensor, member, .. }, reading)| {
        let Reading { metric, value, time_us, .. } = reading;
        let time = timestamp(*time_us);
        let payload =
            format!(r#"{{{member}"phenomenonTime":"{time}","resultTime":"{time}","result":{value}}}"#);
        let topic = format!("v1.1/Datastreams({sensor}:{metric})/Observations");
        Utterance { topic, payload: payload.into_bytes() }
    });
    said.collect()
}

/// Of no unit: one that the registry gave would be that of all datastreams, which share their metric.
pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let datastream = format!("sta:{sensor}:{}", reading.metric);
        Stored::instant(&datastream, METRIC, reading.time_us, reading.value.value())
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn each_metric_is_a_datastream() {
        let readings = [Reading {
            metric: "rain.intensity",
            unit: "mm/h",
            time_us: 1_795_348_800_000_000,
            interval_s: 0,
            value: Decimal::new(125, 1),
        }];
        let said = say(Speaker { sensor: "r", sequence: 0, member: r#""x":1,"# }, &readings);
        assert_eq!(said[0].topic, "v1.1/Datastreams(r:rain.intensity)/Observations");
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            r#"{"x":1,"phenomenonTime":"2026-11-22T12:00:00Z","resultTime":"2026-11-22T12:00:00Z","result":12.5}"#
        );
        assert_eq!(stored("r", &readings)[0].sensor, "sta:r:rain.intensity");
    }
}

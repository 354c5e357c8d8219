//! Lines of the ready mapping `pems-5min`: vehicles of the first lane, under the minute in which they began to be counted.

use super::{
    super::{
        Stored, metric,
        moment::{MINUTE, SECOND, cut, local, reheard, zone},
    },
    ZONE,
};
use crate::observation::{Decimal, Reading, Utterance};

const INTERVAL_S: u32 = 300;
const HEADER: &str = "5 Minutes,Lane 1 Flow (Veh/5 Minutes),# Lane Points,% Observed\n";

pub(in super::super) fn says(metric: &str, interval_s: u32) -> bool {
    (metric, interval_s) == (metric::VOLUME, INTERVAL_S)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

fn flow(reading: &Reading<'_>) -> Decimal {
    reading.value.scaled(1, 1, 0)
}

/// Of a reading's interval, to the minute.
fn start(reading: &Reading<'_>) -> i64 {
    cut(reading.time_us - i64::from(INTERVAL_S) * SECOND, MINUTE)
}

pub(in super::super) fn say(sensor: &str, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let zone = zone(ZONE);
    let mut payload = HEADER.to_owned();
    for reading in readings.iter().filter(|reading| can(reading)) {
        let start = local(start(reading), &zone).strftime("%d/%m/%Y %-H:%M");
        payload.push_str(&format!("{start},{},1,100\n", flow(reading)));
    }
    if payload == HEADER {
        return Vec::new();
    }
    vec![Utterance { topic: format!("import/pems-5min/{sensor}"), payload: payload.into_bytes() }]
}

pub(in super::super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let (station, zone) = (format!("pems:{sensor}"), zone(ZONE));
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let time_us = reheard(start(reading), &zone) + i64::from(INTERVAL_S) * SECOND;
        Stored::instant(&station, metric::VOLUME, time_us, flow(reading).value()).over(INTERVAL_S)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_has_the_time_of_its_start() {
        let readings = [Reading {
            metric: "traffic.volume",
            unit: "{veh}",
            time_us: 1_451_894_700_000_000,
            interval_s: 300,
            value: Decimal::new(126, 1),
        }];
        let said = say("a", &readings);
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            "5 Minutes,Lane 1 Flow (Veh/5 Minutes),# Lane Points,% Observed\n04/01/2016 0:00,13,1,100\n"
        );
        assert_eq!(stored("a", &readings)[0].time_us, 1_451_894_700_000_000);
        assert!(say("a", &[]).is_empty());
    }
}

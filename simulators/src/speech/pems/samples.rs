//! Lines of the ready mapping `pems-30s`: vehicles, miles an hour and tenths of a percent, of the first lane.

use super::{
    super::{
        Stored, metric,
        moment::{SECOND, cut, local, reheard, zone},
        speaker::{groups, value},
    },
    ZONE,
};
use crate::observation::{Decimal, Reading, Utterance};

const INTERVAL_S: u32 = 30;
/// A tenth of a percent.
const TENTH: f64 = 0.1;

pub(in super::super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == INTERVAL_S && [metric::VOLUME, metric::OCCUPANCY, metric::SPEED].contains(&metric)
}

fn can(reading: &Reading<'_>) -> bool {
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading)
}

fn said(metric: &str, value: Decimal) -> Decimal {
    match metric {
        metric::SPEED => value.scaled(metric::MILE.1, metric::MILE.0, 0),
        metric::OCCUPANCY => value.scaled(10, 1, 0),
        _ => value.scaled(1, 1, 0),
    }
}

pub(in super::super) fn say(sensor: &str, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let zone = zone(ZONE);
    let mut payload = String::new();
    for group in groups(readings, can) {
        let cell =
            |metric| value(&group, metric).map_or(String::new(), |value| said(metric, value).to_string());
        let (flow, speed, occupancy) = (cell(metric::VOLUME), cell(metric::SPEED), cell(metric::OCCUPANCY));
        let time = local(group[0].time_us, &zone).strftime("%m/%d/%Y %H:%M:%S");
        payload.push_str(&format!("{sensor},{flow},{speed},{occupancy},,,,{time}\n"));
    }
    if payload.is_empty() {
        return Vec::new();
    }
    vec![Utterance { topic: "import/pems-30s".to_owned(), payload: payload.into_bytes() }]
}

pub(in super::super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let (station, zone) = (format!("pems:{sensor}"), zone(ZONE));
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let said = said(reading.metric, reading.value).value();
        let (metric, value) = match reading.metric {
            metric::SPEED => ("traffic.speed.lane1", said * metric::MILE_KMH),
            metric::OCCUPANCY => ("traffic.occupancy.lane1", said * TENTH),
            _ => ("traffic.volume.lane1", said),
        };
        let time_us = reheard(cut(reading.time_us, SECOND), &zone);
        Stored::instant(&station, metric, time_us, value).kept_in(reading.unit).over(INTERVAL_S)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_line_of_local_time() {
        let reading = |metric, unit, value| Reading {
            metric,
            unit,
            time_us: 1_795_348_770_000_000,
            interval_s: 30,
            value,
        };
        let readings = [
            reading("traffic.volume", "{veh}", Decimal::whole(6)),
            reading("traffic.speed.mean", "km/h", Decimal::new(1_030, 1)),
            reading("traffic.volume", "{veh}", Decimal::whole(7)),
        ];
        let said = say("715898", &readings);
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            "715898,6,64,,,,,11/22/2026 03:59:30\n715898,7,,,,,,11/22/2026 03:59:30\n"
        );
        assert_eq!(stored("715898", &readings)[1].value, 64.0 * 1.609_344);
    }
}

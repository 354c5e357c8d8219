//! Line protocol, as the ready mapping `influx` reads it: one line a reading, its measurement what stands before the metric's
//! last point, its field what stands behind it. What is measured and how often, only the registry knows.

use super::{Stored, metric};
use crate::observation::{Reading, Utterance};

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    const MARKS: [char; 5] = [',', '=', ' ', '"', '\\'];
    let parts = metric.rsplit_once('.').filter(|(measurement, field)| {
        !measurement.is_empty() && !field.is_empty() && !measurement.starts_with('#')
    });
    interval_s == 0 && metric != metric::PASSAGE && parts.is_some() && !metric.contains(MARKS)
}

pub(super) fn say(sensor: &str, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let mut payload = Vec::new();
    for reading in readings.iter().filter(|reading| says(reading.metric, reading.interval_s)) {
        let Some((measurement, field)) = reading.metric.rsplit_once('.') else { continue };
        payload.extend_from_slice(format!("{measurement},host={sensor} {field}=").as_bytes());
        reading.value.write(&mut payload);
        payload.extend_from_slice(format!(" {}000\n", reading.time_us).as_bytes());
    }
    if payload.is_empty() {
        return Vec::new();
    }
    vec![Utterance { topic: format!("telegraf/{sensor}"), payload }]
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let host = format!("host:{sensor}");
    let said = readings.iter().filter(|reading| says(reading.metric, reading.interval_s));
    said.map(|reading| {
        let unit = if reading.unit.is_empty() { "1" } else { reading.unit };
        Stored::instant(&host, reading.metric, reading.time_us, reading.value.value()).kept_in(unit)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_reading_is_a_line() {
        let reading = |metric, digits| Reading {
            metric,
            unit: "Cel",
            time_us: 1_795_348_700_000_001,
            interval_s: 0,
            value: Decimal::new(digits, 2),
        };
        let readings = [reading("air.temperature", -425), reading("voltage", 1), reading("a.b.c", 0)];
        let said = say("ps-4", &readings);
        assert_eq!((said.len(), said[0].topic.as_str()), (1, "telegraf/ps-4"));
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            "air,host=ps-4 temperature=-4.25 1795348700000001000\na.b,host=ps-4 c=0.00 1795348700000001000\n"
        );
        assert_eq!(stored("ps-4", &readings).len(), 2);
        assert!(say("ps-4", &readings[1..2]).is_empty());
    }
}

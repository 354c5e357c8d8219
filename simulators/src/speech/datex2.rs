//! Publications of measured data in DATEX II (version 2), as the ready mapping `datex2` reads them: the values of a site have
//! numbers, and a volume is said as a flow.

use super::{Speaker, Stored, metric, moment::timestamp};
use crate::observation::{Decimal, Reading, Utterance};

/// What the mapping takes every value to speak of, in seconds.
const INTERVAL_S: u32 = 60;
/// Of a volume of one minute.
const FLOW: i64 = 60;
/// A value that is none.
const NONE: f64 = -1.0;

pub(super) fn says(metric: &str, interval_s: u32) -> bool {
    interval_s == INTERVAL_S && [metric::VOLUME, metric::OCCUPANCY, metric::SPEED].contains(&metric)
}

fn can(reading: &Reading<'_>) -> bool {
    let is_none = reading.metric != metric::VOLUME && reading.value.value() == NONE;
    says(reading.metric, reading.interval_s) && metric::is_in_unit(reading) && !is_none
}

pub(super) fn say(speaker: Speaker<'_>, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said = speaker.messages(readings, can).map(|(speaker, group)| {
        let sensor = speaker.sensor;
        let time = timestamp(group[0].time_us);
        let mut payload = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><d2LogicalModel xmlns="http://datex2.eu/schema/2/2_0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" modelBaseVersion="2"><payloadPublication xsi:type="MeasuredDataPublication" lang="en"><publicationTime>{time}</publicationTime><siteMeasurements><measurementSiteReference id="{sensor}" version="1" targetClass="MeasurementSiteRecord"/><measurementTimeDefault>{time}</measurementTimeDefault>"#
        );
        group.iter().for_each(|reading| payload.push_str(&measured(reading)));
        payload.push_str("</siteMeasurements></payloadPublication></d2LogicalModel>");
        Utterance { topic: "import/datex2".to_owned(), payload: payload.into_bytes() }
    });
    said.collect()
}

/// One value of a site, under its number.
fn measured(reading: &Reading<'_>) -> String {
    let value = said(reading);
    let (index, kind, data) = match reading.metric {
        metric::VOLUME => (
            1,
            "TrafficFlow",
            format!("<vehicleFlow><vehicleFlowRate>{value}</vehicleFlowRate></vehicleFlow>"),
        ),
        metric::SPEED => {
            (2, "TrafficSpeed", format!("<averageVehicleSpeed><speed>{value}</speed></averageVehicleSpeed>"))
        }
        _ => (3, "TrafficConcentration", format!("<occupancy><percentage>{value}</percentage></occupancy>")),
    };
    format!(
        r#"<measuredValue index="{index}"><measuredValue><basicData xsi:type="{kind}">{data}</basicData></measuredValue></measuredValue>"#
    )
}

fn said(reading: &Reading<'_>) -> Decimal {
    match reading.metric {
        metric::VOLUME => reading.value.scaled(FLOW, 1, reading.value.places),
        _ => reading.value,
    }
}

pub(super) fn stored(sensor: &str, readings: &[Reading<'_>]) -> Vec<Stored> {
    let site = format!("datex2:{sensor}");
    let kept = readings.iter().filter(|reading| can(reading)).map(|reading| {
        let (metric, unit) = match reading.metric {
            metric::VOLUME => ("traffic.flow.1", "{veh}/h"),
            metric::SPEED => ("traffic.speed.2", "km/h"),
            _ => ("traffic.occupancy.3", "%"),
        };
        Stored::instant(&site, metric, reading.time_us, said(reading).value()).kept_in(unit).over(INTERVAL_S)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_said_as_a_flow() {
        let reading = |metric, unit, value| Reading {
            metric,
            unit,
            time_us: 1_795_348_740_000_000,
            interval_s: 60,
            value,
        };
        let readings = [
            reading("traffic.volume", "{veh}", Decimal::whole(21)),
            reading("traffic.speed.mean", "km/h", Decimal::new(885, 1)),
            reading("traffic.occupancy", "%", Decimal::new(-10, 1)),
        ];
        let said = say(Speaker { sensor: "s", sequence: 0, member: "" }, &readings);
        assert_eq!(
            String::from_utf8(said[0].payload.clone()).unwrap(),
            r#"<?xml version="1.0" encoding="UTF-8"?><d2LogicalModel xmlns="http://datex2.eu/schema/2/2_0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" modelBaseVersion="2"><payloadPublication xsi:type="MeasuredDataPublication" lang="en"><publicationTime>2026-11-22T11:59:00Z</publicationTime><siteMeasurements><measurementSiteReference id="s" version="1" targetClass="MeasurementSiteRecord"/><measurementTimeDefault>2026-11-22T11:59:00Z</measurementTimeDefault><measuredValue index="1"><measuredValue><basicData xsi:type="TrafficFlow"><vehicleFlow><vehicleFlowRate>1260</vehicleFlowRate></vehicleFlow></basicData></measuredValue></measuredValue><measuredValue index="2"><measuredValue><basicData xsi:type="TrafficSpeed"><averageVehicleSpeed><speed>88.5</speed></averageVehicleSpeed></basicData></measuredValue></measuredValue></siteMeasurements></payloadPublication></d2LogicalModel>"#
        );
        assert_eq!(stored("s", &readings).len(), 2);
    }
}

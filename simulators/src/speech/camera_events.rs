//! A vehicle over a camera's line, as the ready mapping `camera-events` reads it. The plate is one that the mapping must
//! not keep.

use super::{Speaker, Stored, identity, moment::timestamp};
use crate::observation::{Decimal, Passage, Utterance};

pub(super) fn say(speaker: Speaker<'_>, passage: &Passage<'_>) -> Utterance {
    let Speaker { sensor, sequence, member } = speaker;
    let Passage { vehicle, time_us, class, .. } = passage;
    let (uuid, entered, speed) = (identity::uuid(sensor, sequence), timestamp(*time_us), speed(passage));
    let payload = format!(
        r#"{{{member}"uuid":"{uuid}","stream":{{"id":"{sensor}"}},"crossingLineEvent":{{"lineId":"1","direction":"in","timestamp":"{entered}","class":"{class}","speedestimate":"{speed}","numberPlate":"SL {vehicle}","numberPlateCountry":"XX"}}}}"#
    );
    Utterance { topic: format!("cam/{sensor}/events"), payload: payload.into_bytes() }
}

/// The event and the speed, which is kept as a reading, too.
pub(super) fn stored(sensor: &str, passage: &Passage<'_>) -> Vec<Stored> {
    let (camera, speed) = (format!("cam:{sensor}:1:in"), speed(passage).value());
    let vehicle = Stored::passage(&camera, passage.time_us, speed);
    vec![vehicle.clone(), Stored { metric: "traffic.speed.spot".to_owned(), ..vehicle.kept_in("km/h") }]
}

/// In km/h.
fn speed(passage: &Passage<'_>) -> Decimal {
    passage.speed.scaled(36, 10, passage.speed.places.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_is_said_with_its_plate_and_an_estimate() {
        let passage = Passage {
            vehicle: 3,
            time_us: 1_795_348_797_500_000,
            class: "car",
            on_time: Decimal::new(34, 2),
            speed: Decimal::new(1317, 2),
            length: Decimal::new(460, 2),
        };
        let said = say(Speaker { sensor: "c", sequence: 0, member: "" }, &passage);
        assert_eq!(said.topic, "cam/c/events");
        assert_eq!(
            String::from_utf8(said.payload).unwrap(),
            format!(
                r#"{{"uuid":"{}","stream":{{"id":"c"}},"crossingLineEvent":{{"lineId":"1","direction":"in","timestamp":"2026-11-22T11:59:57.5Z","class":"car","speedestimate":"47.412","numberPlate":"SL 3","numberPlateCountry":"XX"}}}}"#,
                identity::uuid("c", 0)
            )
        );
        let kept = stored("c", &passage);
        assert_eq!([kept[0].value, kept[1].value], [47.412; 2]);
    }
}

//! One vehicle in one message, as the ready mapping `traffic-passages` reads it.

use super::{Stored, moment::timestamp};
use crate::observation::{Passage, Utterance};

/// A metre a second, in km/h.
const METRE_A_SECOND_KMH: f64 = 3.6;

/// `member` stands first in the object, with a comma after it, or is empty.
pub fn say(detector: &str, passage: &Passage<'_>, member: &str) -> Utterance {
    let Passage { vehicle, time_us, class, on_time, speed, length } = passage;
    let entered = timestamp(*time_us);
    let payload = format!(
        r#"{{{member}"vehicle":{vehicle},"class":"{class}","entered":"{entered}","on_time_s":{on_time},"speed_mps":{speed},"length_m":{length}}}"#
    );
    Utterance { topic: format!("city/traffic/{detector}/passage"), payload: payload.into_bytes() }
}

pub(super) fn stored(detector: &str, passage: &Passage<'_>) -> Vec<Stored> {
    let speed = passage.speed.value() * METRE_A_SECOND_KMH;
    let said = Stored::passage(detector, passage.time_us, speed);
    vec![Stored { event_id: Some(passage.vehicle), ..said }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_passage_is_said_with_its_number() {
        let passage = Passage {
            vehicle: 3,
            time_us: 1_715_662_816_720_000,
            class: "car",
            on_time: Decimal::new(34, 2),
            speed: Decimal::new(1317, 2),
            length: Decimal::new(460, 2),
        };
        let said = say("e1", &passage, r#""x":1,"#);
        assert_eq!(said.topic, "city/traffic/e1/passage");
        assert_eq!(
            String::from_utf8(said.payload).unwrap(),
            r#"{"x":1,"vehicle":3,"class":"car","entered":"2024-05-14T05:00:16.72Z","on_time_s":0.34,"speed_mps":13.17,"length_m":4.60}"#
        );
        assert_eq!(stored("e1", &passage)[0].value, 47.412);
    }
}

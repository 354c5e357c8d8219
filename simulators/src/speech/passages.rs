//! One vehicle in one message, as the ready mapping `traffic-passages` reads it.

use jiff::Timestamp;

use crate::observation::{Passage, Utterance};

/// `member` stands first in the object, with a comma after it, or is empty.
pub fn say(detector: &str, passage: &Passage, member: &str) -> Utterance {
    let Passage { vehicle, time_us, class, on_time, speed, length } = passage;
    let entered = Timestamp::from_microsecond(*time_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let payload = format!(
        r#"{{{member}"vehicle":{vehicle},"class":"{class}","entered":"{entered}","on_time_s":{on_time},"speed_mps":{speed},"length_m":{length}}}"#
    );
    Utterance { topic: format!("city/traffic/{detector}/passage"), payload: payload.into_bytes() }
}

//! A detector of a signal controller that switches on and off, as the ready mapping `signal-events` reads it: one vehicle, to
//! a tenth of a second of local time, and nothing of its speed.

use jiff::tz::TimeZone;

use super::{
    Stored,
    moment::{cut, local, reheard, zone},
};
use crate::observation::{Passage, Utterance};

const ZONE: &str = "America/Indiana/Indianapolis";
/// Microseconds.
const RESOLUTION: i64 = 100_000;
/// Codes of the Indiana enumerations.
const OFF: u8 = 81;
const ON: u8 = 82;
const DETECTOR: u8 = 1;

pub(super) fn say(sensor: &str, passage: &Passage<'_>) -> Utterance {
    let zone = zone(ZONE);
    let on_us = passage.on_time.scaled(1_000_000, 1, 0).digits;
    let payload = line(sensor, passage.time_us, ON, &zone)
        + &line(sensor, passage.time_us.saturating_add(on_us), OFF, &zone);
    Utterance { topic: "import/signal-events".to_owned(), payload: payload.into_bytes() }
}

fn line(sensor: &str, time_us: i64, code: u8, zone: &TimeZone) -> String {
    let time = local(cut(time_us, RESOLUTION), zone).strftime("%Y-%m-%d %H:%M:%S%.1f");
    format!("{sensor},{time},{code},{DETECTOR}\n")
}

pub(super) fn stored(sensor: &str, passage: &Passage<'_>) -> Vec<Stored> {
    let detector = format!("signal:{sensor}:detector:{DETECTOR}");
    let time_us = reheard(cut(passage.time_us, RESOLUTION), &zone(ZONE));
    vec![Stored::passage(&detector, time_us, f64::NAN)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Decimal;

    #[test]
    fn a_passage_switches_on_and_off() {
        let passage = Passage {
            vehicle: 3,
            time_us: 1_795_348_798_190_000,
            class: "car",
            on_time: Decimal::new(52, 2),
            speed: Decimal::new(1317, 2),
            length: Decimal::new(460, 2),
        };
        assert_eq!(
            String::from_utf8(say("1001", &passage).payload).unwrap(),
            "1001,2026-11-22 06:59:58.1,82,1\n1001,2026-11-22 06:59:58.7,81,1\n"
        );
        assert_eq!(stored("1001", &passage)[0].time_us, 1_795_348_798_100_000);
    }
}

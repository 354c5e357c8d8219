//! SenML packs in CBOR (RFC 8428, section 6), as the ready mapping `senml-cbor` reads them: labels are numbers.

use std::convert::Infallible;

use minicbor::{Encoder, encode::Error};

use super::{moment::SECOND, senml};
use crate::observation::{Decimal, Reading, Utterance};

const BASE_NAME: i8 = -2;
const BASE_TIME: i8 = -3;
const NAME: i8 = 0;
const UNIT: i8 = 1;
const VALUE: i8 = 2;
const TIME: i8 = 6;

/// All in one pack.
pub(super) fn say(sensor: &str, readings: &[Reading<'_>]) -> Vec<Utterance> {
    let said: Vec<&Reading<'_>> = readings.iter().filter(|reading| senml::can(reading)).collect();
    if said.is_empty() {
        return Vec::new();
    }
    let payload = pack(sensor, &said).unwrap_or_default(); // a Vec takes everything
    vec![Utterance { topic: format!("city/senml-cbor/{sensor}"), payload }]
}

fn pack(sensor: &str, said: &[&Reading<'_>]) -> Result<Vec<u8>, Error<Infallible>> {
    let mut to = Encoder::new(Vec::with_capacity(64 * said.len()));
    to.array(said.len() as u64)?;
    let mut base_s = None;
    for (i, reading) in said.iter().enumerate() {
        let (second, rest_us) = (reading.time_us.div_euclid(SECOND), reading.time_us.rem_euclid(SECOND));
        let is_new = base_s.replace(second) != Some(second);
        let unit = senml::unit(reading.unit);
        let members =
            2 + u64::from(i == 0) + u64::from(is_new) + u64::from(rest_us != 0) + u64::from(!unit.is_empty());
        to.map(members)?;
        if i == 0 {
            to.i8(BASE_NAME)?.str(&format!("{sensor}:"))?;
        }
        if is_new {
            to.i8(BASE_TIME)?.i64(second)?;
        }
        if rest_us != 0 {
            number(Decimal::new(rest_us, 6), to.i8(TIME)?)?;
        }
        let short = senml::SHORT.iter().find(|(metric, _)| *metric == reading.metric);
        to.i8(NAME)?.str(short.map_or(reading.metric, |(_, short)| short))?;
        if !unit.is_empty() {
            to.i8(UNIT)?.str(unit)?;
        }
        number(reading.value, to.i8(VALUE)?)?;
    }
    Ok(to.into_writer())
}

/// A whole number as such, any other in the shortest float that has its bits.
fn number(value: Decimal, to: &mut Encoder<Vec<u8>>) -> Result<(), Error<Infallible>> {
    let double = value.value();
    let single = double as f32;
    match value.places {
        0 => to.i64(value.digits)?,
        _ if f64::from(single).to_bits() == double.to_bits() => to.f32(single)?,
        _ => to.f64(double)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers() {
        let reading = |metric, unit, time_us, value| Reading { metric, unit, time_us, interval_s: 60, value };
        let readings = [
            reading("traffic.volume", "{veh}", 60_000_000, Decimal::whole(4)),
            reading("traffic.speed.mean", "km/h", 60_500_000, Decimal::new(125, 1)),
        ];
        let said = say("e1", &readings);
        assert_eq!(
            said[0].payload,
            b"\x82\xa4\x21\x63e1:\x22\x18\x3c\x00\x66volume\x02\x04\
              \xa4\x06\xfa\x3f\x00\x00\x00\x00\x65speed\x01\x64km/h\x02\xfa\x41\x48\x00\x00"
        );
    }
}

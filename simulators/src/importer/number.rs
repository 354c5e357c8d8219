//! Numbers of a text, kept as the decimals they were written as.

use anyhow::{Context, bail};

use crate::observation::Decimal;

/// As many fit into 64 bits, whatever they are.
const DIGITS_MAX: usize = 18;
/// As many places as a decimal keeps.
const PLACES_MAX: i32 = 22;

/// What a text says, in the very decimals it says it in: `4.60` stays `4.60`. Beyond 18 digits or 22 places, what the
/// nearest float says in the fewest digits.
///
/// # Errors
/// It is no number, or one that no sensor measures.
pub fn decimal(text: &str) -> anyhow::Result<Decimal> {
    let text = text.trim();
    match exactly(text) {
        Some(decimal) => Ok(decimal),
        None => {
            let value: f64 = text.parse().with_context(|| format!("{text:?} is no number"))?;
            shortest(value)
        }
    }
}

/// A float in the fewest digits that are read as itself.
///
/// # Errors
/// It is infinite, no number, or of more than 18 digits before the point.
pub fn shortest(value: f64) -> anyhow::Result<Decimal> {
    if !value.is_finite() {
        bail!("{value} is no number");
    }
    let text = format!("{value:e}");
    match exactly(&text) {
        Some(decimal) => Ok(decimal),
        None if value.abs() < 1e-3 => Ok(Decimal::nearest(value, 20)), // below every resolution
        None => bail!("{value} is beyond what a sensor measures"),
    }
}

/// A product as precise as single precision is: what was measured in so few digits says no more in other units.
pub fn scaled(value: f32, scale: f64) -> anyhow::Result<Decimal> {
    let product = if scale == 1.0 { value } else { (f64::from(value) * scale) as f32 };
    decimal(&format!("{product:e}"))
}

/// A decimal times a factor.
pub fn times(decimal: Decimal, factor: f64) -> anyhow::Result<Decimal> {
    if factor == 1.0 { Ok(decimal) } else { shortest(rounded(decimal.value() * factor)) }
}

/// To 15 digits, so that 0.1 times 3 is 0.3.
fn rounded(value: f64) -> f64 {
    format!("{value:.14e}").parse().unwrap_or(value)
}

/// Microseconds of so many seconds.
pub fn micros(seconds: Decimal) -> Option<i64> {
    let Decimal { digits, places } = seconds;
    let power = i128::from(10i64).checked_pow(u32::from(places))?;
    let micros = i128::from(digits) * 1_000_000;
    i64::try_from((2 * micros + power).div_euclid(2 * power)).ok()
}

fn exactly(text: &str) -> Option<Decimal> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty() || 64 < unsigned.len() {
        return None;
    }
    let letters = || whole.bytes().chain(fraction.bytes());
    if !letters().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    let mut places = fraction.len() as i32 - exponent.clamp(-1_000, 1_000);
    let significant = letters().skip_while(|letter| *letter == b'0').count();
    let zeros = (-places).max(0) as usize;
    if DIGITS_MAX < significant + zeros || PLACES_MAX < places {
        return None;
    }
    let mut digits = letters().fold(0i64, |digits, letter| digits * 10 + i64::from(letter - b'0'));
    for _ in 0..zeros {
        digits *= 10;
    }
    places = places.max(0);
    Some(Decimal::new(if negative { -digits } else { digits }, places as u8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_stays_what_it_was() {
        for text in ["4.60", "0", "-0.25", "8690.735", "0.0001", "123456789012345678"] {
            assert_eq!(decimal(text).unwrap().to_string(), text);
        }
        assert_eq!(decimal(" +1.5e3 ").unwrap().to_string(), "1500");
        assert_eq!(decimal("1.5E-3").unwrap().to_string(), "0.0015");
        assert_eq!(decimal("12345678.901234567890123").unwrap().to_string(), "12345678.901234567");
        for wrong in ["", "-", ".", "1,5", "nan", "inf", "1e300", "0x1"] {
            assert!(decimal(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn factors_leave_no_noise() {
        assert_eq!(times(Decimal::new(1, 1), 3.0).unwrap().to_string(), "0.3");
        assert_eq!(times(Decimal::new(460, 2), 1.0).unwrap().to_string(), "4.60");
        assert_eq!(scaled(0.1, 3_600.0).unwrap().to_string(), "360");
        assert_eq!(micros(decimal("16.72").unwrap()), Some(16_720_000));
        assert_eq!(micros(decimal("-0.0000005").unwrap()), Some(0));
    }

    proptest! {
        #[test]
        fn whoever_reads_it_gets_the_bits(value in -1e12f64..1e12) {
            let read: f64 = shortest(value).unwrap().to_string().parse().unwrap();
            prop_assert!(read == value || (read - value).abs() < 1e-19);
        }
    }
}

//! What the sensors of a simulated or imported feed say, before it is put into a payload.

use std::fmt;

/// A number as a display shows it: `digits` over ten to the power of `places`. Every machine writes it in the same bytes,
/// and whoever reads them gets the bits of [`Decimal::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Decimal {
    pub digits: i64,
    pub places: u8,
}

/// Beyond, a quotient of two floats is no longer the float nearest to the decimal.
const PLACES_MAX: u8 = 22;

impl Decimal {
    pub const fn new(digits: i64, places: u8) -> Decimal {
        Decimal { digits, places }
    }

    pub const fn whole(digits: i64) -> Decimal {
        Decimal { digits, places: 0 }
    }

    /// The decimal of so many places nearest to `value`; of two, the one further from zero.
    pub fn nearest(value: f64, places: u8) -> Decimal {
        Decimal { digits: (value * power_of_ten(places)).round() as i64, places }
    }

    /// The nearest float, for fewer than 2^53 digits (Clinger 1990: both sides of the quotient are exact).
    pub fn value(self) -> f64 {
        self.digits as f64 / power_of_ten(self.places)
    }

    /// `numerator / denominator` times as much, with so many places; halves away from zero. What has no room is the
    /// largest that has.
    pub fn scaled(self, numerator: i64, denominator: i64, places: u8) -> Decimal {
        let digits =
            i128::from(self.digits) * i128::from(numerator) * whole_power(places.saturating_sub(self.places));
        let parts = i128::from(denominator) * whole_power(self.places.saturating_sub(places));
        let half = parts.abs() / 2 * digits.signum() * parts.signum();
        Decimal { digits: saturated((digits + half) / parts), places }
    }

    /// Ten to the power of `by` times as much, exactly: the point moves.
    pub fn shifted(self, by: i8) -> Decimal {
        let places = i16::from(self.places) - i16::from(by);
        match u8::try_from(places) {
            Ok(places) => Decimal { digits: self.digits, places },
            Err(_) => {
                let power = whole_power(places.unsigned_abs().try_into().unwrap_or(PLACES_MAX));
                Decimal { digits: saturated(i128::from(self.digits) * power), places: 0 }
            }
        }
    }

    /// With so many places; what stood behind them is cut off, as a register shows it.
    pub fn cut(self, places: u8) -> Decimal {
        match self.places <= places {
            true => self.scaled(1, 1, places),
            false => {
                let parts = whole_power(self.places - places);
                Decimal { digits: saturated(i128::from(self.digits) / parts), places }
            }
        }
    }

    /// Appends it as JSON and every text format have it: `-0.25`.
    pub fn write(self, to: &mut Vec<u8>) {
        let mut text = [0u8; 44];
        let mut at = text.len();
        let mut rest = self.digits.unsigned_abs();
        let mut place = 0;
        while 0 < rest || place <= self.places {
            if place == self.places && 0 < self.places {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            place += 1;
        }
        if self.digits < 0 {
            at -= 1;
            text[at] = b'-';
        }
        to.extend_from_slice(&text[at..]);
    }
}

/// Ten to the power of so many places, of at most [`PLACES_MAX`].
fn whole_power(places: u8) -> i128 {
    10i128.pow(u32::from(places.min(PLACES_MAX)))
}

fn saturated(digits: i128) -> i64 {
    digits.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn power_of_ten(places: u8) -> f64 {
    const POWERS: [f64; PLACES_MAX as usize + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    POWERS[usize::from(places.min(PLACES_MAX))]
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The name under which it is stored: `traffic.volume`.
    pub metric: &'a str,
    /// Its UCUM code; empty where it has none.
    pub unit: &'a str,
    /// The instant, or the end of the interval, in microseconds since 1970.
    pub time_us: i64,
    /// Seconds of the interval; 0 of an instant.
    pub interval_s: u32,
    pub value: Decimal,
}

/// One vehicle over one detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage<'a> {
    /// Its number, which tells it from others at the same time.
    pub vehicle: i64,
    /// When it entered, in microseconds since 1970.
    pub time_us: i64,
    pub class: &'a str,
    /// Seconds over the detector.
    pub on_time: Decimal,
    /// Metres a second.
    pub speed: Decimal,
    /// Metres.
    pub length: Decimal,
}

/// A message that a sensor or its gateway publishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Utterance {
    pub topic: String,
    pub payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_read_as_they_are_meant() {
        let text = |digits, places| Decimal::new(digits, places).to_string();
        assert_eq!([text(0, 0), text(0, 2), text(5, 3)], ["0", "0.00", "0.005"]);
        assert_eq!([text(-25, 2), text(12_345, 0), text(12_345, 1)], ["-0.25", "12345", "1234.5"]);
        assert_eq!(Decimal::nearest(12.345, 1), Decimal::new(123, 1));
    }

    #[test]
    fn decimals_are_scaled_without_a_float() {
        let decimal = Decimal::new;
        assert_eq!(decimal(-125, 1).scaled(1, 1, 0), decimal(-13, 0));
        assert_eq!(decimal(100, 0).scaled(1_000_000, 1_609_344, 1), decimal(621, 1));
        assert_eq!(decimal(7, 1).scaled(60, 1, 3), decimal(42_000, 3));
        assert_eq!([decimal(5, 1).shifted(3), decimal(5, 1).shifted(-2)], [decimal(500, 0), decimal(5, 3)]);
        assert_eq!([decimal(1_999, 3).cut(1), decimal(-19, 1).cut(0)], [decimal(19, 1), decimal(-1, 0)]);
        assert_eq!(decimal(i64::MAX, 0).shifted(2).digits, i64::MAX);
    }

    proptest! {
        #[test]
        fn whoever_reads_it_gets_the_bits(digits in -(1i64 << 53)..1i64 << 53, places in 0u8..12) {
            let decimal = Decimal::new(digits, places);
            let read: f64 = decimal.to_string().parse().unwrap();
            prop_assert_eq!(read.to_bits(), if digits == 0 { 0 } else { decimal.value().to_bits() });
        }
    }
}

use std::ops::{Add, AddAssign, Sub};

/// A number as a whole number of millionths: adding and subtracting are exact, so that totals agree whatever they were
/// put together from, and what is exact in decimals stays so. A float has more digits than that below four billion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Fixed(i64);

const ONE: f64 = 1e6;

impl Fixed {
    pub const ZERO: Fixed = Fixed(0);

    /// The nearest; numbers beyond nine trillion are cut there: no register counts so far.
    pub fn new(value: f64) -> Fixed {
        Fixed((value * ONE).round() as i64)
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / ONE
    }

    /// A share of it, between 0 and 1.
    pub fn part(self, share: f64) -> Fixed {
        Fixed((self.0 as f64 * share.clamp(0.0, 1.0)).round() as i64)
    }

    pub fn millionths(self) -> i64 {
        self.0
    }

    pub fn from_millionths(millionths: i64) -> Fixed {
        Fixed(millionths)
    }
}

impl Add for Fixed {
    type Output = Fixed;

    fn add(self, other: Fixed) -> Fixed {
        Fixed(self.0.saturating_add(other.0))
    }
}

impl Sub for Fixed {
    type Output = Fixed;

    fn sub(self, other: Fixed) -> Fixed {
        Fixed(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Fixed {
    fn add_assign(&mut self, other: Fixed) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decimals_come_back(thousandths in -1_000_000_000_000i64..1_000_000_000_000) {
            let value = thousandths as f64 / 1_000.0;
            prop_assert_eq!(Fixed::new(value).to_f64(), value);
        }

        #[test]
        fn sums_do_not_depend_on_their_order(values in proptest::collection::vec(-1e9..1e9f64, 1..50)) {
            let add = |sum: Fixed, value: &f64| sum + Fixed::new(*value);
            prop_assert_eq!(values.iter().fold(Fixed::ZERO, add), values.iter().rev().fold(Fixed::ZERO, add));
        }
    }
}

use super::aggregate::cut;
use crate::error::{QueryError, Result};
use processor::model::state::Sum;

/// A sum of floats that is the same in any order, to the bit: whole multiples of 2^-64. A float of 1 and more is rounded by
/// nothing, and of 0.001 in its 17th digit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Exact(i128);

const ONE: f64 = (1_u128 << 64) as f64;
/// Nothing that is measured comes near to it.
const FARTHEST: f64 = (1_u64 << 62) as f64;

impl Exact {
    /// # Errors
    /// It is no number, or beyond anything that is measured.
    pub fn add(&mut self, value: f64) -> Result<()> {
        if FARTHEST < value.abs() || value.is_nan() {
            return Err(too_far());
        }
        self.join(Exact((value * ONE).round() as i128))
    }

    /// What a compensated sum stands for.
    pub fn add_sum(&mut self, Sum { sum, residue }: Sum) -> Result<()> {
        self.add(sum)?;
        self.add(residue)
    }

    pub fn join(&mut self, other: Exact) -> Result<()> {
        self.0 = self.0.checked_add(other.0).ok_or_else(too_far)?;
        Ok(())
    }

    /// The nearest float.
    pub fn total(self) -> f64 {
        self.0 as f64 / ONE
    }

    pub fn to_bytes(self) -> [u8; size_of::<i128>()] {
        self.0.to_le_bytes()
    }

    /// Takes one off the front of the bytes.
    pub fn read(bytes: &mut &[u8]) -> Result<Exact> {
        let (own, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        *bytes = rest;
        Ok(Exact(i128::from_le_bytes(*own)))
    }
}

fn too_far() -> QueryError {
    QueryError::Invalid(
        "a sum of states is beyond 4e18, or a state holds what is no number: it is none of a rollup".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sum_is_the_same_in_any_order(values in proptest::collection::vec(-1e12..1e12f64, 1..80)) {
            let sum = |values: &mut dyn Iterator<Item = &f64>| {
                let mut sum = Exact::default();
                values.for_each(|value| sum.add(*value).unwrap());
                sum
            };
            let (there, back) = (sum(&mut values.iter()), sum(&mut values.iter().rev()));
            prop_assert_eq!(there, back);
            prop_assert_eq!(Exact::read(&mut &there.to_bytes()[..]).unwrap(), there);
            let size: f64 = values.iter().map(|value| value.abs()).sum();
            prop_assert!((there.total() - values.iter().sum::<f64>()).abs() <= 1e-14 * size);
        }
    }

    #[test]
    fn what_is_not_measured_is_refused() {
        for value in [f64::NAN, f64::INFINITY, -1e300] {
            assert!(Exact::default().add(value).is_err(), "{value}");
        }
        let mut sum = Exact::default();
        for value in [0.1, 0.2, -0.3] {
            sum.add(value).unwrap();
        }
        assert!(sum.total().abs() < 1e-16);
    }
}

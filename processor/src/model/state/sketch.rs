use std::{borrow::Cow, fmt};

use sketches_ddsketch::{Config, DDSketch};

/// The distribution of values, so that any quantile has a relative error of at most 0.5 % (DDSketch, Masson, Rim and Lee
/// 2019). Values nearer to 0 than 0.001 count as 0, and those beyond 700,000 as that many.
#[derive(Clone, Default)]
pub struct Sketch {
    /// While values are taken in: a kilobyte and more.
    open: Option<Box<DDSketch>>,
    /// Its bytes where it is not open, a hundred for the speeds of an hour; none where there are no values.
    packed: Box<[u8]>,
}

pub(super) const RELATIVE_ERROR: f64 = 0.005;
/// With this error they reach over nine orders of magnitude.
const BINS_MAX: u32 = 2_048;
pub(super) const NEAREST_TO_ZERO: f64 = 0.001;
pub(super) const FARTHEST: f64 = 700_000.0;

impl Sketch {
    /// Takes in a value that is a number.
    pub fn add(&mut self, value: f64) {
        let value = if value.abs() < NEAREST_TO_ZERO { 0.0 } else { value };
        self.open().add(value.clamp(-FARTHEST, FARTHEST));
    }

    pub fn join(&mut self, other: &Sketch) {
        // It only fails for sketches of another error, and there is one configuration.
        let _ = self.open().merge(&other.opened());
    }

    /// The value below which a share of the values lies, between 0 and 1; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.opened().quantile(share).ok().flatten()
    }

    pub fn count(&self) -> u64 {
        self.opened().count() as u64
    }

    /// Makes it small until it is worked on again.
    pub fn pack(&mut self) {
        if let Some(sketch) = self.open.take() {
            self.packed = sketch.to_java_bytes().into();
        }
    }

    /// As `DDSketchWithExactSummaryStatistics` of sketches-java writes it.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match &self.open {
            Some(sketch) => Cow::Owned(sketch.to_java_bytes()),
            None => Cow::Borrowed(&self.packed),
        }
    }

    /// `None` where they are none of a sketch of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        empty().merge(&DDSketch::from_java_bytes(bytes).ok()?).ok()?;
        Some(Sketch { open: None, packed: bytes.into() })
    }

    fn open(&mut self) -> &mut DDSketch {
        let packed = std::mem::take(&mut self.packed);
        self.open.get_or_insert_with(|| Box::new(unpacked(&packed)))
    }

    fn opened(&self) -> Cow<'_, DDSketch> {
        self.open
            .as_ref()
            .map_or_else(|| Cow::Owned(unpacked(&self.packed)), |sketch| Cow::Borrowed(&**sketch))
    }
}

fn empty() -> DDSketch {
    DDSketch::new(config())
}

/// The one configuration of all sketches.
pub(super) fn config() -> Config {
    // The bytes of a sketch do not say which values count as 0: it is left as the library has it, and done here.
    Config::new(RELATIVE_ERROR, BINS_MAX, 1e-9)
}

/// Bytes are packed by us, or were read once before they were kept: they are those of a sketch, or none.
fn unpacked(bytes: &[u8]) -> DDSketch {
    DDSketch::from_java_bytes(bytes).unwrap_or_else(|_| empty())
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sketch of {}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_changes_no_bit(
            values in proptest::collection::vec(prop_oneof![-1e7..1e7f64, -1e-4..1e-4f64, 1.0..200.0f64], 1..200),
            packed in proptest::collection::vec(any::<bool>(), 8),
        ) {
            let parts = |pack: &[bool]| {
                let mut whole = Sketch::default();
                for (part, pack) in values.chunks(values.len().div_ceil(8)).zip(pack) {
                    let mut sketch = Sketch::default();
                    part.iter().for_each(|value| sketch.add(*value));
                    if *pack {
                        sketch.pack();
                        whole.pack();
                    }
                    whole.join(&sketch);
                }
                whole
            };
            let (open, packed) = (parts(&[false; 8]), parts(&packed));
            prop_assert_eq!(open.to_bytes(), packed.to_bytes());
            prop_assert_eq!(open.quantile(0.85).map(f64::to_bits), packed.quantile(0.85).map(f64::to_bits));
            prop_assert_eq!(Sketch::from_bytes(&open.to_bytes()), Some(packed));
        }
    }
}

use std::fmt;

use sketches_ddsketch::{Config, DDSketch};

/// The distribution of values, so that any quantile has a relative error of at most 0.5 % (DDSketch, Masson, Rim and Lee
/// 2019). Values nearer to 0 than 0.001 count as 0, and those beyond 700,000 as that many.
#[derive(Clone)]
pub struct Sketch(DDSketch);

const RELATIVE_ERROR: f64 = 0.005;
/// With this error they reach over nine orders of magnitude.
const BINS_MAX: u32 = 2_048;
const NEAREST_TO_ZERO: f64 = 0.001;
const FARTHEST: f64 = 700_000.0;

impl Default for Sketch {
    fn default() -> Self {
        // The bytes of a sketch do not say which values count as 0: it is left as the library has it, and done here.
        Sketch(DDSketch::new(Config::new(RELATIVE_ERROR, BINS_MAX, 1e-9)))
    }
}

impl Sketch {
    /// Takes in a value that is a number.
    pub fn add(&mut self, value: f64) {
        let value = if value.abs() < NEAREST_TO_ZERO { 0.0 } else { value };
        self.0.add(value.clamp(-FARTHEST, FARTHEST));
    }

    pub fn join(&mut self, other: &Sketch) {
        // It only fails for sketches of another error, and there is one configuration.
        let _ = self.0.merge(&other.0);
    }

    /// The value below which a share of the values lies, between 0 and 1; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.0.quantile(share).ok().flatten()
    }

    pub fn count(&self) -> u64 {
        self.0.count() as u64
    }

    /// As `DDSketchWithExactSummaryStatistics` of sketches-java writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_java_bytes()
    }

    /// `None` where they are none of a sketch of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        let sketch = DDSketch::from_java_bytes(bytes).ok()?;
        Sketch::default().0.merge(&sketch).ok()?;
        Some(Sketch(sketch))
    }
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

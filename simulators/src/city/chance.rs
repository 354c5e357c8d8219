//! Chance without a state: what is drawn follows from the seed and from what it is drawn for, so that any part of a city can
//! be computed alone, on any machine and thread.

/// A source of draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(mix(seed ^ 0x5c2e_e771_1e5e_ed00))
    }

    /// The source for one part of what this one is for.
    #[must_use]
    pub fn of(self, part: u64) -> Chance {
        Chance(mix(self.0 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// From 0 to 1, without 1.
    pub fn share(self) -> f64 {
        (mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly between two numbers.
    pub fn between(self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// From 0 to `n`, without `n`.
    pub fn below(self, n: u64) -> u64 {
        ((u128::from(mix(self.0)) * u128::from(n)) >> 64) as u64
    }

    /// Whether something of this probability happens.
    pub fn happens(self, probability: f64) -> bool {
        self.share() < probability
    }

    /// How many of something happen of which `mean` are due, by inversion (Devroye 1986, X.3.3); `most` at most.
    pub fn poisson(self, mean: f64, most: u32) -> u32 {
        let mut left = self.share();
        let mut probability = libm::exp(-mean);
        for n in 0..most {
            if left < probability {
                return n;
            }
            left -= probability;
            probability *= mean / f64::from(n + 1);
        }
        most
    }
}

/// The finisher of splitmix64 (Steele, Lea, Flood 2014).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_as_they_should_be() {
        let chance = Chance::new(1);
        let draws = 20_000u64;
        let mean =
            |draw: &dyn Fn(Chance) -> f64| (0..draws).map(|n| draw(chance.of(n))).sum::<f64>() / draws as f64;
        assert!((mean(&Chance::share) - 0.5).abs() < 0.01);
        assert!((mean(&|chance| chance.below(7) as f64) - 3.0).abs() < 0.05);
        assert!((mean(&|chance| f64::from(chance.poisson(4.0, 40))) - 4.0).abs() < 0.05);
        assert_eq!(chance.of(3).poisson(4.0, 0), 0);
        assert_ne!(Chance::new(1).of(1), Chance::new(2).of(1));
    }
}

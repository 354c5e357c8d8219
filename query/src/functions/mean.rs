//! `mean_value`: the mean of what a group held or measured, in the unit of its series.

use super::{
    aggregate::{Kept, Row, float, unreadable},
    exact::Exact,
};
use crate::error::Result;
use datafusion::scalar::ScalarValue;
use processor::model::state::Parts;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct Mean {
    /// Value times seconds, of gauges while they held.
    integral: Exact,
    held_s: Exact,
    /// Of the readings themselves.
    sum: Exact,
    count: Exact,
}

/// Held values first: a gauge that is read at odd times says more of them than its readings do.
pub fn answer(mean: &Mean, _: f64) -> Result<ScalarValue> {
    let of = |sum: Exact, count: Exact| (0.0 < count.total()).then(|| sum.total() / count.total());
    Ok(float(of(mean.integral, mean.held_s).or_else(|| of(mean.sum, mean.count))))
}

impl Kept for Mean {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let (Some(state), Some(sum), Some(count)) = (row.state(), row.number(0), row.number(1)) else {
            return Ok(());
        };
        let parts = Parts::of(state).map_err(unreadable)?;
        // A register has no mean, and of passages the value is 1.
        if parts.counter.is_some() || parts.passages.is_some() {
            return Ok(());
        }
        if let Some(integral) = parts.integral {
            self.integral.add_sum(integral)?;
            self.held_s.add(parts.covered as f64 / 1e6)?;
        }
        self.sum.add(sum)?;
        self.count.add(count)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Mean { integral, held_s, sum, count } = self;
        [integral, held_s, sum, count].into_iter().for_each(|sum| out.extend(sum.to_bytes()));
    }

    fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        let Mean { integral, held_s, sum, count } = self;
        [integral, held_s, sum, count].into_iter().try_for_each(|own| own.join(Exact::read(&mut bytes)?))
    }
}

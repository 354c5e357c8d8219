//! `coverage`: the share of a group's time that was observed, from 0 to 1.

use super::aggregate::{Kept, Row, cut, float, unreadable};
use crate::error::{QueryError, Result};
use bytes::Buf;
use datafusion::scalar::ScalarValue;
use processor::model::state::Parts;

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Coverage {
    /// Microseconds that were observed, and of all rows.
    covered: i64,
    whole: i64,
}

pub fn answer(coverage: &Coverage, _: f64) -> Result<ScalarValue> {
    let seconds = |micros: i64| micros as f64 / 1e6;
    let share = || (seconds(coverage.covered) / seconds(coverage.whole)).min(1.0);
    Ok(float((0 < coverage.whole).then(share)))
}

impl Kept for Coverage {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(seconds) = row.number(0) else { return Ok(()) };
        let whole = micros(seconds)?;
        // Where there is no state nothing was observed, which is a fact.
        let covered = match row.state() {
            Some(state) => Parts::of(state).map_err(unreadable)?.covered.max(0),
            None => 0,
        };
        self.add(covered, whole)
    }

    fn write(&self, out: &mut Vec<u8>) {
        [self.covered, self.whole].into_iter().for_each(|micros| out.extend(micros.to_le_bytes()));
    }

    fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut micros = || bytes.try_get_i64_le().map_err(|_| cut());
        let (covered, whole) = (micros()?, micros()?);
        self.add(covered, whole)
    }
}

impl Coverage {
    fn add(&mut self, covered: i64, whole: i64) -> Result<()> {
        let sums = (self.covered.checked_add(covered), self.whole.checked_add(whole));
        let (Some(covered), Some(whole)) = sums else {
            return Err(QueryError::Invalid("more time than there is: ask for fewer series at once".into()));
        };
        (self.covered, self.whole) = (covered, whole);
        Ok(())
    }
}

/// The microseconds of a bucket.
pub fn micros(seconds: f64) -> Result<i64> {
    const YEAR_S: f64 = 366.0 * 86_400.0;
    if 0.0 < seconds && seconds <= YEAR_S {
        return Ok((seconds * 1e6).round() as i64);
    }
    Err(QueryError::Invalid(format!(
        "a bucket of {seconds} seconds: give those of a row, such as 3600 for rollup_1h, or for rollup_1d the seconds \
         from time to ends"
    )))
}

//! `volume`: what a group counted, in the unit of its series: vehicles, pulses, litres, kWh.

use super::{
    aggregate::{Kept, Row, cut, float, unreadable},
    exact::Exact,
    register::{self, Chain},
};
use crate::error::Result;
use datafusion::scalar::ScalarValue;
use processor::model::state::Parts;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct Volume {
    /// Of passages, totals and deltas.
    sum: Exact,
    is_there: bool,
    registers: Chain,
}

pub fn answer(volume: &Volume, _: f64) -> Result<ScalarValue> {
    let sum = volume.is_there.then(|| volume.sum.total());
    let counted = volume.registers.total()?.map(|counted| counted.to_f64());
    Ok(float(match (sum, counted) {
        (Some(sum), Some(counted)) => Some(sum + counted),
        (sum, counted) => sum.or(counted),
    }))
}

/// Whether the sum of a state's values is an amount. What holds, or is a mean, has none.
pub fn is_amount(parts: &Parts<'_>) -> bool {
    let is_level = parts.integral.is_some() || parts.weighted.is_some() || parts.sketch.is_some();
    parts.counter.is_none() && (parts.passages.is_some() || !is_level)
}

impl Kept for Volume {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(state) = row.state() else { return Ok(()) };
        let parts = Parts::of(state).map_err(unreadable)?;
        if let Some(sum) = row.number(0).filter(|_| is_amount(&parts)) {
            self.is_there = true;
            self.sum.add(sum)?;
        }
        match parts.counter {
            Some(counter) => self.registers.push(register::checked(counter)?, register::meter(row, 1)),
            None => Ok(()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_there));
        out.extend(self.sum.to_bytes());
        self.registers.write(out);
    }

    fn join(&mut self, bytes: &[u8]) -> Result<()> {
        let (is_there, mut rest) = bytes.split_first().ok_or_else(cut)?;
        self.is_there |= *is_there != 0;
        self.sum.join(Exact::read(&mut rest)?)?;
        self.registers.join(rest)
    }

    fn heap_bytes(&self) -> usize {
        self.registers.heap_bytes()
    }
}

//! `v85`, `quantile`: quantiles of all values of a group, from the sketches of its states.

use super::aggregate::{Kept, Row, float, unreadable};
use crate::error::Result;
use datafusion::scalar::ScalarValue;
use processor::model::state::{Bins, Parts};

/// The sketches of a group. Many groups have one, whose bytes are a tenth of its bins.
#[derive(Clone, PartialEq, Default, Debug)]
pub enum Quantiles {
    #[default]
    None,
    One(Box<[u8]>),
    Many(Box<Bins>),
}

pub fn answer(quantiles: &Quantiles, share: f64) -> Result<ScalarValue> {
    Ok(float(match quantiles {
        Quantiles::None => None,
        Quantiles::One(sketch) => bins(sketch)?.quantile(share),
        Quantiles::Many(bins) => bins.quantile(share),
    }))
}

fn bins(sketch: &[u8]) -> Result<Bins> {
    let mut bins = Bins::default();
    bins.join(sketch).map_err(unreadable)?;
    Ok(bins)
}

impl Kept for Quantiles {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(state) = row.state() else { return Ok(()) };
        match Parts::sketch(state).map_err(unreadable)? {
            Some(sketch) => self.join(sketch),
            None => Ok(()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Quantiles::None => {}
            Quantiles::One(sketch) => out.extend_from_slice(sketch),
            Quantiles::Many(bins) => bins.encode(out),
        }
    }

    fn join(&mut self, sketch: &[u8]) -> Result<()> {
        match self {
            _ if sketch.is_empty() => {}
            Quantiles::None => *self = Quantiles::One(sketch.into()),
            Quantiles::One(first) => {
                let mut bins = bins(first)?;
                bins.join(sketch).map_err(unreadable)?;
                *self = Quantiles::Many(Box::new(bins));
            }
            Quantiles::Many(bins) => bins.join(sketch).map_err(unreadable)?,
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Quantiles::None => 0,
            Quantiles::One(sketch) => sketch.len(),
            Quantiles::Many(bins) => size_of::<Bins>() + bins.heap_bytes(),
        }
    }
}

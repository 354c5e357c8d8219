//! `space_mean_speed`, `time_mean_speed`: mean speeds in km/h, weighted by vehicles where they are known.

use super::{
    aggregate::{Kept, Row, cut, float, unreadable},
    exact::Exact,
};
use crate::error::Result;
use datafusion::scalar::ScalarValue;
use processor::model::state::{Bins, Parts, Sum, Values};

/// The speeds of a group, apart by how much is known of their vehicles.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Speeds {
    /// Of single vehicles.
    passages: Mean,
    /// Of intervals with their vehicles.
    weighted: Mean,
    /// Of intervals whose vehicles nobody counted: each is one.
    intervals: Mean,
}

#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Mean {
    is_there: bool,
    vehicles: Exact,
    /// Σ v.
    speed: Exact,
    /// Σ 1/v.
    slowness: Exact,
}

pub fn space_mean(speeds: &Speeds, _: f64) -> Result<ScalarValue> {
    let Mean { vehicles, slowness, .. } = speeds.best()?;
    Ok(float((0.0 < slowness.total()).then(|| vehicles.total() / slowness.total())))
}

pub fn time_mean(speeds: &Speeds, _: f64) -> Result<ScalarValue> {
    let Mean { vehicles, speed, .. } = speeds.best()?;
    Ok(float((0.0 < vehicles.total()).then(|| speed.total() / vehicles.total())))
}

impl Speeds {
    /// Where vehicles are known of some, those of unknown weight say nothing. Where nobody drove, nobody had a speed.
    fn best(&self) -> Result<Mean> {
        if !self.passages.is_there && !self.weighted.is_there {
            return Ok(self.intervals);
        }
        let mut best = self.passages;
        best.join(&self.weighted)?;
        Ok(best)
    }

    fn means(&self) -> [&Mean; 3] {
        [&self.passages, &self.weighted, &self.intervals]
    }

    fn means_mut(&mut self) -> [&mut Mean; 3] {
        [&mut self.passages, &mut self.weighted, &mut self.intervals]
    }
}

impl Kept for Speeds {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(state) = row.state() else { return Ok(()) };
        let parts = Parts::of(state).map_err(unreadable)?;
        if let Some(passages) = parts.passages {
            let speed =
                passages.speed.map_or(Sum::default(), |Values { sum, residue, .. }| Sum { sum, residue });
            let vehicles = Sum::of(passages.speeds as f64);
            self.passages.add(vehicles, speed, parts.reciprocals.unwrap_or_default())
        } else if let Some(weighted) = parts.weighted {
            self.weighted.add(weighted.volume, weighted.speed, weighted.slowness)
        } else if let (Some(reciprocals), Some(sketch)) = (parts.reciprocals, parts.sketch) {
            let (count, sum) = Bins::count_and_sum(sketch).map_err(unreadable)?;
            self.intervals.add(Sum::of(count as f64), Sum::of(sum), reciprocals)
        } else {
            Ok(())
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for Mean { is_there, vehicles, speed, slowness } in self.means() {
            out.push(u8::from(*is_there));
            [vehicles, speed, slowness].into_iter().for_each(|sum| out.extend(sum.to_bytes()));
        }
    }

    fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        for mean in self.means_mut() {
            let (is_there, rest) = bytes.split_first().ok_or_else(cut)?;
            bytes = rest;
            let mut sum = || Exact::read(&mut bytes);
            let (vehicles, speed, slowness) = (sum()?, sum()?, sum()?);
            mean.join(&Mean { is_there: *is_there != 0, vehicles, speed, slowness })?;
        }
        Ok(())
    }
}

impl Mean {
    fn add(&mut self, vehicles: Sum, speed: Sum, slowness: Sum) -> Result<()> {
        self.is_there = true;
        let sums = [&mut self.vehicles, &mut self.speed, &mut self.slowness];
        sums.into_iter().zip([vehicles, speed, slowness]).try_for_each(|(own, sum)| own.add_sum(sum))
    }

    fn join(&mut self, other: &Mean) -> Result<()> {
        self.is_there |= other.is_there;
        self.vehicles.join(other.vehicles)?;
        self.speed.join(other.speed)?;
        self.slowness.join(other.slowness)
    }
}

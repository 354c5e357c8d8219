//! `merge_state`: the states of a group as one, for the other functions and for those who read its bytes.

use super::{
    aggregate::{Kept, Row, cut, unreadable},
    register,
};
use crate::error::{QueryError, Result};
use bytes::{Buf, BufMut};
use datafusion::scalar::ScalarValue;
use processor::model::{
    State, Time,
    arithmetic::Meter,
    state::{Bins, Detail, Sum, Unreadable, Values},
};

/// The states themselves: floats are added in one order only, which is not known before the last has come.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct States {
    rows: Vec<Kin>,
    bytes: Vec<u8>,
}

/// A state with the numbers that stand beside it, and where its bytes are.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Kin {
    count: i64,
    sum: f64,
    start: usize,
    length: usize,
}

/// A float counts no further without gaps.
const COUNT_MAX: i64 = 1 << 53;

pub fn answer(states: &States, _: f64) -> Result<ScalarValue> {
    Ok(ScalarValue::Binary(states.merged()?.map(|detail| detail.encode())))
}

impl States {
    /// As states of several series at one time are put together, and beyond that what needs no neighbours: integrals are
    /// added, and states of a register that follow each other are joined.
    fn merged(&self) -> Result<Option<Detail>> {
        let mut rows: Vec<(&[u8], Kin)> = self.rows.iter().map(|row| (self.of(row), *row)).collect();
        rows.sort_unstable_by(|(a, one), (b, other)| {
            let counts = one.count.cmp(&other.count);
            a.cmp(b).then(counts).then(one.sum.total_cmp(&other.sum))
        });
        let (mut all, mut integral, mut counters) = (State::default(), None::<Sum>, Vec::new());
        for (bytes, row) in &rows {
            let detail = decoded(bytes)?;
            if let Some(held) = detail.integral {
                integral.get_or_insert_default().join(held);
            }
            counters.extend(detail.counter.as_deref().copied());
            let values = Values { sum: row.sum, ..Values::of(Time::from_micros(0), 0.0) };
            let one = State {
                count: row.count,
                values: Some(values),
                detail: Some(Box::new(detail)),
                ..State::default()
            };
            all = all.beside(one);
        }
        let registers = (counters.len() == rows.len()).then(|| register::whole(&counters, Meter::default()));
        Ok(all.detail.map(|detail| Detail {
            integral,
            counter: registers.flatten().map(Box::new),
            ..*detail
        }))
    }

    fn of(&self, row: &Kin) -> &[u8] {
        &self.bytes[row.start..row.start + row.length]
    }

    fn push(&mut self, count: i64, sum: f64, bytes: &[u8]) {
        self.rows.push(Kin { count, sum, start: self.bytes.len(), length: bytes.len() });
        self.bytes.extend(bytes);
    }
}

/// With its sketch and its counts in bounds: what comes here may be of anybody.
fn decoded(bytes: &[u8]) -> Result<Detail> {
    if let Some(sketch) = processor::model::state::Parts::sketch(bytes).map_err(unreadable)? {
        Bins::default().join(sketch).map_err(unreadable)?;
    }
    let detail = Detail::decode(bytes).map_err(unreadable)?;
    let passages = detail.passages.iter();
    let of_passages = passages.flat_map(|passages| {
        let numbers = [passages.speeds, passages.lengths, passages.on, passages.beyond];
        numbers.into_iter().chain(passages.classes.values().copied())
    });
    let in_bounds = of_passages.chain([detail.covered]).all(|number| (0..=COUNT_MAX).contains(&number));
    if let Some(counter) = &detail.counter {
        register::checked(**counter)?;
    }
    if in_bounds { Ok(detail) } else { Err(unreadable(Unreadable::Spoiled)) }
}

impl Kept for States {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(state) = row.state() else { return Ok(()) };
        let numbers = row.number(0).zip(row.number(1));
        let is_whole = |count: f64| 0.0 < count && count <= COUNT_MAX as f64 && count.fract() == 0.0;
        match numbers.filter(|(count, sum)| is_whole(*count) && sum.is_finite()) {
            Some((count, sum)) => {
                self.push(count as i64, sum, state);
                Ok(())
            }
            None => Err(QueryError::Invalid(
                "a state without its numbers: write merge_state(state, count, sum) with the columns of the rollup"
                    .into(),
            )),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for row in &self.rows {
            out.put_i64_le(row.count);
            out.put_f64_le(row.sum);
            out.put_u64_le(row.length as u64);
            out.put_slice(self.of(row));
        }
    }

    fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        while bytes.has_remaining() {
            let count = bytes.try_get_i64_le().map_err(|_| cut())?;
            let sum = bytes.try_get_f64_le().map_err(|_| cut())?;
            let length = bytes.try_get_u64_le().map_err(|_| cut())?;
            let length = usize::try_from(length).map_err(|_| cut())?;
            let (state, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
            self.push(count, sum, state);
            bytes = rest;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Kin>() + self.bytes.capacity()
    }
}

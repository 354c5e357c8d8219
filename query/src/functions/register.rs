//! What registers counted: their states put together in time order.

use super::aggregate::{Row, cut, unreadable};
use crate::error::{QueryError, Result};
use bytes::{Buf, BufMut};
use processor::model::{
    Arithmetic, Fixed, Kind, Time,
    arithmetic::Meter,
    state::{Counter, Unreadable},
};

/// The states of one register, in any order until they are asked.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Chain {
    counters: Vec<Counter>,
    meter: Option<Meter>,
}

impl Chain {
    pub fn push(&mut self, counter: Counter, meter: Meter) -> Result<()> {
        agree(&mut self.meter, meter)?;
        self.counters.push(counter);
        Ok(())
    }

    /// What was counted from the first reading to the last, in the unit of the series; `None` where there is one instant:
    /// a register that was read once says nothing of what it counted.
    ///
    /// # Errors
    /// There are several registers.
    pub fn total(&self) -> Result<Option<Fixed>> {
        let Some(whole) = whole(&self.counters, self.meter.unwrap_or_default()) else {
            return if self.counters.is_empty() { Ok(None) } else { Err(several()) };
        };
        Ok((whole.first.0 < whole.last.0).then(|| whole.total()))
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        put_meter(out, self.meter);
        self.counters.iter().for_each(|counter| counter.encode(out));
    }

    pub fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        if let Some(meter) = take_meter(&mut bytes)? {
            agree(&mut self.meter, meter)?;
        }
        while bytes.has_remaining() {
            self.counters.push(Counter::decode(&mut bytes).map_err(|_| cut())?);
        }
        Ok(())
    }

    pub fn heap_bytes(&self) -> usize {
        self.counters.capacity() * size_of::<Counter>()
    }
}

/// Some states of a register as one; `None` where there are none, or where they overlap as those of several do.
pub fn whole(counters: &[Counter], meter: Meter) -> Option<Counter> {
    let mut sorted = counters.to_vec();
    sorted.sort_unstable_by_key(|counter| counter.first.0);
    if sorted.windows(2).any(|pair| pair[1].first.0 <= pair[0].last.0) {
        return None;
    }
    let arithmetic = Arithmetic::new(Kind::Counter, None, None, meter);
    sorted.into_iter().reduce(|whole, later| whole.join(&later, &arithmetic))
}

/// A register whose times are some, the first before the last.
pub fn checked(counter: Counter) -> Result<Counter> {
    let is_instant = |time: Time| Time::from(time.timestamp()) == time;
    let (first, last) = (counter.first.0, counter.last.0);
    if is_instant(first) && is_instant(last) && first <= last {
        return Ok(counter);
    }
    Err(unreadable(Unreadable::Spoiled))
}

/// modulus, resolution and max_rate of the series, from a place of the arguments on.
pub fn meter(row: &Row<'_>, place: usize) -> Meter {
    let [modulus, resolution, max_rate] = [0, 1, 2].map(|next| row.number(place + next));
    Meter { modulus, resolution, max_rate }
}

pub fn agree(known: &mut Option<Meter>, meter: Meter) -> Result<()> {
    if *known.get_or_insert(meter) == meter { Ok(()) } else { Err(several()) }
}

pub fn several() -> QueryError {
    QueryError::Invalid(
        "states of several registers, or of several rollups, in one group: GROUP BY sensor, metric first and put the \
         results together outside"
            .into(),
    )
}

pub fn put_meter(out: &mut Vec<u8>, meter: Option<Meter>) {
    out.put_u8(u8::from(meter.is_some()));
    if let Some(Meter { modulus, resolution, max_rate }) = meter {
        for number in [modulus, resolution, max_rate] {
            out.put_u8(u8::from(number.is_some()));
            out.put_f64_le(number.unwrap_or_default());
        }
    }
}

pub fn take_meter(bytes: &mut &[u8]) -> Result<Option<Meter>> {
    if bytes.try_get_u8().map_err(|_| cut())? == 0 {
        return Ok(None);
    }
    let mut number = || -> Result<Option<f64>> {
        let is_there = bytes.try_get_u8().map_err(|_| cut())? != 0;
        let number = bytes.try_get_f64_le().map_err(|_| cut())?;
        Ok(is_there.then_some(number))
    };
    Ok(Some(Meter { modulus: number()?, resolution: number()?, max_rate: number()? }))
}

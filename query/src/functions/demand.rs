//! `peak_demand`: the highest demand of the buckets of a group, in the unit of its series an hour: kW of kWh.

use super::{
    aggregate::{Kept, Row, cut, float, unreadable},
    coverage,
    register::{self, agree},
    volume::is_amount,
};
use crate::error::Result;
use bytes::{Buf, BufMut};
use datafusion::scalar::ScalarValue;
use processor::{
    measure::{settle, utility},
    model::{
        Arithmetic, Kind, State, Time,
        arithmetic::Meter,
        bucket::HOUR,
        state::{Counter, Detail, Parts, Values},
    },
};
use std::ops::Range;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct Demand {
    /// Of what was counted bucket by bucket.
    highest: Option<f64>,
    /// Of a register: what it counted in a bucket depends on the buckets beside it.
    buckets: Vec<Bucket>,
    meter: Option<Meter>,
}

#[derive(Clone, PartialEq, Debug)]
struct Bucket {
    span: Range<Time>,
    counter: Counter,
}

pub fn answer(demand: &Demand, _: f64) -> Result<ScalarValue> {
    let mut buckets: Vec<&Bucket> = demand.buckets.iter().collect();
    buckets.sort_unstable_by_key(|bucket| bucket.span.start);
    if buckets.windows(2).any(|pair| pair[1].span.start < pair[0].span.end) {
        return Err(register::several());
    }
    let spans: Vec<Range<Time>> = buckets.iter().map(|bucket| bucket.span.clone()).collect();
    let states: Vec<(Range<Time>, State)> = buckets.into_iter().map(Bucket::state).collect();
    let longest = spans.iter().map(|span| span.end.micros() - span.start.micros()).max().unwrap_or(0);
    let meter = demand.meter.unwrap_or_default();
    // A reading a bucket, of which one may be missing; and no less than where nothing is known.
    let max_gap = HOUR.max(longest / 2 * 3);
    let arithmetic = Arithmetic { max_gap, ..Arithmetic::new(Kind::Counter, None, None, meter) };
    let settled = settle(&spans, &states, &arithmetic);
    // What is spread over a gap has no peak.
    let known = settled.iter().filter(|settled| !settled.is_partial && 0 < settled.covered);
    let of_registers = known.filter_map(|settled| of(settled.counted?.to_f64(), settled.seconds()));
    Ok(float(demand.highest.into_iter().chain(of_registers).reduce(f64::max)))
}

fn of(amount: f64, seconds: f64) -> Option<f64> {
    let peak = utility::peak_demand(&[Some(amount)], seconds, 1, 1)?;
    Some(peak.demand).filter(|demand| demand.is_finite())
}

impl Kept for Demand {
    fn take(&mut self, row: &Row<'_>) -> Result<()> {
        let (Some(state), Some(start), Some(seconds)) = (row.state(), row.micros(1), row.number(2)) else {
            return Ok(());
        };
        let micros = coverage::micros(seconds)?;
        let parts = Parts::of(state).map_err(unreadable)?;
        // A bucket that was observed in part had less than its whole: it raises no peak.
        if let Some(sum) = row.number(0).filter(|_| is_amount(&parts)) {
            self.rise(of(sum, seconds));
        }
        if let Some(counter) = parts.counter {
            agree(&mut self.meter, register::meter(row, 3))?;
            let span = Time::from_micros(start)..Time::from_micros(start.saturating_add(micros));
            self.buckets.push(Bucket { span, counter: register::checked(counter)? });
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.highest.is_some()));
        out.put_f64_le(self.highest.unwrap_or_default());
        register::put_meter(out, self.meter);
        for Bucket { span, counter } in &self.buckets {
            out.put_i64_le(span.start.micros());
            out.put_i64_le(span.end.micros());
            counter.encode(out);
        }
    }

    fn join(&mut self, mut bytes: &[u8]) -> Result<()> {
        let is_there = bytes.try_get_u8().map_err(|_| cut())? != 0;
        let highest = bytes.try_get_f64_le().map_err(|_| cut())?;
        self.rise(is_there.then_some(highest));
        if let Some(meter) = register::take_meter(&mut bytes)? {
            agree(&mut self.meter, meter)?;
        }
        while bytes.has_remaining() {
            let mut time = || bytes.try_get_i64_le().map(Time::from_micros).map_err(|_| cut());
            let span = time()?..time()?;
            self.buckets.push(Bucket { span, counter: Counter::decode(&mut bytes).map_err(|_| cut())? });
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

impl Demand {
    fn rise(&mut self, demand: Option<f64>) {
        self.highest = self.highest.into_iter().chain(demand).reduce(f64::max);
    }
}

impl Bucket {
    /// As `settle` reads it: of a register it looks at nothing else.
    fn state(&self) -> (Range<Time>, State) {
        let (first, last) = (self.counter.first, self.counter.last);
        let mut values = Values::of(first.0, first.1.to_f64());
        values.last = (last.0, last.1.to_f64());
        let detail = Detail {
            covered: last.0.micros() - first.0.micros(),
            counter: Some(Box::new(self.counter)),
            ..Detail::default()
        };
        let state =
            State { count: 1, values: Some(values), detail: Some(Box::new(detail)), ..State::default() };
        (self.span.clone(), state)
    }
}

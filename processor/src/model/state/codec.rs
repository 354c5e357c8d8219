//! The bytes of a [`Detail`], as the column `state` keeps them. Numbers are little-endian. First a version, then a set
//! of bits that says which parts follow, in the order of the bits.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, TryGetError};

use super::{Bins, Counter, Detail, Passages, Sketch, Spread, Sum, Values, Weighted};
use crate::model::{Fixed, Time};

const VERSION: u8 = 1;

const RECIPROCALS: u8 = 1;
const SKETCH: u8 = 1 << 1;
const INTEGRAL: u8 = 1 << 2;
const COUNTER: u8 = 1 << 3;
const PASSAGES: u8 = 1 << 4;
const WEIGHTED: u8 = 1 << 5;

/// Bytes that are none of a state of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("a state of version {0}, this is version {VERSION}: update Screenline")]
    Version(u8),
    #[error("the bytes of a state are cut or spoiled")]
    Spoiled,
}

impl From<TryGetError> for Unreadable {
    fn from(_: TryGetError) -> Self {
        Unreadable::Spoiled
    }
}

impl Detail {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let Detail { covered, spread, integral, counter, passages, weighted } = self;
        out.put_u8(VERSION);
        let parts = [
            (spread.reciprocals.is_some(), RECIPROCALS),
            (spread.sketch.is_some(), SKETCH),
            (integral.is_some(), INTEGRAL),
            (counter.is_some(), COUNTER),
            (passages.is_some(), PASSAGES),
            (weighted.is_some(), WEIGHTED),
        ];
        out.put_u8(parts.into_iter().filter(|(is_there, _)| *is_there).map(|(_, bit)| bit).sum());
        out.put_i64_le(*covered);
        out.put_f64_le(spread.m2);
        spread.reciprocals.iter().for_each(|sum| put_sum(&mut out, *sum));
        if let Some(sketch) = &spread.sketch {
            let bytes = sketch.to_bytes();
            out.put_u32_le(bytes.len() as u32); // at most 2,048 bins
            out.put_slice(&bytes);
        }
        integral.iter().for_each(|sum| put_sum(&mut out, *sum));
        counter.iter().for_each(|counter| counter.encode(&mut out));
        passages.iter().for_each(|passages| put_passages(&mut out, passages));
        if let Some(Weighted { volume, speed, slowness }) = weighted.as_deref() {
            [volume, speed, slowness].into_iter().for_each(|sum| put_sum(&mut out, *sum));
        }
        out
    }

    /// # Errors
    /// The bytes are not what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &[u8]) -> Result<Detail, Unreadable> {
        let mut classes = BTreeMap::new();
        let parts = Parts::read(bytes, |class, count| {
            classes.insert(class.into(), count);
        })?;
        let sketch =
            parts.sketch.map(|own| Sketch::from_bytes(own).ok_or(Unreadable::Spoiled)).transpose()?;
        Ok(Detail {
            covered: parts.covered,
            spread: Spread { m2: parts.m2, reciprocals: parts.reciprocals, sketch },
            integral: parts.integral,
            counter: parts.counter.map(Box::new),
            passages: parts.passages.map(|passages| Box::new(Passages { classes, ..passages })),
            weighted: parts.weighted.map(Box::new),
        })
    }
}

/// The bytes of a [`Detail`] that has nothing but the quantiles of these bins.
pub fn of_bins(bins: &Bins) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.put_u8(VERSION);
    out.put_u8(SKETCH);
    out.put_i64_le(0);
    out.put_f64_le(0.0);
    let length = out.len();
    out.put_u32_le(0);
    bins.encode(&mut out);
    let bytes = (out.len() - length - size_of::<u32>()) as u32; // of some thousand bins at most
    out[length..length + size_of::<u32>()].copy_from_slice(&bytes.to_le_bytes());
    out
}

/// The bytes of a [`Detail`], read only as far as plain numbers go: for those who look at millions.
#[derive(Clone, PartialEq, Debug)]
pub struct Parts<'b> {
    pub covered: i64,
    pub m2: f64,
    pub reciprocals: Option<Sum>,
    /// The bytes of a [`Sketch`], for [`Bins`](super::Bins): nobody has looked into them.
    pub sketch: Option<&'b [u8]>,
    pub integral: Option<Sum>,
    pub counter: Option<Counter>,
    /// Without their classes.
    pub passages: Option<Passages>,
    pub weighted: Option<Weighted>,
}

impl<'b> Parts<'b> {
    /// # Errors
    /// The bytes are not those of a [`Detail`].
    pub fn of(bytes: &'b [u8]) -> Result<Parts<'b>, Unreadable> {
        Self::read(bytes, |_, _| ())
    }

    /// The bytes of the sketch alone; what follows them is not looked at.
    ///
    /// # Errors
    /// The bytes do not begin as those of a [`Detail`].
    pub fn sketch(mut bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Unreadable> {
        let parts = head(&mut bytes)?;
        let before = if parts & RECIPROCALS == 0 { 16 } else { 32 };
        bytes = bytes.get(before..).ok_or(Unreadable::Spoiled)?;
        (parts & SKETCH != 0).then(|| sketch(&mut bytes)).transpose()
    }

    fn read(mut bytes: &'b [u8], take: impl FnMut(&str, i64)) -> Result<Parts<'b>, Unreadable> {
        let bytes = &mut bytes;
        let parts = head(bytes)?;
        let has = |bit: u8| parts & bit != 0;
        let read = Parts {
            covered: bytes.try_get_i64_le()?,
            m2: bytes.try_get_f64_le()?,
            reciprocals: has(RECIPROCALS).then(|| sum(bytes)).transpose()?,
            sketch: has(SKETCH).then(|| sketch(bytes)).transpose()?,
            integral: has(INTEGRAL).then(|| sum(bytes)).transpose()?,
            counter: has(COUNTER).then(|| Counter::decode(bytes)).transpose()?,
            passages: has(PASSAGES).then(|| passages(bytes, take)).transpose()?,
            weighted: has(WEIGHTED).then(|| weighted(bytes)).transpose()?,
        };
        if bytes.has_remaining() {
            return Err(Unreadable::Spoiled);
        }
        Ok(read)
    }
}

/// Which parts follow.
fn head(bytes: &mut &[u8]) -> Result<u8, Unreadable> {
    match bytes.try_get_u8()? {
        VERSION => Ok(bytes.try_get_u8()?),
        other => Err(Unreadable::Version(other)),
    }
}

fn put_sum(out: &mut Vec<u8>, Sum { sum, residue }: Sum) {
    out.put_f64_le(sum);
    out.put_f64_le(residue);
}

fn sum(bytes: &mut &[u8]) -> Result<Sum, Unreadable> {
    Ok(Sum { sum: bytes.try_get_f64_le()?, residue: bytes.try_get_f64_le()? })
}

fn sketch<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], Unreadable> {
    let length = bytes.try_get_u32_le()? as usize;
    let (own, rest) = bytes.split_at_checked(length).ok_or(Unreadable::Spoiled)?;
    *bytes = rest;
    Ok(own)
}

fn put_fixed(out: &mut Vec<u8>, number: Fixed) {
    out.put_i64_le(number.millionths());
}

fn fixed(bytes: &mut &[u8]) -> Result<Fixed, Unreadable> {
    Ok(Fixed::from_millionths(bytes.try_get_i64_le()?))
}

impl Counter {
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (time, value) in [self.first, self.last] {
            out.put_i64_le(time.micros());
            put_fixed(out, value);
        }
        [self.first_high, self.high, self.after].into_iter().for_each(|number| put_fixed(out, number));
        out.put_u8(u8::from(self.jumped_from.is_some()));
        self.jumped_from.into_iter().for_each(|number| put_fixed(out, number));
        out.put_u8(u8::from(self.rolled_first));
        let Counter { ended, resets, rollovers, jitters, jumps, .. } = *self;
        [ended, resets, rollovers, jitters, jumps].into_iter().for_each(|count| out.put_u32_le(count));
    }

    /// Takes one off the front of the bytes.
    ///
    /// # Errors
    /// They are not what [`encode`](Self::encode) writes.
    pub fn decode(bytes: &mut &[u8]) -> Result<Counter, Unreadable> {
        let mut end = || Ok::<_, Unreadable>((Time::from_micros(bytes.try_get_i64_le()?), fixed(bytes)?));
        Ok(Counter {
            first: end()?,
            last: end()?,
            first_high: fixed(bytes)?,
            high: fixed(bytes)?,
            after: fixed(bytes)?,
            jumped_from: (bytes.try_get_u8()? != 0).then(|| fixed(bytes)).transpose()?,
            rolled_first: bytes.try_get_u8()? != 0,
            ended: bytes.try_get_u32_le()?,
            resets: bytes.try_get_u32_le()?,
            rollovers: bytes.try_get_u32_le()?,
            jitters: bytes.try_get_u32_le()?,
            jumps: bytes.try_get_u32_le()?,
        })
    }
}

fn put_passages(out: &mut Vec<u8>, passages: &Passages) {
    let Passages { speeds, speed, lengths, length_m, on, beyond, classes } = passages;
    out.put_i64_le(*speeds);
    out.put_u8(u8::from(speed.is_some()));
    if let Some(Values { sum, residue, min, max, first, last }) = speed {
        [sum, residue, min, max].into_iter().for_each(|number| out.put_f64_le(*number));
        for (time, value) in [first, last] {
            out.put_i64_le(time.micros());
            out.put_f64_le(*value);
        }
    }
    out.put_i64_le(*lengths);
    put_sum(out, *length_m);
    out.put_i64_le(*on);
    out.put_i64_le(*beyond);
    out.put_u8(classes.len() as u8); // bounded where they are counted
    for (class, count) in classes {
        out.put_u16_le(class.len() as u16); // at most 64 characters
        out.put_slice(class.as_bytes());
        out.put_i64_le(*count);
    }
}

/// Without their classes, which `take` hears of.
fn passages(bytes: &mut &[u8], mut take: impl FnMut(&str, i64)) -> Result<Passages, Unreadable> {
    let speeds = bytes.try_get_i64_le()?;
    let speed = (bytes.try_get_u8()? != 0).then(|| values(bytes)).transpose()?;
    let lengths = bytes.try_get_i64_le()?;
    let length_m = sum(bytes)?;
    let (on, beyond) = (bytes.try_get_i64_le()?, bytes.try_get_i64_le()?);
    for _ in 0..bytes.try_get_u8()? {
        let length = usize::from(bytes.try_get_u16_le()?);
        let (class, rest) = bytes.split_at_checked(length).ok_or(Unreadable::Spoiled)?;
        *bytes = rest;
        let class = std::str::from_utf8(class).map_err(|_| Unreadable::Spoiled)?;
        take(class, bytes.try_get_i64_le()?);
    }
    Ok(Passages { speeds, speed, lengths, length_m, on, beyond, classes: BTreeMap::new() })
}

fn values(bytes: &mut &[u8]) -> Result<Values, Unreadable> {
    let mut number = || bytes.try_get_f64_le();
    let (sum, residue, min, max) = (number()?, number()?, number()?, number()?);
    let mut end =
        || Ok::<_, Unreadable>((Time::from_micros(bytes.try_get_i64_le()?), bytes.try_get_f64_le()?));
    Ok(Values { sum, residue, min, max, first: end()?, last: end()? })
}

fn weighted(bytes: &mut &[u8]) -> Result<Weighted, Unreadable> {
    Ok(Weighted { volume: sum(bytes)?, speed: sum(bytes)?, slowness: sum(bytes)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Arithmetic, Kind, Passage, Quality, State, arithmetic::Meter, state::Inside};

    fn state(kind: Kind, values: &[(i64, f64)]) -> State {
        let arithmetic = Arithmetic::new(kind, Some(60), None, Meter::default()).of("traffic.speed", "km/h");
        let mut state = State::default();
        for (second, value) in values {
            let passage = Passage {
                id: *second,
                speed_kmh: (second % 3 != 0).then_some(value.abs()),
                length_m: (second % 2 == 0).then_some(4.5),
                on_time_s: Some(0.4),
                class: (second % 5 != 0).then(|| format!("class {}", second % 40).into()),
                tags: None,
            };
            let inside = Inside {
                time: Time::from_micros(second * 1_000_000),
                value: *value,
                quality: Quality::GOOD,
                passage: Some(&passage),
                volume: (second % 2 == 0).then_some(3.0),
            };
            state.add(&inside, Time::from_micros(300_000_000), &arithmetic);
        }
        state
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            values in proptest::collection::btree_map(0..300i64, -1e6..1e6f64, 1..80),
            kind in proptest::sample::select(Kind::ALL.to_vec()),
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let values: Vec<_> = values.into_iter().collect();
            let detail = state(kind, &values).detail.unwrap_or_default();
            let bytes = detail.encode();
            prop_assert_eq!(Detail::decode(&bytes), Ok((*detail).clone()));
            let sketch = detail.spread.sketch.as_ref().map(Sketch::to_bytes);
            prop_assert_eq!(Parts::sketch(&bytes), Ok(sketch.as_deref()));
            prop_assert_eq!(Parts::of(&bytes).map(|parts| parts.sketch), Ok(sketch.as_deref()));
            let at = cut.index(bytes.len());
            prop_assert!(Detail::decode(&bytes[..at]).is_err());
            let mut spoiled = bytes;
            spoiled[at] = byte;
            let _ = Detail::decode(&spoiled); // no panic
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), parts in any::<u8>()) {
            let _ = Detail::decode(&bytes);
            let versioned = [&[VERSION, parts][..], &bytes].concat();
            let _ = Detail::decode(&versioned);
            let _ = Parts::sketch(&versioned);
        }
    }
}

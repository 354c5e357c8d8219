use super::{
    Unreadable,
    sketch::{FARTHEST, NEAREST_TO_ZERO, RELATIVE_ERROR, config},
};

/// Many sketches as one, taken in from their bytes: counts by bin, so that a group of a million costs no more memory
/// than one. Whatever the order, it has the quantiles of the [`Sketch`](super::Sketch) that joins them, to the bit.
#[derive(Clone, PartialEq, Debug)]
pub struct Bins {
    positive: Side,
    negative: Side,
    zeros: u64,
    min: f64,
    max: f64,
}

/// The bins of one sign: a row of counts from the key `from` on.
#[derive(Clone, PartialEq, Default, Debug)]
struct Side {
    from: i32,
    counts: Vec<u64>,
    total: u64,
}

/// A row grows by so many bins: from a value to nearly twice that.
const GROWTH: i32 = 64;
/// Beyond any key that a value between `NEAREST_TO_ZERO` and `FARTHEST` has.
const KEY_MIN: i64 = -704;
const KEY_MAX: i64 = 1_407;
/// By which the borders of bins grow, as the configuration has it.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// A float counts no further without gaps.
const COUNT_MAX: f64 = (1_u64 << 53) as f64;

// Of the bytes of sketches-java, as `Sketch::to_bytes` has them.
const MAPPING: u8 = 0x02;
const ZEROS: u8 = 0x04;
const COUNT: u8 = 0xA0;
const SUM: u8 = 0x84;
const MIN: u8 = 0x88;
const MAX: u8 = 0x8C;
const POSITIVE: u8 = 0x05;
const NEGATIVE: u8 = 0x07;

impl Default for Bins {
    fn default() -> Self {
        let (positive, negative) = (Side::default(), Side::default());
        Bins { positive, negative, zeros: 0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Bins {
    /// Takes in the bytes of a sketch, or of other bins.
    ///
    /// # Errors
    /// They are none of ours. What stood before them is then of no use any more.
    pub fn join(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let mut input = Input(bytes);
        while !input.0.is_empty() {
            match input.byte()? {
                POSITIVE => self.positive.join(&mut input)?,
                NEGATIVE => self.negative.join(&mut input)?,
                ZEROS => {
                    self.zeros = self.zeros.checked_add(input.count()?).ok_or(Unreadable::Spoiled)?;
                }
                MIN => self.min = self.min.min(input.value()?),
                MAX => self.max = self.max.max(input.value()?),
                MAPPING if input.number()? == GAMMA => input.skip()?,
                COUNT => {
                    input.count()?;
                }
                SUM => input.skip()?,
                _ => return Err(Unreadable::Spoiled),
            }
        }
        let signs = self.positive.total.checked_add(self.negative.total);
        match signs.and_then(|signs| signs.checked_add(self.zeros)) {
            Some(_) => Ok(()),
            None => Err(Unreadable::Spoiled),
        }
    }

    /// How many values the bytes of a sketch stand for, and their sum; where that is needed and no quantile.
    ///
    /// # Errors
    /// They are none of ours.
    pub fn count_and_sum(bytes: &[u8]) -> Result<(u64, f64), Unreadable> {
        let (mut input, mut count, mut sum) = (Input(bytes), 0, 0.0);
        while !input.0.is_empty() {
            match input.byte()? {
                COUNT => count = input.count()?,
                SUM => sum = input.number()?,
                MIN | MAX => input.skip()?,
                MAPPING => break,
                _ => return Err(Unreadable::Spoiled),
            }
        }
        Ok((count, sum))
    }

    /// The value below which a share of the values lies, between 0 and 1; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        if share <= 0.0 || 1.0 <= share {
            return Some(if share <= 0.0 { self.min } else { self.max });
        }
        let rank = (share * (count as f64 - 1.0)) as u64;
        Some(match rank.checked_sub(self.negative.total) {
            None => -config().value(self.negative.key_at(self.negative.total - rank - 1)),
            Some(rank) if rank < self.zeros => 0.0,
            Some(rank) => config().value(self.positive.key_at(rank - self.zeros)),
        })
    }

    pub fn count(&self) -> u64 {
        self.positive.total + self.negative.total + self.zeros
    }

    /// Appends what [`join`](Self::join) takes in.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.count() == 0 {
            return;
        }
        for (flag, value) in [(MIN, self.min), (MAX, self.max)] {
            out.push(flag);
            out.extend(value.to_le_bytes());
        }
        if 0 < self.zeros {
            out.push(ZEROS);
            put_count(out, self.zeros);
        }
        for (flag, side) in [(POSITIVE, &self.positive), (NEGATIVE, &self.negative)] {
            side.encode(flag, out);
        }
    }

    /// Bytes on the heap, 34 kB at most.
    pub fn heap_bytes(&self) -> usize {
        (self.positive.counts.capacity() + self.negative.counts.capacity()) * size_of::<u64>()
    }
}

impl Side {
    fn join(&mut self, input: &mut Input<'_>) -> Result<(), Unreadable> {
        let mut key: i64 = 0;
        for _ in 0..input.whole()? {
            let (step, count) = input.bin()?;
            key = key.wrapping_add((step >> 1) as i64 ^ -((step & 1) as i64));
            self.total = self.total.checked_add(count).ok_or(Unreadable::Spoiled)?;
            *self.at(key)? += count; // at most the total
        }
        Ok(())
    }

    fn at(&mut self, key: i64) -> Result<&mut u64, Unreadable> {
        // Negative ones are beyond any length.
        let mut place = key.wrapping_sub(i64::from(self.from)) as usize;
        if self.counts.len() <= place {
            if key < KEY_MIN || KEY_MAX < key {
                return Err(Unreadable::Spoiled);
            }
            self.reach(key as i32);
            place = (key as i32 - self.from) as usize;
        }
        Ok(&mut self.counts[place])
    }

    #[cold]
    fn reach(&mut self, key: i32) {
        let low = key.div_euclid(GROWTH) * GROWTH;
        let (from, until) = match self.counts.len() as i32 {
            0 => (low, low + GROWTH),
            length => (low.min(self.from), (low + GROWTH).max(self.from + length)),
        };
        // As long as it must be: a group has one of these.
        let mut counts = vec![0; (until - from) as usize];
        let before = (self.from - from).max(0) as usize;
        for (count, own) in counts.iter_mut().skip(before).zip(&self.counts) {
            *count = *own;
        }
        (self.from, self.counts) = (from, counts);
    }

    /// The key of the value that so many lie below.
    fn key_at(&self, rank: u64) -> i32 {
        let mut below = 0;
        let place = self.counts.iter().position(|count| {
            below += count;
            rank < below
        });
        self.from + place.unwrap_or(0) as i32
    }

    fn encode(&self, flag: u8, out: &mut Vec<u8>) {
        let bins = (self.from..).zip(&self.counts).filter(|(_, count)| 0 < **count);
        let filled = bins.clone().count();
        if filled == 0 {
            return;
        }
        out.push(flag);
        put_whole(out, filled as u64);
        let mut last = 0;
        for (key, count) in bins {
            let step = i64::from(key - last);
            put_whole(out, ((step >> 63) ^ (step << 1)) as u64);
            put_count(out, *count);
            last = key;
        }
    }
}

/// Bytes in front of which the next number stands.
struct Input<'b>(&'b [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        let (byte, rest) = self.0.split_first().ok_or(Unreadable::Spoiled)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<f64, Unreadable> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Unreadable::Spoiled)?;
        self.0 = rest;
        Ok(f64::from_le_bytes(*number))
    }

    fn skip(&mut self) -> Result<(), Unreadable> {
        self.number().map(|_| ())
    }

    /// A value that a sketch can hold.
    fn value(&mut self) -> Result<f64, Unreadable> {
        let value = self.number()?;
        let size = value.abs();
        let is_kept = size == 0.0 || NEAREST_TO_ZERO <= size && size <= FARTHEST;
        is_kept.then_some(value).ok_or(Unreadable::Spoiled)
    }

    /// Seven bits a byte, the lowest first, of which the ninth has eight.
    fn whole(&mut self) -> Result<u64, Unreadable> {
        let mut whole = 0;
        for place in 0..9 {
            let byte = u64::from(self.byte()?);
            if byte < 0x80 || place == 8 {
                return Ok(whole | byte << (7 * place));
            }
            whole |= (byte & 0x7F) << (7 * place);
        }
        Ok(whole)
    }

    /// The step to the next bin, and its count: mostly a byte, and one or two.
    fn bin(&mut self) -> Result<(u64, u64), Unreadable> {
        let (step, count, rest) = match self.0 {
            [step @ 0..0x80, count @ 0..0x80, rest @ ..] => (step, SMALL[usize::from(*count)], rest),
            [step @ 0..0x80, high, low @ 0..0x80, rest @ ..] => {
                (step, count_of(u64::from(high & 0x7F) << 57 | u64::from(*low) << 50), rest)
            }
            _ => return Ok((self.whole()?, self.count()?)),
        };
        self.0 = rest;
        match count {
            NO_COUNT => Err(Unreadable::Spoiled),
            count => Ok((u64::from(*step), count)),
        }
    }

    /// A float, seven bits a byte, the highest first: of small numbers there is one byte.
    fn count(&mut self) -> Result<u64, Unreadable> {
        let mut bits = 0;
        for place in 0..9 {
            let byte = u64::from(self.byte()?);
            if place == 8 {
                bits |= byte;
                break;
            }
            bits |= (byte & 0x7F) << (57 - 7 * place);
            if byte < 0x80 {
                break;
            }
        }
        match count_of(bits) {
            NO_COUNT => Err(Unreadable::Spoiled),
            count => Ok(count),
        }
    }
}

const NO_COUNT: u64 = u64::MAX;

/// The count that so many bits say, the first of a byte the highest.
const fn count_of(bits: u64) -> u64 {
    let count = f64::from_bits(bits.rotate_right(6).wrapping_add(1_f64.to_bits())) - 1.0;
    // Never false for what is no number.
    if 0.0 <= count && count <= COUNT_MAX { count as u64 } else { NO_COUNT }
}

/// Counts of one byte.
const SMALL: [u64; 0x80] = {
    let mut small = [0; 0x80];
    let mut byte = 0;
    while byte < small.len() {
        small[byte] = count_of((byte as u64) << 57);
        byte += 1;
    }
    small
};

fn put_whole(out: &mut Vec<u8>, mut whole: u64) {
    for _ in 0..8 {
        if whole < 0x80 {
            break;
        }
        out.push(whole as u8 | 0x80);
        whole >>= 7;
    }
    out.push(whole as u8);
}

fn put_count(out: &mut Vec<u8>, count: u64) {
    let mut bits = (count as f64 + 1.0).to_bits().wrapping_sub(1_f64.to_bits()).rotate_left(6);
    // Two bytes say most of them.
    if bits << 14 == 0 {
        let (high, low) = ((bits >> 57) as u8, (bits >> 50) as u8 & 0x7F);
        return if low == 0 { out.push(high) } else { out.extend([high | 0x80, low]) };
    }
    for _ in 0..8 {
        let next = (bits >> 57) as u8;
        bits <<= 7;
        if bits == 0 {
            return out.push(next);
        }
        out.push(next | 0x80);
    }
    out.push((bits >> 56) as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::state::Sketch;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    proptest! {
        #[test]
        fn bins_have_the_quantiles_of_the_sketch_to_the_bit(
            values in proptest::collection::vec(
                prop_oneof![-1e7..1e7f64, -1e-3..2e-3f64, 1.0..200.0f64, Just(0.001), Just(-7e5)], 1..300),
            parts in 1..20usize,
            share in prop_oneof![0.0..=1.0f64, Just(0.0), Just(1.0)],
        ) {
            let whole = sketch(&values);
            let mut bins = Bins::default();
            for part in values.chunks(values.len().div_ceil(parts)).rev() {
                bins.join(&sketch(part).to_bytes()).unwrap();
            }
            prop_assert_eq!(bins.count(), values.len() as u64);
            prop_assert_eq!(bins.quantile(share).map(f64::to_bits), whole.quantile(share).map(f64::to_bits));
            let (mut bytes, mut again) = (Vec::new(), Bins::default());
            bins.encode(&mut bytes);
            again.join(&bytes).unwrap();
            prop_assert_eq!(&again, &bins);
            let (count, sum) = Bins::count_and_sum(&whole.to_bytes()).unwrap();
            let size: f64 = values.iter().map(|value| value.abs()).sum();
            prop_assert_eq!(count, values.len() as u64);
            let kept: f64 = values.iter().map(|value| match value.abs() < NEAREST_TO_ZERO {
                true => 0.0,
                false => value.clamp(-FARTHEST, FARTHEST),
            }).sum();
            prop_assert!((sum - kept).abs() <= size * 1e-12, "{} {}", sum, kept);
        }

        #[test]
        fn no_bytes_panic(
            values in proptest::collection::vec(-1e3..1e3f64, 1..20),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            any in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = sketch(&values).to_bytes().into_owned();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            for bytes in [&bytes[..], &bytes[..place], &any, &[&[POSITIVE][..], &any].concat()] {
                let mut bins = Bins::default();
                let _ = bins.join(bytes);
                prop_assert!(bins.heap_bytes() <= 40_000);
                let _ = Bins::count_and_sum(bytes);
            }
        }
    }

    #[test]
    fn there_is_one_configuration() {
        assert_eq!(config().gamma, GAMMA);
        for value in [NEAREST_TO_ZERO, FARTHEST] {
            let key = i64::from(config().key(value));
            assert!(KEY_MIN <= key && key <= KEY_MAX, "{key}");
        }
    }

    #[test]
    fn counts_of_any_size_come_back() {
        for count in [1, 2, 3, 127, 128, 1_000_000, (1 << 53) - 1] {
            let mut bytes = Vec::new();
            put_count(&mut bytes, count);
            assert_eq!(Input(&bytes).count(), Ok(count));
        }
    }
}

//! What a bucket keeps of its readings, so that every measure can be had at any width.
//!
//! - [`counter`](Counter), [`sum`](Sum), [`sketch`](Sketch): registers, sums without rounding, quantiles
//! - [`detail`](Detail): what each kind asks for beside plain numbers; [`codec`]: its bytes
//! - [`bins`](Bins): many sketches as one, from their bytes

mod bins;
mod codec;
mod counter;
mod detail;
mod sketch;
mod sum;

pub use bins::Bins;
pub use codec::{Parts, Unreadable, of_bins};
pub use counter::Counter;
use detail::Before;
pub use detail::{Detail, Inside, Passages, SPEED_MIN, Spread, Weighted};
pub use sketch::Sketch;
pub use sum::Sum;

use super::{Arithmetic, Quality, Time};

/// What a bucket keeps of its readings. Made in time order and joined in time order, so that the same set of
/// readings gives the same bits, whatever order they came in.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// Readings inside.
    pub count: i64,
    /// Readings beside: bad, implausible, stuck or out of range.
    pub flagged: i64,
    /// Of both: late at their receipt. Depends on when they came, so it is outside the promise of equal bits.
    pub late: i64,
    /// `None` where `count` is 0: missing is not zero.
    pub values: Option<Values>,
    /// `None` where `count` is 0.
    pub detail: Option<Box<Detail>>,
}

/// The numbers of at least one reading; an event counts as 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Values {
    pub sum: f64,
    /// What `sum` lost to rounding (Neumaier 1974); the true sum is `sum + residue`.
    pub residue: f64,
    pub min: f64,
    pub max: f64,
    pub first: (Time, f64),
    pub last: (Time, f64),
}

impl State {
    /// Takes in the next reading of a bucket that ends at `end`; times never go back.
    pub fn add(&mut self, inside: &Inside<'_>, end: Time, arithmetic: &Arithmetic) {
        let Inside { time, value, quality, .. } = *inside;
        self.late += i64::from(quality.intersects(Quality::LATE));
        if quality.intersects(Quality::EXCLUDED) {
            self.flagged += 1;
            return;
        }
        let before = Before::of(self.count, self.values.as_ref());
        let last = self.values.map(|values| values.last);
        self.detail.get_or_insert_default().add(inside, before, last, end, arithmetic);
        self.count += 1;
        match &mut self.values {
            None => self.values = Some(Values::of(time, value)),
            Some(values) => values.add(time, value),
        }
    }

    /// The state of two neighbouring spans of time, the earlier first.
    pub fn join(mut self, later: State, arithmetic: &Arithmetic) -> State {
        let (before, of) =
            (Before::of(self.count, self.values.as_ref()), Before::of(later.count, later.values.as_ref()));
        match (&mut self.detail, later.detail) {
            (Some(detail), Some(later_detail)) => {
                let (earlier, values) = (self.values.as_ref(), later.values.as_ref());
                detail.join((before, earlier), &later_detail, (of, values), arithmetic);
            }
            (detail @ None, later) => *detail = later,
            (Some(_), None) => {}
        }
        match (&mut self.values, later.values) {
            (Some(values), Some(later)) => values.join(later),
            (values, later) => *values = values.or(later),
        }
        self.count += later.count;
        self.flagged += later.flagged;
        self.late += later.late;
        self
    }

    /// Makes it small, as it is kept until it is joined.
    pub fn pack(&mut self) {
        self.detail.iter_mut().for_each(|detail| detail.pack());
    }

    /// The state of two series at the same time, as the lanes of a road. Of registers and gauges nothing is put together
    /// but their plain numbers: what they counted and held is added where it is settled.
    pub fn beside(mut self, other: State) -> State {
        let (before, of) =
            (Before::of(self.count, self.values.as_ref()), Before::of(other.count, other.values.as_ref()));
        match (&mut self.detail, other.detail) {
            (Some(detail), Some(other)) => detail.beside(before, &other, of),
            (detail @ None, other) => *detail = other,
            (Some(_), None) => {}
        }
        match (&mut self.values, other.values) {
            (Some(values), Some(other)) => values.beside(other),
            (values, other) => *values = values.or(other),
        }
        self.count += other.count;
        self.flagged += other.flagged;
        self.late += other.late;
        self
    }
}

impl Values {
    pub fn of(time: Time, value: f64) -> Values {
        let only = (time, value);
        Values { sum: value, residue: 0.0, min: value, max: value, first: only, last: only }
    }

    /// The true sum.
    pub fn total(&self) -> f64 {
        self.sum + self.residue
    }

    fn add(&mut self, time: Time, value: f64) {
        self.accumulate(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = (time, value);
    }

    fn join(&mut self, later: Values) {
        self.accumulate(later.sum);
        self.residue += later.residue;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }

    fn beside(&mut self, other: Values) {
        let (first, last) = (self.first, self.last);
        self.join(other);
        self.first = if other.first.0 < first.0 { other.first } else { first };
        self.last = if last.0 <= other.last.0 { other.last } else { last };
    }

    fn accumulate(&mut self, value: f64) {
        let mut sum = Sum { sum: self.sum, residue: self.residue };
        sum.add(value);
        (self.sum, self.residue) = (sum.sum, sum.residue);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::model::{Kind, arithmetic::Meter};

    fn gauge() -> Arithmetic {
        Arithmetic::new(Kind::Gauge, Some(1), None, Meter::default()).of("air.no2", "ug/m3")
    }

    fn add(state: &mut State, time: Time, value: f64, quality: Quality) {
        let inside = Inside { time, value, quality, passage: None, volume: None };
        state.add(&inside, Time::from_micros(i64::MAX), &gauge());
    }

    /// A value that is a whole number of 2^-20, so that a sum of some hundreds is exact in 128 bits.
    fn value() -> impl Strategy<Value = f64> {
        (-(1i64 << 52)..1 << 52, 0..30u32)
            .prop_map(|(whole, shift)| (whole >> shift) as f64 / (1 << 20) as f64)
    }

    fn quality() -> impl Strategy<Value = Quality> {
        prop_oneof![6 => Just(Quality::GOOD), 1 => Just(Quality::LATE), 1 => Just(Quality::OUT_OF_RANGE)]
    }

    fn readings() -> impl Strategy<Value = Vec<(f64, Quality)>> {
        vec((value(), quality()), 0..120)
    }

    /// Readings a second apart, the first at `from`.
    fn state_from(from: usize, readings: &[(f64, Quality)]) -> State {
        let mut state = State::default();
        for (second, (value, quality)) in (from..).zip(readings) {
            add(&mut state, Time::from_micros(second as i64 * 1_000_000), *value, *quality);
        }
        state
    }

    /// The state of readings made by joining those of their parts, from left to right.
    fn joined(readings: &[(f64, Quality)], cuts: &[usize]) -> State {
        let mut whole = State::default();
        let mut from = 0;
        for to in cuts.iter().copied().chain([readings.len()]) {
            whole = whole.join(state_from(from, &readings[from..to]), &gauge());
            from = to;
        }
        whole
    }

    fn cuts(cuts: &[Index], readings: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(readings + 1)).collect();
        cuts.sort_unstable();
        cuts
    }

    type Exact = (i64, i64, i64, Option<([u64; 4], Time, Time)>);

    /// All but the sum, as bits: it does not matter in which parts they were put together.
    fn exact(state: &State) -> Exact {
        let values = state.values.map(|values| {
            let numbers = [values.min, values.max, values.first.1, values.last.1];
            (numbers.map(f64::to_bits), values.first.0, values.last.0)
        });
        (state.count, state.flagged, state.late, values)
    }

    fn check_sum(state: &State, readings: &[(f64, Quality)]) -> Result<(), TestCaseError> {
        let inside = readings.iter().filter(|(_, quality)| !quality.intersects(Quality::EXCLUDED));
        let parts: Vec<i128> = inside.map(|(value, _)| (value * (1 << 20) as f64) as i128).collect();
        let Some(values) = state.values else {
            prop_assert!(parts.is_empty());
            return Ok(());
        };
        let scale = (1 << 20) as f64;
        let true_sum = parts.iter().sum::<i128>() as f64 / scale;
        let size = parts.iter().map(|part| part.abs()).sum::<i128>() as f64 / scale;
        // Neumaier 1974: one rounding of the result, and what n roundings of the residue lose.
        let allowed =
            2.0 * f64::EPSILON * true_sum.abs() + (parts.len() as f64 * f64::EPSILON).powi(2) * size;
        let sum = values.sum + values.residue;
        prop_assert!((sum - true_sum).abs() <= allowed, "{} is not {}, within {}", sum, true_sum, allowed);
        Ok(())
    }

    proptest! {
        #[test]
        fn parts_joined_in_order_are_the_whole(readings in readings(), at in vec(any::<Index>(), 0..6)) {
            let whole = state_from(0, &readings);
            let parts = joined(&readings, &cuts(&at, readings.len()));
            prop_assert_eq!(exact(&whole), exact(&parts));
            check_sum(&whole, &readings)?;
            check_sum(&parts, &readings)?;
        }

        #[test]
        fn neighbours_may_be_joined_in_any_grouping(readings in readings(), at in vec(any::<Index>(), 2)) {
            let at = cuts(&at, readings.len());
            let a = state_from(0, &readings[..at[0]]);
            let b = state_from(at[0], &readings[at[0]..at[1]]);
            let c = state_from(at[1], &readings[at[1]..]);
            let join = |a: &State, b: &State| a.clone().join(b.clone(), &gauge());
            let (left, right) = (join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(exact(&left), exact(&right));
            check_sum(&left, &readings)?;
            check_sum(&right, &readings)?;
        }

        #[test]
        fn nothing_is_neutral_to_the_bit(readings in readings()) {
            let state = state_from(0, &readings);
            let empty = State::default;
            for same in [state.clone().join(empty(), &gauge()), empty().join(state.clone(), &gauge())] {
                prop_assert_eq!(&same, &state);
                prop_assert_eq!(same.values.map(|v| v.residue.to_bits()), state.values.map(|v| v.residue.to_bits()));
            }
        }
    }

    /// Why every table is made along one path: the same sum made in other parts may be written in other bits.
    #[test]
    fn the_bits_of_a_sum_are_those_of_its_parts() {
        let readings = [1e16, 1.0, 1.0].map(|value| (value, Quality::GOOD));
        let (whole, parts) =
            (state_from(0, &readings).values.unwrap(), joined(&readings, &[1]).values.unwrap());
        assert_eq!((whole.sum, whole.residue), (1e16, 2.0));
        assert_eq!((parts.sum, parts.residue), (1e16 + 2.0, 0.0));
    }

    fn state_of(values: &[f64]) -> State {
        let mut state = State::default();
        for (i, value) in values.iter().enumerate() {
            add(&mut state, Time::from_micros(i as i64), *value, Quality::GOOD);
        }
        state
    }

    #[test]
    fn the_sum_keeps_what_plain_addition_loses() {
        let values = state_of(&[1.0, 1e100, 1.0, -1e100]).values.unwrap();
        assert_eq!(values.sum + values.residue, 2.0);
    }

    #[test]
    fn an_empty_bucket_is_missing_not_zero() {
        let mut state = State::default();
        add(&mut state, Time::from_micros(0), 7.0, Quality::OUT_OF_RANGE | Quality::LATE);
        assert_eq!(state, State { count: 0, flagged: 1, late: 1, values: None, detail: None });
    }

    #[test]
    fn joining_nothing_changes_nothing() {
        let state = state_of(&[3.0, 1.0, 2.0]);
        assert_eq!(state.clone().join(State::default(), &gauge()), state);
        assert_eq!(State::default().join(state.clone(), &gauge()), state);
    }
}

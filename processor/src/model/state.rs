use super::{Quality, Time};

/// What a bucket keeps of its readings. Made in time order and joined in time order, so that the same set of
/// readings gives the same bits, whatever order they came in.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct State {
    /// Readings inside.
    pub count: i64,
    /// Readings beside: bad, implausible, stuck or out of range.
    pub flagged: i64,
    /// Of both: late at their receipt. Depends on when they came, so it is outside the promise of equal bits.
    pub late: i64,
    /// `None` where `count` is 0: missing is not zero.
    pub values: Option<Values>,
}

/// The numbers of at least one reading.
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
    /// Takes in the next reading; times never go back.
    pub fn add(&mut self, time: Time, value: f64, quality: Quality) {
        self.late += i64::from(quality.intersects(Quality::LATE));
        if quality.intersects(Quality::EXCLUDED) {
            self.flagged += 1;
            return;
        }
        self.count += 1;
        match &mut self.values {
            None => {
                let only = (time, value);
                self.values = Some(Values {
                    sum: value,
                    residue: 0.0,
                    min: value,
                    max: value,
                    first: only,
                    last: only,
                });
            }
            Some(values) => {
                values.accumulate(value);
                values.min = values.min.min(value);
                values.max = values.max.max(value);
                values.last = (time, value);
            }
        }
    }

    /// The state of two neighbouring spans of time, the earlier first.
    pub fn join(self, later: State) -> State {
        let values = match (self.values, later.values) {
            (Some(mut values), Some(later)) => {
                values.accumulate(later.sum);
                values.residue += later.residue;
                values.min = values.min.min(later.min);
                values.max = values.max.max(later.max);
                values.last = later.last;
                Some(values)
            }
            (values, None) => values,
            (None, later) => later,
        };
        State {
            count: self.count + later.count,
            flagged: self.flagged + later.flagged,
            late: self.late + later.late,
            values,
        }
    }
}

impl Values {
    fn accumulate(&mut self, value: f64) {
        let sum = self.sum + value;
        self.residue +=
            if value.abs() <= self.sum.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(values: &[f64]) -> State {
        let mut state = State::default();
        for (i, value) in values.iter().enumerate() {
            state.add(Time::from_micros(i as i64), *value, Quality::GOOD);
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
        state.add(Time::from_micros(0), 7.0, Quality::OUT_OF_RANGE | Quality::LATE);
        assert_eq!(state, State { count: 0, flagged: 1, late: 1, values: None });
    }

    #[test]
    fn joining_nothing_changes_nothing() {
        let state = state_of(&[3.0, 1.0, 2.0]);
        assert_eq!(state.join(State::default()), state);
        assert_eq!(State::default().join(state), state);
    }
}

use crate::model::{Arithmetic, Fixed, Time, arithmetic::Meter};

/// What a register counted between the first and the last reading of a span of time. Exact: a year made of days is the
/// year made of five minutes, to the bit.
///
/// A *run* is a stretch in which the register only grows; a reset, a rollover or a jump ends one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter {
    pub first: (Time, Fixed),
    pub last: (Time, Fixed),
    /// The highest that the register showed in its first run.
    pub(super) first_high: Fixed,
    /// The highest that it showed in its last run.
    pub(super) high: Fixed,
    /// What was counted after the first run.
    pub(super) after: Fixed,
    /// Where the register stood before its last run, if a jump began that: a wrong reading goes back there.
    pub(super) jumped_from: Option<Fixed>,
    /// Runs that ended, and whether the first of them did so by rolling over: what was counted across depends on how
    /// high it had come before.
    pub(super) ended: u32,
    pub(super) rolled_first: bool,
    pub resets: u32,
    pub rollovers: u32,
    /// Steps back that are too small to mean anything.
    pub jitters: u32,
    /// Steps that are larger than the series' `max_rate` allows: not counted.
    pub jumps: u32,
}

/// What the next reading of a register says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    On,
    Jitter,
    /// With what was counted across.
    Rollover(Fixed),
    Reset,
    Jump,
    /// Back to where it stood before a jump, with what was counted meanwhile.
    Return(Fixed),
}

/// Steps back up to this share of the register are jitter (DOMAIN: 0.01 %), or up to two of its smallest steps.
const JITTER_SHARE: f64 = 0.0001;

impl Step {
    /// From a register at work to its next reading, so many microseconds after its last. What it is depends on the
    /// last reading alone, so that it is the same wherever a span of time is cut.
    fn of(counter: &Counter, next: Fixed, micros: i64, meter: &Meter) -> Step {
        let last = counter.last.1;
        let step = (next - last).to_f64();
        let least = 2.0 * meter.resolution.unwrap_or(0.0);
        let possible =
            |step: f64| meter.max_rate.is_none_or(|rate| step <= rate * (micros as f64 / 3.6e9) + least);
        if 0.0 <= step {
            return if possible(step) { Step::On } else { Step::Jump };
        }
        if let Some(before) = counter.jumped_from.filter(|before| *before <= next)
            && possible((next - before).to_f64())
        {
            return Step::Return(next - before);
        }
        let (last, next) = (last.to_f64(), next.to_f64());
        if -step <= least.max(JITTER_SHARE * last.abs()) {
            return Step::Jitter;
        }
        match meter.modulus {
            Some(modulus) if 0.9 * modulus < last && next < 0.1 * modulus && possible(step + modulus) => {
                Step::Rollover(Fixed::new(modulus) + Fixed::new(next) - counter.high)
            }
            _ => Step::Reset,
        }
    }
}

impl Counter {
    pub fn new(time: Time, value: f64) -> Counter {
        let value = Fixed::new(value);
        Counter {
            first: (time, value),
            last: (time, value),
            first_high: value,
            high: value,
            after: Fixed::ZERO,
            jumped_from: None,
            ended: 0,
            rolled_first: false,
            resets: 0,
            rollovers: 0,
            jitters: 0,
            jumps: 0,
        }
    }

    /// What was counted between the first and the last reading.
    pub fn total(&self) -> Fixed {
        self.first_high - self.first.1 + self.after
    }

    /// Whether the register grew on without a break.
    pub fn is_smooth(&self) -> bool {
        self.ended == 0
    }

    /// Takes in the next reading.
    pub fn add(&mut self, time: Time, value: f64, arithmetic: &Arithmetic) {
        *self = self.join(&Counter::new(time, value), arithmetic);
    }

    /// What was counted over two spans of time, the earlier first, and from the one to the other.
    pub fn join(&self, later: &Counter, arithmetic: &Arithmetic) -> Counter {
        let mut whole = *self;
        whole.last = later.last;
        whole.resets = whole.resets.saturating_add(later.resets);
        whole.rollovers = whole.rollovers.saturating_add(later.rollovers);
        whole.jitters = whole.jitters.saturating_add(later.jitters);
        whole.jumps = whole.jumps.saturating_add(later.jumps);
        let micros = later.first.0.micros() - self.last.0.micros();
        let step = Step::of(self, later.first.1, micros, &arithmetic.meter);
        let later_run = later.first_high - later.first.1;
        match step {
            Step::On | Step::Jitter => {
                let high = self.high.max(later.first_high);
                if self.ended == 0 {
                    whole.first_high = high;
                } else {
                    whole.after += high - self.high;
                }
                whole.high = if later.ended == 0 { high } else { later.high };
                if later.rolled_first {
                    whole.after += later.first_high - high;
                }
            }
            Step::Rollover(across) | Step::Return(across) => whole.after += across + later_run,
            Step::Reset => whole.after += later.first_high,
            Step::Jump => whole.after += later_run,
        }
        whole.after += later.after;
        whole.ended = whole.ended.saturating_add(later.ended);
        match step {
            Step::On | Step::Return(_) => {}
            Step::Jitter => whole.jitters += 1,
            Step::Rollover(_) => whole.rollovers += 1,
            Step::Reset => whole.resets += 1,
            Step::Jump => whole.jumps += 1,
        }
        if self.ended == 0 {
            whole.rolled_first = match step {
                Step::On | Step::Jitter => later.rolled_first,
                _ => matches!(step, Step::Rollover(_)),
            };
        }
        if !matches!(step, Step::On | Step::Jitter) {
            whole.ended += 1;
            whole.high = later.high;
            whole.jumped_from = (step == Step::Jump).then_some(self.high);
        }
        if 0 < later.ended {
            whole.jumped_from = later.jumped_from;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Kind;

    fn arithmetic(meter: Meter) -> Arithmetic {
        Arithmetic::new(Kind::Counter, Some(900), None, meter)
    }

    const METER: Meter = Meter { modulus: Some(100_000.0), resolution: Some(0.001), max_rate: Some(400.0) };

    /// Readings a quarter of an hour apart.
    fn counted(values: &[f64], meter: Meter) -> Counter {
        let time = |i: usize| Time::from_micros(i as i64 * 900_000_000);
        let mut counter = Counter::new(time(0), values[0]);
        for (i, value) in values.iter().enumerate().skip(1) {
            counter.add(time(i), *value, &arithmetic(meter));
        }
        counter
    }

    #[test]
    fn each_step_back_is_what_it_is() {
        let of = |values: &[f64]| {
            let counter = counted(values, METER);
            (counter.total().to_f64(), [counter.resets, counter.rollovers, counter.jitters, counter.jumps])
        };
        assert_eq!(of(&[10.0, 12.5, 12.5, 13.0]), (3.0, [0, 0, 0, 0]));
        assert_eq!(of(&[99_990.0, 99_999.0, 4.0]), (14.0, [0, 1, 0, 0]));
        assert_eq!(of(&[5_760.0, 5_760.625, 1.5, 2.0]), (2.625, [1, 0, 0, 0]));
        assert_eq!(of(&[6_448.484, 6_448.481, 6_448.5]), (0.016, [0, 0, 1, 0]));
        assert_eq!(of(&[10.0, 11.0, 9_000.0, 9_001.0]), (2.0, [0, 0, 0, 1]));
        assert_eq!(of(&[10.0, 11.0, 9_000.0, 12.0, 13.5]), (3.5, [0, 0, 0, 1]));
        // Without a modulus nothing rolls over.
        let counter = counted(&[99_999.0, 4.0], Meter::default());
        assert_eq!((counter.total().to_f64(), counter.resets), (4.0, 1));
    }

    proptest! {
        #[test]
        fn parts_joined_in_any_grouping_are_the_whole(
            steps in proptest::collection::vec(prop_oneof![8 => 0..50_000i64, 1 => Just(-2), 1 => Just(-200_000)], 1..60),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 2),
        ) {
            let mut at = 99_900_000i64;
            let values: Vec<f64> = steps.iter().map(|step| {
                at = match *step { -200_000 => 7_000, step => (at + step) % 100_000_000 };
                at as f64 / 1_000.0
            }).collect();
            let whole = counted(&values, METER);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len())).collect();
            cuts.sort_unstable();
            let part = |from: usize, to: usize| {
                let time = |i: usize| Time::from_micros(i as i64 * 900_000_000);
                values[from..to].iter().enumerate().map(|(i, v)| Counter::new(time(from + i), *v))
                    .reduce(|a, b| a.join(&b, &arithmetic(METER)))
            };
            let parts = [part(0, cuts[0]), part(cuts[0], cuts[1]), part(cuts[1], values.len())];
            let [a, b, c] = parts;
            let join = |a: Option<Counter>, b: Option<Counter>| match (a, b) {
                (Some(a), Some(b)) => Some(a.join(&b, &arithmetic(METER))),
                (a, b) => a.or(b),
            };
            let (left, right) = (join(join(a, b), c).unwrap(), join(a, join(b, c)).unwrap());
            prop_assert_eq!(left, right);
            prop_assert_eq!(left.total(), whole.total());
            prop_assert_eq!((left.resets, left.rollovers), (whole.resets, whole.rollovers));
        }
    }
}

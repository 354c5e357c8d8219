use super::{Quality, Time};

/// How the stored values of a series are seen today: calibrated by their date, then judged by the range of the registry.
/// Whoever reads a stored value looks at it through this: roller, auditor and query.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct View {
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// In order of time.
    pub calibrations: Box<[Calibration]>,
}

/// `scale * value + offset`, for readings from a time on until the next one's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Calibration {
    pub from: Time,
    pub scale: f64,
    pub offset: f64,
}

impl View {
    /// Within a range, and as it was measured.
    pub fn within(min: Option<f64>, max: Option<f64>) -> View {
        View { min, max, calibrations: Box::default() }
    }

    /// Whether everything is seen as it is stored.
    pub fn is_plain(&self) -> bool {
        self.min.is_none() && self.max.is_none() && self.calibrations.is_empty()
    }

    /// A stored value and its flags as they are seen today. Without a range the flag stays that was stored.
    pub fn of(&self, time: Time, value: f64, quality: Quality) -> (f64, Quality) {
        let next = self.calibrations.partition_point(|calibration| calibration.from <= time);
        let value = match next.checked_sub(1).map(|at| self.calibrations[at]) {
            Some(Calibration { scale, offset, .. }) => scale * value + offset + 0.0, // -0 is 0
            None => value,
        };
        if !value.is_finite() {
            return (value, quality | Quality::IMPLAUSIBLE); // beside a rollup, never inside
        }
        if self.min.is_none() && self.max.is_none() {
            return (value, quality);
        }
        let above = self.min.is_none_or(|min| min <= value);
        let below = self.max.is_none_or(|max| value <= max);
        let judged = if above && below { Quality::GOOD } else { Quality::OUT_OF_RANGE };
        (value, quality.without(Quality::OUT_OF_RANGE) | judged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_value_is_calibrated_by_its_date_and_then_judged() {
        let calibrations = [
            Calibration { from: at(100), scale: 2.0, offset: 0.0 },
            Calibration { from: at(200), scale: 1.0, offset: -5.0 },
        ];
        let view = View { calibrations: calibrations.into(), ..View::within(Some(0.0), Some(10.0)) };
        let seen = |second, value| view.of(at(second), value, Quality::LATE);
        let flagged = Quality::LATE | Quality::OUT_OF_RANGE;
        assert_eq!(seen(99, 6.0), (6.0, Quality::LATE));
        assert_eq!(seen(100, 6.0), (12.0, flagged));
        assert_eq!(seen(199, 5.0), (10.0, Quality::LATE));
        assert_eq!(seen(200, 6.0), (1.0, Quality::LATE));
        assert_eq!(seen(200, 4.0), (-1.0, flagged));
        assert_eq!(view.of(at(99), 6.0, Quality::OUT_OF_RANGE), (6.0, Quality::GOOD));
        assert!(!view.is_plain() && View::default().is_plain());
    }

    #[test]
    fn without_a_range_the_stored_flag_stays() {
        assert_eq!(View::default().of(at(0), 7.0, Quality::OUT_OF_RANGE), (7.0, Quality::OUT_OF_RANGE));
        let calibrations = [Calibration { from: at(0), scale: 1e300, offset: 0.0 }];
        let huge = View { calibrations: calibrations.into(), ..View::default() };
        assert!(huge.of(at(0), 1e300, Quality::GOOD).1.intersects(Quality::EXCLUDED));
    }

    proptest! {
        #[test]
        fn a_plain_view_changes_nothing(second in any::<i32>(), value in -1e300..1e300f64, flags in 0..1024i32) {
            let stored = (value, Quality(flags));
            prop_assert_eq!(View::default().of(at(second.into()), stored.0, stored.1), stored);
        }
    }
}

//! What no detector can measure, whatever it says.

use super::Kind;

/// Vehicles that a lane can take in 30 seconds.
const VOLUME_OF_LANE: f64 = 25.0;
const OCCUPANCY: (f64, f64) = (0.0, 100.0);
/// km/h
const SPEED: (f64, f64) = (0.0, 250.0);

/// The most vehicles that a lane can take in so many seconds.
fn volume_max(seconds: f64) -> f64 {
    (VOLUME_OF_LANE * seconds / 30.0).ceil()
}

/// A speed where no vehicle was counted.
pub fn is_speed_of_none(volume: Option<f64>, speed: f64) -> bool {
    volume == Some(0.0) && 0.0 < speed
}

/// The range of a new series whose registration says nothing of it; `None`: anything may be true. A lane is one where the
/// metric says so: `traffic.volume.lane2`.
pub fn range(metric: &str, kind: Kind, interval_s: Option<u32>) -> (Option<f64>, Option<f64>) {
    if matches!(kind, Kind::Counter | Kind::Event) {
        return (None, None);
    }
    let named =
        |name: &str| metric.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let both = |(min, max)| (Some(min), Some(max));
    let of_lane = |rest: &str| rest.split('.').any(|word| word.starts_with("lane"));
    if named("traffic.occupancy").is_some() {
        both(OCCUPANCY)
    } else if named("traffic.speed").is_some() {
        both(SPEED)
    } else if let Some(rest) = named("traffic.volume") {
        let of_lane = interval_s.filter(|_| of_lane(rest) && kind == Kind::Total);
        (Some(0.0), of_lane.map(|seconds| volume_max(seconds.into())))
    } else if let Some(rest) = named("traffic.flow") {
        (Some(0.0), of_lane(rest).then(|| volume_max(3_600.0)))
    } else {
        (None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_series_has_the_range_of_its_metric() {
        let of = |metric, interval_s| range(metric, Kind::Total, interval_s);
        assert_eq!(of("traffic.occupancy.lane1", Some(30)), (Some(0.0), Some(100.0)));
        assert_eq!(of("traffic.speed.mean", None), (Some(0.0), Some(250.0)));
        assert_eq!(of("traffic.volume", Some(60)), (Some(0.0), None));
        assert_eq!(of("traffic.volume.lane1", Some(60)), (Some(0.0), Some(50.0)));
        assert_eq!(of("traffic.volume.lane1", Some(1)), (Some(0.0), Some(1.0)));
        assert_eq!(of("traffic.flow.lane1", None), (Some(0.0), Some(3_000.0)));
        assert_eq!((of("traffic.speeding", None), of("water.level", None)), ((None, None), (None, None)));
        assert_eq!(range("traffic.volume.lane1", Kind::Counter, Some(60)), (None, None));
    }

    #[test]
    fn where_nobody_drove_nobody_was_fast() {
        assert!(is_speed_of_none(Some(0.0), 40.0));
        assert!(!is_speed_of_none(Some(0.0), 0.0) && !is_speed_of_none(None, 40.0));
    }
}

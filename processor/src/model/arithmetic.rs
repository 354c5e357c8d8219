use super::{Kind, MetricName, SeriesId};

/// How the readings of a series are put together: what its kind, its metric and its row in the registry say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Arithmetic {
    pub kind: Kind,
    /// Microseconds that a reading speaks of, ending at its time; 0 where it speaks of an instant.
    pub interval: i64,
    /// Microseconds between two readings up to which what lay between them counts as observed.
    pub max_gap: i64,
    pub meter: Meter,
    /// Whether values are speeds in km/h: their reciprocals are added up for the space-mean speed.
    pub is_speed: bool,
    /// Whether quantiles are asked of its values.
    pub has_quantiles: bool,
}

/// How the readings of a series are put together, and with those of which other one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rule {
    pub arithmetic: Arithmetic,
    /// Of a mean speed: the series of the vehicles, of the same detector.
    pub volume: Option<SeriesId>,
}

/// What is known of the register behind a counter.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Meter {
    /// Where it begins at 0 again.
    pub modulus: Option<f64>,
    /// The smallest step that it shows.
    pub resolution: Option<f64>,
    /// More than that in an hour cannot have passed.
    pub max_rate: Option<f64>,
}

/// Where nothing says how often a series is read: longer silences are gaps.
const MAX_GAP: i64 = 3_600_000_000;

/// Metrics whose quantiles mean something: single speeds, travel times, noise, air.
const WITH_QUANTILES: [&str; 4] = ["traffic.speed", "traffic.travel_time", "noise", "air"];

impl Arithmetic {
    /// `max_gap_s` is one and a half intervals unless given: one report that is missing is a gap.
    pub fn new(kind: Kind, interval_s: Option<u32>, max_gap_s: Option<u32>, meter: Meter) -> Arithmetic {
        let seconds = |seconds: u32| i64::from(seconds) * 1_000_000;
        let usual = interval_s.map_or(MAX_GAP, |interval_s| seconds(interval_s) / 2 * 3);
        let is_event = kind == Kind::Event;
        Arithmetic {
            kind,
            interval: kind.interval_micros(interval_s),
            max_gap: max_gap_s.map_or(usual, seconds),
            meter,
            is_speed: is_event,
            has_quantiles: is_event,
        }
    }

    /// With what the metric says.
    pub fn of(self, metric: &str, unit: &str) -> Arithmetic {
        let named = |name: &str| {
            metric.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        Arithmetic {
            is_speed: self.is_speed || named("traffic.speed") && unit == "km/h",
            has_quantiles: self.has_quantiles || WITH_QUANTILES.into_iter().any(named),
            ..self
        }
    }
}

/// The metric of the vehicles whose mean speed a metric is, at the same detector: `traffic.volume.dir1` of
/// `traffic.speed.mean.dir1`.
pub fn volume_of(speed: &str) -> Option<MetricName> {
    let rest = speed.strip_prefix("traffic.speed")?;
    let words = rest.split('.').skip(1).filter(|word| !["mean", "harmonic", "spot"].contains(word));
    let name = words.fold("traffic.volume".to_owned(), |name, word| name + "." + word);
    (rest.is_empty() || rest.starts_with('.')).then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_speed_finds_its_volume() {
        let of = |name: &str| volume_of(name).map(|name| name.to_string());
        assert_eq!(of("traffic.speed").as_deref(), Some("traffic.volume"));
        assert_eq!(of("traffic.speed.mean").as_deref(), Some("traffic.volume"));
        assert_eq!(of("traffic.speed.mean.lane2").as_deref(), Some("traffic.volume.lane2"));
        assert_eq!(of("traffic.speeding"), None);
        assert_eq!(of("water.flow"), None);
    }

    #[test]
    fn one_missing_report_is_a_gap_unless_the_registry_says_otherwise() {
        let of =
            |interval_s, max_gap_s| Arithmetic::new(Kind::Counter, interval_s, max_gap_s, Meter::default());
        assert_eq!(of(Some(900), None).max_gap, 1_350_000_000);
        assert_eq!(of(Some(900), Some(7_200)).max_gap, 7_200_000_000);
        assert_eq!((of(None, None).max_gap, of(Some(900), None).interval), (MAX_GAP, 0));
    }
}

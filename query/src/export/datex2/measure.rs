//! Which of our metrics are values of DATEX II, and under which index.

/// A metric as a site's value. Without a table of sites its index is what tells two values apart, so it depends on the
/// metric's name alone: the same in each publication, whatever else was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    pub quantity: Quantity,
    /// Vehicles counted in an interval, not yet in an hour.
    pub is_volume: bool,
    pub index: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantity {
    /// vehicleFlowRate, in vehicles an hour.
    Flow,
    /// averageVehicleSpeed, in km/h.
    Speed,
    /// Occupancy, in per cent.
    Occupancy,
}

/// Lanes and directions that have an index; a road has fewer.
const PARTS_MAX: u32 = 99;
/// Directions are counted behind the lanes.
const DIRECTIONS: u32 = 10 * (PARTS_MAX + 1);

impl Measure {
    /// | metric | index |
    /// | --- | --- |
    /// | `traffic.flow`, `.speed`, `.occupancy`, `.volume`, `.speed.mean` | 1 to 5 |
    /// | the same of `.lane3` | 30 more |
    /// | the same of `.dir2` | 1020 more |
    /// | `traffic.flow.7`, as a feed in DATEX II numbered it | 7 |
    ///
    /// Others are not what the elements say: a flow of lorries is not a flow, and a spot speed no average.
    pub(super) fn of(metric: &str) -> Option<Self> {
        let (family, rest) = split(metric.strip_prefix("traffic.")?);
        let (slot, quantity, rest) = match (family, split(rest)) {
            ("flow", _) => (1, Quantity::Flow, rest),
            ("speed", ("mean", rest)) => (5, Quantity::Speed, rest),
            ("speed", _) => (2, Quantity::Speed, rest),
            ("occupancy", _) => (3, Quantity::Occupancy, rest),
            ("volume", _) => (4, Quantity::Flow, rest),
            _ => return None,
        };
        let part = |digits: &str| number(digits).filter(|part| *part <= PARTS_MAX);
        let index = if rest.is_empty() {
            slot
        } else if let Some(lane) = rest.strip_prefix("lane") {
            slot + 10 * part(lane)?
        } else if let Some(direction) = rest.strip_prefix("dir") {
            slot + DIRECTIONS + 10 * part(direction)?
        } else {
            number(rest)?
        };
        Some(Self { quantity, is_volume: family == "volume", index })
    }

    /// In which the store keeps it.
    pub(super) fn unit(self) -> &'static str {
        match self.quantity {
            Quantity::Flow if self.is_volume => "{veh}",
            Quantity::Flow => "{veh}/h",
            Quantity::Speed => "km/h",
            Quantity::Occupancy => "%",
        }
    }
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

/// From 1, without signs or zeros before it, so that two names never mean one number.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse::<i32>().ok().filter(|_| plain)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_index_depends_on_the_name_alone_and_is_no_others() {
        let index = |metric: &str| Measure::of(metric).map(|measure| measure.index);
        assert_eq!(index("traffic.flow"), Some(1));
        assert_eq!(index("traffic.speed.mean"), Some(5));
        assert_eq!(index("traffic.speed.lane3"), Some(32));
        assert_eq!(index("traffic.volume.dir2"), Some(1024));
        assert_eq!(index("traffic.occupancy.7"), Some(7));
        let mut seen = HashSet::new();
        for family in ["flow", "speed", "speed.mean", "occupancy", "volume"] {
            assert!(seen.insert(index(&format!("traffic.{family}")).unwrap()));
            for part in 1..=PARTS_MAX {
                assert!(seen.insert(index(&format!("traffic.{family}.lane{part}")).unwrap()));
                assert!(seen.insert(index(&format!("traffic.{family}.dir{part}")).unwrap()));
            }
        }
    }

    #[test]
    fn what_no_element_says_has_none() {
        for metric in [
            "",
            "traffic",
            "traffic.",
            "traffic.headway",
            "traffic.speed.spot",
            "traffic.volume.truck",
            "traffic.flow.lane1.truck",
            "traffic.flow.lane",
            "traffic.flow.lane100",
            "traffic.flow.0",
            "traffic.flow.07",
            "traffic.flow.+7",
            "traffic.flow.99999999999",
            "water.flow",
        ] {
            assert_eq!(Measure::of(metric), None, "{metric}");
        }
    }
}

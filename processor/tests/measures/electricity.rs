use jiff::civil::{Date, DateTime};
use processor::measure::utility;

use crate::{feed, rows};

/// A quarter of an hour, by its start.
struct Quarter {
    begins: DateTime,
    kwh: f64,
    lagging: f64,
    leading: f64,
    /// As published, in percent.
    factors: (f64, f64),
}

/// The label is the end of the quarter; the last one of a day carries its day at 00:00, and means 24:00.
fn quarters() -> Option<Vec<Quarter>> {
    let text = feed("steel-energy/steel_15min.csv.gz")?;
    let quarters = rows(&text).map(|row| {
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        let (date, _) = row[0].split_once(' ').unwrap();
        let parts: Vec<i16> = date.split('/').map(|part| part.parse().unwrap()).collect();
        let day = Date::constant(parts[2], parts[1] as i8, parts[0] as i8);
        let second = match number(7) as i64 {
            0 => 86_400,
            second => second,
        };
        let begins = day.at(0, 0, 0, 0).saturating_add(jiff::SignedDuration::from_secs(second - 900));
        Quarter {
            begins,
            kwh: number(1),
            lagging: number(2),
            leading: number(3),
            factors: (number(5), number(6)),
        }
    });
    Some(quarters.collect())
}

#[test]
fn steel_power_factors_are_the_published_ones() {
    let Some(quarters) = quarters() else { return };
    assert_eq!(quarters.len(), 8_640);
    let mut compared = 0;
    for Quarter { begins, kwh, lagging, leading, factors } in &quarters {
        for (own, published) in [(*lagging, factors.0), (*leading, factors.1)] {
            // The columns know each direction alone; of nothing the publisher says 0.
            let ours = utility::power_factor(*kwh, own, 0.0).unwrap_or(0.0) * 100.0;
            assert!((ours - published).abs() <= 0.005 + 1e-9, "{begins}: {ours} {published}");
            compared += 1;
        }
    }
    assert_eq!(compared, 17_280);
}

#[test]
fn steel_peaks_lie_on_their_own_day() {
    let Some(quarters) = quarters() else { return };
    // Every quarter follows the one before: the midnight row closes its day.
    let steps = quarters.windows(2).map(|two| two[1].begins.duration_since(two[0].begins).as_secs());
    assert!(
        steps.clone().all(|step| step == 900),
        "{:?}",
        steps.filter(|step| *step != 900).collect::<Vec<_>>()
    );
    for day in quarters.chunks(96) {
        assert!(day.iter().all(|quarter| quarter.begins.date() == day[0].begins.date()));
        let energies: Vec<Option<f64>> = day.iter().map(|quarter| Some(quarter.kwh)).collect();
        let peak = utility::peak_demand(&energies, 900.0, 1, 1).unwrap();
        let highest = day.iter().map(|quarter| quarter.kwh).fold(0.0, f64::max);
        assert_eq!((peak.demand, energies[peak.at]), (4.0 * highest, Some(highest)));
        let hour = utility::peak_demand(&energies, 900.0, 4, 1).unwrap();
        assert!(hour.demand <= peak.demand);
    }
    let demands: Vec<Option<f64>> = quarters.iter().map(|quarter| Some(quarter.kwh * 4.0)).collect();
    let factor = utility::load_factor(&demands).unwrap();
    assert!(0.0 < factor && factor < 1.0);
}

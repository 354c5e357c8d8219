//! Peak demand of local days, from what was used in each step. Pure.

use std::ops::Range;

use jiff::civil::Date;

use super::{Steps, utility};
use crate::model::{Series, Time};

/// The demand of one local day.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Demand {
    pub day: Date,
    /// What was used, in the unit of the series; `None` where a step is not known.
    pub amount: Option<f64>,
    /// The highest of the blocks on the local clock.
    pub block: Option<Peak>,
    /// The highest of the windows that begin in the day.
    pub sliding: Option<Peak>,
    /// Mean over highest demand of the blocks.
    pub load_factor: Option<f64>,
}

/// The highest demand of some windows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Peak {
    /// In the unit of the series an hour: kW of kWh.
    pub demand: f64,
    /// When its window begins.
    pub from: Time,
}

/// The local days of some steps. Windows are of `block_s` seconds, whole steps that fill a day; one of the last evening
/// reaches into the next day, so that a day needs the steps of the next for its sliding peak.
pub fn days(steps: &Steps, amounts: &[Option<f64>], block_s: u32) -> Vec<Demand> {
    let window = (block_s / steps.seconds.max(1)).max(1) as usize;
    let step_s = f64::from(steps.seconds);
    let day = |(day, of_day): &(Date, Range<usize>)| {
        let peak = |until: usize, every: usize| {
            let peak = utility::peak_demand(&amounts[of_day.start..until], step_s, window, every)?;
            Some(Peak { demand: peak.demand, from: steps.spans[of_day.start + peak.at].start })
        };
        let known = &amounts[of_day.clone()];
        let blocks = known.chunks_exact(window);
        let demand = |amount: f64| amount * 3_600.0 / (step_s * window as f64);
        let demands: Vec<Option<f64>> = blocks.map(|block| total(block).map(demand)).collect();
        Demand {
            day: *day,
            amount: total(known),
            block: peak(of_day.end, window),
            sliding: peak((of_day.end + window - 1).min(amounts.len()), 1),
            load_factor: utility::load_factor(&demands),
        }
    };
    steps.days().iter().map(day).collect()
}

/// What was used on each local day; `None` where a step is not known.
pub fn daily(steps: &Steps, amounts: &[Option<f64>]) -> Vec<Option<f64>> {
    steps.days().iter().map(|(_, of_day)| total(&amounts[of_day.clone()])).collect()
}

fn total(amounts: &[Option<f64>]) -> Option<f64> {
    amounts.iter().copied().sum()
}

/// The unit of a demand by that of what is used: `kW` of `kW.h`, `m3/h` of `m3`.
pub fn unit(of_amount: &str) -> String {
    of_amount.strip_suffix(".h").map_or_else(|| format!("{of_amount}/h"), str::to_owned)
}

/// The windows in which the peaks of a meter are looked for where nobody says which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Windows {
    /// So far a window slides at a time.
    pub step_s: u32,
    pub block_s: u32,
}

impl Windows {
    /// A quarter of an hour that slides by five minutes, as most tariffs say; wider where the meter is read less often.
    /// `None`: no such window fills a day.
    pub fn of(series: &Series) -> Option<Windows> {
        let read_s = series.interval_s.unwrap_or(0);
        let said_s = u32::try_from(series.arithmetic.interval / 1_000_000).ok()?;
        let holds = |step: &u32| read_s <= *step && (said_s == 0 || step.is_multiple_of(said_s));
        let step_s = [300, 900, 3_600, read_s].into_iter().find(holds)?;
        let is_whole = |block: &u32| block.is_multiple_of(step_s) && 86_400_u32.is_multiple_of(*block);
        let block_s = [900, 3_600, step_s].into_iter().find(is_whole)?;
        Some(Windows { step_s, block_s })
    }
}

/// The reactive energies that belong to an active one, by local day.
#[derive(Clone, Copy, Debug)]
pub struct Reactive<'e> {
    pub lagging: &'e [Option<f64>],
    /// `None`: there is no such register, and nothing leads.
    pub leading: Option<&'e [Option<f64>]>,
}

impl Reactive<'_> {
    /// The power factor of a day, from its energies.
    pub fn factor(&self, day: usize, active: Option<f64>) -> Option<f64> {
        let leading = self.leading.map_or(Some(0.0), |leading| *leading.get(day)?);
        utility::power_factor(active?, (*self.lagging.get(day)?)?, leading?)
    }
}

/// The metrics of the lagging and leading reactive energy that belongs to one of active energy: `energy.reactive` and
/// `energy.reactive.leading` of `energy.active`. `None` for others.
pub fn reactive(metric: &str) -> Option<(String, String)> {
    let words: Vec<&str> = metric.split('.').collect();
    let lagging = words.iter().map(|word| if *word == "active" { "reactive" } else { word });
    let lagging = lagging.collect::<Vec<_>>().join(".");
    (lagging != metric).then(|| (lagging.clone(), lagging + ".leading"))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::{Kind, SeriesId, bucket::HOUR};

    fn hours(from: &str, count: i64, zone: &str) -> Steps {
        let from: Time = from.parse::<jiff::Timestamp>().unwrap().into();
        let period = from..Time::from_micros(from.micros() + count * HOUR);
        Steps::of_days(&period, 3_600, &TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn a_window_of_the_evening_belongs_to_the_day_it_begins_in() {
        let steps = hours("2026-01-01T00:00:00Z", 48, "UTC");
        let mut amounts = vec![Some(1.0); 48];
        (amounts[23], amounts[24]) = (Some(5.0), Some(6.0));
        let days = days(&steps, &amounts, 7_200);
        let peak = |peak: Option<Peak>| peak.map(|peak| (peak.demand, peak.from.to_string()));
        assert_eq!(peak(days[0].block), Some((3.0, "2026-01-01T22:00:00Z".to_owned())));
        assert_eq!(peak(days[0].sliding), Some((5.5, "2026-01-01T23:00:00Z".to_owned())));
        assert_eq!(peak(days[1].sliding), Some((3.5, "2026-01-02T00:00:00Z".to_owned())));
        assert_eq!((days[0].amount, days[1].amount), (Some(28.0), Some(29.0)));
        assert_eq!(days[0].load_factor, Some(28.0 / 24.0 / 3.0));
        amounts[3] = None;
        assert_eq!(super::days(&steps, &amounts, 7_200)[0].amount, None);
        assert_eq!(daily(&steps, &amounts), [None, Some(29.0)]);
    }

    #[test]
    fn a_day_of_23_hours_has_its_blocks() {
        let steps = hours("2026-03-28T23:00:00Z", 23, "Europe/Paris");
        let days = days(&steps, &[Some(2.0); 23], 3_600);
        assert_eq!((days.len(), days[0].amount, days[0].load_factor), (1, Some(46.0), Some(1.0)));
    }

    #[test]
    fn windows_are_as_wide_as_the_meter_is_read() {
        let of = |kind, interval_s| {
            let windows = Windows::of(&Series::new(SeriesId(1), kind, "kW.h", interval_s))?;
            Some((windows.step_s, windows.block_s))
        };
        assert_eq!(of(Kind::Counter, None), Some((300, 900)));
        assert_eq!(of(Kind::Counter, Some(60)), Some((300, 900)));
        assert_eq!(of(Kind::Counter, Some(600)), Some((900, 900)));
        assert_eq!(of(Kind::Total, Some(900)), Some((900, 900)));
        assert_eq!(of(Kind::Total, Some(600)), Some((3_600, 3_600)));
        assert_eq!(of(Kind::Total, Some(7_200)), Some((7_200, 7_200)));
        assert_eq!(of(Kind::Total, Some(5_000)), None);
    }

    #[test]
    fn reactive_energy_is_known_by_its_name() {
        let (lagging, leading) = reactive("energy.active.import").unwrap();
        assert_eq!((&*lagging, &*leading), ("energy.reactive.import", "energy.reactive.import.leading"));
        assert_eq!(reactive("water.volume.total"), None);
        let lagging = [Some(4.0), None];
        let energies = Reactive { lagging: &lagging, leading: None };
        assert_eq!([0, 1, 2].map(|day| energies.factor(day, Some(3.0))), [Some(0.6), None, None]);
        assert_eq!(Reactive { leading: Some(&[None]), ..energies }.factor(0, Some(3.0)), None);
        assert_eq!((unit("kW.h"), unit("m3")), ("kW".to_owned(), "m3/h".to_owned()));
    }
}

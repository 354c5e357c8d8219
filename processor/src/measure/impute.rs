//! What was not observed, estimated: for a column of its own, labelled with its method, and never in place of a measurement.

use std::fmt;

use super::utility::{self, StuckRule};

/// How a value was estimated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// From neighbours, each by a line through the steps that both have observed; their median (PeMS, local regression).
    Neighbours,
    /// The mean of the same step of other days.
    SameTime,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Neighbours => "neighbours",
            Method::SameTime => "same time of other days",
        })
    }
}

/// An estimate of what was not observed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Imputed {
    pub value: f64,
    pub method: Method,
}

/// Steps that a series and its neighbour must have observed together, for the line between them to be believed.
const COMMON_LEAST: usize = 24;

/// Estimates for the missing steps of a series: by its neighbours where they were observed, else by its own other days,
/// else none. `own` and each of `neighbours` are steps in order, of the same times, and `slots` the place of each in its
/// local day. None is below 0.
pub fn impute(own: &[Option<f64>], neighbours: &[&[Option<f64>]], slots: &[usize]) -> Vec<Option<Imputed>> {
    let lines: Vec<(&[Option<f64>], Line)> = neighbours
        .iter()
        .filter_map(|neighbour| Some((*neighbour, Line::through(neighbour, own)?)))
        .collect();
    let mut of_day = vec![(0.0, 0u32); slots.iter().max().map_or(0, |last| last + 1)];
    for (slot, value) in slots.iter().zip(own) {
        if let Some(value) = value {
            let (sum, count) = &mut of_day[*slot];
            (*sum, *count) = (*sum + value, *count + 1);
        }
    }
    let estimate = |at: usize| {
        let near: Vec<f64> =
            lines.iter().filter_map(|(neighbour, line)| Some(line.at((*neighbour.get(at)?)?))).collect();
        let (sum, count) = of_day[*slots.get(at)?];
        let same = (0 < count).then(|| (sum / f64::from(count), Method::SameTime));
        let (value, method) = utility::median(&near).map(|value| (value, Method::Neighbours)).or(same)?;
        Some(Imputed { value: value.max(0.0), method })
    };
    own.iter().enumerate().map(|(at, value)| if value.is_none() { estimate(at) } else { None }).collect()
}

/// What is known of a register by steps of so many seconds: nothing from where it stuck until it moved again.
pub fn unstuck(amounts: &[Option<f64>], step_s: u32) -> Vec<Option<f64>> {
    let mut known = amounts.to_vec();
    // A missing step says nothing, so that the next rest is found.
    while let Some(from) = utility::stuck_from(&known, step_s, StuckRule::default()) {
        let moves = |amount: &Option<f64>| amount.is_some_and(|amount| 0.0 < amount);
        let until = (from..known.len()).find(|at| moves(&known[*at])).unwrap_or(known.len());
        known[from..until].fill(None);
    }
    known
}

/// y = intercept + slope * x
struct Line {
    intercept: f64,
    slope: f64,
}

impl Line {
    /// The line with the least squares, of the steps that both have.
    fn through(x: &[Option<f64>], y: &[Option<f64>]) -> Option<Line> {
        let both: Vec<(f64, f64)> = x.iter().zip(y).filter_map(|(x, y)| Some(((*x)?, (*y)?))).collect();
        if both.len() < COMMON_LEAST {
            return None;
        }
        let count = both.len() as f64;
        let (mean_x, mean_y) = (
            both.iter().map(|(x, _)| x).sum::<f64>() / count,
            both.iter().map(|(_, y)| y).sum::<f64>() / count,
        );
        let square: f64 = both.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let product: f64 = both.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let slope = if 0.0 < square { product / square } else { 0.0 };
        Some(Line { intercept: mean_y - slope * mean_x, slope })
    }

    fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_say_more_than_other_days() {
        let near: Vec<Option<f64>> =
            (0..72).map(|hour| Some(f64::from(hour % 24 + hour / 24 * 10))).collect();
        let mut own: Vec<Option<f64>> =
            near.iter().map(|value| value.map(|value| 2.0 * value + 1.0)).collect();
        own[50] = None;
        let slots: Vec<usize> = (0..72).map(|hour| hour % 24).collect();
        let by = |neighbours: &[&[Option<f64>]], at: usize| impute(&own, neighbours, &slots)[at];
        let imputed = by(&[&near], 50).unwrap();
        assert!((imputed.value - 45.0).abs() < 1e-9 && imputed.method == Method::Neighbours, "{imputed:?}");
        // The hours from 2 of the first and the second day: 5 and 25.
        assert_eq!(by(&[], 50), Some(Imputed { value: 15.0, method: Method::SameTime }));
        assert_eq!(by(&[&near], 49), None);
        let few = vec![Some(1.0); 10];
        assert_eq!(by(&[&few], 50).map(|imputed| imputed.method), Some(Method::SameTime));
    }

    #[test]
    fn a_register_is_not_known_while_it_sticks() {
        let mut hours = vec![Some(1.0); 120];
        hours[60..80].fill(Some(0.0));
        hours[85..100].fill(Some(0.0));
        let known = unstuck(&hours, 3_600);
        assert!(
            known[60..80].iter().chain(&known[85..100]).all(Option::is_none)
                && known[..60] == hours[..60]
                && known[80..85] == hours[80..85]
        );
    }

    #[test]
    fn nothing_known_is_nothing_said() {
        assert_eq!(impute(&[None, None], &[], &[0, 1]), [None, None]);
        assert_eq!(impute(&[], &[], &[]), []);
    }
}

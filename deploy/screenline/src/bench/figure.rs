//! What was measured: rounds of a stage, their median, and how far they may be trusted.

use serde_json::{Value, json};

use super::cpu::{DATABASE, Seconds, Who};

/// Rounds that differ by more than this share of their median, the best and the worst of them left out, say nothing.
const SPREAD_MAX: f64 = 0.25;

/// One round of one stage.
#[derive(Clone, Debug)]
pub struct Round {
    pub items: u64,
    pub wall_s: f64,
    pub cpu: Seconds,
}

/// A stage, measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Short and unique: what scripts find it by.
    pub name: &'static str,
    pub about: String,
    /// Of what a rate speaks: readings, rows, messages.
    pub unit: &'static str,
    pub rounds: Vec<Round>,
    /// The figure that limits it, measured in turns with it.
    pub limit: Option<&'static str>,
    /// What it is to reach, as text.
    pub bar: &'static str,
}

impl Figure {
    pub fn new(name: &'static str, about: impl Into<String>, unit: &'static str) -> Figure {
        Figure { name, about: about.into(), unit, rounds: Vec::new(), limit: None, bar: "" }
    }

    #[must_use]
    pub fn beside(self, limit: &'static str, bar: &'static str) -> Figure {
        Figure { limit: Some(limit), bar, ..self }
    }

    /// Items a second.
    pub fn rate(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.items as f64 / round.wall_s))
    }

    /// CPU-seconds for a million items.
    pub fn cpu(&self, who: &[Who]) -> f64 {
        let spent = |round: &Round| who.iter().filter_map(|who| round.cpu.get(who)).sum::<f64>();
        median(self.rounds.iter().map(|round| spent(round) * 1e6 / round.items.max(1) as f64))
    }

    /// How far rounds differ, as a share of their median, without the best and the worst.
    pub fn spread(&self) -> f64 {
        let mut rates: Vec<f64> = self.rounds.iter().map(|round| round.items as f64 / round.wall_s).collect();
        rates.sort_by(f64::total_cmp);
        match rates.as_slice() {
            [_, inner @ .., _] if !inner.is_empty() => {
                (inner[inner.len() - 1] - inner[0]) / median(rates.iter().copied())
            }
            _ => f64::INFINITY, // too few to say
        }
    }

    pub fn is_stable(&self) -> bool {
        self.spread() <= SPREAD_MAX
    }

    /// The median of the ratios of rounds that were made in turns.
    pub fn rate_of(&self, limit: &Figure) -> f64 {
        let rate = |round: &Round| round.items as f64 / round.wall_s;
        median(self.rounds.iter().zip(&limit.rounds).map(|(own, limit)| rate(own) / rate(limit)))
    }

    pub fn json(&self, limit: Option<&Figure>) -> Value {
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|round| json!({"items": round.items, "seconds": round.wall_s, "cpu_seconds": round.cpu}))
            .collect();
        json!({
            "name": self.name,
            "about": self.about,
            "unit": self.unit,
            "per_second": self.rate(),
            "stable": self.is_stable(),
            "spread": Some(self.spread()).filter(|spread| spread.is_finite()),
            "database_cpu_seconds_per_million": self.cpu(&DATABASE),
            "limit": self.limit,
            "of_limit": limit.map(|limit| self.rate_of(limit)),
            "bar": self.bar,
            "rounds": rounds,
        })
    }
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => (figures[even / 2 - 1] + figures[even / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rates: &[f64]) -> Figure {
        let round = |rate: &f64| Round {
            items: 1_000_000,
            wall_s: 1e6 / rate,
            cpu: Seconds::from([(Who::Bench, 0.5), (Who::Backend, 1.0), (Who::Upkeep, 0.25)]),
        };
        Figure { rounds: rates.iter().map(round).collect(), ..Figure::new("stage", "a stage", "readings") }
    }

    #[test]
    fn one_slow_round_does_not_count_and_two_take_the_figure_away() {
        let one = figure(&[100.0, 101.0, 99.0, 100.0, 20.0]);
        assert!((one.rate() - 100.0).abs() < 1e-9);
        assert!(one.is_stable(), "{}", one.spread());
        assert!(!figure(&[100.0, 101.0, 30.0, 99.0, 20.0]).is_stable());
        assert!(!figure(&[100.0, 100.0]).is_stable(), "two rounds say nothing");
    }

    #[test]
    fn ratios_are_of_rounds_made_in_turns() {
        // The machine became half as fast on the way: the ratio did not.
        let (own, limit) = (figure(&[50.0, 50.0, 25.0]), figure(&[100.0, 100.0, 50.0]));
        assert!((own.rate_of(&limit) - 0.5).abs() < 1e-9);
        assert!((own.cpu(&DATABASE) - 1.25).abs() < 1e-9);
        assert!((own.cpu(&[Who::Bench]) - 0.5).abs() < 1e-9);
    }
}

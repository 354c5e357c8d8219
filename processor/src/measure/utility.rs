//! Measures of electricity, water, gas and heat. What registers counted comes from [`Settled`].

use std::{fmt, ops::Range};

use jiff::civil::Date;

use super::Settled;
use crate::model::Time;

/// The highest demand of windows of a quarter of an hour.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Peak {
    /// Index of the first step of its window.
    pub at: usize,
    /// In the unit of the energy, an hour: kW of kWh.
    pub demand: f64,
}

/// Peak demand: the highest energy of `window` steps in a row, `every` steps apart, as power: E * 3600 / T. With
/// `every` = `window` it is of blocks on the clock, as most tariffs say; with 1 it slides. Windows with a missing step do
/// not count. `step_s` are the seconds of a step. The first of several peaks.
pub fn peak_demand(energies: &[Option<f64>], step_s: f64, window: usize, every: usize) -> Option<Peak> {
    let mut peak: Option<Peak> = None;
    for (at, steps) in energies.windows(window.max(1)).enumerate().step_by(every.max(1)) {
        let Some(energy) = steps.iter().copied().sum::<Option<f64>>() else { continue };
        let demand = energy * 3_600.0 / (step_s * steps.len() as f64);
        if peak.is_none_or(|peak| peak.demand < demand) {
            peak = Some(Peak { at, demand });
        }
    }
    peak
}

/// |kWh| / sqrt(kWh^2 + kvarh^2) over a window, between 0 and 1; never a mean of power factors. `lagging` and `leading`
/// are the reactive energies of the two directions. `None` where nothing flowed.
pub fn power_factor(active: f64, lagging: f64, leading: f64) -> Option<f64> {
    let reactive = lagging - leading;
    let apparent = active.hypot(reactive);
    (0.0 < apparent).then(|| active.abs() / apparent)
}

/// Mean over highest demand: 1 is a load that never changes.
pub fn load_factor(demands: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = demands.iter().flatten().copied().collect();
    let highest = known.iter().copied().fold(0.0, f64::max);
    (0.0 < highest).then(|| known.iter().sum::<f64>() / known.len() as f64 / highest)
}

/// The lowest flow over an hour of a night's steps, as 02:00 to 04:00 local time: min of the moving mean over an hour, in
/// the unit of the volumes an hour. Hours with a missing step do not count.
pub fn minimum_night_flow(volumes: &[Option<f64>], step_s: u32) -> Option<f64> {
    let steps = usize::try_from(3_600 / step_s.clamp(1, 3_600)).unwrap_or(1);
    let hours = volumes.windows(steps).filter_map(|hour| hour.iter().copied().sum::<Option<f64>>());
    hours.min_by(f64::total_cmp)
}

/// When a night's flow is an alarm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NightRule {
    /// So many nights in a row must be above the limit.
    pub nights: usize,
    /// Nights without an alarm that the baseline is made of, and how many it needs.
    pub baseline: usize,
    pub baseline_least: usize,
    /// The limit is median + max(this many MAD, this percent of the median).
    pub deviations: f64,
    pub percent: f64,
}

impl Default for NightRule {
    fn default() -> Self {
        NightRule { nights: 1, baseline: 28, baseline_least: 3, deviations: 3.0, percent: 10.0 }
    }
}

/// A night, and whether its flow says that water is lost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Night {
    pub night: Date,
    /// The minimum night flow; `None` where it is not known.
    pub flow: Option<f64>,
    /// Median of the nights before; `None` where they are too few.
    pub baseline: Option<f64>,
    /// Above it a night is a candidate.
    pub limit: Option<f64>,
    pub is_alarm: bool,
}

/// Judges minimum night flows in order of date. A night above its limit is no part of the baseline of later ones.
pub fn night_alarms(nights: &[(Date, Option<f64>)], rule: NightRule) -> Vec<Night> {
    let mut judged = Vec::with_capacity(nights.len());
    let mut baseline: Vec<f64> = Vec::new();
    let mut above = 0;
    for (night, flow) in nights {
        let last = &baseline[baseline.len().saturating_sub(rule.baseline)..];
        let middle = median(last).filter(|_| rule.baseline_least <= last.len());
        let limit = middle.map(|middle| {
            let distances: Vec<f64> = last.iter().map(|flow| (flow - middle).abs()).collect();
            middle + (rule.deviations * median(&distances).unwrap_or(0.0)).max(rule.percent / 100.0 * middle)
        });
        let is_above = flow.zip(limit).is_some_and(|(flow, limit)| limit < flow);
        match flow {
            Some(_) if is_above => above += 1,
            Some(flow) => {
                above = 0;
                baseline.push(*flow);
            }
            None => above = 0,
        }
        let is_alarm = is_above && rule.nights <= above;
        judged.push(Night { night: *night, flow: *flow, baseline: middle, limit, is_alarm });
    }
    judged
}

/// The middle of some values; of an even number the mean of the two.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => None,
        (count, middle) if count % 2 == 1 => Some(sorted[middle]),
        (_, middle) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The leakage of a day from its night flow: (night flow - legitimate use) * hour-day factor (about 20 to 24: pressure is
/// higher at night). Water an hour becomes water a day; never below 0.
pub fn daily_leakage(night_flow: f64, legitimate: f64, hour_day_factor: f64) -> f64 {
    ((night_flow - legitimate) * hour_day_factor).max(0.0)
}

/// Water of a zone over a span of time, in one unit.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Balance {
    pub inflow: f64,
    pub export: f64,
    /// What stays in tanks; negative where they empty. Filling a tank is no loss.
    pub stored: f64,
    /// What customers' meters counted.
    pub metered: f64,
}

impl Balance {
    /// System input volume: what came in for the zone itself.
    pub fn input(&self) -> f64 {
        self.inflow - self.export - self.stored
    }

    /// inflow - export - d(storage) - metered.
    pub fn loss(&self) -> f64 {
        self.input() - self.metered
    }

    /// Percent of the input that nobody was billed for: NRW = (SIV - billed) / SIV (IWA water balance).
    pub fn non_revenue(&self) -> Option<f64> {
        (0.0 < self.input()).then(|| 100.0 * self.loss() / self.input())
    }
}

/// Whether a customer's water never stopped: the lowest hourly volume of a day, of 23 to 25 hours, is above `resolution`.
/// Needs every hour, and registers whose smallest step is below the leak.
pub fn is_continuous(hours: &[Option<f64>], resolution: f64) -> Option<bool> {
    let hours: Vec<f64> = hours.iter().copied().collect::<Option<_>>()?;
    (23 <= hours.len()).then(|| hours.iter().all(|volume| resolution < *volume))
}

/// The conditions to which a volume of gas is brought: they differ by country, and must be set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GasBase {
    /// Absolute.
    pub pressure_kpa: f64,
    pub temperature_k: f64,
    pub compressibility: f64,
}

impl GasBase {
    /// 101.325 kPa and 273.15 K (DIN 1343).
    pub const NORMAL: GasBase =
        GasBase { pressure_kpa: 101.325, temperature_k: 273.15, compressibility: 1.0 };
    /// 101.325 kPa and 288.15 K (ISO 13443).
    pub const STANDARD: GasBase =
        GasBase { pressure_kpa: 101.325, temperature_k: 288.15, compressibility: 1.0 };

    /// Vb = V (p / pb) (Tb / T) (Zb / Z) (EN 12405), of a volume at the absolute pressure in kPa and the temperature in
    /// kelvin. Volumes at different pressures must not be added before.
    pub fn volume(&self, volume: f64, pressure_kpa: f64, temperature_k: f64, compressibility: f64) -> f64 {
        volume
            * (pressure_kpa / self.pressure_kpa)
            * (self.temperature_k / temperature_k)
            * (self.compressibility / compressibility)
    }
}

/// Energy of a gauge of power that held its values: its integral in watt-seconds, as kWh.
pub fn energy_kwh(watt_seconds: f64) -> f64 {
    watt_seconds / 3.6e6
}

/// When a register is taken to be stuck.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StuckRule {
    /// Seconds without a step at least.
    pub least_s: u32,
    /// So many times its longest rest before.
    pub times: usize,
    /// Seconds that must be known before.
    pub known_s: u32,
}

impl Default for StuckRule {
    fn default() -> Self {
        StuckRule { least_s: 43_200, times: 3, known_s: 172_800 }
    }
}

/// The first step of the stretch in which a register that used to count did not move, for longer than the rule says.
/// `volumes` are what it counted in steps of so many seconds; nothing is said of missing ones.
pub fn stuck_from(volumes: &[Option<f64>], step_s: u32, rule: StuckRule) -> Option<usize> {
    let steps = |seconds: u32| seconds.div_ceil(step_s.max(1)) as usize;
    let (mut rest, mut longest, mut from) = (0, 0, 0);
    for (at, volume) in volumes.iter().enumerate() {
        match volume {
            Some(volume) if *volume <= 0.0 => {
                if rest == 0 {
                    from = at;
                }
                rest += 1;
                if steps(rule.known_s) <= from && steps(rule.least_s).max(rule.times * longest.max(1)) <= rest
                {
                    return Some(from);
                }
            }
            Some(_) => {
                longest = longest.max(rest);
                rest = 0;
            }
            None => {}
        }
    }
    None
}

/// What happened to a register, other than that it counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RegisterEvent {
    /// It began at 0 again.
    Rollover,
    /// It was set back, as by an exchange of the meter.
    Reset,
    /// It went back by less than means anything.
    StepBack,
    /// It leapt further than its series allows.
    Jump,
    /// It was silent for longer than its series allows.
    Gap,
    /// It does not move any more.
    Stuck,
    /// Its readings came late.
    Late,
}

impl fmt::Display for RegisterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegisterEvent::Rollover => "rollover",
            RegisterEvent::Reset => "reset",
            RegisterEvent::StepBack => "step back",
            RegisterEvent::Jump => "jump",
            RegisterEvent::Gap => "gap",
            RegisterEvent::Stuck => "stuck",
            RegisterEvent::Late => "late",
        })
    }
}

/// The events of a register in buckets of so many seconds, each with the buckets that it spans, by kind and time.
pub fn register_events(
    buckets: &[Settled],
    step_s: u32,
    rule: StuckRule,
) -> Vec<(RegisterEvent, Range<Time>)> {
    let mut events: Vec<(RegisterEvent, Range<Time>)> = Vec::new();
    let of = |event: RegisterEvent, holds: &dyn Fn(&Settled) -> bool, events: &mut Vec<_>| {
        for same in buckets.chunk_by(|a, b| holds(a) == holds(b)).filter(|same| holds(&same[0])) {
            events.push((event, same[0].span.start..same[same.len() - 1].span.end));
        }
    };
    of(RegisterEvent::Rollover, &|bucket| 0 < bucket.breaks.rollovers, &mut events);
    of(RegisterEvent::Reset, &|bucket| 0 < bucket.breaks.resets, &mut events);
    of(RegisterEvent::StepBack, &|bucket| 0 < bucket.breaks.jitters, &mut events);
    of(RegisterEvent::Jump, &|bucket| 0 < bucket.breaks.jumps, &mut events);
    of(RegisterEvent::Gap, &|bucket| bucket.is_partial, &mut events);
    let volumes: Vec<Option<f64>> =
        buckets.iter().map(|bucket| bucket.counted.map(|counted| counted.to_f64())).collect();
    if let (Some(from), Some(last)) = (stuck_from(&volumes, step_s, rule), buckets.last()) {
        let moves = (from..volumes.len()).find(|at| volumes[*at].is_some_and(|volume| 0.0 < volume));
        let end = moves.map_or(last.span.end, |at| buckets[at].span.start);
        events.push((RegisterEvent::Stuck, buckets[from].span.start..end));
    }
    of(RegisterEvent::Late, &|bucket| 0 < bucket.state.late, &mut events);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_of_blocks_or_slide() {
        let five_minutes = [1.0, 1.0, 4.0, 5.0, 4.0, 1.0].map(Some);
        let block = peak_demand(&five_minutes, 300.0, 3, 3).unwrap();
        assert_eq!((block.at, block.demand), (3, 40.0));
        let sliding = peak_demand(&five_minutes, 300.0, 3, 1).unwrap();
        assert_eq!((sliding.at, sliding.demand), (2, 52.0));
        assert_eq!(peak_demand(&[Some(1.0), None, Some(1.0)], 300.0, 3, 1), None);
    }

    #[test]
    fn power_factors_are_made_of_energies() {
        assert_eq!(power_factor(3.0, 4.0, 0.0), Some(0.6));
        assert_eq!(power_factor(-3.0, 5.0, 1.0), Some(0.6));
        assert_eq!(power_factor(0.0, 0.0, 0.0), None);
        assert_eq!(load_factor(&[Some(2.0), None, Some(4.0)]), Some(0.75));
    }

    #[test]
    fn a_night_is_an_alarm_above_its_baseline() {
        let night = |day: i8| Date::constant(2026, 1, day);
        let nights: Vec<_> = (1..)
            .zip([100.0, 102.0, 98.0, 101.0, 130.0, 131.0, 99.0])
            .map(|(d, f)| (night(d), Some(f)))
            .collect();
        let alarms = |rule: NightRule| -> Vec<Date> {
            let judged = night_alarms(&nights, rule);
            judged.iter().filter(|night| night.is_alarm).map(|night| night.night).collect()
        };
        assert_eq!(alarms(NightRule::default()), [night(5), night(6)]);
        assert_eq!(alarms(NightRule { nights: 2, ..NightRule::default() }), [night(6)]);
        let judged = night_alarms(&nights, NightRule::default());
        assert_eq!((judged[2].limit, judged[3].baseline), (None, Some(100.0)));
        assert_eq!(minimum_night_flow(&[3.0, 1.0, 1.0, 2.0, 5.0].map(Some), 900), Some(7.0));
        assert_eq!(minimum_night_flow(&[Some(1.0), None, Some(1.0), Some(1.0)], 900), None);
        assert_eq!(daily_leakage(12.0, 2.0, 22.0), 220.0);
    }

    #[test]
    fn filling_a_tank_is_no_loss() {
        let balance = Balance { inflow: 1_000.0, export: 100.0, stored: 300.0, metered: 540.0 };
        assert_eq!((balance.loss(), balance.non_revenue()), (60.0, Some(10.0)));
        assert_eq!(Balance::default().non_revenue(), None);
    }

    #[test]
    fn a_tap_that_never_closes_is_seen() {
        let mut day = [Some(0.02); 24];
        assert_eq!(is_continuous(&day, 0.001), Some(true));
        day[3] = Some(0.0);
        assert_eq!(is_continuous(&day, 0.001), Some(false));
        day[3] = None;
        assert_eq!(is_continuous(&day, 0.001), None);
    }

    #[test]
    fn gas_is_brought_to_its_base() {
        let volume = GasBase::NORMAL.volume(100.0, 121.325, 288.15, 1.0);
        assert!((volume - 113.505).abs() < 0.01, "{volume}");
        assert_eq!(energy_kwh(7.2e6), 2.0);
    }

    #[test]
    fn a_register_that_rests_longer_than_ever_is_stuck() {
        let mut hours: Vec<Option<f64>> =
            (0..96).map(|hour| Some(if hour % 24 < 4 { 0.0 } else { 1.0 })).collect();
        assert_eq!(stuck_from(&hours, 3_600, StuckRule::default()), None);
        hours[60..].fill(Some(0.0));
        assert_eq!(stuck_from(&hours, 3_600, StuckRule::default()), Some(60));
    }
}

//! Readings become the states of their buckets, along one fixed path: in time order within a series, on every core
//! across series. The same set of readings gives the same bits.

use rayon::prelude::*;

use crate::{
    faults::{self, Bug},
    model::{
        Arithmetic, Passage, Quality, SeriesId, State, Time, arithmetic::Rule, plausible, state::Inside,
    },
};

/// A reading or an event that is bound for a bucket.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub series: SeriesId,
    /// Start of the bucket.
    pub bucket: Time,
    pub time: Time,
    /// Of an event, 1.
    pub value: f64,
    pub quality: Quality,
    pub passage: Option<Box<Passage>>,
}

/// The state of one series in one bucket, or a part of one.
#[derive(Clone, PartialEq, Debug)]
pub struct Rollup {
    pub series: SeriesId,
    /// Start of the bucket.
    pub bucket: Time,
    pub state: State,
}

impl Entry {
    /// Adds it to the state of a bucket that ends at `end`, after those before it. `volume` is the good count of vehicles
    /// at its time, where it is their speed.
    pub fn add_to(&self, state: &mut State, volume: Option<f64>, end: Time, arithmetic: &Arithmetic) {
        let Entry { time, value, quality, .. } = *self;
        let quality = match plausible::is_speed_of_none(volume, value) {
            true => quality | Quality::IMPLAUSIBLE,
            false => quality,
        };
        let inside = Inside { time, value, quality, passage: self.passage.as_deref(), volume };
        state.add(&inside, end, arithmetic);
    }

    /// Its place among the facts of its series.
    pub fn place(&self) -> (Time, i64) {
        (self.time, self.passage.as_ref().map_or(0, |passage| passage.id))
    }
}

/// Readings in any order, each key once, into the state of every bucket they touch, each `width` microseconds wide;
/// sorted by series and bucket. `rule` is asked once for each series; one that it does not know is left out.
pub fn buckets(
    mut entries: Vec<Entry>,
    width: i64,
    mut rule: impl FnMut(SeriesId) -> Option<Rule>,
) -> Vec<Rollup> {
    if faults::planted(Bug::ArrivalOrder) {
        entries.par_sort_by_key(|entry| (entry.series, entry.bucket));
    } else {
        entries.par_sort_unstable_by_key(|entry| (entry.series, entry.bucket, entry.place()));
    }
    let groups: Vec<&[Entry]> =
        entries.chunk_by(|a, b| (a.series, a.bucket) == (b.series, b.bucket)).collect();
    let mut ruled: Vec<(Rule, &[Entry])> = Vec::with_capacity(groups.len());
    for of_series in groups.chunk_by(|a, b| a[0].series == b[0].series) {
        if let Some(rule) = rule(of_series[0][0].series) {
            ruled.extend(of_series.iter().map(|group| (rule, *group)));
        }
    }
    ruled
        .into_par_iter()
        .with_min_len(64)
        .map(|(Rule { arithmetic, volume }, group)| {
            let (series, bucket) = (group[0].series, group[0].bucket);
            let volumes = volume.and_then(|volume| {
                let at = groups
                    .binary_search_by_key(&(volume, bucket), |group| (group[0].series, group[0].bucket));
                at.ok().map(|at| groups[at])
            });
            let mut volumes = volumes.unwrap_or_default();
            let end = Time::from_micros(bucket.micros() + width);
            let mut state = State::default();
            for entry in group {
                entry.add_to(&mut state, volume_at(&mut volumes, entry.time), end, &arithmetic);
            }
            state.pack();
            Rollup { series, bucket, state }
        })
        .collect()
}

/// The good count at a time; both are asked in time order.
fn volume_at(volumes: &mut &[Entry], time: Time) -> Option<f64> {
    while let [first, rest @ ..] = volumes {
        if time <= first.time {
            let good = first.time == time && !first.quality.intersects(Quality::EXCLUDED);
            return good.then_some(first.value).filter(|volume| 0.0 <= *volume);
        }
        *volumes = rest;
    }
    None
}

/// Narrow states in any order into wider ones: `wide` gives the start of the bucket that holds another's start. `rule`
/// is asked once for each series; one that it does not know is left out.
pub fn widen(
    mut narrow: Vec<Rollup>,
    wide: impl Fn(Time) -> Time + Sync,
    mut rule: impl FnMut(SeriesId) -> Option<Rule>,
) -> Vec<Rollup> {
    narrow.par_sort_unstable_by_key(|rollup| (rollup.series, rollup.bucket));
    let mut widened: Vec<Rollup> = Vec::new();
    let mut last: Option<(SeriesId, Option<Rule>)> = None;
    for Rollup { series, bucket, state } in narrow {
        let known = last.filter(|(known, _)| *known == series).map(|(_, rule)| rule);
        let known = known.unwrap_or_else(|| rule(series));
        last = Some((series, known));
        let Some(Rule { arithmetic, .. }) = known else { continue };
        let bucket = wide(bucket);
        match widened.last_mut() {
            Some(last) if (last.series, last.bucket) == (series, bucket) => {
                last.state = std::mem::take(&mut last.state).join(state, &arithmetic);
            }
            last => {
                last.into_iter().for_each(|last| last.state.pack());
                widened.push(Rollup { series, bucket, state });
            }
        }
    }
    widened.last_mut().into_iter().for_each(|last| last.state.pack());
    widened
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Kind,
        arithmetic::Meter,
        bucket::{FIVE_MINUTES, HOUR},
    };

    fn gauge(_: SeriesId) -> Option<Rule> {
        let arithmetic = Arithmetic::new(Kind::Gauge, Some(17), None, Meter::default());
        Some(Rule { arithmetic, volume: None })
    }

    fn entry((series, second, value): (i32, i64, f64)) -> Entry {
        let time = Time::from_micros(second * 1_000_000);
        let quality = if value < -900.0 { Quality::OUT_OF_RANGE } else { Quality::GOOD };
        Entry {
            series: SeriesId(series),
            bucket: time.floor(FIVE_MINUTES),
            time,
            value,
            quality,
            passage: None,
        }
    }

    proptest! {
        #[test]
        fn any_order_of_readings_gives_the_same_bits(
            readings in proptest::collection::hash_map((0..4i32, 0..8_000i64), -1e3..1e3f64, 1..300),
            seed in any::<u64>(),
        ) {
            let entries: Vec<Entry> = readings.into_iter().map(|((s, t), v)| entry((s, t, v))).collect();
            let mut shuffled = entries.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let narrow = buckets(entries, FIVE_MINUTES, gauge);
            prop_assert_eq!(&narrow, &buckets(shuffled, FIVE_MINUTES, gauge));
            let mut later = narrow.clone();
            later.reverse();
            let hour = |time: Time| time.floor(HOUR);
            prop_assert_eq!(widen(narrow, hour, gauge), widen(later, hour, gauge));
        }

        #[test]
        fn a_speed_where_nobody_drove_is_beside(
            minutes in proptest::collection::vec((0..3u32, 0..90u32), 1..5),
            seed in any::<u64>(),
        ) {
            let minutes: Vec<(f64, f64)> = minutes.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
            let rule = |series| {
                let rule = gauge(series)?;
                let arithmetic = Arithmetic { kind: Kind::Rate, is_speed: true, ..rule.arithmetic };
                Some(Rule { arithmetic, volume: (series == SeriesId(2)).then_some(SeriesId(1)) })
            };
            let mut entries: Vec<Entry> = Vec::new();
            for (minute, (volume, speed)) in (0..).zip(&minutes) {
                entries.extend([entry((1, 60 * minute, *volume)), entry((2, 60 * minute, *speed))]);
            }
            fastrand::Rng::with_seed(seed).shuffle(&mut entries);
            let states = buckets(entries, FIVE_MINUTES, rule);
            let doubted = minutes.iter().filter(|(volume, speed)| *volume == 0.0 && 0.0 < *speed).count();
            let speeds = &states[1].state;
            prop_assert_eq!((speeds.flagged, speeds.count), (doubted as i64, (minutes.len() - doubted) as i64));
            prop_assert_eq!(states[0].state.count, minutes.len() as i64);
        }

        #[test]
        fn a_wider_bucket_agrees_with_its_readings(values in proptest::collection::vec(-800.0..1e6f64, 1..200)) {
            let entries: Vec<Entry> = values.iter().zip(0..).map(|(v, i)| entry((1, i * 17, *v))).collect();
            let wide = widen(buckets(entries, FIVE_MINUTES, gauge), |_| Time::from_micros(0), gauge);
            let state = &wide[0].state;
            let numbers = state.values.unwrap();
            let exact: f64 = values.iter().sum();
            prop_assert_eq!(wide.len(), 1);
            prop_assert_eq!(state.count, values.len() as i64);
            prop_assert!((numbers.sum + numbers.residue - exact).abs() <= 1e-6);
            prop_assert_eq!(numbers.min, values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!((numbers.first.1, numbers.last.1), (values[0], values[values.len() - 1]));
        }
    }
}

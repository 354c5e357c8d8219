use std::ops::Range;

use crate::model::{Arithmetic, Fixed, Kind, State, Time, state::Counter};

/// What a series did in one bucket of any width. What crosses its borders is settled with its neighbours: a register
/// between its last reading before and its first after, a gauge that held its value, a vehicle that stayed.
#[derive(Clone, PartialEq, Debug)]
pub struct Settled {
    /// [start, end).
    pub span: Range<Time>,
    /// Of its own readings.
    pub state: State,
    /// Of a counter: what was counted inside, in the unit of the series. Between two readings it is spread evenly, so that
    /// neighbours add up to what the register says.
    pub counted: Option<Fixed>,
    /// Whether some of `counted` is spread over a gap, longer than `max_gap`.
    pub is_partial: bool,
    /// Of a gauge: value times seconds.
    pub integral: Option<f64>,
    /// Of events: microseconds that the detector was covered.
    pub on: i64,
    /// Microseconds that were observed.
    pub covered: i64,
    /// Of a counter: resets, rollovers, small steps back, and steps that were too large.
    pub breaks: Breaks,
}

/// How a register did not simply grow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Breaks {
    pub resets: u32,
    pub rollovers: u32,
    pub jitters: u32,
    pub jumps: u32,
}

impl Settled {
    pub fn seconds(&self) -> f64 {
        seconds(self.span.end.micros() - self.span.start.micros())
    }

    /// The share of the bucket that was observed, between 0 and 1.
    pub fn coverage(&self) -> f64 {
        (seconds(self.covered) / self.seconds()).min(1.0)
    }

    /// The share that was observed, where anything says it: of passages only a heartbeat does.
    pub fn said_coverage(&self, kind: Kind) -> Option<f64> {
        (kind != Kind::Event || 0 < self.covered).then(|| self.coverage())
    }

    /// The mean over the time that a gauge held its values, else of the values.
    pub fn mean(&self) -> Option<f64> {
        let held = self.integral.filter(|_| 0 < self.covered).map(|sum| sum / self.observed_s());
        held.or_else(|| self.state.values.map(|values| values.total() / self.state.count as f64))
    }

    /// The same bucket of several series, as the lanes of a road or the meters of a zone: what their registers
    /// counted is added, unless one is not known; what gauges held, and what was covered and observed, is their mean.
    pub fn beside(several: Vec<Settled>) -> Option<Settled> {
        let count = i64::try_from(several.len()).ok().filter(|count| 0 < *count)?;
        let mut all = several.into_iter().reduce(|mut all, other| {
            all.state = all.state.beside(other.state);
            all.counted = match (all.counted, other.counted) {
                (Some(one), Some(other)) => Some(one + other),
                _ => None, // of some nothing is known
            };
            all.is_partial |= other.is_partial;
            all.integral = all.integral.zip(other.integral).map(|(one, other)| one + other);
            all.on += other.on;
            all.covered += other.covered;
            all.breaks = all.breaks.plus(other.breaks);
            all
        })?;
        all.covered /= count;
        all.on /= count;
        all.integral = all.integral.map(|integral| integral / count as f64);
        Some(all)
    }

    /// Seconds that were observed.
    pub fn observed_s(&self) -> f64 {
        seconds(self.covered)
    }

    /// Seconds that its numbers speak of: of passages without a heartbeat the whole bucket, else what was observed.
    pub fn measured_s(&self, kind: Kind) -> f64 {
        match kind == Kind::Event && self.covered == 0 {
            true => self.seconds(),
            false => self.observed_s(),
        }
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Buckets of a series, each before the next and none overlapping, from its states in time order, each with the span of
/// its own bucket. States before the first bucket and after the last are its neighbours: give those up to `max_gap` away.
pub fn settle(
    spans: &[Range<Time>],
    states: &[(Range<Time>, State)],
    arithmetic: &Arithmetic,
) -> Vec<Settled> {
    let mut settled: Vec<Settled> = spans.iter().cloned().map(Settled::empty).collect();
    let mut reached: Option<Reached> = None;
    for (bucket, state) in states {
        let index = settled.partition_point(|settled| settled.span.end <= bucket.start);
        let inside = settled.get(index).is_some_and(|settled| settled.span.contains(&bucket.start));
        let at = (index, inside);
        if let Some(reached) = reached.as_ref().filter(|reached| reached.at != at) {
            cross(&mut settled, reached, state, at, arithmetic);
        }
        if inside {
            settled[index].state = std::mem::take(&mut settled[index].state).join(state.clone(), arithmetic);
        }
        reached = Some(Reached::after(reached, bucket, state, at, arithmetic));
    }
    if let Some(reached) = &reached {
        stay(&mut settled, reached);
        hold(&mut settled, reached, None, arithmetic);
    }
    settled.iter_mut().for_each(Settled::finish);
    settled
}

/// Where a series stands after some of its states.
struct Reached {
    /// The first bucket that does not end before the last state, and whether the state is in it.
    at: (usize, bool),
    last: Option<(Time, f64)>,
    counter: Option<Counter>,
    /// When a vehicle still stood on the detector after the end of the last state's bucket.
    beyond: Option<Range<Time>>,
}

impl Reached {
    fn after(
        before: Option<Reached>,
        bucket: &Range<Time>,
        state: &State,
        at: (usize, bool),
        arithmetic: &Arithmetic,
    ) -> Reached {
        let (last, counter) = before.map_or((None, None), |before| (before.last, before.counter));
        let detail = state.detail.as_ref();
        let beyond = detail.and_then(|detail| detail.passages.as_ref()).map(|passages| passages.beyond);
        Reached {
            at,
            last: state.values.map(|values| values.last).or(last),
            counter: match (counter, counter_of(state)) {
                (Some(counter), Some(later)) => Some(counter.join(&later, arithmetic)),
                (counter, later) => counter.or(later),
            },
            beyond: beyond.map(|beyond| bucket.end..Time::from_micros(bucket.end.micros() + beyond)),
        }
    }
}

fn counter_of(state: &State) -> Option<Counter> {
    state.detail.as_ref()?.counter.as_deref().copied()
}

/// The buckets that a span of time overlaps, each with the overlap.
fn overlapped(
    settled: &mut [Settled],
    span: Range<Time>,
) -> impl Iterator<Item = (&mut Settled, Range<Time>)> {
    let first = settled.partition_point(|settled| settled.span.end <= span.start);
    settled[first..].iter_mut().map_while(move |settled| {
        let overlap = settled.span.start.max(span.start)..settled.span.end.min(span.end);
        (overlap.start < overlap.end).then_some((settled, overlap))
    })
}

fn micros(span: &Range<Time>) -> i64 {
    span.end.micros() - span.start.micros()
}

/// From the last state of one bucket to the first of another.
fn cross(
    settled: &mut [Settled],
    before: &Reached,
    state: &State,
    (index, inside): (usize, bool),
    arithmetic: &Arithmetic,
) {
    stay(settled, before);
    let (Some((from, _)), Some(values)) = (before.last, &state.values) else { return };
    let between = from..values.first.0;
    let is_near = micros(&between) <= arithmetic.max_gap;
    match arithmetic.kind {
        Kind::Gauge => hold(settled, before, Some(between.end), arithmetic),
        Kind::Counter | Kind::Delta if is_near => {
            overlapped(settled, between.clone())
                .for_each(|(settled, overlap)| settled.covered += micros(&overlap));
        }
        _ => {}
    }
    let (Some(counter), Some(later)) = (before.counter, counter_of(state)) else { return };
    let joined = counter.join(&later, arithmetic);
    let amount = joined.total() - counter.total() - later.total();
    let length = micros(&between) as f64;
    let until = |time: Time| amount.part((time.micros() - between.start.micros()) as f64 / length);
    for (settled, overlap) in overlapped(settled, between.clone()) {
        *settled.counted.get_or_insert_default() += until(overlap.end) - until(overlap.start);
        settled.is_partial |= !is_near;
    }
    if inside {
        let before = Breaks::of(&counter).plus(Breaks::of(&later));
        settled[index].breaks = settled[index].breaks.plus(Breaks::of(&joined).minus(before));
    }
}

/// A vehicle that stays on the detector beyond the end of a bucket.
fn stay(settled: &mut [Settled], before: &Reached) {
    if let Some(beyond) = &before.beyond {
        overlapped(settled, beyond.clone()).for_each(|(settled, overlap)| settled.on += micros(&overlap));
    }
}

/// A gauge holds its value until the next one, as far as that is believed.
fn hold(settled: &mut [Settled], before: &Reached, until: Option<Time>, arithmetic: &Arithmetic) {
    let (Kind::Gauge, Some((from, value))) = (arithmetic.kind, before.last) else { return };
    let believed = Time::from_micros(from.micros().saturating_add(arithmetic.max_gap));
    for (settled, overlap) in overlapped(settled, from..until.map_or(believed, |until| until.min(believed))) {
        settled.covered += micros(&overlap);
        *settled.integral.get_or_insert_default() += value * seconds(micros(&overlap));
    }
}

impl Settled {
    pub(super) fn empty(span: Range<Time>) -> Settled {
        Settled {
            span,
            state: State::default(),
            counted: None,
            is_partial: false,
            integral: None,
            on: 0,
            covered: 0,
            breaks: Breaks::default(),
        }
    }

    /// Adds what lies inside to what crosses the borders.
    fn finish(&mut self) {
        self.state.pack();
        let Some(detail) = &self.state.detail else { return };
        self.covered += detail.covered;
        if let Some(integral) = detail.integral {
            *self.integral.get_or_insert_default() += integral.total();
        }
        if let Some(passages) = &detail.passages {
            self.on = (self.on + passages.on).min(micros(&self.span));
        }
        if let Some(counter) = &detail.counter {
            *self.counted.get_or_insert_default() += counter.total();
            self.breaks = self.breaks.plus(Breaks::of(counter));
        }
    }
}

impl Breaks {
    fn of(counter: &Counter) -> Breaks {
        let Counter { resets, rollovers, jitters, jumps, .. } = *counter;
        Breaks { resets, rollovers, jitters, jumps }
    }

    fn plus(self, other: Breaks) -> Breaks {
        Breaks {
            resets: self.resets + other.resets,
            rollovers: self.rollovers + other.rollovers,
            jitters: self.jitters + other.jitters,
            jumps: self.jumps + other.jumps,
        }
    }

    fn minus(self, other: Breaks) -> Breaks {
        Breaks {
            resets: self.resets.saturating_sub(other.resets),
            rollovers: self.rollovers.saturating_sub(other.rollovers),
            jitters: self.jitters.saturating_sub(other.jitters),
            jumps: self.jumps.saturating_sub(other.jumps),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Passage, Quality, arithmetic::Meter, state::Inside};

    fn at(second: i64) -> Time {
        Time::from_micros(second * 1_000_000)
    }

    /// States of buckets of a minute.
    fn states(kind: Kind, readings: &[(i64, f64, Option<f64>)]) -> (Vec<(Range<Time>, State)>, Arithmetic) {
        let arithmetic = Arithmetic::new(kind, Some(60), Some(90), Meter::default());
        let mut states: Vec<(Range<Time>, State)> = Vec::new();
        for (second, value, on_time_s) in readings {
            let start = second.div_euclid(60) * 60;
            if states.last().is_none_or(|(span, _)| span.start != at(start)) {
                states.push((at(start)..at(start + 60), State::default()));
            }
            let passage = Passage {
                id: *second,
                speed_kmh: None,
                length_m: None,
                on_time_s: *on_time_s,
                class: None,
                tags: None,
            };
            let inside = Inside {
                time: at(*second),
                value: *value,
                quality: Quality::GOOD,
                passage: Some(&passage),
                volume: None,
            };
            let (span, state) = states.last_mut().unwrap();
            state.add(&inside, span.end, &arithmetic);
        }
        (states, arithmetic)
    }

    fn spans(width: i64, count: i64) -> Vec<Range<Time>> {
        (0..count).map(|i| at(i * width)..at((i + 1) * width)).collect()
    }

    #[test]
    fn a_register_is_spread_between_its_readings() {
        let (states, arithmetic) = states(
            Kind::Counter,
            &[(30, 10.0, None), (90, 16.0, None), (400, 47.0, None), (430, 50.0, None)],
        );
        let settled = settle(&spans(60, 8), &states, &arithmetic);
        let counted: Vec<_> = settled.iter().map(|s| s.counted.map(Fixed::to_f64)).collect();
        assert_eq!(counted[..3], [Some(3.0), Some(3.0 + 3.0), Some(6.0)]);
        assert_eq!(counted.iter().flatten().sum::<f64>(), 40.0);
        let partial: Vec<bool> = settled.iter().map(|s| s.is_partial).collect();
        assert_eq!(partial, [false, true, true, true, true, true, true, false]);
        assert_eq!(
            (settled[0].observed_s(), settled[1].observed_s(), settled[3].observed_s()),
            (30.0, 30.0, 0.0)
        );
    }

    #[test]
    fn a_register_that_spoke_only_before_and_after_counted_between() {
        let (states, arithmetic) = states(Kind::Counter, &[(30, 10.0, None), (150, 22.0, None)]);
        let settled = settle(&[at(60)..at(120)], &states, &arithmetic);
        assert_eq!((settled[0].counted.map(Fixed::to_f64), settled[0].is_partial), (Some(6.0), true));
        assert_eq!(settle(&[at(600)..at(660)], &states, &arithmetic)[0].counted, None);
    }

    #[test]
    fn a_gauge_holds_until_the_next_value_or_max_gap() {
        let (states, arithmetic) =
            states(Kind::Gauge, &[(0, 10.0, None), (90, 20.0, None), (500, 5.0, None)]);
        let settled = settle(&spans(60, 5), &states, &arithmetic);
        let of: Vec<_> = settled.iter().map(|s| (s.integral, s.observed_s())).collect();
        let expected = [
            (Some(600.0), 60.0),
            (Some(300.0 + 600.0), 60.0),
            (Some(1200.0), 60.0),
            (None, 0.0),
            (None, 0.0),
        ];
        assert_eq!(of, expected);
    }

    #[test]
    fn a_vehicle_on_the_border_covers_both_buckets() {
        let (states, arithmetic) = states(Kind::Event, &[(50, 1.0, Some(25.0)), (110, 1.0, Some(4.0))]);
        let on: Vec<f64> =
            settle(&spans(60, 3), &states, &arithmetic).iter().map(|s| seconds(s.on)).collect();
        assert_eq!(on, [10.0, 19.0, 0.0]);
        let whole = settle(&spans(180, 1), &states, &arithmetic);
        assert_eq!(seconds(whole[0].on), 29.0);
    }

    #[test]
    fn lanes_beside_each_other_are_one_road() {
        let lane =
            |second: i64| states(Kind::Event, &[(second, 1.0, Some(6.0)), (second + 9, 1.0, Some(3.0))]);
        let of = |second: i64| settle(&spans(60, 1), &lane(second).0, &lane(second).1).remove(0);
        let road = Settled::beside(vec![of(5), of(2), of(30)]).unwrap();
        assert_eq!((road.state.count, seconds(road.on)), (6, 9.0));
        let values = road.state.values.unwrap();
        assert_eq!((values.first.0, values.last.0), (at(2), at(39)));
        let (silent, arithmetic) = states(Kind::Counter, &[]);
        let (heard, _) = states(Kind::Counter, &[(0, 1.0, None), (60, 3.0, None)]);
        let zone = [heard, silent].map(|states| settle(&spans(60, 1), &states, &arithmetic).remove(0));
        assert_eq!(Settled::beside(zone.to_vec()).unwrap().counted, None);
        assert_eq!(Settled::beside(Vec::new()), None);
    }

    proptest! {
        #[test]
        fn buckets_of_any_width_add_up(
            steps in proptest::collection::vec((1..200i64, 0..5_000i64), 2..60),
            width in 1..20i64,
        ) {
            let (mut second, mut register) = (0, 0);
            let readings: Vec<_> = steps.iter().map(|(seconds, litres)| {
                second += seconds;
                register += litres;
                (second, register as f64 / 1_000.0, None)
            }).collect();
            let (states, arithmetic) = states(Kind::Counter, &readings);
            let whole = readings[readings.len() - 1].1 - readings[0].1;
            let count = second / (60 * width) + 1;
            let settled = settle(&spans(60 * width, count), &states, &arithmetic);
            let sum = settled.iter().filter_map(|s| s.counted).fold(Fixed::ZERO, |sum, counted| sum + counted);
            prop_assert_eq!(sum, Fixed::new(whole));
            prop_assert!(settled.iter().all(|s| s.covered <= micros(&s.span) && 0.0 <= s.coverage()));
        }
    }
}

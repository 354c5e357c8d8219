use std::collections::BTreeMap;

use super::{Counter, Sketch, Sum, Values};
use crate::model::{Arithmetic, Kind, Passage, Quality, Time};

/// What a bucket keeps of its readings beside their plain numbers: what its kind asks for.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Detail {
    /// Microseconds that readings speak of, or that lie between two that are near enough.
    pub covered: i64,
    /// Of the values; of events, of their speeds. Not of registers.
    pub spread: Spread,
    /// Of a gauge: each value times the seconds that it held, which is until the next one or `max_gap`.
    pub integral: Option<Sum>,
    /// Of a counter. What only some kinds have stands apart: a step of the roller holds a hundred thousand of these.
    pub counter: Option<Box<Counter>>,
    /// Of events.
    pub passages: Option<Box<Passages>>,
    /// Of a mean speed whose detector counts vehicles, too.
    pub weighted: Option<Box<Weighted>>,
}

/// How values lie around their mean.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Spread {
    /// Sum of squared differences from the mean (Chan, Golub and LeVeque 1979).
    pub m2: f64,
    /// Of speeds: 1 / v, in hours a kilometre.
    pub reciprocals: Option<Sum>,
    pub sketch: Option<Sketch>,
}

/// What was measured of vehicles, or pulses.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Passages {
    /// Of those whose speed was measured, and their speeds in km/h.
    pub speeds: i64,
    pub speed: Option<Values>,
    pub lengths: i64,
    pub length_m: Sum,
    /// Microseconds that the detector was covered, inside the bucket.
    pub on: i64,
    /// Microseconds that its last vehicle stayed beyond the end of the bucket.
    pub beyond: i64,
    /// By class; those of no class are not in it.
    pub classes: BTreeMap<Box<str>, i64>,
}

/// Sums over intervals that have both a number of vehicles and their mean speed.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Weighted {
    /// Vehicles.
    pub volume: Sum,
    /// Vehicles times their speed.
    pub speed: Sum,
    /// Vehicles over their speed.
    pub slowness: Sum,
}

/// A vehicle that stands still has this speed in km/h, 0.5 m/s: its reciprocal must be a number.
pub const SPEED_MIN: f64 = 1.8;
/// More classes than any scheme of vehicles has (TMS: 9, EU: 13, FHWA: 13); the rest are counted as this one.
const CLASSES_MAX: usize = 32;
const OTHER: &str = "other";

/// A value's count, and the mean of what came before it.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub count: i64,
    pub mean: f64,
}

impl Before {
    pub fn of(count: i64, values: Option<&Values>) -> Before {
        let sum = values.map_or(0.0, |values| values.sum + values.residue);
        Before { count, mean: if count == 0 { 0.0 } else { sum / count as f64 } }
    }
}

impl Spread {
    fn add(&mut self, value: f64, before: Before, arithmetic: &Arithmetic) {
        if 0 < before.count {
            let difference = value - before.mean;
            self.m2 += difference * difference * (before.count as f64 / (before.count + 1) as f64);
        }
        if arithmetic.is_speed {
            self.reciprocals.get_or_insert_default().add(1.0 / value.max(SPEED_MIN));
        }
        if arithmetic.has_quantiles {
            self.sketch.get_or_insert_default().add(value);
        }
    }

    fn join(&mut self, earlier: Before, later: &Spread, of: Before) {
        if 0 < earlier.count && 0 < of.count {
            let difference = of.mean - earlier.mean;
            let (a, b) = (earlier.count as f64, of.count as f64);
            self.m2 += later.m2 + difference * difference * (a * b / (a + b));
        } else {
            self.m2 += later.m2;
        }
        if let Some(later) = later.reciprocals {
            self.reciprocals.get_or_insert_default().join(later);
        }
        match (&mut self.sketch, &later.sketch) {
            (Some(sketch), Some(later)) => sketch.join(later),
            (sketch @ None, later) => *sketch = later.clone(),
            (Some(_), None) => {}
        }
    }
}

impl Detail {
    /// Makes it small, as it is kept.
    pub(super) fn pack(&mut self) {
        self.spread.sketch.iter_mut().for_each(Sketch::pack);
    }
}

impl Passages {
    fn add(&mut self, time: Time, end: Time, passage: &Passage, arithmetic: &Arithmetic) -> Option<f64> {
        if let Some(on_s) = passage.on_time_s.filter(|on_s| 0.0 <= *on_s) {
            let left = end.micros() - time.micros();
            let on = (on_s.min(86_400.0) * 1e6).round() as i64;
            self.on += on.min(left);
            self.beyond = self.beyond.max(on - left);
        }
        if let Some(length_m) = passage.length_m {
            self.lengths += 1;
            self.length_m.add(length_m);
        }
        if let Some(class) = &passage.class {
            self.count_class(class, 1);
        }
        let speed = passage.speed_kmh?;
        self.speeds += 1;
        match &mut self.speed {
            None => self.speed = Some(Values::of(time, speed)),
            Some(values) => values.add(time, speed),
        }
        arithmetic.is_speed.then_some(speed)
    }

    fn count_class(&mut self, class: &str, count: i64) {
        let class =
            if self.classes.contains_key(class) || self.classes.len() < CLASSES_MAX { class } else { OTHER };
        *self.classes.entry(class.into()).or_default() += count;
    }

    fn join(&mut self, later: &Passages) {
        // What lay beyond the earlier bucket lies in the whole.
        self.on += self.beyond;
        self.beyond = later.beyond;
        self.add_numbers(later);
    }

    fn beside(&mut self, other: &Passages) {
        self.beyond += other.beyond;
        self.add_numbers(other);
    }

    fn add_numbers(&mut self, other: &Passages) {
        self.speeds += other.speeds;
        match (&mut self.speed, other.speed) {
            (Some(values), Some(other)) => values.beside(other),
            (speed, other) => *speed = speed.or(other),
        }
        self.lengths += other.lengths;
        self.length_m.join(other.length_m);
        self.on += other.on;
        other.classes.iter().for_each(|(class, count)| self.count_class(class, *count));
    }
}

impl Weighted {
    fn add(&mut self, volume: f64, speed: f64) {
        self.volume.add(volume);
        self.speed.add(volume * speed);
        self.slowness.add(volume / speed.max(SPEED_MIN));
    }

    fn join(&mut self, later: Weighted) {
        self.volume.join(later.volume);
        self.speed.join(later.speed);
        self.slowness.join(later.slowness);
    }
}

/// A reading or an event that is inside its bucket.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'i> {
    pub time: Time,
    pub value: f64,
    pub quality: Quality,
    /// What an event measured.
    pub passage: Option<&'i Passage>,
    /// Vehicles that were counted in the interval whose mean speed the value is.
    pub volume: Option<f64>,
}

impl Detail {
    /// Takes in the next reading. `last` is the one before it in its bucket; `end` is the bucket's end.
    pub(super) fn add(
        &mut self,
        inside: &Inside<'_>,
        before: Before,
        last: Option<(Time, f64)>,
        end: Time,
        arithmetic: &Arithmetic,
    ) {
        let Inside { time, value, passage, volume, .. } = *inside;
        let since = last.map(|(last, _)| time.micros() - last.micros());
        match arithmetic.kind {
            Kind::Total | Kind::Rate | Kind::Sliding => {
                self.covered += since.map_or(arithmetic.interval, |since| since.min(arithmetic.interval));
            }
            Kind::Gauge => {
                if let (Some(since), Some((_, held))) = (since, last) {
                    self.hold(held, since, arithmetic);
                }
            }
            Kind::Delta | Kind::Counter => {
                self.covered += since.filter(|since| *since <= arithmetic.max_gap).unwrap_or(0);
            }
            Kind::Event => {}
        }
        match arithmetic.kind {
            Kind::Counter => match &mut self.counter {
                None => self.counter = Some(Box::new(Counter::new(time, value))),
                Some(counter) => counter.add(time, value, arithmetic),
            },
            Kind::Event => {
                let passages = self.passages.get_or_insert_default();
                let before = Before::of(passages.speeds, passages.speed.as_ref());
                let speed = passage.and_then(|passage| passages.add(time, end, passage, arithmetic));
                if let Some(speed) = speed {
                    self.spread.add(speed, before, arithmetic);
                }
            }
            _ => self.spread.add(value, before, arithmetic),
        }
        if let (true, Some(volume)) = (arithmetic.is_speed, volume) {
            self.weighted.get_or_insert_default().add(volume, value);
        }
    }

    /// A gauge held a value for so many microseconds, as far as that is believed.
    fn hold(&mut self, value: f64, micros: i64, arithmetic: &Arithmetic) {
        let held = micros.min(arithmetic.max_gap);
        self.covered += held;
        self.integral.get_or_insert_default().add(value * (held as f64 / 1e6));
    }

    /// What `spread` is of: of events their speeds, else the values.
    fn spread_of(&self, values: Before) -> Before {
        self.passages.as_ref().map_or(values, |passages| Before::of(passages.speeds, passages.speed.as_ref()))
    }

    pub(super) fn beside(&mut self, before: Before, other: &Detail, of: Before) {
        let (before, of) = (self.spread_of(before), other.spread_of(of));
        self.spread.join(before, &other.spread, of);
        self.covered += other.covered;
        self.integral = None;
        self.counter = None;
        match (&mut self.passages, &other.passages) {
            (Some(passages), Some(other)) => passages.beside(other),
            (passages @ None, other) => *passages = other.clone(),
            (Some(_), None) => {}
        }
        if let Some(other) = &other.weighted {
            self.weighted.get_or_insert_default().join(**other);
        }
    }

    pub(super) fn join(
        &mut self,
        (before, earlier): (Before, Option<&Values>),
        later: &Detail,
        (of, values): (Before, Option<&Values>),
        arithmetic: &Arithmetic,
    ) {
        let between = earlier.zip(values).map(|(a, b)| (b.first.0.micros() - a.last.0.micros(), a.last.1));
        match (arithmetic.kind, between) {
            (Kind::Gauge, Some((micros, held))) => self.hold(held, micros, arithmetic),
            (Kind::Delta | Kind::Counter, Some((micros, _))) if micros <= arithmetic.max_gap => {
                self.covered += micros;
            }
            _ => {}
        }
        self.covered += later.covered;
        let (before, of) = (self.spread_of(before), later.spread_of(of));
        self.spread.join(before, &later.spread, of);
        if let Some(later) = later.integral {
            self.integral.get_or_insert_default().join(later);
        }
        match (&mut self.counter, &later.counter) {
            (Some(counter), Some(later)) => **counter = counter.join(later, arithmetic),
            (counter @ None, later) => *counter = later.clone(),
            (Some(_), None) => {}
        }
        match (&mut self.passages, &later.passages) {
            (Some(passages), Some(later)) => passages.join(later),
            (passages @ None, later) => *passages = later.clone(),
            (Some(_), None) => {}
        }
        if let Some(later) = &later.weighted {
            self.weighted.get_or_insert_default().join(**later);
        }
    }
}

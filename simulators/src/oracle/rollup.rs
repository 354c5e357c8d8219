//! Rollups as the rule says, and not as the code under test does: the sums of a bucket's readings in time order, wider
//! buckets joined from narrower ones in time order.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// Source bad, clock skew, out of range, implausible, stuck: counted beside a bucket, never inside.
const EXCLUDED: i32 = 1 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9;
const IMPLAUSIBLE: i32 = 1 << 8;
const FIVE_MINUTES_US: i64 = 300_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// A stored reading, or a passage with the value 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub time_us: i64,
    pub value: f64,
    pub quality: i32,
}

/// What a series must say about itself to be rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Seconds between two readings, where it has them at all.
    pub every_s: Option<i64>,
    /// Whether a reading speaks of the interval that ends at its time.
    pub ends_at_time: bool,
}

/// A bucket's numbers; floats as bits, because the promise is about bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rollup {
    pub count: i64,
    pub flagged: i64,
    pub expected: Option<u64>,
    /// Sum, residue, minimum, maximum, first, last.
    pub values: Option<[u64; 6]>,
    /// First and last.
    pub times_us: Option<(i64, i64)>,
    /// Where the bucket ends.
    pub ends_us: i64,
}

impl Rollup {
    /// Adds what the sum lost to rounding, as those see it who ask for a sum.
    pub fn settle(&mut self) {
        if let Some([sum, residue, ..]) = &mut self.values {
            *sum = (f64::from_bits(*sum) + f64::from_bits(*residue)).to_bits();
            *residue = 0;
        }
    }
}

/// The buckets of one level by series and start in microseconds.
pub type Level<S> = BTreeMap<(S, i64), Rollup>;

/// The samples of each series, by sensor and metric.
pub type Samples = BTreeMap<(Arc<str>, Arc<str>), (Interval, Vec<Sample>)>;

/// A mean speed of an interval in which the same detector counted no vehicle is implausible.
pub fn doubt(series: &mut Samples) {
    let mut doubted = Vec::new();
    for ((sensor, metric), (interval, samples)) in &*series {
        let Some(rest) = metric.strip_prefix("traffic.speed") else { continue };
        let words = rest.split('.').filter(|word| !["mean", "harmonic", "spot"].contains(word));
        let volume = "traffic.volume".to_owned() + &words.collect::<Vec<_>>().join(".");
        let Some((of_volume, volumes)) = series.get(&(sensor.clone(), volume.into())) else { continue };
        if of_volume != interval || !interval.ends_at_time {
            continue;
        }
        let is_none = |volume: &Sample| volume.value == 0.0 && volume.quality & EXCLUDED == 0;
        let nones: Vec<i64> = volumes.iter().filter(|v| is_none(v)).map(|volume| volume.time_us).collect();
        for (at, sample) in samples.iter().enumerate() {
            if 0.0 < sample.value && nones.binary_search(&sample.time_us).is_ok() {
                doubted.push(((sensor.clone(), metric.clone()), at));
            }
        }
    }
    for (name, at) in doubted {
        if let Some((_, samples)) = series.get_mut(&name) {
            samples[at].quality |= IMPLAUSIBLE;
        }
    }
}

/// Five minutes, hours and local days of `zone`, from each series' samples in time order.
pub fn levels<S: Ord + Clone>(
    samples: &BTreeMap<S, (Interval, Vec<Sample>)>,
    zone: &TimeZone,
) -> [Level<S>; 3] {
    let mut levels: [BTreeMap<(S, i64), Bucket>; 3] = Default::default();
    for (series, (interval, samples)) in samples {
        let back_us = if interval.ends_at_time { interval.every_s.unwrap_or(0) * 1_000_000 } else { 0 };
        let mut narrow: BTreeMap<i64, Bucket> = BTreeMap::new();
        for sample in samples {
            let start = floor(sample.time_us - back_us, FIVE_MINUTES_US);
            narrow.entry(start).or_default().add(sample);
        }
        for (start, bucket) in narrow {
            let day = day_start(start, zone);
            for (level, wide) in [start, floor(start, HOUR_US), day].into_iter().enumerate() {
                levels[level].entry((series.clone(), wide)).or_default().join(&bucket);
            }
        }
    }
    let mut level = 0;
    levels.map(|buckets| {
        level += 1;
        let finish = |((series, start), bucket): ((S, i64), Bucket)| {
            let ends_us = match level {
                1 => start + FIVE_MINUTES_US,
                2 => start + HOUR_US,
                _ => day_end(start, zone),
            };
            let every_s = samples.get(&series).and_then(|(interval, _)| interval.every_s);
            ((series, start), bucket.finish(start, ends_us, every_s))
        };
        buckets.into_iter().map(finish).collect()
    })
}

#[derive(Default)]
struct Bucket {
    count: i64,
    flagged: i64,
    numbers: Option<Numbers>,
}

#[derive(Clone, Copy)]
struct Numbers {
    sum: f64,
    residue: f64,
    min: f64,
    max: f64,
    first: (i64, f64),
    last: (i64, f64),
}

impl Bucket {
    fn add(&mut self, sample: &Sample) {
        if sample.quality & EXCLUDED != 0 {
            self.flagged += 1;
            return;
        }
        let Sample { time_us, value, .. } = *sample;
        let only = (time_us, value);
        let numbers = Numbers { sum: value, residue: 0.0, min: value, max: value, first: only, last: only };
        self.join(&Bucket { count: 1, flagged: 0, numbers: Some(numbers) });
    }

    fn join(&mut self, later: &Bucket) {
        self.count += later.count;
        self.flagged += later.flagged;
        self.numbers = match (self.numbers, later.numbers) {
            (Some(mine), Some(theirs)) => {
                let (sum, lost) = neumaier(mine.sum, theirs.sum);
                Some(Numbers {
                    sum,
                    residue: mine.residue + lost + theirs.residue,
                    min: mine.min.min(theirs.min),
                    max: mine.max.max(theirs.max),
                    first: mine.first,
                    last: theirs.last,
                })
            }
            (mine, theirs) => mine.or(theirs),
        };
    }

    fn finish(&self, start_us: i64, ends_us: i64, every_s: Option<i64>) -> Rollup {
        let expected = every_s.map(|every_s| (ends_us - start_us) as f64 / 1e6 / every_s as f64);
        Rollup {
            count: self.count,
            flagged: self.flagged,
            expected: expected.map(f64::to_bits),
            values: self
                .numbers
                .map(|n| [n.sum, n.residue, n.min, n.max, n.first.1, n.last.1].map(f64::to_bits)),
            times_us: self.numbers.map(|n| (n.first.0, n.last.0)),
            ends_us,
        }
    }
}

/// A sum and what it lost to rounding (Neumaier 1974).
fn neumaier(sum: f64, value: f64) -> (f64, f64) {
    let total = sum + value;
    let lost = if value.abs() <= sum.abs() { (sum - total) + value } else { (value - total) + sum };
    (total, lost)
}

fn floor(time_us: i64, width_us: i64) -> i64 {
    time_us.div_euclid(width_us) * width_us
}

fn day_start(time_us: i64, zone: &TimeZone) -> i64 {
    let date = zone.to_datetime(timestamp(time_us)).date();
    date.to_zoned(zone.clone()).map_or(i64::MAX, |start| start.timestamp().as_microsecond())
}

fn day_end(start_us: i64, zone: &TimeZone) -> i64 {
    let next = zone.to_datetime(timestamp(start_us)).date().saturating_add(1.day());
    next.to_zoned(zone.clone()).map_or(i64::MAX, |end| end.timestamp().as_microsecond())
}

fn timestamp(time_us: i64) -> Timestamp {
    Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minute: i64, value: f64) -> Sample {
        Sample { time_us: minute * 60_000_000, value, quality: 0 }
    }

    #[test]
    fn an_interval_belongs_to_the_bucket_of_its_start() {
        let minutes = Interval { every_s: Some(60), ends_at_time: true };
        let samples = BTreeMap::from([("volume", (minutes, (1..=6).map(|m| sample(m, 1.0)).collect()))]);
        let [narrow, hours, days] = levels(&samples, &TimeZone::UTC);
        let counts: Vec<i64> = narrow.values().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [5, 1]);
        assert_eq!(narrow[&("volume", 0)].expected, Some(5f64.to_bits()));
        assert_eq!((hours[&("volume", 0)].count, days[&("volume", 0)].count), (6, 6));
    }

    #[test]
    fn what_a_plain_sum_loses_is_kept_beside_it() {
        let values = [1.0, 1e100, 1.0, -1e100];
        let samples = values.iter().zip(0..).map(|(value, minute)| sample(minute, *value)).collect();
        let [narrow, ..] = levels(&BTreeMap::from([(1, (Interval::default(), samples))]), &TimeZone::UTC);
        let values = narrow[&(1, 0)].values.unwrap().map(f64::from_bits);
        assert_eq!(values[0] + values[1], 2.0);
    }

    #[test]
    fn a_speed_of_no_vehicle_is_doubted() {
        let minutes = Interval { every_s: Some(60), ends_at_time: true };
        let name = |metric: &str| (Arc::from("a"), Arc::from(metric));
        let speeds = vec![sample(1, 50.0), sample(2, 40.0), sample(3, 0.0)];
        let volumes = vec![sample(1, 0.0), sample(2, 3.0), sample(3, 0.0)];
        let mut series = Samples::from([
            (name("traffic.speed.mean.lane1"), (minutes, speeds)),
            (name("traffic.volume.lane1"), (minutes, volumes)),
        ]);
        doubt(&mut series);
        let qualities = |metric| series[&name(metric)].1.iter().map(|s| s.quality).collect::<Vec<_>>();
        assert_eq!(qualities("traffic.speed.mean.lane1"), [IMPLAUSIBLE, 0, 0]);
        assert_eq!(qualities("traffic.volume.lane1"), [0, 0, 0]);
    }

    #[test]
    fn a_flagged_reading_is_counted_beside() {
        let bad = Sample { quality: 1 << 7, ..sample(0, 5.0) };
        let [narrow, ..] = levels(&BTreeMap::from([(1, (Interval::default(), vec![bad]))]), &TimeZone::UTC);
        assert_eq!((narrow[&(1, 0)].count, narrow[&(1, 0)].flagged, narrow[&(1, 0)].values), (0, 1, None));
    }
}

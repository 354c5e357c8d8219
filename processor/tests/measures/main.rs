//! The measures on real feeds with known answers, from readings to numbers.

mod electricity;
mod traffic;
mod water;

use std::{
    fs::File,
    io::{BufReader, Read},
    ops::Range,
    path::PathBuf,
};

use processor::{
    aggregate::{self, Entry},
    measure::{Settled, settle},
    model::{Arithmetic, Quality, SeriesId, State, Time, arithmetic::Rule},
};

/// A file of the feeds, unpacked; `None`, and said so, where they are not there.
fn feed(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    let mut text = String::new();
    match name.ends_with(".gz") {
        true => flate2::read::GzDecoder::new(BufReader::new(file)).read_to_string(&mut text),
        false => BufReader::new(file).read_to_string(&mut text),
    }
    .unwrap();
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

fn rows(text: &str) -> impl Iterator<Item = csv::StringRecord> + use<'_> {
    csv::ReaderBuilder::new().from_reader(text.as_bytes()).into_records().map(Result::unwrap)
}

fn at(second: f64) -> Time {
    Time::from_seconds(second).unwrap()
}

fn time(text: &str) -> Time {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// Buckets of a width from one instant on.
fn spans(from: Time, micros: i64, count: i64) -> Vec<Range<Time>> {
    let start = |i: i64| Time::from_micros(from.micros() + i * micros);
    (0..count).map(|i| start(i)..start(i + 1)).collect()
}

/// Readings of one series, in any order, become settled buckets by way of states as narrow as `narrow`.
fn settled(
    readings: impl Iterator<Item = (Time, f64, Quality)>,
    narrow: i64,
    wide: &[Range<Time>],
    arithmetic: Arithmetic,
) -> Vec<Settled> {
    let entry = |(time, value, quality): (Time, f64, Quality)| {
        let bucket = Time::from_micros(time.micros() - arithmetic.interval).floor(narrow);
        Entry { series: SeriesId(1), bucket, time, value, quality, passage: None }
    };
    let states = states(readings.map(entry).collect(), narrow, arithmetic);
    settle(wide, &states, &arithmetic)
}

fn states(entries: Vec<Entry>, narrow: i64, arithmetic: Arithmetic) -> Vec<(Range<Time>, State)> {
    let rollups = aggregate::buckets(entries, narrow, |_| Some(Rule { arithmetic, volume: None }));
    let span = |bucket: Time| bucket..Time::from_micros(bucket.micros() + narrow);
    rollups.into_iter().map(|rollup| (span(rollup.bucket), rollup.state)).collect()
}

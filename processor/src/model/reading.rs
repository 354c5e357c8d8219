use xxhash_rust::xxh3::xxh3_64;

use super::{Quality, SeriesId, Time};

/// One value of one series at one time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    pub time: Time,
    /// In the unit of the series; always finite.
    pub value: f64,
    pub series: SeriesId,
    pub quality: Quality,
    /// The message it came in, as an index into the batch.
    pub message: u32,
}

/// One passage of a vehicle over a detector, or one pulse.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When it began: a vehicle's entry.
    pub time: Time,
    /// Tells events of one series at one time apart.
    pub id: i64,
    pub speed_kmh: Option<f64>,
    pub length_m: Option<f64>,
    pub on_time_s: Option<f64>,
    pub class: Option<Box<str>>,
    /// A JSON object of texts that stand beside what was measured: not compared when the event comes again, because a
    /// pseudonym's key may be gone by then.
    pub tags: Option<Box<str>>,
    pub series: SeriesId,
    pub quality: Quality,
    pub message: u32,
}

impl Reading {
    /// Two readings with one key are the same fact exactly when their fingerprints agree.
    pub fn fingerprint(&self) -> i64 {
        fingerprint_of_value(self.value)
    }
}

/// The bits of a value; 0 and -0 are the same fact.
pub fn fingerprint_of_value(value: f64) -> i64 {
    (value + 0.0).to_bits() as i64
}

impl Event {
    pub fn fingerprint(&self) -> i64 {
        xxh3_64(self.to_string().as_bytes()) as i64
    }
}

impl std::fmt::Display for Event {
    /// Everything that was measured, as `conflict` keeps it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| (value + 0.0).to_string());
        write!(
            f,
            "speed {} km/h, length {} m, on {} s, class {}",
            number(self.speed_kmh),
            number(self.length_m),
            number(self.on_time_s),
            self.class.as_deref().unwrap_or("-")
        )
    }
}

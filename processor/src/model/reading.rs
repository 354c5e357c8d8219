use super::{Passage, Quality, SeriesId, Time};

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

/// A passage of a vehicle over a detector, or a pulse, of one series.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When it began: a vehicle's entry.
    pub time: Time,
    pub passage: Passage,
    pub series: SeriesId,
    pub quality: Quality,
    /// The message it came in, as an index into the batch.
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

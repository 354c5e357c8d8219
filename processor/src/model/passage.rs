use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// What was measured as a vehicle passed a detector, or of a pulse.
#[derive(Clone, PartialEq, Debug)]
pub struct Passage {
    /// Tells passages of one series at one time apart.
    pub id: i64,
    pub speed_kmh: Option<f64>,
    pub length_m: Option<f64>,
    pub on_time_s: Option<f64>,
    pub class: Option<Box<str>>,
    /// A JSON object of texts that stand beside what was measured: not compared when the passage comes again, because a
    /// pseudonym's key may be gone by then.
    pub tags: Option<Box<str>>,
}

impl Passage {
    /// Two passages with one key are the same fact exactly when their fingerprints agree.
    pub fn fingerprint(&self) -> i64 {
        xxh3_64(self.to_string().as_bytes()) as i64
    }
}

impl fmt::Display for Passage {
    /// Everything that was measured, as `conflict` keeps it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

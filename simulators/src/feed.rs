//! The bundled feeds: recordings of two simulated cities, with their registries.
//!
//! `cargo run -p simulators --example bundle -- FOLDER` makes them again from their sources.

#[cfg(test)]
mod tests;

use crate::recording::{Recording, RecordingError};

/// A bundled feed.
#[derive(Debug, Clone, Copy)]
pub struct Feed {
    pub name: &'static str,
    /// A recording, of version 1 of [`crate::recording`].
    pub recording: &'static [u8],
    /// Columns named as those of the table `segment` or `zone`: what its sensors stand in.
    pub places_csv: &'static str,
    /// Columns named as those of the table `sensor`.
    pub sensors_csv: &'static str,
    /// Columns named as those of the table `series`.
    pub series_csv: &'static str,
}

/// Every bundled feed.
///
/// - `sumo-grid`: 90 minutes of 48 detectors in a grid of signalised streets, from Eclipse SUMO: every
///   passage, and one-minute intervals. Starts 2024-05-14T05:00:00Z.
/// - `wntr-net3`: 7 days of 61 water registers in EPANET's network Net3, from WNTR, as they arrive: with losses,
///   repeats, late messages, a rollover, an exchange. Starts 2024-01-01T00:00:00Z.
pub const ALL: &[Feed] = &[
    Feed {
        name: "sumo-grid",
        recording: include_bytes!("../feeds/sumo-grid/recording.jsonl.zst"),
        places_csv: include_str!("../feeds/sumo-grid/segments.csv"),
        sensors_csv: include_str!("../feeds/sumo-grid/sensors.csv"),
        series_csv: include_str!("../feeds/sumo-grid/series.csv"),
    },
    Feed {
        name: "wntr-net3",
        recording: include_bytes!("../feeds/wntr-net3/recording.jsonl.zst"),
        places_csv: include_str!("../feeds/wntr-net3/zones.csv"),
        sensors_csv: include_str!("../feeds/wntr-net3/sensors.csv"),
        series_csv: include_str!("../feeds/wntr-net3/series.csv"),
    },
];

impl Feed {
    pub fn named(name: &str) -> Option<Feed> {
        ALL.iter().copied().find(|feed| feed.name == name)
    }

    /// The files of its registry by name.
    pub fn registry(&self) -> [(&'static str, &'static str); 3] {
        [("places.csv", self.places_csv), ("sensors.csv", self.sensors_csv), ("series.csv", self.series_csv)]
    }

    /// # Errors
    /// Only when the program was built from a damaged bundle.
    pub fn recording(&self) -> Result<Recording, RecordingError> {
        Recording::embedded(self.recording)
    }
}

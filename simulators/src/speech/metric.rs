//! What the simulated city measures.

use crate::observation::Reading;

/// The metric of passages.
pub const PASSAGE: &str = "traffic.vehicle";
pub const VOLUME: &str = "traffic.volume";
pub const OCCUPANCY: &str = "traffic.occupancy";
pub const SPEED: &str = "traffic.speed.mean";
pub const IMPORT: &str = "energy.active.import";
pub const EXPORT: &str = "energy.active.export";
pub const POWER: &str = "power.active";
pub const VOLTAGE: &str = "voltage";
pub const WATER: &str = "water.volume.total";
pub const LEVEL: &str = "water.level";
pub const GAS: &str = "gas.volume.total";
pub const HEAT: &str = "heat.energy.total";
pub const TEMPERATURE: &str = "air.temperature";
pub const HUMIDITY: &str = "air.humidity";
pub const PRESSURE: &str = "air.pressure";

/// A mile an hour in km/h, as a fraction of whole numbers, and as it is converted for the tables.
pub(super) const MILE: (i64, i64) = (1_609_344, 1_000_000);
pub(super) const MILE_KMH: f64 = 1.609_344;

/// Metrics of readings, and the UCUM codes of the units in which they are said and kept.
pub const UNITS: [(&str, &str); 23] = [
    (VOLUME, "{veh}"),
    (OCCUPANCY, "%"),
    (SPEED, "km/h"),
    ("parking.free", "1"),
    (IMPORT, "kW.h"),
    (EXPORT, "kW.h"),
    (POWER, "W"),
    (VOLTAGE, "V"),
    (WATER, "m3"),
    ("water.flow", "m3/h"),
    ("water.pressure", "bar"),
    (LEVEL, "m"),
    (GAS, "m3"),
    (HEAT, "kW.h"),
    (TEMPERATURE, "Cel"),
    (HUMIDITY, "%"),
    (PRESSURE, "hPa"),
    ("air.pm10", "ug/m3"),
    ("air.pm2_5", "ug/m3"),
    ("air.no2", "ug/m3"),
    ("noise.level", "dB{A}"),
    ("wind.speed", "m/s"),
    ("rain.intensity", "mm/h"),
];

/// The unit of a metric of readings that the city measures.
pub fn unit(metric: &str) -> Option<&'static str> {
    UNITS.iter().find(|(known, _)| *known == metric).map(|(_, unit)| *unit)
}

/// Whether a reading is in its metric's unit.
pub(super) fn is_in_unit(reading: &Reading<'_>) -> bool {
    unit(reading.metric) == Some(reading.unit)
}

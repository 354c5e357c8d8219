//! What the registry says of the city's series.

use super::role::Role;
use crate::observation::Decimal;

/// One metric of one role.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    pub metric: &'static str,
    /// UCUM.
    pub unit: &'static str,
    pub kind: &'static str,
    /// Where its register begins anew, in its unit.
    pub modulus: Option<i64>,
    /// Decimal places of its values.
    pub places: u8,
    pub range: (f64, f64),
}

const fn series(
    metric: &'static str,
    unit: &'static str,
    kind: &'static str,
    places: u8,
    range: (f64, f64),
) -> Series {
    Series { metric, unit, kind, modulus: None, places, range }
}

const fn register(metric: &'static str, unit: &'static str, modulus: i64) -> Series {
    Series { modulus: Some(modulus), ..series(metric, unit, "counter", 3, (0.0, modulus as f64)) }
}

pub const VOLUME: Series = series("traffic.volume", "{veh}", "total", 0, (0.0, 120.0));
pub const OCCUPANCY: Series = series("traffic.occupancy", "%", "rate", 1, (0.0, 100.0));
pub const SPEED: Series = series("traffic.speed.mean", "km/h", "rate", 1, (0.0, 200.0));
pub const VEHICLE: Series = series("traffic.vehicle", "{veh}", "event", 0, (0.0, 1.0));
pub const FREE: Series = series("parking.free", "1", "gauge", 0, (0.0, 1_000.0));
pub const IMPORT: Series = register("energy.active.import", "kW.h", 100_000);
pub const WORK_IMPORT: Series = register("energy.active.import", "kW.h", 10_000_000);
pub const EXPORT: Series = register("energy.active.export", "kW.h", 100_000);
pub const POWER: Series = series("power.active", "W", "gauge", 0, (0.0, 2_000_000.0));
pub const WATER: Series = register("water.volume.total", "m3", 100_000);
pub const INFLOW: Series = series("water.flow", "m3/h", "gauge", 2, (-50.0, 500.0));
pub const STORED: Series = series("water.volume.total.stored", "m3", "total", 3, (-50.0, 50.0));
pub const LEVEL: Series = series("water.level", "m", "gauge", 4, (0.0, 6.0));
pub const PRESSURE: Series = series("water.pressure", "bar", "gauge", 2, (0.0, 12.0));
pub const GAS: Series = register("gas.volume.total", "m3", 100_000);
pub const HEAT: Series = register("heat.energy.total", "kW.h", 1_000_000);
pub const FLOW_TEMPERATURE: Series = series("heat.temperature.flow", "Cel", "gauge", 1, (0.0, 130.0));
pub const TEMPERATURE: Series = series("air.temperature", "Cel", "gauge", 1, (-60.0, 60.0));
pub const HUMIDITY: Series = series("air.humidity", "%", "gauge", 0, (0.0, 100.0));
pub const WIND: Series = series("wind.speed", "m/s", "gauge", 1, (0.0, 80.0));
pub const RAIN: Series = series("rain.intensity", "mm/h", "gauge", 1, (0.0, 300.0));
pub const PM10: Series = series("air.pm10", "ug/m3", "gauge", 1, (0.0, 2_000.0));
pub const PM2_5: Series = series("air.pm2_5", "ug/m3", "gauge", 1, (0.0, 1_000.0));
pub const NO2: Series = series("air.no2", "ug/m3", "gauge", 1, (0.0, 1_000.0));
pub const NOISE: Series = series("noise.level", "dB{A}", "gauge", 1, (20.0, 130.0));

/// The series of a role.
pub fn of(role: Role) -> &'static [Series] {
    match role {
        Role::Loop | Role::QuickLoop => &[VOLUME, OCCUPANCY, SPEED],
        Role::Passages => &[VEHICLE],
        Role::Radar => &[VOLUME, SPEED],
        Role::Parking => &[FREE],
        Role::HomePower => &[IMPORT, POWER],
        Role::WorkPower | Role::Feeder => &[WORK_IMPORT, POWER],
        Role::Solar => &[IMPORT, EXPORT, POWER],
        Role::WaterCustomer => &[WATER],
        Role::WaterInlet => &[WATER, INFLOW],
        Role::Tank => &[LEVEL, STORED],
        Role::WaterPressure => &[PRESSURE],
        Role::Gas => &[GAS],
        Role::Heat => &[HEAT, FLOW_TEMPERATURE],
        Role::Air => &[PM10, PM2_5, NO2, TEMPERATURE],
        Role::Weather => &[TEMPERATURE, HUMIDITY, WIND, RAIN],
        Role::Noise => &[NOISE],
    }
}

impl Series {
    /// Whether its readings speak of the interval that ends at their time.
    pub fn is_interval(&self) -> bool {
        matches!(self.kind, "total" | "rate")
    }

    /// Where its register begins anew, in digits of its values.
    pub fn modulus_digits(&self) -> Option<i64> {
        self.modulus.map(|modulus| modulus * 10i64.pow(u32::from(self.places)))
    }

    /// A measured value, as the sensor shows it.
    pub fn shown(&self, value: f64) -> Decimal {
        Decimal::nearest(value, self.places)
    }

    /// A register of whole thousandths.
    pub fn register(&self, thousandths: i64) -> Decimal {
        let digits = self.modulus_digits().map_or(thousandths, |modulus| thousandths.rem_euclid(modulus));
        Decimal::new(digits, self.places)
    }
}

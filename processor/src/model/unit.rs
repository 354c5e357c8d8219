//! Linear conversion between units of one quantity, by their UCUM codes.

/// `to = from * scale + offset`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conversion {
    pub scale: f64,
    pub offset: f64,
}

/// (code, quantity, size of one unit in the quantity's base unit, zero point in the base unit).
const UNITS: [(&str, &str, f64, f64); 36] = [
    ("km/h", "speed", 1.0, 0.0),
    ("m/s", "speed", 3.6, 0.0),
    ("[mi_i]/h", "speed", 1.609_344, 0.0),
    ("%", "ratio", 1.0, 0.0),
    ("1", "ratio", 100.0, 0.0),
    ("m", "length", 1.0, 0.0),
    ("cm", "length", 0.01, 0.0),
    ("km", "length", 1000.0, 0.0),
    ("s", "time", 1.0, 0.0),
    ("ms", "time", 0.001, 0.0),
    ("min", "time", 60.0, 0.0),
    ("h", "time", 3600.0, 0.0),
    ("m3", "volume", 1.0, 0.0),
    ("L", "volume", 0.001, 0.0),
    ("m3/h", "flow", 1.0, 0.0),
    ("L/h", "flow", 0.001, 0.0),
    ("L/s", "flow", 3.6, 0.0),
    ("L/min", "flow", 0.06, 0.0),
    ("kW.h", "energy", 1.0, 0.0),
    ("W.h", "energy", 0.001, 0.0),
    ("MW.h", "energy", 1000.0, 0.0),
    ("kW", "power", 1.0, 0.0),
    ("W", "power", 0.001, 0.0),
    ("MW", "power", 1000.0, 0.0),
    ("V", "voltage", 1.0, 0.0),
    ("kV", "voltage", 1000.0, 0.0),
    ("A", "current", 1.0, 0.0),
    ("mA", "current", 0.001, 0.0),
    ("kPa", "pressure", 1.0, 0.0),
    ("Pa", "pressure", 0.001, 0.0),
    ("bar", "pressure", 100.0, 0.0),
    ("Cel", "temperature", 1.0, 0.0),
    ("K", "temperature", 1.0, -273.15),
    ("[degF]", "temperature", 5.0 / 9.0, -160.0 / 9.0),
    ("ug/m3", "concentration", 1.0, 0.0),
    ("mg/m3", "concentration", 1000.0, 0.0),
];

/// How to convert; `None` where the units are not known to measure the same quantity.
pub fn conversion(from: &str, to: &str) -> Option<Conversion> {
    if from == to {
        return Some(Conversion { scale: 1.0, offset: 0.0 });
    }
    let unit = |code| UNITS.iter().find(|unit| unit.0 == code);
    let (from, to) = (unit(from)?, unit(to)?);
    (from.1 == to.1).then(|| Conversion { scale: from.2 / to.2, offset: (from.3 - to.3) / to.2 })
}

impl Conversion {
    pub fn apply(self, value: f64) -> f64 {
        value * self.scale + self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_agree_with_known_pairs() {
        for (value, from, to, expected) in [
            (10.0, "m/s", "km/h", 36.0),
            (0.5, "1", "%", 50.0),
            (0.0, "Cel", "K", 273.15),
            (212.0, "[degF]", "Cel", 100.0),
            (1500.0, "L", "m3", 1.5),
        ] {
            let converted = conversion(from, to).unwrap().apply(value);
            assert!((converted - expected).abs() < 1e-9, "{value} {from} is {converted} {to}");
        }
        assert_eq!(conversion("m/s", "kg"), None);
        assert_eq!(conversion("m/s", "m3"), None);
    }
}

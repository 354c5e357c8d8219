//! Units by their UCUM codes (<https://ucum.org/ucum>), and linear conversion between those of one quantity.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// `to = from * scale + offset`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conversion {
    pub scale: f64,
    pub offset: f64,
}

impl Conversion {
    pub fn apply(self, value: f64) -> f64 {
        value * self.scale + self.offset
    }
}

/// How to convert; `None` where the units are not known to measure the same quantity.
pub fn conversion(from: &str, to: &str) -> Option<Conversion> {
    if from == to {
        return Some(Conversion { scale: 1.0, offset: 0.0 });
    }
    let (from, to) = (measure(from)?, measure(to)?);
    // A pure number counts whatever is counted.
    let counts = |a: &Measure<'_>, b: &Measure<'_>| {
        a.dimensions == NUMBER && a.times == a.parts && b.dimensions == NUMBER && a.tags.is_empty()
    };
    let same = from.dimensions == to.dimensions && from.tags == to.tags;
    (same || counts(&from, &to) || counts(&to, &from)).then(|| Conversion {
        scale: (from.times * to.parts) / (from.parts * to.times),
        offset: (from.offset - to.offset) * to.parts / to.times,
    })
}

/// Whether a code is UCUM, as far as sensors use it.
pub fn is_known(code: &str) -> bool {
    measure(code).is_some()
}

/// The UCUM code for what a payload says: UN/CEFACT recommendation 20 codes, everyday spellings; anything else is
/// returned as it is.
pub fn ucum(text: &str) -> &str {
    static CODES: LazyLock<HashMap<&str, &str, foldhash::fast::RandomState>> = LazyLock::new(|| {
        let codes = ALIASES.iter().flat_map(|(code, names)| names.iter().map(move |name| (*name, *code)));
        codes.collect()
    });
    let text = text.trim();
    CODES.get(text).copied().unwrap_or(text)
}

/// UCUM codes, and what payloads say for them.
const ALIASES: [(&str, &[&str]); 74] = [
    ("1", &["", "C62", "count"]),
    ("L", &["LTR", "l", "lt", "liter", "litre", "liters", "litres"]),
    ("m3", &["MTQ", "m³", "m^3", "cbm"]),
    ("L/h", &["E32", "l/h"]),
    ("L/min", &["L2", "l/min", "lpm"]),
    ("L/s", &["G51", "l/s"]),
    ("m3/h", &["MQH", "m³/h", "m^3/h", "m3h"]),
    ("m3/s", &["MQS", "m³/s"]),
    ("kW.h", &["KWH", "kWh", "kwh"]),
    ("W.h", &["WHR", "Wh", "wh"]),
    ("MW.h", &["MWH", "MWh"]),
    ("GW.h", &["GWH", "GWh"]),
    ("W", &["WTT", "watt", "Watt"]),
    ("kW", &["KWT", "kw"]),
    ("MW", &["MAW"]),
    ("V", &["VLT", "volt", "Volt"]),
    ("kV", &["KVT"]),
    ("mV", &["2Z"]),
    ("A", &["AMP", "ampere"]),
    ("mA", &["4K"]),
    ("Hz", &["HTZ"]),
    ("Cel", &["CEL", "°C", "℃", "degC", "celsius", "Celsius"]),
    ("[degF]", &["FAH", "°F", "℉", "degF"]),
    ("K", &["KEL"]),
    ("mg/m3", &["GP", "mg/m³"]),
    ("ug/m3", &["GQ", "µg/m³", "μg/m³", "µg/m3", "μg/m3", "ug/m³"]),
    ("%", &["P1", "pct", "percent", "%RH"]),
    ("[ppm]", &["59", "ppm"]),
    ("[ppb]", &["61", "ppb"]),
    ("m", &["MTR"]),
    ("km", &["KMT"]),
    ("cm", &["CMT"]),
    ("mm", &["MMT"]),
    ("km/h", &["KMH", "kmh", "kph", "kmph", "km/hr"]),
    ("m/s", &["MTS", "mps"]),
    ("[mi_i]/h", &["HM", "mph", "mi/h"]),
    ("kg", &["KGM"]),
    ("g", &["GRM"]),
    ("t", &["TNE"]),
    ("Pa", &["PAL"]),
    ("kPa", &["KPA"]),
    ("hPa", &["A97"]),
    ("mbar", &["MBR"]),
    ("bar", &["BAR"]),
    ("[psi]", &["psi"]),
    ("lx", &["LUX", "lux"]),
    ("dB", &["2N"]),
    ("dB{A}", &["dBA", "dB(A)"]),
    ("s", &["SEC", "sec", "secs", "seconds"]),
    ("ms", &["C26", "msec"]),
    ("min", &["MIN", "minutes"]),
    ("h", &["HUR", "hr", "hours"]),
    ("d", &["DAY", "days"]),
    ("V.A", &["D46", "VA"]),
    ("kV.A", &["KVA", "kVA"]),
    ("V.A{reactive}", &["D44", "var", "VAr", "VAR"]),
    ("kV.A{reactive}", &["KVR", "kvar", "kVAr"]),
    ("V.A.h{reactive}", &["varh", "VArh"]),
    ("kV.A.h{reactive}", &["K3", "kvarh", "kVArh", "kVARh"]),
    ("V.A.h", &["VAh"]),
    ("kV.A.h", &["kVAh"]),
    ("J", &["JOU"]),
    ("kJ", &["KJO"]),
    ("MJ", &["3B"]),
    ("GJ", &["GV"]),
    ("W/m2", &["D54", "W/m²"]),
    ("deg", &["DD", "°"]),
    ("{veh}", &["veh", "vehicles", "kpl"]),
    ("{veh}/h", &["veh/h", "kpl/h", "vehicles/h"]),
    ("{pcu}/h", &["pcu/h"]),
    ("[mi_i]", &["mi"]),
    ("[ft_i]", &["ft"]),
    ("[gal_us]/min", &["gpm"]),
    ("Ohm", &["Ω", "ohm"]),
];

/// The unit that ends a name as wmbusmeters writes them, and the name before it: `total_m3`.
pub fn suffix(name: &str) -> Option<(&str, &'static str)> {
    let (before, suffix) = name.rsplit_once('_')?;
    let unit = match suffix {
        "m3" => "m3",
        "l" => "L",
        "m3h" => "m3/h",
        "lh" => "L/h",
        "kwh" => "kW.h",
        "wh" => "W.h",
        "gj" => "GJ",
        "mj" => "MJ",
        "kw" => "kW",
        "w" => "W",
        "kva" => "kV.A",
        "kvah" => "kV.A.h",
        "kvar" => "kV.A{reactive}",
        "kvarh" => "kV.A.h{reactive}",
        "v" => "V",
        "a" => "A",
        "hz" => "Hz",
        "bar" => "bar",
        "pa" => "Pa",
        "c" => "Cel",
        "k" => "K",
        "f" => "[degF]",
        "rh" | "pct" => "%",
        "hca" => "{hca}",
        "dbm" => "dB[mW]",
        "s" => "s",
        "min" => "min",
        "h" => "h",
        "m" => "m",
        "ppm" => "[ppm]",
        "counter" => "1",
        _ => return None,
    };
    (!before.is_empty()).then_some((before, unit))
}

/// The unit in which every series of a metric is kept, by the longest name that begins the metric's; `None` leaves it to
/// the first series.
pub fn storage(metric: &str) -> Option<&'static str> {
    const UNITS: [(&str, &str); 33] = [
        ("traffic.volume", "{veh}"),
        ("traffic.vehicle", "{veh}"),
        ("traffic.flow", "{veh}/h"),
        ("traffic.occupancy", "%"),
        ("traffic.speed", "km/h"),
        ("traffic.headway", "s"),
        ("traffic.travel_time", "s"),
        ("energy.active", "kW.h"),
        ("energy.reactive", "kV.A.h{reactive}"),
        ("energy.apparent", "kV.A.h"),
        ("power.active", "W"),
        ("power.reactive", "V.A{reactive}"),
        ("power.apparent", "V.A"),
        ("power.factor", "1"),
        ("voltage", "V"),
        ("current", "A"),
        ("frequency", "Hz"),
        ("water.volume", "m3"),
        ("water.flow", "m3/h"),
        ("water.pressure", "bar"),
        ("water.level", "m"),
        ("water.temperature", "Cel"),
        ("gas.volume", "m3"),
        ("gas.flow", "m3/h"),
        ("heat.energy", "kW.h"),
        ("heat.power", "kW"),
        ("air.temperature", "Cel"),
        ("air.humidity", "%"),
        ("air.pressure", "hPa"),
        ("air.pm10", "ug/m3"),
        ("air.pm2_5", "ug/m3"),
        ("air.no2", "ug/m3"),
        ("noise.level", "dB{A}"),
    ];
    let begins =
        |name: &str| metric.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    UNITS.iter().filter(|(name, _)| begins(name)).max_by_key(|(name, _)| name.len()).map(|(_, unit)| *unit)
}

/// Exponents of metre, gram, second, kelvin, ampere, candela, mole, bit.
type Dimensions = [i8; 8];

const NUMBER: Dimensions = [0; 8];

/// A unit in terms of the base units: `base = value * times / parts + offset`. As a fraction, so that what is exact in
/// decimals, as 3.6 km/h are 1 m/s, stays exact.
#[derive(Clone, PartialEq, Debug)]
struct Measure<'c> {
    times: f64,
    parts: f64,
    offset: f64,
    dimensions: Dimensions,
    /// What is counted, and what dimensions do not tell apart: `{veh}`, apparent and reactive power, decibels.
    tags: Vec<Cow<'c, str>>,
}

/// (code, whether it takes prefixes, size in base units, dimensions)
const ATOMS: [(&str, bool, f64, Dimensions); 47] = [
    ("m", true, 1.0, [1, 0, 0, 0, 0, 0, 0, 0]),
    ("g", true, 1.0, [0, 1, 0, 0, 0, 0, 0, 0]),
    ("s", true, 1.0, [0, 0, 1, 0, 0, 0, 0, 0]),
    ("K", true, 1.0, [0, 0, 0, 1, 0, 0, 0, 0]),
    ("A", true, 1.0, [0, 0, 0, 0, 1, 0, 0, 0]),
    ("cd", true, 1.0, [0, 0, 0, 0, 0, 1, 0, 0]),
    ("mol", true, 1.0, [0, 0, 0, 0, 0, 0, 1, 0]),
    ("bit", true, 1.0, [0, 0, 0, 0, 0, 0, 0, 1]),
    ("By", true, 8.0, [0, 0, 0, 0, 0, 0, 0, 1]),
    ("Hz", true, 1.0, [0, 0, -1, 0, 0, 0, 0, 0]),
    ("Bq", true, 1.0, [0, 0, -1, 0, 0, 0, 0, 0]),
    ("N", true, 1e3, [1, 1, -2, 0, 0, 0, 0, 0]),
    ("Pa", true, 1e3, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("bar", true, 1e8, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("m[H2O]", true, 9.806_65e6, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("m[Hg]", true, 1.333_22e8, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("[psi]", false, 6.894_757_293_168_361e6, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("atm", false, 1.013_25e8, [-1, 1, -2, 0, 0, 0, 0, 0]),
    ("J", true, 1e3, [2, 1, -2, 0, 0, 0, 0, 0]),
    ("cal", true, 4.184e3, [2, 1, -2, 0, 0, 0, 0, 0]),
    ("W", true, 1e3, [2, 1, -3, 0, 0, 0, 0, 0]),
    ("V", true, 1e3, [2, 1, -3, 0, -1, 0, 0, 0]),
    ("C", true, 1.0, [0, 0, 1, 0, 1, 0, 0, 0]),
    ("Ohm", true, 1e3, [2, 1, -3, 0, -2, 0, 0, 0]),
    ("S", true, 1e-3, [-2, -1, 3, 0, 2, 0, 0, 0]),
    ("F", true, 1e-3, [-2, -1, 4, 0, 2, 0, 0, 0]),
    ("T", true, 1e3, [0, 1, -2, 0, -1, 0, 0, 0]),
    ("lm", true, 1.0, [0, 0, 0, 0, 0, 1, 0, 0]),
    ("lx", true, 1.0, [-2, 0, 0, 0, 0, 1, 0, 0]),
    ("Sv", true, 1.0, [2, 0, -2, 0, 0, 0, 0, 0]),
    ("L", true, 1e-3, [3, 0, 0, 0, 0, 0, 0, 0]),
    ("l", true, 1e-3, [3, 0, 0, 0, 0, 0, 0, 0]),
    ("t", true, 1e6, [0, 1, 0, 0, 0, 0, 0, 0]),
    ("min", false, 60.0, [0, 0, 1, 0, 0, 0, 0, 0]),
    ("h", false, 3_600.0, [0, 0, 1, 0, 0, 0, 0, 0]),
    ("d", false, 86_400.0, [0, 0, 1, 0, 0, 0, 0, 0]),
    ("wk", false, 604_800.0, [0, 0, 1, 0, 0, 0, 0, 0]),
    ("[in_i]", false, 0.0254, [1, 0, 0, 0, 0, 0, 0, 0]),
    ("[ft_i]", false, 0.3048, [1, 0, 0, 0, 0, 0, 0, 0]),
    ("[mi_i]", false, 1_609.344, [1, 0, 0, 0, 0, 0, 0, 0]),
    ("[kn_i]", false, 1_852.0 / 3_600.0, [1, 0, -1, 0, 0, 0, 0, 0]),
    ("[gal_us]", false, 3.785_411_784e-3, [3, 0, 0, 0, 0, 0, 0, 0]),
    ("[lb_av]", false, 453.592_37, [0, 1, 0, 0, 0, 0, 0, 0]),
    ("%", false, 0.01, NUMBER),
    ("[ppth]", false, 1e-3, NUMBER),
    ("[ppm]", false, 1e-6, NUMBER),
    ("[ppb]", false, 1e-9, NUMBER),
];

/// Times so much, in so many parts.
type Fraction = (f64, f64);

/// Units that are themselves a quantity, or whose zero is elsewhere.
const SPECIAL: [(&str, Fraction, f64, Dimensions, &str); 8] = [
    ("Cel", (1.0, 1.0), 273.15, [0, 0, 0, 1, 0, 0, 0, 0], ""),
    ("[degF]", (5.0, 9.0), 459.67 * 5.0 / 9.0, [0, 0, 0, 1, 0, 0, 0, 0], ""),
    ("dB", (1.0, 1.0), 0.0, NUMBER, "dB"),
    ("dB[W]", (1.0, 1.0), 0.0, NUMBER, "dB[W]"),
    ("B[W]", (10.0, 1.0), 0.0, NUMBER, "dB[W]"),
    ("dB[mW]", (1.0, 1.0), 0.0, NUMBER, "dB[mW]"),
    ("[pH]", (1.0, 1.0), 0.0, NUMBER, "pH"),
    ("deg", (1.0, 1.0), 0.0, NUMBER, "angle"),
];

const PREFIXES: [(&str, f64); 16] = [
    ("da", 1e1),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("k", 1e3),
    ("h", 1e2),
    ("d", 1e-1),
    ("c", 1e-2),
    ("m", 1e-3),
    ("u", 1e-6),
    ("n", 1e-9),
    ("p", 1e-12),
    ("Ki", 1_024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("P", 1e15),
];

/// Longer codes are none.
const CODE_BYTES_MAX: usize = 64;

fn measure(code: &str) -> Option<Measure<'_>> {
    if code.is_empty() || CODE_BYTES_MAX < code.len() {
        return None;
    }
    let (bare, annotation) = match code.split_once('{') {
        Some((bare, rest)) if rest.ends_with('}') => (bare, Some(&rest[..rest.len() - 1])),
        _ => (code, None),
    };
    if let Some((_, scale, offset, dimensions, tag)) = SPECIAL.iter().find(|special| special.0 == bare) {
        let tags = [*tag].into_iter().filter(|tag| !tag.is_empty()).chain(annotation).map(Cow::Borrowed);
        return Some(Measure {
            times: scale.0,
            parts: scale.1,
            offset: *offset,
            dimensions: *dimensions,
            tags: tags.collect(),
        });
    }
    let mut whole = Measure { times: 1.0, parts: 1.0, offset: 0.0, dimensions: NUMBER, tags: Vec::new() };
    let (mut volts, mut amperes) = (0, 0);
    let (mut rest, mut sign) = (code, 1);
    if let Some(after) = rest.strip_prefix('/') {
        (rest, sign) = (after, -1);
    }
    loop {
        let end = end_of_component(rest)?;
        let (component, after) = rest.split_at(end);
        let power = add(component, sign, &mut whole)?;
        let electric = |unit: &str| bare_component(component).ends_with(unit) && power == 1;
        volts += i32::from(electric("V"));
        amperes += i32::from(electric("A"));
        match after.chars().next() {
            None => break,
            Some('.') => (rest, sign) = (&after[1..], 1),
            Some('/') => (rest, sign) = (&after[1..], -1),
            Some(_) => return None,
        }
    }
    // A volt-ampere is no watt, whatever its dimensions say.
    if volts == 1 && amperes == 1 && whole.tags.is_empty() {
        whole.tags.push(Cow::Borrowed("apparent"));
    }
    Some(whole)
}

/// Where a component ends: at a `.` or `/` outside of brackets and braces.
fn end_of_component(code: &str) -> Option<usize> {
    let (mut bracket, mut brace) = (false, false);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' if !brace => brace = true,
            b'}' if brace => brace = false,
            b'[' if !brace => bracket = true,
            b']' if !brace => bracket = false,
            b'.' | b'/' if !bracket && !brace => return (0 < at).then_some(at),
            _ => {}
        }
    }
    (!bracket && !brace && !code.is_empty()).then_some(code.len())
}

fn bare_component(component: &str) -> &str {
    component.split('{').next().unwrap_or(component)
}

/// Multiplies a component in, and says its exponent.
fn add<'c>(component: &'c str, sign: i32, whole: &mut Measure<'c>) -> Option<i32> {
    let (bare, annotation) = match component.split_once('{') {
        Some((bare, rest)) => (bare, Some(rest.strip_suffix('}')?)),
        None => (component, None),
    };
    whole.tags.extend(annotation.map(Cow::Borrowed));
    if bare.is_empty() {
        return annotation.map(|_| sign);
    }
    if bare.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: f64 = bare.parse().ok().filter(|number| 0.0 < *number)?;
        whole.multiply(number, sign);
        return Some(sign);
    }
    let digits = bare.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (symbol, power) = bare.split_at(bare.len() - digits);
    let (symbol, negative) = match symbol.strip_suffix('-') {
        Some(symbol) if 0 < digits => (symbol, true),
        _ => (symbol, false),
    };
    let power = if digits == 0 { 1 } else { power.parse::<i32>().ok().filter(|power| *power <= 9)? };
    let power = if negative { -power } else { power } * sign;
    let (factors, dimensions) = atom(symbol)?;
    factors.iter().for_each(|factor| whole.multiply(*factor, power));
    for (sum, dimension) in whole.dimensions.iter_mut().zip(dimensions) {
        *sum = sum.checked_add(dimension.checked_mul(i8::try_from(power).ok()?)?)?;
    }
    Some(power)
}

/// Its size, as factors: that of its prefix and its own.
fn atom(symbol: &str) -> Option<([f64; 2], Dimensions)> {
    let find = |code: &str| ATOMS.iter().find(|atom| atom.0 == code);
    if let Some((_, _, scale, dimensions)) = find(symbol) {
        return Some(([1.0, *scale], *dimensions));
    }
    PREFIXES.iter().find_map(|(prefix, factor)| {
        let (_, _, scale, dimensions) = find(symbol.strip_prefix(prefix)?).filter(|atom| atom.1)?;
        Some(([*factor, *scale], *dimensions))
    })
}

impl Measure<'_> {
    /// A factor below one is a part: 1e-3 is one of a thousand, and a thousand is exact.
    fn multiply(&mut self, factor: f64, power: i32) {
        let (whole, power) = if factor < 1.0 { (1.0 / factor, -power) } else { (factor, power) };
        match power {
            0.. => self.times *= whole.powi(power),
            _ => self.parts *= whole.powi(-power),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conversions_agree_with_known_pairs() {
        for (value, from, to, expected) in [
            (10.0, "m/s", "km/h", 36.0),
            (0.5, "1", "%", 50.0),
            (0.0, "Cel", "K", 273.15),
            (212.0, "[degF]", "Cel", 100.0),
            (1500.0, "L", "m3", 1.5),
            (1.0, "L/s", "m3/h", 3.6),
            (1.0, "[mi_i]/h", "km/h", 1.609_344),
            (3.6, "MJ", "kW.h", 1.0),
            (2.0, "kW.h", "W.h", 2_000.0),
            (1.0, "kV.A.h{reactive}", "V.A.h{reactive}", 1_000.0),
            (120.0, "{veh}/h", "{veh}/min", 2.0),
            (7.0, "1", "{veh}", 7.0),
            (1.0, "bar", "kPa", 100.0),
            (1.0, "mg/m3", "ug/m3", 1_000.0),
            (1.0, "m[H2O]", "kPa", 9.806_65),
            (1.0, "m.s-1", "m/s", 1.0),
            (5.0, "/h", "1/h", 5.0),
        ] {
            let converted = conversion(from, to).unwrap_or_else(|| panic!("{from} to {to}")).apply(value);
            assert!(
                (converted - expected).abs() < 1e-9 * expected.abs().max(1.0),
                "{value} {from} is {converted} {to}"
            );
        }
    }

    #[test]
    fn what_is_exact_in_decimals_stays_exact() {
        for (from, to, scale) in [
            ("m/s", "km/h", 3.6),
            ("L/s", "m3/h", 3.6),
            ("L", "m3", 0.001),
            ("W.h", "kW.h", 0.001),
            ("1", "%", 100.0),
            ("[ppth]", "%", 0.1),
            ("mg/m3", "ug/m3", 1_000.0),
            ("kPa", "bar", 0.01),
        ] {
            assert_eq!(conversion(from, to), Some(Conversion { scale, offset: 0.0 }), "{from} to {to}");
        }
    }

    #[test]
    fn what_is_not_the_same_quantity_does_not_convert() {
        for (from, to) in [
            ("m/s", "kg"),
            ("m/s", "m3"),
            ("W", "V.A"),
            ("V.A", "V.A{reactive}"),
            ("{veh}", "{pcu}"),
            ("%", "{veh}"),
            ("dB", "dB{A}"),
            ("furlongs", "m"),
        ] {
            assert_eq!(conversion(from, to), None, "{from} to {to}");
        }
    }

    #[test]
    fn what_payloads_say_is_known() {
        for text in [
            "kWh", "°C", "mph", "m³", "l/s", "kpl/h", "LTR", "E32", "WTT", "GQ", "dB(A)", "kvarh", "%RH",
            "hPa", "V", "lx",
        ] {
            assert!(is_known(ucum(text)), "{text}");
        }
        assert_eq!(suffix("total_m3"), Some(("total", "m3")));
        assert_eq!(suffix("flow_temperature_c"), Some(("flow_temperature", "Cel")));
        assert_eq!(suffix("status"), None);
        assert!(
            !is_known("furlongs") && !is_known("") && !is_known("m/") && !is_known("x{") && !is_known(".")
        );
        assert_eq!(storage("traffic.speed.mean"), Some("km/h"));
        assert_eq!(storage("traffic.speeding"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_unit_or_none(text in "[a-zA-Z0-9./{}\\[\\]%°³-]{0,12}") {
            if let Some(conversion) = conversion(ucum(&text), "m/s") {
                prop_assert!(conversion.scale.is_finite());
            }
        }
    }
}

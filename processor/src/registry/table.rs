//! The tables of the registry as files know them: their fields, what each may hold, and how it is written.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use super::geometry;
use crate::model::{Kind, MetricName, SensorId, unit};

/// What a file may hold, in the order in which rows name each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    Zone,
    Segment,
    Sensor,
    Series,
    Calibration,
}

/// One field of a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Field {
    pub name: &'static str,
    pub form: Form,
    /// Whether a row is none without it.
    pub required: bool,
}

/// What a field may hold. Texts are canonical: two are equal exactly when they mean the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    SensorId,
    Metric,
    /// 1 to [`TEXT_CHARS_MAX`] characters without control characters.
    Text,
    /// A number between two others, both included.
    Number(f64, f64),
    /// A whole number between two others, both included.
    Whole(i32, i32),
    /// A number other than 0.
    Factor,
    Flag,
    /// UCUM, or another spelling that is known; any other word is kept as it is.
    Unit,
    /// RFC 3339, with its offset.
    Instant,
    OneOf(&'static [&'static str]),
    Kind,
    /// GeoJSON, WGS 84.
    Line,
    Area,
}

/// Longer than any name, and short enough for an index.
pub const TEXT_CHARS_MAX: usize = 500;

const ANY: Form = Form::Number(f64::MIN, f64::MAX);
const POSITIVE: Form = Form::Number(0.0, f64::MAX);
/// More than any road has.
const LANE: Form = Form::Whole(0, 31);
/// Ten years, in seconds.
const GAP_S: Form = Form::Whole(1, 315_360_000);
const DAY_S: Form = Form::Whole(1, 86_400);
const PRIVACY: Form = Form::OneOf(&["public", "internal", "personal"]);

const fn field(name: &'static str, form: Form) -> Field {
    Field { name, form, required: false }
}

const fn required(name: &'static str, form: Form) -> Field {
    Field { name, form, required: true }
}

const ZONE: &[Field] = &[
    required("id", Form::Text),
    field("name", Form::Text),
    field("parent", Form::Text),
    field("geometry", Form::Area),
];

const SEGMENT: &[Field] = &[
    required("id", Form::Text),
    field("name", Form::Text),
    field("road_class", Form::Text),
    field("direction", Form::Text),
    field("from_node", Form::Text),
    field("to_node", Form::Text),
    field("length_m", POSITIVE),
    field("speed_limit_kmh", POSITIVE),
    field("free_flow_speed_kmh", POSITIVE),
    field("lanes", LANE),
    field("capacity_pcu_h", POSITIVE),
    field("geometry", Form::Line),
];

const SENSOR: &[Field] = &[
    required("id", Form::SensorId),
    field("name", Form::Text),
    field("kind", Form::Text),
    field("owner", Form::Text),
    field("serial", Form::Text),
    field("lon", Form::Number(-180.0, 180.0)),
    field("lat", Form::Number(-90.0, 90.0)),
    field("segment", Form::Text),
    field("direction", Form::Text),
    field("lane", LANE),
    field("offset_m", POSITIVE),
    field("zone", Form::Text),
    field("role", Form::Text),
    required("privacy", PRIVACY),
    required("reviewed", Form::Flag),
    field("valid_from", Form::Instant),
    field("valid_to", Form::Instant),
];

const SERIES: &[Field] = &[
    required("sensor", Form::SensorId),
    required("metric", Form::Metric),
    required("unit", Form::Unit),
    required("kind", Form::Kind),
    field("interval_s", DAY_S),
    field("modulus", POSITIVE),
    field("resolution", POSITIVE),
    field("min", ANY),
    field("max", ANY),
    field("max_rate", POSITIVE),
    field("max_gap_s", GAP_S),
];

const CALIBRATION: &[Field] = &[
    required("sensor", Form::SensorId),
    required("metric", Form::Metric),
    field("valid_from", Form::Instant),
    required("scale", Form::Factor),
    required("offset", ANY),
];

impl Table {
    pub const ALL: [Table; 5] =
        [Table::Zone, Table::Segment, Table::Sensor, Table::Series, Table::Calibration];

    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Zone => "zone",
            Table::Segment => "segment",
            Table::Sensor => "sensor",
            Table::Series => "series",
            Table::Calibration => "calibration",
        }
    }

    /// Of more than one row.
    pub const fn plural(self) -> &'static str {
        match self {
            Table::Zone => "zones",
            Table::Segment => "segments",
            Table::Sensor => "sensors",
            Table::Series => "series",
            Table::Calibration => "calibrations",
        }
    }

    pub const fn fields(self) -> &'static [Field] {
        match self {
            Table::Zone => ZONE,
            Table::Segment => SEGMENT,
            Table::Sensor => SENSOR,
            Table::Series => SERIES,
            Table::Calibration => CALIBRATION,
        }
    }

    /// The fields that tell its rows apart.
    pub const fn key(self) -> &'static [&'static str] {
        match self {
            Table::Zone | Table::Segment => &["id"],
            Table::Sensor => &["id", "valid_from"],
            Table::Series => &["sensor", "metric"],
            Table::Calibration => &["sensor", "metric", "valid_from"],
        }
    }

    /// Where a field stands among the fields.
    pub fn position(self, name: &str) -> Option<usize> {
        self.fields().iter().position(|field| field.name == name)
    }

    /// What a new row has where nothing is said.
    pub(super) fn default(self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (Table::Sensor, "privacy") => Some("personal"),
            (Table::Sensor, "reviewed") => Some("true"),
            (Table::Calibration, "scale") => Some("1"),
            (Table::Calibration, "offset") => Some("0"),
            _ => None,
        }
    }
}

impl Form {
    /// The canonical text of what a field holds; `None` where it is empty.
    ///
    /// # Errors
    /// It cannot be held, in words.
    pub fn read(self, text: &str) -> Result<Option<String>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let number = || match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("{text:?} is no number")),
        };
        Ok(Some(match self {
            Form::SensorId => text.parse::<SensorId>()?.to_string(),
            Form::Metric => text.parse::<MetricName>()?.to_string(),
            Form::Kind => text.parse::<Kind>()?.to_string(),
            Form::Text if TEXT_CHARS_MAX < text.chars().count() => {
                return Err(format!("a text of more than {TEXT_CHARS_MAX} characters"));
            }
            Form::Text if text.contains(char::is_control) => {
                return Err(format!("{text:?} holds a control character"));
            }
            Form::Text => text.to_owned(),
            Form::Unit => Form::Text.read(unit::ucum(text))?.unwrap_or_default(),
            Form::Number(low, high) => match number()? {
                within if low <= within && within <= high => (within + 0.0).to_string(),
                other if low == 0.0 => return Err(format!("{other} is below 0")),
                other => return Err(format!("{other} is not between {low} and {high}")),
            },
            Form::Factor => match number()? {
                0.0 => return Err("a factor of 0 makes all values the same".to_owned()),
                factor => factor.to_string(),
            },
            Form::Whole(low, high) => match text.parse::<i32>() {
                Ok(whole) if low <= whole && whole <= high => whole.to_string(),
                _ => return Err(format!("{text:?} is no whole number from {low} to {high}")),
            },
            Form::Flag => match text {
                "true" | "false" => text.to_owned(),
                _ => return Err(format!("{text:?} is neither true nor false")),
            },
            Form::Instant => instant(text)?,
            Form::OneOf(known) => match known.contains(&text) {
                true => text.to_owned(),
                false => return Err(format!("{text:?} is none of {}", known.join(", "))),
            },
            Form::Line => geometry::line(text)?,
            Form::Area => geometry::area(text)?,
        }))
    }

    /// How PostgreSQL names the type of the field's column.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Form::Number(..) | Form::Factor => "float8",
            Form::Whole(..) => "int4",
            Form::Flag => "bool",
            Form::Instant => "timestamptz",
            Form::Line | Form::Area => "jsonb",
            Form::SensorId | Form::Metric | Form::Text | Form::Unit | Form::OneOf(_) | Form::Kind => "text",
        }
    }
}

/// To the microsecond, as the tables keep it.
fn instant(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no instant such as 2026-03-01T00:00:00Z");
    let at: Timestamp = text.parse().map_err(|_| wrong())?;
    // What PostgreSQL and a civil calendar both know.
    let (first, last) = (-62_135_596_800, 253_402_300_799);
    if !(first <= at.as_second() && at.as_second() < last) {
        return Err(wrong());
    }
    Ok(Timestamp::from_microsecond(at.as_microsecond()).map_err(|_| wrong())?.to_string())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |table: &Table| [table.as_str(), table.plural()].contains(&text);
        Table::ALL
            .into_iter()
            .find(named)
            .ok_or_else(|| format!("{text:?} is none of {}", Table::ALL.map(Table::plural).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_has_one_form() {
        let read = |form: Form, text: &str| form.read(text).unwrap().unwrap();
        assert_eq!(read(ANY, " 1e3 "), "1000");
        assert_eq!(read(ANY, "-0"), "0");
        assert_eq!(read(Form::Instant, "2026-03-01T01:00:00+01:00"), "2026-03-01T00:00:00Z");
        assert_eq!(read(Form::Whole(0, 31), "007"), "7");
        assert_eq!(read(Form::Unit, "kWh"), "kW.h");
        assert_eq!(ANY.read("  "), Ok(None));
        for (form, wrong) in [
            (ANY, "NaN"),
            (ANY, "1,5"),
            (POSITIVE, "-1"),
            (Form::Number(-180.0, 180.0), "181"),
            (Form::Factor, "0"),
            (Form::Whole(0, 31), "1.0"),
            (Form::Instant, "2026-03-01"),
            (PRIVACY, "secret"),
            (Form::Text, "a\nb"),
            (Form::SensorId, "a b"),
        ] {
            assert!(form.read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_name_fields() {
        for table in Table::ALL {
            assert!(table.key().iter().all(|name| table.position(name).is_some()), "{table}");
            assert_eq!(table.plural().parse(), Ok(table));
        }
    }

    proptest! {
        #[test]
        fn reading_what_was_read_changes_nothing(text in any::<String>(), number in any::<f64>(), second in any::<i64>()) {
            let written = [text, number.to_string(), Timestamp::from_second(second % 1_000_000_000_000).map_or_else(|_| String::new(), |at| at.to_string())];
            for table in Table::ALL {
                for field in table.fields() {
                    for text in &written {
                        if let Ok(Some(canonical)) = field.form.read(text) {
                            prop_assert_eq!(field.form.read(&canonical), Ok(Some(canonical.clone())));
                        }
                    }
                }
            }
        }
    }
}

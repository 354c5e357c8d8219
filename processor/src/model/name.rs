use std::{borrow::Cow, fmt, str::FromStr};

/// A sensor's name: 1 to 128 letters, digits, or any of `._:/-@=+~%,;#&`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SensorId(Box<str>);

/// A metric's name, such as `traffic.volume`: 1 to 64 ASCII letters, digits, or any of `._:/-%`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetricName(Box<str>);

const SENSOR_CHARS_MAX: usize = 128;
const METRIC_CHARS_MAX: usize = 64;

impl SensorId {
    /// Whether `text` may name a sensor.
    pub fn allows(text: &str) -> bool {
        let allowed = |c: char| c.is_alphanumeric() || "._:/-@=+~%,;#&".contains(c);
        !text.is_empty()
            && text.chars().take(SENSOR_CHARS_MAX + 1).count() <= SENSOR_CHARS_MAX
            && text.chars().all(allowed)
    }

    /// A name that a sender gave, with what no name may hold percent-encoded.
    pub fn adapted(text: &str) -> Cow<'_, str> {
        if Self::allows(text) {
            return Cow::Borrowed(text);
        }
        let mut name = String::with_capacity(text.len());
        let mut bytes = [0; 4];
        for letter in text.chars() {
            match letter.is_alphanumeric() || "._:/-@=+~%,;#&".contains(letter) {
                true => name.push(letter),
                false => letter
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .for_each(|byte| name.push_str(&format!("%{byte:02X}"))),
            }
        }
        Cow::Owned(name)
    }
}

impl MetricName {
    /// Whether `text` may name a metric.
    pub fn allows(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/-%".contains(&b);
        !text.is_empty() && text.len() <= METRIC_CHARS_MAX && text.bytes().all(allowed)
    }

    /// A name that a sender gave, with an underscore for what no name may hold.
    pub fn adapted(text: &str) -> Cow<'_, str> {
        if Self::allows(text) {
            return Cow::Borrowed(text);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/-%".contains(c);
        Cow::Owned(text.chars().map(|c| if allowed(c) { c } else { '_' }).collect())
    }
}

macro_rules! name {
    ($type:ident, $what:literal) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if Self::allows(text) {
                    Ok($type(text.into()))
                } else {
                    Err(format!("{text:?} cannot name a {}", $what))
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(SensorId, "sensor");
name!(MetricName, "metric");

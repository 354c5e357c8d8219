/// Why a message or a reading was refused. The names are stored and stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// No mapping takes this topic.
    NoMapping,
    /// More than 256 KiB of payload, as sent or inflated.
    TooLarge,
    NotUtf8,
    NotJson,
    /// Not CBOR, CSV, XML, line protocol, a telegram or Sparkplug B, where the mapping expects it.
    Malformed,
    /// A telegram whose checksum does not fit: something was changed or lost on its way.
    BadChecksum,
    /// Compressed, and cannot be inflated.
    NotInflatable,
    /// Sparkplug B data without the birth that says what it means.
    Unborn,
    /// NaN, an infinity, or a number too large for a 64-bit float.
    NotFinite,
    /// More than 16 levels of nesting.
    TooDeep,
    /// More than 5,000 readings in one message.
    TooManyReadings,
    /// A well-formed payload that is not what its format or mapping asks for.
    WrongShape,
    /// The name found cannot name a sensor or a metric.
    BadName,
    /// The time is absent or cannot be read.
    BadTime,
    Before2000,
    /// More than 5 minutes ahead of its receipt.
    Future,
    /// Older than the lateness horizon, or than the readings the city still keeps.
    TooLate,
    /// Of a sensor and a time that were erased on request.
    Erased,
    /// The registry is closed and does not know the sensor.
    UnknownSensor,
    /// The registry is closed and does not know this metric of the sensor.
    UnknownSeries,
    /// Another unit than the series is stored in.
    UnitMismatch,
    /// A reading where events are stored, or the other way round.
    KindMismatch,
    /// The city's limit of series is reached.
    TooManySeries,
    /// A message below one gateway's topics that another publisher numbered.
    SourceMismatch,
    /// The database refuses the value.
    Unstorable,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NoMapping => "no_mapping",
            Reason::TooLarge => "too_large",
            Reason::NotUtf8 => "not_utf8",
            Reason::NotJson => "not_json",
            Reason::Malformed => "malformed",
            Reason::BadChecksum => "bad_checksum",
            Reason::NotInflatable => "not_inflatable",
            Reason::Unborn => "unborn",
            Reason::NotFinite => "not_finite",
            Reason::TooDeep => "too_deep",
            Reason::TooManyReadings => "too_many_readings",
            Reason::WrongShape => "wrong_shape",
            Reason::BadName => "bad_name",
            Reason::BadTime => "bad_time",
            Reason::Before2000 => "before_2000",
            Reason::Future => "future",
            Reason::TooLate => "too_late",
            Reason::Erased => "erased",
            Reason::UnknownSensor => "unknown_sensor",
            Reason::UnknownSeries => "unknown_series",
            Reason::UnitMismatch => "unit_mismatch",
            Reason::KindMismatch => "kind_mismatch",
            Reason::TooManySeries => "too_many_series",
            Reason::SourceMismatch => "source_mismatch",
            Reason::Unstorable => "unstorable",
        }
    }
}

/// A refusal: the reason, and what was seen, in words for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

/// Enough for a sentence and what was seen; what was seen may be a whole payload.
const DETAIL_BYTES_MAX: usize = 1_024;

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.shrink_to_fit(); // a cut text keeps its room, and a message may have thousands of them
        Refusal { reason, detail }
    }
}

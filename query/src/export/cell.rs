//! One value of a batch, as the text formats see it.

use datafusion::arrow::{
    array::{
        Array, AsArray, BinaryArray, BooleanArray, Float64Array, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    compute::cast,
    datatypes::{DataType, TimeUnit},
    util::display::{ArrayFormatter, FormatOptions, ValueFormatter},
};
use jiff::Timestamp;
use std::{fmt, io};

const FORMAT: FormatOptions<'static> = FormatOptions::new();

/// A column, with its type looked at once.
pub(super) enum Column<'a> {
    Time(&'a TimestampNanosecondArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Bool(&'a BooleanArray),
    Float(Float64Array),
    Integer(&'a dyn Array, ArrayFormatter<'a>),
    /// Of a type that no dataset has: a list, a duration.
    Other(&'a dyn Array, ArrayFormatter<'a>),
}

pub(super) enum Cell<'a> {
    Null,
    Time(Instant),
    Text(&'a str),
    Bytes(Hex<'a>),
    Bool(bool),
    Float(f64),
    Integer(ValueFormatter<'a>),
    Other(ValueFormatter<'a>),
}

pub(super) fn columns(batch: &RecordBatch) -> io::Result<Vec<Column<'_>>> {
    batch.columns().iter().map(|array| Column::of(array.as_ref())).collect()
}

impl<'a> Column<'a> {
    fn of(array: &'a dyn Array) -> io::Result<Self> {
        let formatter = || ArrayFormatter::try_new(array, &FORMAT).map_err(io::Error::other);
        Ok(match array.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::Time(array.as_primitive()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            kind if kind.is_floating() => Self::Float(floats(array)?),
            kind if kind.is_integer() => Self::Integer(array, formatter()?),
            _ => Self::Other(array, formatter()?),
        })
    }

    pub(super) fn at(&self, row: usize) -> Cell<'_> {
        let array: &dyn Array = match self {
            Self::Time(array) => array,
            Self::Text(array) => array,
            Self::Bytes(array) => array,
            Self::Bool(array) => array,
            Self::Float(array) => array,
            Self::Integer(array, _) | Self::Other(array, _) => *array,
        };
        if array.is_null(row) {
            return Cell::Null;
        }
        match self {
            Self::Time(array) => Instant::of(array.value(row)).map_or(Cell::Null, Cell::Time),
            Self::Text(array) => Cell::Text(array.value(row)),
            Self::Bytes(array) => Cell::Bytes(Hex(array.value(row))),
            Self::Bool(array) => Cell::Bool(array.value(row)),
            Self::Float(array) => Cell::Float(array.value(row)),
            Self::Integer(_, formatter) => Cell::Integer(formatter.value(row)),
            Self::Other(_, formatter) => Cell::Other(formatter.value(row)),
        }
    }
}

/// Any numbers as floats.
pub(super) fn floats(array: &dyn Array) -> io::Result<Float64Array> {
    let floats = cast(array, &DataType::Float64).map_err(io::Error::other)?;
    Ok(floats.as_primitive().clone())
}

/// RFC 3339 in UTC, with 0, 3, 6 or 9 digits of the second: as many as the instant needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Instant(pub Timestamp);

impl Instant {
    /// None only where a timestamp cannot say it, which is not within 64 bits of nanoseconds.
    pub(super) fn of(nanos: i64) -> Option<Self> {
        Timestamp::from_nanosecond(nanos.into()).ok().map(Self)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        match time.subsec_nanosecond() {
            0 => write!(f, "{time:.0}"),
            nanos if nanos % 1_000_000 == 0 => write!(f, "{time:.3}"),
            nanos if nanos % 1_000 == 0 => write!(f, "{time:.6}"),
            _ => write!(f, "{time:.9}"),
        }
    }
}

/// Bytes in lower-case hexadecimal digits, as checksums are written.
pub(super) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_as_many_digits_as_it_needs() {
        let text = |nanos| Instant::of(nanos).unwrap().to_string();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_500_000_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(text(1_000), "1970-01-01T00:00:00.000001Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(-2_000_000_000), "1969-12-31T23:59:58Z");
        assert!(Instant::of(i64::MIN).is_some() && Instant::of(i64::MAX).is_some());
    }
}

//! Rows for the tests of all formats.

use datafusion::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
        StringArray, TimestampNanosecondArray,
    },
    compute::concat_batches,
    datatypes::Int32Type,
};
use jiff::Timestamp;
use std::sync::Arc;

/// Three rows as dataset `reading` has them.
pub(super) fn readings() -> RecordBatch {
    of(vec![
        (
            "time",
            times(&[
                Some("2026-11-22T11:59:00Z"),
                Some("2026-11-22T11:59:00Z"),
                Some("2026-11-22T12:00:00Z"),
            ]),
        ),
        ("sensor", texts(&["loop-17", "loop-17", "a \"b\", c"])),
        ("metric", texts(&["traffic.flow", "traffic.speed.mean", "water.level"])),
        ("value", Arc::new(Float64Array::from(vec![Some(1260.0), Some(88.5), None]))),
        ("unit", texts(&["{veh}/h", "km/h", "m"])),
        ("quality", Arc::new(Int32Array::from(vec![0, 0, 128]))),
        ("received_at", times(&[Some("2026-11-22T11:59:01.25Z"), Some("2026-11-22T11:59:01.250001Z"), None])),
    ])
}

/// A row of values at the edge of each type, and a row of nulls.
pub(super) fn all_types() -> RecordBatch {
    of(vec![
        ("time", times(&[Some("1970-01-01T00:00:00.000001Z"), None])),
        ("text", Arc::new(StringArray::from(vec![Some(""), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0x00, 0xff][..]), None]))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(f64::NAN), None]))),
        ("int", Arc::new(Int64Array::from(vec![Some(-7), None]))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]))),
    ])
}

pub(super) fn of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

pub(super) fn times(texts: &[Option<&str>]) -> ArrayRef {
    let nanos = |text: &str| i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
    let times: TimestampNanosecondArray = texts.iter().map(|text| text.map(nanos)).collect();
    Arc::new(times.with_timezone("UTC"))
}

pub(super) fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

pub(super) fn assert_same(read: &[RecordBatch], batch: &RecordBatch) {
    let read = concat_batches(&read[0].schema(), read).unwrap();
    assert_eq!(read.schema().fields(), batch.schema().fields());
    // Compared as text, where NaN is NaN.
    assert_eq!(format!("{:?}", read.columns()), format!("{:?}", batch.columns()));
}

//! Rows that end in the same group anyway become one where they are read: a segment has the rows of a series one after the
//! other, and adding up a run of them costs a few nanoseconds a row, where looking up names, joining and grouping cost a
//! hundred.
//!
//! Which rows these are is found in the plan, by [`rule`]. What a run becomes is a row like the others: the sum of the
//! sums, the least of the minima. So the plan above stays as it is, and need not know.

pub mod rule;

use crate::{
    error::{QueryError, Result},
    functions::unreadable,
};
use datafusion::arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, PrimitiveArray, RecordBatch,
        TimestampNanosecondArray, UInt32Array,
    },
    compute::take,
    datatypes::{ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType},
};
use processor::model::state::{self, Bins, Parts};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// How rows of a table are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Nanoseconds of the buckets that rows are grouped by, counted from 1970; none: they are not grouped by time.
    pub width: Option<i64>,
    /// Of each column that is read beside the time and the names of the series.
    pub merges: BTreeMap<&'static str, Merge>,
}

/// What becomes of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    Sum,
    Min,
    Max,
    /// The quantiles of states.
    Quantiles,
}

impl Runs {
    /// One row for each run. `series` and `time` are the places of these columns.
    ///
    /// # Errors
    /// There is a column that nothing says how to merge.
    pub fn apply(&self, rows: &RecordBatch, series: usize, time: Option<usize>) -> Result<RecordBatch> {
        let wrong = || QueryError::Internal("rows that cannot be put together".into());
        let ids = rows.column(series).as_primitive_opt::<Int32Type>().ok_or_else(wrong)?.values();
        let times = match time {
            Some(time) => {
                let times = rows.column(time).as_primitive_opt::<TimestampNanosecondType>();
                Some(times.filter(|times| times.null_count() == 0).ok_or_else(wrong)?.values())
            }
            None => None,
        };
        let runs = self.runs(ids, times.map(|times| &times[..]));
        let starts = UInt32Array::from_iter_values(runs.iter().map(|run| run.start as u32));
        let schema = rows.schema();
        let columns = rows.columns().iter().enumerate().map(|(at, column)| {
            if at == series {
                return Ok(take(column, &starts, None)?);
            }
            if let (Some(times), true) = (times, Some(at) == time) {
                let starts = runs.iter().map(|run| self.bucket(times[run.start]).start);
                return Ok(
                    Arc::new(TimestampNanosecondArray::from_iter_values(starts).with_timezone("UTC")) as _
                );
            }
            let merge = *self.merges.get(schema.field(at).name().as_str()).ok_or_else(wrong)?;
            match (merge, column.data_type()) {
                (Merge::Sum, DataType::Float64) => {
                    Ok(merged::<Float64Type>(column, &runs, |one, other| one + other))
                }
                // As the engine compares them: NaN is above all.
                (Merge::Min, DataType::Float64) => Ok(merged::<Float64Type>(column, &runs, |one, other| {
                    if other.total_cmp(&one).is_lt() { other } else { one }
                })),
                (Merge::Max, DataType::Float64) => Ok(merged::<Float64Type>(column, &runs, |one, other| {
                    if other.total_cmp(&one).is_gt() { other } else { one }
                })),
                // As the engine adds.
                (Merge::Sum, DataType::Int64) => Ok(merged::<Int64Type>(column, &runs, i64::wrapping_add)),
                (Merge::Min, DataType::Int64) => Ok(merged::<Int64Type>(column, &runs, i64::min)),
                (Merge::Max, DataType::Int64) => Ok(merged::<Int64Type>(column, &runs, i64::max)),
                (Merge::Quantiles, DataType::Binary) => quantiles(column.as_binary(), &runs),
                _ => Err(wrong()),
            }
        });
        Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>>>()?)?)
    }

    /// Neighbours of one series in one bucket.
    fn runs(&self, ids: &[i32], times: Option<&[i64]>) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let (mut last, mut bucket) = (None, 0..0);
        for (at, id) in ids.iter().enumerate() {
            let time = times.map_or(0, |times| times[at]);
            if last == Some(*id) && (times.is_none() || bucket.contains(&time)) {
                continue;
            }
            if let Some(run) = runs.last_mut() {
                run.end = at;
            }
            runs.push(at..ids.len());
            last = Some(*id);
            bucket = self.bucket(time);
        }
        runs
    }

    fn bucket(&self, time: i64) -> Range<i64> {
        match self.width {
            Some(width) => {
                let start = time.saturating_sub(time.rem_euclid(width));
                start..start.saturating_add(width)
            }
            None => time..i64::MAX,
        }
    }
}

/// Of each run its values together, without those that are null.
fn merged<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    runs: &[Range<usize>],
    merge: impl Fn(T::Native, T::Native) -> T::Native,
) -> ArrayRef {
    let column = column.as_primitive::<T>();
    let values = column.values();
    let all = |run: &Range<usize>| values[run.clone()].iter().copied().reduce(&merge);
    let valid = |run: &Range<usize>| {
        run.clone().filter(|at| column.is_valid(*at)).map(|at| values[at]).reduce(&merge)
    };
    let merged: PrimitiveArray<T> = match column.null_count() {
        0 => runs.iter().map(all).collect(),
        _ => runs.iter().map(valid).collect(),
    };
    Arc::new(merged)
}

/// Of each run one state with the quantiles of all; null where there are none.
fn quantiles(states: &BinaryArray, runs: &[Range<usize>]) -> Result<ArrayRef> {
    let mut merged = BinaryBuilder::with_capacity(runs.len(), 256 * runs.len());
    for run in runs {
        if run.len() == 1 {
            merged.append_option(states.is_valid(run.start).then(|| states.value(run.start)));
            continue;
        }
        let mut bins = Bins::default();
        for at in run.clone().filter(|at| states.is_valid(*at)) {
            if let Some(sketch) = Parts::sketch(states.value(at)).map_err(unreadable)? {
                bins.join(sketch).map_err(unreadable)?;
            }
        }
        merged.append_option((0 < bins.count()).then(|| state::of_bins(&bins)));
    }
    Ok(Arc::new(merged.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int32Array, Int64Array};

    fn rows(rows: &[(i32, i64, Option<f64>, i64)]) -> RecordBatch {
        let times = rows.iter().map(|row| row.1);
        RecordBatch::try_from_iter([
            ("series_id", Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef),
            ("time", Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))),
            ("max", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
            ("count", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3)))),
        ])
        .unwrap()
    }

    #[test]
    fn neighbours_of_one_series_and_bucket_become_one_row() {
        let runs =
            Runs { width: Some(10), merges: BTreeMap::from([("max", Merge::Max), ("count", Merge::Sum)]) };
        let read = rows(&[
            (1, -1, Some(9.0), 1),
            (1, 0, None, 2),
            (1, 9, Some(3.0), 3),
            (1, 10, None, 4),
            (2, 11, Some(f64::NAN), 5),
            (2, 12, Some(1.0), 6),
            (1, 13, Some(-1.0), 7),
        ]);
        let merged = runs.apply(&read, 0, Some(1)).unwrap();
        let texts: Vec<String> = (0..merged.num_rows())
            .map(|at| {
                let max = merged.column(2).as_primitive::<Float64Type>();
                let max = max.is_valid(at).then(|| max.value(at));
                let number = |column: usize| merged.column(column).as_primitive::<Int64Type>().value(at);
                let id = merged.column(0).as_primitive::<Int32Type>().value(at);
                let time = merged.column(1).as_primitive::<TimestampNanosecondType>().value(at);
                format!("{id} {time} {max:?} {}", number(3))
            })
            .collect();
        let expected =
            ["1 -10 Some(9.0) 1", "1 0 Some(3.0) 5", "1 10 None 4", "2 10 Some(NaN) 11", "1 10 Some(-1.0) 7"];
        assert_eq!(texts, expected);
        let all = Runs { width: None, ..runs.clone() };
        assert_eq!(all.apply(&read, 0, Some(1)).unwrap().num_rows(), 3);
        let unknown = Runs { merges: BTreeMap::new(), ..runs };
        assert!(unknown.apply(&read, 0, Some(1)).is_err());
    }
}

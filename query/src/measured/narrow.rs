//! Filters on names -> which candidates are read at all. The engine filters again, so that a filter that cannot be decided
//! here keeps them all; but not where a row is of all that they leave.

use super::scan::Asked;
use crate::{
    error::Result,
    series::{self, Series},
};
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    logical_expr::Expr,
};
use std::sync::Arc;

/// Texts of candidates, a column a name.
pub type Texts<'t, const N: usize> = [(&'static str, Vec<Option<&'t str>>); N];

/// Of so many candidates, which every filter on these texts leaves.
///
/// # Errors
/// A filter cannot be decided, and the engine does not filter again.
pub fn kept<const N: usize>(asked: &Asked, count: usize, texts: Texts<'_, N>) -> Result<Vec<bool>> {
    decided(&asked.filters, asked.measure.is_of_selection(), count, texts)
}

fn decided<const N: usize>(
    filters: &[Expr],
    is_final: bool,
    count: usize,
    texts: Texts<'_, N>,
) -> Result<Vec<bool>> {
    let mut kept = vec![true; count];
    let fields: Vec<Field> = texts.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let columns = texts.into_iter().map(|(_, texts)| Arc::new(StringArray::from(texts)) as ArrayRef);
    let rows = RecordBatchOptions::new().with_row_count(Some(count));
    let schema = Arc::new(Schema::new(fields));
    let candidates = RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &rows)?;
    let known = |name: &str| schema.index_of(name).is_ok();
    for filter in filters.iter().filter(|filter| series::is_about(filter, known)) {
        match series::verdicts(filter, &candidates) {
            Ok(verdicts) => kept.iter_mut().zip(verdicts).for_each(|(kept, holds)| *kept &= holds),
            Err(error) if is_final => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(kept)
}

/// Ids of the series that the filters on `columns`, of sensor, metric and unit, leave; `None`: no filter speaks of them.
pub fn ids(filters: &[Expr], names: &Series, columns: &[&str]) -> Option<Vec<i32>> {
    let decides = |filter: &&Expr| {
        Series::decides(filter) && series::is_about(filter, |column| columns.contains(&column))
    };
    let each = filters.iter().filter(decides).filter_map(|filter| names.matching(filter).ok());
    // Those of one filter are in order.
    each.reduce(|mut left, other| {
        left.retain(|id| other.binary_search(id).is_ok());
        left
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    #[test]
    fn filters_on_names_leave_what_they_say() {
        let texts = || {
            [("sensor", vec![Some("a"), Some("b"), Some("c")]), ("segment", vec![Some("x"), None, Some("y")])]
        };
        let of = |filters: &[Expr]| decided(filters, false, 3, texts()).unwrap();
        assert_eq!(of(&[]), [true, true, true]);
        assert_eq!(of(&[col("traffic.segment").eq(lit("x"))]), [true, false, false]);
        assert_eq!(of(&[col("segment").eq(lit("x")).or(col("sensor").eq(lit("b")))]), [true, true, false]);
        assert_eq!(of(&[col("segment").is_null(), col("sensor").not_eq(lit("a"))]), [false, true, false]);
        // Of other columns, or of no text: the engine's.
        let lane = col("lane").eq(lit(1));
        assert_eq!(of(&[lane.clone(), lane.or(col("sensor").eq(lit("a")))]), [true, true, true]);
        let wrong = [col("sensor").gt(lit(1))];
        assert_eq!(of(&wrong), [true, true, true]);
        assert!(decided(&wrong, true, 3, texts()).is_err());
    }

    #[test]
    fn names_become_ids_of_all_filters_together() {
        let names = Series::of([(3, "a", "m", "u"), (4, "b", "m", "u"), (9, "c", "n", "u")]);
        let of = |filters: &[Expr], columns: &[&str]| ids(filters, &names, columns);
        let (metric, sensor) = (col("metric").eq(lit("m")), col("sensor").not_eq(lit("a")));
        assert_eq!(of(&[metric.clone(), sensor.clone()], &["sensor", "metric"]), Some(vec![4]));
        assert_eq!(of(&[metric.clone(), sensor], &["sensor"]), Some(vec![4, 9]));
        assert_eq!(of(&[metric], &["sensor"]), None);
    }
}

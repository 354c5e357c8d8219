//! The range of time that filters ask for.

use crate::{
    error::{QueryError, Result},
    pushdown::{self, MICROS_MAX, MICROS_MIN},
};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use processor::{
    measure::{Steps, Width},
    model::{Level, Time},
};
use std::ops::Range;

/// The column that is asked for.
const TIME: &str = "time";

/// Microseconds, both included; those of `pushdown` mean that there is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    low: i64,
    high: i64,
}

impl Bounds {
    const ALL: Bounds = Bounds { low: MICROS_MIN, high: MICROS_MAX };

    /// What a filter at least demands of the time of a row; `None`: nothing.
    pub fn of(filter: &Expr) -> Option<Bounds> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                match (Bounds::of(left), Bounds::of(right)) {
                    (Some(one), Some(other)) => Some(one.and(other)),
                    (one, other) => one.or(other),
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(Bounds::of(left)?.or(Bounds::of(right)?))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                comparison(left, *op, right).or_else(|| comparison(right, op.swap()?, left))
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let low = comparison(expr, Operator::GtEq, low)?;
                Some(low.and(comparison(expr, Operator::LtEq, high)?))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let each = list.iter().map(|item| comparison(expr, Operator::Eq, item));
                each.reduce(|one, other| Some(one?.or(other?)))?
            }
            _ => None,
        }
    }

    fn and(self, other: Bounds) -> Bounds {
        Bounds { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn or(self, other: Bounds) -> Bounds {
        Bounds { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

fn comparison(column: &Expr, op: Operator, value: &Expr) -> Option<Bounds> {
    let (Expr::Column(column), Expr::Literal(value, _)) = (column, value) else { return None };
    if column.name != TIME {
        return None;
    }
    let (low, high) = pushdown::micros(op, pushdown::nanos(value)?)?;
    Some(Bounds { low, high })
}

/// The range that all filters together leave, with both of its ends; `None`: no filter speaks of time.
///
/// # Errors
/// It has one end only.
pub fn asked(filters: &[Expr], dataset: &str) -> Result<Option<Range<Time>>> {
    let bounds = filters.iter().filter_map(Bounds::of).fold(Bounds::ALL, Bounds::and);
    match (bounds.low != MICROS_MIN, bounds.high != MICROS_MAX) {
        (false, false) => Ok(None),
        (true, true) => Ok(Some(Time::from_micros(bounds.low)..Time::from_micros(bounds.high + 1))),
        _ => Err(needed(dataset)),
    }
}

pub fn needed(dataset: &str) -> QueryError {
    QueryError::Invalid(format!(
        "{dataset} is computed for a range of time: add WHERE time >= '2024-01-01T00:00:00Z' AND time < '2024-01-02T00:00:00Z'"
    ))
}

/// The buckets that begin in a range.
///
/// # Errors
/// They are too many.
pub fn steps(range: &Range<Time>, width: Width, zone: &TimeZone) -> Result<Steps> {
    let start = match width {
        Width::Micros(micros) => Time::from_micros(range.start.micros() + micros - 1).floor(micros),
        Width::Days => {
            let midnight = Level::Day.start(range.start, zone);
            if midnight == range.start { midnight } else { Level::Day.end(midnight, zone) }
        }
    };
    Ok(Steps::of(&(start..range.end), width, zone)?)
}

/// From so long before the first bucket to the end of the last; `None`: there is no bucket.
///
/// # Errors
/// That is before all time.
pub fn since(back: SignedDuration, steps: &Steps) -> Result<Option<Range<Timestamp>>> {
    let (Some(first), Some(last)) = (steps.spans.first(), steps.spans.last()) else { return Ok(None) };
    let from = first.start.timestamp().checked_sub(back);
    let from =
        from.map_err(|error| QueryError::Invalid(format!("a range that begins so long ago: {error}")))?;
    Ok(Some(from..last.end.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::{
        logical_expr::not,
        prelude::{col, lit},
        scalar::ScalarValue,
    };

    /// A second of 1970, as the engine writes it.
    fn at(second: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(second * 1_000_000_000), Some("+00:00".into())))
    }

    /// Seconds, the end not included.
    fn range(filters: &[Expr]) -> Option<(i64, i64)> {
        let range = asked(filters, "rollup").unwrap()?;
        let (from, to) = (range.start.micros(), range.end.micros());
        assert_eq!((from % 1_000_000, to % 1_000_000), (0, 0));
        Some((from / 1_000_000, to / 1_000_000))
    }

    #[test]
    fn a_range_is_found_however_it_is_written() {
        let time = || col("r.time");
        let wanted = Some((10, 20));
        assert_eq!(range(&[time().gt_eq(at(10)).and(time().lt(at(20)))]), wanted);
        assert_eq!(range(&[time().lt(at(20)), time().gt_eq(at(10))]), wanted);
        assert_eq!(range(&[at(10).lt_eq(time()), at(20).gt(time())]), wanted);
        let named = col("sensor").eq(lit("a"));
        assert_eq!(range(&[named.clone().and(time().gt_eq(at(10))), time().lt(at(20)), named]), wanted);
        let halves = |from: i64, to: i64| time().gt_eq(at(from)).and(time().lt(at(to)));
        assert_eq!(range(&[halves(10, 13).or(halves(15, 20))]), wanted);
        assert_eq!(range(&[halves(0, 20), halves(10, 99)]), wanted);
    }

    #[test]
    fn both_ends_of_between_are_in_it() {
        let between = asked(&[col("time").between(at(10), at(20))], "rollup").unwrap().unwrap();
        assert_eq!((between.start.micros(), between.end.micros()), (10_000_000, 20_000_001));
        let listed = asked(&[col("time").in_list(vec![at(10), at(15), at(20)], false)], "rollup");
        assert_eq!(listed.unwrap().unwrap(), between);
        let none = asked(&[col("time").gt(at(20)), col("time").lt(at(10))], "rollup").unwrap().unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn half_a_range_is_refused_and_what_is_no_range_is_none() {
        for half in [col("time").gt_eq(at(10)), col("time").lt(at(10))] {
            let error = asked(&[half], "rollup").unwrap_err().to_string();
            assert!(error.contains("add WHERE time >= '2024"), "{error}");
        }
        for none in [
            col("ends").gt_eq(at(10)),
            not(col("time").between(at(10), at(20))),
            col("time").gt_eq(at(10)).or(col("sensor").eq(lit("a"))),
            col("time").gt_eq(lit(ScalarValue::TimestampNanosecond(Some(10), None))),
        ] {
            assert_eq!(range(&[none]), None);
        }
    }

    #[test]
    fn buckets_begin_in_the_range() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        let of = |from: &str, to: &str, width: &str| -> Vec<String> {
            let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap().into();
            let steps = steps(&(time(from)..time(to)), width.parse().unwrap(), &zone).unwrap();
            steps.spans.iter().map(|span| span.start.to_string()).collect()
        };
        assert_eq!(of("2024-01-01T00:05:00Z", "2024-01-01T00:30:00Z", "15m"), ["2024-01-01T00:15:00Z"]);
        assert_eq!(of("2024-01-01T00:05:00Z", "2024-01-01T00:10:00Z", "15m"), [""; 0]);
        let days = of("2024-03-30T00:00:00Z", "2024-04-01T00:00:00Z", "1d");
        assert_eq!(days, ["2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"]);
        let many = steps(&(Time::from_micros(0)..Time::YEAR_2000), Width::Micros(1_000_000), &zone);
        assert!(matches!(many, Err(QueryError::Exhausted(_))));
    }
}

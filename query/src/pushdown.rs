//! Filters of a scan -> a WHERE clause of ours. Only instants, integers and series ids are ever written into SQL,
//! never a text of the client: COPY takes no parameters.

use crate::{
    series::Series,
    tables::{Column, Dataset, Kind, Source},
};
use datafusion::{
    logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList},
    scalar::ScalarValue,
};
use std::fmt::Write;

/// Microseconds since 1970 that nanoseconds can say; what lies outside decodes to null, which no comparison selects.
pub const MICROS_MIN: i64 = i64::MIN / 1000;
pub const MICROS_MAX: i64 = i64::MAX / 1000;

/// The SQL condition that selects exactly the rows for which `filter` is true, or none if there is no such condition.
///
/// AND and OR may mix conditions because "unknown" may count as false below them; NOT may not.
pub fn condition(dataset: &Dataset, filter: &Expr, series: &Series) -> Option<String> {
    if dataset.has_series() && Series::decides(filter) {
        return series.matching(filter).ok().map(|ids| among(&ids));
    }
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (condition(dataset, left, series)?, condition(dataset, right, series)?);
            Some(format!("({left} {op} {right})"))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (Expr::Column(name), Expr::Literal(value, _)) => {
                comparison(dataset.column(&name.name)?, *op, value)
            }
            (Expr::Literal(value, _), Expr::Column(name)) => {
                comparison(dataset.column(&name.name)?, op.swap()?, value)
            }
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let (Expr::Column(name), Expr::Literal(low, _), Expr::Literal(high, _)) =
                (&**expr, &**low, &**high)
            else {
                return None;
            };
            let column = dataset.column(&name.name)?;
            let low = comparison(column, Operator::GtEq, low)?;
            Some(format!("({low} AND {})", comparison(column, Operator::LtEq, high)?))
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let Expr::Column(name) = &**expr else { return None };
            let column = dataset.column(&name.name)?;
            let one = |item: &Expr| match item {
                Expr::Literal(value, _) => comparison(column, Operator::Eq, value),
                _ => None,
            };
            let any: Vec<_> = list.iter().map(one).collect::<Option<_>>()?;
            (!any.is_empty()).then(|| format!("({})", any.join(" OR ")))
        }
        Expr::IsNotNull(inner) | Expr::IsNull(inner) => {
            let Expr::Column(name) = &**inner else { return None };
            let column = dataset.column(&name.name)?;
            let Source::Sql(sql) = column.source else { return None };
            let not = if matches!(filter, Expr::IsNotNull(_)) { "NOT " } else { "" };
            // An infinite instant decodes to null without being null in the database.
            (column.kind != Kind::Time).then(|| format!("({sql}) IS {not}NULL"))
        }
        _ => None,
    }
}

/// What a filter asks for, where it is no more than times and series: nanoseconds, both ends included, and ids in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub times: (i64, i64),
    pub ids: Option<Vec<i32>>,
}

impl Extent {
    pub const ALL: Extent = Extent { times: (i64::MIN, i64::MAX), ids: None };

    /// The rows of both.
    pub fn and(self, other: Extent) -> Extent {
        let times = (self.times.0.max(other.times.0), self.times.1.min(other.times.1));
        let ids = match (self.ids, other.ids) {
            (Some(mut ids), Some(others)) => {
                ids.retain(|id| others.binary_search(id).is_ok());
                Some(ids)
            }
            (one, other) => one.or(other),
        };
        Extent { times, ids }
    }
}

/// The extent that is exactly what `filter` selects; none if it asks for anything else.
pub fn extent(dataset: &Dataset, filter: &Expr, series: &Series) -> Option<Extent> {
    if dataset.has_series() && Series::decides(filter) {
        let mut ids = series.matching(filter).ok()?;
        ids.sort_unstable();
        return Some(Extent { ids: Some(ids), ..Extent::ALL });
    }
    let bound = |name: &datafusion::prelude::Column, op: Operator, value: &ScalarValue| {
        let column = dataset.column(&name.name)?;
        if dataset.time != Some(column.name) || column.kind != Kind::Time {
            return None;
        }
        let (low, high) = micros(op, nanos(value)?)?;
        let times = (
            low.max(MICROS_MIN).saturating_mul(1000),
            high.min(MICROS_MAX).saturating_mul(1000).saturating_add(999),
        );
        Some(Extent { times, ..Extent::ALL })
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(extent(dataset, left, series)?.and(extent(dataset, right, series)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (Expr::Column(name), Expr::Literal(value, _)) => bound(name, *op, value),
            (Expr::Literal(value, _), Expr::Column(name)) => bound(name, op.swap()?, value),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => match (&**expr, &**low, &**high) {
            (Expr::Column(name), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                Some(bound(name, Operator::GtEq, low)?.and(bound(name, Operator::LtEq, high)?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `column` `op` `value`. Floats are left to the engine: PostgreSQL holds -0 equal to 0 and it does not.
fn comparison(column: &Column, op: Operator, value: &ScalarValue) -> Option<String> {
    let Source::Sql(sql) = column.source else { return None };
    match column.kind {
        Kind::Time => {
            let (low, high) = micros(op, nanos(value)?)?;
            Some(between(sql, low, high))
        }
        Kind::Int32 | Kind::Int64 => {
            let number = integer(value)?;
            let op = match op {
                Operator::Eq => "=",
                Operator::NotEq => "<>",
                Operator::Lt => "<",
                Operator::LtEq => "<=",
                Operator::Gt => ">",
                Operator::GtEq => ">=",
                _ => return None,
            };
            Some(format!("({sql}) {op} ({number})::int8"))
        }
        Kind::Float | Kind::Bool | Kind::Text | Kind::Bytes => None,
    }
}

/// The microseconds, both ends included, of the instants that satisfy `op nanos`; an empty range is (1, 0).
pub fn micros(op: Operator, nanos: i64) -> Option<(i64, i64)> {
    let floor = nanos.div_euclid(1000);
    let ceiling = floor + i64::from(nanos.rem_euclid(1000) != 0);
    Some(match op {
        Operator::Eq if floor == ceiling => (floor, floor),
        Operator::Eq => (1, 0),
        Operator::Gt => (floor + 1, MICROS_MAX),
        Operator::GtEq => (ceiling, MICROS_MAX),
        Operator::Lt => (MICROS_MIN, ceiling - 1),
        Operator::LtEq => (MICROS_MIN, floor),
        _ => return None,
    })
}

fn between(sql: &str, low: i64, high: i64) -> String {
    let (low, high) = (low.max(MICROS_MIN), high.min(MICROS_MAX));
    let text = |micros| jiff::Timestamp::from_microsecond(micros).map(|time| time.to_string());
    match (text(low), text(high)) {
        (Ok(from), Ok(to)) if low <= high => {
            format!("({sql} >= '{from}'::timestamptz AND {sql} <= '{to}'::timestamptz)")
        }
        _ => "false".into(),
    }
}

/// Rows of a dataset whose time is in a range of nanoseconds; the end is excluded.
pub fn within(dataset: &Dataset, times: &std::ops::Range<i64>) -> String {
    let time = dataset.time.and_then(|name| dataset.column(name)).map(|column| column.stored().sql);
    let ceiling = |nanos: i64| nanos.div_euclid(1000) + i64::from(nanos.rem_euclid(1000) != 0);
    between(time.unwrap_or("time"), ceiling(times.start), ceiling(times.end).saturating_sub(1))
}

/// `series_id` is one of `ids`.
pub fn among(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "false".into();
    }
    let mut sql = String::from("series_id = ANY ('{");
    for (at, id) in ids.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(sql, "{comma}{id}"); // into a String: cannot fail
    }
    sql + "}'::int4[])"
}

/// Unix nanoseconds of a literal with a time zone: without one, the engine has not yet said what it means.
pub fn nanos(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(Some(value), Some(_)) => value.checked_mul(1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(value), Some(_)) => value.checked_mul(1_000_000),
        ScalarValue::TimestampMicrosecond(Some(value), Some(_)) => value.checked_mul(1000),
        ScalarValue::TimestampNanosecond(Some(value), Some(_)) => Some(*value),
        _ => None,
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        ScalarValue::UInt8(value) => value.map(i64::from),
        ScalarValue::UInt16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(value) => value.and_then(|value| i64::try_from(value).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::instant;
    use datafusion::prelude::{col, lit};
    use expect_test::expect;
    use proptest::prelude::*;

    fn utc(nanos: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())))
    }

    fn sql(filter: &Expr) -> Option<String> {
        let series = Series::of([(1, "a", "m", "u"), (2, "b", "m", "u"), (3, "c", "n", "u")]);
        condition(Dataset::named("reading").unwrap(), filter, &series)
    }

    #[test]
    fn a_range_of_time_and_names_is_pushed_down() {
        let from = 1_704_067_200_000_000_000;
        let filter = col("time").gt_eq(utc(from)).and(col("time").lt(utc(from + 60_000_000_000)));
        expect!["((time >= '2024-01-01T00:00:00Z'::timestamptz AND time <= '2262-04-11T23:47:16.854775Z'::timestamptz) AND (time >= '1677-09-21T00:12:43.145225Z'::timestamptz AND time <= '2024-01-01T00:00:59.999999Z'::timestamptz))"]
            .assert_eq(&sql(&filter).unwrap());
        expect!["series_id = ANY ('{1,2}'::int4[])"].assert_eq(&sql(&col("metric").eq(lit("m"))).unwrap());
        expect!["false"].assert_eq(&sql(&col("sensor").eq(lit("'; DROP TABLE reading; --"))).unwrap());
        let events = condition(
            Dataset::named("event").unwrap(),
            &col("quality").eq(lit(0)).or(col("sensor").eq(lit("c"))),
            &Series::of([(1, "a", "m", "u"), (3, "c", "n", "u")]),
        );
        expect!["((quality) = (0)::int8 OR series_id = ANY ('{3}'::int4[]))"].assert_eq(&events.unwrap());
    }

    #[test]
    fn what_cannot_be_exact_is_left_to_the_engine() {
        for filter in [
            col("value").gt(lit(1.0)),
            col("time").gt(utc(0)).or(col("value").gt(lit(1.0))),
            datafusion::logical_expr::not(col("time").gt(utc(0))),
            col("time").gt(lit(ScalarValue::TimestampNanosecond(Some(0), None))),
            col("time").is_null(),
            col("quality").eq(lit(0)), // as it is seen, not as it is stored
            col("quality").eq(lit("0")),
            col("quality").gt(col("value")),
        ] {
            assert_eq!(sql(&filter), None, "{filter}");
        }
    }

    proptest! {
        /// A stored instant has microseconds; the filter has nanoseconds.
        #[test]
        fn a_range_selects_what_the_comparison_does(stored in -40_000i64..40_000, bound in -40_000_000i64..40_000_000) {
            for op in [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq] {
                let (low, high) = micros(op, bound).unwrap();
                let nanos = stored * 1000;
                let plain = match op {
                    Operator::Eq => nanos == bound,
                    Operator::Lt => nanos < bound,
                    Operator::LtEq => nanos <= bound,
                    Operator::Gt => nanos > bound,
                    _ => nanos >= bound,
                };
                prop_assert_eq!(low <= stored && stored <= high, plain, "{} {} {}", stored, op, bound);
            }
        }

        #[test]
        fn any_bound_renders(bound in any::<i64>()) {
            for op in [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq] {
                let (low, high) = micros(op, bound).unwrap();
                let text = between("time", low, high);
                prop_assert!(text == "false" || text.matches("Z'").count() == 2, "{}", text);
            }
        }

        #[test]
        fn what_decodes_is_what_the_bounds_allow(micros in any::<i64>()) {
            let unix = micros.checked_add(crate::copy::POSTGRES_EPOCH_MICROS);
            let inside = unix.is_some_and(|unix| (MICROS_MIN..=MICROS_MAX).contains(&unix));
            prop_assert_eq!(instant(micros).is_some(), inside);
        }
    }
}

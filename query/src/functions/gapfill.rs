//! `gapfill`: the buckets of a time range, also those of which nothing was heard.

use crate::{
    error::{QueryError, Result},
    tables::time_type,
};
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, TimestampNanosecondArray},
        datatypes::{Field, Schema},
    },
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    datasource::MemTable,
    logical_expr::Expr,
    scalar::ScalarValue,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use processor::{
    measure::{Steps, Width, steps::Unfit},
    model::Time,
};
use std::{ops::Range, sync::Arc};

/// `gapfill(width, from, to)`: time and ends of each bucket that touches [from, to).
#[derive(Debug)]
pub struct Gapfill {
    /// Cuts the city's days.
    pub zone: TimeZone,
}

const USAGE: &str = "write gapfill('1h', '2026-03-01', '2026-04-01'): a width, and from and to as dates or as \
                     times such as 2026-03-01T00:00:00Z";

impl TableFunctionImpl for Gapfill {
    fn call_with_args(&self, args: TableFunctionArgs) -> datafusion::error::Result<Arc<dyn TableProvider>> {
        let texts: Vec<&str> = args.exprs().iter().filter_map(text).collect();
        let (3, [width, from, to]) = (args.exprs().len(), &texts[..]) else {
            return Err(QueryError::Invalid(USAGE.into()).into());
        };
        let batch = self.grid(width, from, to)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

impl Gapfill {
    fn grid(&self, width: &str, from: &str, to: &str) -> Result<RecordBatch> {
        let width = parse_width(width)?;
        let period = self.instant(from)?..self.instant(to)?;
        if period.end <= period.start {
            return Err(QueryError::Invalid(format!("gapfill: {to} is not after {from}: {USAGE}")));
        }
        let steps = Steps::of(&period, width, &self.zone).map_err(|unfit| match unfit {
            Unfit::TooMany => QueryError::Invalid(format!(
                "gapfill: {unfit}; from {from} to {to}, take 1h or 1d, or ask for the parts one after the other"
            )),
            Unfit::Interval(_) => QueryError::Invalid(format!("gapfill: {unfit}")),
        })?;
        let column = |pick: fn(&Range<Time>) -> Time| -> Result<ArrayRef> {
            let nanos = steps.spans.iter().map(|span| pick(span).micros().checked_mul(1_000));
            let nanos = nanos.collect::<Option<Vec<i64>>>().ok_or_else(|| {
                QueryError::Invalid("gapfill: give times between the years 1678 and 2261".into())
            })?;
            Ok(Arc::new(TimestampNanosecondArray::from(nanos).with_timezone("UTC")))
        };
        let fields = ["time", "ends"].map(|name| Field::new(name, time_type(), true));
        let columns = vec![column(|span| span.start)?, column(|span| span.end)?];
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns)?)
    }

    /// A date is its first instant in the city.
    fn instant(&self, text: &str) -> Result<Time> {
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(instant.into());
        }
        let midnight = text.parse::<Date>().and_then(|date| date.to_zoned(self.zone.clone()));
        let midnight =
            midnight.map_err(|_| QueryError::Invalid(format!("gapfill: no time {text:?}: {USAGE}")))?;
        Ok(midnight.timestamp().into())
    }
}

fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
            _,
        ) => text.as_deref(),
        _ => None,
    }
}

/// `1d` is a local day; others are counted from 1970, an hour at most a day.
fn parse_width(text: &str) -> Result<Width> {
    const DAY_S: i64 = 86_400;
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", DAY_S)];
    let seconds = units.into_iter().find_map(|(suffix, unit)| {
        let number: i64 = text.strip_suffix(suffix)?.parse().ok()?;
        number.checked_mul(unit)
    });
    match seconds {
        Some(DAY_S) => Ok(Width::Days),
        Some(seconds) if 0 < seconds && seconds < DAY_S => Ok(Width::Micros(seconds * 1_000_000)),
        _ => Err(QueryError::Invalid(format!(
            "gapfill: {text:?} is no width: give a width such as 15m, 1h or 1d"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    fn paris() -> Gapfill {
        Gapfill { zone: TimeZone::get("Europe/Paris").unwrap() }
    }

    fn grid(width: &str, from: &str, to: &str) -> Result<Vec<(String, String)>> {
        let batch = paris().grid(width, from, to)?;
        let text = |column: usize, row: usize| {
            let array = batch.column(column);
            let times = array.as_any().downcast_ref::<TimestampNanosecondArray>().unwrap();
            Timestamp::from_nanosecond(times.value(row).into()).unwrap().to_string()
        };
        Ok((0..batch.num_rows()).map(|row| (text(0, row), text(1, row))).collect())
    }

    #[test]
    fn days_follow_the_clocks_of_the_city() {
        let days = grid("1d", "2026-03-28", "2026-03-31").unwrap();
        let expected = [
            ("2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"),
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
        ];
        assert_eq!(days, expected.map(|(time, ends)| (time.to_owned(), ends.to_owned())));
        assert_eq!(grid("1h", "2026-03-29", "2026-03-30").unwrap().len(), 23);
        assert_eq!(grid("15m", "2026-10-25", "2026-10-26").unwrap().len(), 100);
        let some = grid("5m", "2026-03-29T00:57:00Z", "2026-03-29T03:02:00+02:00").unwrap();
        assert_eq!((some.len(), some[0].0.as_str()), (2, "2026-03-29T00:55:00Z"));
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_what_to_do() {
        let refused = |width: &str, from: &str, to: &str| grid(width, from, to).unwrap_err().to_string();
        for width in ["", "h", "0m", "-1h", "2d", "90000s", "1 day", "1M", "99999999999999999h"] {
            let text = refused(width, "2026-01-01", "2026-01-02");
            assert!(text.ends_with("give a width such as 15m, 1h or 1d"), "{text}");
        }
        assert!(refused("1s", "2020-01-01", "2026-01-01").contains("take 1h or 1d"));
        assert!(refused("1h", "2026-01-02", "2026-01-01").contains("is not after"));
        assert!(refused("1h", "yesterday", "2026-01-01").contains("as dates or as times"));
        assert!(refused("1d", "0001-01-01", "0001-01-05").contains("1678"));
        assert_eq!(grid("1h", "2026-01-01", "2026-01-02").unwrap().len(), 24);
    }

    #[tokio::test]
    async fn a_bucket_without_a_row_is_there_and_null() {
        let context = SessionContext::new();
        context.register_udtf("gapfill", Arc::new(paris()));
        let sql = "SELECT count(*) AS hours, count(v) AS heard, sum(v) AS v \
                   FROM gapfill('1h', '2026-03-29', '2026-03-30') AS grid \
                   LEFT JOIN (VALUES (TIMESTAMPTZ '2026-03-29T03:00:00Z', 7)) AS r(t, v) ON grid.time = r.t";
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let shown = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        assert!(shown.contains("| 23    | 1     | 7 |"), "{shown}");
        for wrong in ["gapfill('1h')", "gapfill(1, 2, 3)", "gapfill('1h', now(), '2026-01-01')"] {
            let refused = context.sql(&format!("SELECT * FROM {wrong}")).await.err().unwrap().to_string();
            assert!(refused.contains("write gapfill('1h'"), "{refused}");
        }
    }
}

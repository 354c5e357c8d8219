//! What a client asks for: a dataset by a JSON ticket, or a statement.

use crate::{
    catalogue,
    error::{QueryError, Result},
    measured::{self, Measure, Source},
};
use datafusion::{
    dataframe::DataFrame,
    logical_expr::in_subquery,
    prelude::{SessionContext, col, lit},
    scalar::ScalarValue,
};
use processor::measure::Width;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes of a ticket or statement that are read at all.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Of the name of an answer.
const ID_BYTES_MAX: usize = 64;
/// How far back one goes that nobody told.
const LAST: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// `{"dataset": "reading", "from": "2024-01-01T00:00:00Z", "to": ..., "sensor": [..], "metric": [..], "segment": [..],
/// "zone": [..], "columns": [..], "width": "15m", "limit": n}`; all but `dataset` may be left out. `from` is included, `to` is not.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    pub dataset: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Vec<String>>,
    /// Of the sensors on these segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Vec<String>>,
    /// Of the sensors in these zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Of buckets, such as `15m`, `1h` or `1d`, where the dataset has them of any width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Readings or passages as they are committed, without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Where a live answer goes on: `resume` of the last message of an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// Names the answer, so that it can be cancelled; GetFlightInfo sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Ticket {
    pub fn of(dataset: &str) -> Self {
        Self { dataset: dataset.into(), ..Self::default() }
    }

    /// One that works as it is: what is computed for a range of time has the last day.
    pub fn ready(dataset: &str, now: jiff::Timestamp) -> Self {
        let ticket = Self::of(dataset);
        match Measure::named(dataset).filter(|measure| measure.needs_range()) {
            Some(_) => Self { from: now.checked_sub(LAST).ok(), to: Some(now), ..ticket },
            None => ticket,
        }
    }

    /// # Errors
    /// If the text is not such a ticket; the message says where.
    pub fn parse(json: &str) -> Result<Self> {
        let ticket: Self = serde_json::from_str(json).map_err(|error| {
            QueryError::Invalid(format!(
                "the ticket cannot be read: {error}; expected e.g. {{\"dataset\": \"reading\", \"from\": \
                 \"2024-01-01T00:00:00Z\", \"sensor\": [\"WM-101\"], \"limit\": 10}}"
            ))
        })?;
        ticket.id.as_deref().map_or(Ok(()), check_id)?;
        Ok(ticket)
    }

    /// Whether it has no end.
    pub fn is_live(&self) -> bool {
        self.live == Some(true) || self.resume.is_some()
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| QueryError::Internal(format!("a ticket in JSON: {error}")))
    }

    /// The table that is asked for, as a role sees it, and the column that `from` and `to` cut.
    async fn table(
        &self,
        context: &SessionContext,
        source: &Arc<Source>,
    ) -> Result<(DataFrame, Option<&'static str>)> {
        let width = self.width.as_deref().map(str::parse::<Width>).transpose();
        let width = width.map_err(QueryError::Invalid)?;
        if let Some(table) = measured::table(&self.dataset, width, source)? {
            return Ok((context.read_table(table)?, Some("time")));
        }
        let shown = catalogue::shown(&source.rules).find(|shown| shown.name == self.dataset);
        let Some(shown) = shown else {
            let known = catalogue::shown(&source.rules).map(|shown| shown.name);
            return Err(QueryError::NotFound(catalogue::missing("dataset", &self.dataset, known)));
        };
        if width.is_some() {
            return Err(QueryError::Invalid(format!("the buckets of {} have their own width", shown.name)));
        }
        Ok((context.table(shown.name).await?, shown.time))
    }

    /// The ticket as a query.
    pub async fn frame(&self, context: &SessionContext, source: &Arc<Source>) -> Result<DataFrame> {
        let (mut frame, time) = self.table(context, source).await?;
        let columns: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
        let has = |name: &str| columns.iter().any(|column| column == name);
        for (bound, after) in [(self.from, true), (self.to, false)] {
            let Some(bound) = bound else { continue };
            let Some(time) = time else {
                return Err(QueryError::Invalid(format!(
                    "dataset {} has no time to cut by `from` and `to`",
                    self.dataset
                )));
            };
            let bound = lit(instant(bound)?);
            frame = frame.filter(if after { col(time).gt_eq(bound) } else { col(time).lt(bound) })?;
        }
        for (name, wanted) in [("sensor", &self.sensor), ("metric", &self.metric)] {
            let Some(wanted) = wanted else { continue };
            if !has(name) {
                return Err(QueryError::Invalid(format!("dataset {} has no column {name}", self.dataset)));
            }
            frame = frame
                .filter(col(name).in_list(wanted.iter().map(|text| lit(text.as_str())).collect(), false))?;
        }
        let is_of_selection = Measure::named(&self.dataset).is_some_and(Measure::is_of_selection);
        for (name, wanted) in [("segment", &self.segment), ("zone", &self.zone)] {
            let Some(wanted) = wanted else { continue };
            let wanted = || wanted.iter().map(|text| lit(text.as_str())).collect();
            frame = match (has(name), has("sensor")) {
                (true, _) => frame.filter(col(name).in_list(wanted(), false))?,
                (false, true) if !is_of_selection => {
                    let there = context.table("sensor").await?.filter(col(name).in_list(wanted(), false))?;
                    let there = there.select([col("id")])?.into_unoptimized_plan();
                    frame.filter(in_subquery(col("sensor"), Arc::new(there)))?
                }
                (false, _) => {
                    return Err(QueryError::Invalid(format!("dataset {} is of no {name}", self.dataset)));
                }
            };
        }
        if let Some(wanted) = &self.columns {
            for name in wanted {
                if !has(name) {
                    let known = columns.iter().map(String::as_str);
                    return Err(QueryError::Invalid(catalogue::missing("column", name, known)));
                }
            }
            // As columns, not as text: a name is never parsed.
            frame = frame.select(wanted.iter().map(|name| datafusion::prelude::ident(name.as_str())))?;
        }
        if let Some(limit) = self.limit {
            frame = frame.limit(0, Some(limit))?;
        }
        Ok(frame)
    }
}

/// The handle of a statement's ticket: a random id to cancel it by, and the SQL itself, so that any process can
/// answer it.
pub fn statement_handle(sql: &str) -> String {
    format!("{} {sql}", new_id())
}

/// The id and SQL of a statement's ticket.
pub fn read_statement_handle(handle: &[u8]) -> Result<(&str, &str)> {
    text(handle)?.split_once(' ').filter(|(id, _)| check_id(id).is_ok()).ok_or_else(|| {
        QueryError::Invalid("the statement's ticket is not one of ours: ask for it by GetFlightInfo".into())
    })
}

/// The name of an answer, as a client may give it: it stands in the access log.
///
/// # Errors
/// Another name.
fn check_id(id: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(QueryError::Invalid(format!(
            "the id of an answer has 1 to {ID_BYTES_MAX} letters, digits, - and _; leave it out to get one"
        ))),
    }
}

/// A name that cannot be guessed, so that one client does not cancel or read another's query.
pub fn new_id() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

pub fn text(bytes: &[u8]) -> Result<&str> {
    if TEXT_BYTES_MAX < bytes.len() {
        return Err(QueryError::Exhausted(format!(
            "more than {TEXT_BYTES_MAX} B of text; send a shorter statement"
        )));
    }
    std::str::from_utf8(bytes).map_err(|_| {
        QueryError::Invalid(
            "expected UTF-8 text, a JSON ticket or a Flight SQL message; got other bytes".into(),
        )
    })
}

fn instant(time: jiff::Timestamp) -> Result<ScalarValue> {
    let nanos = i64::try_from(time.as_nanosecond())
        .map_err(|_| QueryError::Invalid(format!("{time} is outside of the years 1678 to 2261")))?;
    Ok(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_but_the_dataset_may_be_left_out() {
        assert_eq!(Ticket::parse(r#"{"dataset":"reading"}"#).unwrap(), Ticket::of("reading"));
        let full = r#"{"dataset":"event","from":"2024-01-01T00:00:00Z","to":"2024-01-01T02:00:00+01:00","sensor":["a"],
            "metric":[],"columns":["time"],"limit":3}"#;
        let ticket = Ticket::parse(full).unwrap();
        assert_eq!(ticket.to.unwrap().to_string(), "2024-01-01T01:00:00Z");
        assert_eq!(Ticket::parse(&ticket.to_json().unwrap()).unwrap(), ticket);
    }

    #[test]
    fn a_wrong_ticket_says_what_is_wrong() {
        for (text, word) in [
            (r#"{"dataset":"reading","form":1}"#, "form"),
            (r#"{"from":"2024-01-01T00:00:00Z"}"#, "dataset"),
            (r#"{"dataset":"reading","limit":-1}"#, "-1"),
            (r#"{"dataset":"reading","from":"yesterday"}"#, "year"),
            ("{", "EOF"),
        ] {
            let error = Ticket::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_statement_travels_in_its_ticket() {
        let handle = statement_handle("SELECT 1 -- ä");
        assert_eq!(read_statement_handle(handle.as_bytes()).unwrap().1, "SELECT 1 -- ä");
        assert!(read_statement_handle(b"SELECT").is_err());
        assert!(read_statement_handle(b"\xff\xfe").is_err());
    }

    proptest! {
        #[test]
        fn hostile_tickets_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[{}\\[\\]\",:a-z0-9 ]{0,80}") {
            let _ = read_statement_handle(&bytes);
            let _ = Ticket::parse(&json);
        }
    }
}

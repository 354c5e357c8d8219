//! Prepared statements between their making and closing, bounded in number and age: clients forget to close them.

use crate::{
    error::{QueryError, Result},
    ticket::new_id,
};
use arrow_flight::{FlightData, decode::FlightRecordBatchStream, error::FlightError};
use datafusion::{
    arrow::{array::RecordBatch, ipc::root_as_message},
    scalar::ScalarValue,
};
use futures::{FutureExt, Stream, StreamExt};
use processor::faults::{Bug, planted};
use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tonic::Status;

/// Statements kept; beyond it the one unused for longest goes. At most 320 KiB each.
const KEPT: usize = 1000;
/// Since its last use.
const TTL: Duration = Duration::from_secs(3600);
/// Bytes of the bound values of one statement.
const BOUND_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub struct Prepared {
    kept: Mutex<HashMap<String, Entry>>,
    max: usize,
}

#[derive(Debug)]
struct Entry {
    /// Nobody else may use it.
    owner: Arc<str>,
    /// With numbered parameters.
    sql: String,
    bound: Vec<ScalarValue>,
    used: Instant,
}

impl Default for Prepared {
    fn default() -> Self {
        Self { kept: Mutex::default(), max: KEPT }
    }
}

impl Prepared {
    /// Keeps a statement of somebody and returns its handle.
    pub fn keep(&self, owner: &Arc<str>, sql: String, now: Instant) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, entry| now.duration_since(entry.used) < TTL);
        if self.max <= kept.len()
            && let Some(oldest) =
                kept.iter().min_by_key(|(_, entry)| entry.used).map(|(handle, _)| handle.clone())
        {
            kept.remove(&oldest);
        }
        let handle = new_id();
        kept.insert(handle.clone(), Entry { owner: owner.clone(), sql, bound: Vec::new(), used: now });
        handle
    }

    /// The statement and the values bound to it.
    pub fn get(&self, owner: &str, handle: &[u8], now: Instant) -> Result<(String, Vec<ScalarValue>)> {
        self.with(owner, handle, now, |entry| (entry.sql.clone(), entry.bound.clone()))
    }

    /// Binds values to `$1`, `$2`, .., in place of those before.
    pub fn bind(&self, owner: &str, handle: &[u8], values: Vec<ScalarValue>, now: Instant) -> Result<()> {
        let bytes: usize = values.iter().map(ScalarValue::size).sum();
        if BOUND_BYTES_MAX < bytes {
            return Err(QueryError::Exhausted(format!(
                "{bytes} B of parameters; {BOUND_BYTES_MAX} B are allowed"
            )));
        }
        self.with(owner, handle, now, |entry| entry.bound = values)
    }

    /// Closing what is gone already is no error.
    pub fn close(&self, owner: &str, handle: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(handle) = std::str::from_utf8(handle)
            && kept.get(handle).is_some_and(|entry| *entry.owner == *owner)
        {
            kept.remove(handle);
        }
    }

    fn with<T>(
        &self,
        owner: &str,
        handle: &[u8],
        now: Instant,
        act: impl FnOnce(&mut Entry) -> T,
    ) -> Result<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = std::str::from_utf8(handle).ok().and_then(|handle| kept.get_mut(handle));
        let is_theirs = |entry: &&mut Entry| *entry.owner == *owner || planted(Bug::SharedHandle);
        match entry.filter(|entry| is_theirs(entry) && now.duration_since(entry.used) < TTL) {
            Some(entry) => {
                entry.used = now;
                Ok(act(entry))
            }
            None => Err(QueryError::NotFound(
                "no such prepared statement, or it is too old: prepare it again".into(),
            )),
        }
    }
}

/// Of the messages with parameters of one statement: a row, and dictionaries of its texts.
const PARAMETER_BYTES_MAX: usize = 4 << 20;
/// For a client that begins to send parameters.
const PARAMETER_TIMEOUT: Duration = Duration::from_secs(30);

/// Refuses what would take more memory than it is long: the reader believes the length that compressed data say of
/// themselves. Also too much of it.
fn bounded(
    data: impl Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static,
) -> impl Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static {
    let mut left = PARAMETER_BYTES_MAX;
    data.map(move |message| {
        let message = message?;
        let refuse = |error: QueryError| Err(FlightError::Tonic(Box::new(error.into())));
        // Each message counts, also an empty one.
        let bytes = message.data_header.len() + message.data_body.len() + 1024;
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => {
                let text = format!("more than {PARAMETER_BYTES_MAX} B of parameters; bind one row");
                return refuse(QueryError::Exhausted(text));
            }
        }
        match is_compressed(&message.data_header) {
            true => {
                refuse(QueryError::Invalid("compressed parameters are not taken: send them plain".into()))
            }
            false => Ok(message),
        }
    })
}

fn is_compressed(header: &[u8]) -> bool {
    let Ok(message) = root_as_message(header) else { return false }; // its reader says what is wrong
    let rows = message.header_as_record_batch();
    let rows = rows.or_else(|| message.header_as_dictionary_batch()?.data());
    rows.is_some_and(|rows| rows.compression().is_some())
}

/// The one row of parameters that a client streams.
///
/// # Errors
/// It is not to be had, not a row, or takes too long.
pub async fn row(
    data: impl Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static,
) -> std::result::Result<Vec<ScalarValue>, Status> {
    let late = |_| QueryError::Deadline(format!("no row of parameters within {PARAMETER_TIMEOUT:?}"));
    tokio::time::timeout(PARAMETER_TIMEOUT, read_row(bounded(data))).await.map_err(late)?
}

async fn read_row(
    data: impl Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static,
) -> std::result::Result<Vec<ScalarValue>, Status> {
    let invalid = |text: &str| Status::from(QueryError::Invalid(text.into()));
    let unread = |error: FlightError| match error {
        FlightError::Tonic(status) => *status,
        error => invalid(&format!("the parameters cannot be read: {error}")),
    };
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
    let mut row = None;
    // Arrow's reader panics where a buffer is said to lie outside of its message.
    while let Some(batch) = AssertUnwindSafe(batches.next())
        .catch_unwind()
        .await
        .map_err(|_| invalid("the parameters cannot be read: they are no Arrow data"))?
    {
        let batch = batch.map_err(unread)?;
        if 0 < batch.num_rows() {
            if row.is_some() {
                return Err(invalid(
                    "several batches of parameters; bind one row and run the statement once for each",
                ));
            }
            row = Some(values(&batch)?);
        }
    }
    row.ok_or_else(|| invalid("no row of parameters to bind"))
}

/// The one row of parameters as values. Some clients send each in a dense union.
fn values(batch: &RecordBatch) -> Result<Vec<ScalarValue>> {
    if batch.num_rows() != 1 {
        return Err(QueryError::Invalid(format!(
            "{} rows of parameters; bind one row and run the statement once for each",
            batch.num_rows()
        )));
    }
    batch.columns().iter().map(|column| Ok(bare(ScalarValue::try_from_array(column, 0)?))).collect()
}

fn bare(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Union(Some((_, value)), ..) => bare(*value),
        ScalarValue::Union(None, ..) => ScalarValue::Null,
        ScalarValue::Dictionary(_, value) => bare(*value),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use datafusion::arrow::{
        array::{ArrayRef, Int64Array, StringArray, UnionArray},
        buffer::ScalarBuffer,
        datatypes::{DataType, Field, UnionFields},
        ipc::{CompressionType, writer::IpcWriteOptions},
    };
    use futures::TryStreamExt;

    #[test]
    fn the_statement_unused_for_longest_makes_room() {
        let prepared = Prepared { max: 2, ..Prepared::default() };
        let (now, me) = (Instant::now(), Arc::from("me"));
        let (one, two) = (
            prepared.keep(&me, "1".into(), now),
            prepared.keep(&me, "2".into(), now + Duration::from_secs(1)),
        );
        prepared.get("me", one.as_bytes(), now + Duration::from_secs(2)).unwrap();
        let three = prepared.keep(&me, "3".into(), now + Duration::from_secs(3));
        assert!(prepared.get("me", two.as_bytes(), now).is_err());
        assert_eq!(prepared.get("me", three.as_bytes(), now + Duration::from_secs(3)).unwrap().0, "3");
        assert!(prepared.get("me", one.as_bytes(), now + TTL * 2).is_err(), "too old");
        prepared.close("me", one.as_bytes());
        assert!(prepared.get("me", one.as_bytes(), now).is_err());
        assert!(prepared.get("me", b"\xff", now).is_err());
    }

    #[test]
    fn a_handle_is_of_no_use_to_others() {
        let (now, prepared) = (Instant::now(), Prepared::default());
        let handle = prepared.keep(&Arc::from("me"), "SELECT 1".into(), now);
        assert!(prepared.get("you", handle.as_bytes(), now).is_err());
        assert!(prepared.bind("you", handle.as_bytes(), Vec::new(), now).is_err());
        prepared.close("you", handle.as_bytes());
        assert!(prepared.get("me", handle.as_bytes(), now).is_ok());
    }

    /// What becomes of a row of parameters on its way, with its messages so many times over.
    async fn sent(options: IpcWriteOptions, times: usize) -> std::result::Result<Vec<ScalarValue>, Status> {
        let batch =
            RecordBatch::try_from_iter([("p", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
        let encoder = FlightDataEncoderBuilder::new().with_options(options);
        let messages: Vec<FlightData> =
            encoder.build(futures::stream::iter([Ok(batch)])).try_collect().await.unwrap();
        let (schema, rows) = messages.split_first().unwrap();
        let rows = rows.iter().cycle().take(times * rows.len());
        let messages: Vec<_> = std::iter::once(schema).chain(rows).cloned().map(Ok).collect();
        row(futures::stream::iter(messages)).await
    }

    #[tokio::test]
    async fn parameters_are_plain_and_few() {
        let plain = IpcWriteOptions::default;
        assert_eq!(sent(plain(), 1).await.unwrap(), [ScalarValue::from("x")]);
        let compressed = plain().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        assert!(sent(compressed, 1).await.unwrap_err().message().contains("compressed"));
        assert!(sent(plain(), 2).await.unwrap_err().message().contains("one row"));
        let much = futures::stream::repeat_with(|| Ok(FlightData::new().with_data_body(vec![0; 1 << 20])));
        let passed: Vec<_> = bounded(much.take(10)).collect().await;
        assert_eq!(passed.iter().position(Result::is_err), Some(3));
    }

    #[test]
    fn a_value_in_a_dense_union_is_taken_out() {
        let fields = UnionFields::try_new(
            [0, 1],
            [Field::new("text", DataType::Utf8, true), Field::new("number", DataType::Int64, true)],
        )
        .unwrap();
        let children: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![7]))];
        let union = UnionArray::try_new(
            fields,
            ScalarBuffer::from(vec![1i8]),
            Some(ScalarBuffer::from(vec![0i32])),
            children,
        )
        .unwrap();
        let batch = RecordBatch::try_from_iter([("p", Arc::new(union) as ArrayRef)]).unwrap();
        assert_eq!(values(&batch).unwrap(), [ScalarValue::Int64(Some(7))]);
        assert!(values(&batch.slice(0, 0)).is_err());
    }
}

//! Rows on their way out: batches as large as the engine's own, as fast as they are taken.

use super::dataset::Measure;
use crate::{
    copy::ROWS,
    error::{QueryError, Result},
    tables::Kind,
};
use datafusion::{
    arrow::{
        array::{
            ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch,
            RecordBatchOptions, StringArray, TimestampNanosecondArray,
        },
        datatypes::SchemaRef,
    },
    error::Result as EngineResult,
};
use processor::model::Time;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// One value of a row. Nothing that was not observed is zero: it is null.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Time(Time),
    Number(f64),
    Count(i64),
    Small(i32),
    Flag(bool),
    Text(Arc<str>),
    Bytes(Vec<u8>),
}

pub struct Rows {
    /// Of the columns that are asked for.
    schema: SchemaRef,
    /// Their places in a row, and their kinds.
    columns: Vec<(usize, Kind)>,
    waiting: Vec<Vec<Cell>>,
    to: Sender<EngineResult<RecordBatch>>,
}

impl Rows {
    pub fn new(
        measure: &Measure,
        projection: &[usize],
        schema: SchemaRef,
        to: Sender<EngineResult<RecordBatch>>,
    ) -> Self {
        let columns = projection.iter().map(|&at| (at, measure.columns[at].kind)).collect();
        Self { schema, columns, waiting: Vec::with_capacity(ROWS), to }
    }

    /// Takes a row with a cell for every column of the dataset; waits for the consumer where it is slower.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub async fn put(&mut self, row: Vec<Cell>) -> Result<()> {
        self.waiting.push(row);
        if self.waiting.len() < ROWS { Ok(()) } else { self.send().await }
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub async fn finish(mut self) -> Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.send().await }
    }

    async fn send(&mut self) -> Result<()> {
        let columns = self.columns.iter().map(|&(at, kind)| column(kind, &self.waiting, at)).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(self.waiting.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)?;
        self.waiting.clear();
        let left = |_| QueryError::Cancelled("the client has left".into());
        self.to.send(Ok(batch)).await.map_err(left)
    }
}

/// A column of some rows; a cell of another kind is null.
fn column(kind: Kind, rows: &[Vec<Cell>], at: usize) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(at).unwrap_or(&Cell::Null));
    macro_rules! of {
        ($array:ty, $cell:ident, $value:expr) => {
            cells
                .map(|cell| if let Cell::$cell(value) = cell { $value(value) } else { None })
                .collect::<$array>()
        };
    }
    match kind {
        Kind::Time => {
            // What nanoseconds cannot say is null, as in the tables.
            let nanos = |time: &Time| time.micros().checked_mul(1000);
            Arc::new(of!(TimestampNanosecondArray, Time, nanos).with_timezone("UTC"))
        }
        Kind::Float => Arc::new(of!(Float64Array, Number, |value: &f64| Some(*value))),
        Kind::Int32 => Arc::new(of!(Int32Array, Small, |value: &i32| Some(*value))),
        Kind::Int64 => Arc::new(of!(Int64Array, Count, |value: &i64| Some(*value))),
        Kind::Bool => Arc::new(of!(BooleanArray, Flag, |value: &bool| Some(*value))),
        Kind::Text => Arc::new(of!(StringArray, Text, |value| Some(Arc::<str>::as_ref(value)))),
        Kind::Bytes => Arc::new(of!(BinaryArray, Bytes, |value| Some(Vec::<u8>::as_slice(value)))),
    }
}

impl From<Time> for Cell {
    fn from(time: Time) -> Cell {
        Cell::Time(time)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell::Number(number)
    }
}

impl From<i64> for Cell {
    fn from(count: i64) -> Cell {
        Cell::Count(count)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Cell {
        Cell::Small(number)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell::Flag(flag)
    }
}

impl From<&Arc<str>> for Cell {
    fn from(text: &Arc<str>) -> Cell {
        Cell::Text(text.clone())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::dataset::MEASURED;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn rows_leave_in_full_batches_with_the_columns_that_are_asked_for() {
        let measure = &MEASURED[0];
        let projection = [4, 2, 0];
        let schema = Arc::new(measure.schema().project(&projection).unwrap());
        let (to, mut from) = mpsc::channel(4);
        let mut rows = Rows::new(measure, &projection, schema.clone(), to);
        for second in 0..ROWS as i64 + 1 {
            let time = Cell::from(Time::from_micros(second));
            let unit = Cell::from((second == 0).then_some("1"));
            rows.put(vec![time, Cell::Null, Cell::from("a"), Cell::Null, unit]).await.unwrap();
        }
        rows.finish().await.unwrap();
        let sizes = [from.recv().await, from.recv().await].map(|batch| batch.unwrap().unwrap());
        assert_eq!(sizes.each_ref().map(RecordBatch::num_rows), [ROWS, 1]);
        assert_eq!(sizes[0].schema(), schema);
        assert_eq!((sizes[0].column(0).null_count(), sizes[0].column(1).null_count()), (ROWS - 1, 0));
        assert!(from.recv().await.is_none());
    }

    #[tokio::test]
    async fn whoever_stops_listening_stops_the_rows() {
        let measure = &MEASURED[0];
        let (to, from) = mpsc::channel(1);
        let mut rows = Rows::new(measure, &[], Arc::new(measure.schema().project(&[]).unwrap()), to);
        drop(from);
        rows.put(vec![Cell::Null]).await.unwrap();
        assert!(matches!(rows.finish().await, Err(QueryError::Cancelled(_))));
    }
}

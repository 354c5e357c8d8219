//! What leaves: plain types that every client reads, in batches of a size that every client accepts.

use crate::{
    error::{QueryError, Result},
    tables::time_type,
};
use datafusion::arrow::{
    array::{Array, RecordBatch, RecordBatchOptions, UInt64Array},
    compute::{CastOptions, cast_with_options, take_record_batch},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    util::display::FormatOptions,
};
use std::sync::Arc;

/// Bytes of one message; Go clients refuse more than 4 MB unless told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;
/// Types in each other: writing and reading them takes stack for each.
const DEPTH_MAX: usize = 16;

/// The schema that clients see: all columns nullable, no dictionaries, views or large types, decimals as floats, and
/// every instant in nanoseconds UTC.
///
/// # Errors
/// A type that is nested too deeply to be sent.
pub fn schema(schema: &Schema) -> Result<SchemaRef> {
    let field = |field: &FieldRef| {
        if DEPTH_MAX < depth(field.data_type()) {
            let text =
                format!("column {}: a type of more than {DEPTH_MAX} types in each other", field.name());
            return Err(QueryError::Exhausted(text));
        }
        let kind = plain(field.data_type());
        Ok(Field::new(field.name(), kind, true).with_metadata(field.metadata().clone()))
    };
    Ok(Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Result<Fields>>()?)))
}

/// How many types are in each other, as far as it matters.
fn depth(kind: &DataType) -> usize {
    let (mut level, mut depth) = (vec![kind], 0);
    while !level.is_empty() && depth <= DEPTH_MAX {
        level = level.into_iter().flat_map(within).collect();
        depth += 1;
    }
    depth
}

fn within(kind: &DataType) -> Vec<&DataType> {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::Dictionary(_, value) => vec![value],
        DataType::RunEndEncoded(_, values) => vec![values.data_type()],
        _ => Vec::new(),
    }
}

/// The batch in that schema.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if column.data_type() == field.data_type() {
            columns.push(column.clone());
            continue;
        }
        // An instant that nanoseconds cannot say is null, as in the tables; anything else that does not fit is an error.
        let options = CastOptions {
            safe: matches!(field.data_type(), DataType::Timestamp(..)),
            format_options: FormatOptions::default(),
        };
        columns.push(cast_with_options(column, field.data_type(), &options)?);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &rows)?)
}

/// The batch cut into messages. Sizes are those of the rows: the encoder looks at the buffers behind them and would cut
/// a slice of a large batch into crumbs.
pub fn pieces(batch: RecordBatch) -> Vec<RecordBatch> {
    let (rows, bytes) = (batch.num_rows(), bytes(&batch));
    if bytes <= MESSAGE_BYTES || rows <= 1 {
        return vec![batch];
    }
    let each = rows.div_ceil(bytes.div_ceil(MESSAGE_BYTES));
    (0..rows).step_by(each).map(|at| batch.slice(at, each.min(rows - at))).collect()
}

/// Bytes of the rows of a batch, without what its buffers hold besides.
/// The same rows in memory of their own.
pub fn compact(rows: &RecordBatch) -> Result<RecordBatch> {
    let indices = UInt64Array::from_iter_values(0..rows.num_rows() as u64);
    Ok(take_record_batch(rows, &indices)?)
}

pub fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::RunEndEncoded(_, value) => plain(value.data_type()),
        DataType::Timestamp(..) => time_type(),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => DataType::Float64,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

fn inner(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), plain(field.data_type()), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::{
        array::{ArrayRef, AsArray, DictionaryArray, Int64Array, StringArray, TimestampMicrosecondArray},
        datatypes::{Int32Type, TimestampNanosecondType},
    };

    #[test]
    fn every_column_leaves_in_a_plain_type() {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let times = TimestampMicrosecondArray::from(vec![Some(1), None, Some(i64::MAX)]);
        let batch = RecordBatch::try_from_iter([
            ("word", Arc::new(words) as ArrayRef),
            ("time", Arc::new(times) as ArrayRef),
        ])
        .unwrap();
        let schema = schema(batch.schema_ref()).unwrap();
        let out = conform(&batch, &schema).unwrap();
        assert_eq!(out.schema(), schema);
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        assert_eq!(out.column(0).as_string::<i32>(), &StringArray::from(vec!["a", "b", "a"]));
        let times = out.column(1).as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.iter().collect::<Vec<_>>(), [Some(1000), None, None]);
    }

    #[test]
    fn messages_stay_small_and_a_slice_is_not_cut_into_crumbs() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000_000));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let all = pieces(batch.clone());
        assert!(all.iter().all(|piece| bytes(piece) <= MESSAGE_BYTES));
        assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000_000);
        assert_eq!(pieces(batch.slice(5, 1000)).len(), 1);
    }
}

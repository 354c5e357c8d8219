//! Parquet: zstd, row groups of up to 128 Ki rows that leave as they fill, statistics, and what the answer is in the
//! file's metadata. Instants are nanoseconds UTC, as everywhere.

use super::{Context, Format, cannot_hold, cell::Instant};
use crate::error::Result;
use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use std::io;

/// A reader skips whole groups by their statistics, and memory holds one: a day of a sensor a second is less.
const GROUP_ROWS: usize = 128 << 10;
/// For rows of long texts.
const GROUP_BYTES: usize = 32 << 20;
/// Level 1 is within a few per cent of 3 and costs the network's threads half the time.
const ZSTD_LEVEL: i32 = 1;

pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn new(schema: &SchemaRef, context: &Context) -> Result<Self> {
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|error| cannot_hold(Format::Parquet, &error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_created_by("screenline".into())
            .set_key_value_metadata(Some(about(context)))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        Ok(Self(writer.map_err(|error| cannot_hold(Format::Parquet, &error))?))
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        // The writer counts its own bytes, so those that were handed on may be taken away.
        self.0.inner_mut()
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        Ok(self.0.write(batch)?)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.0.finish()?;
        Ok(())
    }
}

fn about(context: &Context) -> Vec<KeyValue> {
    let instant = |time: jiff::Timestamp| Instant(time).to_string();
    let facts = [
        ("dataset", Some(context.dataset.clone())),
        ("from", context.from.map(instant)),
        ("to", context.to.map(instant)),
        ("complete_until", context.complete_until.map(instant)),
        ("licence", context.licence.clone()),
    ];
    facts.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use bytes::Bytes;
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::{collections::HashMap, mem, sync::Arc};

    fn builder(bytes: Vec<u8>) -> ParquetRecordBatchReaderBuilder<Bytes> {
        ParquetRecordBatchReaderBuilder::try_new(bytes.into()).unwrap()
    }

    #[test]
    fn it_is_read_back_with_its_metadata() {
        let context = Context {
            dataset: "reading".into(),
            from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            complete_until: Some("2026-01-02T00:00:00Z".parse().unwrap()),
            licence: Some("CC-BY-4.0".into()),
            ..Context::default()
        };
        for batch in [sample::readings(), sample::all_types()] {
            let mut parquet = Parquet::new(&batch.schema(), &context).unwrap();
            parquet.batch(&batch).unwrap();
            parquet.finish().unwrap();
            let builder = builder(mem::take(parquet.bytes()));
            let metadata = builder.metadata().file_metadata();
            let facts: HashMap<_, _> = metadata
                .key_value_metadata()
                .unwrap()
                .iter()
                .map(|fact| (fact.key.as_str(), fact.value.as_deref().unwrap()))
                .collect();
            assert_eq!(facts["dataset"], "reading");
            assert_eq!(facts["from"], "2026-01-01T00:00:00Z");
            assert_eq!(facts["complete_until"], "2026-01-02T00:00:00Z");
            assert_eq!(facts["licence"], "CC-BY-4.0");
            assert!(!facts.contains_key("to"));
            let statistics = builder.metadata().row_group(0).column(0).statistics();
            assert_eq!(statistics.unwrap().null_count_opt(), Some(batch.column(0).null_count() as u64));
            let read: Vec<_> = builder.build().unwrap().map(std::result::Result::unwrap).collect();
            sample::assert_same(&read, &batch);
        }
    }

    #[test]
    fn row_groups_leave_as_they_fill() {
        const ROWS: i64 = 10_000;
        const BATCHES: i64 = 40;
        let numbers = |nth: i64| {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(nth * ROWS..(nth + 1) * ROWS));
            RecordBatch::try_from_iter([("n", numbers)]).unwrap()
        };
        let mut parquet = Parquet::new(&numbers(0).schema(), &Context::default()).unwrap();
        let (mut bytes, mut pieces) = (Vec::new(), 0);
        for nth in 0..BATCHES {
            parquet.batch(&numbers(nth)).unwrap();
            pieces += usize::from(!parquet.bytes().is_empty());
            bytes.append(parquet.bytes());
        }
        assert!(3 <= pieces && pieces < 10, "{pieces}");
        parquet.finish().unwrap();
        bytes.append(parquet.bytes());
        let builder = builder(bytes);
        let groups: Vec<_> = builder.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [131_072, 131_072, 131_072, 6_784]);
        let read: Vec<i64> = builder
            .build()
            .unwrap()
            .flat_map(|batch| {
                let batch = batch.unwrap();
                batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
            })
            .collect();
        assert!(read.into_iter().eq(0..ROWS * BATCHES));
    }
}

//! One segment as a Parquet file: what is stored of a dataset's day, in runs that are sorted by series, then time, with
//! the extremes of each block, so that one series touches only its own blocks.

use crate::{
    error::{QueryError, Result},
    tables::{SERIES_ID, time_type},
};
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{Int32Type, SchemaRef, TimestampNanosecondType},
};
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    basic::{Compression, Encoding},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        reader::{ChunkReader, Length},
    },
    schema::types::ColumnPath,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows of a block: small enough that a series of 20 s costs a block a day, large enough to compress.
pub const BLOCK_ROWS: usize = 16_384;
/// Rows that are sorted at once: some 150 MB while they are.
const RUN_ROWS: usize = 1_000_000;
/// And bytes of them: a state is larger than a number.
const RUN_BYTES: usize = 64 << 20;

/// A file that is there as long as this is: whatever is left behind would fill the disk.
#[derive(Debug)]
struct OnDisk(PathBuf);

/// What is written, until it is whole.
pub struct Writer {
    disk: OnDisk,
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

/// A file that is whole, with its index in memory: some hundred bytes a block. It is opened for each block, as there are
/// more segments than a process may have open; dropped, it leaves the disk.
#[derive(Debug)]
pub struct SegmentFile {
    disk: OnDisk,
    metadata: ArrowReaderMetadata,
    pub blocks: Vec<Block>,
    pub bytes: u64,
}

/// Rows next to each other in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub rows: usize,
    /// Both ends included.
    pub series: (i32, i32),
    /// Nanoseconds; both ends included.
    pub times: (i64, i64),
}

impl Writer {
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| disk(path, &error))?;
        let delta = |builder: parquet::file::properties::WriterPropertiesBuilder, name: &str| {
            let column = ColumnPath::from(name);
            builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
        };
        let builder = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_max_row_group_row_count(Some(BLOCK_ROWS));
        let times = schema.fields().iter().filter(|field| *field.data_type() == time_type());
        let properties = times.fold(builder, |builder, field| delta(builder, field.name())).build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(unwritten)?;
        Ok(Self { disk: OnDisk(path.to_owned()), writer, schema, waiting: Vec::new(), rows: 0, bytes: 0 })
    }

    /// Takes some rows; a run of them is sorted and written when it is full.
    ///
    /// # Errors
    /// The disk is full, or the rows are others than the schema says.
    pub fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.waiting.push(rows);
        match RUN_ROWS <= self.rows || RUN_BYTES <= self.bytes {
            true => self.end_run(),
            false => Ok(()),
        }
    }

    /// Sorts what waits and writes it as a run of its own.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn end_run(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        (self.rows, self.bytes) = (0, 0);
        if waiting.is_empty() {
            return Ok(());
        }
        let rows = sorted(&concat_batches(&self.schema, &waiting)?)?;
        drop(waiting);
        for at in (0..rows.num_rows()).step_by(BLOCK_ROWS) {
            let block = rows.slice(at, BLOCK_ROWS.min(rows.num_rows() - at));
            self.writer.write(&block).map_err(unwritten)?;
            self.writer.flush().map_err(unwritten)?;
        }
        Ok(())
    }

    /// Writes a block that is sorted already, as it is.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_block(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(unwritten)?;
        self.writer.flush().map_err(unwritten)
    }

    /// Closes the file and opens it for readers.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn finish(mut self) -> Result<SegmentFile> {
        self.end_run()?;
        let Self { disk, writer, .. } = self;
        writer.close().map_err(unwritten)?;
        SegmentFile::open(disk)
    }
}

impl SegmentFile {
    fn open(disk: OnDisk) -> Result<Self> {
        let reader = At(disk.open()?);
        let bytes = reader.len();
        let metadata = ArrowReaderMetadata::load(&reader, ArrowReaderOptions::new()).map_err(unread)?;
        let schema = metadata.schema().clone();
        let mut opened = Self { disk, metadata, blocks: Vec::new(), bytes };
        let place = |name: &str| schema.index_of(name);
        let (series, time) = (place(SERIES_ID.name)?, place("time")?);
        for group in 0..opened.metadata.metadata().num_row_groups() {
            // Read once, while the pages are in memory: statistics would have to be believed in their own forms.
            let rows = opened.rows(group, &[series, time])?;
            opened.blocks.push(block(&rows)?);
        }
        Ok(opened)
    }

    /// One column of a block.
    ///
    /// # Errors
    /// The file is damaged or gone.
    pub fn column(&self, block: usize, column: usize) -> Result<ArrayRef> {
        Ok(self.rows(block, &[column])?.column(0).clone())
    }

    /// All columns of a block.
    ///
    /// # Errors
    /// As [`SegmentFile::column`].
    pub fn block(&self, block: usize) -> Result<RecordBatch> {
        self.rows(block, &(0..self.metadata.schema().fields().len()).collect::<Vec<_>>())
    }

    /// Some columns of a block, in the order of the file.
    fn rows(&self, block: usize, columns: &[usize]) -> Result<RecordBatch> {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(At(self.disk.open()?), self.metadata.clone());
        let mask = ProjectionMask::leaves(builder.parquet_schema(), columns.iter().copied());
        let mut reader = builder
            .with_row_groups(vec![block])
            .with_projection(mask)
            .with_batch_size(BLOCK_ROWS)
            .build()
            .map_err(unread)?;
        let rows = reader.next().ok_or_else(|| damaged("a block without rows"))??;
        match reader.next() {
            None => Ok(rows),
            Some(_) => Err(damaged("a block of too many rows")),
        }
    }
}

impl OnDisk {
    fn open(&self) -> Result<Arc<File>> {
        Ok(Arc::new(File::open(&self.0).map_err(|error| disk(&self.0, &error))?))
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a segment could not be removed");
        }
    }
}

/// By series, then time.
fn sorted(rows: &RecordBatch) -> Result<RecordBatch> {
    let (ids, times) = keys(rows)?;
    let mut order: Vec<u32> =
        (0..u32::try_from(rows.num_rows()).map_err(|_| damaged("too many rows"))?).collect();
    order.sort_unstable_by_key(|at| (ids[*at as usize], times[*at as usize]));
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}

/// The series and instants of rows.
pub fn keys(rows: &RecordBatch) -> Result<(&[i32], &[i64])> {
    let ids = rows.column_by_name(SERIES_ID.name).and_then(|ids| ids.as_primitive_opt::<Int32Type>());
    let times =
        rows.column_by_name("time").and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    match (ids, times) {
        (Some(ids), Some(times)) if ids.null_count() == 0 && times.null_count() == 0 => {
            Ok((ids.values(), times.values()))
        }
        _ => Err(damaged("rows without series and times")),
    }
}

fn block(rows: &RecordBatch) -> Result<Block> {
    let (ids, times) = keys(rows)?;
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Err(damaged("an empty block")) };
    let earliest = times.iter().min().copied().unwrap_or(i64::MAX);
    let latest = times.iter().max().copied().unwrap_or(i64::MIN);
    Ok(Block { rows: ids.len(), series: (*first, *last), times: (earliest, latest) })
}

/// Where rows of a series lie in a block, by its ids; within, they are in order of time.
pub fn place(ids: &[i32], id: i32) -> Range<usize> {
    let start = ids.partition_point(|other| *other < id);
    start..start + ids[start..].partition_point(|other| *other == id)
}

/// A file that several readers read at once, each at its own place.
struct At(Arc<File>);

struct Reading {
    file: Arc<File>,
    at: u64,
}

impl Length for At {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for At {
    type T = Reading;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Reading> {
        Ok(Reading { file: self.0.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn damaged(what: &str) -> QueryError {
    QueryError::Internal(format!("a segment is damaged: {what}"))
}

fn disk(path: &Path, error: &io::Error) -> QueryError {
    QueryError::Busy(format!("the segment {}: {error}", path.display()))
}

fn unwritten(error: ParquetError) -> QueryError {
    QueryError::Busy(format!("a segment cannot be written: {error}"))
}

fn unread(error: ParquetError) -> QueryError {
    QueryError::Internal(format!("a segment cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Dataset;
    use datafusion::arrow::array::{Float64Array, Int32Array, TimestampNanosecondArray};

    /// Rows of series and nanoseconds; the value is the row's place.
    fn rows(keys: &[(i32, i64)]) -> RecordBatch {
        let (ids, times): (Vec<i32>, Vec<i64>) = keys.iter().copied().unzip();
        let dataset = Dataset::named("reading").unwrap();
        let stored =
            [SERIES_ID, dataset.column("time").unwrap().stored(), dataset.column("value").unwrap().stored()];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(ids)),
            Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")),
            Arc::new(Float64Array::from_iter_values((0..keys.len()).map(|at| at as f64))),
        ];
        RecordBatch::try_new(crate::copy::schema(&stored), columns).unwrap()
    }

    #[test]
    fn a_series_is_found_in_its_own_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<(i32, i64)> = (0..50_000).map(|at| (at % 7, i64::from(at) * 1_000_000)).collect();
        let rows = rows(&keys);
        let mut writer = Writer::create(&folder.path().join("a.parquet"), rows.schema()).unwrap();
        for at in (0..50_000).step_by(8192) {
            writer.write(rows.slice(at, 8192.min(50_000 - at))).unwrap();
        }
        let file = writer.finish().unwrap();
        assert_eq!(file.blocks.iter().map(|block| block.rows).sum::<usize>(), 50_000);
        let mut found = Vec::new();
        for (at, block) in file.blocks.iter().enumerate() {
            assert!(block.rows <= BLOCK_ROWS);
            if block.series.0 <= 3 && 3 <= block.series.1 {
                let ids = file.column(at, 0).unwrap();
                let place = place(ids.as_primitive::<Int32Type>().values(), 3);
                let times = file.column(at, 1).unwrap();
                found.extend_from_slice(&times.as_primitive::<TimestampNanosecondType>().values()[place]);
            }
        }
        let wanted: Vec<i64> = keys.iter().filter(|key| key.0 == 3).map(|key| key.1).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let rows = rows(&[(1, 1), (1, 2)]);
        let mut writer = Writer::create(&path, rows.schema()).unwrap();
        writer.write(rows).unwrap();
        let file = writer.finish().unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..4]).unwrap();
        assert!(file.column(0, 0).is_err());
        drop(file);
        assert!(!path.exists(), "nothing is left behind");
    }
}

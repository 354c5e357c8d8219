//! PostgreSQL's binary COPY format -> Arrow arrays, without a row in between.
//!
//! Format: <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>. A frame usually holds
//! one row, but nothing promises it: rows may span frames and frames hold many rows.

use crate::{
    database::Frames,
    error::{QueryError, Result},
    tables::{Kind, Stored},
};
use datafusion::arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
        RecordBatchOptions, StringBuilder, TimestampNanosecondBuilder,
    },
    datatypes::{Field, Schema, SchemaRef},
};
use std::sync::Arc;

/// Rows of a full batch: the engine's own batch size, so that nothing is cut or joined later.
pub const ROWS: usize = 8192;
/// A batch is closed early at this size, so that payloads of 64 KiB do not make one of half a gigabyte.
const BATCH_BYTES: usize = 2 << 20;
/// The largest row believed; PostgreSQL's own limit for a field is 1 GiB.
const ROW_BYTES_MAX: usize = 16 << 20;
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Feed it frames with `push`, take batches with `next_batch`, and call `finish` at the end.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<Builder>,
    /// Bytes not decoded yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    header_seen: bool,
    trailer_seen: bool,
    rows: usize,
    bytes: usize,
}

/// The rows of one COPY on their way from the database. Dropped before its end, it stops the statement at the server.
pub struct Reader(Option<(Frames, Decoder)>);

impl Reader {
    pub fn new(frames: Frames, stored: &[Stored]) -> Self {
        let kinds: Vec<Kind> = stored.iter().map(|stored| stored.kind).collect();
        Self(Some((frames, Decoder::new(schema(stored), &kinds))))
    }

    /// The next rows; none at the end, where the connection was given back.
    ///
    /// # Errors
    /// The database fails, or sends something else.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some((mut frames, mut decoder)) = self.0.take() else { return Ok(None) };
        while decoder.decode()? == Step::NeedsMore {
            match frames.next().await? {
                Some(frame) => decoder.push(&frame),
                None => {
                    frames.finish().await?;
                    return decoder.finish();
                }
            }
        }
        let rows = decoder.next_batch()?;
        self.0 = Some((frames, decoder));
        Ok(rows)
    }
}

/// Of rows with these columns.
pub fn schema(stored: &[Stored]) -> SchemaRef {
    let fields = stored.iter().map(|stored| Field::new(stored.name, stored.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What stopped `Decoder::decode`.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Feed more frames, or finish.
    NeedsMore,
    /// Take the batch and call again.
    BatchReady,
}

enum Builder {
    Time(TimestampNanosecondBuilder),
    Float(Float64Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl Decoder {
    /// `kinds` in the order of `schema`'s columns, which are the fields of each row.
    pub fn new(schema: SchemaRef, kinds: &[Kind]) -> Self {
        Self {
            schema,
            columns: kinds.iter().map(|&kind| Builder::new(kind)).collect(),
            buffer: Vec::new(),
            at: 0,
            header_seen: false,
            trailer_seen: false,
            rows: 0,
            bytes: 0,
        }
    }

    /// Takes one frame. Decode until `Step::NeedsMore` before the next one, or the buffer grows.
    pub fn push(&mut self, frame: &[u8]) {
        if 0 < self.at {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(frame);
    }

    /// Decodes whole rows from what was pushed.
    ///
    /// # Errors
    /// If the bytes are not COPY data with these columns.
    pub fn decode(&mut self) -> Result<Step> {
        if !self.header_seen {
            let Some(header) = header_len(&self.buffer[self.at..])? else {
                return Ok(Step::NeedsMore);
            };
            self.at += header;
            self.header_seen = true;
        }
        while !self.trailer_seen {
            if self.rows == ROWS || BATCH_BYTES <= self.bytes {
                return Ok(Step::BatchReady);
            }
            let Some(row) = row_len(&self.buffer[self.at..], self.columns.len())? else {
                return Ok(Step::NeedsMore);
            };
            let Some(len) = row else {
                self.trailer_seen = true;
                break;
            };
            self.row(self.at + 2)?;
            self.at += len;
            self.rows += 1;
            self.bytes += len;
        }
        Ok(Step::NeedsMore)
    }

    /// The rows decoded so far, or none if there are none.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.columns.iter_mut().map(Builder::finish).collect();
        // A scan of no columns still counts rows.
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.rows = 0;
        self.bytes = 0;
        Ok(Some(batch))
    }

    /// The last batch.
    ///
    /// # Errors
    /// If the stream ended inside a row or without its trailer: rows are missing.
    pub fn finish(mut self) -> Result<Option<RecordBatch>> {
        if !self.trailer_seen {
            return Err(QueryError::Unavailable("the database's answer was cut short".into()));
        }
        self.next_batch()
    }

    /// Appends the row whose fields start at `at`; its length is already known to be there.
    fn row(&mut self, mut at: usize) -> Result<()> {
        for builder in &mut self.columns {
            match take(&self.buffer, &mut at) {
                Some(bytes) => builder.value(bytes)?,
                None => builder.null(),
            }
        }
        Ok(())
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new().with_timezone("UTC")),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 => Self::Int64(Int64Builder::new()),
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
        }
    }

    fn value(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Time(builder) => builder.append_option(instant(i64::from_be_bytes(exact(bytes)?))),
            Self::Float(builder) => builder.append_value(f64::from_be_bytes(exact(bytes)?)),
            Self::Int32(builder) => builder.append_value(i32::from_be_bytes(exact(bytes)?)),
            Self::Int64(builder) => builder.append_value(i64::from_be_bytes(exact(bytes)?)),
            Self::Bool(builder) => builder.append_value(exact::<1>(bytes)? != [0]),
            Self::Text(builder) => builder.append_value(
                std::str::from_utf8(bytes)
                    .map_err(|error| QueryError::Internal(format!("a text is not UTF-8: {error}")))?,
            ),
            Self::Bytes(builder) => builder.append_value(bytes),
        }
        Ok(())
    }

    fn null(&mut self) {
        match self {
            Self::Time(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
        }
    }
}

/// PostgreSQL microseconds since 2000 -> Unix nanoseconds; none for infinities and what nanoseconds cannot say.
pub fn instant(micros_since_2000: i64) -> Option<i64> {
    // The infinities are the extremes of i64, so they overflow here as well.
    micros_since_2000.checked_add(POSTGRES_EPOCH_MICROS)?.checked_mul(1000)
}

/// Signature, flags and header extension; none if more bytes are needed.
fn header_len(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < SIGNATURE.len() + 8 {
        return Ok(None);
    }
    if !bytes.starts_with(SIGNATURE) {
        return Err(QueryError::Internal("the database's answer is not binary COPY data".into()));
    }
    let extension = u32::from_be_bytes(exact(&bytes[15..19])?) as usize;
    if ROW_BYTES_MAX < extension {
        return Err(QueryError::Internal(format!("a COPY header of {extension} B")));
    }
    let len = 19 + extension;
    Ok((len <= bytes.len()).then_some(len))
}

/// Length of the row that starts here: `None` if it is not complete, `Some(None)` for the trailer.
fn row_len(bytes: &[u8], fields: usize) -> Result<Option<Option<usize>>> {
    let Some(count) = bytes.first_chunk::<2>() else { return Ok(None) };
    match i16::from_be_bytes(*count) {
        -1 => return Ok(Some(None)),
        count if usize::try_from(count).is_ok_and(|count| count == fields) => {}
        count => {
            return Err(QueryError::Internal(format!(
                "a row of {count} fields where {fields} were asked for"
            )));
        }
    }
    let mut at = 2;
    for _ in 0..fields {
        let Some(len) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
        at += 4;
        match i32::from_be_bytes(*len) {
            -1 => {}
            len => {
                at +=
                    usize::try_from(len).map_err(|_| QueryError::Internal(format!("a field of {len} B")))?;
            }
        }
        if ROW_BYTES_MAX < at {
            return Err(QueryError::Exhausted(format!(
                "a row of more than {ROW_BYTES_MAX} B: leave out its texts"
            )));
        }
    }
    Ok((at <= bytes.len()).then_some(Some(at)))
}

/// The field at `at`, which moves behind it; none for null. The row is known to be whole.
fn take<'a>(buffer: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let len = buffer.get(*at..)?.first_chunk::<4>()?;
    *at += 4;
    let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
    let field = buffer.get(*at..*at + len)?;
    *at += len;
    Some(field)
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes
        .try_into()
        .map_err(|_| QueryError::Internal(format!("a field of {} B where {N} B were asked for", bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::{
        array::AsArray,
        datatypes::{Field, Float64Type, Int32Type, Schema, TimestampNanosecondType},
    };
    use proptest::prelude::*;

    /// series, time, value, class
    const KINDS: [Kind; 4] = [Kind::Int32, Kind::Time, Kind::Float, Kind::Text];

    fn schema() -> SchemaRef {
        let fields = ["series_id", "time", "value", "class"].into_iter().zip(KINDS);
        Arc::new(Schema::new(
            fields.map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Vec<_>>(),
        ))
    }

    type Row = (i32, Option<i64>, Option<f64>, Option<String>);

    fn encoded(rows: &[Row]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        let field = |bytes: &mut Vec<u8>, value: Option<&[u8]>| match value {
            Some(value) => {
                bytes.extend((value.len() as i32).to_be_bytes());
                bytes.extend(value);
            }
            None => bytes.extend((-1i32).to_be_bytes()),
        };
        for (id, time, value, class) in rows {
            bytes.extend(4i16.to_be_bytes());
            field(&mut bytes, Some(&id.to_be_bytes()));
            field(&mut bytes, time.map(i64::to_be_bytes).as_ref().map(|b| b.as_slice()));
            field(&mut bytes, value.map(f64::to_be_bytes).as_ref().map(|b| b.as_slice()));
            field(&mut bytes, class.as_ref().map(|text| text.as_bytes()));
        }
        bytes.extend((-1i16).to_be_bytes());
        bytes
    }

    fn decoded(frames: &[&[u8]]) -> Result<Vec<RecordBatch>> {
        let mut decoder = Decoder::new(schema(), &KINDS);
        let mut batches = Vec::new();
        for frame in frames {
            decoder.push(frame);
            loop {
                match decoder.decode()? {
                    Step::NeedsMore => break,
                    Step::BatchReady => batches.extend(decoder.next_batch()?),
                }
            }
        }
        batches.extend(decoder.finish()?);
        Ok(batches)
    }

    #[test]
    fn nulls_and_infinities_are_null() {
        let rows = [
            (1, Some(0), Some(1.5), None),
            (2, None, None, Some("car".into())),
            (2, Some(i64::MAX), None, None),
        ];
        let batches = decoded(&[&encoded(&rows)]).unwrap();
        let [batch] = &batches[..] else { panic!("one batch") };
        let times = batch.column(1).as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.iter().collect::<Vec<_>>(), [Some(946_684_800_000_000_000), None, None]);
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 2]);
        assert_eq!(
            batch.column(2).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(),
            [Some(1.5), None, None]
        );
        assert_eq!(batch.column(3).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("car"), None]);
        assert_eq!(instant(i64::MIN), None);
    }

    #[test]
    fn batches_hold_eight_thousand_rows() {
        let rows = vec![(1, Some(0), Some(0.0), None); ROWS + 5];
        let sizes: Vec<_> = decoded(&[&encoded(&rows)]).unwrap().iter().map(RecordBatch::num_rows).collect();
        assert_eq!(sizes, [ROWS, 5]);
    }

    #[test]
    fn long_texts_close_a_batch_early() {
        let rows = vec![(1, Some(0), None, Some("x".repeat(64 << 10))); 100];
        let batches = decoded(&[&encoded(&rows)]).unwrap();
        assert!(2 < batches.len());
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    }

    #[test]
    fn a_scan_of_no_columns_counts_rows() {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        bytes.extend([0, 0, 0, 0, 0xff, 0xff]);
        let mut decoder = Decoder::new(Arc::new(Schema::empty()), &[]);
        decoder.push(&bytes);
        assert_eq!(decoder.decode().unwrap(), Step::NeedsMore);
        assert_eq!(decoder.finish().unwrap().unwrap().num_rows(), 2);
    }

    #[test]
    fn a_cut_stream_is_an_error_not_a_short_answer() {
        let bytes = encoded(&[(1, Some(0), None, None)]);
        for cut in 0..bytes.len() {
            assert!(decoded(&[&bytes[..cut]]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_wrong_width_is_an_error() {
        let mut decoder = Decoder::new(
            Arc::new(Schema::new(vec![Field::new("n", Kind::Int32.arrow(), true)])),
            &[Kind::Int32],
        );
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        bytes.extend([0, 1, 0, 0, 0, 2, 9, 9]);
        decoder.push(&bytes);
        assert!(decoder.decode().is_err());
    }

    proptest! {
        #[test]
        fn frames_may_be_cut_anywhere(
            rows in prop::collection::vec(
                (1i32..=2, prop::option::of(any::<i32>().prop_map(i64::from)), prop::option::of(-1e9..1e9f64),
                 prop::option::of("[a-zäß]{0,9}")),
                0..20,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = encoded(&rows);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let frames: Vec<_> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decoded(&frames).unwrap(), decoded(&[&bytes]).unwrap());
            prop_assert_eq!(decoded(&frames).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), rows.len());
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), valid in any::<bool>()) {
            let mut frame = if valid { encoded(&[])[..19].to_vec() } else { Vec::new() };
            frame.extend(bytes);
            let _ = decoded(&[&frame]);
        }
    }
}

//! PostgreSQL's binary COPY format -> Arrow arrays, without a row in between.
//!
//! Format: <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>. A frame usually holds
//! one row, but nothing promises it: rows may span frames and frames hold many rows.

use crate::{
    error::{QueryError, Result},
    series::Series,
    tables::{Kind, SeriesPart, VIEWED, ViewPart},
};
use datafusion::arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
        RecordBatchOptions, StringBuilder, TimestampNanosecondBuilder,
    },
    datatypes::SchemaRef,
};
use processor::model::{Quality, Time};
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

/// What fills an output column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The next field of the row.
    Field(Kind),
    /// A text of the row's series; the row's first field is then its id.
    Series(SeriesPart),
    /// As the registry sees it; the row's first fields are then its series' id, its time, value and quality.
    View(ViewPart),
}

/// Feed it frames with `push`, take batches with `next_batch`, and call `finish` at the end.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<(Fill, Builder)>,
    with_series: bool,
    with_view: bool,
    /// Fields that every row must have.
    fields: usize,
    /// Bytes not decoded yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    header_seen: bool,
    trailer_seen: bool,
    rows: usize,
    bytes: usize,
}

/// What stopped `Decoder::decode`.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Feed more frames, or finish.
    NeedsMore,
    /// Take the batch and call again.
    BatchReady,
    /// A series that the dictionary does not hold: refresh it and call again.
    UnknownSeries(i32),
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
    /// `fills` in the order of `schema`'s columns. If one is a `Fill::Series`, every row starts with an int4 series id.
    pub fn new(schema: SchemaRef, fills: &[Fill]) -> Self {
        let with_view = fills.iter().any(|fill| matches!(fill, Fill::View(_)));
        let with_series = with_view || fills.iter().any(|fill| matches!(fill, Fill::Series(_)));
        let from_fields = fills.iter().filter(|fill| matches!(fill, Fill::Field(_))).count();
        Self {
            schema,
            columns: fills.iter().map(|&fill| (fill, Builder::new(fill))).collect(),
            with_series,
            with_view,
            fields: from_fields + usize::from(with_series) + if with_view { VIEWED.len() } else { 0 },
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
    pub fn decode(&mut self, series: &Series) -> Result<Step> {
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
            let Some(row) = row_len(&self.buffer[self.at..], self.fields)? else {
                return Ok(Step::NeedsMore);
            };
            let Some(len) = row else {
                self.trailer_seen = true;
                break;
            };
            if let Some(unknown) = self.row(self.at + 2, series)? {
                return Ok(Step::UnknownSeries(unknown));
            }
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
        let columns = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
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
    /// Returns a series id instead, and appends nothing, if the dictionary does not hold it.
    fn row(&mut self, mut at: usize, series: &Series) -> Result<Option<i32>> {
        let buffer = &self.buffer;
        let mut entry: Option<usize> = None;
        let mut id = 0;
        if self.with_series {
            id = i32::from_be_bytes(exact(
                take(buffer, &mut at).ok_or_else(|| QueryError::Internal("a row has no series".into()))?,
            )?);
            entry = series.position(id);
            if entry.is_none() {
                return Ok(Some(id));
            }
        }
        let mut seen = (0.0, Quality::GOOD);
        if self.with_view {
            let mut field = || {
                take(buffer, &mut at).ok_or_else(|| QueryError::Internal("a reading without a value".into()))
            };
            let time = Time::from_postgres_micros(i64::from_be_bytes(exact(field()?)?));
            let value = f64::from_be_bytes(exact(field()?)?);
            let quality = Quality(i32::from_be_bytes(exact(field()?)?));
            seen = series.view(id, time, value, quality);
        }
        for (fill, builder) in &mut self.columns {
            match (*fill, entry) {
                (Fill::View(part), _) => builder.seen(part, seen),
                (Fill::Series(part), Some(entry)) => builder.text(series.text(part, entry)),
                (Fill::Series(_), None) => builder.null(),
                (Fill::Field(_), _) => match take(buffer, &mut at) {
                    Some(bytes) => builder.value(bytes)?,
                    None => builder.null(),
                },
            }
        }
        Ok(None)
    }
}

impl Builder {
    fn new(fill: Fill) -> Self {
        match fill {
            Fill::Series(_) | Fill::Field(Kind::Text) => Self::Text(StringBuilder::new()),
            Fill::View(ViewPart::Value) => Self::Float(Float64Builder::new()),
            Fill::View(ViewPart::Quality) => Self::Int32(Int32Builder::new()),
            Fill::Field(Kind::Time) => Self::Time(TimestampNanosecondBuilder::new().with_timezone("UTC")),
            Fill::Field(Kind::Float) => Self::Float(Float64Builder::new()),
            Fill::Field(Kind::Int32) => Self::Int32(Int32Builder::new()),
            Fill::Field(Kind::Int64) => Self::Int64(Int64Builder::new()),
            Fill::Field(Kind::Bool) => Self::Bool(BooleanBuilder::new()),
            Fill::Field(Kind::Bytes) => Self::Bytes(BinaryBuilder::new()),
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

    fn seen(&mut self, part: ViewPart, (value, quality): (f64, Quality)) {
        match (self, part) {
            (Self::Float(builder), ViewPart::Value) => builder.append_value(value),
            (Self::Int32(builder), ViewPart::Quality) => builder.append_value(quality.0),
            (other, _) => other.null(), // a view is of these two
        }
    }

    fn text(&mut self, text: &str) {
        if let Self::Text(builder) = self {
            builder.append_value(text);
        }
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
        datatypes::{DataType, Field, Float64Type, Int32Type, Schema, TimestampNanosecondType},
    };
    use processor::model::{Calibration, View};
    use proptest::prelude::*;

    /// time, sensor (by series), value, class
    const FILLS: [Fill; 4] = [
        Fill::Field(Kind::Time),
        Fill::Series(SeriesPart::Sensor),
        Fill::Field(Kind::Float),
        Fill::Field(Kind::Text),
    ];

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("time", Kind::Time.arrow(), true),
            Field::new("sensor", Kind::Text.arrow(), true),
            Field::new("value", Kind::Float.arrow(), true),
            Field::new("class", Kind::Text.arrow(), true),
        ]))
    }

    fn series() -> Series {
        Series::of([(1, "WM-1", "water.volume.total", "m3"), (2, "WM-2", "water.volume.total", "m3")])
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
        let mut decoder = Decoder::new(schema(), &FILLS);
        let mut batches = Vec::new();
        for frame in frames {
            decoder.push(frame);
            loop {
                match decoder.decode(&series())? {
                    Step::NeedsMore => break,
                    Step::BatchReady => batches.extend(decoder.next_batch()?),
                    Step::UnknownSeries(id) => return Err(QueryError::Internal(format!("unknown {id}"))),
                }
            }
        }
        batches.extend(decoder.finish()?);
        Ok(batches)
    }

    #[test]
    fn a_value_is_seen_as_the_registry_says() {
        let calibration = Calibration { from: Time::YEAR_2000, scale: 2.0, offset: 1.0 };
        let view = View { max: Some(4.0), calibrations: [calibration].into(), ..View::default() };
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (id, micros, value) in [(1i32, -1i64, 1.5f64), (1, 0, 1.5), (1, 0, 1.6), (2, 0, 9.0)] {
            bytes.extend(4i16.to_be_bytes());
            let fields: [&[u8]; 4] =
                [&id.to_be_bytes(), &micros.to_be_bytes(), &value.to_be_bytes(), &16i32.to_be_bytes()];
            for field in fields {
                bytes.extend((field.len() as i32).to_be_bytes());
                bytes.extend(field);
            }
        }
        bytes.extend((-1i16).to_be_bytes());
        let fields = ["quality", "value"].into_iter().zip([DataType::Int32, DataType::Float64]);
        let fields: Vec<Field> = fields.map(|(name, kind)| Field::new(name, kind, true)).collect();
        let fills = [Fill::View(ViewPart::Quality), Fill::View(ViewPart::Value)];
        let mut decoder = Decoder::new(Arc::new(Schema::new(fields)), &fills);
        decoder.push(&bytes);
        assert_eq!(decoder.decode(&series().seen(1, view)).unwrap(), Step::NeedsMore);
        let batch = decoder.finish().unwrap().unwrap();
        let values: Vec<_> = batch.column(1).as_primitive::<Float64Type>().values().to_vec();
        let flags: Vec<_> = batch.column(0).as_primitive::<Int32Type>().values().to_vec();
        assert_eq!(values, [1.5, 4.0, 4.2, 9.0]);
        assert_eq!(flags, [16, 16, 16 | Quality::OUT_OF_RANGE.0, 16]);
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
        let times = batch.column(0).as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.iter().collect::<Vec<_>>(), [Some(946_684_800_000_000_000), None, None]);
        let sensors = batch.column(1).as_string::<i32>();
        assert_eq!(sensors.iter().collect::<Vec<_>>(), [Some("WM-1"), Some("WM-2"), Some("WM-2")]);
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
        assert_eq!(decoder.decode(&series()).unwrap(), Step::NeedsMore);
        assert_eq!(decoder.finish().unwrap().unwrap().num_rows(), 2);
    }

    #[test]
    fn an_unknown_series_loses_no_row() {
        let mut decoder = Decoder::new(schema(), &FILLS);
        decoder.push(&encoded(&[(1, Some(0), None, None), (7, Some(1), None, None)]));
        assert_eq!(decoder.decode(&series()).unwrap(), Step::UnknownSeries(7));
        let more = Series::of([(1, "WM-1", "m", "u"), (7, "WM-7", "m", "u")]);
        assert_eq!(decoder.decode(&more).unwrap(), Step::NeedsMore);
        let batch = decoder.finish().unwrap().unwrap();
        let sensors = batch.column(1).as_string::<i32>();
        assert_eq!(sensors.iter().collect::<Vec<_>>(), [Some("WM-1"), Some("WM-7")]);
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
            &[Fill::Field(Kind::Int32)],
        );
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        bytes.extend([0, 1, 0, 0, 0, 2, 9, 9]);
        decoder.push(&bytes);
        assert!(decoder.decode(&series()).is_err());
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

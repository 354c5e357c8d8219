//! Tables as Parquet, read row by row: of each column, one page is in memory at a time.

use std::{fs::File, path::Path, sync::atomic::Ordering};

use anyhow::{Context, ensure};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::{Field, reader::RowIter},
    schema::types::Type,
};

use super::{
    clock::unix,
    columns::Columns,
    input::AtomicProgress,
    number,
    sink::Sink,
    table::{Cell, Plan},
};
use crate::observation::Decimal;

/// What a column holds, where that is a time: how many of its numbers are a second, and whether they are UTC's.
type Time = Option<(i64, bool)>;

/// # Errors
/// The row that is wrong, a column that is missing or holds what no table of sensors does.
pub fn read(
    file: &Path,
    columns: &Columns,
    progress: &AtomicProgress,
    sink: &mut Sink<'_>,
) -> anyhow::Result<()> {
    let opened = File::open(file).context("open it")?;
    let bytes = opened.metadata().context("read it")?.len();
    let reader = SerializedFileReader::new(opened).context("it is no Parquet file")?;
    let about = reader.metadata().file_metadata();
    let rows = u64::try_from(about.num_rows()).unwrap_or(0);
    let fields = about.schema().get_fields();
    let head: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let plan = Plan::new(columns, &head)?;
    let mut times: Vec<Time> = Vec::new();
    for field in fields {
        ensure!(field.is_primitive(), "column {:?} has columns within: flatten it", field.name());
        ensure!(
            !matches!(field.get_basic_info().converted_type(), ConvertedType::INTERVAL | ConvertedType::LIST),
            "column {:?} holds intervals: leave it out",
            field.name()
        );
        times.push(time(field));
    }
    let before = progress.load(Ordering::Relaxed);
    for (number, row) in (1u64..).zip(RowIter::from_file(None, &reader)?) {
        let about = || format!("row {number}");
        let row = row.with_context(about)?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let cells: Vec<Cell<'_>> = fields
            .iter()
            .zip(&times)
            .map(|(field, time)| cell(field, *time))
            .collect::<anyhow::Result<_>>()
            .with_context(about)?;
        let at = |at: usize| cells.get(at).copied().unwrap_or(Cell::Empty);
        plan.row(at, sink).with_context(about)?;
        let share = u128::from(bytes) * u128::from(number) / u128::from(rows.max(1));
        progress.store(before + share as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn time(field: &Type) -> Time {
    let about = field.get_basic_info();
    match (about.logical_type_ref(), about.converted_type()) {
        (Some(LogicalType::Timestamp(time)), _) => {
            let parts = match time.unit {
                TimeUnit::MILLIS => 1_000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            };
            Some((parts, time.is_adjusted_to_u_t_c))
        }
        (None, ConvertedType::TIMESTAMP_MILLIS) => Some((1_000, true)),
        (None, ConvertedType::TIMESTAMP_MICROS) => Some((1_000_000, true)),
        _ => None,
    }
}

fn cell(field: &Field, time: Time) -> anyhow::Result<Cell<'_>> {
    let whole = |number: i64| Ok(Cell::Number(Decimal::whole(number)));
    let float = |number: f64, text: String| {
        if number.is_nan() { Ok(Cell::Empty) } else { number::decimal(&text).map(Cell::Number) }
    };
    match field {
        Field::Null => Ok(Cell::Empty),
        Field::Long(number) | Field::TimestampMillis(number) | Field::TimestampMicros(number) => {
            // Times of 96 bits come in milliseconds, and say nothing of a zone.
            let time = time.or(matches!(field, Field::TimestampMillis(_)).then_some((1_000, true)));
            let Some((parts, is_utc)) = time else { return whole(*number) };
            let time_us = unix(Decimal::whole(*number), parts).context("a time beyond the calendar")?;
            Ok(if is_utc { Cell::Instant(time_us) } else { Cell::Shown(time_us) })
        }
        Field::Bool(truth) => whole(i64::from(*truth)),
        Field::Byte(number) => whole(i64::from(*number)),
        Field::Short(number) => whole(i64::from(*number)),
        Field::Int(number) => whole(i64::from(*number)),
        Field::UByte(number) => whole(i64::from(*number)),
        Field::UShort(number) => whole(i64::from(*number)),
        Field::UInt(number) => whole(i64::from(*number)),
        Field::ULong(number) => whole(i64::try_from(*number).context("a number beyond 63 bits")?),
        Field::Float(number) => float(f64::from(*number), format!("{number:e}")),
        Field::Double(number) => float(*number, format!("{number:e}")),
        Field::Str(text) => Ok(Cell::Text(text)),
        Field::Decimal(_) => number::decimal(&field.to_string()).map(Cell::Number),
        Field::Bytes(bytes) => {
            Ok(Cell::Text(str::from_utf8(bytes.data()).context("bytes that are no text")?))
        }
        other => anyhow::bail!("{other} is no text, number or time"),
    }
}

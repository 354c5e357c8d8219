//! DATEX II 2.x: a MeasuredDataPublication of the columns `time`, `sensor`, `metric` and `value`.
//!
//! Rows that follow each other with the same sensor and time are one siteMeasurements: other orders give more and
//! smaller ones, as valid. Rows that DATEX II has no place for are left out, and counted in a comment at the end. A value
//! that was found to be wrong keeps its place, with a dataError.

mod measure;

use self::measure::{Measure, Quantity};
use super::{
    Context,
    cell::{self, Instant},
};
use crate::error::{QueryError, Result};
use datafusion::arrow::{
    array::{Array, AsArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray},
    datatypes::{DataType, Int32Type, Schema, TimeUnit},
};
use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

/// Who publishes: in DATEX II, a country's code and a name that is unique there.
#[derive(Clone, Debug)]
pub struct Publisher {
    pub country: String,
    pub name: String,
}

pub(super) struct Datex2 {
    bytes: Vec<u8>,
    interval: Option<Duration>,
    open: Option<Site>,
    left_out: LeftOut,
}

/// The siteMeasurements that are being written.
struct Site {
    sensor: String,
    nanos: i64,
    /// Of the values written: one stands for one value.
    indexes: Vec<u32>,
}

#[derive(Default)]
struct LeftOut {
    /// Of metrics without an element, or in other units than its.
    metric: u64,
    /// Vehicles that were counted in nobody knows which time.
    interval: u64,
    /// Missing or negative.
    value: u64,
    /// A second value under the same index.
    repeated: u64,
}

/// The columns of a batch.
struct Rows<'a> {
    time: &'a TimestampNanosecondArray,
    sensor: &'a StringArray,
    metric: &'a StringArray,
    value: Float64Array,
    unit: Option<&'a StringArray>,
    interval_s: Option<Float64Array>,
    quality: Option<&'a Int32Array>,
}

/// What `quality` says of a value that no rollup takes: bad by its source, of a wrong clock, out of range, implausible,
/// stuck.
const EXCLUDED: i32 = 1 << 0 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9;

impl Default for Publisher {
    fn default() -> Self {
        Self { country: "other".into(), name: "screenline".into() }
    }
}

impl Datex2 {
    /// # Errors
    /// If a column is missing.
    pub(super) fn new(schema: &Schema, context: &Context) -> Result<Self> {
        for name in ["time", "sensor", "metric", "value"] {
            let fits = |kind: &DataType| match name {
                "time" => matches!(kind, DataType::Timestamp(TimeUnit::Nanosecond, _)),
                "value" => kind.is_numeric(),
                _ => *kind == DataType::Utf8,
            };
            if !schema.column_with_name(name).is_some_and(|(_, field)| fits(field.data_type())) {
                return Err(QueryError::Invalid(format!(
                    "xml is DATEX II, which needs the columns time, sensor, metric and value; {} has no such {name} \
                     here; ask for csv, or for dataset reading",
                    context.dataset
                )));
            }
        }
        let mut bytes = Vec::new();
        head(&mut bytes, context).map_err(|error| QueryError::Internal(error.to_string()))?;
        Ok(Self { bytes, interval: context.interval, open: None, left_out: LeftOut::default() })
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let rows = Rows::of(batch)?;
        (0..batch.num_rows()).try_for_each(|row| self.row(&rows, row))
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.close();
        let LeftOut { metric, interval, value, repeated } = self.left_out;
        if 0 < metric + interval + value + repeated {
            writeln!(
                self.bytes,
                "<!-- rows left out: {metric} of metrics or units that DATEX II has no element for, {interval} of \
                 volumes without an interval, {value} without a value, {repeated} with the index of another -->"
            )?;
        }
        self.bytes.extend(b"</payloadPublication>\n</d2LogicalModel>\n");
        Ok(())
    }

    fn row(&mut self, rows: &Rows<'_>, row: usize) -> io::Result<()> {
        let left_out = &mut self.left_out;
        let Some(measure) = rows.measure(row) else {
            left_out.metric += 1;
            return Ok(());
        };
        if [rows.time as &dyn Array, rows.sensor, &rows.value].iter().any(|column| column.is_null(row)) {
            left_out.value += 1;
            return Ok(());
        }
        let interval_s = rows.interval_s(row).or(self.interval.map(|interval| interval.as_secs_f64()));
        let mut value = rows.value.value(row);
        if measure.is_volume {
            let Some(interval_s) = interval_s else {
                left_out.interval += 1;
                return Ok(());
            };
            value *= 3600.0 / interval_s;
        }
        // A negative speed is DATEX II's own word for none.
        if !(value.is_finite() && 0.0 <= value) {
            left_out.value += 1;
            return Ok(());
        }
        let (sensor, nanos) = (rows.sensor.value(row), rows.time.value(row));
        if !self.open.as_ref().is_some_and(|site| site.nanos == nanos && site.sensor == sensor) {
            self.close();
            self.start(sensor, nanos)?;
        }
        let Some(site) = &mut self.open else { return Ok(()) };
        if site.indexes.contains(&measure.index) {
            self.left_out.repeated += 1;
            return Ok(());
        }
        site.indexes.push(measure.index);
        measured(&mut self.bytes, &measure, value, interval_s, rows.is_wrong(row))
    }

    fn start(&mut self, sensor: &str, nanos: i64) -> io::Result<()> {
        let time = Instant::of(nanos).ok_or_else(|| io::Error::other("a time out of range"))?;
        writeln!(
            self.bytes,
            "<siteMeasurements>\n<measurementSiteReference id=\"{}\" version=\"1\" \
             targetClass=\"MeasurementSiteRecord\"/>\n<measurementTimeDefault>{time}</measurementTimeDefault>",
            Escaped(sensor)
        )?;
        self.open = Some(Site { sensor: sensor.to_owned(), nanos, indexes: Vec::new() });
        Ok(())
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.bytes.extend(b"</siteMeasurements>\n");
        }
    }
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> io::Result<Self> {
        let missing = |name| io::Error::other(format!("a batch without {name}"));
        let column = |name| batch.column_by_name(name).ok_or_else(|| missing(name));
        let text = |name| column(name)?.as_string_opt().ok_or_else(|| missing(name));
        let interval = batch.column_by_name("interval_s").filter(|column| column.data_type().is_numeric());
        Ok(Self {
            time: column("time")?.as_primitive_opt().ok_or_else(|| missing("time"))?,
            sensor: text("sensor")?,
            metric: text("metric")?,
            value: cell::floats(column("value")?)?,
            unit: text("unit").ok(),
            interval_s: interval.map(|column| cell::floats(column)).transpose()?,
            quality: batch
                .column_by_name("quality")
                .and_then(|column| column.as_primitive_opt::<Int32Type>()),
        })
    }

    fn measure(&self, row: usize) -> Option<Measure> {
        let metric = self.metric.is_valid(row).then(|| self.metric.value(row))?;
        let unit = self.unit.filter(|unit| unit.is_valid(row)).map(|unit| unit.value(row));
        Measure::of(metric).filter(|measure| unit.is_none_or(|unit| unit == measure.unit()))
    }

    fn interval_s(&self, row: usize) -> Option<f64> {
        let intervals = self.interval_s.as_ref()?;
        Some(intervals.value(row)).filter(|seconds| intervals.is_valid(row) && 0.0 < *seconds)
    }

    fn is_wrong(&self, row: usize) -> bool {
        self.quality.is_some_and(|quality| quality.is_valid(row) && quality.value(row) & EXCLUDED != 0)
    }
}

fn head(out: &mut Vec<u8>, context: &Context) -> io::Result<()> {
    let Publisher { country, name } = &context.publisher;
    let identifier = format!(
        "<country>{}</country><nationalIdentifier>{}</nationalIdentifier>",
        Escaped(country),
        Escaped(name)
    );
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<d2LogicalModel xmlns=\"http://datex2.eu/schema/2/2_0\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" modelBaseVersion=\"2\">\n\
         <exchange><supplierIdentification>{identifier}</supplierIdentification></exchange>\n\
         <payloadPublication xsi:type=\"MeasuredDataPublication\" lang=\"en\">\n\
         <publicationTime>{}</publicationTime>\n<publicationCreator>{identifier}</publicationCreator>\n\
         <measurementSiteTableReference id=\"{}\" version=\"1\" targetClass=\"MeasurementSiteTable\"/>\n\
         <headerInformation><confidentiality>noRestriction</confidentiality>\
         <informationStatus>real</informationStatus></headerInformation>",
        Instant(context.complete_until.unwrap_or(context.at)),
        Escaped(name),
    )
}

fn measured(
    out: &mut Vec<u8>,
    measure: &Measure,
    value: f64,
    interval_s: Option<f64>,
    wrong: bool,
) -> io::Result<()> {
    let (kind, element, inner) = match measure.quantity {
        Quantity::Flow => ("TrafficFlow", "vehicleFlow", "vehicleFlowRate"),
        Quantity::Speed => ("TrafficSpeed", "averageVehicleSpeed", "speed"),
        Quantity::Occupancy => ("TrafficConcentration", "occupancy", "percentage"),
    };
    // The schema counts vehicles in an hour in whole numbers.
    let value = if measure.quantity == Quantity::Flow { value.round() } else { value };
    let error = if wrong { "<dataError>true</dataError>" } else { "" };
    let period = match interval_s {
        Some(seconds) => {
            format!("<measurementOrCalculationPeriod>{seconds}</measurementOrCalculationPeriod>")
        }
        None => String::new(),
    };
    writeln!(
        out,
        "<measuredValue index=\"{}\"><measuredValue><basicData xsi:type=\"{kind}\">{period}\
         <{element}>{error}<{inner}>{value}</{inner}></{element}></basicData></measuredValue></measuredValue>",
        measure.index
    )
}

/// Text as XML may hold it, in an element or an attribute. Letters that XML 1.0 forbids even as references become U+FFFD.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|letter| match letter {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&apos;"),
            // As they stand, a parser makes spaces of them.
            '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(letter)),
            '\0'..=' ' if letter != ' ' => f.write_char(char::REPLACEMENT_CHARACTER),
            '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER),
            letter => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests;

//! What is stored -> what is seen: the texts of a series, values as the registry judges them today, and of all rows
//! those that a role may see.

use crate::{
    error::{QueryError, Result},
    policy::Rules,
    series::Series,
    tables::{Column, Dataset, SERIES_ID, SeriesPart, Source, Stored, Subject, VIEWED, ViewPart},
};
use datafusion::arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, RecordBatchOptions,
        UInt32Array,
    },
    compute::{filter_record_batch, take},
    datatypes::{Float64Type, Int32Type, SchemaRef, TimestampNanosecondType},
};
use processor::model::{Quality, Time};
use std::sync::Arc;

/// What makes the columns that were asked for out of those that are stored.
#[derive(Clone, Debug)]
pub struct Presentation {
    schema: SchemaRef,
    /// In the order in which they are read.
    stored: Vec<Stored>,
    columns: Vec<From>,
    /// Where the time, value and quality stand that a reading is judged by.
    viewed: Option<[usize; 3]>,
    judged: Judged,
    rules: Arc<Rules>,
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Stored(usize),
    Series(SeriesPart),
    View(ViewPart),
}

/// By which stored column a row's subject is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// All rows are seen.
    No,
    Series,
    Sensor(usize),
    Zone(usize),
}

/// Why rows could not be presented.
#[derive(Debug)]
pub enum Unseen {
    /// A series that the dictionary does not hold: refresh it and try again.
    Unknown(i32),
    Failed(QueryError),
}

impl<E: Into<QueryError>> std::convert::From<E> for Unseen {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Presentation {
    /// Of some columns of a dataset, for whom `rules` are. With `as_stored`, no reading is judged by the registry.
    pub fn new(
        dataset: &Dataset,
        columns: &[&Column],
        schema: SchemaRef,
        rules: &Arc<Rules>,
        as_stored: bool,
    ) -> Self {
        let mut stored: Vec<Stored> = Vec::new();
        let mut place = |wanted: Stored| {
            stored.iter().position(|known| *known == wanted).unwrap_or_else(|| {
                stored.push(wanted);
                stored.len() - 1
            })
        };
        let named = |name: &str| dataset.column(name).map(Column::stored);
        let judged = match dataset.subject {
            _ if rules.sees_all() => Judged::No,
            Subject::City => Judged::No,
            Subject::Series => Judged::Series,
            Subject::Sensor(name) => named(name).map_or(Judged::No, |column| Judged::Sensor(place(column))),
            Subject::Zone(name) => named(name).map_or(Judged::No, |column| Judged::Zone(place(column))),
        };
        let is_viewed = !as_stored && columns.iter().any(|column| matches!(column.source, Source::View(_)));
        let is_of_series = columns.iter().any(|column| matches!(column.source, Source::Series(_)));
        if is_viewed || is_of_series || judged == Judged::Series {
            place(SERIES_ID);
        }
        let viewed = is_viewed.then(|| VIEWED.map(|name| named(name).map_or(0, &mut place)));
        let columns = columns
            .iter()
            .map(|column| match column.source {
                Source::Series(part) => From::Series(part),
                Source::View(part) if is_viewed => From::View(part),
                Source::Sql(_) | Source::View(_) => From::Stored(place(column.stored())),
            })
            .collect();
        Self { schema, stored, columns, viewed, judged, rules: rules.clone() }
    }

    /// Of the rows that are seen.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What has to be read, in this order.
    pub fn stored(&self) -> &[Stored] {
        &self.stored
    }

    /// Whether rows that were read may be left out.
    pub fn leaves_out(&self) -> bool {
        self.judged != Judged::No
    }

    /// The rows that may be seen, as they are seen.
    ///
    /// # Errors
    /// A series is not in the dictionary, or the rows are not what `stored` says.
    pub fn apply(&self, rows: &RecordBatch, series: &Series) -> Result<RecordBatch, Unseen> {
        let visible = match self.judged {
            Judged::No => None,
            Judged::Series => Some(self.of_series(rows, series)?),
            Judged::Sensor(at) => {
                let names = rows.column(at).as_string::<i32>();
                let sees =
                    |name: Option<&str>| name.is_some_and(|name| self.rules.sees(series.traits_of(name)));
                Some(names.iter().map(|name| Some(sees(name))).collect())
            }
            Judged::Zone(at) => {
                let names = rows.column(at).as_string::<i32>();
                Some(names.iter().map(|name| Some(self.rules.sees_zone(series.around(name)))).collect())
            }
        };
        match visible {
            Some(visible) if visible.true_count() < rows.num_rows() => {
                self.columns_of(&filter_record_batch(rows, &visible)?, series)
            }
            _ => self.columns_of(rows, series),
        }
    }

    fn of_series(&self, rows: &RecordBatch, series: &Series) -> Result<BooleanArray, Unseen> {
        let sight = series.sight(&self.rules);
        let positions = self.positions(rows, series)?;
        Ok(positions.values().iter().map(|at| Some(sight.sees(*at as usize))).collect())
    }

    /// Where the series of each row stands in the dictionary.
    fn positions(&self, rows: &RecordBatch, series: &Series) -> Result<UInt32Array, Unseen> {
        let mut last = (None, 0);
        let mut positions = Vec::with_capacity(rows.num_rows());
        for id in self.ids(rows)?.values() {
            if last.0 != Some(*id) {
                let at = series.position(*id).ok_or(Unseen::Unknown(*id))?;
                last = (Some(*id), u32::try_from(at).map_err(|_| internal("more series than fit"))?);
            }
            positions.push(last.1);
        }
        Ok(positions.into())
    }

    fn ids<'r>(&self, rows: &'r RecordBatch) -> Result<&'r Int32Array> {
        let at = self.stored.iter().position(|stored| *stored == SERIES_ID);
        let ids = at.and_then(|at| rows.column(at).as_primitive_opt::<Int32Type>());
        ids.filter(|ids| ids.null_count() == 0).ok_or_else(|| internal("a row has no series"))
    }

    fn columns_of(&self, rows: &RecordBatch, series: &Series) -> Result<RecordBatch, Unseen> {
        let is_of_series = |from: &From| matches!(from, From::Series(_));
        let positions = match self.columns.iter().any(is_of_series) {
            true => Some(self.positions(rows, series)?),
            false => None,
        };
        let seen = match self.viewed {
            Some(viewed) => Some(self.view(rows, viewed, series)?),
            None => None,
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for from in &self.columns {
            columns.push(match (from, &positions, &seen) {
                (From::Series(part), Some(positions), _) => take(series.texts(*part), positions, None)?,
                (From::View(ViewPart::Value), _, Some((values, _))) => Arc::new(values.clone()),
                (From::View(ViewPart::Quality), _, Some((_, flags))) => Arc::new(flags.clone()),
                (From::Stored(at), ..) => rows.column(*at).clone(),
                _ => return Err(internal("a column without its source").into()),
            });
        }
        // A scan of no columns still counts rows.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn view(
        &self,
        rows: &RecordBatch,
        [time, value, quality]: [usize; 3],
        series: &Series,
    ) -> Result<(Float64Array, Int32Array)> {
        let wrong = || internal("a reading without a time, a value or flags");
        let times = rows.column(time).as_primitive_opt::<TimestampNanosecondType>().ok_or_else(wrong)?;
        let values = rows.column(value).as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
        let flags = rows.column(quality).as_primitive_opt::<Int32Type>().ok_or_else(wrong)?;
        let (mut seen, mut judged) =
            (Vec::with_capacity(rows.num_rows()), Vec::with_capacity(rows.num_rows()));
        for (at, id) in self.ids(rows)?.values().iter().enumerate() {
            let time = Time::from_micros(times.value(at).div_euclid(1000));
            let (value, quality) = series.view(*id, time, values.value(at), Quality(flags.value(at)));
            seen.push(value);
            judged.push(quality.0);
        }
        Ok((seen.into(), judged.into()))
    }
}

fn internal(text: &str) -> QueryError {
    QueryError::Internal(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::{
        array::{StringArray, TimestampNanosecondArray},
        datatypes::Schema,
    };
    use processor::model::{Calibration, View};

    fn series() -> Series {
        Series::of([(1, "WM-1", "water.volume.total", "m3"), (2, "WM-2", "water.volume.total", "m3")])
    }

    fn presentation(names: &[&str], rules: Rules, as_stored: bool) -> Presentation {
        let dataset = Dataset::named("reading").unwrap();
        let columns: Vec<&Column> = names.iter().map(|name| dataset.column(name).unwrap()).collect();
        let fields = names.iter().map(|name| dataset.schema().field_with_name(name).unwrap().clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Presentation::new(dataset, &columns, schema, &Arc::new(rules), as_stored)
    }

    /// Rows of series, microseconds since 2000 and value, as `presentation` reads them.
    fn rows(presentation: &Presentation, rows: &[(i32, i64, f64)]) -> RecordBatch {
        let columns = presentation.stored().iter().map(|stored| {
            let column: ArrayRef = match stored.name {
                "series_id" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
                "time" => Arc::new(
                    TimestampNanosecondArray::from_iter_values(
                        rows.iter().map(|row| (946_684_800_000_000 + row.1) * 1000),
                    )
                    .with_timezone("UTC"),
                ),
                "value" => Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
                "quality" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 16))),
                other => panic!("{other}"),
            };
            (stored.name, column)
        });
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_value_is_seen_as_the_registry_says() {
        let calibration = Calibration { from: Time::YEAR_2000, scale: 2.0, offset: 1.0 };
        let view = View { max: Some(4.0), calibrations: [calibration].into(), ..View::default() };
        let presentation = presentation(&["quality", "value"], Rules::operator(), false);
        let rows = rows(&presentation, &[(1, -1, 1.5), (1, 0, 1.5), (1, 0, 1.6), (2, 0, 9.0)]);
        let seen = presentation.apply(&rows, &series().seen(1, view)).unwrap();
        assert_eq!(seen.column(1).as_primitive::<Float64Type>().values(), &[1.5, 4.0, 4.2, 9.0]);
        let flags = [16, 16, 16 | Quality::OUT_OF_RANGE.0, 16];
        assert_eq!(seen.column(0).as_primitive::<Int32Type>().values(), &flags);
    }

    #[test]
    fn a_series_gets_its_texts_and_an_unknown_one_is_named() {
        let presentation = presentation(&["sensor", "value", "unit"], Rules::operator(), true);
        let batch = rows(&presentation, &[(2, 0, 1.0), (1, 0, 2.0), (1, 1, 3.0)]);
        let seen = presentation.apply(&batch, &series()).unwrap();
        assert_eq!(seen.column(0).as_string::<i32>(), &StringArray::from(vec!["WM-2", "WM-1", "WM-1"]));
        assert_eq!(seen.column(2).as_string::<i32>(), &StringArray::from(vec!["m3"; 3]));
        let unknown = rows(&presentation, &[(1, 0, 1.0), (7, 0, 1.0)]);
        assert!(matches!(presentation.apply(&unknown, &series()), Err(Unseen::Unknown(7))));
    }

    #[test]
    fn no_columns_are_still_rows() {
        let presentation = presentation(&[], Rules::operator(), true);
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        assert_eq!(presentation.apply(&rows, &series()).unwrap().num_rows(), 3);
    }

    #[test]
    fn rows_of_hidden_sensors_are_left_out_whatever_is_asked_for() {
        let rules = Rules::parse("public", "datasets = ['reading']").unwrap();
        let series = series().with_traits("WM-1", "public").with_traits("WM-2", "personal");
        for names in [&["value"][..], &["sensor", "value"], &["time"], &[]] {
            let presentation = presentation(names, rules.clone(), true);
            let batch = rows(&presentation, &[(2, 0, 1.0), (1, 0, 2.0), (2, 1, 3.0)]);
            assert_eq!(presentation.apply(&batch, &series).unwrap().num_rows(), 1, "{names:?}");
        }
    }
}

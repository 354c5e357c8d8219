//! The newest reading of each series that counts, however long ago it was: read from rollups and readings once, then kept
//! by what comes.

use super::news::{self, Facts};
use crate::{
    database::Database,
    error::{QueryError, Result},
    segments::nanos,
    series::Series,
};
use datafusion::arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Float64Type, Int32Type, TimestampNanosecondType},
};
use jiff::Timestamp;
use processor::model::{Quality, Time};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    slice::from_ref,
};
use tokio_postgres::Client;

const FIVE_MINUTES_NS: i64 = 300_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// Rows of readings: what is read of [`Facts::Readings`].
pub struct Readings<'r> {
    pub ids: &'r [i32],
    times: &'r [i64],
    values: &'r [f64],
    qualities: &'r [i32],
    received: &'r [i64],
}

/// The last that a series said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Last {
    pub time: Time,
    /// As stored; of one that is not kept any more as it was seen.
    pub value: f64,
    /// Flags and receipt; none: the reading is not kept any more, only its rollup.
    pub reading: Option<(Quality, Time)>,
}

/// By series.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    last: HashMap<i32, Last>,
    /// Of the registry, by which it was decided what counts.
    pub registry_version: i64,
    /// Some rollups are of an older one, and wait to be rolled again.
    pub is_provisional: bool,
}

impl<'r> Readings<'r> {
    pub fn of(rows: &'r RecordBatch) -> Result<Self> {
        let wrong = || QueryError::Internal("readings without what is read of them".into());
        let [ids, times, values, qualities, received] = rows.columns() else { return Err(wrong()) };
        if rows.columns().iter().any(|column| 0 < column.null_count()) {
            return Err(wrong());
        }
        let nanos =
            |column: &'r dyn Array| column.as_primitive_opt::<TimestampNanosecondType>().ok_or_else(wrong);
        Ok(Self {
            ids: ids.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?.values(),
            times: nanos(times)?.values(),
            values: values.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?.values(),
            qualities: qualities.as_primitive_opt::<Int32Type>().ok_or_else(wrong)?.values(),
            received: nanos(received)?.values(),
        })
    }

    fn last(&self, at: usize) -> Last {
        let time = |nanos: i64| Time::from_micros(nanos.div_euclid(1000));
        let reading = Some((Quality(self.qualities[at]), time(self.received[at])));
        Last { time: time(self.times[at]), value: self.values[at], reading }
    }
}

impl Latest {
    /// Everything that `client`'s transaction sees, where `names` has its series.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn load(client: &Client, database: &Database, names: &Series) -> Result<Self> {
        let mut latest = Self {
            last: HashMap::with_capacity(names.len()),
            registry_version: names.registry_version(),
            is_provisional: false,
        };
        latest.take_rolled(client).await?;
        latest.find_readings(database, names).await?;
        let pending = pending(client, names).await?;
        let mut reader = news::read(database, Facts::Readings, &pending, None).await?;
        while let Some(rows) = reader.next().await? {
            latest.take(&Readings::of(&rows)?, names);
        }
        Ok(latest)
    }

    /// Takes readings in that may be newer.
    pub fn take(&mut self, readings: &Readings<'_>, names: &Series) {
        for (at, id) in readings.ids.iter().enumerate() {
            let one = readings.last(at);
            // What is of the same time is the same reading, or stood in for it.
            let is_newest = self.last.get(id).is_none_or(|known| known.time <= one.time);
            if is_newest && counts(*id, &one, names) {
                self.last.insert(*id, one);
            }
        }
    }

    pub fn get(&self, id: i32) -> Option<Last> {
        self.last.get(&id).copied()
    }

    /// The newest that is in a rollup: of days, of hours of days that are not rolled yet, and so on.
    async fn take_rolled(&mut self, client: &Client) -> Result<()> {
        let select = "
            WITH newest AS (
                SELECT d.series_id, d.last_time, d.last FROM series s, LATERAL (
                    SELECT series_id, last_time, last FROM rollup_1d
                    WHERE series_id = s.id AND 0 < count ORDER BY bucket DESC LIMIT 1
                ) d
                UNION ALL
                SELECT h.series_id, h.last_time, h.last
                FROM (SELECT DISTINCT bucket AS day FROM dirty WHERE level = 2) days, LATERAL (
                    SELECT series_id, last_time, last FROM rollup_1h
                    WHERE day <= bucket AND bucket < day + interval '25 hours' AND 0 < count
                ) h
                UNION ALL
                SELECT m.series_id, m.last_time, m.last
                FROM (SELECT DISTINCT bucket AS hour FROM dirty WHERE level = 1) hours, LATERAL (
                    SELECT series_id, last_time, last FROM rollup_5m
                    WHERE hour <= bucket AND bucket < hour + interval '1 hour' AND 0 < count
                ) m
            )
            SELECT DISTINCT ON (series_id) series_id, last_time, last
            FROM newest JOIN series ON id = series_id
            WHERE kind <> 'event' AND last IS NOT NULL AND last_time IS NOT NULL
            ORDER BY series_id, last_time DESC";
        for row in client.query(select, &[]).await? {
            let time: Timestamp = row.try_get(1)?;
            let last = Last { time: time.into(), value: row.try_get(2)?, reading: None };
            self.last.insert(row.try_get(0)?, last);
        }
        Ok(())
    }

    /// The readings that the rollups tell of, as far as they are kept: a statement for each day that has some.
    async fn find_readings(&mut self, database: &Database, names: &Series) -> Result<()> {
        let mut days: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for last in self.last.values() {
            days.entry(last.time.micros().div_euclid(DAY_NS / 1000)).or_default().push(last.time.micros());
        }
        for (day, mut times) in days {
            times.sort_unstable();
            times.dedup();
            let Some(start) = day.checked_mul(DAY_NS) else { continue };
            let day = start..start + DAY_NS;
            let mut reader = news::read(database, Facts::Readings, from_ref(&day), Some(at(&times))).await?;
            while let Some(rows) = reader.next().await? {
                let readings = Readings::of(&rows)?;
                for (at, id) in readings.ids.iter().enumerate() {
                    let one = readings.last(at);
                    if self.last.get(id).is_none_or(|known| known.time != one.time) {
                        continue;
                    }
                    match counts(*id, &one, names) {
                        true => {
                            self.last.insert(*id, one);
                        }
                        false => {
                            self.last.remove(id);
                            self.is_provisional = true;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a reading is in the sums of its rollups, as the registry judges it today.
fn counts(id: i32, last: &Last, names: &Series) -> bool {
    last.reading.is_some_and(|(quality, _)| {
        !names.view(id, last.time, last.value, quality).1.intersects(Quality::EXCLUDED)
    })
}

/// `time` is one of these, in microseconds.
fn at(times: &[i64]) -> String {
    let times: Vec<String> =
        times.iter().map(|micros| format!("\"{}\"", Time::from_micros(*micros).timestamp())).collect();
    format!("time = ANY ('{{{}}}'::timestamptz[])", times.join(","))
}

/// When readings were stored that are in no rollup yet; a reading of an interval lies behind the bucket that it is of.
async fn pending(client: &Client, names: &Series) -> Result<Vec<Range<i64>>> {
    let reach = FIVE_MINUTES_NS.saturating_add(names.longest_interval(None)).saturating_add(1);
    let select = "SELECT DISTINCT bucket FROM dirty WHERE level = 0";
    let starts = client
        .query(select, &[])
        .await?
        .iter()
        .map(|row| Ok(nanos(row.try_get(0)?)))
        .collect::<Result<Vec<_>>>();
    Ok(news::within(starts?.into_iter().map(|start| start..start.saturating_add(reach)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy;
    use datafusion::arrow::array::{Float64Array, Int32Array, TimestampNanosecondArray};
    use processor::model::View;
    use std::sync::Arc;

    /// Of series, second, value and flags.
    fn rows(rows: &[(i32, i64, f64, i32)]) -> RecordBatch {
        let times = || {
            let nanos = rows.iter().map(|row| row.1 * 1_000_000_000);
            Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone("UTC"))
        };
        let columns: Vec<datafusion::arrow::array::ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
            times(),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.3))),
            times(),
        ];
        RecordBatch::try_new(copy::schema(&Facts::Readings.stored().unwrap()), columns).unwrap()
    }

    #[test]
    fn the_newest_that_counts_stays_whatever_the_order() {
        let names = Series::of([(1, "a", "m", "u"), (2, "b", "m", "u")]);
        let names = names.seen(2, View { max: Some(5.0), ..View::default() });
        let mut latest = Latest::default();
        let news = rows(&[
            (1, 20, 2.0, 0),
            (1, 10, 1.0, 0),
            (1, 30, 3.0, Quality::STUCK.0),
            (2, 5, 5.0, 0),
            (2, 6, 6.0, 0),
        ]);
        latest.take(&Readings::of(&news).unwrap(), &names);
        let value = |id| latest.get(id).map(|last| (last.time.micros() / 1_000_000, last.value));
        assert_eq!((value(1), value(2), value(3)), (Some((20, 2.0)), Some((5, 5.0)), None));
    }

    #[test]
    fn a_reading_takes_the_place_of_its_rollup() {
        let names = Series::of([(1, "a", "m", "u")]);
        let rolled = Last { time: Time::from_micros(20_000_000), value: 7.0, reading: None };
        let mut latest = Latest { last: HashMap::from([(1, rolled)]), ..Latest::default() };
        latest.take(&Readings::of(&rows(&[(1, 20, 2.0, 4)])).unwrap(), &names);
        assert_eq!(latest.get(1).unwrap().reading.unwrap().0, Quality(4));
    }
}

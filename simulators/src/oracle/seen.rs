//! The tables as everybody sees them who asks the query service over Arrow Flight.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightClient, Ticket};
use arrow_schema::{DataType, TimeUnit};
use futures::TryStreamExt;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

use super::rollup::{Interval, Rollup};
use super::tables::{COLUMNS, Conflict, Listed, Name, Position, Rejection, Stored, Tables, Totals};

/// Larger than any message of the service.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Sensors that one ticket names: their names stay below what a ticket may have.
const SENSORS_AT_ONCE: usize = 2_000;

/// A connection to a query service.
#[derive(Debug)]
pub struct Seen(FlightClient);

/// A period of reading times; its end is not in it.
pub type Period = (Timestamp, Timestamp);

impl Seen {
    /// Connects to `grpc://host:port`, with a token where the service asks for one.
    ///
    /// # Errors
    /// Nobody answers there, or the address is none.
    pub async fn connect(url: &str, token: Option<&str>) -> anyhow::Result<Seen> {
        let rest = url.strip_prefix("grpc://").or_else(|| url.strip_prefix("http://"));
        let rest = rest.with_context(|| format!("{url:?}: grpc://host:port is due"))?;
        let endpoint = Endpoint::from_shared(format!("http://{rest}"))?;
        let channel: Channel = endpoint
            .connect()
            .await
            .with_context(|| format!("nobody answers at {url}: name the query service (--flight)"))?;
        let client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = FlightClient::new_from_inner(client);
        if let Some(token) = token {
            client.add_header("authorization", &format!("Bearer {token}"))?;
        }
        Ok(Seen(client))
    }

    /// What the tables hold of some sensors in a period; what is whole messages' is not in it.
    ///
    /// # Errors
    /// The service refuses or fails.
    pub async fn tables(&mut self, sensors: &[String], period: Period) -> anyhow::Result<Tables> {
        let mut tables =
            Tables { now_us: Timestamp::now().as_microsecond(), sums_are_settled: true, ..Tables::default() };
        for sensors in sensors.chunks(SENSORS_AT_ONCE) {
            self.series(sensors, &mut tables).await.context("read series")?;
            self.readings(sensors, period, &mut tables).await.context("read readings")?;
            self.events(sensors, period, &mut tables).await.context("read events")?;
            self.conflicts(sensors, period, &mut tables).await.context("read conflicts")?;
            self.rollups(sensors, period, &mut tables).await.context("read rollups")?;
        }
        Ok(tables)
    }

    async fn series(&mut self, sensors: &[String], tables: &mut Tables) -> anyhow::Result<()> {
        let ticket = json!({"dataset": "series", "sensor": sensors});
        self.rows(ticket, |batch| {
            let (names, kinds) = (names(batch)?, texts(batch, "kind")?);
            let (every, units) = (ints(batch, "interval_s")?, texts(batch, "unit")?);
            let moduli = floats(batch, "modulus")?;
            let (least, most) = (floats(batch, "min")?, floats(batch, "max")?);
            for (row, name) in names.into_iter().enumerate() {
                let ends_at_time = matches!(text(&kinds, row), "total" | "rate" | "sliding");
                let interval = Interval { every_s: int(&every, row), ends_at_time };
                tables.intervals.insert(name.clone(), interval);
                let listed = Listed {
                    unit: text(&units, row).to_owned(),
                    kind: text(&kinds, row).to_owned(),
                    interval_s: int(&every, row),
                    modulus: float(&moduli, row),
                    range: (float(&least, row), float(&most, row)),
                };
                tables.listed.insert(name.clone(), listed);
                let range = (
                    float(&least, row).unwrap_or(f64::NEG_INFINITY),
                    float(&most, row).unwrap_or(f64::INFINITY),
                );
                tables.ranges.insert(name, range);
            }
            Ok(())
        })
        .await
    }

    async fn readings(
        &mut self,
        sensors: &[String],
        period: Period,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        let columns = ["time", "sensor", "metric", "value", "quality"];
        let ticket = asked("reading", sensors, period, &columns);
        self.rows(ticket, |batch| {
            let (names, times) = (names(batch)?, times(batch, "time")?);
            let (values, qualities) = (floats(batch, "value")?, ints(batch, "quality")?);
            for (row, name) in names.into_iter().enumerate() {
                let value = float(&values, row);
                let quality = int(&qualities, row).unwrap_or_default() as i32;
                let stored = Stored { value, adds: value.unwrap_or(f64::NAN), quality };
                tables.facts.entry((name, time(&times, row), 0)).or_default().push(stored);
            }
            Ok(())
        })
        .await
    }

    async fn events(
        &mut self,
        sensors: &[String],
        period: Period,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        let ticket = asked("event", sensors, period, &["time", "sensor", "event_id", "speed", "quality"]);
        let metric: Arc<str> = "traffic.vehicle".into();
        self.rows(ticket, |batch| {
            let (sensors, times) = (texts(batch, "sensor")?, times(batch, "time")?);
            let (ids, speeds) = (ints(batch, "event_id")?, floats(batch, "speed")?);
            let qualities = ints(batch, "quality")?;
            for row in 0..batch.num_rows() {
                let name = (Arc::from(text(&sensors, row)), metric.clone());
                let place = (name, time(&times, row), int(&ids, row).unwrap_or_default());
                let quality = int(&qualities, row).unwrap_or_default() as i32;
                let stored = Stored { value: float(&speeds, row), adds: 1.0, quality };
                tables.facts.entry(place).or_default().push(stored);
            }
            Ok(())
        })
        .await
    }

    async fn conflicts(
        &mut self,
        sensors: &[String],
        period: Period,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        let columns = ["time", "sensor", "metric", "event_id", "value", "kept_value"];
        let ticket = asked("conflict", sensors, period, &columns);
        self.rows(ticket, |batch| {
            let (names, times, ids) = (names(batch)?, times(batch, "time")?, ints(batch, "event_id")?);
            let (values, kept) = (floats(batch, "value")?, floats(batch, "kept_value")?);
            for (row, name) in names.into_iter().enumerate() {
                let place = (name, time(&times, row), int(&ids, row).unwrap_or_default());
                let conflict = Conflict { value: float(&values, row), kept_value: float(&kept, row) };
                tables.conflicts.entry(place).or_default().push(conflict);
            }
            Ok(())
        })
        .await
    }

    async fn rollups(
        &mut self,
        sensors: &[String],
        period: Period,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        const FIVE_MINUTES_US: i64 = 300_000_000;
        let levels = [("rollup_5m", FIVE_MINUTES_US), ("rollup_1h", 12 * FIVE_MINUTES_US), ("rollup_1d", 0)];
        for (level, (dataset, width_us)) in levels.into_iter().enumerate() {
            // A bucket that begins before the period may hold its first readings; no day has 26 hours.
            let from = period.0 - jiff::SignedDuration::from_hours(26);
            let mut ticket = json!({"dataset": dataset, "sensor": sensors});
            ticket["from"] = json!(from.to_string());
            ticket["to"] = json!(period.1.to_string());
            let mut zone = None;
            self.rows(ticket, |batch| {
                let (names, starts) = (names(batch)?, times(batch, "time")?);
                let (count, flagged) = (ints(batch, "count")?, ints(batch, "flagged")?);
                let expected = floats(batch, "expected")?;
                let values: Vec<ArrayRef> = ["sum", "min", "max", "first", "last"]
                    .into_iter()
                    .map(|column| floats(batch, column))
                    .collect::<anyhow::Result<_>>()?;
                let (first, last) = (times(batch, "first_time")?, times(batch, "last_time")?);
                let days = match width_us {
                    0 => Some((times(batch, "ends")?, texts(batch, "time_zone")?)),
                    _ => None,
                };
                for (row, name) in names.into_iter().enumerate() {
                    let start = time(&starts, row);
                    let of = |at: usize| float(&values[at], row).map(f64::to_bits);
                    let ends_us = days.as_ref().map_or(start + width_us, |(ends, _)| time(ends, row));
                    if let Some((_, zones)) = &days {
                        zone = Some(text(zones, row).to_owned());
                    }
                    let numbers = (|| Some([of(0)?, 0f64.to_bits(), of(1)?, of(2)?, of(3)?, of(4)?]))();
                    let rollup = Rollup {
                        count: int(&count, row).unwrap_or_default(),
                        flagged: int(&flagged, row).unwrap_or_default(),
                        expected: float(&expected, row).map(f64::to_bits),
                        values: numbers,
                        times_us: (!first.is_null(row)).then(|| (time(&first, row), time(&last, row))),
                        ends_us,
                    };
                    tables.rollups[level].insert((name, start), rollup);
                }
                Ok(())
            })
            .await?;
            if let Some(zone) = zone {
                tables.zone = Some(TimeZone::get(&zone)?);
            }
        }
        Ok(())
    }

    /// What was refused since a time on some topics, with how often it stands there.
    ///
    /// # Errors
    /// The service refuses or fails.
    pub async fn rejections(
        &mut self,
        is_wanted: impl Fn(&str) -> bool,
        since: Timestamp,
    ) -> anyhow::Result<Vec<(Rejection, i64)>> {
        let mut found: HashMap<Rejection, i64> = HashMap::new();
        let ticket = json!({"dataset": "rejection", "from": since.to_string()});
        self.rows(ticket, |batch| {
            let (topics, reasons) = (texts(batch, "topic")?, texts(batch, "reason")?);
            let sums = bytes(batch, "sha256")?;
            for row in 0..batch.num_rows() {
                let topic = text(&topics, row).to_owned();
                if is_wanted(&topic) {
                    let sha256 = sums.as_binary::<i32>().value(row).to_vec();
                    let rejection = Rejection { topic, reason: text(&reasons, row).to_owned(), sha256 };
                    *found.entry(rejection).or_default() += 1;
                }
            }
            Ok(())
        })
        .await
        .context("read rejections")?;
        Ok(found.into_iter().collect())
    }

    /// The ledger's columns, summed up over some sources.
    ///
    /// # Errors
    /// The service refuses or fails.
    pub async fn totals(&mut self, sources: &[String], since: Timestamp) -> anyhow::Result<Totals> {
        let mut totals = Totals::default();
        let since = since - jiff::SignedDuration::from_hours(1); // lines are of full hours
        let ticket = json!({"dataset": "ledger", "from": since.to_string()});
        self.rows(ticket, |batch| {
            let of = texts(batch, "source")?;
            for column in COLUMNS {
                let values = ints(batch, column)?;
                let mine = (0..batch.num_rows()).filter(|row| sources.iter().any(|s| s == text(&of, *row)));
                let sum: i64 = mine.filter_map(|row| int(&values, row)).sum();
                *totals.0.entry(column).or_default() += sum;
            }
            Ok(())
        })
        .await
        .context("read the ledger")?;
        Ok(totals)
    }

    /// Which numbers of an epoch are remembered of some sources.
    ///
    /// # Errors
    /// The service refuses or fails.
    pub async fn positions(
        &mut self,
        sources: &[String],
        epoch: i64,
    ) -> anyhow::Result<HashMap<String, Position>> {
        let mut gaps: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
        self.rows(json!({"dataset": "gap"}), |batch| {
            let (of, epochs) = (texts(batch, "source")?, ints(batch, "epoch")?);
            let (first, last) = (ints(batch, "first_seq")?, ints(batch, "last_seq")?);
            for row in (0..batch.num_rows()).filter(|row| int(&epochs, *row) == Some(epoch)) {
                let gap = (int(&first, row).unwrap_or_default(), int(&last, row).unwrap_or_default());
                gaps.entry(text(&of, row).to_owned()).or_default().push(gap);
            }
            Ok(())
        })
        .await
        .context("read gaps")?;
        let mut positions = HashMap::new();
        self.rows(json!({"dataset": "source_position"}), |batch| {
            let (of, epochs, to) = (texts(batch, "source")?, ints(batch, "epoch")?, ints(batch, "seen_to")?);
            let counts: Vec<ArrayRef> = ["rejected", "reused", "untracked"]
                .into_iter()
                .map(|column| ints(batch, column))
                .collect::<anyhow::Result<_>>()?;
            for row in (0..batch.num_rows()).filter(|row| int(&epochs, *row) == Some(epoch)) {
                let source = text(&of, row);
                if !sources.iter().any(|known| known == source) {
                    continue;
                }
                let mut missing = gaps.remove(source).unwrap_or_default();
                missing.sort_unstable();
                let (mut seen, mut from) = (Vec::new(), 1);
                for (first, last) in missing {
                    if from < first {
                        seen.push((from, first));
                    }
                    from = last + 1;
                }
                seen.push((from, int(&to, row).unwrap_or_default() + 1));
                let of = |at: usize| int(&counts[at], row).unwrap_or_default();
                let position = Position { seen, rejected: of(0), reused: of(1), untracked: of(2) };
                positions.insert(source.to_owned(), position);
            }
            Ok(())
        })
        .await
        .context("read positions")?;
        Ok(positions)
    }

    async fn rows(
        &mut self,
        ticket: Value,
        mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut answer = self.0.do_get(Ticket::new(ticket.to_string())).await?;
        while let Some(batch) = answer.try_next().await? {
            take(&batch)?;
        }
        Ok(())
    }
}

fn asked(dataset: &str, sensors: &[String], (from, to): Period, columns: &[&str]) -> Value {
    json!({
        "dataset": dataset,
        "sensor": sensors,
        "from": from.to_string(),
        "to": to.to_string(),
        "columns": columns,
    })
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> anyhow::Result<ArrayRef> {
    let found = batch.column_by_name(name).with_context(|| format!("the answer has no column {name}"))?;
    let cast = arrow_cast::cast(found, kind).with_context(|| format!("the column {name}"))?;
    ensure!(cast.null_count() == found.null_count(), "the column {name} has values that do not fit");
    Ok(cast)
}

fn texts(batch: &RecordBatch, name: &str) -> anyhow::Result<ArrayRef> {
    column(batch, name, &DataType::Utf8)
}

fn bytes(batch: &RecordBatch, name: &str) -> anyhow::Result<ArrayRef> {
    column(batch, name, &DataType::Binary)
}

fn floats(batch: &RecordBatch, name: &str) -> anyhow::Result<ArrayRef> {
    column(batch, name, &DataType::Float64)
}

fn ints(batch: &RecordBatch, name: &str) -> anyhow::Result<ArrayRef> {
    column(batch, name, &DataType::Int64)
}

fn times(batch: &RecordBatch, name: &str) -> anyhow::Result<ArrayRef> {
    column(batch, name, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
}

fn text(column: &ArrayRef, row: usize) -> &str {
    if column.is_null(row) { "" } else { column.as_string::<i32>().value(row) }
}

fn int(column: &ArrayRef, row: usize) -> Option<i64> {
    (!column.is_null(row)).then(|| column.as_primitive::<Int64Type>().value(row))
}

fn float(column: &ArrayRef, row: usize) -> Option<f64> {
    (!column.is_null(row)).then(|| column.as_primitive::<Float64Type>().value(row))
}

/// Microseconds since 1970.
fn time(column: &ArrayRef, row: usize) -> i64 {
    column.as_primitive::<TimestampMicrosecondType>().value(row)
}

/// The names of the series in a batch, each text once.
fn names(batch: &RecordBatch) -> anyhow::Result<Vec<Name>> {
    let (sensors, metrics) = (texts(batch, "sensor")?, texts(batch, "metric")?);
    let mut known: HashMap<&str, Arc<str>> = HashMap::new();
    let mut names = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let [sensor, metric] = [text(&sensors, row), text(&metrics, row)]
            .map(|text| known.entry(text).or_insert_with(|| text.into()).clone());
        names.push((sensor, metric));
    }
    Ok(names)
}

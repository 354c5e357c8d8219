use std::{borrow::Cow, collections::HashMap};

use super::{CopyFrames, StoreError};
use crate::model::{Batch, Event, Passage, Quality, Reading, SeriesId, Time, reading::fingerprint_of_value};

/// The key of a reading (its event is 0) or of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub time: Time,
    pub series: SeriesId,
    pub event: i64,
}

/// A row of `reading` or of `event`: the two tables are written in the same way.
pub trait Fact: Sync {
    const TABLE: &'static str;
    const COLUMNS: &'static str;
    /// The columns of the unique key.
    const KEY: &'static str;
    /// What the database must say of a kept row so that it can be compared: see [`Fact::kept`].
    const COMPARED: &'static str;

    fn key(&self) -> Key;
    fn fingerprint(&self) -> i64;
    fn quality(&self) -> Quality;
    fn message(&self) -> u32;
    fn encode(&self, received_at: Time, frames: &mut CopyFrames);
    /// The fingerprint of a kept row, from the columns `KEY, COMPARED`.
    fn kept(row: &tokio_postgres::Row) -> (Key, i64);
    /// The number and the text that `conflict` keeps.
    fn conflicting(&self) -> (Option<f64>, Option<Cow<'_, str>>);
    const IS_EVENT: bool;
    /// The column of the kept row that stands beside a conflicting number.
    const KEPT_VALUE: &'static str;
}

/// Writes facts by COPY straight into their table, in the open transaction.
///
/// # Errors
/// The server refuses one of them, and with it all; or it did not take them all.
pub async fn copy<F: Fact>(
    client: &tokio_postgres::Client,
    batch: &Batch,
    facts: &[&F],
) -> Result<(), StoreError> {
    let mut frames = CopyFrames::new();
    for fact in facts {
        fact.encode(batch.messages[fact.message() as usize].received_at, &mut frames);
    }
    let copy = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", F::TABLE, F::COLUMNS);
    let taken = frames.send(client, &copy).await?;
    if taken == facts.len() as u64 {
        return Ok(());
    }
    Err(StoreError::Unfit(format!("{}: sent {} rows, {taken} were taken", F::TABLE, facts.len())))
}

/// The fingerprints of those keys that are stored already; the facts are sorted by key.
///
/// # Errors
/// The database fails.
pub async fn kept<F: Fact>(
    client: &tokio_postgres::Client,
    facts: &[&F],
) -> Result<HashMap<Key, i64>, StoreError> {
    let (Some(first), Some(last)) = (facts.first(), facts.last()) else { return Ok(HashMap::new()) };
    let same: Vec<String> = F::KEY.split(", ").map(|column| format!("k.{column} = sent.{column}")).collect();
    let times: Vec<_> = facts.iter().map(|fact| fact.key().time.timestamp()).collect();
    let series: Vec<_> = facts.iter().map(|fact| fact.key().series.0).collect();
    let events: Vec<_> = facts.iter().map(|fact| fact.key().event).collect();
    let compared: Vec<String> = F::COMPARED.split(", ").map(|column| format!("k.{column}")).collect();
    // The span as literals: only its days are planned for. LATERAL with a limit: by the index, key for key, however large
    // the day is; a join might read all of it.
    let select = format!(
        "SELECT {key}, {compared}
         FROM unnest($1::timestamptz[], $2::int4[], $3::int8[]) AS sent (time, series_id, event_id)
         CROSS JOIN LATERAL (
             SELECT * FROM {table} k
             WHERE {same} AND '{from}' <= k.time AND k.time <= '{to}'
             LIMIT 1) k",
        key = F::KEY.split(", ").map(|column| format!("k.{column}")).collect::<Vec<_>>().join(", "),
        same = same.join(" AND "),
        compared = compared.join(", "),
        table = F::TABLE,
        from = first.key().time,
        to = last.key().time,
    );
    let rows = client.query(&select, &[&times, &series, &events]).await?;
    Ok(rows.iter().map(F::kept).collect())
}

fn time_of(row: &tokio_postgres::Row, column: usize) -> Time {
    row.get::<_, jiff::Timestamp>(column).into()
}

impl Fact for Reading {
    const TABLE: &'static str = "reading";
    const COLUMNS: &'static str = "time, value, series_id, quality, received_at";
    const KEY: &'static str = "time, series_id";
    const COMPARED: &'static str = "value";
    const IS_EVENT: bool = false;
    const KEPT_VALUE: &'static str = "value";

    fn key(&self) -> Key {
        Key { time: self.time, series: self.series, event: 0 }
    }

    fn fingerprint(&self) -> i64 {
        Reading::fingerprint(self)
    }

    fn quality(&self) -> Quality {
        self.quality
    }

    fn message(&self) -> u32 {
        self.message
    }

    fn encode(&self, received_at: Time, frames: &mut CopyFrames) {
        frames.row(5);
        frames.time(self.time);
        frames.float8(self.value);
        frames.int4(self.series.0);
        frames.int4(self.quality.0);
        frames.time(received_at);
    }

    fn kept(row: &tokio_postgres::Row) -> (Key, i64) {
        let key = Key { time: time_of(row, 0), series: SeriesId(row.get(1)), event: 0 };
        (key, fingerprint_of_value(row.get(2)))
    }

    fn conflicting(&self) -> (Option<f64>, Option<Cow<'_, str>>) {
        (Some(self.value), None)
    }
}

impl Fact for Event {
    const TABLE: &'static str = "event";
    const COLUMNS: &'static str =
        "time, event_id, speed, length, on_time_s, series_id, quality, received_at, class, tags";
    const KEY: &'static str = "time, series_id, event_id";
    const COMPARED: &'static str = "speed, length, on_time_s, class";
    const IS_EVENT: bool = true;
    const KEPT_VALUE: &'static str = "speed";

    fn key(&self) -> Key {
        Key { time: self.time, series: self.series, event: self.passage.id }
    }

    fn fingerprint(&self) -> i64 {
        self.passage.fingerprint()
    }

    fn quality(&self) -> Quality {
        self.quality
    }

    fn message(&self) -> u32 {
        self.message
    }

    fn encode(&self, received_at: Time, frames: &mut CopyFrames) {
        let Passage { id, speed_kmh, length_m, on_time_s, class, tags } = &self.passage;
        frames.row(10);
        frames.time(self.time);
        frames.int8(*id);
        frames.optional_float8(*speed_kmh);
        frames.optional_float8(*length_m);
        frames.optional_float8(*on_time_s);
        frames.int4(self.series.0);
        frames.int4(self.quality.0);
        frames.time(received_at);
        frames.optional_text(class.as_deref());
        frames.optional_jsonb(tags.as_deref());
    }

    fn kept(row: &tokio_postgres::Row) -> (Key, i64) {
        let passage = Passage {
            id: row.get(2),
            speed_kmh: row.get(3),
            length_m: row.get(4),
            on_time_s: row.get(5),
            class: row.get::<_, Option<String>>(6).map(Into::into),
            tags: None,
        };
        let key = Key { time: time_of(row, 0), series: SeriesId(row.get(1)), event: passage.id };
        (key, passage.fingerprint())
    }

    fn conflicting(&self) -> (Option<f64>, Option<Cow<'_, str>>) {
        (self.passage.speed_kmh, Some(self.passage.to_string().into()))
    }
}

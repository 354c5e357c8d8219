//! Buckets that hold readings of sensors in quarantine: noted in place of marks, in the transaction that stores them, so
//! that adopting a sensor need not look for its readings.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{StoreError, mention::Mention, tally::Tally};
use crate::{
    model::{SeriesId, Time},
    validate::AHEAD_MAX,
};

/// A reading or an event that was stored and is kept apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Withheld {
    pub series: SeriesId,
    /// Start of its five minutes.
    pub bucket: Time,
    pub time: Time,
    /// The message it came in, as an index into the batch.
    pub message: u32,
}

/// Counts them in the ledger.
pub fn count(tally: &mut Tally<'_>, withheld: &[Withheld]) {
    withheld.iter().for_each(|one| tally.of(one.message).quarantined += 1);
}

/// Adds them to table `withheld`.
///
/// # Errors
/// The database fails.
pub async fn keep(client: &Client, withheld: &[Withheld]) -> Result<(), StoreError> {
    if withheld.is_empty() {
        return Ok(());
    }
    // In order of the key, so that two writers cannot wait for each other.
    let mut buckets: BTreeMap<(SeriesId, Time), (i64, Time, Time)> = BTreeMap::new();
    for Withheld { series, bucket, time, .. } in withheld {
        let (readings, first, last) = buckets.entry((*series, *bucket)).or_insert((0, *time, *time));
        *readings += 1;
        (*first, *last) = ((*first).min(*time), (*last).max(*time));
    }
    let series: Vec<i32> = buckets.keys().map(|(series, _)| series.0).collect();
    let starts: Vec<_> = buckets.keys().map(|(_, bucket)| bucket.timestamp()).collect();
    let readings: Vec<i64> = buckets.values().map(|(readings, ..)| *readings).collect();
    let first: Vec<_> = buckets.values().map(|(_, first, _)| first.timestamp()).collect();
    let last: Vec<_> = buckets.values().map(|(.., last)| last.timestamp()).collect();
    client
        .execute(
            "INSERT INTO withheld AS w (series_id, bucket, readings, first_time, last_time)
             SELECT * FROM unnest($1::int4[], $2::timestamptz[], $3::int8[], $4::timestamptz[], $5::timestamptz[])
             ON CONFLICT (series_id, bucket) DO UPDATE SET
                 readings = w.readings + excluded.readings,
                 first_time = least(w.first_time, excluded.first_time),
                 last_time = greatest(w.last_time, excluded.last_time)",
            &[&series, &starts, &readings, &first, &last],
        )
        .await?;
    Ok(())
}

/// Takes out what was erased: the bucket of each reading or event.
///
/// # Errors
/// The database fails.
pub async fn less(client: &Client, erased: impl Iterator<Item = (Time, SeriesId)>) -> Result<(), StoreError> {
    let mut buckets: BTreeMap<(SeriesId, Time), i64> = BTreeMap::new();
    erased.for_each(|(bucket, series)| *buckets.entry((series, bucket)).or_default() += 1);
    let series: Vec<i32> = buckets.keys().map(|(series, _)| series.0).collect();
    let starts: Vec<_> = buckets.keys().map(|(_, bucket)| bucket.timestamp()).collect();
    let readings: Vec<i64> = buckets.values().copied().collect();
    let update = "UPDATE withheld w SET readings = w.readings - less.readings
                  FROM unnest($1::int4[], $2::timestamptz[], $3::int8[]) AS less (series_id, bucket, readings)
                  WHERE w.series_id = less.series_id AND w.bucket = less.bucket";
    if client.execute(update, &[&series, &starts, &readings]).await? != 0 {
        client
            .execute("DELETE FROM withheld WHERE readings <= 0 AND series_id = ANY($1)", &[&series])
            .await?;
    }
    Ok(())
}

/// Forgets first messages that name an erased sensor, those received before the erased period not.
///
/// # Errors
/// The database fails.
pub async fn forget(client: &Client, mention: &Mention, starts: Option<Time>) -> Result<(), StoreError> {
    let starts = starts.map(|starts| starts.minus(AHEAD_MAX).timestamp());
    let mut last = String::new();
    loop {
        // Payloads have 64 KiB at most: 16 MiB at once.
        let query = "SELECT sensor, topic, payload FROM quarantine
                     WHERE $1 < sensor AND ($2::timestamptz IS NULL OR $2 <= seen_at) ORDER BY sensor LIMIT 256";
        let rows = client.query(query, &[&last, &starts]).await?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.get(0);
        let named = rows
            .iter()
            .filter(|row| mention.is_in(row.get::<_, &str>(1).as_bytes()) || mention.is_in(row.get(2)));
        let named: Vec<&str> = named.map(|row| row.get(0)).collect();
        let blank = "UPDATE quarantine SET topic = '', payload = '' WHERE sensor = ANY($1)";
        client.execute(blank, &[&named]).await?;
    }
}

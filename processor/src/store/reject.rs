//! What was refused is kept, with its payload, until an operator settles it.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;

use super::StoreError;
use crate::{
    model::{
        Message, Reason,
        bucket::HOUR,
        message::{kept_start, kept_text},
    },
    process::Rejection,
};

/// Rejections kept of a source and hour: more than anybody reads, and a sensor gone mad must not fill the disk. The
/// rest is counted.
const AN_HOUR_MAX: i64 = 10_000;

/// A rejection on its way to the table.
pub struct Row<'b> {
    pub rejection: &'b Rejection,
    pub message: &'b Message,
    /// The payload as it may be kept.
    pub payload: Option<&'b [u8]>,
    pub source: &'b str,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    New,
    /// The same was refused before.
    Before,
    /// Its source had too many this hour, or its message holds what was erased and must not come back this way.
    No,
}

/// # Errors
/// The database fails.
pub async fn keep<'b>(client: &Client, rows: &[Row<'b>]) -> Result<Vec<Kept>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let kept = within_bounds(client, rows).await?;
    let taken: Vec<&Row<'b>> =
        rows.iter().zip(&kept).filter(|(_, kept)| **kept == Kept::New).map(|(row, _)| row).collect();
    let received: Vec<_> = taken.iter().map(|row| row.message.received_at.timestamp()).collect();
    let sources: Vec<_> = taken.iter().map(|row| row.source).collect();
    let topics: Vec<_> = taken.iter().map(|row| row.message.kept_topic()).collect();
    let reasons: Vec<_> = taken.iter().map(|row| row.rejection.reason.as_str()).collect();
    let details: Vec<_> = taken.iter().map(|row| kept_text(&row.rejection.detail)).collect();
    let payloads: Vec<&[u8]> = taken.iter().map(|row| kept_start(row.payload.unwrap_or_default())).collect();
    let hashes: Vec<_> = taken.iter().map(|row| row.rejection.sha256.as_slice()).collect();
    let readings: Vec<_> = taken.iter().map(|row| row.rejection.readings as i32).collect();
    let length = |row: &&Row<'_>| row.payload.unwrap_or(&row.message.payload).len() as i64;
    let lengths: Vec<_> = taken.iter().map(length).collect();
    let retained: Vec<_> = taken.iter().map(|row| row.message.retained).collect();
    let inserted = client
        .query(
            "INSERT INTO rejection (received_at, source, topic, reason, detail, payload, sha256, readings, payload_bytes, retained)
             SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
                                  $7::bytea[], $8::int4[], $9::int8[], $10::bool[])
             ON CONFLICT DO NOTHING
             RETURNING source, topic, reason, sha256",
            &[&received, &sources, &topics, &reasons, &details, &payloads, &hashes, &readings, &lengths, &retained],
        )
        .await?;
    type Name = (String, String, String, Vec<u8>);
    let mut new: HashSet<Name> =
        inserted.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let known = rows.iter().zip(kept).map(|(row, kept)| {
        let name = (
            row.source.to_owned(),
            row.message.kept_topic(),
            row.rejection.reason.as_str().to_owned(),
            row.rejection.sha256.to_vec(),
        );
        if kept == Kept::New && !new.remove(&name) { Kept::Before } else { kept }
    });
    Ok(known.collect())
}

/// `No` for those beyond what is kept of a source and hour, `New` for the others.
async fn within_bounds(client: &Client, rows: &[Row<'_>]) -> Result<Vec<Kept>, StoreError> {
    let hour = |row: &Row<'_>| row.message.received_at.floor(HOUR);
    let mut left: HashMap<_, i64> = rows.iter().map(|row| ((row.source, hour(row)), AN_HOUR_MAX)).collect();
    let (sources, hours): (Vec<_>, Vec<_>) =
        left.keys().map(|(source, hour)| (*source, hour.timestamp())).unzip();
    let counts = client
        .query(
            "SELECT source, hour, (
                 SELECT count(*) FROM (
                     SELECT FROM rejection r
                     WHERE r.source = asked.source AND asked.hour <= r.received_at
                         AND r.received_at < asked.hour + INTERVAL '1 hour'
                     LIMIT $3
                 ) there
             ) FROM unnest($1::text[], $2::timestamptz[]) AS asked (source, hour)",
            &[&sources, &hours, &AN_HOUR_MAX],
        )
        .await?;
    for row in &counts {
        let key = (row.get::<_, &str>(0), row.get::<_, jiff::Timestamp>(1).into());
        if let Some(left) = left.get_mut(&key) {
            *left -= row.get::<_, i64>(2);
        }
    }
    let erased: HashSet<u32> = rows
        .iter()
        .filter(|row| row.rejection.reason == Reason::Erased)
        .map(|row| row.rejection.message)
        .collect();
    let within = rows.iter().map(|row| match left.get_mut(&(row.source, hour(row))) {
        Some(left) if 0 < *left && !erased.contains(&row.rejection.message) => {
            *left -= 1;
            Kept::New
        }
        _ => Kept::No,
    });
    Ok(within.collect())
}

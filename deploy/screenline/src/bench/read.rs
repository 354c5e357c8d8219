//! From tables and segments to a client over Flight, beside COPY out of the database and frames out of memory.

use anyhow::{Context, ensure};
use arrow_flight::{FlightData, Ticket};
use futures::TryStreamExt;
use jiff::Timestamp;
use processor::{
    model::Time,
    store::{self, CopyFrames},
};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};
use tokio_postgres::Client;

use super::{
    client,
    figure::Figure,
    ground::{Ground, day, mark, midnight_s},
    memory,
};

/// Series that are read.
const SERIES: i64 = 1_000;
/// A day of them every ten seconds: 8.64 million rows.
const TICKS: i64 = 8_640;
const DAY_S: i64 = 86_400;
/// Of the open day: a million rows.
const OPEN_TICKS: i64 = 1_000;
const TICKS_A_COPY: i64 = 100;
const COLUMNS: [&str; 4] = ["time", "sensor", "metric", "value"];
/// A closed day is copied beside other work.
const SEGMENT_PATIENCE: Duration = Duration::from_secs(300);

/// # Errors
/// The city fails, or answers with other rows than were put in.
pub async fn run(ground: &Ground, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut copy = Figure::new("copy-read", "a million rows of the open day by COPY, unread", "rows");
    let mut rows = Figure::new("rows", "the same over Flight, out of the database", "rows")
        .beside("copy-read", "at least 0.5 of the rate");
    let mut memory = Figure::new("memory", "a closed day over Flight, frames out of memory", "rows");
    let mut segment = Figure::new("segment", "the same out of a segment", "rows")
        .beside("memory", "0.6 of the rate or 35 million/s, query at most 0.015 CPU-s");
    let database = store::connect(&ground.city.database_url, "screenline-bench").await?;
    let closed_s = midnight_s(5);
    let now = Timestamp::now().as_microsecond();
    let open_s = midnight_s(0);
    let open_step_us = ((now - open_s * 1_000_000) / OPEN_TICKS).max(1);
    fill(ground, &database, closed_s, TICKS, DAY_S * 1_000_000 / TICKS).await?;
    fill(ground, &database, open_s, OPEN_TICKS, open_step_us).await?;
    let open_end = Timestamp::from_microsecond(open_s * 1_000_000 + OPEN_TICKS * open_step_us)?;
    let closed = ticket(Timestamp::from_second(closed_s)?, Timestamp::from_second(closed_s + DAY_S)?);
    let open = ticket(Timestamp::from_second(open_s)?, open_end);
    let copied = format!(
        "COPY (SELECT time, series_id, value, quality FROM reading
               WHERE '{}' <= time AND time < '{open_end}') TO STDOUT (FORMAT binary)",
        Timestamp::from_second(open_s)?
    );
    let mut service = client::connect(&ground.city.flight).await?;
    kept_as_segment(ground, &mut service, &closed).await?;
    let frames: Vec<FlightData> = service.do_get(closed.clone()).await?.into_inner().try_collect().await?;
    let (address, server) = memory::serve(frames).await?;
    let mut bare = client::connect(&format!("http://{address}")).await?;
    for round in 0..=rounds {
        let by_copy = ground.round(async {
            let mut rows = 0;
            store::read_copy(&database, &copied, |_| {
                rows += 1;
                Ok(())
            })
            .await?;
            Ok(rows)
        });
        let by_copy = by_copy.await?;
        let by_rows = ground.round(rows_of(&mut service, &open)).await?;
        let by_memory = ground.round(rows_of(&mut bare, &closed)).await?;
        let by_segment = ground.round(rows_of(&mut service, &closed)).await?;
        for (taken, due) in [
            (&by_copy, SERIES * OPEN_TICKS),
            (&by_rows, SERIES * OPEN_TICKS),
            (&by_memory, SERIES * TICKS),
            (&by_segment, SERIES * TICKS),
        ] {
            ensure!(taken.items == due as u64, "{} of {due} rows came", taken.items);
        }
        if 0 < round {
            copy.rounds.push(by_copy); // the first one warms up
            rows.rounds.push(by_rows);
            memory.rounds.push(by_memory);
            segment.rounds.push(by_segment);
        }
    }
    server.abort();
    Ok(vec![copy, rows, memory, segment])
}

/// Readings of the load's first series, by COPY, and what makes the roller look at them.
async fn fill(
    ground: &Ground,
    client: &Client,
    start_s: i64,
    ticks: i64,
    step_us: i64,
) -> anyhow::Result<()> {
    day(client, ground.level, start_s).await?;
    let ids = client
        .query("SELECT id FROM series WHERE sensor LIKE 'load-%' ORDER BY id LIMIT $1", &[&SERIES])
        .await?;
    let ids: Vec<i32> = ids.iter().map(|row| row.get(0)).collect();
    ensure!(ids.len() as i64 == SERIES, "the registry knows {} of {SERIES} series", ids.len());
    // With the marks in one transaction: the auditor would find readings that nobody rolls.
    client.batch_execute("BEGIN").await?;
    let statement = "COPY reading (time, value, series_id, quality, received_at) FROM STDIN (FORMAT binary)";
    for first in (0..ticks).step_by(TICKS_A_COPY as usize) {
        let mut frames = CopyFrames::new();
        for tick in first..ticks.min(first + TICKS_A_COPY) {
            let time = Time::from_micros(start_s * 1_000_000 + tick * step_us);
            for (at, id) in ids.iter().enumerate() {
                frames.row(5);
                frames.time(time);
                frames.float8(((at as i64 * 7 + tick * 13) % 1_000) as f64 / 10.0);
                frames.int4(*id);
                frames.int4(0);
                frames.time(time);
            }
        }
        frames.send(client, statement).await.context("fill the tables")?;
    }
    let end_s = start_s + ticks * step_us / 1_000_000;
    mark(client, start_s, end_s).await?;
    client.batch_execute("COMMIT").await?;
    client.batch_execute("VACUUM ANALYZE reading").await?;
    ground.rolled(start_s + DAY_S.min(end_s - start_s - 600)).await
}

fn ticket(from: Timestamp, to: Timestamp) -> Ticket {
    let (from, to) = (from.to_string(), to.to_string());
    Ticket::new(json!({"dataset": "reading", "columns": COLUMNS, "from": from, "to": to}).to_string())
}

/// All rows, as batches that could be worked with.
async fn rows_of(service: &mut client::Client, ticket: &Ticket) -> anyhow::Result<u64> {
    let mut batches = client::get(service, ticket).await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

/// Asks until the day is kept as a segment.
async fn kept_as_segment(
    ground: &Ground,
    service: &mut client::Client,
    ticket: &Ticket,
) -> anyhow::Result<()> {
    let end = Instant::now() + SEGMENT_PATIENCE;
    while ground.metric("screenline_segments").await < 1.0 {
        ensure!(Instant::now() < end, "the closed day is no segment after {SEGMENT_PATIENCE:?}");
        rows_of(service, ticket).await?;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

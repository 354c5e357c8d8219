//! From readings to committed rows, beside the bare protocol: the same rows by COPY into the same table.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use processor::{
    decode::Kept,
    model::{Batch, BatchId, Message, Quality, Reading, Time},
    process::{Fate, Outcome, Processed},
    store::{CopyFrames, Writer},
};
use tokio_postgres::Client;

use super::{
    decode::{self, BATCH_MESSAGES, Reader},
    figure::{Figure, Round},
    ground::{Ground, Tables, midnight_s},
    load::{PACK, SERIES},
};

const BATCH: usize = 20_000;
const BATCHES: usize = 20;
/// More than a writer remembers: a million keys.
const FORGOTTEN_ROUNDS: usize = 3;
/// Seconds of the load that one round of one figure takes.
const ROUND_S: i64 = (BATCH * BATCHES / SERIES) as i64;

/// # Errors
/// A row was not stored, or the database fails.
pub async fn run(ground: &Ground, tables: &Tables, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut copy =
        Figure::new("copy", format!("COPY by the bare protocol, {BATCH} rows a commit"), "readings");
    let mut write = Figure::new("write", "the same rows as batches: once, counted, marked", "readings")
        .beside("copy", "database CPU at most 1.3 times");
    let about = "the same with 1 % that was stored long ago";
    let mut repeats =
        Figure::new("write-repeats", about, "readings").beside("write", "at least 0.7 of the rate");
    let mut ingest = Figure::new("ingest", "messages of 50 to committed rows, without a broker", "readings");
    ingest.bar = "this program at most 0.6 CPU-s";
    let reader = Reader::new()?;
    let writer = || Writer::new(&ground.bench_url, ground.level, tables.registry.clone());
    let (mut clean, mut repeating, mut own) = (writer(), writer(), writer());
    let mut second = midnight_s(2);
    let mut next = |seconds: i64| {
        second += seconds;
        second - seconds
    };
    for writer in [&mut clean, &mut repeating, &mut own] {
        store(writer, &rows(tables, next(1), 1)).await?; // connects, and makes the day
    }
    // What the writer has forgotten by the time it comes again.
    let mut long_ago = VecDeque::new();
    for _ in 0..FORGOTTEN_ROUNDS {
        let rows = rows(tables, next(ROUND_S), BATCH * BATCHES);
        written(ground, &mut repeating, &rows).await?;
        long_ago.push_back(rows);
    }
    for round in 0..=rounds {
        let copied = by_hand(ground, &tables.client, &rows(tables, next(ROUND_S), BATCH * BATCHES)).await?;
        let fresh = rows(tables, next(ROUND_S), BATCH * BATCHES);
        let written = written(ground, &mut clean, &fresh).await?;
        let mut again = rows(tables, next(ROUND_S), BATCH * BATCHES);
        let before = long_ago.pop_front().unwrap_or_default();
        again.iter_mut().zip(&before).step_by(100).for_each(|(row, before)| *row = *before);
        let repeated = self::written(ground, &mut repeating, &again).await?;
        long_ago.push_back(again);
        let messages = decode::messages(next(ROUND_S), BATCH * BATCHES / PACK);
        let ingested = ground.round(async {
            let mut stored = 0;
            for messages in messages.chunks(BATCH_MESSAGES) {
                let processed = reader.read(messages, tables);
                let messages = messages.to_vec();
                let batch = Batch { id: BatchId(fastrand::i64(1..)), messages, shed: 0 };
                stored += own.write(&batch, &processed).await?.counts.stored as u64;
            }
            ensure!(stored == (messages.len() * PACK) as u64, "{stored} readings were stored");
            Ok(stored)
        });
        let ingested = ingested.await?;
        if 0 < round {
            copy.rounds.push(copied); // the first one warms up
            write.rounds.push(written);
            repeats.rounds.push(repeated);
            ingest.rounds.push(ingested);
        }
    }
    Ok(vec![copy, write, repeats, ingest])
}

fn rows(tables: &Tables, start_s: i64, count: usize) -> Vec<Reading> {
    let reading = |i: usize| Reading {
        time: Time::from_micros((start_s + (i / SERIES) as i64) * 1_000_000),
        value: (i * 7 % 1_000) as f64 / 10.0,
        series: tables.ids[i % SERIES],
        quality: Quality::GOOD,
        message: 0,
    };
    (0..count).map(reading).collect()
}

/// What any client must do: COPY and commit.
async fn by_hand(ground: &Ground, client: &Client, rows: &[Reading]) -> anyhow::Result<Round> {
    let received_at = Time::from(jiff::Timestamp::now());
    let statement = "COPY reading (time, value, series_id, quality, received_at) FROM STDIN (FORMAT binary)";
    let copied = ground.round(async {
        let mut taken = 0;
        for rows in rows.chunks(BATCH) {
            let mut frames = CopyFrames::new();
            for row in rows {
                frames.row(5);
                frames.time(row.time);
                frames.float8(row.value);
                frames.int4(row.series.0);
                frames.int4(row.quality.0);
                frames.time(received_at);
            }
            taken += frames.send(client, statement).await.context("COPY by hand")?;
        }
        Ok(taken)
    });
    copied.await
}

async fn written(ground: &Ground, writer: &mut Writer, readings: &[Reading]) -> anyhow::Result<Round> {
    let written = ground.round(async {
        for chunk in readings.chunks(BATCH) {
            store(writer, chunk).await?;
        }
        Ok(readings.len() as u64)
    });
    written.await
}

async fn store(writer: &mut Writer, readings: &[Reading]) -> anyhow::Result<()> {
    let received_at = Time::from(jiff::Timestamp::now());
    let (topic, payload) = ("bench".to_owned(), Default::default());
    let message = Message { topic, payload, received_at, retained: false, number: None };
    let batch = Batch { id: BatchId(fastrand::i64(1..)), messages: vec![message], shed: 0 };
    let fate = Fate {
        source: Some(0),
        number: None,
        identity: None,
        outcome: Outcome::Accepted,
        decoded: readings.len() as u32,
        unlisted: 0,
        kept: Kept::Whole,
    };
    let processed = Processed { readings: readings.to_vec(), fates: vec![fate], ..Processed::default() };
    let counts = writer.write(&batch, &processed).await?.counts;
    let all = readings.len() as i64;
    ensure!(counts.stored + counts.duplicate == all, "a batch of {all} gave {counts:?}");
    Ok(())
}

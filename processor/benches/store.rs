//! Write, roll and read against a real database, which `./deploy/bench` starts and names in
//! SCREENLINE_BENCH_DATABASE_URL. It must be new: the bench fills it.

#[allow(dead_code, reason = "each bench uses its part")]
mod measure;

use std::{
    process::ExitCode,
    sync::{Arc, RwLock},
};

use anyhow::ensure;
use jiff::tz::TimeZone;
use measure::{ROUNDS, Round, Stopwatch, Times};
use processor::{
    decode::Kept,
    model::{
        Batch, BatchId, Kind, Message, MetricName, Proposal, Quality, Reading, SensorId, SeriesId, Time,
    },
    process::{Fate, Outcome, Processed},
    registry::{self, Admission, Registry},
    roller::Roller,
    store::{self, StorageChoice, Writer},
};
use tokio_postgres::Client;

const SERIES: usize = 10_000;
const BATCH: usize = 20_000;
const BATCHES: usize = 10;
const START_S: i64 = 1_704_067_200; // 2024-01-01
const TICK_S: i64 = 20;

fn main() -> ExitCode {
    let Ok(url) = std::env::var("SCREENLINE_BENCH_DATABASE_URL") else {
        eprintln!("skipped: set SCREENLINE_BENCH_DATABASE_URL to a new database, or run ./deploy/bench");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    match runtime.block_on(run(&url)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> anyhow::Result<()> {
    let mut client = store::connect(url, "screenline-bench").await?;
    let level = store::migrate(&mut client, StorageChoice::Auto, "UTC").await?;
    let stored: i64 = client.query_one("SELECT count(*) FROM reading", &[]).await?.get(0);
    ensure!(stored == 0, "the database holds {stored} readings: give the bench a new one");
    println!(
        "storage level {level}; {SERIES} series, batches of {BATCH}, {ROUNDS} rounds of {BATCHES} batches\n"
    );
    let registry = Arc::new(RwLock::new(Registry::new(Admission::Open)));
    let ids = register(&registry, &mut client).await?;
    let writer = || Writer::new(url, level, registry.clone());

    measure::print_head();
    let mut tick = 0;
    for (stage, repeats_percent, limit) in [
        ("write, clean", 0, "1.1 database"),
        ("write, 1 % duplicates", 1, "1.1 to 3"),
        ("write, 20 % duplicates", 20, "3 database"),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            // Repeats of what another process wrote: nothing in memory knows them.
            let old = batch_rows(&ids, tick, BATCH * BATCHES / 5);
            tick += (BATCH * BATCHES / 5 / SERIES) as i64;
            if 0 < repeats_percent {
                write(&mut writer(), &old).await?;
            }
            let mut batches = Vec::new();
            for b in 0..BATCHES {
                let mut rows = batch_rows(&ids, tick, BATCH);
                tick += (BATCH / SERIES) as i64;
                let repeats = BATCH * repeats_percent / 100;
                rows.truncate(BATCH - repeats);
                rows.extend_from_slice(&old[b * repeats..(b + 1) * repeats]);
                batches.push(rows);
            }
            let mut writer = writer();
            write(&mut writer, &batch_rows(&ids, tick, 1)).await?; // connects
            tick += 1;
            let before = backend_s(&client, "screenline-writer").await?;
            let watch = Stopwatch::start();
            for rows in &batches {
                write(&mut writer, rows).await?;
            }
            let round = watch.stop((BATCH * BATCHES) as u64);
            rounds.push(with_backend(round, before, backend_s(&client, "screenline-writer").await?));
        }
        measure::print(stage, &rounds, limit);
    }
    roll(url, &registry, &client, &ids).await?;
    read(&client).await
}

async fn register(registry: &RwLock<Registry>, client: &mut Client) -> anyhow::Result<Vec<SeriesId>> {
    let proposal = |i: usize| {
        let sensor: SensorId = format!("bench-{}", i / 5).parse()?;
        let metric: MetricName = format!("m{}", i % 5).parse()?;
        Ok::<_, String>(Proposal {
            sensor,
            metric,
            unit: "1".into(),
            kind: Kind::Gauge,
            interval_s: Some(20),
            first: None,
        })
    };
    let proposals = (0..SERIES).map(proposal).collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
    registry::register(registry, client, &proposals).await?;
    let mut ids: Vec<_> = registry::read(registry).all_series().map(|series| series.id).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn batch_rows(ids: &[SeriesId], tick: i64, rows: usize) -> Vec<Reading> {
    let reading = |i: usize| Reading {
        time: Time::from_micros((START_S + (tick + (i / SERIES) as i64) * TICK_S) * 1_000_000),
        value: (i * 7 % 1_000) as f64 / 10.0,
        series: ids[i % SERIES],
        quality: Quality::GOOD,
        message: 0,
    };
    (0..rows).map(reading).collect()
}

async fn write(writer: &mut Writer, rows: &[Reading]) -> anyhow::Result<()> {
    let received_at = Time::from_micros((START_S + 86_400) * 1_000_000);
    for chunk in rows.chunks(BATCH) {
        let message = Message {
            topic: "bench".to_owned(),
            payload: Default::default(),
            received_at,
            retained: false,
            number: None,
        };
        let batch = Batch { id: BatchId(fastrand::i64(1..)), messages: vec![message], shed: 0 };
        let fate = Fate {
            source: Some(0),
            number: None,
            identity: None,
            outcome: Outcome::Accepted,
            decoded: chunk.len() as u32,
            unlisted: 0,
            kept: Kept::Whole,
        };
        let processed = Processed { readings: chunk.to_vec(), fates: vec![fate], ..Processed::default() };
        let counts = writer.write(&batch, &processed).await?.counts;
        ensure!(
            counts.stored + counts.duplicate == chunk.len() as i64,
            "a batch of {} gave {counts:?}",
            chunk.len()
        );
    }
    Ok(())
}

/// A million readings in 5 minute buckets, marked again for each round.
async fn roll(
    url: &str,
    registry: &Arc<RwLock<Registry>>,
    client: &Client,
    ids: &[SeriesId],
) -> anyhow::Result<()> {
    let mut roller = Roller::new(url, registry.clone(), TimeZone::UTC);
    while roller.step().await?.more {} // whatever the writes left
    let ticks_an_hour = 3_600 / TICK_S;
    let readings = (ticks_an_hour as usize * ids.len()) as u64;
    let end = START_S + 3_600;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        client
            .execute(
                "INSERT INTO dirty (level, bucket, part, batch)
                 SELECT 0, to_timestamp(bucket), part, 0
                 FROM generate_series($1::int8, $2::int8, 300) AS bucket, generate_series(0, 63) AS part",
                &[&START_S, &(end - 300)],
            )
            .await?;
        let before = backend_s(client, "screenline-roller").await?;
        let watch = Stopwatch::start();
        let rolled = roller.step().await?;
        let round = watch.stop(rolled.read.max(1));
        ensure!(readings / 2 < rolled.read, "{} readings were read of {readings}", rolled.read);
        rounds.push(with_backend(round, before, backend_s(client, "screenline-roller").await?));
    }
    measure::print("roll 5 min, hour and day", &rounds, "0.15 core at 100 k/s, so 1.5");
    Ok(())
}

async fn read(client: &Client) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = backend_s(client, "screenline-bench").await?;
        let watch = Stopwatch::start();
        let (mut rows, mut sum) = (0u64, 0.0);
        let copy = "COPY (SELECT time, series_id, value, quality FROM reading LIMIT 1000000) TO STDOUT (FORMAT binary)";
        store::read_copy(client, copy, |row| {
            let (_time, _series) = (row.time()?, row.int4()?);
            sum += row.float8()?;
            rows += 1;
            Ok(())
        })
        .await?;
        ensure!(0.0 < sum, "the readings are not empty");
        let round = watch.stop(rows);
        rounds.push(with_backend(round, before, backend_s(client, "screenline-bench").await?));
    }
    measure::print("read by binary COPY", &rounds, "0.12 here, 0.25 database");
    Ok(())
}

fn with_backend(round: Round, before: Option<f64>, after: Option<f64>) -> Round {
    Round { backend_s: after.zip(before).map(|(after, before)| after - before), ..round }
}

/// CPU-seconds of the backends that serve an application, where they run on this machine.
async fn backend_s(client: &Client, application: &str) -> anyhow::Result<Option<f64>> {
    let select = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
    let mut seconds = 0.0;
    for row in client.query(select, &[&application]).await? {
        let Some(times) = Times::of(row.get::<_, i32>(0).unsigned_abs()) else { return Ok(None) };
        seconds += times.own_s;
    }
    Ok(Some(seconds))
}

//! Write, roll and read against a real database, which `./deploy/bench` starts and names in
//! SCREENLINE_BENCH_DATABASE_URL. It must be new: the bench fills it. With the argument `day` it rolls a whole day of
//! 43.2 million readings, and needs 8 GB of disk.

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
    if std::env::args().any(|argument| argument == "day") {
        write(&mut writer(), &batch_rows(&ids, 0, 1)).await?; // its day has a partition then
        return roll_a_day(url, &registry, &client, &ids).await;
    }
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

/// Marks every five minutes from the start to `end_s`, of the whole city.
async fn mark(client: &Client, end_s: i64) -> anyhow::Result<()> {
    client
        .execute(
            "INSERT INTO dirty (level, bucket, part, batch)
             SELECT 0, to_timestamp(bucket), part, 0
             FROM generate_series($1::int8, $2::int8, 300) AS bucket, generate_series(0, 63) AS part",
            &[&START_S, &(end_s - 300)],
        )
        .await?;
    Ok(())
}

/// Everything that is due, with what the database did for it.
async fn roll_all(client: &Client, roller: &mut Roller, readings: u64) -> anyhow::Result<Round> {
    let before = backend_s(client, "screenline-roller").await?;
    let watch = Stopwatch::start();
    let mut rollups = 0;
    loop {
        let rolled = roller.step().await?;
        rollups += rolled.rollups;
        if !rolled.more && rolled.rollups == 0 && rolled.read == 0 {
            break;
        }
    }
    ensure!(rollups <= readings, "{rollups} rollups of {readings} readings");
    let round = watch.stop(readings);
    Ok(with_backend(round, before, backend_s(client, "screenline-roller").await?))
}

/// Two million readings in 5 minute buckets: rolled for the first time, and again when nothing has changed.
async fn roll(
    url: &str,
    registry: &Arc<RwLock<Registry>>,
    client: &Client,
    ids: &[SeriesId],
) -> anyhow::Result<()> {
    let mut roller = Roller::new(url, registry.clone(), TimeZone::UTC);
    while roller.step().await?.more {} // whatever the writes left
    let readings = (3_600 / TICK_S) as u64 * ids.len() as u64;
    for (stage, again) in [("roll 5 min, hour and day", false), ("roll again what did not change", true)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            if !again {
                client.batch_execute("TRUNCATE rollup_5m, rollup_1h, rollup_1d, dirty").await?;
            }
            mark(client, START_S + 3_600).await?;
            rounds.push(roll_all(client, &mut roller, readings).await?);
        }
        measure::print(stage, &rounds, "1.4");
    }
    Ok(())
}

/// A day of ten thousand series that speak every 20 s: 43.2 million readings.
async fn roll_a_day(
    url: &str,
    registry: &Arc<RwLock<Registry>>,
    client: &Client,
    ids: &[SeriesId],
) -> anyhow::Result<()> {
    const DAY_S: i64 = 86_400;
    let readings = (DAY_S / TICK_S) as u64 * ids.len() as u64;
    eprintln!("writing {readings} readings, which takes some minutes");
    for hour in 0..24 {
        client
            .execute(
                "INSERT INTO reading (time, value, series_id, quality, received_at)
                 SELECT to_timestamp(second), (second / 20 * 7 + id * 13) % 1000 / 10.0, id, 0, now()
                 FROM generate_series($1::int8, $1 + 3580, 20) AS second, unnest($2::int4[]) AS id
                 ON CONFLICT DO NOTHING",
                &[&(START_S + hour * 3_600), &ids.iter().map(|id| id.0).collect::<Vec<_>>()],
            )
            .await?;
        eprint!("\r{} of 24 hours ", hour + 1);
    }
    client.batch_execute("VACUUM ANALYZE reading").await?;
    let mut roller = Roller::new(url, registry.clone(), TimeZone::UTC);
    roller.step().await?;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        client.batch_execute("TRUNCATE rollup_5m, rollup_1h, rollup_1d, dirty").await?;
        mark(client, START_S + DAY_S).await?;
        let rolled = roll_all(client, &mut roller, readings).await?;
        let seconds = rolled.cpu_s + rolled.backend_s.unwrap_or(0.0);
        eprintln!("round {}: {seconds:.1} CPU-seconds for the day, both sides", round + 1);
        rounds.push(rolled);
    }
    measure::print("roll a day of 43.2 M readings", &rounds, "1.4");
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

//! A whole day of ten thousand series that speak every 20 s, 43.2 million readings, rolled: `./deploy/bench day`, or with a
//! new database in SCREENLINE_BENCH_DATABASE_URL: `cargo bench -p processor --bench day`. It needs 8 GB of disk.

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
    model::{Kind, MetricName, Proposal, SensorId, SeriesId},
    registry::{self, Admission, Registry},
    roller::Roller,
    store::{self, Level, StorageChoice},
};
use tokio_postgres::Client;

const SERIES: usize = 10_000;
const START_S: i64 = 1_704_067_200; // 2024-01-01
const TICK_S: i64 = 20;
const DAY_S: i64 = 86_400;

fn main() -> ExitCode {
    let Ok(url) = std::env::var("SCREENLINE_BENCH_DATABASE_URL") else {
        eprintln!("skipped: set SCREENLINE_BENCH_DATABASE_URL to a new database, or run ./deploy/bench day");
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
    let registry = Arc::new(RwLock::new(Registry::new(Admission::Open)));
    let ids = register(&registry, &mut client).await?;
    if level == Level::Plain {
        client
            .batch_execute(
                "CREATE TABLE reading_20240101 PARTITION OF reading FOR VALUES FROM ('2024-01-01') TO ('2024-01-02')",
            )
            .await?;
    }
    println!("storage level {level}; {SERIES} series, {ROUNDS} rounds\n");
    measure::print_head();
    roll_a_day(url, &registry, &client, &ids).await
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

async fn roll_a_day(
    url: &str,
    registry: &Arc<RwLock<Registry>>,
    client: &Client,
    ids: &[SeriesId],
) -> anyhow::Result<()> {
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

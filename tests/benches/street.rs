//! The whole street, from MQTT to Flight, on each storage level: `cargo bench -p tests --bench street`, or `./deploy/bench`.
//! Readings per second, and CPU-seconds per million readings of every process, the publisher included.

#[allow(dead_code, reason = "each bench uses its part")]
#[path = "../../processor/benches/measure/mod.rs"]
mod measure;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, ensure};
use measure::{ROUNDS, Stopwatch, Times};
use tests::{City, Plan, Storage, flight::Flight, storage};

const MESSAGES: usize = 10_000;
/// As a gateway packs them: without packing the broker is the limit.
const READINGS_A_MESSAGE: usize = 50;
const SENSORS: usize = 1_000;
const START_S: i64 = 1_704_067_200; // 2024-01-01

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let outcome = runtime.block_on(async {
        for storage in storage::levels()? {
            run(storage).await?;
        }
        anyhow::Ok(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(storage: Storage) -> anyhow::Result<()> {
    let mut city = Plan::up(storage).start().await?;
    println!(
        "\nstorage {}; {MESSAGES} SenML messages of {READINGS_A_MESSAGE} readings a round\n",
        storage.name()
    );
    measure::print_head();
    let mut rounds = Vec::new();
    let mut processes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let messages = messages(round as i64);
        let readings = (MESSAGES * READINGS_A_MESSAGE) as u64;
        let stored = stored(&city).await?;
        let before = cpu_of(&mut city)?;
        let watch = Stopwatch::start();
        city.publish_all(messages).await?;
        while self::stored(&city).await? < stored + readings as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        rounds.push(watch.stop(readings));
        city.settled().await?; // what the roller still does belongs to these readings
        for (name, after) in cpu_of(&mut city)? {
            processes.entry(name).or_default().push((after - before[name]) * 1e6 / readings as f64);
        }
    }
    measure::print("publish to stored, QoS 1", &rounds, "broker 26 to 81 k messages/s");
    for (name, mut figures) in processes {
        figures.sort_by(f64::total_cmp);
        println!("|   of which {name} | | | | {:.2} | |", figures[figures.len() / 2]);
    }
    read(&mut city).await?;
    city.stop()?;
    Ok(())
}

async fn read(city: &mut City) -> anyhow::Result<()> {
    let mut flight = Flight::connect(city.flight_url()).await?;
    let (mut rows_rounds, mut count_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (sql, rounds) in [
            ("SELECT time, sensor, metric, value FROM reading LIMIT 1000000", &mut rows_rounds),
            ("SELECT sensor, avg(value) AS mean FROM reading GROUP BY sensor", &mut count_rounds),
        ] {
            let total = (MESSAGES * READINGS_A_MESSAGE * ROUNDS) as u64;
            let before = cpu_of(city)?;
            let watch = Stopwatch::start();
            let rows: usize = flight.query(sql).await?.iter().map(|batch| batch.num_rows()).sum();
            ensure!(0 < rows, "no row came");
            let read = if sql.contains("GROUP BY") { total } else { rows as u64 };
            let mut round = watch.stop(read);
            let after = cpu_of(city)?;
            round.backend_s = Some(["query", "postgres"].iter().map(|name| after[name] - before[name]).sum());
            rounds.push(round);
        }
    }
    measure::print("read rows over Flight SQL", &rows_rounds, "0.33 query + 0.25 database");
    measure::print("mean by sensor over Flight SQL", &count_rounds, "0.25 database");
    Ok(())
}

async fn stored(city: &City) -> anyhow::Result<i64> {
    Ok(city.database().query_one("SELECT coalesce(sum(stored), 0)::int8 FROM ledger", &[]).await?.get(0))
}

fn messages(round: i64) -> Vec<(String, Vec<u8>)> {
    let message = |i: usize| {
        let sensor = i % SENSORS;
        let pack = (MESSAGES / SENSORS) as i64 * round + (i / SENSORS) as i64;
        let start = START_S + pack * READINGS_A_MESSAGE as i64 * 20;
        let mut payload = format!(r#"[{{"bn":"load-{sensor}:","bt":{start}}}"#);
        for k in 0..READINGS_A_MESSAGE {
            payload += &format!(
                r#",{{"n":"level","u":"m","t":{},"v":{}.{:02}}}"#,
                k * 20,
                i % 50,
                (i * 31 + k) % 100
            );
        }
        payload.push(']');
        (format!("city/senml/load-{sensor}"), payload.into_bytes())
    };
    (0..MESSAGES).map(message).collect()
}

/// CPU-seconds so far of every process of the city, by name.
fn cpu_of(city: &mut City) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let names = ["ingest", "mosquitto", "postgres", "query"];
    names
        .into_iter()
        .map(|name| {
            let pid = city.pid(name)?;
            let mut seconds =
                Times::of(pid).with_context(|| format!("read the times of {name}"))?.with_ended_children_s;
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
            for child in children.split_whitespace() {
                seconds += Times::of(child.parse()?).map_or(0.0, |times| times.with_ended_children_s); // may have ended
            }
            Ok((name, seconds))
        })
        .collect()
}

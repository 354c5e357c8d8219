//! From stored readings to rollups of five minutes, hours and days, beside taking the same rows out of the database.

use anyhow::ensure;
use jiff::tz::TimeZone;
use processor::{roller::Roller, store};
use tokio_postgres::Client;

use super::{
    figure::Figure,
    ground::{Ground, Tables, day, mark, midnight_s},
    load::SERIES,
};

/// An hour of all series that speak every 20 s.
const TICK_S: i64 = 20;
const HOUR_S: i64 = 3_600;

/// # Errors
/// The database fails.
pub async fn run(ground: &Ground, tables: &Tables, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut read = Figure::new("copy-out", "COPY of an hour's rows out of the database, unread", "readings");
    let mut roll = Figure::new("roll", "roll them: five minutes, hours and days", "readings")
        .beside("copy-out", "database CPU at most 3 times");
    let client = &tables.client;
    let start_s = midnight_s(4);
    fill(ground, client, tables, start_s).await?;
    let mut roller = Roller::new(&ground.bench_url, tables.registry.clone(), TimeZone::UTC);
    while roller.step().await?.more {} // whatever other stages left
    let readings = (HOUR_S / TICK_S) as u64 * SERIES as u64;
    for round in 0..=rounds {
        let taken = ground.round(take(client, start_s)).await?;
        ensure!(taken.items == readings, "{} of {readings} rows were there", taken.items);
        client.batch_execute("TRUNCATE rollup_5m, rollup_1h, rollup_1d, dirty").await?;
        mark(client, start_s, start_s + HOUR_S).await?;
        let rolled = ground.round(async {
            let mut rollups = 0;
            loop {
                let step = roller.step().await?;
                rollups += step.rollups;
                if !step.more && step.rollups == 0 && step.read == 0 {
                    break;
                }
            }
            ensure!(0 < rollups, "nothing was rolled");
            Ok(readings)
        });
        let rolled = rolled.await?;
        if 0 < round {
            read.rounds.push(taken); // the first one warms up
            roll.rounds.push(rolled);
        }
    }
    Ok(vec![read, roll])
}

async fn fill(ground: &Ground, client: &Client, tables: &Tables, start_s: i64) -> anyhow::Result<()> {
    day(client, ground.level, start_s).await?;
    let ids: Vec<i32> = tables.ids.iter().map(|id| id.0).collect();
    client
        .execute(
            "INSERT INTO reading (time, value, series_id, quality, received_at)
             SELECT to_timestamp(second), (second / 20 * 7 + id * 13) % 1000 / 10.0, id, 0, now()
             FROM generate_series($1::int8, $1 + $3 - $4, $4) AS second, unnest($2::int4[]) AS id",
            &[&start_s, &ids, &HOUR_S, &TICK_S],
        )
        .await?;
    client.batch_execute("VACUUM ANALYZE reading").await?;
    Ok(())
}

async fn take(client: &Client, start_s: i64) -> anyhow::Result<u64> {
    let copy = format!(
        "COPY (SELECT time, series_id, value, quality FROM reading
               WHERE to_timestamp({start_s}) <= time AND time < to_timestamp({})) TO STDOUT (FORMAT binary)",
        start_s + HOUR_S
    );
    let mut rows = 0;
    store::read_copy(client, &copy, |_| {
        rows += 1;
        Ok(())
    })
    .await?;
    Ok(rows)
}

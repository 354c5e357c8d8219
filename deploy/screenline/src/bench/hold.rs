//! How long a rate is held: a load in real time, minutes long, with its rollups; nothing may be missing in the end.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, interval, sleep};
use tokio_postgres::Client;

use super::{
    cpu::{self, ALL, Who},
    ground::{Ground, midnight_s},
    load::{Load, PACK},
    wire::Wire,
};
use crate::console::Console;

/// Connections of publishers, as gateways have their own.
const PUBLISHERS: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(250);
const BUCKET_S: i64 = 300;
const TOPIC: &str = "city/senml/hold";

/// Stored, and whatever else became of readings.
const ACCOUNT: &str = "SELECT coalesce(sum(stored), 0)::int8, coalesce(sum(duplicate + conflict + rejected), 0)::int8 FROM ledger";

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub readings_per_second: f64,
    pub series: usize,
    pub time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Held {
    pub readings: u64,
    pub sending_s: f64,
    /// Seconds of load that were published and not yet stored, at each look.
    pub behind_s: Vec<f64>,
    /// Seconds from the end of each five minutes until all their marks were rolled.
    pub lags_s: Vec<f64>,
    /// CPU-seconds for a million readings, of everybody; and of all together, minute by minute.
    pub cpu: BTreeMap<Who, f64>,
    pub minutes: Vec<f64>,
    /// The most bytes that each process had in memory.
    pub peaks: BTreeMap<String, u64>,
}

/// # Errors
/// The city fails, or the tables do not hold what was sent.
pub async fn run(ground: &Ground, plan: Plan, console: &Console) -> anyhow::Result<Held> {
    register(ground, plan, console).await?;
    let load = Arc::new(Load::steady(TOPIC, plan.series, PACK, plan.readings_per_second));
    let messages = (plan.time.as_secs_f64() * plan.readings_per_second / PACK as f64) as usize;
    let (sent, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let spent = ground.spent().await?;
    let (stored_before, other_before) = account(&ground.observer).await?;
    let from_s = Timestamp::now().as_second().div_euclid(BUCKET_S) * BUCKET_S;
    let began = Instant::now();
    let mut publishers = tokio::task::JoinSet::new();
    for number in 0..PUBLISHERS {
        let mut wire = Wire::connect(ground.broker, &format!("bench-hold-{number}")).await?;
        let (load, sent) = (load.clone(), sent.clone());
        publishers.spawn(async move {
            let (mut next, mut tick) = (number, interval(TICK));
            while next < messages {
                tick.tick().await;
                let due = (began.elapsed().as_secs_f64() * plan.readings_per_second / PACK as f64) as usize;
                let now: Vec<usize> = (next..due.min(messages)).step_by(PUBLISHERS).collect();
                next += now.len() * PUBLISHERS;
                let readings = load.readings(now.len());
                wire.publish(now.into_iter().map(|index| load.message(index))).await?;
                sent.fetch_add(readings, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let looking = look(ground, plan, (&sent, &over), stored_before, console);
    let sending = async {
        while let Some(done) = publishers.join_next().await {
            done.context("a publisher's task")??;
        }
        let sending_s = began.elapsed().as_secs_f64();
        // A long load is looked at to its end, which its last five minutes have to come to first.
        let open_s = Timestamp::now().as_second().div_euclid(BUCKET_S) * BUCKET_S;
        let end_s = if (plan.time.as_secs() as i64) < BUCKET_S { open_s } else { open_s + BUCKET_S };
        let due = stored_before + load.readings(messages) as i64;
        let stored = format!("SELECT {due} <= stored FROM ({ACCOUNT}) AS account (stored, other)");
        ground.until("all that was sent is stored", &stored).await?;
        while Timestamp::now().as_second() <= end_s {
            sleep(LOOK).await;
        }
        ground.rolled(end_s).await?;
        over.store(true, Ordering::Relaxed);
        anyhow::Ok((sending_s, end_s))
    };
    let (looked, sent) = tokio::join!(looking, sending);
    let (Looked { behind_s, lags_s, minutes, peaks }, (sending_s, end_s)) = (looked?, sent?);
    let readings = load.readings(messages);
    let cpu = cpu::between(&spent, &ground.spent().await?);
    console.status("counting what the tables hold");
    let other = account(&ground.observer).await?.1 - other_before;
    ensure!(other == 0, "{other} readings were no new ones");
    check(&ground.observer, readings as i64, (from_s, end_s)).await?;
    let per_million = |seconds: f64| seconds / readings as f64 * 1e6;
    let cpu = cpu.into_iter().map(|(who, seconds)| (who, per_million(seconds))).collect();
    Ok(Held { readings, sending_s, behind_s, lags_s, cpu, minutes, peaks })
}

struct Looked {
    behind_s: Vec<f64>,
    lags_s: Vec<f64>,
    minutes: Vec<f64>,
    peaks: BTreeMap<String, u64>,
}

async fn look(
    ground: &Ground,
    plan: Plan,
    (sent, over): (&AtomicU64, &AtomicBool),
    stored_before: i64,
    console: &Console,
) -> anyhow::Result<Looked> {
    let (mut behind_s, mut lags, mut peaks) = (Vec::new(), BTreeMap::<i64, f64>::new(), BTreeMap::new());
    let (mut minutes, mut minute) = (Vec::new(), (Instant::now(), 0, ground.spent().await?));
    let client = &ground.observer;
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let sent = sent.load(Ordering::Relaxed);
        let stored = account(client).await?.0 - stored_before;
        let behind = (sent as f64 - stored as f64).max(0.0) / plan.readings_per_second;
        if began.elapsed() < plan.time {
            behind_s.push(behind);
        }
        if MINUTE <= minute.0.elapsed() && began.elapsed() <= plan.time + LOOK {
            let spent = ground.spent().await?;
            let seconds: f64 = cpu::between(&minute.2, &spent).into_values().sum();
            minutes.push(seconds / (stored - minute.1).max(1) as f64 * 1e6);
            minute = (Instant::now(), stored, spent);
        }
        let now_s = Timestamp::now().as_microsecond() as f64 / 1e6;
        let closed_s = (now_s as i64).div_euclid(BUCKET_S) * BUCKET_S;
        let marked = "SELECT extract(epoch FROM min(bucket))::int8 FROM dirty
                      WHERE level = 0 AND bucket < to_timestamp($1::int8)";
        if let Some(bucket_s) = client.query_one(marked, &[&closed_s]).await?.get::<_, Option<i64>>(0) {
            for bucket_s in (bucket_s..closed_s).step_by(BUCKET_S as usize) {
                lags.insert(bucket_s, now_s - (bucket_s + BUCKET_S) as f64);
            }
        }
        for (name, pid) in ground.city.pids() {
            let peak = peaks.entry(name).or_insert(0);
            *peak = resident(pid).max(*peak);
        }
        console.status(&format!("{sent} sent, {behind:.1} s of them not yet stored"));
        sleep(LOOK).await;
    }
    Ok(Looked { behind_s, lags_s: lags.into_values().collect(), minutes, peaks })
}

/// Bytes that a process has in memory of its own.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Sends every series once, on an earlier day: taking them into the registry is no part of holding a rate.
async fn register(ground: &Ground, plan: Plan, console: &Console) -> anyhow::Result<()> {
    console.status("registering the series");
    let load = Load::once(TOPIC, plan.series, PACK, midnight_s(3));
    let due = account(&ground.observer).await?.0 + load.readings(load.gateways()) as i64;
    let mut wire = Wire::connect(ground.broker, "bench-hold").await?;
    wire.publish((0..load.gateways()).map(|index| load.message(index))).await?;
    let stored = format!("SELECT {due} <= stored FROM ({ACCOUNT}) AS account (stored, other)");
    ground.until("all series are registered", &stored).await?;
    ground.rolled(midnight_s(0)).await
}

async fn account(client: &Client) -> anyhow::Result<(i64, i64)> {
    let row = client.query_one(ACCOUNT, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Every reading is there, once, and in the rollup of its series and bucket, as far as buckets are over.
async fn check(client: &Client, sent: i64, (from_s, end_s): (i64, i64)) -> anyhow::Result<()> {
    let ours = "series_id IN (SELECT id FROM series WHERE starts_with(sensor, 'load-'))";
    let differ = format!(
        "WITH rolled AS (
             SELECT series_id, bucket, count + flagged AS rolled FROM rollup_5m
             WHERE to_timestamp({from_s}) <= bucket AND bucket < to_timestamp({end_s}) AND {ours}
         ), stored AS (
             SELECT series_id, date_bin('5 minutes', time, to_timestamp(0)) AS bucket, count(*) AS stored
             FROM reading WHERE to_timestamp({from_s}) <= time AND {ours} GROUP BY 1, 2
         )
         SELECT coalesce(sum(stored), 0)::int8,
                count(*) FILTER (WHERE bucket < to_timestamp({end_s}) AND rolled IS DISTINCT FROM stored)
         FROM rolled FULL JOIN stored USING (series_id, bucket)"
    );
    client.batch_execute("SET statement_timeout = '30min'").await?; // hundreds of millions of rows
    let row = client.query_one(&differ, &[]).await?;
    let (rows, differ): (i64, i64) = (row.get(0), row.get(1));
    ensure!(
        (rows, differ) == (sent, 0),
        "{sent} readings were sent, {rows} stand in the table, and {differ} rollups differ from their rows"
    );
    Ok(())
}

impl Held {
    fn quantile(figures: &[f64], share: f64) -> f64 {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(at).copied().unwrap_or(0.0)
    }

    pub fn json(&self) -> serde_json::Value {
        json!({
            "readings": self.readings,
            "readings_per_second": self.readings as f64 / self.sending_s,
            "behind_s": {"p50": Self::quantile(&self.behind_s, 0.5), "p99": Self::quantile(&self.behind_s, 0.99)},
            "rollups_after_s": self.lags_s,
            "cpu_s_per_million": ALL.map(|who| (who, self.cpu.get(&who).copied().unwrap_or(0.0)))
                .into_iter().map(|(who, seconds)| (who.title().to_owned(), seconds)).collect::<BTreeMap<_, _>>(),
            "cpu_s_per_million_by_minute": self.minutes,
            "peak_bytes": self.peaks,
        })
    }

    pub fn text(&self) -> String {
        let lags: Vec<String> = self.lags_s.iter().map(|lag| format!("{lag:.1} s")).collect();
        let lags = if lags.is_empty() { "at once".into() } else { format!("after {}", lags.join(", ")) };
        let cpu: f64 = self.cpu.values().sum();
        let peaks: Vec<String> =
            self.peaks.iter().map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20)).collect();
        let minutes: Vec<String> = self.minutes.iter().map(|seconds| format!("{seconds:.2}")).collect();
        format!(
            "{} readings in {:.0} s, {:.0} a second: all of them stored once, and rolled.\n\
             Not yet stored: {:.2} s of the load, at the 99th percentile {:.2} s.\n\
             Five minutes rolled, from their end: {lags}.\n\
             {cpu:.2} CPU-seconds a million readings, publishers included; by minute: {}.\n\
             Memory at most: {}.",
            self.readings,
            self.sending_s,
            self.readings as f64 / self.sending_s,
            Self::quantile(&self.behind_s, 0.5),
            Self::quantile(&self.behind_s, 0.99),
            minutes.join(", "),
            peaks.join(", ")
        )
    }
}

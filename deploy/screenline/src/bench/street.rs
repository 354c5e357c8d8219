//! The whole street, from a publisher to rolled rows, beside a subscriber that only counts; and how soon a reading is seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use arrow_array::{
    cast::AsArray,
    types::{Float64Type, TimestampNanosecondType},
};
use arrow_flight::Ticket;
use futures::TryStreamExt;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, interval, sleep, timeout};

use super::{
    client, cpu,
    figure::{Figure, Round, median},
    ground::{Ground, midnight_s},
    load::{Load, PACK},
    wire::Wire,
};

/// Connections of publishers, as gateways have their own.
const PUBLISHERS: usize = 4;
/// A million readings, and a hundred thousand.
const PACKED: usize = 20_000;
const SINGLE: usize = 100_000;
/// Twice what the messages of a round take of the load's time, so that both packings have their own.
const ROUND_S: i64 = 400;
/// While freshness is measured.
const STEADY_RATE: f64 = 100_000.0;
const PROBES: usize = 200;
const PROBE_EVERY: Duration = Duration::from_millis(25);
const PROBE: &str = "load-probe";
const SEEN_PATIENCE: Duration = Duration::from_secs(30);

/// # Errors
/// The city fails, or something that was sent is not stored.
pub async fn run(ground: &Ground, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (pack, messages, names, bar) in [
        (PACK, PACKED, ["drain", "street"], "300,000/s"),
        (1, SINGLE, ["drain-single", "street-single"], "at least 0.6 of the rate"),
    ] {
        let packed =
            if pack == 1 { "one reading a message".into() } else { format!("{pack} readings a message") };
        let mut drain =
            Figure::new(names[0], format!("broker to a subscriber that counts, {packed}"), "readings");
        let mut street =
            Figure::new(names[1], format!("publisher to stored, {packed}"), "readings").beside(names[0], bar);
        for round in 0..=rounds {
            // The same for both; each second of it is stored once, and the last of 99 rounds is of the past.
            let start_s = midnight_s(2) + round as i64 * ROUND_S + if pack == 1 { ROUND_S / 2 } else { 0 };
            let drained = drained(ground, &Load::new("bench/load", pack, start_s), messages).await?;
            let stored = stored(ground, &Load::new("city/senml/load", pack, start_s), messages).await?;
            if 0 < round {
                drain.rounds.push(drained); // the first one warms up
                street.rounds.push(stored);
            }
        }
        figures.extend([drain, street]);
    }
    Ok(figures)
}

async fn publish(ground: &Ground, load: &Load, messages: usize) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for number in 0..PUBLISHERS {
        connections.push(Wire::connect(ground.broker, &format!("bench-publisher-{number}")).await?);
    }
    // Each sends the messages of its own gateways, in their order.
    let sending = connections.iter_mut().enumerate().map(|(number, wire)| {
        wire.publish(
            (0..messages).filter(move |index| index % PUBLISHERS == number).map(|index| load.message(index)),
        )
    });
    futures::future::try_join_all(sending).await?;
    Ok(())
}

async fn drained(ground: &Ground, load: &Load, messages: usize) -> anyhow::Result<Round> {
    let mut subscriber = Wire::connect(ground.broker, "bench-subscriber").await?;
    subscriber.subscribe("bench/load/#").await?;
    let round = ground.round(async {
        let counting = tokio::spawn(async move { subscriber.count(messages).await });
        publish(ground, load, messages).await?;
        counting.await.context("the subscriber's task")??;
        Ok(load.readings(messages))
    });
    round.await
}

/// Rolling what was sent belongs to its CPU time, and not to the time until it is stored.
async fn stored(ground: &Ground, load: &Load, messages: usize) -> anyhow::Result<Round> {
    const STORED: &str = "SELECT coalesce(sum(stored), 0)::int8 FROM ledger";
    let readings = load.readings(messages);
    let before = ground.observer.query_one(STORED, &[]).await?.get::<_, i64>(0);
    let spent = ground.spent().await?;
    let began = Instant::now();
    publish(ground, load, messages).await?;
    let due = before + readings as i64;
    ground.until("all that was sent is stored", &format!("SELECT {due} <= ({STORED})")).await?;
    let wall_s = began.elapsed().as_secs_f64();
    ground.rolled(midnight_s(0)).await?;
    Ok(Round { items: readings, wall_s, cpu: cpu::between(&spent, &ground.spent().await?) })
}

/// From a publisher's clock to a client that follows, in milliseconds: of each probe while a steady load flows.
#[derive(Clone, Debug)]
pub struct Freshness {
    pub readings_per_second: f64,
    pub millis: Vec<f64>,
}

impl Freshness {
    pub fn quantile(&self, share: f64) -> f64 {
        let mut millis = self.millis.clone();
        millis.sort_by(f64::total_cmp);
        let at = ((millis.len() as f64 * share).ceil() as usize).clamp(1, millis.len()) - 1;
        millis[at]
    }

    pub fn half(&self) -> f64 {
        median(self.millis.iter().copied())
    }
}

/// # Errors
/// A probe is not seen within half a minute.
pub async fn freshness(ground: &Ground) -> anyhow::Result<Freshness> {
    let over = Arc::new(AtomicBool::new(false));
    let load = Load::new("city/senml/load", PACK, midnight_s(1));
    let mut background = Wire::connect(ground.broker, "bench-steady").await?;
    let began = Instant::now();
    let sending = {
        let over = over.clone();
        tokio::spawn(async move {
            // Small bursts, as many gateways send them.
            let (mut sent, mut tick) = (0usize, interval(Duration::from_millis(10)));
            while !over.load(Ordering::Relaxed) {
                tick.tick().await;
                let due = (began.elapsed().as_secs_f64() * STEADY_RATE / PACK as f64) as usize;
                background.publish((sent..due.max(sent)).map(|index| load.message(index))).await?;
                sent = sent.max(due);
            }
            anyhow::Ok(sent * PACK)
        })
    };
    let millis = probe(ground).await;
    over.store(true, Ordering::Relaxed);
    let sent = sending.await.context("the steady load's task")??;
    let readings_per_second = sent as f64 / began.elapsed().as_secs_f64();
    Ok(Freshness { readings_per_second, millis: millis? })
}

async fn probe(ground: &Ground) -> anyhow::Result<Vec<f64>> {
    let mut wire = Wire::connect(ground.broker, "bench-probe").await?;
    let reading = |number: usize| {
        let now = Timestamp::now().as_microsecond();
        let (second, micro) = (now / 1_000_000, now % 1_000_000);
        let payload = format!(r#"[{{"n":"{PROBE}:level","u":"m","t":{second}.{micro:06},"v":{number}}}]"#);
        ("city/senml/probe".to_owned(), payload.into())
    };
    wire.publish(std::iter::once(reading(0))).await?;
    let known = format!("SELECT EXISTS (SELECT FROM series WHERE sensor = '{PROBE}')");
    ground.until("the probe is known", &known).await?;
    let mut service = client::connect(&ground.city.flight).await?;
    let ticket = json!({"dataset": "reading", "sensor": [PROBE], "columns": ["time", "value"], "live": true});
    let mut live = client::get(&mut service, &Ticket::new(ticket.to_string())).await?;
    sleep(Duration::from_secs(2)).await; // until it follows, and the load is steady
    let sending = tokio::spawn(async move {
        let mut tick = interval(PROBE_EVERY);
        for number in 1..=PROBES {
            tick.tick().await;
            wire.publish(std::iter::once(reading(number))).await?;
        }
        anyhow::Ok(())
    });
    let mut millis = Vec::with_capacity(PROBES);
    while millis.len() < PROBES {
        let Ok(batch) = timeout(SEEN_PATIENCE, live.try_next()).await else {
            let stored = "SELECT count(*) FROM reading JOIN series ON series.id = series_id
                          WHERE sensor = $1 AND 0 < value";
            let stored = ground.observer.query_one(stored, &[&PROBE]).await?;
            let (seen, stored) = (millis.len(), stored.get::<_, i64>(0));
            bail!("of {PROBES} probes {stored} were stored and {seen} were seen");
        };
        let batch = batch?.context("the tail ended")?;
        let seen = Timestamp::now().as_microsecond();
        let columns = batch.column_by_name("time").zip(batch.column_by_name("value"));
        let (times, values) = columns.context("a tail without times or values")?;
        let times = times.as_primitive_opt::<TimestampNanosecondType>().context("times of another kind")?;
        let values = values.as_primitive_opt::<Float64Type>().context("values of another kind")?;
        let probes = times.values().iter().zip(values.values()).filter(|(_, number)| 0.0 < **number);
        millis.extend(probes.map(|(nanos, _)| (seen - nanos / 1_000) as f64 / 1_000.0));
    }
    sending.await.context("the probe's task")??;
    Ok(millis)
}

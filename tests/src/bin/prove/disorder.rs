//! Disorder: what is sent twice, in another order, late and by two gateways gives the tables of a calm day.

use std::time::Duration;

use anyhow::Context;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use simulators::oracle::{Ledger, Load, Numbers, Oracle, Publisher, Totals};
use tests::say;

use crate::Level;
use crate::site::Site;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many runs, with the seeds from --seed on
    #[arg(long, default_value_t = 10)]
    runs: u64,
    /// The first seed
    #[arg(long, env = "SCREENLINE_TEST_SEED", default_value_t = 1)]
    seed: u64,
    /// Where the tables are
    #[arg(long, default_value = "both")]
    storage: Level,
}

const PATIENCE: Duration = Duration::from_secs(25);
/// Days between two runs' readings, beyond the month that late ones come from.
const DAYS: u64 = 2;

/// Runs as asked. True when every promise was kept.
///
/// # Errors
/// A city does not start.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let mut kept = true;
    for storage in args.storage.storages() {
        let mut site = Site::start(storage, &[]).await.context("start a city")?;
        for seed in args.seed..args.seed + args.runs {
            let wrong = compare(&mut site, seed, PATIENCE).await?;
            println!("seed {seed:<6} {:<9} {}", storage.name(), wrong.as_deref().unwrap_or("ok"));
            kept &= wrong.is_none();
        }
        site.stop()?;
    }
    say(if kept { "disorder changed nothing" } else { "DISORDER CHANGED THE TABLES" });
    Ok(kept)
}

/// One seed, calm and wild, in one city. Says what is wrong.
///
/// # Errors
/// The city fails.
pub async fn compare(site: &mut Site, seed: u64, patience: Duration) -> anyhow::Result<Option<String>> {
    let first: Timestamp = "2020-01-01T22:30:00Z".parse()?; // over midnight
    let days = i64::try_from(seed % 500 * DAYS)?;
    let from = first.to_zoned(TimeZone::UTC).checked_add(days.days())?.timestamp();
    let load = |name: &str| Load {
        numbers: if seed.is_multiple_of(3) { Numbers::Both } else { Numbers::Properties },
        poison: 0.03,
        late: 0.05,
        echoes: 0.2,
        ..Load::clean(&format!("{name}-{seed}"), seed, from)
    };
    let calm = Load { calm: true, ..load("calm") };
    let wild = Load { duplicates: 0.2, shuffle: 400, ..load("wild") };
    let mut held = Vec::new();
    for load in [calm, wild] {
        let path = site.city.workplace().path().join(format!("ledger-{}", load.source));
        let ledger = Ledger::create(&path, &load)?;
        let publisher = Publisher::new(site.city.mqtt_url());
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
        let report = oracle.settle(async || site.connect().await, patience).await?.report;
        if !report.holds() {
            return Ok(Some(format!("{}\n{report}", load.source)));
        }
        held.push(oracle.tables(&site.connect().await?).await?);
    }
    Ok(held[0].difference(&held[1]))
}

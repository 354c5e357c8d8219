//! The connection to the database is lost in the COMMIT: whether it succeeded, nobody says.

use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use simulators::oracle::{Ledger, Load, Oracle, Publisher, Report, Totals};

use crate::Storage;
use crate::apart::Apart;
use crate::process::Manner;
use crate::proxy::Break;

/// What a cut showed.
#[derive(Debug)]
pub struct Shown {
    pub report: Report,
    /// What ingest said meanwhile.
    pub log: String,
}

/// Publishes a load while the writer's connection is cut in three of its COMMITs: after the bytes reached the server, or
/// just before.
///
/// # Errors
/// The city does not start, or no COMMIT was cut.
pub async fn commits(
    storage: Storage,
    forwarded: bool,
    manner: &Manner,
    patience: Duration,
) -> anyhow::Result<Shown> {
    const CUTS: u64 = 3;
    let apart = Apart::start(storage).await?;
    let ingest = apart.ingest_with("cut", &[], manner)?;
    let from: Timestamp = "2024-02-01T22:00:00Z".parse()?;
    let load =
        Load { duplicates: 0.0, messages: 600, ..Load::clean("cut", u64::from(forwarded), from).dirty() };
    let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load)?;
    let publisher = Publisher { rate: Some(150.0), ..Publisher::new(apart.city.mqtt_url()) };
    let cutting = async {
        for cut in 1..=CUTS {
            // A few batches apart, so that each cut meets a connection that works.
            apart.database.arm(Break::Commit { application: "screenline-writer", nth: 4, forwarded });
            while apart.database.broken() < cut {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let (published, cut) = tokio::join!(publisher.publish(&ledger), tokio::time::timeout(patience, cutting));
    published?;
    ensure!(cut.is_ok(), "{} of {CUTS} COMMITs were cut", apart.database.broken());
    publisher.publish_fresh(&ledger).await?;
    // The broker's line was never touched: nothing was delivered twice, so the numbers are known exactly.
    let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
    let report = oracle.settle(async || apart.city.connect().await, patience).await?.report;
    let log = ingest.log();
    ingest.stop()?;
    apart.city.stop()?;
    Ok(Shown { report, log })
}

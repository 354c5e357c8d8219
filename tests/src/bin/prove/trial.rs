//! One load, one fault in the middle of it, and the tables compared with what was sent.

use std::time::Duration;

use simulators::oracle::{Keep, Ledger, Load, Oracle, Publisher, Report, Totals};
use tests::resources;
use tokio::time::Instant;

use crate::fault::{Fault, LOAD};
use crate::site::Site;

pub struct Trial {
    pub load: Load,
    pub keep: Keep,
    pub fault: Option<Fault>,
    /// How long the load lasts, when nothing holds it up.
    pub lasts: Duration,
    /// Nothing changes for so long, and it never will.
    pub patience: Duration,
}

/// What a trial showed.
pub struct Shown {
    /// Whether the fault found its moment.
    pub struck: bool,
    pub report: Report,
}

impl Trial {
    /// Of the usual length, kept as any client keeps its messages.
    pub fn new(load: Load, fault: Option<Fault>, patience: Duration) -> Trial {
        Trial { load, keep: Keep::Taken, fault, lasts: LOAD, patience }
    }

    /// # Errors
    /// The city does not come back, or the harness itself fails.
    pub async fn hold(&self, site: &mut Site) -> anyhow::Result<Shown> {
        let path = site.city.workplace().path().join(format!("ledger-{}", self.load.source));
        let ledger = Ledger::create(&path, &self.load)?;
        let before = Totals::read(&site.connect().await?, None).await?;
        let publisher = Publisher {
            rate: Some(ledger.plan.sends.len() as f64 / self.lasts.as_secs_f64()),
            keep: self.keep,
            ..Publisher::new(&site.mqtt_url())
        };
        let struck = match &self.fault {
            Some(fault) => {
                site.arm(fault)?;
                let load_ends = Instant::now() + self.lasts;
                let (published, struck) =
                    tokio::join!(publisher.publish(&ledger), site.strike(fault, load_ends));
                published?;
                struck?
            }
            None => {
                publisher.publish(&ledger).await?;
                false
            }
        };
        let mut oracle = Oracle::new(&ledger, &before);
        if self.fault.is_none() {
            oracle = oracle.undisturbed();
        }
        let url = site.city.database_url().to_owned();
        let connect = async || tests::city::connect(&url).await;
        // The last message of the plan is yet to come, so an undisturbed sum is asked for at the end only.
        let mut report = if self.fault.is_none() {
            publisher.publish_fresh(&ledger).await?;
            oracle.settle(connect, self.patience).await?.report
        } else {
            let report = oracle.settle(connect, self.patience).await?.report;
            if !report.holds() {
                return Ok(Shown { struck, report });
            }
            site.whole().await?;
            publisher.publish_fresh(&ledger).await?;
            oracle.settle(connect, self.patience).await?.report
        };
        let ingest = site.city.pid("ingest")?;
        report.findings.push(resources::finding(&site.connect().await?, ingest).await?);
        Ok(Shown { struck, report })
    }
}

//! Looks at the tables until they hold what was sent, or for so long that they never will.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::expectation::Expectation;
use super::judge::{Course, Report, judge};
use super::ledger::Ledger;
use super::load::Numbers;
use super::tables::{Scope, Tables, Totals};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// A ledger and what its tables are compared with.
#[derive(Debug)]
pub struct Oracle<'l> {
    ledger: &'l Ledger,
    scope: Scope,
    course: Course,
}

/// The last look.
#[derive(Debug, Clone)]
pub struct Stand {
    pub report: Report,
    /// When the tables first held everything, seconds after the first look.
    pub after_s: f64,
}

impl<'l> Oracle<'l> {
    /// `before` are the totals of the whole ledger before the load, which a load without numbers is compared with.
    pub fn new(ledger: &'l Ledger, before: &Totals) -> Oracle<'l> {
        let load = &ledger.plan.load;
        let numbered = load.numbers != Numbers::None;
        let sources = numbered.then(|| vec![load.source.clone(), load.echo_source()]);
        let before = if numbered { Totals::default() } else { before.clone() };
        let scope = Scope { source: load.source.clone(), sources };
        Oracle { ledger, scope, course: Course { exact: false, before } }
    }

    /// Nothing was killed or cut, so every number is known exactly.
    #[must_use]
    pub fn undisturbed(mut self) -> Self {
        self.course.exact = true;
        self
    }

    /// Compares once.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn look(&self, client: &Client) -> anyhow::Result<Report> {
        let tables = self.tables(client).await?;
        let expected = Expectation::new(&self.ledger.plan, &self.ledger.entries());
        Ok(judge(&expected, &tables, &self.course))
    }

    /// What the tables hold of this load.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tables(&self, client: &Client) -> anyhow::Result<Tables> {
        Tables::read(client, &self.scope).await
    }

    /// Compares until everything holds; gives up when something is wrong that no patience mends, or when nothing changed
    /// for `patience`. `connect` is asked again after an error: the database may just be starting.
    ///
    /// # Errors
    /// The database did not answer for `patience`.
    pub async fn settle(
        &self,
        mut connect: impl AsyncFnMut() -> anyhow::Result<Client>,
        patience: Duration,
    ) -> anyhow::Result<Stand> {
        let started = Instant::now();
        let (mut last, mut since) = (Report::default(), Instant::now());
        let mut client = None;
        loop {
            let look = async {
                let client = match client.take() {
                    Some(client) => client,
                    None => connect().await?,
                };
                let report = self.look(&client).await?;
                anyhow::Ok((client, report))
            };
            match look.await {
                Ok((same, report)) => {
                    client = Some(same);
                    if report.holds() || report.is_final() {
                        return Ok(Stand { report, after_s: started.elapsed().as_secs_f64() });
                    }
                    if report != last {
                        (last, since) = (report, Instant::now());
                    } else if patience < since.elapsed() {
                        return Ok(Stand { report, after_s: started.elapsed().as_secs_f64() });
                    }
                }
                Err(error) if patience < since.elapsed() => return Err(error),
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }
}

/// Compares every rollup of a database with its readings. Returns the number of five-minute buckets.
///
/// # Errors
/// Names the first rollups that differ.
pub async fn every_rollup(client: &Client) -> anyhow::Result<usize> {
    let tables = Tables::read(client, &Scope { source: String::new(), sources: None }).await?;
    let (finding, buckets) = super::judge::rollups(&tables);
    anyhow::ensure!(finding.holds, "{}", finding.said);
    Ok(buckets)
}

//! What is missing, refused and not yet complete, for those who watch: read from the tables now and then, because it is
//! true of the city and not of this process.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::{Timestamp, ToSpan};
use metrics::{describe_gauge, gauge};
use processor::store::{self, Account, Filter, RejectionState, StoreError, gap};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(30);
/// Every rollup of a day is read for them, a second's work for a large city.
const HOURS_EVERY: Duration = Duration::from_secs(300);
/// Sources with a label of their own: each label is a time series in somebody's monitoring. The rest is `other`.
const SOURCES_MAX: usize = 100;

/// Publishes the gauges until `shutdown`.
pub async fn run(database_url: String, shutdown: CancellationToken) {
    describe_gauge!("screenline_missing_messages", "Numbers that never came, by source");
    describe_gauge!(
        "screenline_open_rejections",
        "Rejections that are neither redriven nor dropped, by reason"
    );
    describe_gauge!(
        "screenline_incomplete_hours",
        "Hours of the last day and over of which something is missing, refused or not rolled up"
    );
    let mut gauges = Gauges::default();
    loop {
        if let Err(error) = gauges.observe(&database_url).await {
            warn!(%error, "could not read what is missing");
            gauges.client = None;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

#[derive(Default)]
struct Gauges {
    client: Option<Client>,
    sources: Labels,
    reasons: Labels,
    hours_at: Option<Instant>,
}

impl Gauges {
    async fn observe(&mut self, database_url: &str) -> Result<(), StoreError> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => store::connect(database_url, "screenline-account").await?,
        };
        let (mut missing, rest) = gap::by_source(&client, 10 * SOURCES_MAX as i64).await?;
        if 0 < rest {
            missing.push((OTHER.to_owned(), rest));
        }
        for (source, messages) in self.sources.values(missing, SOURCES_MAX) {
            gauge!("screenline_missing_messages", "source" => source).set(messages as f64);
        }
        let open = Filter { state: Some(RejectionState::Open), ..Filter::default() };
        let groups = open.groups(&client).await?.into_iter().map(|group| (group.reason, group.rejections));
        for (reason, rejections) in self.reasons.values(groups.collect(), usize::MAX) {
            gauge!("screenline_open_rejections", "reason" => reason).set(rejections as f64);
        }
        if self.hours_at.is_none_or(|at| HOURS_EVERY <= at.elapsed()) {
            let now = Timestamp::now();
            let this_hour = Timestamp::from_second(now.as_second().div_euclid(3_600) * 3_600).unwrap_or(now);
            let account = Account::read(&client, this_hour - 24.hours(), this_hour, now).await?;
            gauge!("screenline_incomplete_hours").set(account.incomplete().count() as f64);
            self.hours_at = Some(Instant::now());
        }
        self.client = Some(client);
        Ok(())
    }
}

const OTHER: &str = "other";

/// The values that a gauge's label has had: one that is gone is 0, not what it was.
#[derive(Default)]
struct Labels(BTreeSet<String>);

impl Labels {
    /// Adds up the numbers of each label; of labels beyond `max`, as `other`. Who has a label keeps it.
    fn values(&mut self, numbers: Vec<(String, i64)>, max: usize) -> BTreeMap<String, i64> {
        let mut values: BTreeMap<String, i64> = self.0.iter().map(|label| (label.clone(), 0)).collect();
        for (label, number) in numbers {
            let known = self.0.contains(&label) || self.0.len() < max;
            let label = if known { label } else { OTHER.to_owned() };
            self.0.insert(label.clone());
            let value = values.entry(label).or_default();
            *value = value.saturating_add(number);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_one_that_is_gone_is_zero() {
        let mut labels = Labels::default();
        let numbers = |all: &[(&str, i64)]| all.iter().map(|(label, n)| ((*label).to_owned(), *n)).collect();
        let said = |values: BTreeMap<String, i64>| -> Vec<String> {
            values.into_iter().map(|(label, number)| format!("{label}={number}")).collect()
        };
        assert_eq!(
            said(labels.values(numbers(&[("b", 5), ("c", 4), ("a", 3), ("d", 2)]), 2)),
            ["b=5", "c=4", "other=5"]
        );
        assert_eq!(
            said(labels.values(numbers(&[("d", 9), ("c", i64::MAX), ("c", 1)]), 2)),
            ["b=0".to_owned(), format!("c={}", i64::MAX), "other=9".to_owned()]
        );
    }
}

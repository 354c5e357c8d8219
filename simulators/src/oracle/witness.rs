//! I5, as somebody can see it who stands between no broker and no database: at the moment when the acknowledgement topic
//! passes a number, what that number said is in the tables.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_postgres::Client;

use super::Publisher;
use super::judge::{Finding, Look};
use super::ledger::Ledger;
use super::publish::Committed;

/// Looks at the tables at each new acknowledgement until `done`.
///
/// # Errors
/// The database cannot be read, or the broker's address is wrong.
pub async fn witness(
    publisher: &Publisher,
    ledger: &Ledger,
    database: &Client,
    mut done: watch::Receiver<bool>,
) -> anyhow::Result<Finding> {
    let mut look = Look::at("I5", "what is acknowledged is in the tables at that moment");
    let committed = Committed::of(publisher, ledger)?;
    let mut up_to = committed.up_to.clone();
    let by_number: HashMap<(&str, i64), u32> = ledger
        .plan
        .messages
        .iter()
        .zip(0..)
        .filter_map(|(message, i)| {
            Some(((&*message.number.as_ref()?.source, message.number.as_ref()?.seq), i))
        })
        .collect();
    let (mut acknowledgements, mut readings) = (0, 0);
    let mut passed: HashMap<String, i64> = HashMap::new();
    loop {
        tokio::select! {
            _ = done.wait_for(|done| *done) => break,
            changed = up_to.changed() => changed?,
        }
        let now = up_to.borrow_and_update().clone();
        for (source, seq) in now {
            if passed.insert(source.clone(), seq) == Some(seq) {
                continue;
            }
            acknowledgements += 1;
            let Some(message) = by_number.get(&(source.as_str(), seq)) else { continue };
            for fact in &ledger.plan.messages[*message as usize].facts {
                readings += 1;
                let time = Timestamp::from_microsecond(fact.key.time_us)?;
                let query = "SELECT FROM series s WHERE sensor = $1 AND metric = $2 AND (
                         EXISTS (SELECT FROM reading WHERE time = $3 AND series_id = s.id)
                         OR EXISTS (SELECT FROM event WHERE time = $3 AND series_id = s.id AND event_id = $4))";
                let (sensor, metric) = (&*fact.key.sensor, &*fact.key.metric);
                let there = database.query_opt(query, &[&sensor, &metric, &time, &fact.key.event]).await?;
                if there.is_none() {
                    look.never(|| {
                        format!(
                            "number {seq} of {source} is acknowledged, and {metric} of {sensor} is not there"
                        )
                    });
                }
            }
        }
    }
    Ok(look.done(format!("{acknowledgements} acknowledgements, {readings} readings looked for at once")))
}

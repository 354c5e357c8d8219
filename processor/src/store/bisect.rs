//! Rows that the database refuses: a check, a trigger or a type that nobody foresaw. They are found by halving the batch,
//! so that their neighbours are stored and they become rejections.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::{
    StoreError,
    rows::{self, Fact, Key},
};
use crate::{
    model::{Batch, Reason, reason::Refusal},
    process::{Processed, Rejection},
};

/// Rows that are looked for one by one: beyond, a half that is refused is refused whole, because each row costs a dozen
/// trials, and a table that refuses everything must not stop the street.
const ALONE_MAX: usize = 256;

/// The batch without the readings and events that the database refuses, each of them a rejection; `None` where it refuses
/// none by itself.
///
/// # Errors
/// The database fails.
pub(super) async fn without_refused(
    client: &Client,
    batch: &Batch,
    processed: &Processed,
) -> Result<Option<Processed>, StoreError> {
    let mut refused = Refused::default();
    refused.find(client, batch, &processed.readings).await?;
    refused.find(client, batch, &processed.events).await?;
    if refused.facts.is_empty() {
        return Ok(None);
    }
    let mut rest = processed.clone();
    rest.readings.retain(|reading| !refused.holds(reading));
    rest.events.retain(|event| !refused.holds(event));
    for (message, (number, why)) in refused.by_message {
        let payload = &batch.messages[message as usize].payload;
        let kept = processed.fates.get(message as usize).and_then(|fate| fate.kept.of(payload));
        let detail = if number == 1 { why } else { format!("{number} readings; the first: {why}") };
        rest.rejections.push(Rejection {
            message,
            reason: Reason::Unstorable,
            detail: Refusal::new(Reason::Unstorable, detail).detail,
            sha256: Sha256::digest(kept.unwrap_or_default()).into(),
            readings: number,
        });
    }
    Ok(Some(rest))
}

#[derive(Default)]
struct Refused {
    facts: HashSet<(bool, Key, u32)>,
    /// How many of a message, and why the first.
    by_message: BTreeMap<u32, (u32, String)>,
}

impl Refused {
    async fn find<F: Fact>(&mut self, client: &Client, batch: &Batch, facts: &[F]) -> Result<(), StoreError> {
        let mut sorted: Vec<&F> = facts.iter().collect();
        sorted.sort_by_key(|fact| fact.key());
        // Those of one key would collide in a trial, and so would one that is stored.
        let kept = rows::kept(client, &sorted).await?;
        sorted.retain(|fact| !kept.contains_key(&fact.key()));
        let firsts: Vec<&F> = sorted.chunk_by(|a, b| a.key() == b.key()).map(|same| same[0]).collect();
        let mut halves: Vec<&[&F]> = vec![&firsts];
        while let Some(half) = halves.pop() {
            let Some(why) = trial(client, batch, half).await? else { continue };
            if half.len() == 1 || ALONE_MAX <= self.facts.len() {
                half.iter().for_each(|fact| self.add(*fact, &why));
            } else {
                let (left, right) = half.split_at(half.len() / 2);
                halves.extend([right, left]);
            }
        }
        Ok(())
    }

    fn add<F: Fact>(&mut self, fact: &F, why: &str) {
        self.facts.insert((F::IS_EVENT, fact.key(), fact.message()));
        let (number, _) = self.by_message.entry(fact.message()).or_insert_with(|| (0, why.to_owned()));
        *number += 1;
    }

    fn holds<F: Fact>(&self, fact: &F) -> bool {
        self.facts.contains(&(F::IS_EVENT, fact.key(), fact.message()))
    }
}

/// Whether the database takes these facts: if not, what it says. Nothing is kept.
async fn trial<F: Fact>(client: &Client, batch: &Batch, facts: &[&F]) -> Result<Option<String>, StoreError> {
    if facts.is_empty() {
        return Ok(None);
    }
    client.batch_execute("BEGIN").await?;
    let copied = rows::copy(client, batch, facts).await;
    client.batch_execute("ROLLBACK").await?;
    match copied {
        Ok(()) => Ok(None),
        Err(error) if error.refuses_data() => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

//! Messages that their mapping tells apart by what they say (`dedup`): the second of an identity is a repeat, whatever
//! else it says.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::Client;

use super::StoreError;
use crate::process::{Fate, Outcome};

/// The messages of a batch whose identity was committed before, or came earlier in the batch. The others are
/// remembered with it.
///
/// # Errors
/// The database fails.
pub(super) async fn repeats(client: &Client, fates: &[Fate]) -> Result<HashSet<u32>, StoreError> {
    // In one order, so that writers wait for each other in a line and never in a ring.
    let mut firsts: BTreeMap<i64, u32> = BTreeMap::new();
    let mut repeats = HashSet::new();
    for (i, fate) in (0..).zip(fates) {
        // Of a message that was refused nothing is stored: it may come again.
        let Some(identity) = fate.identity.filter(|_| fate.outcome == Outcome::Accepted) else { continue };
        if *firsts.entry(identity as i64).or_insert(i) != i {
            repeats.insert(i);
        }
    }
    if firsts.is_empty() {
        return Ok(repeats);
    }
    let identities: Vec<i64> = firsts.keys().copied().collect();
    let new = client
        .query(
            "INSERT INTO seen_message (identity) SELECT unnest($1::int8[])
             ON CONFLICT DO NOTHING RETURNING identity",
            &[&identities],
        )
        .await?;
    for row in &new {
        firsts.remove(&row.get(0));
    }
    repeats.extend(firsts.into_values());
    Ok(repeats)
}

/// How long an identity is remembered: longer than a network server or a broker keeps a message for its next attempt.
const REMEMBERED_DAYS: i32 = 7;

/// More identities are not remembered, whatever their age: about 1 GB with its indexes, and ten days of 12 uplinks a day from
/// each of 80,000 devices.
const REMEMBERED_MAX: i64 = 10_000_000;

/// Forgets identities of long ago.
///
/// # Errors
/// The database fails.
pub(super) async fn forget(client: &Client) -> Result<(), StoreError> {
    let delete = "DELETE FROM seen_message WHERE at < greatest(now() - make_interval(days => $1),
                      (SELECT at FROM seen_message ORDER BY at DESC OFFSET $2 LIMIT 1))";
    client.execute(delete, &[&REMEMBERED_DAYS, &REMEMBERED_MAX]).await?;
    Ok(())
}

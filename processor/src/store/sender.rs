//! What is remembered of senders, in its table.

use std::sync::Arc;

use tokio_postgres::Client;

use super::StoreError;
use crate::{
    decode::{Births, Node},
    memory::{Change, Memory, Remembered, Sender, State},
};

/// Everything that is remembered.
///
/// # Errors
/// The database fails, or holds what no program of ours wrote.
pub async fn load(client: &Client) -> Result<Memory, StoreError> {
    let mut memory = Memory::default();
    let select = "SELECT source, sender, version, state::text, births::text FROM sender_state";
    for row in client.query(select, &[]).await? {
        let (source, name): (&str, &str) = (row.get(0), row.get(1));
        let unfit = |error: serde_json::Error| {
            StoreError::Unfit(format!(
                "sender_state of {name}: {error}: delete the row, and the sender is asked anew"
            ))
        };
        let state: &str = row.get(3);
        let state = match row.get::<_, Option<&str>>(4) {
            None => State::Held(serde_json::from_str(state).map_err(unfit)?),
            Some(births) => {
                let births: Births = serde_json::from_str(births).map_err(unfit)?;
                let mut node: Node = serde_json::from_str(state).map_err(unfit)?;
                node.births = Arc::new(births);
                State::Node(node)
            }
        };
        let sender = Sender { source: source.into(), name: name.into() };
        memory.insert(sender, Remembered { version: row.get(2), state: Arc::new(state) });
    }
    Ok(memory)
}

/// Writes what a batch changed.
///
/// # Errors
/// `Forgotten` where another process changed one of them since; or the database fails.
pub(super) async fn save(client: &Client, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|a, b| a.sender.cmp(&b.sender)); // writers wait in a line, never in a ring
    let unfit = |error: serde_json::Error| StoreError::Unfit(format!("write the state of a sender: {error}"));
    let (mut sources, mut senders, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut states, mut births) = (Vec::new(), Vec::new());
    for Change { sender, before, after } in sorted {
        sources.push(&*sender.source);
        senders.push(&*sender.name);
        versions.push(after.version);
        states.push(match &*after.state {
            State::Node(node) => serde_json::to_string(node).map_err(unfit)?,
            State::Held(held) => serde_json::to_string(held).map_err(unfit)?,
        });
        let known = before.as_ref().and_then(|before| before.state.births());
        let new = after.state.births().filter(|new| known.is_none_or(|known| !Arc::ptr_eq(known, new)));
        births.push(new.map(|births| serde_json::to_string(&**births)).transpose().map_err(unfit)?);
    }
    let written = client
        .execute(
            "INSERT INTO sender_state (source, sender, version, state, births)
             SELECT source, sender, version, state::jsonb, births::jsonb
             FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[])
                 AS new (source, sender, version, state, births)
             ON CONFLICT (source, sender) DO UPDATE
             SET version = excluded.version, state = excluded.state, updated_at = now(),
                 births = coalesce(excluded.births, sender_state.births)
             WHERE sender_state.version = excluded.version - 1",
            &[&sources, &senders, &versions, &states, &births],
        )
        .await?;
    if written == changes.len() as u64 { Ok(()) } else { Err(StoreError::Forgotten) }
}

/// Forgets what a sensor sent last. A running ingest still holds it, for as long as its mapping says.
///
/// # Errors
/// The database fails.
pub(super) async fn forget(client: &Client, sensor: &str) -> Result<(), StoreError> {
    let delete = "DELETE FROM sender_state WHERE EXISTS (
                      SELECT FROM jsonb_object_keys(state -> 'values') AS held WHERE starts_with(held, $1 || ' '))";
    client.execute(delete, &[&sensor]).await?;
    Ok(())
}

//! Rejections as an operator meets them: counted, paged through, dropped.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::ToSql};

use super::StoreError;

/// What became of a rejection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    /// What was refused is stored now.
    Redriven,
    /// An operator gave it up: it still counts, its payload is gone.
    Dropped,
}

/// Which rejections are meant: those for which everything holds that is set.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Filter {
    /// Any, where empty.
    pub ids: Vec<i64>,
    pub state: Option<State>,
    pub reason: Option<String>,
    pub source: Option<String>,
    /// With `+` and `#` as in MQTT.
    pub topic: Option<String>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
}

/// Rejections of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    pub reason: String,
    pub source: String,
    pub state: State,
    pub rejections: i64,
    /// Refused singly; a whole message counts none.
    pub readings: i64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// One rejection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    pub id: i64,
    pub received_at: Timestamp,
    pub source: String,
    pub topic: String,
    pub reason: String,
    pub detail: String,
    /// Refused readings; 0 where the whole message was.
    pub readings: i32,
    pub state: State,
    pub settled_at: Option<Timestamp>,
    /// Redrives that were refused again.
    pub attempts: i32,
    pub retained: bool,
    /// As much of it as was asked for.
    pub payload: Vec<u8>,
    /// Of the whole payload, as it was received.
    pub payload_bytes: i64,
    /// Whether payload and topic were kept whole, so that the message can be processed again.
    pub whole: bool,
    pub sha256: Vec<u8>,
    /// The reasons of all open rejections of its message.
    pub open_reasons: BTreeSet<String>,
}

/// What is kept of a payload.
pub const PAYLOAD_BYTES_MAX: i32 = 64 << 10;

const CONDITION: &str = "(cardinality($1::int8[]) = 0 OR id = ANY($1))
    AND ($2::text IS NULL OR state = $2)
    AND ($3::text IS NULL OR reason = $3)
    AND ($4::text IS NULL OR source = $4)
    AND ($5::text IS NULL OR topic ~ $5)
    AND ($6::timestamptz IS NULL OR $6 <= received_at)
    AND ($7::timestamptz IS NULL OR received_at < $7)";

/// Dropped at once: a statement's worth of row locks.
const DROP_ROWS: i64 = 5_000;

impl Filter {
    /// How many there are, by kind, the most frequent first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn groups(&self, client: &Client) -> Result<Vec<Group>, StoreError> {
        let select = format!(
            "SELECT reason, source, state, count(*), sum(readings)::int8, min(received_at), max(received_at)
             FROM rejection
             WHERE {CONDITION}
             GROUP BY reason, source, state
             ORDER BY count(*) DESC, reason, source, state"
        );
        let group = |row: &Row| -> Result<Group, StoreError> {
            Ok(Group {
                reason: row.get(0),
                source: row.get(1),
                state: state(row.get(2))?,
                rejections: row.get(3),
                readings: row.get(4),
                first: row.get(5),
                last: row.get(6),
            })
        };
        self.query(client, &select, &[]).await?.iter().map(group).collect()
    }

    /// The next `limit` of them after an id, in order of their ids, each with the first `payload_bytes` of its payload.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn page(
        &self,
        client: &Client,
        after: i64,
        limit: i64,
        payload_bytes: i32,
    ) -> Result<Vec<Rejected>, StoreError> {
        // Whether a payload was cut shows in its hash, which is of the whole; a topic may have been cut at 1,024 bytes.
        let select = format!(
            "SELECT id, received_at, source, topic, reason, detail, readings, state, settled_at, attempts, retained,
                 substr(payload, 1, $10), greatest(payload_bytes, octet_length(payload)), 
                 sha256(payload) = sha256 AND octet_length(topic) <= 1020, sha256,
                 ARRAY(
                     SELECT o.reason FROM rejection o
                     WHERE o.source = r.source AND o.topic = r.topic AND o.sha256 = r.sha256 AND o.state = 'open'
                 )
             FROM rejection r
             WHERE {CONDITION} AND $8 < id
             ORDER BY id
             LIMIT $9"
        );
        self.query(client, &select, &[&after, &limit, &payload_bytes]).await?.iter().map(rejected).collect()
    }

    /// Gives the open ones up: their payloads are emptied, their rows and counts stay. Returns how many there were.
    ///
    /// # Errors
    /// The database cannot be written; what was dropped until then stays dropped.
    pub async fn drop_open(&self, client: &Client) -> Result<u64, StoreError> {
        let filter = Filter { state: Some(State::Open), ..self.clone() };
        let update = format!(
            "UPDATE rejection SET state = 'dropped', settled_at = now(), payload = ''
             WHERE state = 'open' AND id IN (SELECT id FROM rejection WHERE {CONDITION} ORDER BY id LIMIT $8)
             RETURNING id"
        );
        let mut dropped = 0;
        loop {
            let rows = filter.query(client, &update, &[&DROP_ROWS]).await?.len() as u64;
            dropped += rows;
            if rows == 0 {
                return Ok(dropped);
            }
        }
    }

    async fn query(
        &self,
        client: &Client,
        sql: &str,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let (state, topic) = (self.state.map(State::as_str), self.topic.as_deref().map(topic_pattern));
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&self.ids, &state, &self.reason, &self.source, &topic, &self.since, &self.until];
        parameters.extend(more);
        Ok(client.query(sql, &parameters).await?)
    }
}

fn rejected(row: &Row) -> Result<Rejected, StoreError> {
    Ok(Rejected {
        id: row.get(0),
        received_at: row.get(1),
        source: row.get(2),
        topic: row.get(3),
        reason: row.get(4),
        detail: row.get(5),
        readings: row.get(6),
        state: state(row.get(7))?,
        settled_at: row.get(8),
        attempts: row.get(9),
        retained: row.get(10),
        payload: row.get(11),
        payload_bytes: row.get(12),
        whole: row.get(13),
        sha256: row.get(14),
        open_reasons: row.get::<_, Vec<String>>(15).into_iter().collect(),
    })
}

/// Topics that an MQTT filter takes, as a regular expression of PostgreSQL.
fn topic_pattern(filter: &str) -> String {
    let (levels, rest) = match filter.strip_suffix("/#") {
        Some(levels) => (levels, "(/.*)?"), // `a/#` takes `a`, too
        None if filter == "#" => ("", ".*"),
        None => (filter, ""),
    };
    let mut pattern = String::from("^");
    for letter in levels.chars() {
        match letter {
            '+' => pattern.push_str("[^/]*"),
            letter if letter.is_alphanumeric() => pattern.push(letter),
            letter => pattern.extend(['\\', letter]),
        }
    }
    pattern + rest + "$"
}

fn state(name: &str) -> Result<State, StoreError> {
    name.parse().map_err(StoreError::Unfit)
}

impl State {
    pub const ALL: [State; 3] = [State::Open, State::Redriven, State::Dropped];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Redriven => "redriven",
            State::Dropped => "dropped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        State::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("{text:?} is none of open, redriven, dropped"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_filter_takes_what_mqtt_would() {
        for (filter, pattern) in [
            ("city/water/+/register", r"^city\/water\/[^/]*\/register$"),
            ("city/senml/#", r"^city\/senml(/.*)?$"),
            ("#", "^.*$"),
            ("a.b", r"^a\.b$"),
            ("größe", "^größe$"),
        ] {
            assert_eq!(topic_pattern(filter), pattern);
        }
    }
}

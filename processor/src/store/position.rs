//! Which numbered messages are committed. A number that comes again discards its message only if the payload is the
//! remembered one: else the keys of its readings decide, so that a publisher that counts wrongly loses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use tokio_postgres::Client;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{StoreError, ranges::Ranges};
use crate::{
    model::{Batch, Message, Number, Time, bucket::HOUR},
    process::Fate,
};

/// Where a numbered source stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Position {
    pub source: String,
    pub epoch: i64,
    /// Every message from 1 to this one is committed; 0 where the first is missing.
    pub committed: i64,
    /// The highest number committed.
    pub seen_to: i64,
    /// Numbers below `seen_to` that never came.
    pub missing: i64,
    /// Committed messages of which something was rejected.
    pub rejected: i64,
    /// Numbers that came again with another payload.
    pub reused: i64,
    /// Numbers committed and not tracked, because there are too many gaps.
    pub untracked: i64,
}

/// Gaps kept of a source: more is no numbering, and a row must not grow without bound. Numbers beyond are stored by
/// their readings' keys alone.
const RANGES_MAX: usize = 1_000;

/// Where the sources of a batch stand, with their rows locked: no other writer commits their numbers meanwhile.
pub struct Positions {
    stands: BTreeMap<Publisher, Stand>,
    /// Messages of the batch that are repeats: their readings are stored already.
    pub repeats: HashSet<u32>,
    /// Messages whose number came before with another payload.
    pub reused: HashSet<u32>,
}

/// A source and its epoch.
type Publisher = (String, i64);

/// A numbered message of the batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Came {
    seq: i64,
    /// Of its topic and payload.
    hash: i64,
    message: u32,
}

#[derive(Default)]
struct Stand {
    seen: Ranges,
    rejected: i64,
    reused: i64,
    untracked: i64,
    /// Not seen before this batch.
    new: Vec<Came>,
}

impl Positions {
    /// Every numbered source that is in the table.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(client: &Client) -> Result<Vec<Position>, StoreError> {
        select(client, "TRUE").await
    }

    /// Those of them that changed in the last five minutes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn recent(client: &Client) -> Result<Vec<Position>, StoreError> {
        select(client, "now() - interval '5 minutes' <= updated_at").await
    }

    /// Locks the rows of the batch's sources and tells its messages apart.
    pub(super) async fn take(client: &Client, batch: &Batch, fates: &[Fate]) -> Result<Self, StoreError> {
        let mut numbered: BTreeMap<Publisher, Vec<Came>> = BTreeMap::new();
        for (i, fate) in fates.iter().enumerate() {
            if let Some(Number { source, epoch, seq }) = &fate.number {
                let came = Came { seq: *seq, hash: fingerprint(&batch.messages[i]), message: i as u32 };
                numbered.entry((source.to_string(), *epoch)).or_default().push(came);
            }
        }
        let mut positions =
            Positions { stands: BTreeMap::new(), repeats: HashSet::new(), reused: HashSet::new() };
        if numbered.is_empty() {
            return Ok(positions);
        }
        positions.stands = lock(client, numbered.keys()).await?;
        for (key, came) in numbered {
            positions.sort_out(client, &key, came).await?;
        }
        Ok(positions)
    }

    async fn sort_out(
        &mut self,
        client: &Client,
        key: &Publisher,
        came: Vec<Came>,
    ) -> Result<(), StoreError> {
        let stand = self.stands.get_mut(key).ok_or_else(|| {
            StoreError::Unfit(format!("source_position lacks {} while its row is locked", key.0))
        })?;
        let again: Vec<i64> =
            came.iter().map(|came| came.seq).filter(|seq| stand.seen.contains(*seq)).collect();
        let mut remembered = remembered(client, key, &again).await?;
        for came in came {
            let Came { seq, hash, message } = came;
            if stand.seen.contains(seq) {
                match remembered.get(&seq) {
                    Some(kept) if *kept == hash => {
                        self.repeats.insert(message);
                    }
                    Some(_) => {
                        stand.reused += 1;
                        self.reused.insert(message);
                    }
                    None => {} // too long ago
                }
            } else if stand.seen.insert(seq, RANGES_MAX) {
                remembered.insert(seq, hash);
                stand.new.push(came);
            } else {
                stand.untracked += 1;
            }
        }
        Ok(())
    }

    /// Writes what the batch adds. `refused` holds the messages of which something was rejected.
    pub(super) async fn commit(
        mut self,
        client: &Client,
        batch: &Batch,
        refused: &HashSet<u32>,
    ) -> Result<Vec<Position>, StoreError> {
        if self.stands.is_empty() {
            return Ok(Vec::new());
        }
        let mut hours: BTreeMap<(String, i64, Time), (i64, i64)> = BTreeMap::new();
        for ((source, epoch), stand) in &mut self.stands {
            stand.new.sort_unstable();
            stand.rejected += stand.new.iter().filter(|came| refused.contains(&came.message)).count() as i64;
            for Came { seq, message, .. } in &stand.new {
                let hour = batch.messages[*message as usize].received_at.floor(HOUR);
                let span = hours.entry((source.clone(), *epoch, hour)).or_insert((*seq, *seq));
                *span = (span.0.min(*seq), span.1.max(*seq));
            }
        }
        let list = |numbers: &mut dyn Iterator<Item = i64>| {
            let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
            format!("{{{}}}", numbers.join(","))
        };
        let (mut sources, mut epochs, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rejected, mut reused, mut untracked) = (Vec::new(), Vec::new(), Vec::new());
        let (mut seqs, mut hashes) = (Vec::new(), Vec::new());
        for ((source, epoch), stand) in &self.stands {
            sources.push(source.as_str());
            epochs.push(*epoch);
            seen.push(stand.seen.to_string());
            rejected.push(stand.rejected);
            reused.push(stand.reused);
            untracked.push(stand.untracked);
            seqs.push(list(&mut stand.new.iter().map(|came| came.seq)));
            hashes.push(list(&mut stand.new.iter().map(|came| came.hash)));
        }
        // One statement: a round trip costs more than a row. Ranges and lists travel as text, which the driver knows.
        client
            .execute(
                "WITH new AS (
                     SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::text[], $8::text[])
                         AS new (source, epoch, seen, rejected, reused, untracked, seqs, hashes)
                 ), kept AS (
                     INSERT INTO source_payload (source, epoch, seqs, hashes, at)
                     SELECT source, epoch, seqs::int8[], hashes::int8[], now() FROM new WHERE seqs <> '{}'
                 )
                 UPDATE source_position p
                 SET seen = new.seen::int8multirange, rejected = new.rejected, reused = new.reused,
                     untracked = new.untracked, updated_at = now()
                 FROM new WHERE p.source = new.source AND p.epoch = new.epoch",
                &[&sources, &epochs, &seen, &rejected, &reused, &untracked, &seqs, &hashes],
            )
            .await?;
        let spans: Vec<_> = hours.into_iter().collect();
        let sources: Vec<_> = spans.iter().map(|((source, ..), _)| source.as_str()).collect();
        let epochs: Vec<_> = spans.iter().map(|((_, epoch, _), _)| *epoch).collect();
        let starts: Vec<_> = spans.iter().map(|((.., hour), _)| hour.timestamp()).collect();
        let firsts: Vec<_> = spans.iter().map(|(_, (first, _))| *first).collect();
        let lasts: Vec<_> = spans.iter().map(|(_, (_, last))| *last).collect();
        client
            .execute(
                "INSERT INTO source_hour (source, epoch, hour, first_seq, last_seq)
                 SELECT * FROM unnest($1::text[], $2::int8[], $3::timestamptz[], $4::int8[], $5::int8[])
                 ON CONFLICT (source, epoch, hour) DO UPDATE
                 SET first_seq = least(source_hour.first_seq, excluded.first_seq),
                     last_seq = greatest(source_hour.last_seq, excluded.last_seq)",
                &[&sources, &epochs, &starts, &firsts, &lasts],
            )
            .await?;
        Ok(self.stands.iter().map(|(key, stand)| position(key, stand)).collect())
    }
}

async fn select(client: &Client, condition: &str) -> Result<Vec<Position>, StoreError> {
    let select = format!(
        "SELECT source, epoch, seen::text, rejected, reused, untracked
         FROM source_position
         WHERE {condition}
         ORDER BY 1, 2"
    );
    let rows = client.query(&select, &[]).await?;
    rows.iter().map(|row| Ok(read(row)?).map(|(key, stand)| position(&key, &stand))).collect()
}

/// Locks rows in one order, so that writers wait for each other in a line and never in a ring.
async fn lock(
    client: &Client,
    keys: impl Iterator<Item = &Publisher>,
) -> Result<BTreeMap<Publisher, Stand>, StoreError> {
    let (sources, epochs): (Vec<&str>, Vec<i64>) =
        keys.map(|(source, epoch)| (source.as_str(), *epoch)).unzip();
    let select = "SELECT p.source, p.epoch, p.seen::text, p.rejected, p.reused, p.untracked
                  FROM source_position p
                  JOIN unnest($1::text[], $2::int8[]) AS wanted (source, epoch) USING (source, epoch)
                  ORDER BY p.source, p.epoch FOR UPDATE OF p";
    let mut rows = client.query(select, &[&sources, &epochs]).await?;
    if rows.len() < sources.len() {
        client
            .execute(
                "INSERT INTO source_position (source, epoch, seen, rejected, reused, untracked, updated_at)
                 SELECT source, epoch, '{}', 0, 0, 0, now() FROM unnest($1::text[], $2::int8[]) AS new (source, epoch)
                 ORDER BY source, epoch
                 ON CONFLICT DO NOTHING",
                &[&sources, &epochs],
            )
            .await?;
        rows = client.query(select, &[&sources, &epochs]).await?;
    }
    rows.iter().map(read).collect()
}

fn read(row: &tokio_postgres::Row) -> Result<(Publisher, Stand), StoreError> {
    let stand = Stand {
        seen: row.get::<_, &str>(2).parse().map_err(StoreError::Unfit)?,
        rejected: row.get(3),
        reused: row.get(4),
        untracked: row.get(5),
        new: Vec::new(),
    };
    Ok(((row.get(0), row.get(1)), stand))
}

fn position((source, epoch): &Publisher, stand: &Stand) -> Position {
    Position {
        source: source.clone(),
        epoch: *epoch,
        committed: stand.seen.contiguous(),
        seen_to: stand.seen.last(),
        missing: stand.seen.missing(),
        rejected: stand.rejected,
        reused: stand.reused,
        untracked: stand.untracked,
    }
}

/// The payload hashes of numbers that came before, as far as they are remembered. Asked only when a number comes
/// again, so nothing is held in memory and two processes agree.
async fn remembered(
    client: &Client,
    (source, epoch): &Publisher,
    seqs: &[i64],
) -> Result<HashMap<i64, i64>, StoreError> {
    let (Some(first), Some(last)) = (seqs.iter().min(), seqs.iter().max()) else { return Ok(HashMap::new()) };
    let rows = client
        .query(
            "SELECT seq, hash FROM source_payload, unnest(seqs, hashes) AS came (seq, hash)
             WHERE source = $1 AND epoch = $2 AND seqs[1] <= $4 AND $3 <= seqs[cardinality(seqs)]
                 AND seq = ANY($5::int8[])",
            &[source, epoch, first, last, &seqs],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Of the topic and the payload: the same bytes on another topic are another message.
fn fingerprint(message: &Message) -> i64 {
    xxh3_64_with_seed(&message.payload, xxhash_rust::xxh3::xxh3_64(message.topic.as_bytes())) as i64
}

//! A batch is one transaction: facts, marks, rejections, conflicts and the ledger commit together or not at all.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, RwLock},
};

use tokio_postgres::{Client, Statement};
use tracing::debug;

use super::{
    CopyFrames, Counts, Level, StoreError, Tally, connect,
    partition::Partitions,
    recent::RecentKeys,
    rows::{Fact, Key},
    settle::{self, Settlement},
    suspicion::Suspicion,
};
use crate::{
    model::{
        Batch, BatchId, Event, Proposal, Quality, Reading, SeriesId, Time,
        bucket::{FIVE_MINUTES, HOUR},
    },
    process::{Outcome, Processed, Rejection},
    registry::{self, Registry},
};

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Written {
    pub counts: Counts,
    /// Of the stored: how many are events.
    pub events: i64,
    /// Whether the batch's keys were looked up before it was written.
    pub looked_up: bool,
}

/// Memory for keys committed not long ago: about half a million, minutes of a city's redeliveries.
const RECENT_BYTES: usize = 32 << 20;
/// A payload is kept to this length in `rejection`; its hash is of the whole.
const KEPT_PAYLOAD_BYTES: usize = 64 << 10;
/// So that a topic fits into the index with its reason and hash, whose entries may have 2,700 bytes.
const KEPT_TEXT_BYTES: usize = 1_024;
/// A key looked up as new can collide only with one that another writer committed meanwhile; so often in a row that
/// something else is wrong.
const COLLISIONS_MAX: u32 = 10;
/// The name under which messages without a source stand in the tables.
const UNMAPPED: &str = "unmapped";

/// Writes batches on one connection, which it opens, and opens again after an error.
pub struct Writer {
    url: String,
    connection: Option<Connection>,
    partitions: Partitions,
    registry: Arc<RwLock<Registry>>,
    sources: Vec<Arc<str>>,
    recent: RecentKeys,
    suspicion: Suspicion,
    /// What the batch whose COMMIT was sent last would have written.
    unsettled: Option<(BatchId, Written)>,
}

struct Connection {
    client: Client,
    claim: Statement,
    mark: Statement,
    account: Statement,
}

impl Writer {
    pub fn new(url: &str, level: Level, registry: Arc<RwLock<Registry>>, sources: Vec<Arc<str>>) -> Self {
        let suspicion = Suspicion::new(sources.len() + 1);
        Writer {
            url: url.to_owned(),
            connection: None,
            partitions: Partitions::new(level),
            registry,
            sources,
            recent: RecentKeys::within(RECENT_BYTES),
            suspicion,
            unsettled: None,
        }
    }

    /// Takes proposed series into the registry.
    ///
    /// # Errors
    /// The database fails; calling again is safe.
    pub async fn register(&mut self, proposals: &[Proposal]) -> Result<(), StoreError> {
        let mut connection = self.take_connection().await?;
        registry::register(&self.registry, &mut connection.client, proposals).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Writes a batch, once: called again with the same batch after an error, it finds out by the batch's id
    /// whether the transaction before had committed after all.
    ///
    /// # Errors
    /// The database fails; the connection is given up and the next call opens another.
    pub async fn write(&mut self, batch: &Batch, processed: &Processed) -> Result<Written, StoreError> {
        self.write_and_settle(batch, processed, None).await
    }

    /// Writes a batch of messages that were rejected once, as [`Writer::write`] does, and settles their rejections in
    /// the same transaction. In the ledger it is a source of its own, and what is still refused is a repeat.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn redrive(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: &Settlement,
    ) -> Result<Written, StoreError> {
        self.write_and_settle(batch, processed, Some(settlement)).await
    }

    async fn write_and_settle(
        &mut self,
        batch: &Batch,
        processed: &Processed,
        settlement: Option<&Settlement>,
    ) -> Result<Written, StoreError> {
        let mut connection = self.take_connection().await?;
        let readings = Sifted::new(&processed.readings, &self.recent);
        let events = Sifted::new(&processed.events, &self.recent);
        let times = |key: Key| key.time;
        self.partitions.ensure(&mut connection.client, "reading", readings.keys().map(times)).await?;
        self.partitions.ensure(&mut connection.client, "event", events.keys().map(times)).await?;

        let sources = batch_sources(processed);
        let mut look_up = self.suspicion.advises_look_up(&sources);
        let mut collisions = 0;
        let attempt = loop {
            let mut transaction =
                Transaction { writer: self, connection: &connection, batch, processed, settlement };
            match transaction.run(&readings, &events, look_up).await {
                Err(error) if error.is_duplicate_key() && collisions < COLLISIONS_MAX => {
                    debug!("a stored key came again: looking the batch's keys up");
                    connection.client.batch_execute("ROLLBACK").await?;
                    look_up = true;
                    collisions += 1;
                }
                outcome => break outcome?,
            }
        };
        for (key, fingerprint) in attempt.known {
            self.recent.insert(key, fingerprint);
        }
        if look_up {
            self.suspicion.learn(&sources, attempt.repeats_found);
        }
        self.connection = Some(connection);
        Ok(attempt.written)
    }

    async fn take_connection(&mut self) -> Result<Connection, StoreError> {
        match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => Ok(connection),
            _ => Connection::open(&self.url).await,
        }
    }

    fn source_name(&self, source: Option<u16>) -> &str {
        source.and_then(|index| self.sources.get(usize::from(index))).map_or(UNMAPPED, |name| name)
    }
}

impl Connection {
    async fn open(url: &str) -> Result<Connection, StoreError> {
        let client = connect(url, "screenline-writer").await?;
        let claim = client.prepare("INSERT INTO batch (id) VALUES ($1) ON CONFLICT DO NOTHING").await?;
        let mark = client
            .prepare(
                "INSERT INTO dirty (level, bucket, part, batch)
                 SELECT 0, bucket, part, $3 FROM unnest($1::timestamptz[], $2::int2[]) AS mark (bucket, part)",
            )
            .await?;
        let columns = Counts::COLUMNS.join(", ");
        let parameters: String = (3..14).map(|i| format!(", ${i}")).collect();
        let account = client
            .prepare(&format!("INSERT INTO ledger (source, hour, {columns}) VALUES ($1, $2{parameters})"))
            .await?;
        Ok(Connection { client, claim, mark, account })
    }
}

/// The facts of a batch, sorted by key, told apart by what is known without the database.
struct Sifted<'f, F> {
    /// One a key; not known to be stored.
    fresh: Vec<&'f F>,
    duplicates: Vec<&'f F>,
    /// Another value than the kept one, or than an earlier one of this batch.
    conflicts: Vec<&'f F>,
}

impl<'f, F: Fact> Sifted<'f, F> {
    fn new(facts: &'f [F], recent: &RecentKeys) -> Self {
        let mut sorted: Vec<&F> = facts.iter().collect();
        sorted.sort_by_key(|fact| (fact.key(), fact.message())); // stable: the first to arrive stays
        let mut sifted: Sifted<'f, F> =
            Sifted { fresh: Vec::with_capacity(sorted.len()), duplicates: Vec::new(), conflicts: Vec::new() };
        for fact in sorted {
            let key = fact.key();
            let before =
                sifted.fresh.last().filter(|before| before.key() == key).map(|before| before.fingerprint());
            match before.or_else(|| recent.get(&key)) {
                None => sifted.fresh.push(fact),
                Some(kept) if kept == fact.fingerprint() => sifted.duplicates.push(fact),
                Some(_) => sifted.conflicts.push(fact),
            }
        }
        sifted
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.fresh.iter().map(|fact| fact.key())
    }
}

/// One attempt at a batch.
struct Transaction<'t> {
    writer: &'t mut Writer,
    connection: &'t Connection,
    batch: &'t Batch,
    processed: &'t Processed,
    /// Of a batch that is redriven.
    settlement: Option<&'t Settlement>,
}

struct Attempt {
    written: Written,
    repeats_found: bool,
    /// The keys that are now certainly stored, with what is stored under them.
    known: Vec<(Key, i64)>,
}

/// Where the facts of one table went.
struct Placed<'f, F> {
    stored: Vec<&'f F>,
    duplicates: Vec<&'f F>,
    conflicts: Vec<&'f F>,
    /// Keys that were there before, with what is stored under them.
    kept: HashMap<Key, i64>,
}

impl Transaction<'_> {
    async fn run(
        &mut self,
        readings: &Sifted<'_, Reading>,
        events: &Sifted<'_, Event>,
        look_up: bool,
    ) -> Result<Attempt, StoreError> {
        let client = &self.connection.client;
        client.batch_execute("BEGIN").await?;
        // Waits for a half-dead earlier attempt to end, one way or the other.
        if client.execute(&self.connection.claim, &[&self.batch.id.0]).await? == 0 {
            client.batch_execute("ROLLBACK").await?;
            let settled =
                self.writer.unsettled.filter(|(id, _)| *id == self.batch.id).map(|(_, written)| written);
            return Ok(Attempt {
                written: settled.unwrap_or_default(),
                repeats_found: false,
                known: Vec::new(),
            });
        }
        let fresh = readings.fresh.len() + events.fresh.len();
        let readings = self.place(readings, look_up).await?;
        let events = self.place(events, look_up).await?;
        let repeats_found = readings.stored.len() + events.stored.len() < fresh;

        let mut tally = self.messages();
        self.count(&mut tally, &readings).await?;
        self.count(&mut tally, &events).await?;
        self.reject(&mut tally).await?;
        self.mark(&readings.stored, &events.stored).await?;
        self.account(&tally).await?;

        let written =
            Written { counts: tally.total(), events: events.stored.len() as i64, looked_up: look_up };
        self.writer.unsettled = Some((self.batch.id, written));
        client.batch_execute("COMMIT").await?;
        let kept = readings.kept.iter().chain(&events.kept).map(|(key, fingerprint)| (*key, *fingerprint));
        let stored_readings =
            readings.stored.iter().map(|reading| (reading.key(), Fact::fingerprint(*reading)));
        let stored_events = events.stored.iter().map(|event| (event.key(), Fact::fingerprint(*event)));
        let known = kept.chain(stored_readings).chain(stored_events).collect();
        Ok(Attempt { written, repeats_found, known })
    }

    /// Stores what is new, by COPY straight into the table, which fails as a whole when a key is there already; so where
    /// repeats are likely, the keys are looked up first, at half the cost of a temporary table and ON CONFLICT.
    async fn place<'f, F: Fact>(
        &self,
        sifted: &Sifted<'f, F>,
        look_up: bool,
    ) -> Result<Placed<'f, F>, StoreError> {
        let kept = if look_up { self.kept(&sifted.fresh).await? } else { HashMap::new() };
        let duplicates = sifted.duplicates.clone();
        let mut placed = Placed { stored: Vec::new(), duplicates, conflicts: Vec::new(), kept };
        for fact in &sifted.fresh {
            match placed.kept.get(&fact.key()) {
                None => placed.stored.push(*fact),
                Some(kept) if *kept == fact.fingerprint() => placed.duplicates.push(fact),
                Some(_) => placed.conflicts.push(fact),
            }
        }
        // They differ from an earlier one of this batch, which may itself differ from what is stored.
        for fact in &sifted.conflicts {
            match placed.kept.get(&fact.key()) {
                Some(kept) if *kept == fact.fingerprint() => placed.duplicates.push(fact),
                _ => placed.conflicts.push(fact),
            }
        }
        if placed.stored.is_empty() {
            return Ok(placed);
        }
        let mut frames = CopyFrames::new();
        for fact in &placed.stored {
            fact.encode(self.batch.messages[fact.message() as usize].received_at, &mut frames);
        }
        let copy = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", F::TABLE, F::COLUMNS);
        let taken = frames.send(&self.connection.client, &copy).await?;
        if taken != placed.stored.len() as u64 {
            return Err(StoreError::Unfit(format!(
                "{}: sent {} rows, {taken} were taken",
                F::TABLE,
                placed.stored.len()
            )));
        }
        Ok(placed)
    }

    /// The fingerprints of those keys that are stored already.
    async fn kept<F: Fact>(&self, facts: &[&F]) -> Result<HashMap<Key, i64>, StoreError> {
        let (Some(first), Some(last)) = (facts.first(), facts.last()) else { return Ok(HashMap::new()) };
        let times: Vec<_> = facts.iter().map(|fact| fact.key().time.timestamp()).collect();
        let series: Vec<_> = facts.iter().map(|fact| fact.key().series.0).collect();
        let events: Vec<_> = facts.iter().map(|fact| fact.key().event).collect();
        let compared: Vec<String> = F::COMPARED.split(", ").map(|column| format!("k.{column}")).collect();
        // The span as literals: only its days are planned for.
        let select = format!(
            "SELECT {key}, {compared}
             FROM unnest($1::timestamptz[], $2::int4[], $3::int8[]) AS sent (time, series_id, event_id)
             JOIN {table} k USING ({key})
             WHERE '{from}' <= k.time AND k.time <= '{to}'",
            key = F::KEY,
            compared = compared.join(", "),
            table = F::TABLE,
            from = first.key().time,
            to = last.key().time,
        );
        let rows = self.connection.client.query(&select, &[&times, &series, &events]).await?;
        Ok(rows.iter().map(F::kept).collect())
    }

    /// The ledger's message side, and the readings found.
    fn messages(&self) -> Tally {
        let mut tally = Tally::default();
        for (i, fate) in self.processed.fates.iter().enumerate() {
            let line = tally.line(fate.source, self.hour(i));
            line.received += 1;
            line.decoded += i64::from(fate.decoded);
            match fate.outcome {
                Outcome::Accepted => line.accepted += 1,
                Outcome::Ignored => line.ignored += 1,
                Outcome::Rejected => line.rejected_messages += 1,
            }
        }
        tally
    }

    async fn count<F: Fact>(&self, tally: &mut Tally, placed: &Placed<'_, F>) -> Result<(), StoreError> {
        for fact in &placed.stored {
            let line = self.line(tally, fact.message());
            line.stored += 1;
            line.late += i64::from(fact.quality().intersects(Quality::LATE));
        }
        for fact in &placed.duplicates {
            self.line(tally, fact.message()).duplicate += 1;
        }
        let mut new = self.keep_conflicts(&placed.conflicts).await?;
        for fact in &placed.conflicts {
            let line = self.line(tally, fact.message());
            // A repeat of a known conflict is a duplicate.
            if new.remove(&(fact.key(), fact.fingerprint())) {
                line.conflict += 1;
            } else {
                line.duplicate += 1;
            }
        }
        Ok(())
    }

    async fn keep_conflicts<F: Fact>(&self, conflicts: &[&F]) -> Result<HashSet<(Key, i64)>, StoreError> {
        if conflicts.is_empty() {
            return Ok(HashSet::new());
        }
        let message = |fact: &&F| &self.batch.messages[fact.message() as usize];
        let times: Vec<_> = conflicts.iter().map(|fact| fact.key().time.timestamp()).collect();
        let series: Vec<_> = conflicts.iter().map(|fact| fact.key().series.0).collect();
        let events: Vec<_> = conflicts.iter().map(|fact| F::IS_EVENT.then_some(fact.key().event)).collect();
        let values: Vec<_> = conflicts.iter().map(|fact| fact.conflicting().0).collect();
        let details: Vec<_> =
            conflicts.iter().map(|fact| fact.conflicting().1.map(|text| text.into_owned())).collect();
        let received: Vec<_> = conflicts.iter().map(|fact| message(fact).received_at.timestamp()).collect();
        let sources: Vec<_> = conflicts.iter().map(|fact| self.source_of(fact.message())).collect();
        let fingerprints: Vec<_> = conflicts.iter().map(|fact| fact.fingerprint()).collect();
        let (table, kept_value) = (F::TABLE, F::KEPT_VALUE);
        let same_event = if F::IS_EVENT { "AND k.event_id = c.event_id" } else { "" };
        let insert = format!(
            "INSERT INTO conflict (time, series_id, event_id, value, kept_value, detail, received_at, source, fingerprint)
             SELECT c.time, c.series_id, c.event_id, c.value, k.{kept_value}, c.detail, c.received_at, c.source, c.fingerprint
             FROM unnest($1::timestamptz[], $2::int4[], $3::int8[], $4::float8[], $5::text[], $6::timestamptz[], $7::text[], $8::int8[])
                 AS c (time, series_id, event_id, value, detail, received_at, source, fingerprint)
             LEFT JOIN {table} k ON k.time = c.time AND k.series_id = c.series_id {same_event}
             ON CONFLICT DO NOTHING
             RETURNING time, series_id, coalesce(event_id, 0), fingerprint"
        );
        let rows = self
            .connection
            .client
            .query(
                &insert,
                &[&times, &series, &events, &values, &details, &received, &sources, &fingerprints],
            )
            .await?;
        let key = |row: &tokio_postgres::Row| Key {
            time: row.get::<_, jiff::Timestamp>(0).into(),
            series: SeriesId(row.get(1)),
            event: row.get(2),
        };
        Ok(rows.iter().map(|row| (key(row), row.get(3))).collect())
    }

    /// Keeps what was refused; a repeat of a known rejection is a repeated message, or a duplicate reading.
    async fn reject(&self, tally: &mut Tally) -> Result<(), StoreError> {
        let rejections = &self.processed.rejections;
        if let Some(settlement) = self.settlement {
            rejections.iter().for_each(|rejection| self.count_rejection(tally, rejection, false));
            return settlement.apply(&self.connection.client, rejections).await;
        }
        if rejections.is_empty() {
            return Ok(());
        }
        let message = |i: u32| &self.batch.messages[i as usize];
        let received: Vec<_> =
            rejections.iter().map(|r| message(r.message).received_at.timestamp()).collect();
        let sources: Vec<_> = rejections.iter().map(|r| self.source_of(r.message)).collect();
        let topics: Vec<_> = rejections.iter().map(|r| storable(&message(r.message).topic)).collect();
        let reasons: Vec<_> = rejections.iter().map(|r| r.reason.as_str()).collect();
        let details: Vec<_> = rejections.iter().map(|r| storable(&r.detail)).collect();
        let payloads: Vec<_> = rejections
            .iter()
            .map(|r| {
                let payload = &message(r.message).payload;
                &payload[..payload.len().min(KEPT_PAYLOAD_BYTES)]
            })
            .collect();
        let hashes: Vec<_> = rejections.iter().map(|r| r.sha256.as_slice()).collect();
        let rows = self
            .connection
            .client
            .query(
                "INSERT INTO rejection (received_at, source, topic, reason, detail, payload, sha256)
                 SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])
                 ON CONFLICT DO NOTHING
                 RETURNING source, topic, reason, sha256",
                &[&received, &sources, &topics, &reasons, &details, &payloads, &hashes],
            )
            .await?;
        type Name = (String, String, String, Vec<u8>);
        let mut new: HashSet<Name> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        for (i, rejection) in rejections.iter().enumerate() {
            let name = (sources[i].to_owned(), topics[i].clone(), reasons[i].to_owned(), hashes[i].to_vec());
            self.count_rejection(tally, rejection, new.remove(&name));
        }
        Ok(())
    }

    fn count_rejection(&self, tally: &mut Tally, rejection: &Rejection, is_new: bool) {
        let line = self.line(tally, rejection.message);
        match (is_new, rejection.readings) {
            (true, 0) => {}
            (false, 0) => {
                line.rejected_messages -= 1;
                line.repeated += 1;
            }
            (true, readings) => line.rejected += i64::from(readings),
            (false, readings) => line.duplicate += i64::from(readings),
        }
    }

    /// Marks every five-minute bucket that gained a fact.
    async fn mark(&self, readings: &[&Reading], events: &[&Event]) -> Result<(), StoreError> {
        let mut marks: BTreeSet<(Time, i16)> = BTreeSet::new();
        {
            let registry = registry::read(&self.writer.registry);
            let facts =
                readings.iter().map(|r| (r.time, r.series)).chain(events.iter().map(|e| (e.time, e.series)));
            let mut last = None;
            for (time, id) in facts {
                let series = registry.series(id).ok_or_else(|| {
                    StoreError::Unfit(format!("series {} left the registry while a batch was written", id.0))
                })?;
                let bucket = series.bucket_time(time).floor(FIVE_MINUTES);
                let mark = (bucket, series.part);
                if last != Some(mark) {
                    marks.insert(mark);
                    last = Some(mark);
                }
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let buckets: Vec<_> = marks.iter().map(|(bucket, _)| bucket.timestamp()).collect();
        let parts: Vec<i16> = marks.iter().map(|(_, part)| *part).collect();
        self.connection.client.execute(&self.connection.mark, &[&buckets, &parts, &self.batch.id.0]).await?;
        Ok(())
    }

    async fn account(&self, tally: &Tally) -> Result<(), StoreError> {
        for (source, hour, counts) in tally.lines() {
            let (name, hour) = (self.source_name(source), Time::from_micros(hour).timestamp());
            let c = counts;
            self.connection
                .client
                .execute(
                    &self.connection.account,
                    &[
                        &name, &hour, &c[0], &c[1], &c[2], &c[3], &c[4], &c[5], &c[6], &c[7], &c[8], &c[9],
                        &c[10],
                    ],
                )
                .await?;
        }
        Ok(())
    }

    fn line<'a>(&self, tally: &'a mut Tally, message: u32) -> &'a mut Counts {
        tally.line(self.processed.fates[message as usize].source, self.hour(message as usize))
    }

    fn hour(&self, message: usize) -> i64 {
        self.batch.messages[message].received_at.floor(HOUR).micros()
    }

    fn source_of(&self, message: u32) -> &str {
        self.source_name(self.processed.fates[message as usize].source)
    }

    fn source_name(&self, source: Option<u16>) -> &str {
        if self.settlement.is_some() { settle::SOURCE } else { self.writer.source_name(source) }
    }
}

/// A text as PostgreSQL can hold it: without NUL, and of bounded length.
fn storable(text: &str) -> String {
    text[..text.floor_char_boundary(KEPT_TEXT_BYTES)].replace('\0', "?")
}

fn batch_sources(processed: &Processed) -> BTreeSet<Option<u16>> {
    processed.fates.iter().map(|fate| fate.source).collect()
}

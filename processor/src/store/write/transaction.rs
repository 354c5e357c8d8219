//! One attempt at a batch: everything it says goes into one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use tracing::info;

use super::{Connection, SHED, Writer, Written, sift::Sifted, source_name, times};
use crate::{
    faults::{self, Bug},
    model::{
        Batch, Event, Quality, Reading, SeriesId, Time,
        bucket::{FIVE_MINUTES, HOUR},
        series::PARTS,
    },
    process::{Outcome, Processed, Rejection},
    registry,
    store::{
        Counts, StoreError, lock,
        position::Positions,
        reject::{self, Kept, Row},
        rows::{self, Fact, Key},
        seen, sender,
        settle::{self, Settlement},
        suspicion::LookUp,
        tally::Tally,
        withheld::{self, Withheld},
    },
};

/// One attempt at a batch.
pub(super) struct Transaction<'t> {
    pub writer: &'t mut Writer,
    pub connection: &'t Connection,
    pub batch: &'t Batch,
    pub processed: &'t Processed,
    /// Of a batch that is redriven.
    pub settlement: Option<&'t Settlement>,
}

#[derive(Default)]
pub(super) struct Attempt {
    pub written: Written,
    /// What had to be looked up for the repeats that were found.
    pub needed: LookUp,
    /// The keys that are now certainly stored, with what is stored under them.
    pub known: Vec<(Key, i64)>,
}

/// Where the facts of one table went.
struct Placed<'f, F> {
    stored: Vec<&'f F>,
    duplicates: Vec<&'f F>,
    conflicts: Vec<&'f F>,
    /// Keys that were there before, with what is stored under them.
    kept: HashMap<Key, i64>,
    needed: LookUp,
}

impl Transaction<'_> {
    pub async fn run(
        &mut self,
        readings: &Sifted<'_, Reading>,
        events: &Sifted<'_, Event>,
        look_up: LookUp,
    ) -> Result<Attempt, StoreError> {
        let client = &self.connection.client;
        client.batch_execute(&lock::begin_shared()).await?;
        faults::point("writer.begun").await?;
        // Waits for a half-dead earlier attempt to end, one way or the other.
        let times = times::ranges(readings.fresh.iter().map(|reading| reading.time));
        let event_times = times::ranges(events.fresh.iter().map(|event| event.time));
        let claim =
            client.query_one(&self.connection.claim, &[&self.batch.id.0, &times, &event_times]).await?;
        let (claimed, registry_version): (bool, i64) = (claim.get(0), claim.get(1));
        if !claimed && !faults::planted(Bug::BlindRetry) {
            client.batch_execute("ROLLBACK").await?;
            info!(batch = self.batch.id.0, "committed before, though its answer was lost: settled by its id");
            let settled = self.writer.unsettled.take_if(|(id, _)| *id == self.batch.id);
            let written = settled.map(|(_, written)| written).unwrap_or_default();
            return Ok(Attempt { written, ..Attempt::default() });
        }
        if registry_version != self.processed.registry_version {
            return Err(StoreError::Outdated);
        }
        faults::point("writer.claimed").await?;
        // What is processed again was counted when it came.
        let counted = if self.settlement.is_some() { &[] } else { self.processed.fates.as_slice() };
        let mut positions = Positions::take(client, self.batch, counted).await?;
        positions.repeats.extend(seen::repeats(client, counted).await?);
        let (new_readings, new_events) =
            (self.unrepeated(readings, &positions), self.unrepeated(events, &positions));
        let (readings, events) =
            (new_readings.as_ref().unwrap_or(readings), new_events.as_ref().unwrap_or(events));
        let readings = self.place(readings, look_up).await?;
        let events = self.place(events, look_up).await?;
        faults::point("writer.copied").await?;

        let quarantined = self.quarantined(&readings.stored, &events.stored);
        let mut tally = self.messages(&positions);
        self.count(&mut tally, &readings).await?;
        self.count(&mut tally, &events).await?;
        self.reject(&mut tally, &positions).await?;
        withheld::count(&mut tally, &quarantined);
        self.account(&tally).await?;
        let refused = self.processed.rejections.iter().map(|rejection| rejection.message).collect();
        let positions = positions.commit(client, self.batch, &refused).await?;
        if self.settlement.is_none() {
            sender::save(client, &self.processed.changes).await?;
        }
        if !faults::planted(Bug::MarksApart) {
            self.mark(&readings.stored, &events.stored).await?;
        }
        withheld::keep(client, &quarantined).await?;
        faults::point("writer.counted").await?;

        let events_stored = events.stored.len() as i64;
        let looked_up = look_up != LookUp::None;
        let written = Written { counts: tally.total(), events: events_stored, looked_up, positions };
        self.writer.unsettled = Some((self.batch.id, written.clone()));
        faults::point("writer.before_commit").await?;
        let forming = self.writer.forming.clone();
        let mut buckets = match &forming {
            Some(forming) => Some(forming.lock().await),
            None => None,
        };
        client.batch_execute("COMMIT").await?;
        if let Some(buckets) = &mut buckets {
            let registry = registry::read(&self.writer.registry);
            buckets.fold(self.batch.id, &registry, &readings.stored, &events.stored);
        }
        drop(buckets);
        faults::point("writer.after_commit").await?;
        if faults::planted(Bug::MarksApart) {
            self.mark(&readings.stored, &events.stored).await?;
        }
        let kept = readings.kept.iter().chain(&events.kept).map(|(key, fingerprint)| (*key, *fingerprint));
        let stored_readings =
            readings.stored.iter().map(|reading| (reading.key(), Fact::fingerprint(*reading)));
        let stored_events = events.stored.iter().map(|event| (event.key(), Fact::fingerprint(*event)));
        let known = kept.chain(stored_readings).chain(stored_events).collect();
        Ok(Attempt { written, needed: readings.needed.max(events.needed), known })
    }

    /// The facts without those of messages that were committed before, where there are such messages. Sifted anew: the
    /// first of a key may be a repeat, and the next one with its key not.
    fn unrepeated<'f, F: Fact>(
        &self,
        sifted: &Sifted<'f, F>,
        positions: &Positions,
    ) -> Option<Sifted<'f, F>> {
        let all = [&sifted.fresh, &sifted.duplicates, &sifted.conflicts].into_iter().flatten().copied();
        let kept = all.filter(|fact| !positions.repeats.contains(&fact.message()));
        (!positions.repeats.is_empty()).then(|| Sifted::new(kept, &self.writer.recent))
    }

    /// Stores what is new, by COPY straight into the table, which fails as a whole when a key is there already; so where
    /// repeats are likely, the keys are looked up first, at half the cost of a temporary table and ON CONFLICT.
    async fn place<'f, F: Fact>(
        &self,
        sifted: &Sifted<'f, F>,
        look_up: LookUp,
    ) -> Result<Placed<'f, F>, StoreError> {
        let recent = &self.writer.recent;
        let old = || sifted.fresh.iter().copied().filter(|fact| !recent.is_ahead(&fact.key()));
        let client = &self.connection.client;
        let kept = match look_up {
            LookUp::None => HashMap::new(),
            LookUp::Old => rows::kept(client, &old().collect::<Vec<_>>()).await?,
            LookUp::All => rows::kept(client, &sifted.fresh).await?,
        };
        let needed = match kept.is_empty() {
            true => LookUp::None,
            false if kept.keys().any(|key| recent.is_ahead(key)) => LookUp::All,
            false => LookUp::Old,
        };
        let duplicates = sifted.duplicates.clone();
        let stored = Vec::with_capacity(sifted.fresh.len());
        let mut placed = Placed { stored, duplicates, conflicts: Vec::new(), kept, needed };
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
        rows::copy(&self.connection.client, self.batch, &placed.stored).await?;
        Ok(placed)
    }

    /// The ledger's message side, and the readings found.
    fn messages(&self, positions: &Positions) -> Tally<'_> {
        let fates = &self.processed.fates;
        let mut tally = Tally::new((0..fates.len()).map(|i| (self.source_of(i as u32), self.hour(i))));
        for (i, fate) in (0..).zip(fates) {
            let line = tally.of(i);
            line.received += 1;
            line.reused += i64::from(positions.reused.contains(&i));
            if positions.repeats.contains(&i) {
                line.repeated += 1;
                continue;
            }
            line.decoded += i64::from(fate.decoded);
            match fate.outcome {
                Outcome::Accepted => line.accepted += 1,
                Outcome::Ignored => line.ignored += 1,
                Outcome::Rejected => line.rejected_messages += 1,
            }
        }
        if 0 < self.batch.shed {
            let at = self
                .batch
                .messages
                .first()
                .map_or_else(|| Timestamp::now().into(), |first| first.received_at);
            let shed = Counts { shed: self.batch.shed as i64, ..Counts::default() };
            tally.add(SHED, at.floor(HOUR).micros(), shed);
        }
        tally
    }

    async fn count<F: Fact>(&self, tally: &mut Tally<'_>, placed: &Placed<'_, F>) -> Result<(), StoreError> {
        if faults::planted(Bug::CountBeforeConflicts) {
            for fact in placed.stored.iter().chain(&placed.duplicates).chain(&placed.conflicts) {
                tally.of(fact.message()).stored += 1;
            }
            return self.keep_conflicts(&placed.conflicts).await.map(drop);
        }
        for fact in &placed.stored {
            let line = tally.of(fact.message());
            line.stored += 1;
            line.late += i64::from(fact.quality().intersects(Quality::LATE));
        }
        for fact in &placed.duplicates {
            tally.of(fact.message()).duplicate += 1;
        }
        let mut new = self.keep_conflicts(&placed.conflicts).await?;
        for fact in &placed.conflicts {
            let line = tally.of(fact.message());
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
    async fn reject(&self, tally: &mut Tally<'_>, positions: &Positions) -> Result<(), StoreError> {
        let client = &self.connection.client;
        let rejections = self.processed.rejections.iter();
        let rejections = rejections.filter(|rejection| !positions.repeats.contains(&rejection.message));
        if let Some(settlement) = self.settlement {
            rejections.for_each(|rejection| count_rejection(tally, rejection, Kept::Before));
            return settlement.apply(client, &self.processed.rejections).await;
        }
        let rows = rejections.map(|rejection| Row {
            rejection,
            message: &self.batch.messages[rejection.message as usize],
            payload: self.kept_payload(rejection.message),
            source: self.source_of(rejection.message),
        });
        let rows: Vec<Row<'_>> = rows.collect();
        for (row, kept) in rows.iter().zip(reject::keep(client, &rows).await?) {
            count_rejection(tally, row.rejection, kept);
        }
        Ok(())
    }

    /// What was stored of sensors in quarantine.
    fn quarantined(&self, readings: &[&Reading], events: &[&Event]) -> Vec<Withheld> {
        let registry = registry::read(&self.writer.registry);
        if registry.quarantined_count() == 0 {
            return Vec::new();
        }
        let readings = readings.iter().map(|r| (r.time, r.series, r.message));
        let facts = readings.chain(events.iter().map(|e| (e.time, e.series, e.message)));
        let withheld = facts.filter_map(|(time, id, message)| {
            let series = registry.series(id).filter(|series| series.quarantined)?;
            Some(Withheld { series: id, bucket: series.bucket_time(time).floor(FIVE_MINUTES), time, message })
        });
        withheld.collect()
    }

    /// Marks every five-minute bucket that gained a fact, but for sensors in quarantine.
    async fn mark(&self, readings: &[&Reading], events: &[&Event]) -> Result<(), StoreError> {
        // Buckets, each with a bit for every part of the city.
        let mut marks: BTreeMap<Time, u64> = BTreeMap::new();
        {
            let registry = registry::read(&self.writer.registry);
            let facts =
                readings.iter().map(|r| (r.time, r.series)).chain(events.iter().map(|e| (e.time, e.series)));
            let mut open: (Time, u64) = (Time::from_micros(0), 0);
            for (time, id) in facts {
                let series = registry.series(id).ok_or_else(|| {
                    StoreError::Unfit(format!("series {} left the registry while a batch was written", id.0))
                })?;
                if series.quarantined {
                    continue; // its buckets are withheld
                }
                let starts = if faults::planted(Bug::MarkByEnd) { time } else { series.bucket_time(time) };
                let bucket = starts.floor(FIVE_MINUTES);
                if bucket != open.0 {
                    *marks.entry(open.0).or_default() |= open.1;
                    open = (bucket, 0);
                }
                open.1 |= 1 << series.part;
            }
            *marks.entry(open.0).or_default() |= open.1;
        }
        let parts = |mask: u64| (0..PARTS as i16).filter(move |part| mask & 1 << part != 0);
        let marks = marks.into_iter().flat_map(|(bucket, mask)| parts(mask).map(move |part| (bucket, part)));
        let (buckets, parts): (Vec<_>, Vec<i16>) =
            marks.map(|(bucket, part)| (bucket.timestamp(), part)).unzip();
        if parts.is_empty() {
            return Ok(());
        }
        self.connection.client.execute(&self.connection.mark, &[&buckets, &parts, &self.batch.id.0]).await?;
        Ok(())
    }

    async fn account(&self, tally: &Tally<'_>) -> Result<(), StoreError> {
        let sources: Vec<&str> = tally.lines().iter().map(|line| line.source).collect();
        let hours: Vec<_> =
            tally.lines().iter().map(|line| Time::from_micros(line.hour).timestamp()).collect();
        let mut columns = vec![Vec::new(); Counts::COLUMNS.len()];
        for line in tally.lines() {
            columns.iter_mut().zip(line.counts.values()).for_each(|(column, value)| column.push(value));
        }
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&sources, &hours];
        parameters.extend(columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        self.connection.client.execute(&self.connection.account, &parameters).await?;
        Ok(())
    }

    /// A message's payload as it may be kept.
    fn kept_payload(&self, message: u32) -> Option<&[u8]> {
        let message = message as usize;
        self.processed.fates[message].kept.of(&self.batch.messages[message].payload)
    }

    fn hour(&self, message: usize) -> i64 {
        self.batch.messages[message].received_at.floor(HOUR).micros()
    }

    /// Whose messages the ledger counts it with: the publisher that counts them, else the mapping's source.
    fn source_of(&self, message: u32) -> &str {
        let fate = &self.processed.fates[message as usize];
        match (self.settlement, &fate.number) {
            (Some(_), _) => settle::SOURCE,
            (None, Some(number)) => &number.source,
            (None, None) => source_name(&self.processed.sources, fate.source),
        }
    }
}

fn count_rejection(tally: &mut Tally<'_>, rejection: &Rejection, kept: Kept) {
    let line = tally.of(rejection.message);
    line.unkept += i64::from(kept == Kept::No);
    match (kept, rejection.readings) {
        (Kept::New | Kept::No, readings) => line.rejected += i64::from(readings),
        (Kept::Before, 0) => {
            line.rejected_messages -= 1;
            line.repeated += 1;
        }
        (Kept::Before, readings) => line.duplicate += i64::from(readings),
    }
}

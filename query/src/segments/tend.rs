//! What is done behind the questions: segments are made, merged and removed.

use super::{
    Entry, Key, Segment, Segments, TOUCHES_MAX,
    changes::{self, Touch},
    cutting, file, is_going, level, named, stored,
    touched::{DAY_NS, Touched, Touching, is_near},
};
use crate::{
    copy::{self, Reader},
    database::Snapshot,
    error::Result,
    moment::Moment,
    provider::Tables,
    pushdown,
    scan::Select,
    tables::Dataset,
};
use anyhow::{Context, ensure};
use datafusion::arrow::{array::BooleanArray, compute::filter_record_batch};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often segments are looked through for touches: a trickle of late readings is merged together, and what was erased
/// leaves the disk soon.
const MERGE_EVERY: Duration = Duration::from_secs(60);
/// A segment that was merged as often has so many runs that making it anew is worth it.
const MERGES_MAX: u32 = 16;
/// Whoever opens the folder next knows by this file that it is ours to empty, and that nobody uses it.
const MARK: &str = "screenline-segments";

/// Makes segments that are asked for, and merges those that were touched, until the service ends.
pub async fn tend(tables: Weak<Tables>, segments: Weak<Segments>, mut wanted: mpsc::Receiver<Key>) {
    let mut merged = Instant::now();
    loop {
        let key = tokio::time::timeout(MERGE_EVERY, wanted.recv()).await;
        let (Some(tables), Some(segments)) = (tables.upgrade(), segments.upgrade()) else { return };
        match key {
            Ok(Some(key)) => {
                settle("made", key, segments.make(key, &tables).await);
                segments.state().waiting.remove(&key);
            }
            Ok(None) => return,
            Err(_) => {}
        }
        if MERGE_EVERY <= merged.elapsed() {
            if let Err(error) = segments.look(&tables).await {
                tracing::warn!(%error, "what changed under the segments cannot be told now");
            }
            segments.merge_touched(&tables).await;
            merged = Instant::now();
        }
    }
}

/// Counts what became of a segment.
fn settle(what: &'static str, key: Key, outcome: Result<()>) {
    match outcome {
        Ok(()) => metrics::counter!("screenline_segments_total", "event" => what).increment(1),
        Err(error) => {
            tracing::warn!(%error, dataset = key.dataset, "a segment could not be {what}");
            metrics::counter!("screenline_segments_total", "event" => "failed").increment(1);
        }
    }
}

/// Empties the folder; only one that we made, and that nobody else uses. What is given back marks it as long as it is
/// there.
pub fn clear(folder: &Path) -> anyhow::Result<File> {
    let name = || format!("the folder of segments {}", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(name)?;
    let path = folder.join(MARK);
    let is_empty = fs::read_dir(folder).with_context(name)?.next().is_none();
    ensure!(is_empty || path.exists(), "{} holds other things: give one that is empty", name());
    let mark = OpenOptions::new().write(true).create(true).truncate(false).open(&path).with_context(name)?;
    mark.try_lock().with_context(|| format!("{}: another process uses it, give each its own", name()))?;
    for entry in fs::read_dir(folder).with_context(name)? {
        let entry = entry.with_context(name)?.path();
        if entry != path {
            fs::remove_file(&entry).with_context(name)?;
        }
    }
    Ok(mark)
}

/// A segment on its way.
struct Draft {
    key: Key,
    dataset: &'static Dataset,
    number: u64,
    writer: file::Writer,
    moment: Moment,
    taken: Instant,
    floors: Vec<changes::Floor>,
    longest: i64,
}

impl Segments {
    /// Makes a day as it is now.
    async fn make(&self, key: Key, tables: &Tables) -> Result<()> {
        let snapshot = tables.database.snapshot().await?;
        let mut draft = self.draft(key, &snapshot, tables).await?;
        if is_going(&draft.floors) {
            return snapshot.finish().await; // the next question asks again
        }
        let day = pushdown::within(draft.dataset, &(key.day..key.day + DAY_NS));
        draft.copy(snapshot, vec![day]).await?;
        self.put(draft, 0, tables).await
    }

    /// Learns of what changed under the segments of each dataset, and removes those that a floor has cut.
    async fn look(&self, tables: &Tables) -> Result<()> {
        let names: BTreeSet<&'static str> = self.state().segments.keys().map(|key| key.dataset).collect();
        for name in names {
            let dataset = named(name)?;
            let snapshot = tables.database.snapshot().await?;
            let client = snapshot.client()?;
            let now = Moment::of(client).await?;
            let floors = changes::floors(client, dataset).await?;
            let Some(known) = self.state().known.get(name).cloned() else { continue };
            let since = changes::since(client, level(dataset), &known).await?;
            snapshot.finish().await?;
            let mut state = self.state();
            state.learn(name, since, Some(&known), now);
            let is_cut = |(key, entry): &(&Key, &Entry)| {
                key.dataset == name && entry.segment.floors != cutting(&floors, &(key.day..key.day + DAY_NS))
            };
            let cut: Vec<Key> = state.segments.iter().filter(is_cut).map(|(key, _)| *key).collect();
            cut.iter().for_each(|key| state.remove(key));
        }
        Ok(())
    }

    /// Makes each segment anew that was touched, out of what is still true of it and of what is in the database.
    async fn merge_touched(&self, tables: &Tables) {
        let touched: Vec<(Arc<Segment>, Vec<Touch>)> = {
            let state = self.state();
            let entries = state.segments.values().filter(|entry| !entry.touches.is_empty());
            entries.map(|entry| (entry.segment.clone(), entry.touches.iter().cloned().collect())).collect()
        };
        for (segment, touches) in touched {
            let key = segment.key;
            let outcome = match segment.merges < MERGES_MAX {
                true => self.merge(&segment, touches, tables).await,
                false => self.make(key, tables).await,
            };
            settle("merged", key, outcome);
        }
    }

    async fn merge(&self, old: &Segment, touches: Vec<Touch>, tables: &Tables) -> Result<()> {
        let snapshot = tables.database.snapshot().await?;
        let mut draft = self.draft(old.key, &snapshot, tables).await?;
        let day = old.key.day..old.key.day + DAY_NS;
        // What changed since these touches were learned is touched as well: the rows below are newer than they are.
        let mut touches: BTreeSet<Touch> = touches.into_iter().collect();
        touches.extend(changes::since(snapshot.client()?, level(draft.dataset), &old.moment).await?);
        if draft.dataset.grain_s == Some(0) {
            touches.extend(
                changes::pending(snapshot.client()?, old.key.day - DAY_NS, old.key.day + DAY_NS).await?,
            );
        }
        // As new as the snapshot, or newer: a series that is not known would be left out.
        let series = tables.dictionary.refresh(snapshot.client()?).await?;
        let mut touching = Touching::new(draft.dataset, &series);
        let touched: Vec<Touched> =
            touches.iter().filter_map(|touch| touching.of(touch, &day, old.longest)).collect();
        if TOUCHES_MAX < touched.len() || is_going(&draft.floors) {
            snapshot.finish().await?;
            return self.make(old.key, tables).await;
        }
        for block in 0..old.file.blocks.len() {
            let rows = old.file.block(block)?;
            let (ids, times) = file::keys(&rows)?;
            let stays =
                ids.iter().zip(times).map(|(id, time)| !touched.iter().any(|one| one.has(*id, *time)));
            let stays: BooleanArray = stays.map(Some).collect();
            let rows = filter_record_batch(&rows, &stays)?;
            if 0 < rows.num_rows() {
                draft.writer.write_block(&rows)?;
            }
        }
        let day = pushdown::within(draft.dataset, &day);
        let again = touched.iter().map(|one| one.condition(draft.dataset)).collect::<Vec<_>>().join(" OR ");
        let again = if again.is_empty() { "false".into() } else { format!("({again})") };
        draft.copy(snapshot, vec![day, again]).await?;
        self.put(draft, old.merges + 1, tables).await
    }

    async fn draft(&self, key: Key, snapshot: &Snapshot, tables: &Tables) -> Result<Draft> {
        let dataset = named(key.dataset)?;
        let moment = Moment::of(snapshot.client()?).await?;
        let taken = Instant::now();
        let floors = changes::floors(snapshot.client()?, dataset).await?;
        let longest = tables.dictionary.refresh(snapshot.client()?).await?.longest_interval(None);
        let number = self.next_number();
        let path = self.folder.join(format!("{}-{number}.parquet", key.dataset));
        let writer = file::Writer::create(&path, copy::schema(&stored(dataset)))?;
        let floors = cutting(&floors, &(key.day..key.day + DAY_NS));
        Ok(Draft { key, dataset, number, writer, moment, taken, floors, longest })
    }

    /// Takes a segment into use, with what has changed since it was made.
    async fn put(&self, draft: Draft, merges: u32, tables: &Tables) -> Result<()> {
        let Draft { key, dataset, number, writer, moment, taken, floors, longest } = draft;
        let file = writer.finish()?;
        let segment = Arc::new(Segment { key, number, file, moment, taken, floors, longest, merges });
        let day = key.day..key.day + DAY_NS;
        loop {
            // What is known was seen before this snapshot: all of it is among the touches below.
            let known = self.state().known.get(key.dataset).cloned();
            let snapshot = tables.database.snapshot().await?;
            let now = Moment::of(snapshot.client()?).await?;
            let touches = changes::since(snapshot.client()?, level(dataset), &segment.moment).await?;
            snapshot.finish().await?;
            let mut state = self.state();
            if state.known.get(key.dataset) != known.as_ref() {
                continue; // others have learned of later changes, which would be missed here
            }
            let known = state.known.entry(key.dataset).or_insert_with(|| now.clone());
            if known.server != now.server || known.server != segment.moment.server {
                return Ok(()); // the next question asks again
            }
            let touches = touches.into_iter().filter(|touch| is_near(touch, &day)).collect();
            let entry = Entry { segment, touches, used: Instant::now() };
            state.segments.insert(key, entry);
            state.make_room(self.disk_bytes);
            return Ok(());
        }
    }
}

impl super::State {
    /// Removes those unused for longest until the rest fits.
    fn make_room(&mut self, disk_bytes: u64) {
        loop {
            let bytes: u64 = self.segments.values().map(|entry| entry.segment.file.bytes).sum();
            metrics::gauge!("screenline_segments_bytes").set(bytes as f64);
            metrics::gauge!("screenline_segments").set(self.segments.len() as f64);
            let oldest = self.segments.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            match oldest.filter(|_| disk_bytes < bytes) {
                Some(oldest) => self.remove(&oldest),
                None => return,
            }
        }
    }
}

impl Draft {
    /// Adds the rows of the database that fulfil some conditions, in order of time.
    async fn copy(&mut self, snapshot: Snapshot, mut conditions: Vec<String>) -> Result<()> {
        let columns = stored(self.dataset);
        conditions.extend(self.dataset.only.map(String::from));
        let time = columns.iter().find(|column| column.name == "time").map_or("time", |column| column.sql);
        let expressions: Vec<&str> = columns.iter().map(|column| column.sql).collect();
        let (expressions, order) = (expressions.join(", "), vec![(time, false)]);
        let select = Select { expressions, from: self.dataset.from, conditions, order, limit: None };
        let mut reader = Reader::new(snapshot.copy(&select.sql()).await?, &columns);
        while let Some(rows) = reader.next().await? {
            self.writer.write(rows)?;
        }
        self.writer.end_run()
    }
}

//! Closed days as files of our own, which are read many times faster than the database's rows, and never say anything
//! else than these: what changed since a segment was made is left out of it and read from the database, in the snapshot
//! in which the changes were looked for.
//!
//! ```text
//! scan ──> cover ──> segments of whole days, less what was touched ──> memory (blocks) ── file (Parquet)
//!             └────> what no segment has, and what was touched ──────> COPY, same snapshot
//! tend: makes segments that were wanted, merges touched ones, and removes those unused for longest
//! ```

mod changes;
mod file;
mod tend;
mod touched;

pub use tend::tend;

use crate::{
    copy,
    database::{Database, Snapshot},
    error::{QueryError, Result},
    moment::Moment,
    output,
    series::{Dictionary, Series},
    tables::{Dataset, SERIES_ID, Stored, Subject},
};
pub use changes::nanos;
use changes::{Floor, Touch};
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::{Int32Type, TimestampNanosecondType},
};
use file::SegmentFile;
use jiff::Timestamp;
use moka::sync::Cache;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::mpsc;
pub use touched::Touched;
use touched::{DAY_NS, Touching};

/// A day is left to the database until it is over for so long: most late readings have come then.
const SETTLES_NS: i64 = 3_600_000_000_000;
/// Days that one question may ask to be made.
const WANTED_MAX: i64 = 400;
/// Days that wait to be made; what does not fit is asked for again by the next question.
const WAITING_MAX: usize = 1024;
/// Touches of one segment; beyond it is cheaper to make it anew.
const TOUCHES_MAX: usize = 200;

/// A dataset's day (UTC), by its first nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub dataset: &'static str,
    pub day: i64,
}

/// All segments of this process.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    disk_bytes: u64,
    blocks: Cache<Place, ArrayRef>,
    state: Mutex<State>,
    wanted: mpsc::Sender<Key>,
    numbers: AtomicU64,
    /// Locked as long as this is.
    _mark: File,
}

/// One column of one block of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    segment: u64,
    block: u32,
    column: u32,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<Key, Entry>,
    /// Up to when the touches of all segments of a dataset are known.
    known: HashMap<&'static str, Moment>,
    waiting: BTreeSet<Key>,
}

#[derive(Debug)]
struct Entry {
    segment: Arc<Segment>,
    touches: BTreeSet<Touch>,
    used: Instant,
}

/// A day as it was at a moment.
#[derive(Debug)]
pub struct Segment {
    pub key: Key,
    /// Never used twice, unlike a file's name.
    number: u64,
    pub file: SegmentFile,
    moment: Moment,
    /// After the snapshot was taken: a snapshot taken later sees at least as much.
    taken: Instant,
    /// The floors that cut this day, when it was made.
    floors: Vec<Floor>,
    /// Nanoseconds of the longest interval that a series had then.
    longest: i64,
    /// How often it was merged since it was made of the database alone.
    merges: u32,
}

/// What a scan reads: in the end each row once.
pub struct Cover {
    /// Segments, and what of them is others now.
    pub segments: Vec<(Arc<Segment>, Vec<Touched>)>,
    /// Times that no segment has, in nanoseconds; the ends are excluded.
    pub rest: Vec<Range<i64>>,
    /// In which the rest, and all that was touched, is read.
    pub snapshot: Snapshot,
    /// The series that it has.
    pub series: Arc<Series>,
}

impl Segments {
    /// Keeps segments in a folder of their own, which is emptied first: a database may have been put back meanwhile.
    ///
    /// # Errors
    /// The folder cannot be made or emptied.
    pub fn open(
        folder: &Path,
        disk_bytes: u64,
        memory_bytes: u64,
    ) -> anyhow::Result<(Arc<Self>, mpsc::Receiver<Key>)> {
        let mark = tend::clear(folder)?;
        let weigh =
            |_: &Place, column: &ArrayRef| u32::try_from(column.get_array_memory_size()).unwrap_or(u32::MAX);
        let (wanted, waiting) = mpsc::channel(WAITING_MAX);
        let segments = Self {
            folder: folder.to_owned(),
            disk_bytes,
            blocks: Cache::builder().weigher(weigh).max_capacity(memory_bytes).build(),
            state: Mutex::default(),
            wanted,
            numbers: AtomicU64::new(0),
            _mark: mark,
        };
        Ok((Arc::new(segments), waiting))
    }

    /// What to read of a dataset for some times, in nanoseconds; both ends are included.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cover(
        &self,
        dataset: &'static Dataset,
        times: (i64, i64),
        database: &Database,
        dictionary: &Dictionary,
    ) -> Result<Cover> {
        let before = Instant::now();
        let snapshot = database.snapshot().await?;
        let client = snapshot.client()?;
        let now = Moment::of(client).await?;
        let floors = changes::floors(client, dataset).await?;
        let pending = match dataset.grain_s {
            // A reading of a long interval lies behind the bucket that it touches.
            Some(0) => changes::pending(client, times.0.saturating_sub(DAY_NS), times.1).await?,
            _ => Vec::new(),
        };
        let known = self.state().known.get(dataset.name).cloned();
        let since = match &known {
            Some(known) => changes::since(client, level(dataset), known).await?,
            None => Vec::new(),
        };
        let series = dictionary.refresh(client).await?;
        let mut touching = Touching::new(dataset, &series);
        let mut state = self.state();
        state.learn(dataset.name, since, known.as_ref(), now);
        let mut cover = Cover { segments: Vec::new(), rest: Vec::new(), snapshot, series: series.clone() };
        let (mut at, mut stale) = (times.0, Vec::new());
        let mine =
            Key { dataset: dataset.name, day: i64::MIN }..=Key { dataset: dataset.name, day: i64::MAX };
        for (key, entry) in state.segments.range_mut(mine) {
            let day = key.day..key.day.saturating_add(DAY_NS);
            let segment = &entry.segment;
            if day.end <= times.0 || times.1 < day.start || before < segment.taken {
                continue;
            }
            let cutting = cutting(&floors, &day);
            if segment.floors != cutting || is_going(&cutting) {
                stale.push(*key);
                continue;
            }
            let touches = entry.touches.iter().chain(&pending);
            let touched: Vec<Touched> =
                touches.filter_map(|touch| touching.of(touch, &day, segment.longest)).collect();
            if TOUCHES_MAX < touched.len() {
                continue; // the database is faster
            }
            entry.used = before;
            if at < day.start {
                cover.rest.push(at..day.start);
            }
            at = at.max(day.end);
            cover.segments.push((segment.clone(), touched));
        }
        stale.iter().for_each(|key| state.remove(key));
        drop(state);
        let end = times.1.saturating_add(1);
        if at < end {
            cover.rest.push(at..end);
        }
        self.want(dataset, times, &cover.rest);
        metrics::counter!("screenline_segments_used_total").increment(cover.segments.len() as u64);
        Ok(cover)
    }

    /// One column of a block, from memory if it is there.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn column(&self, segment: &Segment, block: usize, column: usize) -> Result<ArrayRef> {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let place = Place { segment: segment.number, block: number(block), column: number(column) };
        if let Some(known) = self.blocks.get(&place) {
            return Ok(known);
        }
        let read = segment.file.column(block, column).inspect_err(|_| {
            // Made anew when it is asked for again.
            let mut state = self.state();
            if state.segments.get(&segment.key).is_some_and(|entry| entry.segment.number == segment.number) {
                state.remove(&segment.key);
            }
        })?;
        self.blocks.insert(place, read.clone());
        Ok(read)
    }

    /// Asks for the days of a question that are over and that no segment has.
    fn want(&self, dataset: &'static Dataset, times: (i64, i64), rest: &[Range<i64>]) {
        let settled = nanos(Timestamp::now()).saturating_sub(SETTLES_NS);
        if times.1.saturating_sub(times.0) / DAY_NS > WANTED_MAX {
            return;
        }
        for rest in rest {
            let first = rest.start.div_euclid(DAY_NS) * DAY_NS;
            let days = (0..=WANTED_MAX).map(|at| first.saturating_add(at * DAY_NS));
            for day in days.take_while(|day| *day < rest.end && day.saturating_add(DAY_NS) <= settled) {
                let key = Key { dataset: dataset.name, day };
                let mut state = self.state();
                if !state.segments.contains_key(&key)
                    && state.waiting.insert(key)
                    && self.wanted.try_send(key).is_err()
                {
                    state.waiting.remove(&key); // the queue is full: the next question asks again
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl State {
    /// Takes changes in that were made since `known`, as seen at `now`. Who looked with an older `known` than is here
    /// saw no less.
    fn learn(&mut self, dataset: &'static str, touches: Vec<Touch>, known: Option<&Moment>, now: Moment) {
        if known.is_some_and(|known| known.server != now.server) {
            // Another server, or the same with other data: nothing is certain.
            let all: Vec<Key> = self.segments.keys().copied().collect();
            all.iter().for_each(|key| self.remove(key));
            self.known.clear();
        }
        for touch in touches {
            // A reading of a long interval lies behind the bucket that it touches.
            let from = Key { dataset, day: touch.starts.saturating_sub(DAY_NS) };
            let to = Key { dataset, day: touch.ends.saturating_add(DAY_NS) };
            for (_, entry) in self.segments.range_mut(from..to) {
                entry.touches.insert(touch.clone());
            }
        }
        let mine = self.segments.iter().filter(|(key, _)| key.dataset == dataset);
        let overrun: Vec<Key> =
            mine.filter(|(_, entry)| TOUCHES_MAX < entry.touches.len()).map(|(key, _)| *key).collect();
        overrun.iter().for_each(|key| self.remove(key));
        let newer = self.known.get(dataset).is_none_or(|known| known.at <= now.at);
        if newer {
            self.known.insert(dataset, now);
        }
    }

    /// Who reads it reads on.
    fn remove(&mut self, key: &Key) {
        self.segments.remove(key);
    }
}

/// Whether days of a dataset are kept as segments.
pub fn is_kept(dataset: &Dataset) -> bool {
    dataset.subject == Subject::Series
        && ["reading", "event", "rollup_5m", "rollup_1h"].contains(&dataset.name)
}

/// The columns of its segments.
pub fn stored(dataset: &Dataset) -> Vec<Stored> {
    let mut all = vec![SERIES_ID];
    for column in dataset.columns.iter().map(|column| column.stored()) {
        if !all.contains(&column) {
            all.push(column);
        }
    }
    all
}

/// Of the revisions that tell of changes in a dataset.
fn level(dataset: &Dataset) -> i16 {
    match dataset.grain_s {
        Some(3600) => 1,
        _ => 0,
    }
}

/// Whether rows of a day are being deleted, some at a time.
fn is_going(floors: &[Floor]) -> bool {
    floors.iter().any(|floor| !floor.goes_whole() && floor.cleared < floor.floor)
}

/// The floors that cut a day.
fn cutting(floors: &[Floor], day: &Range<i64>) -> Vec<Floor> {
    let cut = floors.iter().filter(|floor| day.start < floor.floor);
    cut.map(|floor| Floor {
        floor: floor.floor.min(day.end),
        cleared: floor.cleared.clamp(day.start, day.end),
        class: floor.class.clone(),
    })
    .collect()
}

fn named(dataset: &str) -> Result<&'static Dataset> {
    Dataset::named(dataset).ok_or_else(|| QueryError::Internal(format!("a segment of {dataset}")))
}

/// What a scan wants of segments.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// By their names; what they are in the file.
    pub columns: Vec<Stored>,
    /// In order; none: of all series.
    pub ids: Option<Vec<i32>>,
    /// Nanoseconds; both ends are included.
    pub times: (i64, i64),
}

impl Segment {
    pub fn blocks(&self) -> usize {
        self.file.blocks.len()
    }

    /// What is wanted of a block; none if there is nothing.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn rows(
        &self,
        segments: &Segments,
        at: usize,
        wanted: &Wanted,
        touched: &[Touched],
    ) -> Result<Option<RecordBatch>> {
        let Some(block) = self.file.blocks.get(at) else { return Ok(None) };
        let (first, last) = block.series;
        let ids: Option<&[i32]> = wanted.ids.as_ref().map(|ids| {
            let start = ids.partition_point(|id| *id < first);
            &ids[start..start + ids[start..].partition_point(|id| *id <= last)]
        });
        let is_in_time = wanted.times.0 <= block.times.1 && block.times.0 <= wanted.times.1;
        if !is_in_time || ids.is_some_and(<[i32]>::is_empty) {
            return Ok(None);
        }
        let touched: Vec<&Touched> = touched.iter().filter(|one| one.meets(block)).collect();
        let is_all_time = wanted.times.0 <= block.times.0 && block.times.1 <= wanted.times.1;
        let is_all_ids = ids.is_none_or(|ids| first == last && ids == [first]);
        let dataset = named(self.key.dataset)?;
        let all = stored(dataset);
        let column = |stored: &Stored| {
            let place = all.iter().position(|known| known == stored);
            let place = place
                .ok_or_else(|| QueryError::Internal(format!("no column {} in a segment", stored.name)))?;
            segments.column(self, at, place)
        };
        let columns = wanted.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(block.rows));
        let rows = RecordBatch::try_new_with_options(copy::schema(&wanted.columns), columns, &options)?;
        if is_all_time && is_all_ids && touched.is_empty() {
            return Ok(Some(rows));
        }
        let keys = (column(&SERIES_ID)?, column(&time(dataset)?)?);
        let (Some(of), Some(times)) =
            (keys.0.as_primitive_opt::<Int32Type>(), keys.1.as_primitive_opt::<TimestampNanosecondType>())
        else {
            return Err(QueryError::Internal("a segment without series and times".into()));
        };
        let (of, times) = (of.values(), times.values());
        // One series, as most plots ask for: its rows lie together, in order of time.
        if let Some([id]) = ids
            && touched.is_empty()
        {
            let place = file::place(of, *id);
            let mine = &times[place.clone()];
            let start = place.start + mine.partition_point(|time| *time < wanted.times.0);
            let end = place.start + mine.partition_point(|time| *time <= wanted.times.1);
            if end <= start {
                return Ok(None);
            }
            let rows = rows.slice(start, end - start);
            // A part alone does not keep the whole in memory.
            return Ok(Some(if 2 * rows.num_rows() < block.rows { output::compact(&rows)? } else { rows }));
        }
        let keeps = |id: i32, time: i64| {
            wanted.times.0 <= time
                && time <= wanted.times.1
                && ids.is_none_or(|ids| ids.binary_search(&id).is_ok())
                && !touched.iter().any(|one| one.has(id, time))
        };
        let kept: BooleanArray = of.iter().zip(times).map(|(id, time)| Some(keeps(*id, *time))).collect();
        let rows = filter_record_batch(&rows, &kept)?;
        Ok((0 < rows.num_rows()).then_some(rows))
    }
}

/// The column that days are cut by.
fn time(dataset: &Dataset) -> Result<Stored> {
    let time = dataset.time.and_then(|name| dataset.column(name));
    time.map(crate::tables::Column::stored)
        .ok_or_else(|| QueryError::Internal("a segment without a time".into()))
}

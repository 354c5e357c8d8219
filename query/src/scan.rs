//! The scan of one table: one COPY, decoded while it arrives.

use crate::{
    copy::Reader,
    database::Frames,
    error::{QueryError, Result},
    present::{Presentation, Unseen},
    provider::Tables,
    pushdown::{self, Extent},
    runs::Runs,
    segments::{self, Cover, Segment, Segments, Touched, Wanted},
    series::Series,
    tables::{Column, Dataset, Kind, SERIES_ID, Source, Stored},
};
use datafusion::{
    arrow::{compute::SortOptions, datatypes::SchemaRef, record_batch::RecordBatch},
    common::{Statistics, stats::Precision, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result as EngineResult},
    execution::TaskContext,
    physical_expr::{
        EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        SortOrderPushdownResult,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        statistics::StatisticsArgs,
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use std::{
    fmt::{Formatter, Write},
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{sync::mpsc::Sender, task::JoinSet};

/// Batches decoded ahead of the engine: one being filled while one is used.
pub const AHEAD: usize = 2;

/// Rows that the database has found before a segment is opened.
const FEW: usize = 1000;

/// Between two readings of a series, where nothing says it.
const GRAIN_S: usize = 60;
/// Bytes of a value, texts among them: a guess.
const BYTES_EACH: usize = 16;
/// Series whose rows are sorted faster than the database finds them.
const SORTED_HERE: usize = 100;

/// What of segments a scan reads, shared by those who read it.
struct Blocks {
    covered: Vec<(Arc<Segment>, Vec<Touched>)>,
    /// Of each segment the number of blocks up to its last.
    ends: Vec<usize>,
    wanted: Wanted,
    /// Block that nobody has taken yet.
    next: AtomicUsize,
    /// Rows up to the limit.
    left: AtomicUsize,
}

/// The SELECT inside of a COPY.
#[derive(Clone, Debug)]
pub struct Select {
    pub expressions: String,
    pub from: &'static str,
    pub conditions: Vec<String>,
    /// SQL expression, descending
    pub order: Vec<(&'static str, bool)>,
    pub limit: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Scan {
    dataset: &'static Dataset,
    presentation: Presentation,
    select: Select,
    /// What is asked for, where that is no more than times and series.
    extent: Option<Extent>,
    /// Series that are seen.
    seen: usize,
    runs: Option<Runs>,
    tables: Arc<Tables>,
    properties: Arc<PlanProperties>,
}

impl Select {
    pub fn sql(&self) -> String {
        let mut sql = format!("SELECT {} FROM {}", self.expressions, self.from);
        for (at, condition) in self.conditions.iter().enumerate() {
            sql += if at == 0 { " WHERE " } else { " AND " };
            sql += condition;
        }
        for (at, (expression, descending)) in self.order.iter().enumerate() {
            sql += if at == 0 { " ORDER BY " } else { ", " };
            sql += expression;
            sql += if *descending { " DESC" } else { "" };
        }
        if let Some(limit) = self.limit {
            let _ = write!(sql, " LIMIT {limit}"); // into a String: cannot fail
        }
        sql
    }
}

impl Scan {
    pub fn new(
        dataset: &'static Dataset,
        presentation: Presentation,
        select: Select,
        extent: Option<Extent>,
        seen: usize,
        tables: Arc<Tables>,
    ) -> Self {
        let properties = properties(presentation.schema(), None);
        Self { dataset, presentation, select, extent, seen, runs: None, tables, properties }
    }

    /// The scan with rows that are put together, if so.
    pub fn putting_together(self, runs: Option<Runs>) -> Self {
        Self { runs, ..self }
    }

    /// The scan with at most so many rows; PostgreSQL may only count where none is left out here.
    pub fn limited(mut self, limit: Option<usize>) -> Self {
        if !self.presentation.leaves_out() {
            self.select.limit = match (self.select.limit, limit) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        self
    }

    /// The ORDER BY for this sort, if PostgreSQL keeps it as the engine would: by the table's time first, which its
    /// index yields in order, then by integers that are never null.
    fn order(&self, sort: &[PhysicalSortExpr]) -> Option<Vec<(&'static str, bool)>> {
        let mut order = Vec::new();
        for (at, key) in sort.iter().enumerate() {
            let name =
                (key.expr.as_ref() as &dyn std::any::Any).downcast_ref::<expressions::Column>()?.name();
            let column = self.dataset.column(name)?;
            let Source::Sql(sql) = column.source else { return None };
            let fits = match at {
                0 => self.dataset.time == Some(name),
                _ => matches!(column.kind, Kind::Int32 | Kind::Int64) && self.dataset.key.contains(&name),
            };
            if !fits {
                return None;
            }
            order.push((sql, key.options.descending));
        }
        (!order.is_empty()).then_some(order)
    }

    async fn read(self, to: Sender<EngineResult<RecordBatch>>) -> Result<()> {
        match (&self.extent, &self.tables.segments) {
            (Some(extent), Some(segments)) if self.takes_segments() => {
                self.read_covered(extent, segments, &to).await
            }
            _ => {
                let frames = self.tables.database.copy(&self.select.sql()).await?;
                self.forward(frames, self.tables.dictionary.newest(), &to).await
            }
        }
    }

    fn put_together(&self, runs: &Runs, rows: &RecordBatch) -> Result<RecordBatch> {
        let stored = self.presentation.stored();
        let place = |wanted: Stored| stored.iter().position(|stored| *stored == wanted);
        let time = self.dataset.time.and_then(|name| self.dataset.column(name)).map(Column::stored);
        let is_known =
            |one: &Stored| *one == SERIES_ID || Some(*one) == time || runs.merges.contains_key(one.name);
        match place(SERIES_ID).filter(|_| stored.iter().all(is_known)) {
            Some(series) => runs.apply(rows, series, time.and_then(place)),
            None => Ok(rows.clone()), // more is asked for, or nothing tells the series apart
        }
    }

    /// How many rows there may be: a guess.
    fn rows(&self) -> usize {
        let all = self.seen;
        let series = self.extent.as_ref().and_then(|extent| extent.ids.as_ref()).map_or(all, Vec::len);
        let rows = match self.dataset.grain_s {
            None => all,
            Some(grain_s) => {
                let times = self.extent.as_ref().map_or(Extent::ALL.times, |extent| extent.times);
                let seconds = times.1.saturating_sub(times.0) / 1_000_000_000;
                // Of a range without an end, a year.
                let seconds = usize::try_from(seconds).unwrap_or(0).min(366 * 86_400);
                let grain_s = (grain_s as usize).max(GRAIN_S);
                let grain_s = match &self.runs {
                    Some(Runs { width: Some(width), .. }) => {
                        grain_s.max(usize::try_from(width / 1_000_000_000).unwrap_or(0))
                    }
                    Some(Runs { width: None, .. }) => 86_400,
                    None => grain_s,
                };
                series.saturating_mul(seconds / grain_s + 1)
            }
        };
        self.select.limit.map_or(rows, |limit| rows.min(limit))
    }

    /// An order, and the first rows of many, are what the database's index is for.
    fn takes_segments(&self) -> bool {
        segments::is_kept(self.dataset)
            && self.select.order.is_empty()
            && self.select.limit.is_none_or(|limit| FEW < limit)
    }

    /// Closed days from their segments, the rest from the database.
    async fn read_covered(
        &self,
        extent: &Extent,
        segments: &Arc<Segments>,
        to: &Sender<EngineResult<RecordBatch>>,
    ) -> Result<()> {
        let Tables { database, dictionary, .. } = &*self.tables;
        let Cover { segments: covered, rest, snapshot, series } =
            segments.cover(self.dataset, extent.times, database, dictionary).await?;
        let others = rest.iter().map(|times| pushdown::within(self.dataset, times));
        let touched = covered.iter().flat_map(|(_, touched)| touched).map(|one| one.condition(self.dataset));
        let others: Vec<String> = others.chain(touched).collect();
        // Nobody waits in a transaction that has nothing to say.
        let snapshot = match others.is_empty() {
            true => {
                snapshot.finish().await?;
                None
            }
            false => Some(snapshot),
        };
        let (columns, ids) = (self.presentation.stored().to_vec(), extent.ids.clone());
        let wanted = Wanted { columns, ids, times: extent.times };
        let blocks = |(segment, _): &(Arc<Segment>, Vec<Touched>)| segment.blocks();
        let blocks = Arc::new(Blocks {
            ends: covered
                .iter()
                .scan(0, |end, one| {
                    *end += blocks(one);
                    Some(*end)
                })
                .collect(),
            covered,
            wanted,
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(self.select.limit.unwrap_or(usize::MAX)),
        });
        let mut readers = JoinSet::new();
        // A limit that is nearly reached is soon reached by one alone.
        let cores = if self.select.limit.is_some() { 1 } else { cores() };
        for _ in 0..cores.min(blocks.ends.last().copied().unwrap_or(0)) {
            let (scan, segments, blocks) = (self.clone(), segments.clone(), blocks.clone());
            let (series, to) = (series.clone(), to.clone());
            readers.spawn(async move { scan.read_blocks(&segments, &blocks, series, &to).await });
        }
        while let Some(read) = readers.join_next().await {
            read.map_err(|error| QueryError::Internal(format!("a reader of segments: {error}")))??;
        }
        let left = blocks.left.load(Ordering::Relaxed);
        let Some(snapshot) = snapshot.filter(|_| 0 < left) else { return Ok(()) };
        let mut select = self.select.clone();
        select.limit = select.limit.map(|_| left);
        select.conditions.push(format!("({})", others.join(" OR ")));
        let frames = snapshot.copy(&select.sql()).await?;
        self.forward(frames, series, to).await
    }

    /// Sends what is wanted of blocks that nobody else has taken yet.
    async fn read_blocks(
        &self,
        segments: &Segments,
        blocks: &Blocks,
        mut series: Arc<Series>,
        to: &Sender<EngineResult<RecordBatch>>,
    ) -> Result<()> {
        while let Some((segment, touched, block)) = blocks.take() {
            let Some(mut rows) = segment.rows(segments, block, &blocks.wanted, touched)? else { continue };
            let left = blocks.left.load(Ordering::Relaxed);
            if left < rows.num_rows() {
                rows = rows.slice(0, left);
            }
            blocks.left.fetch_sub(rows.num_rows(), Ordering::Relaxed);
            if !self.send(rows, &mut series, to).await? || blocks.left.load(Ordering::Relaxed) == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn forward(
        &self,
        frames: Frames,
        mut series: Arc<Series>,
        to: &Sender<EngineResult<RecordBatch>>,
    ) -> Result<()> {
        let mut reader = Reader::new(frames, self.presentation.stored());
        while let Some(rows) = reader.next().await? {
            if !self.send(rows, &mut series, to).await? {
                break; // nobody listens
            }
        }
        Ok(())
    }

    /// Sends what may be seen of some rows; false if nobody listens.
    async fn send(
        &self,
        rows: RecordBatch,
        series: &mut Arc<Series>,
        to: &Sender<EngineResult<RecordBatch>>,
    ) -> Result<bool> {
        let rows = match &self.runs {
            Some(runs) => self.put_together(runs, &rows)?,
            None => rows,
        };
        let seen = match self.presentation.apply(&rows, series) {
            Err(Unseen::Unknown(_)) => {
                let client = self.tables.database.client().await?;
                *series = self.tables.dictionary.reload(&client).await?;
                self.presentation.apply(&rows, series)
            }
            seen => seen,
        };
        match seen {
            Ok(seen) => Ok(seen.num_rows() == 0 || to.send(Ok(seen)).await.is_ok()),
            Err(Unseen::Failed(error)) => Err(error),
            Err(Unseen::Unknown(id)) => {
                Err(QueryError::Internal(format!("a row of series {id}, which table `series` lacks")))
            }
        }
    }
}

impl Blocks {
    fn take(&self) -> Option<(&Segment, &[Touched], usize)> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.ends.partition_point(|end| *end <= at);
        let (segment, touched) = self.covered.get(place)?;
        Some((segment, touched, at + segment.blocks() - self.ends[place]))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Of a plan without children that yields its batches as they come.
pub fn properties(schema: &SchemaRef, ordering: Option<LexOrdering>) -> Arc<PlanProperties> {
    Arc::new(
        PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema.clone(), ordering),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

/// What a plan shows: not our SQL, which tells more of the tables than its reader may see.
impl DisplayAs for Scan {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut Formatter) -> std::fmt::Result {
        let names: Vec<&str> =
            self.presentation.schema().fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "Scan: {} [{}]", self.dataset.name, names.join(", "))?;
        if let Some(Extent { times, ids }) = &self.extent {
            let time = |nanos: i64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok();
            if let (Some(from), Some(to), true) = (time(times.0), time(times.1), *times != Extent::ALL.times)
            {
                write!(f, ", time {from}..{to}")?;
            }
            if let Some(ids) = ids {
                write!(f, ", series {}", ids.len())?;
            }
        }
        if self.runs.is_some() {
            write!(f, ", rows put together")?;
        }
        match self.select.limit {
            Some(limit) => write!(f, ", limit {limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            return Ok(self);
        }
        Err(DataFusionError::Internal("a scan has no children".into()))
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let schema = self.presentation.schema().clone();
        let mut stream = RecordBatchReceiverStreamBuilder::new(schema, AHEAD);
        let to = stream.tx();
        let scan = self.clone();
        stream.spawn(async move { Ok(scan.read(to).await?) });
        Ok(stream.build())
    }

    /// Roughly how many rows, by which a join keeps the smaller side in memory.
    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> EngineResult<Arc<Statistics>> {
        let schema = self.presentation.schema();
        let rows = self.rows();
        let bytes = rows.saturating_mul(BYTES_EACH * schema.fields().len().max(1));
        let statistics = Statistics::new_unknown(schema)
            .with_num_rows(Precision::Inexact(rows))
            .with_total_byte_size(Precision::Inexact(bytes));
        Ok(Arc::new(statistics))
    }

    fn fetch(&self) -> Option<usize> {
        self.select.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        (!self.presentation.leaves_out()).then(|| Arc::new(self.clone().limited(limit)) as _)
    }

    fn try_pushdown_sort(
        &self,
        sort: &[PhysicalSortExpr],
    ) -> EngineResult<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        // Some series over some days are read from their own blocks, and sorted in no time.
        let is_few = |extent: &Extent| {
            let is_bounded = extent.times.0 != i64::MIN && extent.times.1 < i64::MAX;
            is_bounded && extent.ids.as_ref().is_some_and(|ids| ids.len() <= SORTED_HERE)
        };
        if self.tables.segments.is_some()
            && segments::is_kept(self.dataset)
            && self.extent.as_ref().is_some_and(is_few)
        {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        // A limit that is already here chose its rows before the sort.
        let (None, Some(order)) = (self.select.limit, self.order(sort)) else {
            return Ok(SortOrderPushdownResult::Unsupported);
        };
        let mut scan = self.clone();
        scan.select.order = order;
        // These columns hold no nulls, so that where nulls would go is free; the engine compares it all the same.
        let as_asked = sort.iter().map(|key| {
            let SortOptions { descending, nulls_first } = key.options;
            PhysicalSortExpr::new(key.expr.clone(), SortOptions { descending, nulls_first })
        });
        scan.properties = properties(scan.presentation.schema(), LexOrdering::new(as_asked));
        Ok(SortOrderPushdownResult::Exact { inner: Arc::new(scan) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_select_reads_as_it_should() {
        let select = Select {
            expressions: "series_id, value".into(),
            from: "reading",
            conditions: vec!["a".into(), "b".into()],
            order: vec![("time", true), ("event_id", false)],
            limit: Some(5),
        };
        assert_eq!(
            select.sql(),
            "SELECT series_id, value FROM reading WHERE a AND b ORDER BY time DESC, event_id LIMIT 5"
        );
        let none =
            Select { expressions: String::new(), conditions: vec![], order: vec![], limit: None, ..select };
        assert_eq!(none.sql(), "SELECT  FROM reading");
    }
}

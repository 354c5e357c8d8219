//! The scan of one table: one COPY, decoded while it arrives.

use crate::{
    copy::{Decoder, Fill, Step},
    error::{QueryError, Result},
    provider::Tables,
    tables::{Dataset, Kind, Source},
};
use datafusion::{
    arrow::{compute::SortOptions, datatypes::SchemaRef, record_batch::RecordBatch},
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result as EngineResult},
    execution::TaskContext,
    physical_expr::{
        EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        SortOrderPushdownResult,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use std::{
    fmt::{Formatter, Write},
    sync::Arc,
};
use tokio::sync::mpsc::Sender;

/// Batches decoded ahead of the engine: one being filled while one is used.
const AHEAD: usize = 2;

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
    schema: SchemaRef,
    fills: Arc<[Fill]>,
    select: Select,
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
        schema: SchemaRef,
        fills: Vec<Fill>,
        select: Select,
        tables: Arc<Tables>,
    ) -> Self {
        let properties = properties(&schema, None);
        Self { dataset, schema, fills: fills.into(), select, tables, properties }
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
        let sql = self.select.sql();
        tracing::debug!(sql = %sql.chars().take(2000).collect::<String>(), "scan");
        let mut series = self.tables.dictionary.newest();
        let mut frames = self.tables.database.copy(&sql).await?;
        let mut decoder = Decoder::new(self.schema.clone(), &self.fills);
        let mut refused = None;
        while let Some(frame) = frames.next().await? {
            decoder.push(&frame);
            loop {
                match decoder.decode(&series)? {
                    Step::NeedsMore => break,
                    Step::BatchReady => {
                        if let Some(batch) = decoder.next_batch()?
                            && to.send(Ok(batch)).await.is_err()
                        {
                            return Ok(()); // nobody listens; dropping the frames cancels the COPY
                        }
                    }
                    Step::UnknownSeries(id) if refused == Some(id) => {
                        return Err(QueryError::Internal(format!(
                            "a row of series {id}, which table `series` lacks"
                        )));
                    }
                    Step::UnknownSeries(id) => {
                        refused = Some(id);
                        let client = self.tables.database.client().await?;
                        series = self.tables.dictionary.reload(&client).await?;
                    }
                }
            }
        }
        frames.finish().await?;
        if let Some(batch) = decoder.finish()? {
            let _ = to.send(Ok(batch)).await; // nobody listens: then nobody misses it
        }
        Ok(())
    }
}

fn properties(schema: &SchemaRef, ordering: Option<LexOrdering>) -> Arc<PlanProperties> {
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

impl DisplayAs for Scan {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut Formatter) -> std::fmt::Result {
        let sql = self.select.sql();
        // A filter may name a hundred thousand series.
        let shown: String = sql.chars().take(500).collect();
        let more = if shown.len() < sql.len() { " ..." } else { "" };
        write!(f, "PostgresCopy: {shown}{more}")
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "PostgresCopy"
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
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), AHEAD);
        let to = stream.tx();
        let scan = self.clone();
        stream.spawn(async move { Ok(scan.read(to).await?) });
        Ok(stream.build())
    }

    fn fetch(&self) -> Option<usize> {
        self.select.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let mut scan = self.clone();
        scan.select.limit = match (scan.select.limit, limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Some(Arc::new(scan))
    }

    fn try_pushdown_sort(
        &self,
        sort: &[PhysicalSortExpr],
    ) -> EngineResult<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
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
        scan.properties = properties(&scan.schema, LexOrdering::new(as_asked));
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

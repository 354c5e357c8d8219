//! The scan of one dataset: its rows are computed while they are taken, in a snapshot of the tables.

use super::{
    balance,
    dataset::{Measure, What},
    demand, health, incident, latest, night, period, queue, road, rollup,
    rows::Rows,
    source::{Session, Source},
    station,
    stations::HELD_BYTES,
    traffic, typical, utility,
};
use crate::{
    error::{QueryError, Result},
    scan::{AHEAD, properties},
};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result as EngineResult},
    execution::{TaskContext, memory_pool::MemoryConsumer},
    logical_expr::Expr,
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use jiff::tz::TimeZone;
use processor::{
    measure::{
        Settled, Steps, Width,
        history::{self, CELLS_MAX},
    },
    model::{Series, Time},
};
use std::{fmt::Formatter, ops::Range, sync::Arc};
use tokio::sync::mpsc::Sender;

/// Rows of one scan: more than anybody looks at, and a minute of work.
const ROWS_MAX: usize = 2_000_000;
/// Buckets of series, with the states they are made of, that one scan holds: there may be several scans.
pub const CELLS: usize = 50_000;
const CELL_BYTES: usize = 400;

/// What is asked of a dataset.
#[derive(Clone, Debug)]
pub struct Asked {
    pub measure: &'static Measure,
    pub width: Width,
    pub range: Option<Range<Time>>,
    pub filters: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct Scan {
    asked: Arc<Asked>,
    projection: Arc<[usize]>,
    schema: SchemaRef,
    source: Arc<Source>,
    properties: Arc<PlanProperties>,
}

impl Asked {
    /// # Errors
    /// No range of time is asked for.
    pub fn range(&self) -> Result<&Range<Time>> {
        self.range.as_ref().ok_or_else(|| period::needed(self.measure.name))
    }

    /// The buckets that begin in the range.
    ///
    /// # Errors
    /// They are too many.
    pub fn steps(&self, zone: &TimeZone) -> Result<Steps> {
        period::steps(self.range()?, self.width, zone)
    }
}

/// # Errors
/// So many rows are more than one scan answers.
pub fn bounded(rows: usize) -> Result<()> {
    if ROWS_MAX < rows {
        return Err(QueryError::Exhausted(format!(
            "{rows} rows, and one scan answers up to {ROWS_MAX}: take wider buckets, a shorter range of time, or name sensors \
             (WHERE sensor IN (..))"
        )));
    }
    Ok(())
}

/// # Errors
/// The interval of a series does not fit into the buckets; `name` says its value of `column`, and what it measures.
pub fn fits<'n>(
    steps: &Steps,
    series: &Series,
    column: &str,
    name: impl FnOnce() -> (&'n str, &'n str),
) -> Result<()> {
    steps.check([series]).map_err(|error| {
        let (name, what) = name();
        QueryError::Invalid(format!("{what} of {name}: {error}; or leave it out (AND {column} <> '{name}')"))
    })
}

/// How many of some series may be read at once.
///
/// # Errors
/// Not even one.
pub fn at_once(series: &[Series], steps: &Steps) -> Result<usize> {
    let cells = history::cells(series, steps);
    if CELLS_MAX < cells {
        return Err(QueryError::Exhausted(
            "that is made of too many readings: take a shorter range of time, or buckets of 5m or a multiple"
                .into(),
        ));
    }
    Ok((CELLS / cells).max(1))
}

/// The buckets of some series, all at once.
pub async fn settled(session: &Session, series: &[Series], steps: &Steps) -> Result<Vec<Vec<Settled>>> {
    Ok(history::read_all(session.client()?, session.registry(), series, steps).await?)
}

impl Scan {
    pub fn new(asked: Asked, projection: Vec<usize>, schema: SchemaRef, source: Arc<Source>) -> Self {
        let properties = properties(&schema, None);
        Self { asked: Arc::new(asked), projection: projection.into(), schema, source, properties }
    }

    async fn read(self, to: Sender<EngineResult<RecordBatch>>) -> Result<()> {
        let session = self.source.session().await?;
        let mut rows = Rows::new(self.asked.measure, &self.projection, self.schema.clone(), to);
        let outcome = match self.asked.measure.what {
            What::Rollup => rollup::read(&self.asked, &session, &mut rows).await,
            What::Traffic => traffic::read(&self.asked, &session, &mut rows).await,
            What::Station => station::read(&self.asked, &session, &mut rows).await,
            What::Road => road::read(&self.asked, &session, &mut rows).await,
            What::Queue => queue::read(&self.asked, &session, &mut rows).await,
            What::Incident => incident::read(&self.asked, &session, &mut rows).await,
            What::Typical => typical::read(&self.asked, &session, &mut rows).await,
            What::Utility => utility::read(&self.asked, &session, &mut rows).await,
            What::Demand => demand::read(&self.asked, &session, &mut rows).await,
            What::Balance => balance::read(&self.asked, &session, &mut rows).await,
            What::Night => night::read(&self.asked, &session, &mut rows).await,
            What::Health => health::read(&self.asked, &session, &mut rows).await,
            What::Latest => latest::read(&self.asked, &session, &mut rows).await,
        };
        // Nothing runs in it any more: also after an error the connection is as good as before.
        let finished = session.finish().await;
        outcome?;
        finished?;
        rows.finish().await
    }

    /// What it holds at most, beside the batches; zones and detectors are read by the measures themselves.
    fn bytes(&self) -> usize {
        match self.asked.measure.what {
            What::Balance | What::Night | What::Health => CELLS_MAX * CELL_BYTES,
            What::Station | What::Road | What::Queue | What::Incident => CELLS * CELL_BYTES + HELD_BYTES,
            What::Rollup | What::Traffic | What::Typical | What::Utility | What::Demand | What::Latest => {
                CELLS * CELL_BYTES
            }
        }
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut Formatter) -> std::fmt::Result {
        let Asked { measure, width, range, .. } = &*self.asked;
        write!(f, "Measured: {} in {width:?}", measure.name)?;
        match range {
            Some(range) => write!(f, " from {} to {}", range.start, range.end),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "Measured"
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
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("measured").register(context.memory_pool());
        reservation.try_grow(self.bytes())?;
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), AHEAD);
        let to = stream.tx();
        let scan = self.clone();
        stream.spawn(async move {
            let outcome = scan.read(to).await;
            drop(reservation);
            Ok(outcome?)
        });
        Ok(stream.build())
    }
}

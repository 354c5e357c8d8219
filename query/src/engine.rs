//! The query engine and its limits: DataFusion over our tables, on threads of its own.

#[cfg(test)]
mod tests;

use crate::{
    database::Database,
    error::{QueryError, Result},
    metrics::{self, Measured},
    output,
    provider::{PostgresTable, Tables},
    series::Dictionary,
    statement,
    tables::{self, CATALOG, SCHEMA},
    ticket::Ticket,
};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::TableProvider,
    common::tree_node::{Transformed, TreeNode},
    execution::{
        SessionStateBuilder, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder,
        session_state::SessionState,
    },
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, coop::CooperativeExec, execute_stream},
    prelude::{SQLOptions, SessionConfig, SessionContext},
    scalar::ScalarValue,
};
use futures::{Stream, StreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Planning and dropping a statement recurse as deep as it nests, not all of it guarded: 32 KiB for each operator that
/// a statement may have. Only touched pages count.
const STACK_BYTES: usize = 32 << 20;
/// Threads at most, however many queries and cores there are.
const THREADS_MAX: usize = 64;
/// Batches that wait for the network: one on its way, one ready.
const AHEAD: usize = 2;
/// A query notices its deadline itself, unless all threads are busy; then its client hears of it this much later.
const GRACE: Duration = Duration::from_secs(1);
/// Plans made at once beside the running queries: each takes one core for milliseconds.
const PLANNERS: usize = 4;
/// What an optimiser or sort may write to disk.
const SPILL_BYTES: u64 = 2 << 30;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: usize,
    /// From the request to the last batch taken by the client.
    pub timeout: Duration,
    /// Queries that run at once.
    pub concurrency: usize,
    /// Queries that wait for their turn; more are refused.
    pub queue: usize,
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SQL with `$1`, `$2`, .. and their values.
    Sql {
        text: String,
        parameters: Vec<ScalarValue>,
    },
    Dataset(Ticket),
}

/// Batches of one query; the last item is its error, if it has one.
pub type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

#[derive(Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    workers: Workers,
}

#[derive(Debug)]
struct Inner {
    template: SessionState,
    tables: Arc<Tables>,
    limits: Limits,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    planners: Semaphore,
    running: Mutex<HashMap<u64, (String, CancellationToken)>>,
    next: AtomicU64,
}

/// The engine's own runtime: queries are computation and must not hold up the network, and want deep stacks.
#[derive(Debug)]
struct Workers(Option<tokio::runtime::Runtime>);

impl Engine {
    pub fn start(database: Database, limits: Limits) -> anyhow::Result<Self> {
        let tables = Arc::new(Tables { database, dictionary: Dictionary::new()? });
        // A thread for each part of each query, not for each core: a nested loop join does not let others run until
        // its batch is through, and the operating system shares out cores better than that.
        let cores = std::thread::available_parallelism()?.get();
        let threads = (limits.concurrency * cores + PLANNERS).min(THREADS_MAX);
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        let inner = Inner {
            template: template(&tables, &limits)?,
            tables,
            permits: Arc::new(Semaphore::new(limits.concurrency)),
            waiting: AtomicUsize::new(0),
            planners: Semaphore::new(PLANNERS),
            limits,
            running: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner), workers: Workers(Some(workers)) })
    }

    /// The schema that `query` will answer with.
    pub async fn describe(&self, statement: Statement) -> Result<SchemaRef> {
        self.on_workers(async move |inner| {
            let (context, plan) = inner.plan(&statement).await?;
            inner.describe(&context, &plan)
        })
        .await
    }

    /// Of SQL whose parameters are not bound yet: its schema, and the type of each parameter in order, as far as known.
    pub async fn prepare(
        &self,
        text: String,
    ) -> Result<(SchemaRef, BTreeMap<usize, Option<datafusion::arrow::datatypes::DataType>>)> {
        self.on_workers(async move |inner| {
            let (context, plan) = inner.plan_sql(&text).await?;
            let mut parameters = BTreeMap::new();
            for (name, kind) in plan.get_parameter_types()? {
                let place =
                    name.strip_prefix('$').and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                        QueryError::Invalid(format!("parameter {name}: use ? or $1, $2, .. for parameters"))
                    })?;
                parameters.insert(place, kind);
            }
            Ok((inner.describe(&context, &plan)?, parameters))
        })
        .await
    }

    /// Runs a statement. `id` names it for `cancel`.
    pub async fn query(&self, id: String, statement: Statement) -> Result<(SchemaRef, Batches)> {
        let mut measured = Measured::start();
        let deadline = Instant::now() + self.inner.limits.timeout;
        let started = async {
            let permit = self.inner.enter(deadline).await?;
            let (to_schema, schema) = oneshot::channel();
            let (to_batches, batches) = mpsc::channel(AHEAD);
            let (to_outcome, outcome) = oneshot::channel();
            let inner = self.inner.clone();
            let run = Run { id, statement, deadline, to_schema, to_batches };
            self.workers.spawn(async move {
                let result = inner.run(run, permit).await;
                // Nobody there to hear it: the client has left.
                let _ = to_outcome.send(result);
            });
            match timeout_at(deadline + GRACE, schema).await {
                Ok(Ok(schema)) => {
                    Ok((schema, Incoming { batches, outcome, deadline, timeout: self.inner.limits.timeout }))
                }
                Ok(Err(_)) => Err(ended(outcome).await.err().unwrap_or_else(vanished)),
                Err(_) => Err(late(self.inner.limits.timeout)),
            }
        };
        match started.await {
            Ok((schema, incoming)) => Ok((schema, answer(measured, incoming))),
            Err(error) => {
                measured.failed(&error);
                Err(error)
            }
        }
    }

    /// Stops what runs under `id`; false if nothing does.
    pub fn cancel(&self, id: &str) -> bool {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        for (_, token) in running.values().filter(|(name, _)| name == id) {
            token.cancel();
            found = true;
        }
        found
    }

    pub async fn ping(&self) -> Result<()> {
        self.inner.tables.database.ping().await
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Runs `work` on the engine's threads; a panic there becomes an error here.
    async fn on_workers<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let deadline = Instant::now() + self.inner.limits.timeout;
        let inner = self.inner.clone();
        let work = work(self.inner.clone());
        let timeout = inner.limits.timeout;
        let task = self.workers.spawn(async move {
            let planned = async {
                let _turn = inner.planners.acquire().await;
                work.await
            };
            timeout_at(deadline, planned).await.unwrap_or_else(|_| Err(late(timeout)))
        });
        match timeout_at(deadline + GRACE, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(vanished()),
            Err(_) => Err(late(timeout)),
        }
    }
}

/// The end of a query that its client holds.
struct Incoming {
    batches: mpsc::Receiver<RecordBatch>,
    outcome: oneshot::Receiver<Result<()>>,
    deadline: Instant,
    timeout: Duration,
}

struct Run {
    id: String,
    statement: Statement,
    deadline: Instant,
    to_schema: oneshot::Sender<SchemaRef>,
    to_batches: mpsc::Sender<RecordBatch>,
}

impl Inner {
    async fn run(&self, run: Run, _permit: OwnedSemaphorePermit) -> Result<()> {
        let Run { id, statement, deadline, to_schema, to_batches } = run;
        let listed = Listed::new(self, id);
        let listener = to_batches.clone();
        let work = async {
            let (context, plan) = self.plan(&statement).await?;
            let schema = self.describe(&context, &plan)?;
            let plan = yielding(context.state().create_physical_plan(&plan).await?)?;
            let mut stream = execute_stream(plan, context.task_ctx())?;
            let _ = to_schema.send(schema.clone()); // a client that left is noticed below
            while let Some(batch) = stream.next().await {
                for piece in output::pieces(output::conform(&batch?, &schema)?) {
                    if to_batches.send(piece).await.is_err() {
                        return Err(left());
                    }
                }
            }
            Ok(())
        };
        tokio::select! {
            result = timeout_at(deadline, work) => result.unwrap_or_else(|_| Err(late(self.limits.timeout))),
            () = listed.token.cancelled() => Err(QueryError::Cancelled("the query was cancelled".into())),
            () = listener.closed() => Err(left()),
        }
    }

    async fn plan(&self, statement: &Statement) -> Result<(SessionContext, LogicalPlan)> {
        match statement {
            Statement::Sql { text, parameters } => {
                let (context, plan) = self.plan_sql(text).await?;
                // Also with none, so that a placeholder without a value is named.
                Ok((context, plan.with_param_values(parameters.clone())?))
            }
            Statement::Dataset(ticket) => {
                let context = self.context();
                let plan = ticket.frame(&context).await?.into_unoptimized_plan();
                Ok((context, plan))
            }
        }
    }

    async fn plan_sql(&self, text: &str) -> Result<(SessionContext, LogicalPlan)> {
        let statement = statement::parse(text)?;
        let context = self.context();
        let plan = context.state().statement_to_plan(statement).await.map_err(as_invalid)?;
        let read_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan)?;
        Ok((context, plan))
    }

    /// The one place that says what a plan's answer looks like.
    fn describe(&self, context: &SessionContext, plan: &LogicalPlan) -> Result<SchemaRef> {
        let state = context.state();
        // The analyser settles types, such as those of a UNION; it refuses parameters of unknown type.
        let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {});
        let unbound = || plan.get_parameter_names().is_ok_and(|names| !names.is_empty());
        let plan = match analyzed {
            Ok(analyzed) => analyzed,
            Err(_) if unbound() => plan.clone(),
            Err(error) => return Err(error.into()),
        };
        Ok(output::schema(plan.schema().as_arrow()))
    }

    fn context(&self) -> SessionContext {
        SessionContext::new_with_state(self.template.clone())
    }

    /// Waits for a turn among the running queries.
    async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting, self.limits.queue)?;
        match timeout_at(deadline, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(QueryError::Unavailable("the service is stopping".into())),
            Err(_) => Err(QueryError::Deadline(format!(
                "no turn within {:?}: too many queries are running; try again later",
                self.limits.timeout
            ))),
        }
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Result<Self> {
        if max <= waiting.fetch_add(1, Ordering::Relaxed) {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(QueryError::Exhausted(format!("{max} queries are waiting already; try again later")));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A running query that can be cancelled by its id.
struct Listed<'a> {
    inner: &'a Inner,
    key: u64,
    token: CancellationToken,
}

impl<'a> Listed<'a> {
    fn new(inner: &'a Inner, id: String) -> Self {
        let (key, token) = (inner.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        inner.running.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (id, token.clone()));
        Self { inner, key, token }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Workers {
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work), // only while dropping
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime may not be dropped in a task: it would block it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The batches, then the outcome: an answer that was cut short must never look complete.
fn answer(measured: Measured, incoming: Incoming) -> Batches {
    Box::pin(stream::unfold(Some((measured, incoming)), async |state| {
        let (mut measured, mut incoming) = state?;
        let ended = match timeout_at(incoming.deadline + GRACE, incoming.batches.recv()).await {
            Ok(Some(batch)) => {
                measured.batch(batch.num_rows(), output::bytes(&batch));
                return Some((Ok(batch), Some((measured, incoming))));
            }
            Ok(None) => ended(incoming.outcome).await,
            Err(_) => Err(late(incoming.timeout)),
        };
        match ended {
            Ok(()) => {
                measured.done();
                None
            }
            Err(error) => {
                measured.failed(&error);
                Some((Err(error), None))
            }
        }
    }))
}

async fn ended(outcome: oneshot::Receiver<Result<()>>) -> Result<()> {
    outcome.await.unwrap_or_else(|_| Err(vanished()))
}

/// The task is gone without a word: it panicked.
fn vanished() -> QueryError {
    metrics::panicked();
    QueryError::Internal("the query ended in a panic, which is a bug; please report the statement".into())
}

fn left() -> QueryError {
    QueryError::Cancelled("the client has left".into())
}

fn late(timeout: Duration) -> QueryError {
    QueryError::Deadline(format!(
        "not done within {timeout:?} (--query-timeout); ask for a shorter time range, or for a rollup"
    ))
}

/// The plan with joins that let other tasks run, and their own deadline strike: one batch of input can keep a join busy
/// for minutes, and nothing can stop a task that never waits.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        Ok(if node.name().contains("Join") {
            Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
        } else {
            Transformed::no(node)
        })
    });
    Ok(wrapped?.data)
}

/// What the SQL dialect lacks is the statement's fault, not a missing method of the service.
fn as_invalid(error: datafusion::error::DataFusionError) -> QueryError {
    match error.into() {
        QueryError::Unimplemented(text) => QueryError::Invalid(text),
        error => error,
    }
}

fn template(tables: &Arc<Tables>, limits: &Limits) -> anyhow::Result<SessionState> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
        .with_max_temp_directory_size(SPILL_BYTES)
        .build_arc()?;
    let mut config =
        SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    // Results leave as plain Utf8; views would only be copied back.
    options.sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    let context = SessionContext::new_with_state(state);
    for dataset in tables::ALL {
        let table: Arc<dyn TableProvider> = Arc::new(PostgresTable::new(dataset, tables.clone()));
        context.register_table(dataset.name, table)?;
    }
    // What TimescaleDB calls it.
    context.register_udf(
        datafusion::functions::datetime::date_bin().as_ref().clone().with_aliases(["time_bucket"]),
    );
    Ok(context.state())
}

//! The query engine and its limits: DataFusion over our tables, on threads of its own.

mod answer;
mod follow;
mod session;
#[cfg(test)]
mod tests;
mod turns;

use crate::{
    access::AccessLog,
    caller::Caller,
    catalogue,
    counted::Counted,
    database::Database,
    error::{QueryError, Result},
    growth,
    live::{self, Feed},
    metrics::Measured,
    output,
    policy::{Policy, Rules},
    provider::Tables,
    segments::{self, Key, Segments},
    series::Dictionary,
    statement,
    ticket::Ticket,
};
use answer::{Incoming, Logged, Room, ended, vanished};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, coop::CooperativeExec, execute_stream, replace_children_if_necessary},
    prelude::{SQLOptions, SessionContext},
    scalar::ScalarValue,
};
pub use follow::Pieces;
use futures::{Stream, StreamExt};
use jiff::{Timestamp, tz::TimeZone};
use session::{Session, sessions};
use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use turns::{Bounds, Turns};

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
/// How long it is believed up to when answers are complete: it only grows, so that an old one promises less.
const COMPLETE_FOR: Duration = Duration::from_secs(1);
/// What an optimiser or sort may write to disk.
const SPILL_BYTES: u64 = 2 << 30;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: usize,
    /// From the request to the last batch taken by the client.
    pub timeout: Duration,
    /// Queries that run at once.
    pub concurrency: usize,
    /// And of one identity.
    pub concurrency_each: usize,
    /// Queries that wait for their turn; more are refused.
    pub queue: usize,
    /// Of one answer, unless it is an export.
    pub rows: u64,
    pub bytes: u64,
    /// To the database, which running queries share: one for each table that a query reads.
    pub connections: usize,
    /// Tails that are followed at once; half as many of one identity.
    pub tails: usize,
    /// How long a client may take nothing of an answer that waits for it.
    pub stall: Duration,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// SQL with `$1`, `$2`, .. and their values.
    Sql {
        text: String,
        parameters: Vec<ScalarValue>,
    },
    Dataset(Box<Ticket>),
}

impl Statement {
    /// As it is written down.
    fn text(&self) -> String {
        match self {
            Self::Sql { text, parameters } if parameters.is_empty() => text.clone(),
            Self::Sql { text, parameters } => {
                let values: Vec<String> = parameters.iter().map(ToString::to_string).collect();
                format!("{text} -- with {}", values.join(", "))
            }
            Self::Dataset(ticket) => ticket.to_json().unwrap_or_default(),
        }
    }
}

/// Batches of one query; the last item is its error, if it has one.
pub type Batches = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

#[derive(Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    workers: Workers,
    /// When it was asked last, and the answer.
    complete: Mutex<Option<(Instant, Timestamp)>>,
}

#[derive(Debug)]
struct Inner {
    /// By role: what it sees, compiled.
    sessions: HashMap<String, Session>,
    policy: Policy,
    log: AccessLog,
    tables: Arc<Tables>,
    /// By whose clocks the city lives.
    zone: TimeZone,
    limits: Limits,
    turns: Turns,
    tails: Turns,
    planners: Turns,
    /// To the database, for the tables that running queries read.
    connections: Arc<Semaphore>,
    running: Mutex<HashMap<u64, Running>>,
    next: AtomicU64,
}

/// What can be stopped, by whom.
#[derive(Debug)]
struct Running {
    id: String,
    owner: Arc<str>,
    token: CancellationToken,
}

/// The engine's own runtime: queries are computation and must not hold up the network, and want deep stacks.
#[derive(Debug)]
struct Workers(Option<tokio::runtime::Runtime>);

impl Engine {
    pub fn start(
        database: Database,
        limits: Limits,
        zone: TimeZone,
        policy: Policy,
        log: AccessLog,
        kept: Option<(Arc<Segments>, mpsc::Receiver<Key>)>,
    ) -> anyhow::Result<Self> {
        let (segments, wanted) = kept.unzip();
        let tables =
            Arc::new(Tables { database, dictionary: Dictionary::new()?, segments, feed: Feed::default() });
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
            sessions: sessions(&policy, &tables, &limits, &zone)?,
            policy,
            log,
            tables,
            zone,
            turns: Turns::new(Bounds {
                what: "queries",
                at_once: limits.concurrency,
                each: limits.concurrency_each,
                queue: limits.queue,
            }),
            tails: Turns::new(Bounds {
                what: "tails",
                at_once: limits.tails,
                each: limits.tails.div_ceil(2),
                queue: 0,
            }),
            planners: Turns::new(Bounds {
                what: "statements to be planned",
                at_once: PLANNERS,
                each: PLANNERS / 2,
                queue: limits.queue,
            }),
            connections: Arc::new(Semaphore::new(limits.connections)),
            limits,
            running: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
        };
        if let (Some(segments), Some(wanted)) = (&inner.tables.segments, wanted) {
            let (tables, segments) = (Arc::downgrade(&inner.tables), Arc::downgrade(segments));
            workers.spawn(segments::tend(tables, segments, wanted));
        }
        workers.spawn(live::tend(Arc::downgrade(&inner.tables)));
        Ok(Self { inner: Arc::new(inner), workers: Workers(Some(workers)), complete: Mutex::default() })
    }

    /// The schema that `query` will answer with.
    pub async fn describe(&self, caller: &Caller, statement: Statement) -> Result<SchemaRef> {
        let caller = caller.clone();
        let asked = caller.clone();
        self.on_workers(&asked, async move |inner| {
            let (context, plan) = inner.plan(&caller, &statement).await?;
            inner.describe(&context, &plan)
        })
        .await
    }

    /// Of SQL whose parameters are not bound yet: its schema, and the type of each parameter in order, as far as known.
    pub async fn prepare(
        &self,
        caller: &Caller,
        text: String,
    ) -> Result<(SchemaRef, BTreeMap<usize, Option<datafusion::arrow::datatypes::DataType>>)> {
        let caller = caller.clone();
        let asked = caller.clone();
        self.on_workers(&asked, async move |inner| {
            let (context, plan) = inner.plan_sql(&caller, &text).await?;
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
    pub async fn query(
        &self,
        caller: &Caller,
        id: String,
        statement: Statement,
    ) -> Result<(SchemaRef, Batches)> {
        self.inner.log.asked(&id, caller, &statement.text())?;
        let mut measured = Logged {
            measured: Measured::start(caller.door),
            inner: self.inner.clone(),
            id: id.clone(),
            caller: caller.clone(),
        };
        let deadline = Instant::now() + self.inner.limits.timeout;
        let started = async {
            self.rules(caller)?;
            let permits = self.inner.turns.enter(caller, deadline).await?;
            let (to_schema, schema) = oneshot::channel();
            let (to_batches, batches) = mpsc::channel(AHEAD);
            let (to_outcome, outcome) = oneshot::channel();
            let inner = self.inner.clone();
            let run = Run { id, caller: caller.clone(), statement, deadline, to_schema, to_batches };
            self.workers.spawn(async move {
                let result = inner.run(run, permits).await;
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
            Ok((schema, incoming)) => Ok((schema, answer::answer(measured, incoming))),
            Err(error) => {
                measured.measured.failed(&error);
                Err(error)
            }
        }
    }

    /// Stops what runs under `id`, if the caller may; false if nothing was stopped.
    pub fn cancel(&self, caller: &Caller, id: &str) -> bool {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        for one in running.values().filter(|one| one.id == id && caller.may_stop(&one.owner)) {
            one.token.cancel();
            found = true;
        }
        found
    }

    /// What a caller sees.
    pub fn rules(&self, caller: &Caller) -> Result<&Arc<Rules>> {
        self.inner.policy.rules(&caller.identity.role)
    }

    /// Up to when the answers are complete: what was received before, of all closed buckets, is in them.
    pub async fn complete_until(&self) -> Result<Timestamp> {
        let known = *self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, until)) = known
            && asked.elapsed() < COMPLETE_FOR
        {
            return Ok(until);
        }
        let until = self.inner.tables.database.complete_until().await?;
        *self.complete.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), until));
        Ok(until)
    }

    /// By whose clocks the city lives.
    pub fn zone(&self) -> &TimeZone {
        &self.inner.zone
    }

    pub async fn ping(&self) -> Result<()> {
        self.inner.tables.database.ping().await
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Plans on the engine's threads, when it is the caller's turn; a panic there becomes an error here. Dropped, it is
    /// given up.
    async fn on_workers<T, F>(&self, caller: &Caller, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let deadline = Instant::now() + self.inner.limits.timeout;
        let turn = self.inner.planners.enter(caller, deadline).await?;
        let (work, timeout) = (work(self.inner.clone()), self.inner.limits.timeout);
        let task = self.workers.spawn(async move {
            let _turn = turn;
            timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late(timeout)))
        });
        match timeout_at(deadline + GRACE, AbortOnDropHandle::new(task)).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(vanished()),
            Err(_) => Err(late(timeout)),
        }
    }
}

struct Run {
    id: String,
    caller: Caller,
    statement: Statement,
    deadline: Instant,
    to_schema: oneshot::Sender<SchemaRef>,
    to_batches: mpsc::Sender<RecordBatch>,
}

impl Inner {
    async fn run(&self, run: Run, _permits: [OwnedSemaphorePermit; 2]) -> Result<()> {
        let Run { id, caller, statement, deadline, to_schema, to_batches } = run;
        let listed = Listed::new(self, id, &caller);
        let mut room = Room::of(&self.limits, caller.door);
        let listener = to_batches.clone();
        let work = async {
            let (context, plan) = self.plan(&caller, &statement).await?;
            let schema = self.describe(&context, &plan)?;
            let plan = yielding(context.state().create_physical_plan(&plan).await?)?;
            let _connections = self.connections(&plan).await?;
            let mut stream = execute_stream(plan, context.task_ctx())?;
            let _ = to_schema.send(schema.clone()); // a client that left is noticed below
            while let Some(batch) = stream.next().await {
                for piece in output::pieces(output::conform(&batch?, &schema)?) {
                    room.take(&piece)?;
                    match timeout(self.limits.stall, to_batches.send(piece)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Err(left()),
                        Err(_) => return Err(stalled(self.limits.stall)),
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

    async fn plan(&self, caller: &Caller, statement: &Statement) -> Result<(SessionContext, LogicalPlan)> {
        match statement {
            Statement::Sql { text, parameters } => {
                let (context, plan) = self.plan_sql(caller, text).await?;
                // Also with none, so that a placeholder without a value is named.
                let bound = plan.with_param_values(parameters.clone())?;
                if !parameters.is_empty() {
                    growth::check(&bound)?;
                }
                Ok((context, bound))
            }
            Statement::Dataset(ticket) => {
                let context = self.context(caller)?;
                let source = &self.session(caller)?.source;
                let plan = ticket.frame(&context, source).await?.into_unoptimized_plan();
                Ok((context, plan))
            }
        }
    }

    async fn plan_sql(&self, caller: &Caller, text: &str) -> Result<(SessionContext, LogicalPlan)> {
        let statement = statement::parse(text)?;
        let context = self.context(caller)?;
        let plan = context.state().statement_to_plan(statement).await;
        let plan = plan.map_err(|error| self.named(caller, as_invalid(error)))?;
        let read_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan)?;
        growth::check(&plan)?;
        Ok((context, plan))
    }

    /// Connections for all that a plan reads, taken together: two queries that wait for each other's would wait for ever.
    async fn connections(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<OwnedSemaphorePermit> {
        let mut reads = 0;
        plan.apply(|node| {
            reads += usize::from(node.children().is_empty());
            Ok(TreeNodeRecursion::Continue)
        })?;
        if self.limits.connections < reads {
            return Err(QueryError::Exhausted(format!(
                "the statement reads tables {reads} times at once; {} are allowed (twice --query-concurrency): ask in several \
                 statements",
                self.limits.connections
            )));
        }
        let wanted = self.connections.clone().acquire_many_owned(u32::try_from(reads).unwrap_or(u32::MAX));
        wanted.await.map_err(|_| QueryError::Busy("the service is stopping".into()))
    }

    /// An error about a table that is not there, with the nearest name that is.
    fn named(&self, caller: &Caller, error: QueryError) -> QueryError {
        let QueryError::Invalid(text) = &error else { return error };
        let name = text.split("table '").nth(1).and_then(|rest| rest.split_once("' not found"));
        let Some(((name, _), rules)) = name.zip(self.policy.rules(&caller.identity.role).ok()) else {
            return error;
        };
        let name = name.rsplit('.').next().unwrap_or(name);
        let known = catalogue::shown(rules).map(|shown| shown.name);
        QueryError::NotFound(catalogue::missing("dataset", name, known))
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
        output::schema(plan.schema().as_arrow())
    }

    fn context(&self, caller: &Caller) -> Result<SessionContext> {
        Ok(SessionContext::new_with_state(self.session(caller)?.state.clone()))
    }

    fn session(&self, caller: &Caller) -> Result<&Session> {
        let rules = self.policy.rules(&caller.identity.role)?;
        let session = self.sessions.get(rules.role());
        session.ok_or_else(|| QueryError::Internal("a role without its session".into()))
    }
}

/// A running query that can be cancelled by its id.
struct Listed<'a> {
    inner: &'a Inner,
    key: u64,
    token: CancellationToken,
}

impl<'a> Listed<'a> {
    fn new(inner: &'a Inner, id: String, caller: &Caller) -> Self {
        let (key, token) = (inner.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let one = Running { id, owner: caller.owner.clone(), token: token.clone() };
        inner.running.lock().unwrap_or_else(PoisonError::into_inner).insert(key, one);
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

pub fn left() -> QueryError {
    QueryError::Cancelled("the client has left".into())
}

pub fn stalled(stall: Duration) -> QueryError {
    QueryError::Deadline(format!(
        "nothing of the answer was taken for {stall:?} (--query-stall): read it faster, or ask for less"
    ))
}

fn late(timeout: Duration) -> QueryError {
    QueryError::Deadline(format!(
        "not done within {timeout:?} (--query-timeout); ask for a shorter time range, or for a rollup"
    ))
}

/// The plan with windows whose rows count as memory, and with joins that let other tasks run, and their own deadline
/// strike: one batch of input can keep a join busy for minutes, and nothing can stop a task that never waits.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        let node = match node.name() {
            "WindowAggExec" | "BoundedWindowAggExec" => {
                let counted =
                    node.children().into_iter().map(|child| Arc::new(Counted::new(child.clone())) as _);
                let counted = counted.collect();
                Transformed::yes(replace_children_if_necessary(node, counted)?)
            }
            name if name.contains("Join") => {
                Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
            }
            _ => Transformed::no(node),
        };
        Ok(node)
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

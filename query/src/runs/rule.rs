//! Finds aggregates that would be the same if rows were put together before.

use super::{Merge, Runs};
use crate::{
    provider::PostgresTable,
    tables::{Column as Stored, Kind, Source},
};
use datafusion::{
    catalog::TableProvider,
    common::{
        Column, JoinType, Result, ScalarValue, TableReference,
        tree_node::{Transformed, TreeNode},
    },
    datasource::{provider_as_source, source_as_provider},
    logical_expr::{
        Aggregate, Expr, LogicalPlan, TableScan,
        expr::{AggregateFunction, ScalarFunction},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};
use std::{any::Any, collections::BTreeMap, sync::Arc};

/// Makes the scan below such an aggregate put rows together.
#[derive(Debug)]
pub struct PutTogether;

impl OptimizerRule for PutTogether {
    fn name(&self) -> &'static str {
        "put_together"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(read) = below(&aggregate.input).flatten() else {
            return Ok(Transformed::no(plan));
        };
        let Some(runs) = runs(aggregate, &read) else { return Ok(Transformed::no(plan)) };
        let scan = read.scan.clone();
        let input = LogicalPlan::clone(&aggregate.input);
        let input = input.transform_down(|node| match node {
            LogicalPlan::TableScan(one) if one == scan => {
                let table: Arc<dyn TableProvider> = Arc::new(read.table.putting_together(runs.clone()));
                let scan = TableScan { source: provider_as_source(table), ..one };
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            node => Ok(Transformed::no(node)),
        })?;
        let Aggregate { group_expr, aggr_expr, .. } = aggregate.clone();
        let aggregate = Aggregate::try_new(Arc::new(input.data), group_expr, aggr_expr)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    }
}

/// The one table below an aggregate whose rows may be put together.
struct Read {
    scan: TableScan,
    table: PostgresTable,
    /// By which its columns are known above.
    name: TableReference,
}

/// None: there is something whose meaning would change. `Some(None)`: no such table.
fn below(plan: &LogicalPlan) -> Option<Option<Read>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok();
            let table =
                provider.as_deref().and_then(|table| (table as &dyn Any).downcast_ref::<PostgresTable>());
            let Some(table) = table.filter(|table| table.has_runs()) else { return Some(None) };
            let is_whole = scan.fetch.is_none() && table.runs().is_none();
            let read = Read { scan: scan.clone(), table: table.clone(), name: scan.table_name.clone() };
            is_whole.then_some(Some(read))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let read = below(&alias.input)?;
            // Under the new name, a column that is called as one of the table must be that one.
            let is_its_own = |read: &Read| {
                alias.input.schema().iter().all(|(qualifier, field)| {
                    qualifier == Some(&read.name) || read.table.column(field.name()).is_none()
                })
            };
            read.as_ref()
                .is_none_or(is_its_own)
                .then(|| read.map(|read| Read { name: alias.alias.clone(), ..read }))
        }
        LogicalPlan::Projection(projection) => {
            let read = below(&projection.input)?;
            let is_plain = |expr: &Expr| matches!(expr, Expr::Column(_)) || only_names(expr, read.as_ref());
            projection.expr.iter().all(is_plain).then_some(read)
        }
        LogicalPlan::Filter(filter) => {
            let read = below(&filter.input)?;
            only_names(&filter.predicate, read.as_ref()).then_some(read)
        }
        LogicalPlan::Join(join) => {
            let read = match (below(&join.left)?, below(&join.right)?) {
                (Some(_), Some(_)) => return None,
                (one, other) => one.or(other),
            };
            // Whether a row is there, and how often, is the same for all rows of a series.
            let is_fit = matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi);
            let mut exprs = join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
            (is_fit && exprs.all(|expr| only_names(expr, read.as_ref()))).then_some(read)
        }
        _ => None,
    }
}

/// Whether an expression knows of a table only the names of its series.
fn only_names(expr: &Expr, read: Option<&Read>) -> bool {
    let Some(read) = read else { return true };
    !expr.is_volatile()
        && !has_subquery(expr)
        && expr
            .column_refs()
            .iter()
            .all(|column| !is_of(column, read) || column_of(column, read).is_some_and(is_name))
}

fn has_subquery(expr: &Expr) -> bool {
    let is_query =
        |expr: &Expr| matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    expr.exists(|expr| Ok(is_query(expr))).unwrap_or(true)
}

/// A column without a table may be anybody's.
fn is_of(column: &Column, read: &Read) -> bool {
    column.relation.as_ref().is_none_or(|relation| *relation == read.name)
}

fn column_of(column: &Column, read: &Read) -> Option<&'static Stored> {
    read.table.column(&column.name).filter(|_| column.relation.is_some())
}

fn is_name(column: &Stored) -> bool {
    matches!(column.source, Source::Series(_))
}

/// How the rows of a table may be put together below an aggregate; none: not at all.
fn runs(aggregate: &Aggregate, read: &Read) -> Option<Runs> {
    let mut width = None;
    for expr in &aggregate.group_expr {
        if only_names(expr, Some(read)) {
            continue;
        }
        // By one width of time.
        let own = bucket_of(expr, read)?;
        if width.is_some_and(|width| width != own) {
            return None;
        }
        width = Some(own);
    }
    let mut merges = BTreeMap::new();
    for expr in &aggregate.aggr_expr {
        let (column, merge) = merge_of(expr, read)?;
        if *merges.entry(column.name).or_insert(merge) != merge {
            return None;
        }
    }
    Some(Runs { width, merges })
}

/// Nanoseconds of `date_bin(width, time)`, which is the same of the begin of a bucket as of all times in it.
fn bucket_of(expr: &Expr, read: &Read) -> Option<i64> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = bare(expr) else { return None };
    let [Expr::Literal(width, _), Expr::Column(time)] = args.as_slice() else { return None };
    let column = column_of(time, read).filter(|_| is_of(time, read))?;
    if func.name() != "date_bin" || read.table.time() != Some(column.name) {
        return None;
    }
    let nanos = match width {
        ScalarValue::IntervalMonthDayNano(Some(width)) if width.months == 0 => {
            i64::from(width.days).checked_mul(86_400_000_000_000)?.checked_add(width.nanoseconds)?
        }
        ScalarValue::IntervalDayTime(Some(width)) => {
            let days = i64::from(width.days).checked_mul(86_400_000_000_000)?;
            days.checked_add(i64::from(width.milliseconds) * 1_000_000)?
        }
        _ => return None,
    };
    (0 < nanos).then_some(nanos)
}

/// The column and what becomes of it: aggregates that are the same of parts as of all.
fn merge_of(expr: &Expr, read: &Read) -> Option<(&'static Stored, Merge)> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = bare(expr) else { return None };
    let (Expr::Column(column), others) = params.args.split_first()? else { return None };
    let is_plain = !params.distinct && params.filter.is_none() && params.order_by.is_empty();
    let column = column_of(column, read).filter(|_| is_plain && is_of(column, read))?;
    let is_number =
        matches!(column.kind, Kind::Float | Kind::Int64) && matches!(column.source, Source::Sql(_));
    let are_literals = others.iter().all(|other| matches!(other, Expr::Literal(..)));
    let merge = match func.name() {
        "sum" if is_number && others.is_empty() => Merge::Sum,
        "min" if is_number && others.is_empty() => Merge::Min,
        "max" if is_number && others.is_empty() => Merge::Max,
        "v85" | "quantile" if column.kind == Kind::Bytes && are_literals => Merge::Quantiles,
        _ => return None,
    };
    Some((column, merge))
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        expr => expr,
    }
}

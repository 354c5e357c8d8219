//! How long a statement's texts may become. The engine counts the memory of sorts, groups and joins, but not that of a
//! text while a function makes it: `s || s`, forty times over, would end the process.

use crate::error::{QueryError, Result};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Distinct, Expr, LogicalPlan, Operator,
        expr::{AggregateFunction, Exists, InSubquery, ScalarFunction},
    },
    scalar::ScalarValue,
};

/// Of one text: bytes that the statement itself brings, beside what is in the tables.
const FIXED_MAX: u64 = 16 << 10;
/// And how often the text of a column may be in it.
const TIMES_MAX: u64 = 64;
/// Of all columns of a row: a batch has 8192 of them.
const ROW_MAX: u64 = 32 << 10;

/// A bound of a text's length: bytes, and how often the longest text of a table fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    fixed: u64,
    times: u64,
}

/// As it is in a table.
const COLUMN: Size = Size { fixed: 0, times: 1 };
/// A number, an instant or an interval, written out.
const NUMBER: Size = Size { fixed: 64, times: 0 };
/// Of many rows: it may be handed on, but not made longer.
const ENDLESS: Size = Size { fixed: FIXED_MAX, times: TIMES_MAX };

impl Size {
    fn and(self, other: Size) -> Size {
        Size { fixed: self.fixed.saturating_add(other.fixed), times: self.times.saturating_add(other.times) }
    }

    fn or(self, other: Size) -> Size {
        Size { fixed: self.fixed.max(other.fixed), times: self.times.max(other.times) }
    }

    fn repeated(self, count: u64) -> Size {
        Size { fixed: self.fixed.saturating_mul(count), times: self.times.saturating_mul(count) }
    }

    /// # Errors
    /// The text may become longer than is made safely.
    fn checked(self, maker: &str) -> Result<Size> {
        if FIXED_MAX < self.fixed || TIMES_MAX < self.times {
            return Err(QueryError::Exhausted(format!(
                "{maker} could make texts of more than {FIXED_MAX} B, or of {TIMES_MAX} texts of a table: join fewer of them, \
                 or join them where you read the answer"
            )));
        }
        Ok(self)
    }
}

/// # Errors
/// A text of the statement may become longer than is made safely.
pub fn check(plan: &LogicalPlan) -> Result<()> {
    sizes(plan).map(drop)
}

/// Of each column that a plan yields.
fn sizes(plan: &LogicalPlan) -> Result<Vec<Size>> {
    let inputs = plan.inputs();
    let of_inputs = inputs.iter().map(|input| sizes(input)).collect::<Result<Vec<_>>>()?;
    let all: Vec<Size> = of_inputs.concat();
    let joined = match inputs.as_slice() {
        [one] => one.schema().as_ref().clone(),
        [left, right] if matches!(plan, LogicalPlan::Join(_)) => left.schema().join(right.schema())?,
        _ => DFSchema::empty(),
    };
    let size = |expr: &Expr| size(expr, &joined, &all);
    // All of them, also those that no column comes from.
    let expressions = plan.expressions().iter().map(size).collect::<Result<Vec<_>>>()?;
    let width = plan.schema().fields().len();
    let mut yielded = match plan {
        LogicalPlan::Projection(projection) => {
            row(projection.expr.iter().map(size).collect::<Result<_>>()?)?
        }
        LogicalPlan::Aggregate(_) => row(expressions)?,
        LogicalPlan::Window(window) => {
            let more = window.window_expr.iter().map(size).collect::<Result<Vec<_>>>()?;
            row([all, more].concat())?
        }
        LogicalPlan::Values(values) => {
            values.values.iter().try_fold(vec![Size::default(); width], |most, row| {
                let row = row.iter().map(size).collect::<Result<Vec<_>>>()?;
                Ok::<_, QueryError>(most.into_iter().zip(row).map(|(one, other)| one.or(other)).collect())
            })?
        }
        LogicalPlan::Union(_) => widest(&of_inputs, width),
        LogicalPlan::RecursiveQuery(_) => {
            if let [_, again] = of_inputs.as_slice()
                && again.iter().any(|size| 1 < size.times)
            {
                return Err(QueryError::Exhausted(
                    "a recursive query may not join its texts to themselves: they would double in each round"
                        .into(),
                ));
            }
            widest(&of_inputs, width)
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            distinct.select_expr.iter().map(size).collect::<Result<_>>()?
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(Distinct::All(_))
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_) => all,
        LogicalPlan::TableScan(_) => vec![COLUMN; width],
        // One row, or some that tell of the plan.
        LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::DescribeTable(_) => vec![NUMBER; width],
        // What takes lists apart, and whatever else there may be.
        _ => vec![ENDLESS; width],
    };
    // Of a join that yields one side, or with a mark.
    yielded.resize(width, COLUMN);
    Ok(yielded)
}

/// # Errors
/// A row that would be too long many times over.
fn row(sizes: Vec<Size>) -> Result<Vec<Size>> {
    // What a group gathered is counted as its memory.
    let fixed = sizes.iter().filter(|size| **size != ENDLESS).map(|size| size.fixed);
    let fixed = fixed.fold(0, u64::saturating_add);
    if ROW_MAX < fixed {
        return Err(QueryError::Exhausted(format!(
            "rows with {fixed} B of the statement's own text; {ROW_MAX} B are allowed: leave the texts out"
        )));
    }
    Ok(sizes)
}

fn widest(inputs: &[Vec<Size>], width: usize) -> Vec<Size> {
    let most = |at| {
        inputs.iter().filter_map(|sizes: &Vec<Size>| sizes.get(at)).fold(COLUMN, |one, size| one.or(*size))
    };
    (0..width).map(most).collect()
}

fn size(expr: &Expr, schema: &DFSchema, inputs: &[Size]) -> Result<Size> {
    // Of everything in it, also of what no text comes from: it is made all the same. Each once, as they nest deeply.
    let mut parts: Vec<Size> = Vec::new();
    expr.apply_children(|child| {
        parts.push(size(child, schema, inputs)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let within = parts.iter().fold(Size::default(), |all, part| all.and(*part));
    Ok(match expr {
        Expr::Column(column) => {
            schema.maybe_index_of_column(column).and_then(|at| inputs.get(at)).copied().unwrap_or(COLUMN)
        }
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(_) => within,
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => within.checked("||")?,
        Expr::ScalarFunction(call) => made(call, &parts, within)?,
        Expr::AggregateFunction(AggregateFunction { func, .. })
            if ["string_agg", "array_agg"].contains(&func.name()) =>
        {
            ENDLESS
        }
        Expr::WindowFunction(call) if ["string_agg", "array_agg"].contains(&call.fun.name()) => ENDLESS,
        // One of its parts.
        Expr::Case(_) => parts.iter().fold(NUMBER, |most, part| most.or(*part)),
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::Cast(_) | Expr::TryCast(_) => {
            within.or(NUMBER)
        }
        Expr::ScalarSubquery(query) => sizes(&query.subquery)?.first().copied().unwrap_or(COLUMN),
        Expr::InSubquery(InSubquery { subquery, .. }) | Expr::Exists(Exists { subquery, .. }) => {
            sizes(&subquery.subquery)?;
            NUMBER
        }
        // Numbers and verdicts.
        _ => NUMBER,
    })
}

/// What a function makes of its arguments.
fn made(call: &ScalarFunction, args: &[Size], within: Size) -> Result<Size> {
    let count = |at: usize| call.args.get(at).and_then(number);
    let of = |at: usize| args.get(at).copied().unwrap_or(NUMBER);
    match call.name() {
        name @ "repeat" => match count(1) {
            Some(count) => of(0).repeated(count).checked(name),
            None => Err(unbounded(name)),
        },
        name @ ("lpad" | "rpad") => match count(1) {
            // Letters, of at most four bytes.
            Some(count) => within.and(Size { fixed: count.saturating_mul(4), times: 0 }).checked(name),
            None => Err(unbounded(name)),
        },
        name @ "replace" => {
            let longer = of(2).fixed.saturating_add(of(2).times.saturating_mul(TIMES_MAX)).max(1);
            within.repeated(longer.min(TIMES_MAX + 1)).checked(name)
        }
        name @ "concat" => within.checked(name),
        // The first stands between all others.
        name @ "concat_ws" => within.and(of(0).repeated(args.len() as u64)).checked(name),
        name @ ("encode" | "translate" | "to_hex") => within.repeated(4).checked(name),
        _ => Ok(within.or(NUMBER)),
    }
}

fn literal(value: &ScalarValue) -> Size {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => Size { fixed: text.len() as u64, times: 0 },
        _ => NUMBER,
    }
}

/// A count that the statement says itself.
fn number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::Int64(Some(number)) => Some(u64::try_from(*number).unwrap_or(0)),
            ScalarValue::Int32(Some(number)) => Some(u64::try_from(*number).unwrap_or(0)),
            ScalarValue::UInt64(Some(number)) => Some(*number),
            _ => None,
        },
        Expr::Cast(cast) => number(&cast.expr),
        Expr::Negative(_) => Some(0),
        _ => None,
    }
}

fn unbounded(name: &str) -> QueryError {
    QueryError::Exhausted(format!("{name} takes its length as a number, not as a column or a formula"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::{
        arrow::datatypes::{DataType, Field, Schema},
        datasource::empty::EmptyTable,
        prelude::SessionContext,
    };
    use std::sync::Arc;

    fn judged(sql: &str) -> Result<()> {
        let context = SessionContext::new();
        let fields = vec![Field::new("s", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
        let table = EmptyTable::new(Arc::new(Schema::new(fields)));
        context.register_table("t", Arc::new(table)).unwrap();
        let plan = futures::executor::block_on(context.state().create_logical_plan(sql)).unwrap();
        check(&plan)
    }

    #[test]
    fn a_text_is_found_wherever_it_is_made() {
        let long = "repeat(arrow_cast('x', 'LargeUtf8'), 9000000000000)";
        let nested =
            (0..5).fold("'x'".to_owned(), |within, _| format!("concat_ws({within}{})", ", ''".repeat(1000)));
        let literal = "x".repeat(40_000);
        for wrong in [
            format!("SELECT {long} IS NULL"),
            format!("SELECT 'a' LIKE {long}"),
            format!("SELECT CASE WHEN {long} = 'x' THEN 1 END"),
            format!("SELECT count(*) FILTER (WHERE {long} = 'x') FROM t"),
            format!("SELECT sum(n) OVER (ORDER BY {long}) FROM t"),
            format!("SELECT n FROM t WHERE 'a' BETWEEN {long} AND 'b'"),
            format!("SELECT n FROM t WHERE {long} IN (SELECT s FROM t)"),
            format!("SELECT count(*) FROM t GROUP BY ROLLUP({long})"),
            format!("SELECT {nested}"),
            format!("SELECT '{literal}' FROM t"),
            format!("SELECT DISTINCT ON (n) n, {} FROM t", ["s"; 70].join(" || ")),
            format!("SELECT x || {} FROM (SELECT unnest(array_agg(s)) AS x FROM t)", ["x"; 2].join(" || ")),
        ] {
            assert!(judged(&wrong).is_err(), "{wrong:.120}");
        }
    }

    #[test]
    fn what_people_ask_for_is_left_alone() {
        for right in [
            "SELECT s || ' ' || s, upper(s), n * 2 FROM t WHERE s LIKE 'a%' ORDER BY s".to_owned(),
            "SELECT concat_ws(', ', s, s, 'x') FROM t GROUP BY s".to_owned(),
            "SELECT string_agg(s, ', '), array_agg(s), string_agg(s, ';') FROM t".to_owned(),
            "SELECT unnest(array_agg(s)) FROM t".to_owned(),
            "SELECT lpad(CAST(n AS text), 5, '0') FROM t".to_owned(),
            format!("SELECT CASE {} END FROM t", "WHEN s = 'a' THEN 'something' ".repeat(200)),
            format!(
                "SELECT {} FROM t",
                ["n + 1"; 200]
                    .iter()
                    .enumerate()
                    .map(|(i, e)| format!("{e} AS c{i}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ] {
            assert!(judged(&right).is_ok(), "{right:.120}: {:?}", judged(&right));
        }
    }
}

//! How long a statement's texts may become. The engine counts the memory of sorts, groups and joins, but not that of a
//! text while a function makes it: `s || s`, forty times over, would end the process.

use crate::error::{QueryError, Result};
use datafusion::{
    common::DFSchema,
    logical_expr::{Expr, LogicalPlan, Operator},
    scalar::ScalarValue,
};

/// Of one text: bytes that the statement itself brings, beside what is in the tables.
const FIXED_MAX: u64 = 16 << 10;
/// And how often the text of a column may be in it.
const TIMES_MAX: u64 = 64;

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
        LogicalPlan::Projection(projection) => projection.expr.iter().map(size).collect::<Result<_>>()?,
        LogicalPlan::Aggregate(_) => expressions,
        LogicalPlan::Window(window) => {
            let more = window.window_expr.iter().map(size).collect::<Result<Vec<_>>>()?;
            [all, more].concat()
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
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Join(_) => all,
        _ => Vec::new(),
    };
    yielded.resize(width, COLUMN);
    Ok(yielded)
}

fn widest(inputs: &[Vec<Size>], width: usize) -> Vec<Size> {
    let most = |at| {
        inputs.iter().filter_map(|sizes: &Vec<Size>| sizes.get(at)).fold(COLUMN, |one, size| one.or(*size))
    };
    (0..width).map(most).collect()
}

fn size(expr: &Expr, schema: &DFSchema, inputs: &[Size]) -> Result<Size> {
    let of = |expr: &Expr| size(expr, schema, inputs);
    let sum = |exprs: &[Expr]| {
        exprs.iter().try_fold(Size::default(), |sum, expr| Ok::<_, QueryError>(sum.and(of(expr)?)))
    };
    Ok(match expr {
        Expr::Column(column) => {
            schema.maybe_index_of_column(column).and_then(|at| inputs.get(at)).copied().unwrap_or(COLUMN)
        }
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(alias) => of(&alias.expr)?,
        Expr::Cast(cast) => of(&cast.expr)?.or(NUMBER),
        Expr::TryCast(cast) => of(&cast.expr)?.or(NUMBER),
        Expr::BinaryExpr(binary) => {
            let both = of(&binary.left)?.and(of(&binary.right)?);
            match binary.op {
                Operator::StringConcat => both.checked("||")?,
                _ => NUMBER,
            }
        }
        Expr::ScalarFunction(call) => {
            let all = sum(&call.args)?;
            let count = |at: usize| call.args.get(at).and_then(number);
            match call.name() {
                name @ "repeat" => match count(1) {
                    Some(count) => call.args.first().map_or(Ok(NUMBER), of)?.repeated(count).checked(name)?,
                    None => return Err(unbounded(name)),
                },
                name @ ("lpad" | "rpad") => match count(1) {
                    // Letters, of at most four bytes.
                    Some(count) => {
                        all.and(Size { fixed: count.saturating_mul(4), times: 0 }).checked(name)?
                    }
                    None => return Err(unbounded(name)),
                },
                name @ "replace" => {
                    let by = call.args.get(2).map_or(Ok(NUMBER), of)?;
                    let longer = by.fixed.saturating_add(by.times.saturating_mul(TIMES_MAX)).max(1);
                    all.repeated(longer.min(TIMES_MAX + 1)).checked(name)?
                }
                name @ ("concat" | "concat_ws") => {
                    all.repeated(1 + u64::from(name == "concat_ws")).checked(name)?
                }
                name @ ("encode" | "translate" | "to_hex") => all.repeated(4).checked(name)?,
                _ => all.or(NUMBER),
            }
        }
        Expr::AggregateFunction(call) => {
            let all = sum(&call.params.args)?;
            match call.func.name() {
                "string_agg" | "array_agg" => ENDLESS,
                _ => all.or(NUMBER),
            }
        }
        Expr::WindowFunction(call) => {
            let all = sum(&call.params.args)?;
            if call.fun.name() == "string_agg" { ENDLESS } else { all.or(NUMBER) }
        }
        Expr::Case(case) => {
            let when = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            when.chain(case.else_expr.as_deref())
                .try_fold(Size::default(), |most, expr| Ok::<_, QueryError>(most.or(of(expr)?)))?
        }
        Expr::ScalarSubquery(query) => sizes(&query.subquery)?.first().copied().unwrap_or(COLUMN),
        Expr::InSubquery(query) => {
            sizes(&query.subquery.subquery)?;
            NUMBER
        }
        Expr::Exists(query) => {
            sizes(&query.subquery.subquery)?;
            NUMBER
        }
        _ => COLUMN,
    })
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

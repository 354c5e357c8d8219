//! An aggregate function on states: what it is called with, and what it keeps of a group.

use super::{
    FUNCTIONS,
    accumulate::{Grouped, Single},
};
use crate::{
    error::{QueryError, Result},
    tables::time_type,
};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, TimestampNanosecondArray},
        datatypes::{DataType, Field, FieldRef, Float64Type, Schema, TimestampNanosecondType},
    },
    common::plan_err,
    logical_expr::{
        Accumulator, AggregateUDFImpl, ColumnarValue, DocSection, Documentation, Expr, GroupsAccumulator,
        Signature, Volatility,
        function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
    physical_expr::PhysicalExpr,
    scalar::ScalarValue,
};
use processor::model::state::Unreadable;
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// What a function keeps of the rows of a group. The same rows in any order, in any parts, give the same answer.
pub trait Kept: Default + fmt::Debug + Send + Sync + 'static {
    /// Takes in a row.
    fn take(&mut self, row: &Row<'_>) -> Result<()>;

    /// Appends what [`join`](Self::join) takes in.
    fn write(&self, out: &mut Vec<u8>);

    /// Takes in what another part of the group wrote.
    fn join(&mut self, bytes: &[u8]) -> Result<()>;

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// What a group's answer is made of, and the share that is asked for; only quantiles look at it.
pub type Answer<K> = fn(&K, f64) -> Result<ScalarValue>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    State,
    Number,
    Time,
    /// From 0 to 1, the same for all rows.
    Share,
}

/// How a function is called; the first argument is the state.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub name: &'static str,
    pub arguments: &'static [Argument],
    /// So many of them may be left away, from the last one on.
    pub optional: usize,
}

/// A function for SQL.
pub struct Aggregate<K> {
    call: Call,
    /// Of a function that has its share in its name.
    share: Option<f64>,
    answer: Answer<K>,
    returns: DataType,
    signature: Signature,
    documentation: Option<Documentation>,
}

const SECTION: DocSection =
    DocSection { include: true, label: "States of rollups", description: Some("see processor/MEASURES.md") };

impl<K: Kept> Aggregate<K> {
    pub fn new(call: Call, returns: DataType, answer: Answer<K>) -> Self {
        let documented = FUNCTIONS.iter().find(|(name, ..)| *name == call.name);
        let documentation = documented
            .map(|(_, signature, about)| Documentation::builder(SECTION, *about, *signature).build());
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { call, share: None, answer, returns, signature, documentation }
    }

    pub fn with_share(self, share: f64) -> Self {
        Self { share: Some(share), ..self }
    }

    fn answer(&self, args: &AccumulatorArgs<'_>) -> Result<(Answer<K>, f64)> {
        let name = self.call.name;
        refuse_distinct(name, args.is_distinct)?;
        let place = self.call.arguments.iter().position(|argument| *argument == Argument::Share);
        let share = match place.and_then(|place| args.exprs.get(place)) {
            Some(given) => share(given).ok_or_else(|| {
                QueryError::Invalid(format!(
                    "{name}: give the share as a number from 0 to 1, such as {name}(state, 0.85)"
                ))
            })?,
            None => self.share.unwrap_or_default(),
        };
        Ok((self.answer, share))
    }
}

fn refuse_distinct(name: &str, is_distinct: bool) -> Result<()> {
    if is_distinct {
        let text = format!("{name}(DISTINCT ..): two buckets may have the same state, and both count");
        return Err(QueryError::Invalid(text));
    }
    Ok(())
}

/// The value of an argument that does not depend on rows.
fn share(given: &Arc<dyn PhysicalExpr>) -> Option<f64> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match given.evaluate(&nothing).ok()? {
        ColumnarValue::Scalar(ScalarValue::Float64(share)) => {
            share.filter(|share| (0.0..=1.0).contains(share))
        }
        _ => None,
    }
}

impl<K: Kept> AggregateUDFImpl for Aggregate<K> {
    fn name(&self) -> &str {
        self.call.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> datafusion::error::Result<Vec<DataType>> {
        let Call { name, arguments, optional } = self.call;
        let usage =
            FUNCTIONS.iter().find(|(own, ..)| *own == name).map_or(name, |(_, signature, _)| signature);
        if given.len() < arguments.len() - optional || arguments.len() < given.len() {
            return plan_err!("{} arguments: write {usage}", given.len());
        }
        let of = |(argument, given): (&Argument, &DataType)| match argument {
            Argument::State if given.is_binary() || given.is_null() => Some(DataType::Binary),
            Argument::Number | Argument::Share if given.is_numeric() || given.is_null() => {
                Some(DataType::Float64)
            }
            Argument::Time if matches!(given, DataType::Timestamp(..) | DataType::Null) => Some(time_type()),
            _ => None,
        };
        let types: Option<Vec<DataType>> = arguments.iter().zip(given).map(of).collect();
        match types {
            Some(types) => Ok(types),
            None => plan_err!(
                "arguments of the wrong type: write {usage}, where state is the column of a rollup and the others \
                 are numbers, or a column of times where time is asked for"
            ),
        }
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(self.returns.clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> datafusion::error::Result<Box<dyn Accumulator>> {
        let (answer, share) = self.answer(&args)?;
        Ok(Box::new(Single { kept: K::default(), answer, share }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> datafusion::error::Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "kept"), DataType::Binary, true))])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> datafusion::error::Result<Box<dyn GroupsAccumulator>> {
        let (answer, share) = self.answer(&args)?;
        let returns = self.returns.clone();
        Ok(Box::new(Grouped::<K> { kept: Vec::new(), heap_bytes: 0, answer, share, returns }))
    }

    /// Changes nothing; but later the planner makes a GROUP BY of DISTINCT, and nobody would hear of it.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let name = self.call.name;
        Some(Box::new(move |call, _| {
            refuse_distinct(name, call.params.distinct)?;
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.documentation.as_ref()
    }
}

impl<K> fmt::Debug for Aggregate<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate").field("call", &self.call).finish_non_exhaustive()
    }
}

// There is one function of a name.
impl<K> PartialEq for Aggregate<K> {
    fn eq(&self, other: &Self) -> bool {
        self.call.name == other.call.name
    }
}

impl<K> Eq for Aggregate<K> {}

impl<K> Hash for Aggregate<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.call.name.hash(state);
    }
}

/// The arguments of a call, for a batch of rows.
pub struct Columns<'a> {
    state: &'a BinaryArray,
    others: Vec<Other<'a>>,
}

enum Other<'a> {
    Number(&'a Float64Array),
    Time(&'a TimestampNanosecondArray),
}

/// One row of them.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a Columns<'a>,
    at: usize,
}

impl<'a> Columns<'a> {
    pub fn of(arrays: &'a [ArrayRef]) -> Result<Self> {
        let mut arrays = arrays.iter();
        let state = arrays.next().and_then(|array| array.as_binary_opt());
        let others = arrays.map(|array| match array.data_type() {
            DataType::Float64 => array.as_primitive_opt::<Float64Type>().map(Other::Number),
            _ => array.as_primitive_opt::<TimestampNanosecondType>().map(Other::Time),
        });
        let of_another_type = || QueryError::Internal("arguments that were not coerced".into());
        let others = others.collect::<Option<_>>().ok_or_else(of_another_type)?;
        Ok(Self { state: state.ok_or_else(of_another_type)?, others })
    }

    pub fn rows(&self) -> usize {
        self.state.len()
    }

    pub fn row(&'a self, at: usize) -> Row<'a> {
        Row { columns: self, at }
    }
}

impl<'a> Row<'a> {
    pub fn state(&self) -> Option<&'a [u8]> {
        let states = self.columns.state;
        states.is_valid(self.at).then(|| states.value(self.at))
    }

    /// The number at a place after the state; `None` also where that was left away.
    pub fn number(&self, place: usize) -> Option<f64> {
        match self.columns.others.get(place) {
            Some(Other::Number(numbers)) => numbers.is_valid(self.at).then(|| numbers.value(self.at)),
            _ => None,
        }
    }

    /// The time at a place after the state, in microseconds.
    pub fn micros(&self, place: usize) -> Option<i64> {
        match self.columns.others.get(place) {
            Some(Other::Time(times)) => {
                times.is_valid(self.at).then(|| times.value(self.at).div_euclid(1_000))
            }
            _ => None,
        }
    }
}

/// Bytes that are no state of a rollup.
pub fn unreadable(error: Unreadable) -> QueryError {
    QueryError::Invalid(format!(
        "these bytes cannot be read as the state of a rollup ({error}): give the column state of rollup_5m, \
         rollup_1h or rollup_1d"
    ))
}

/// What one part of a query wrote for another is never cut.
pub fn cut() -> QueryError {
    QueryError::Internal("a part of an aggregate is cut".into())
}

pub fn float(answer: Option<f64>) -> ScalarValue {
    ScalarValue::Float64(answer)
}

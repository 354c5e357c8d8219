//! The datasets as tables of the engine, and as functions of a width: `traffic` and `traffic('15m')`.

use super::{
    dataset::{Column, MEASURED, Measure},
    period::{self, Bounds},
    scan::{Asked, Scan},
    source::Source,
};
use crate::{
    error::{QueryError, Result},
    series,
};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as EngineResult,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
    prelude::SessionContext,
};
use processor::measure::Width;
use std::sync::Arc;

/// Makes every dataset a table of its usual width, and a function of a width where it has buckets.
///
/// # Errors
/// If a name is taken.
pub fn register(context: &SessionContext, source: &Arc<Source>) -> EngineResult<()> {
    for measure in MEASURED {
        // One whose usual width is too fine for the role is there with a wider one.
        if let Ok(Some(table)) = table(measure.name, None, source) {
            context.register_table(measure.name, table)?;
        }
        if measure.width.is_some() && source.rules.shows(measure.name, None) {
            let function = Function { measure, source: source.clone() };
            context.register_udtf(measure.name, Arc::new(function));
        }
    }
    Ok(())
}

/// One dataset; without a width it has its usual one. `None`: there is no such dataset for this role, or it takes no width.
///
/// # Errors
/// A width that is finer than the role sees.
pub fn table(
    name: &str,
    width: Option<Width>,
    source: &Arc<Source>,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(measure) = Measure::named(name).filter(|measure| source.rules.shows(name, measure.grain_s))
    else {
        return Ok(None);
    };
    let width = match (width, measure.width) {
        (Some(width), Some(_)) | (None, Some(width)) => width,
        (None, None) => Width::Days,
        (Some(_), None) => return Ok(None),
    };
    source.rules.check_width(width)?;
    let shown = |(_, column): &(usize, &Column)| source.rules.shows_column(name, column.name);
    let columns: Vec<usize> = measure.columns.iter().enumerate().filter(shown).map(|(at, _)| at).collect();
    let schema = Arc::new(measure.schema().project(&columns)?);
    Ok(Some(Arc::new(Table { measure, width, columns, schema, source: source.clone() })))
}

#[derive(Debug)]
struct Table {
    measure: &'static Measure,
    width: Width,
    /// Those of the measure that the role sees.
    columns: Vec<usize>,
    schema: SchemaRef,
    source: Arc<Source>,
}

#[derive(Debug)]
struct Function {
    measure: &'static Measure,
    source: Arc<Source>,
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, args: TableFunctionArgs) -> EngineResult<Arc<dyn TableProvider>> {
        let name = self.measure.name;
        let text = match args.exprs() {
            [Expr::Literal(value, _)] => value.try_as_str().flatten(),
            _ => None,
        };
        let wrong =
            |error: &str| QueryError::Invalid(format!("{name} takes a width, as in {name}('15m'){error}"));
        let width = text.ok_or_else(|| wrong(""))?;
        let width: Width = width.parse().map_err(|error| wrong(&format!(": {error}")))?;
        Ok(table(name, Some(width), &self.source)?.ok_or_else(|| wrong(""))?)
    }
}

impl Table {
    /// The range of time that is read; only what has a usual day needs none.
    fn asked(&self, filters: &[Expr]) -> Result<Asked> {
        let range = period::asked(filters, self.measure.name)?;
        if range.is_none() && self.measure.needs_range() {
            return Err(period::needed(self.measure.name));
        }
        Ok(Asked { measure: self.measure, width: self.width, range, filters: filters.to_vec() })
    }
}

fn mentions(filter: &Expr, is_known: impl Fn(&str) -> bool) -> bool {
    filter.column_refs().iter().any(|column| is_known(&column.name))
}

fn alone(measure: &Measure) -> QueryError {
    QueryError::Invalid(format!(
        "{} puts together what filters name: say {} in filters of their own, such as AND sensor IN ('a', 'b')",
        measure.name,
        measure.narrows.join(", ")
    ))
}

#[tonic::async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Inexact: filters narrow what is read, and the engine filters again. Exact where a row is of all that they leave.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        let narrows = |column: &str| self.measure.narrows.contains(&column);
        let verdict = |filter: &&Expr| match series::is_about(filter, narrows) {
            true if self.measure.is_of_selection() => Ok(TableProviderFilterPushDown::Exact),
            false if self.measure.is_of_selection() && mentions(filter, narrows) => Err(alone(self.measure)),
            is_about if is_about || Bounds::of(filter).is_some() => Ok(TableProviderFilterPushDown::Inexact),
            _ => Ok(TableProviderFilterPushDown::Unsupported),
        };
        Ok(filters.iter().map(verdict).collect::<Result<_>>()?)
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>, // whoever has enough stops listening
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.columns.len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        let projection = projection.into_iter().map(|at| self.columns[at]).collect();
        Ok(Arc::new(Scan::new(self.asked(filters)?, projection, schema, self.source.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{database::Database, policy::Rules, provider::Tables, series::Dictionary};
    use datafusion::physical_plan::displayable;
    use std::time::Duration;

    /// A context whose database is not there.
    fn context() -> SessionContext {
        let database = Database::at("host=/nonexistent user=nobody", 1, Duration::from_secs(1)).unwrap();
        let context = SessionContext::new();
        register(&context, &source(database, Rules::operator())).unwrap();
        context
    }

    fn source(database: Database, rules: Rules) -> Arc<Source> {
        let tables = Tables {
            database,
            dictionary: Dictionary::new().unwrap(),
            segments: None,
            feed: crate::live::Feed::default(),
        };
        Arc::new(Source::new(Arc::new(tables), Arc::new(rules)))
    }

    async fn plan(sql: &str) -> Result<String> {
        let plan = context().sql(sql).await?.create_physical_plan().await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    const DAY: &str = "time >= '2024-01-01T00:00:00Z' AND time < '2024-01-02T00:00:00Z'";

    #[tokio::test]
    async fn a_range_reaches_the_scan_and_is_needed() {
        let read = "from 2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z";
        let of_widths = ["rollup('15m')", "rollup", "traffic", "traffic('20s')", "station", "road('15m')"];
        let of_widths = of_widths.into_iter().chain(["typical('15m')", "utility('1d')"]);
        for from in of_widths.chain(["queue", "incident", "demand", "balance", "night", "health"]) {
            let found = plan(&format!("SELECT * FROM {from} WHERE {DAY}")).await.unwrap();
            assert!(found.contains(read) && found.contains("FilterExec"), "{from}: {found}");
            let half = plan(&format!("SELECT * FROM {from} WHERE time >= now()")).await.unwrap_err();
            assert!(half.to_string().contains("add WHERE time >= '2024"), "{from}: {half}");
            let without = plan(&format!("SELECT count(*) FROM {from} WHERE ends > now() OR 1 = 1")).await;
            assert!(
                from == "health" || matches!(without, Err(QueryError::Invalid(_))),
                "{from}: {without:?}"
            );
        }
        assert!(plan("SELECT * FROM health").await.is_ok());
        let joined = "SELECT t.v85 FROM traffic t JOIN utility u ON t.time = u.time
                      WHERE t.time BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-02T00:00:00Z'";
        assert!(plan(joined).await.is_ok(), "the range of one side is that of the other");
    }

    #[tokio::test]
    async fn what_is_put_together_is_said_by_filters_of_its_own() {
        let of = |filter: &str| format!("SELECT * FROM typical('15m') WHERE {DAY} AND {filter}");
        for filter in ["sensor IN ('a', 'b')", "segment = 'x' AND direction <> 'NB'", "sensor LIKE 'e1%'"] {
            let found = plan(&of(filter)).await.unwrap();
            let left = found.lines().find(|line| line.contains("FilterExec")).unwrap();
            assert!(!left.contains("sensor") && !left.contains("segment"), "{filter}: {left}");
        }
        for filter in ["(sensor = 'a' OR weeks > 3)", "sensor = direction || volume_p50"] {
            let error = plan(&of(filter)).await.unwrap_err();
            assert!(error.to_string().contains("filters of their own"), "{filter}: {error}");
        }
    }

    #[tokio::test]
    async fn a_width_is_a_text_that_is_one() {
        for wrong in ["rollup()", "rollup('3d')", "rollup(15)", "traffic('1h', '2h')", "utility(NULL)"] {
            let error = plan(&format!("SELECT * FROM {wrong} WHERE {DAY}")).await.unwrap_err();
            let function = wrong.split('(').next().unwrap();
            assert!(error.to_string().contains(&format!("{function}('15m')")), "{wrong}: {error}");
        }
        for whole in ["health", "queue", "incident"] {
            assert!(plan(&format!("SELECT * FROM {whole}('1h') WHERE {DAY}")).await.is_err(), "{whole}");
        }
        let database = || Database::at("host=/nonexistent user=nobody", 1, Duration::from_secs(1)).unwrap();
        let all = source(database(), Rules::operator());
        let table = |name, width, source| table(name, width, source).ok().flatten();
        assert!(table("rollup", Some(Width::Days), &all).is_some());
        assert!(table("health", None, &all).is_some() && table("health", Some(Width::Days), &all).is_none());
        assert!(table("reading", None, &all).is_none());
        let wide = Rules::parse("public", "datasets = ['rollup']\nwidth = '2h'").unwrap();
        let wide = source(database(), wide);
        assert!(table("rollup", None, &wide).is_none() && table("health", None, &wide).is_none());
        let days = table("rollup", Some(Width::Days), &wide).unwrap();
        assert!(days.schema().index_of("state").is_err(), "a state tells of single readings");
    }
}

//! A dataset as a table of the engine: what can be pushed down, and the scan that results.

use crate::{
    copy::Fill,
    database::Database,
    error::QueryError,
    pushdown,
    scan::{Scan, Select},
    series::{Dictionary, Series},
    tables::{Dataset, Source, VIEWED},
};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// What every scan needs.
#[derive(Debug)]
pub struct Tables {
    pub database: Database,
    pub dictionary: Dictionary,
}

#[derive(Debug)]
pub struct PostgresTable {
    dataset: &'static Dataset,
    schema: SchemaRef,
    tables: Arc<Tables>,
}

impl PostgresTable {
    pub fn new(dataset: &'static Dataset, tables: Arc<Tables>) -> Self {
        Self { dataset, schema: dataset.schema(), tables }
    }

    /// The dictionary as it is now, so that a sensor registered a moment ago is found by its name.
    async fn series(&self) -> Result<Arc<Series>, QueryError> {
        if !self.dataset.columns.iter().any(|column| matches!(column.source, Source::Series(_))) {
            return Ok(self.tables.dictionary.newest());
        }
        let client = self.tables.database.client().await?;
        self.tables.dictionary.refresh(&client).await
    }
}

#[tonic::async_trait]
impl TableProvider for PostgresTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Exact or nothing: a filter that is only nearly right has to be repeated above, and is easily forgotten there.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let series = self.tables.dictionary.newest();
        let verdict = |filter: &&Expr| match pushdown::condition(self.dataset, filter, &series) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let series = self.series().await?;
        let all: Vec<usize> = (0..self.dataset.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let columns: Vec<_> = projection.iter().map(|&at| &self.dataset.columns[at]).collect();
        let mut expressions = Vec::new();
        let viewed =
            !series.is_plain() && columns.iter().any(|column| matches!(column.source, Source::View(_)));
        if viewed || columns.iter().any(|column| matches!(column.source, Source::Series(_))) {
            expressions.push("series_id");
        }
        if viewed {
            expressions.extend(VIEWED);
        }
        let fills = columns
            .iter()
            .map(|column| match column.source {
                Source::Sql(sql) => {
                    expressions.push(sql);
                    Fill::Field(column.kind)
                }
                Source::Series(part) => Fill::Series(part),
                Source::View(part) if viewed => Fill::View(part),
                Source::View(_) => {
                    expressions.push(column.name);
                    Fill::Field(column.kind)
                }
            })
            .collect();
        let only = self.dataset.only.map(|condition| Ok(condition.to_owned()));
        let conditions = filters
            .iter()
            .map(|filter| {
                pushdown::condition(self.dataset, filter, &series).ok_or_else(|| {
                    // It could be pushed down a moment ago; a name registered since makes it fail.
                    QueryError::Invalid(format!(
                        "the filter {filter} fails on the name of a sensor, metric or unit"
                    ))
                })
            })
            .chain(only)
            .collect::<Result<Vec<_>, _>>()?;
        let select = Select {
            expressions: expressions.join(", "),
            from: self.dataset.from,
            conditions,
            order: Vec::new(),
            limit,
        };
        let schema = Arc::new(self.schema.project(projection)?);
        Ok(Arc::new(Scan::new(self.dataset, schema, fills, select, self.tables.clone())))
    }
}

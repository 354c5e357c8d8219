//! A dataset as a table of the engine, as one role sees it: what can be pushed down, and the scan that results.

use crate::{
    catalogue::{self, Shown},
    database::Database,
    error::QueryError,
    live::Feed,
    policy::Rules,
    present::Presentation,
    pushdown::{self, Extent},
    runs::Runs,
    scan::{Scan, Select},
    segments::{self, Segments},
    series::{Dictionary, Series},
    tables::{Column, Dataset, Subject},
};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// Series that are named to PostgreSQL to be left out there: more are left out here, which costs less than planning so
/// long a list.
const NAMED_MAX: usize = 20_000;

/// What every scan needs.
#[derive(Debug)]
pub struct Tables {
    pub database: Database,
    pub dictionary: Dictionary,
    pub segments: Option<Arc<Segments>>,
    pub feed: Feed,
}

#[derive(Clone, Debug)]
pub struct PostgresTable {
    dataset: &'static Dataset,
    /// Those that the role sees.
    columns: Vec<&'static Column>,
    schema: SchemaRef,
    rules: Arc<Rules>,
    tables: Arc<Tables>,
    /// How its rows are put together.
    runs: Option<Runs>,
}

impl PostgresTable {
    /// None where the role does not see the dataset.
    pub fn new(dataset: &'static Dataset, rules: &Arc<Rules>, tables: &Arc<Tables>) -> Option<Self> {
        let Shown { schema, .. } = catalogue::of(dataset, rules)?;
        let columns = schema.fields().iter().filter_map(|field| dataset.column(field.name())).collect();
        Some(Self { dataset, columns, schema, rules: rules.clone(), tables: tables.clone(), runs: None })
    }

    /// The same with fewer rows, which are good for the same sums.
    pub fn putting_together(&self, runs: Runs) -> Self {
        Self { runs: Some(runs), ..self.clone() }
    }

    /// Whether it has many rows of a series, one after the other.
    pub fn has_runs(&self) -> bool {
        self.tables.segments.is_some() && segments::is_kept(self.dataset)
    }

    pub fn runs(&self) -> Option<&Runs> {
        self.runs.as_ref()
    }

    /// The column that its times are in.
    pub fn time(&self) -> Option<&'static str> {
        self.dataset.time
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name).copied()
    }

    /// The dictionary as it is now, so that a sensor registered a moment ago is found by its name.
    async fn series(&self) -> Result<Arc<Series>, QueryError> {
        if !self.dataset.has_series() && (self.dataset.subject == Subject::City || self.rules.sees_all()) {
            return Ok(self.tables.dictionary.newest());
        }
        let client = self.tables.database.client().await?;
        self.tables.dictionary.refresh(&client).await
    }

    /// What leaves the series out that the role does not see, where they are few enough to be named.
    fn visible(&self, series: &Series) -> Option<String> {
        if self.rules.sees_all() || self.dataset.subject != Subject::Series {
            return None;
        }
        let sight = series.sight(&self.rules);
        let ids: Vec<i32> = sight.ids().take(NAMED_MAX + 1).collect();
        (ids.len() <= NAMED_MAX).then(|| pushdown::among(&ids))
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
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let columns: Vec<_> = projection.iter().map(|&at| self.columns[at]).collect();
        let schema = Arc::new(self.schema.project(projection)?);
        let presentation = Presentation::new(self.dataset, &columns, schema, &self.rules, series.is_plain());
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
            .chain(self.visible(&series).map(Ok))
            .collect::<Result<Vec<_>, _>>()?;
        let expressions: Vec<&str> = presentation.stored().iter().map(|stored| stored.sql).collect();
        let select = Select {
            expressions: expressions.join(", "),
            from: self.dataset.from,
            conditions,
            order: Vec::new(),
            limit: None,
        };
        let mut extents = filters.iter().map(|filter| pushdown::extent(self.dataset, filter, &series));
        let extent = extents.try_fold(Extent::ALL, |all, one| Some(all.and(one?)));
        // A plan tells how many series it reads: of those that are seen.
        let mut seen = series.len();
        let mut extent = extent;
        if !self.rules.sees_all() {
            let sight = series.sight(&self.rules);
            seen = sight.ids().count();
            if let Some(ids) = extent.as_mut().and_then(|extent| extent.ids.as_mut()) {
                ids.retain(|id| series.position(*id).is_some_and(|at| sight.sees(at)));
            }
        }
        let scan = Scan::new(self.dataset, presentation, select, extent, seen, self.tables.clone())
            .putting_together(self.runs.clone());
        Ok(Arc::new(scan.limited(limit)))
    }
}

//! The dictionary of series: id -> sensor, metric, unit, and how its values are seen. Rows travel with four bytes and get
//! their texts here.

use crate::{
    copy::ROWS,
    error::{QueryError, Result},
    policy::{Class, Rules, Traits},
    tables::SeriesPart,
};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    common::{DFSchema, tree_node::TreeNode},
    execution::context::ExecutionProps,
    logical_expr::{Expr, physical_planning_context::PhysicalPlanningContext},
    physical_expr::create_physical_expr,
    prelude::Column,
};
use processor::{
    model::{Quality, SeriesId, Time, View, series::part_of},
    registry,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

/// Ids re-read below the highest one known: they are drawn before their transaction commits, so a lower one may
/// appear after a higher one.
const OVERLAP: i32 = 1000;

/// All series at one moment, in order of their ids.
#[derive(Debug)]
pub struct Series {
    ids: Vec<i32>,
    /// sensor, metric, unit
    texts: RecordBatch,
    views: Arc<Views>,
    sensors: Arc<Sensors>,
    /// Of each series the place of its sensor's traits.
    traits: Vec<u32>,
    /// Of each series the part of its sensor.
    parts: Vec<i16>,
    /// Of each series the seconds that a value is of; 0 where it is of a moment.
    intervals: Vec<i32>,
    registry_version: i64,
}

/// What the registry says of sensors that decides who sees them. Many share the same.
#[derive(Clone, Debug, Default)]
struct Sensors {
    traits: Vec<Traits>,
    places: HashMap<Traits, u32>,
    of: HashMap<Box<str>, u32>,
    /// Each zone, and what it is part of.
    zones: HashMap<String, Vec<String>>,
}

/// Which series one role sees.
pub struct Sight<'s> {
    series: &'s Series,
    /// By place in `Sensors::traits`.
    visible: Vec<bool>,
    /// Sensors that the registry does not know.
    unknown: bool,
}

/// Of series that are not seen as they are stored: calibrated, or judged by a range.
type Views = HashMap<i32, View>;

/// The newest `Series`, shared by all queries.
#[derive(Debug)]
pub struct Dictionary {
    newest: RwLock<Arc<Series>>,
    /// One refresh at a time: the others then find nothing new.
    refreshing: tokio::sync::Mutex<()>,
}

type Row = (i32, String, String, String, i32);

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let names = ["sensor", "metric", "unit"];
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).to_vec()))
});

impl Series {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Of the registry that it was read from.
    pub fn registry_version(&self) -> i64 {
        self.registry_version
    }

    /// Where `id` stands, for `text`.
    pub fn position(&self, id: i32) -> Option<usize> {
        // Without gaps an id tells its own place.
        let direct = usize::try_from(id.checked_sub(*self.ids.first()?)?).ok()?;
        if self.ids.get(direct) == Some(&id) {
            return Some(direct);
        }
        self.ids.binary_search(&id).ok()
    }

    /// A text of each series, by position.
    pub fn texts(&self, part: SeriesPart) -> &ArrayRef {
        self.texts.column(part as usize)
    }

    pub fn text(&self, part: SeriesPart, position: usize) -> &str {
        self.texts(part).as_string::<i32>().value(position)
    }

    /// Ids of the series of all sensors of a part.
    pub fn of_part(&self, part: i16) -> impl Iterator<Item = i32> {
        self.ids.iter().zip(&self.parts).filter(move |(_, of)| **of == part).map(|(id, _)| *id)
    }

    /// Nanoseconds of the longest interval that a value of some series is of, or of all.
    pub fn longest_interval(&self, ids: Option<&BTreeSet<i32>>) -> i64 {
        let longest = match ids {
            None => self.intervals.iter().max().copied(),
            Some(ids) => ids.iter().filter_map(|id| Some(self.intervals[self.position(*id)?])).max(),
        };
        i64::from(longest.unwrap_or(0)) * 1_000_000_000
    }

    /// What decides who sees a sensor; none if the registry does not know it.
    pub fn traits_of(&self, sensor: &str) -> Option<&Traits> {
        self.sensors.traits.get(*self.sensors.of.get(sensor)? as usize)
    }

    /// Whether a series is shown by some rules.
    pub fn is_seen(&self, id: i32, rules: &Rules) -> bool {
        let traits = self.position(id).and_then(|at| self.sensors.traits.get(self.traits[at] as usize));
        rules.sees(traits)
    }

    /// A zone, and what it is part of.
    pub fn around(&self, zone: Option<&str>) -> &[String] {
        zone.and_then(|zone| self.sensors.zones.get(zone)).map_or(&[], Vec::as_slice)
    }

    /// Which series are shown by some rules.
    pub fn sight(&self, rules: &Rules) -> Sight<'_> {
        let visible = self.sensors.traits.iter().map(|traits| rules.sees(Some(traits))).collect();
        Sight { series: self, visible, unknown: rules.sees(None) }
    }

    /// Whether all readings are seen as they are stored.
    pub fn is_plain(&self) -> bool {
        self.views.is_empty()
    }

    /// A stored value of a series and its flags, as they are seen today.
    pub fn view(&self, id: i32, time: Time, value: f64, quality: Quality) -> (f64, Quality) {
        self.views.get(&id).map_or((value, quality), |view| view.of(time, value, quality))
    }

    /// Whether this filter is about series alone, so that `matching` decides it completely.
    pub fn decides(filter: &Expr) -> bool {
        is_about(filter, |column| SCHEMA.index_of(column).is_ok())
    }

    /// In order.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Ids of the series for which `filter` is true.
    ///
    /// # Errors
    /// If the filter fails on one of them, such as a cast of its name to a number.
    pub fn matching(&self, filter: &Expr) -> datafusion::error::Result<Vec<i32>> {
        let mut matching = Vec::new();
        // Some at a time: a filter may make long texts of short ones.
        for (at, ids) in (0..).step_by(ROWS).zip(self.ids.chunks(ROWS)) {
            let verdicts = verdicts(filter, &self.texts.slice(at, ids.len()))?;
            matching.extend(ids.iter().zip(verdicts).filter(|(_, holds)| *holds).map(|(id, _)| *id));
        }
        Ok(matching)
    }

    fn new(
        mut rows: Vec<Row>,
        views: Arc<Views>,
        sensors: Arc<Sensors>,
        registry_version: i64,
    ) -> Result<Self> {
        rows.sort_unstable_by_key(|row| row.0);
        let text = |pick: fn(&Row) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(pick)))
        };
        let columns = vec![text(|row| &row.1), text(|row| &row.2), text(|row| &row.3)];
        let texts = RecordBatch::try_new(SCHEMA.clone(), columns)?;
        let unknown = u32::MAX;
        let traits =
            rows.iter().map(|row| sensors.of.get(row.1.as_str()).copied().unwrap_or(unknown)).collect();
        let ids = rows.iter().map(|row| row.0).collect();
        let parts = rows.iter().map(|row| part_of(&row.1)).collect();
        let intervals = rows.iter().map(|row| row.4).collect();
        Ok(Self { ids, texts, views, sensors, traits, parts, intervals, registry_version })
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        let text = |part, at| self.text(part, at).to_owned();
        self.ids.iter().enumerate().map(move |(at, id)| {
            let [sensor, metric, unit] = [SeriesPart::Sensor, SeriesPart::Metric, SeriesPart::Unit];
            (*id, text(sensor, at), text(metric, at), text(unit, at), self.intervals[at])
        })
    }

    fn holds(&self, (id, sensor, metric, unit, interval_s): &Row) -> bool {
        self.position(*id).is_some_and(|at| {
            self.text(SeriesPart::Sensor, at) == sensor
                && self.text(SeriesPart::Metric, at) == metric
                && self.text(SeriesPart::Unit, at) == unit
                && self.intervals[at] == *interval_s
        })
    }

    #[cfg(test)]
    pub fn of<const N: usize>(rows: [(i32, &str, &str, &str); N]) -> Self {
        let rows = rows.map(|(id, sensor, metric, unit)| (id, sensor.into(), metric.into(), unit.into(), 0));
        Self::new(rows.into(), Arc::default(), Arc::default(), 0).expect("three columns of one length")
    }

    #[cfg(test)]
    pub fn with_traits(self, sensor: &str, class: &str) -> Self {
        let mut sensors = Sensors::clone(&self.sensors);
        sensors.add(sensor, None, None, class).expect("a class");
        let rows = self.rows().collect();
        Self::new(rows, self.views, sensors.into(), self.registry_version).expect("the same rows")
    }

    #[cfg(test)]
    pub fn seen(mut self, id: i32, view: View) -> Self {
        self.views = Arc::new(HashMap::from([(id, view)]));
        self
    }
}

impl Dictionary {
    pub fn new() -> Result<Self> {
        let none = Series::new(Vec::new(), Arc::default(), Arc::default(), -1)?;
        Ok(Self { newest: RwLock::new(Arc::new(none)), refreshing: tokio::sync::Mutex::new(()) })
    }

    /// As of the last refresh.
    pub fn newest(&self) -> Arc<Series> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what is new: the ids above the highest known, or all if the registry was imported since.
    pub async fn refresh(&self, client: &tokio_postgres::Client) -> Result<Arc<Series>> {
        let _one = self.refreshing.lock().await;
        let known = self.newest();
        let version = registry_version(client).await?;
        if version != known.registry_version {
            return self.load(client, version).await;
        }
        let above = known.ids.last().map_or(0, |last| last.saturating_sub(OVERLAP));
        let mut news = rows(client, above).await?;
        news.retain(|row| !known.holds(row));
        if news.is_empty() {
            return Ok(known);
        }
        let names: Vec<String> = news.iter().map(|row| row.1.clone()).collect();
        let changed: std::collections::HashSet<i32> = news.iter().map(|row| row.0).collect();
        news.extend(known.rows().filter(|row| !changed.contains(&row.0)));
        let mut sensors = Sensors::clone(&known.sensors);
        sensors.read(client, Some(&names)).await?;
        // What was registered since the last import is seen as it is stored.
        Ok(self.put(Series::new(news, known.views.clone(), sensors.into(), version)?))
    }

    /// Reads everything again: a row names a series that is not known.
    pub async fn reload(&self, client: &tokio_postgres::Client) -> Result<Arc<Series>> {
        let _one = self.refreshing.lock().await;
        let version = registry_version(client).await?;
        self.load(client, version).await
    }

    async fn load(&self, client: &tokio_postgres::Client, version: i64) -> Result<Arc<Series>> {
        let all = rows(client, i32::MIN).await?;
        let views = Arc::new(views(client).await?);
        let mut sensors = Sensors { zones: zones(client).await?, ..Sensors::default() };
        sensors.read(client, None).await?;
        tracing::debug!(series = all.len(), version, "series loaded");
        Ok(self.put(Series::new(all, views, sensors.into(), version)?))
    }

    fn put(&self, series: Series) -> Arc<Series> {
        let series = Arc::new(series);
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = series.clone();
        series
    }
}

impl Sight<'_> {
    /// By the position of a series.
    pub fn sees(&self, position: usize) -> bool {
        let traits = self.series.traits.get(position);
        traits.and_then(|at| self.visible.get(*at as usize)).copied().unwrap_or(self.unknown)
    }

    /// Ids of all series that are seen.
    pub fn ids(&self) -> impl Iterator<Item = i32> {
        self.series.ids.iter().enumerate().filter(|(at, _)| self.sees(*at)).map(|(_, id)| *id)
    }
}

impl Sensors {
    /// Reads all sensors, or some.
    async fn read(&mut self, client: &tokio_postgres::Client, names: Option<&[String]>) -> Result<()> {
        let select = "SELECT id, owner, zone, privacy FROM sensor WHERE $1::text[] IS NULL OR id = ANY ($1)";
        for row in client.query(select, &[&names]).await? {
            let (owner, zone): (Option<String>, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
            self.add(row.try_get(0)?, owner, zone, row.try_get(3)?)?;
        }
        Ok(())
    }

    /// One row of a sensor, beside those that are known of it.
    fn add(&mut self, sensor: &str, owner: Option<String>, zone: Option<String>, class: &str) -> Result<()> {
        let class = match class {
            "public" => Class::Public,
            "internal" => Class::Internal,
            "personal" => Class::Personal,
            other => return Err(QueryError::Internal(format!("a sensor of privacy class {other:?}"))),
        };
        let around = match zone {
            Some(zone) => self.zones.get(&zone).cloned().unwrap_or_else(|| vec![zone]),
            None => Vec::new(),
        };
        let known = self.of.get(sensor).and_then(|at| self.traits.get(*at as usize)).cloned();
        let mut traits = known.unwrap_or(Traits { class, owners: [].into(), zones: [].into() });
        traits.class = traits.class.max(class);
        traits.owners.insert(owner);
        traits.zones.insert(around);
        let next =
            u32::try_from(self.traits.len()).map_err(|_| QueryError::Internal("too many owners".into()))?;
        let at = *self.places.entry(traits.clone()).or_insert(next);
        if at == next {
            self.traits.push(traits);
        }
        self.of.insert(sensor.into(), at);
        Ok(())
    }
}

/// Each zone, and what it is part of, from the narrowest on.
async fn zones(client: &tokio_postgres::Client) -> Result<HashMap<String, Vec<String>>> {
    let mut parents: HashMap<String, Option<String>> = HashMap::new();
    for row in client.query("SELECT id, parent FROM zone", &[]).await? {
        parents.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let around = |zone: &String| {
        let mut around = vec![zone.clone()];
        // An import refuses circles; what is there twice ends one all the same.
        while let Some(Some(parent)) = around.last().and_then(|zone| parents.get(zone))
            && !around.contains(parent)
        {
            around.push(parent.clone());
        }
        around
    };
    Ok(parents.keys().map(|zone| (zone.clone(), around(zone))).collect())
}

/// Whether a filter is about columns of these names alone, so that [`verdicts`] decides it completely.
pub fn is_about(filter: &Expr, is_known: impl Fn(&str) -> bool) -> bool {
    let columns = filter.column_refs();
    let simple = |expr: &Expr| {
        !matches!(
            expr,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::Unnest(_)
        )
    };
    !columns.is_empty()
        && columns.iter().all(|column| is_known(&column.name))
        && !filter.is_volatile()
        && !filter.exists(|expr| Ok(!simple(expr))).unwrap_or(true)
}

/// Of each row, whether a filter is true.
///
/// # Errors
/// If the filter fails on one of them, such as a cast of a name to a number.
pub fn verdicts(filter: &Expr, rows: &RecordBatch) -> datafusion::error::Result<Vec<bool>> {
    let bare = filter.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => datafusion::common::tree_node::Transformed::yes(Expr::Column(
                Column::new_unqualified(column.name),
            )),
            expr => datafusion::common::tree_node::Transformed::no(expr),
        })
    })?;
    let schema = DFSchema::try_from(rows.schema())?;
    let physical = create_physical_expr(
        &bare.data,
        &schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    let verdicts = physical.evaluate(rows)?.into_array(rows.num_rows())?;
    let Some(verdicts) = verdicts.as_boolean_opt() else {
        return datafusion::common::plan_err!("a filter that is not true or false");
    };
    Ok((0..rows.num_rows()).map(|at| verdicts.is_valid(at) && verdicts.value(at)).collect())
}

async fn rows(client: &tokio_postgres::Client, above: i32) -> Result<Vec<Row>> {
    let select = "SELECT id, sensor, metric, unit, coalesce(interval_s, 0) FROM series WHERE $1 < id";
    let rows = client.query(select, &[&above]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)))
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(QueryError::from)
}

async fn views(client: &tokio_postgres::Client) -> Result<Views> {
    let select = "SELECT id, min, max FROM series WHERE min IS NOT NULL OR max IS NOT NULL";
    let mut views = Views::new();
    for row in client.query(select, &[]).await? {
        views.insert(row.try_get(0)?, View::within(row.try_get(1)?, row.try_get(2)?));
    }
    for (SeriesId(id), calibrations) in registry::calibrations(client).await? {
        views.entry(id).or_default().calibrations = calibrations.into();
    }
    Ok(views)
}

async fn registry_version(client: &tokio_postgres::Client) -> Result<i64> {
    let row = client.query_opt("SELECT registry_version FROM city", &[]).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    #[test]
    fn ids_with_gaps_are_found() {
        let series = Series::of([(3, "a", "m", "u"), (4, "b", "m", "u"), (9, "c", "m", "u")]);
        let names =
            [2, 3, 4, 5, 9, 10].map(|id| series.position(id).map(|at| series.text(SeriesPart::Sensor, at)));
        assert_eq!(names, [None, Some("a"), Some("b"), None, Some("c"), None]);
        assert_eq!(series.position(i32::MIN), None);
        assert_eq!(Dictionary::new().unwrap().newest().position(1), None);
    }

    #[test]
    fn a_filter_on_names_becomes_ids() {
        let series = Series::of([(3, "a", "m", "u"), (4, "b", "m", "u"), (9, "c", "n", "u")]);
        let filter = col("reading.metric").eq(lit("m")).and(col("reading.sensor").not_eq(lit("a")));
        assert!(Series::decides(&filter));
        assert_eq!(series.matching(&filter).unwrap(), [4]);
        assert!(!Series::decides(&col("metric").eq(lit("m")).and(col("value").gt(lit(1)))));
        assert!(!Series::decides(&lit(true)));
    }
}

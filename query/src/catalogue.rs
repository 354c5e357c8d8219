//! What there is to ask for, as one role sees it.

use crate::{
    measured::{MEASURED, Measure},
    policy::Rules,
    tables::{ALL, Dataset},
};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use std::sync::Arc;

/// A dataset with the columns that are shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub name: &'static str,
    pub about: &'static str,
    pub schema: SchemaRef,
    /// The column that `from` and `to` cut.
    pub time: Option<&'static str>,
    /// Whether its buckets are as wide as is asked for.
    pub has_width: bool,
    /// Of its natural key, those that are shown.
    pub key: Vec<&'static str>,
}

/// All that a role sees, in their order.
pub fn shown(rules: &Rules) -> impl Iterator<Item = Shown> + '_ {
    let stored = ALL.iter().filter_map(|dataset| of(dataset, rules));
    stored.chain(MEASURED.iter().filter_map(|measure| measured(measure, rules)))
}

/// What is asked for that is not there, with the nearest name that is.
pub fn missing<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    let name: String = name.chars().take(100).collect();
    let edits = |known: &&&str| strsim::damerau_levenshtein(&name.to_lowercase(), known);
    let near = known.iter().min_by_key(edits).filter(|near| 3 * edits(near) <= near.len().max(name.len()));
    match near {
        Some(near) => format!("no {what} {name:?}; did you mean {near}?"),
        None => format!("no {what} {name:?}; there are {}", known.join(", ")),
    }
}

fn measured(measure: &'static Measure, rules: &Rules) -> Option<Shown> {
    if !rules.shows(measure.name, measure.grain_s) {
        return None;
    }
    let schema = only_shown(measure.name, &measure.schema(), rules);
    let key = measure.key.iter().copied().filter(|name| schema.index_of(name).is_ok()).collect();
    let (name, about, has_width) = (measure.name, measure.about, measure.width.is_some());
    Some(Shown { name, about, schema, time: Some("time"), has_width, key })
}

fn only_shown(dataset: &str, schema: &Schema, rules: &Rules) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| rules.shows_column(dataset, field.name()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// One dataset; none if the role does not see it.
pub fn of(dataset: &Dataset, rules: &Rules) -> Option<Shown> {
    if !rules.shows(dataset.name, dataset.grain_s) {
        return None;
    }
    let schema = only_shown(dataset.name, &dataset.schema(), rules);
    let key = dataset.key.iter().copied().filter(|name| schema.index_of(name).is_ok()).collect();
    let Dataset { name, about, time, .. } = *dataset;
    Some(Shown { name, about, schema, time, has_width: false, key })
}

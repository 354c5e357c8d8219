//! What there is to ask for, as one role sees it.

use crate::{
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
    ALL.iter().filter_map(|dataset| of(dataset, rules))
}

/// One dataset; none if the role does not see it.
pub fn of(dataset: &Dataset, rules: &Rules) -> Option<Shown> {
    if !rules.shows(dataset.name, dataset.grain_s) {
        return None;
    }
    let fields = dataset.schema();
    let fields = fields.fields().iter().filter(|field| rules.shows_column(dataset.name, field.name()));
    let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
    let key = dataset.key.iter().copied().filter(|name| schema.index_of(name).is_ok()).collect();
    let Dataset { name, about, time, .. } = *dataset;
    Some(Shown { name, about, schema, time, has_width: false, key })
}

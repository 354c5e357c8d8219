//! What a role sees, compiled: a session of the engine knows no table and no column that its role may not see.

use super::{Limits, SPILL_BYTES};
use crate::{
    functions,
    measured::{self, Source},
    policy::{Policy, Rules},
    provider::{PostgresTable, Tables},
    runs::rule::PutTogether,
    tables::{self, CATALOG, SCHEMA},
};
use datafusion::{
    execution::{
        SessionStateBuilder,
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::SessionState,
    },
    prelude::{SessionConfig, SessionContext},
};
use jiff::tz::TimeZone;
use std::{collections::HashMap, sync::Arc};

/// What one role sees.
#[derive(Debug)]
pub struct Session {
    pub state: SessionState,
    pub source: Arc<Source>,
}

/// A session for each role, which all share one memory.
pub fn sessions(
    policy: &Policy,
    tables: &Arc<Tables>,
    limits: &Limits,
    zone: &TimeZone,
) -> anyhow::Result<HashMap<String, Session>> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
        .with_max_temp_directory_size(SPILL_BYTES)
        .build_arc()?;
    let mut shared: Option<Source> = None;
    let session = |rules: &Arc<Rules>| {
        let source = match &shared {
            Some(source) => source.seen_by(rules.clone()),
            None => Source::new(tables.clone(), rules.clone()),
        };
        shared.get_or_insert_with(|| source.clone());
        Ok((rules.role().to_owned(), session(rules, tables, Arc::new(source), &runtime, zone)?))
    };
    policy.roles().map(session).collect()
}

/// What a role sees, and nothing else.
fn session(
    rules: &Arc<Rules>,
    tables: &Arc<Tables>,
    source: Arc<Source>,
    runtime: &Arc<RuntimeEnv>,
    zone: &TimeZone,
) -> anyhow::Result<Session> {
    let mut config =
        SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    // Results leave as plain Utf8; views would only be copied back.
    options.sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.clone())
        .with_default_features()
        .with_optimizer_rule(Arc::new(PutTogether))
        .build();
    let context = SessionContext::new_with_state(state);
    for dataset in tables::ALL {
        if let Some(table) = PostgresTable::new(dataset, rules, tables) {
            context.register_table(dataset.name, Arc::new(table))?;
        }
    }
    measured::register(&context, &source)?;
    // What TimescaleDB calls it.
    context.register_udf(
        datafusion::functions::datetime::date_bin().as_ref().clone().with_aliases(["time_bucket"]),
    );
    functions::register(&context, zone.clone());
    Ok(Session { state: context.state(), source })
}

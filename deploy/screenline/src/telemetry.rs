//! The process's log and metrics. Only `main` installs them.

use anyhow::Context;
use clap::ValueEnum;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::console::Console;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Sends log lines of a level (`info`) or a list of them (`info,ingest=debug`) to the console.
///
/// # Errors
/// The directives do not parse.
pub fn log(directives: &str, format: Format, console: Console) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives).with_context(|| format!("read --log {directives:?}"))?;
    let colour = console.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A supervised service's stderr ends with its launcher: a line that cannot be written must not end the drain.
    match format {
        Format::Text => {
            let layer = fmt::layer().with_writer(console).with_ansi(colour).with_target(false);
            tracing_subscriber::registry().with(filter).with(layer.log_internal_errors(false)).init();
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(console);
            tracing_subscriber::registry().with(filter).with(layer.log_internal_errors(false)).init();
        }
    }
    Ok(())
}

/// Installs the metrics recorder; every metric gets the label `service`.
///
/// # Errors
/// A recorder is installed already.
pub fn metrics(service: &'static str) -> anyhow::Result<PrometheusHandle> {
    let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    PrometheusBuilder::new()
        .add_global_label("service", service)
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("_seconds".into()), &buckets)
        .context("set the histogram buckets")?
        .install_recorder()
        .context("install the metrics recorder")
}

//! What `query` counts about itself. Only the binary installs a recorder.

use crate::{caller::Door, error::QueryError};
use std::time::Instant;

/// Counts one query from its start until it is dropped: its time, rows, bytes and outcome.
pub struct Measured {
    started: Instant,
    door: Door,
    rows: u64,
    bytes: u64,
    outcome: &'static str,
}

pub fn describe() {
    metrics::describe_counter!("screenline_query_total", "queries answered, by door and outcome");
    metrics::describe_counter!("screenline_query_rows_total", "rows sent to clients");
    metrics::describe_counter!(
        "screenline_query_bytes_total",
        "bytes of Arrow data sent to clients, before framing"
    );
    metrics::describe_histogram!(
        "screenline_query_seconds",
        metrics::Unit::Seconds,
        "from the request to the last batch"
    );
    metrics::describe_gauge!("screenline_query_in_flight", "queries being answered now");
    metrics::describe_counter!(
        "screenline_authentication_failures_total",
        "callers that were not let in, by reason"
    );
    metrics::describe_gauge!(
        "screenline_tokens_refused",
        "1 while the file of tokens is broken and the last good one is used"
    );
    metrics::describe_gauge!(
        "screenline_jwks_refused",
        "1 while the file of public keys is broken and the last good one is used"
    );
    metrics::describe_gauge!(
        "screenline_jwks_age_seconds",
        metrics::Unit::Seconds,
        "since the issuer's public keys were fetched"
    );
    metrics::describe_gauge!("screenline_segments", "days that are kept as segments");
    metrics::describe_gauge!("screenline_segments_bytes", metrics::Unit::Bytes, "of segments on disk");
    metrics::describe_counter!("screenline_segments_total", "segments made, merged or failed, by event");
    metrics::describe_counter!("screenline_segments_used_total", "segments that scans read");
    metrics::describe_counter!("screenline_access_log_lines_total", "lines written to the access log");
    metrics::describe_counter!(
        "screenline_access_log_failures_total",
        "lines that could not be written to the access log: nothing is answered without it"
    );
    metrics::describe_counter!(
        "screenline_query_panics_total",
        "calls that ended in a panic: a bug, please report"
    );
}

pub fn panicked() {
    metrics::counter!("screenline_query_panics_total").increment(1);
}

impl Measured {
    pub fn start(door: Door) -> Self {
        metrics::gauge!("screenline_query_in_flight").increment(1);
        // A stream that is dropped before its end was left by its client.
        Self { started: Instant::now(), door, rows: 0, bytes: 0, outcome: "left" }
    }

    /// Rows, bytes and outcome.
    pub fn so_far(&self) -> (u64, u64, &'static str) {
        (self.rows, self.bytes, self.outcome)
    }

    pub fn batch(&mut self, rows: usize, bytes: usize) {
        self.rows += rows as u64;
        self.bytes += bytes as u64;
    }

    pub fn done(&mut self) {
        self.outcome = "ok";
    }

    pub fn failed(&mut self, error: &QueryError) {
        self.outcome = error.outcome();
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::gauge!("screenline_query_in_flight").decrement(1);
        metrics::counter!("screenline_query_total", "door" => self.door.name(), "outcome" => self.outcome)
            .increment(1);
        metrics::counter!("screenline_query_rows_total").increment(self.rows);
        metrics::counter!("screenline_query_bytes_total").increment(self.bytes);
        metrics::histogram!("screenline_query_seconds").record(self.started.elapsed().as_secs_f64());
    }
}

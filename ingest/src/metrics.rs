//! What operators see of this service. Counted per batch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use processor::{model::Time, process::Processed, store::Written};

use crate::{core::Limits, gate::Gate};

pub fn describe() {
    describe_counter!("screenline_messages_received_total", "Messages committed, whatever became of them");
    describe_counter!("screenline_messages_accepted_total", "Messages of which a reading was used");
    describe_counter!("screenline_messages_rejected_total", "Messages of which nothing could be used");
    describe_counter!("screenline_messages_ignored_total", "Messages without a reading");
    describe_counter!("screenline_messages_repeated_total", "Messages committed before, or rejected before");
    describe_counter!(
        "screenline_numbers_reused_total",
        "Numbers of publishers that came again with another payload"
    );
    describe_counter!(
        "screenline_rejections_unkept_total",
        "Rejections counted and not kept: too many of their source"
    );
    describe_counter!("screenline_readings_decoded_total", "Readings and events found in messages");
    describe_counter!("screenline_readings_stored_total", "Readings and events stored");
    describe_counter!("screenline_readings_duplicate_total", "Readings and events that were there already");
    describe_counter!("screenline_readings_conflict_total", "Other values for a key that was there already");
    describe_counter!("screenline_readings_rejected_total", "Readings and events refused");
    describe_counter!("screenline_readings_late_total", "Readings and events stored, and late");
    describe_counter!(
        "screenline_readings_quarantined_total",
        "Readings and events stored, of sensors that wait to be adopted"
    );
    describe_counter!("screenline_events_stored_total", "Events stored");
    describe_counter!("screenline_rejections_total", "Rejections by reason");
    describe_counter!("screenline_batches_total", "Batches committed, by path");
    describe_counter!("screenline_write_failures_total", "Batches that failed and were tried again");
    describe_counter!("screenline_broker_connections_lost_total", "Connections to the broker that ended");
    describe_counter!(
        "screenline_broker_sessions_lost_total",
        "Connections on which the broker had forgotten our session"
    );
    describe_counter!(
        "screenline_messages_shed_total",
        "Messages of QoS 0 dropped unread because the budget was nearly spent"
    );
    describe_counter!(
        "screenline_partitions_ensured_total",
        "Days of a table looked for, and made where missing"
    );
    describe_counter!("screenline_rollups_written_total", "Rollup rows written");
    describe_counter!(
        "screenline_rollups_formed_total",
        "Rollups of five minutes made as their readings were committed, without reading them"
    );
    describe_counter!("screenline_roller_rows_read_total", "Rows read to make rollups");
    describe_counter!(
        "screenline_roller_failures_total",
        "Steps of the roller that failed and were tried again"
    );
    describe_counter!("screenline_audit_buckets_total", "Rollups that the auditor computed again, by level");
    describe_counter!(
        "screenline_audit_mismatches_total",
        "Rollups, or hours of the ledger, that are not what they should be: must stay 0"
    );
    describe_counter!("screenline_retention_days_dropped_total", "Days of readings and events dropped whole");
    describe_counter!(
        "screenline_retention_rows_deleted_total",
        "Rows deleted as older than they are kept, by class"
    );
    describe_counter!(
        "screenline_retention_failures_total",
        "Steps of retention that failed and were tried again"
    );
    describe_gauge!(
        "screenline_raw_floor_timestamp_seconds",
        "Readings and events before this time were dropped, and are refused; absent where none were"
    );
    describe_gauge!(
        "screenline_forming_states",
        "States of buckets that are being filled, of at most 100,000"
    );
    describe_gauge!("screenline_dirty_marks", "Buckets whose rollup is not yet true, open ones included");
    describe_gauge!("screenline_unacknowledged_messages", "Messages received and not yet acknowledged");
    describe_gauge!("screenline_unacknowledged_bytes", "Bytes of the budget in use");
    describe_gauge!(
        "screenline_unacknowledged_bytes_limit",
        "The budget: when it is spent the socket is not read"
    );
    describe_gauge!("screenline_queued_messages", "Messages received and not yet in a batch");
    describe_gauge!("screenline_batches_in_flight", "Batches being decoded or written");
    describe_gauge!("screenline_batches_in_flight_limit", "Batches that may be decoded or written at once");
    describe_gauge!(
        "screenline_quarantined_sensors",
        "Sensors that nobody announced, until they are adopted"
    );
    describe_gauge!("screenline_sources_cached", "Publishers that number their messages, as remembered here");
    describe_gauge!("screenline_sources_cached_limit", "Publishers that may be remembered here");
    describe_counter!("screenline_positions_published_total", "Messages sent below screenline/ack");
    describe_counter!(
        "screenline_requests_published_total",
        "Requests to senders, such as for a Sparkplug birth"
    );
    describe_counter!(
        "screenline_values_unlisted_total",
        "Values left out because no lookup of the mapping lists their code"
    );
    describe_counter!("screenline_mapping_changes_total", "Changed mappings taken while running");
    describe_gauge!(
        "screenline_mapping_refused",
        "1 while the mapping on disk is not the one in use, because it is wrong"
    );
    describe_gauge!(
        "screenline_senders_remembered",
        "Senders of whom something is remembered between messages"
    );
    describe_gauge!("screenline_senders_remembered_limit", "Senders that may be remembered");
    describe_gauge!("screenline_decoded_readings", "Readings and events decoded and not yet written");
    describe_gauge!("screenline_ingest_lag_seconds", "Age of the oldest message being written");
    describe_histogram!(
        "screenline_commit_age_seconds",
        "Age of a batch's first message at its acknowledgement"
    );
    describe_histogram!("screenline_decode_seconds", "Time to decode a batch");
    describe_histogram!("screenline_write_seconds", "Time to write a batch, retries included");
    describe_histogram!("screenline_roll_seconds", "Time of a step of the roller");
}

pub fn count(written: &Written, processed: &Processed) {
    let counts = &written.counts;
    let add = |name: &'static str, n: i64| counter!(name).increment(n.unsigned_abs());
    add("screenline_messages_received_total", counts.received);
    add("screenline_messages_accepted_total", counts.accepted);
    add("screenline_messages_rejected_total", counts.rejected_messages);
    add("screenline_messages_ignored_total", counts.ignored);
    add("screenline_messages_repeated_total", counts.repeated);
    add("screenline_numbers_reused_total", counts.reused);
    add("screenline_rejections_unkept_total", counts.unkept);
    add("screenline_readings_decoded_total", counts.decoded);
    add("screenline_readings_stored_total", counts.stored);
    add("screenline_readings_duplicate_total", counts.duplicate);
    add("screenline_readings_conflict_total", counts.conflict);
    add("screenline_readings_rejected_total", counts.rejected);
    add("screenline_readings_late_total", counts.late);
    add("screenline_readings_quarantined_total", counts.quarantined);
    add("screenline_events_stored_total", written.events);
    let unlisted: u64 = processed.fates.iter().map(|fate| u64::from(fate.unlisted)).sum();
    counter!("screenline_values_unlisted_total").increment(unlisted);
    let path = if written.looked_up { "looked_up" } else { "direct" };
    counter!("screenline_batches_total", "path" => path).increment(1);
    for rejection in &processed.rejections {
        counter!("screenline_rejections_total", "reason" => rejection.reason.as_str()).increment(1);
    }
}

/// What is sampled, not counted.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Readings and events decoded and not yet written.
    decoded: AtomicUsize,
    /// Receipt of the oldest message being written, in microseconds; 0 while nothing is.
    oldest: AtomicI64,
}

impl Gauges {
    /// A batch is decoded; says how many readings and events are in it.
    pub fn decoded(&self, processed: &Processed) -> usize {
        let readings = processed.readings.len() + processed.events.len();
        self.decoded.fetch_add(readings, Relaxed);
        readings
    }

    pub fn writing(&self, oldest: Option<Time>) {
        self.oldest.store(oldest.map_or(0, Time::micros), Relaxed);
    }

    pub fn written(&self, readings: usize) {
        self.decoded.fetch_sub(readings, Relaxed);
        self.writing(None);
    }
}

/// Publishes the gauges, for ever.
pub async fn observe(gauges: Arc<Gauges>, gate: Arc<Gate>) {
    let limits = Limits::default();
    gauge!("screenline_unacknowledged_bytes_limit").set(limits.budget_bytes as f64);
    gauge!("screenline_batches_in_flight_limit").set(limits.batches as f64);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        let held = gate.held();
        gauge!("screenline_unacknowledged_messages").set(held.messages as f64);
        gauge!("screenline_unacknowledged_bytes").set(held.bytes as f64);
        gauge!("screenline_queued_messages").set(held.queued as f64);
        gauge!("screenline_batches_in_flight").set(held.batches as f64);
        counter!("screenline_messages_shed_total").absolute(held.shed);
        gauge!("screenline_decoded_readings").set(gauges.decoded.load(Relaxed) as f64);
        let lag = match gauges.oldest.load(Relaxed) {
            0 => 0,
            oldest => Time::from(Timestamp::now()).micros() - oldest,
        };
        gauge!("screenline_ingest_lag_seconds").set(lag.max(0) as f64 / 1e6);
    }
}

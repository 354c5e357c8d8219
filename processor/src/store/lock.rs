//! What the city takes in changes under one lock: writers share it, retention and erasure hold it alone. So a batch that
//! was decoded before a floor moved cannot be stored after.

/// "screenci" in ASCII.
const CITY: i64 = 0x7363_7265_656e_6369;

/// Begins a transaction that adds readings. What it asks after this is what the last change left.
pub(super) fn begin_shared() -> String {
    format!("BEGIN; SELECT pg_advisory_xact_lock_shared({CITY})")
}

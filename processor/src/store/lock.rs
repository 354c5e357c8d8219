//! What the city takes in changes under one lock: writers share it, retention and erasure hold it alone. So a batch that
//! was decoded before a floor moved cannot be stored after.

/// Held by who makes rollups, or deletes what they are made of: "screenro" in ASCII.
pub(crate) const ROLLER: i64 = 0x7363_7265_656e_726f;
/// "screenci" in ASCII.
const CITY: i64 = 0x7363_7265_656e_6369;

/// Begins a transaction that adds readings. What it asks after this is what the last change left.
pub(super) fn begin_shared() -> String {
    format!("BEGIN; SELECT pg_advisory_xact_lock_shared({CITY})")
}

/// Begins a transaction beside which nobody rolls. It gives up before others notice that they wait for it.
pub(crate) fn begin_unrolled() -> String {
    format!("BEGIN; SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock({ROLLER})")
}

/// Begins a transaction beside which nobody rolls and no batch is at work.
pub(crate) fn begin_alone() -> String {
    format!("{}; {}", begin_unrolled(), alone())
}

/// Waits, in a transaction beside which nobody rolls, until no batch is at work.
pub(crate) fn alone() -> String {
    format!("SELECT pg_advisory_xact_lock({CITY})")
}

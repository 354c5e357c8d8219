//! Detector stations as PeMS exports them, in the whole numbers and the local time of California: samples of half a minute
//! (`pems-30s`) and flows of five minutes (`pems-5min`).

pub(super) mod flows;
pub(super) mod samples;

const ZONE: &str = "America/Los_Angeles";

//! What a process holds: memory, files, connections. Bounded, whatever happened to it (I8).

use std::fs;

use anyhow::Context;
use simulators::oracle::Finding;
use tokio_postgres::Client;

/// What ingest may take at its highest.
pub const MEMORY_MAX_MIB: u64 = 512;
/// Sockets, epoll, logs, and the standard streams of a service at rest: a leak of one a batch is soon beyond.
const FILES_MAX: usize = 64;
/// Writer, roller, registry and what looks at them; query's pool beside.
const CONNECTIONS_MAX: i64 = 40;

/// The highest resident memory of a process so far, in MiB.
///
/// # Errors
/// It has ended.
pub fn memory_peak_mib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM in kB")?;
    Ok(kib >> 10)
}

/// I8 of a running ingest.
///
/// # Errors
/// It has ended, or the database does not answer.
pub async fn finding(database: &Client, ingest: u32) -> anyhow::Result<Finding> {
    let memory = memory_peak_mib(ingest)?;
    let files = fs::read_dir(format!("/proc/{ingest}/fd")).context("count a process's files")?.count();
    let query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let connections: i64 = database.query_one(query, &[]).await?.get(0);
    Ok(Finding::new(
        "I8",
        "memory, files and connections stay bounded",
        memory <= MEMORY_MAX_MIB && files <= FILES_MAX && connections <= CONNECTIONS_MAX,
        format!("{memory} MiB of {MEMORY_MAX_MIB} at the highest, {files} files, {connections} connections"),
    ))
}

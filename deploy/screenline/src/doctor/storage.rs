//! The storage level: of a database that was given, or the one a private cluster would get.

use std::path::Path;

use jiff::Timestamp;
use processor::store;
use tokio::time::Instant;

use super::{CLOCK_APART_S_MAX, Check};
use crate::supervisor::binaries::Binaries;

/// What a private cluster would get. TimescaleDB tells its edition only when it runs.
pub fn private(pg_bin: Option<&Path>) -> Check {
    match Binaries::find(pg_bin) {
        Ok(Binaries { timescaledb: Some(library), .. }) => {
            let community =
                std::fs::read_dir(library.parent().unwrap_or(Path::new("/"))).is_ok_and(|entries| {
                    entries
                        .flatten()
                        .any(|entry| entry.file_name().to_string_lossy().starts_with("timescaledb-tsl-"))
                });
            let level = if community { "timescale" } else { "timescale-apache" };
            Check::fine("storage level", format!("{level} (of a new private database)"))
        }
        Ok(_) => Check::fine("storage level", "plain (of a new private database)"),
        Err(_) => Check::fine("storage level", "unknown without PostgreSQL"),
    }
}

/// Connects and asks.
pub async fn given(url: &str) -> Vec<Check> {
    match ask(url).await {
        Ok(checks) => checks,
        Err(error) => vec![Check::wrong(
            "database",
            "no answer",
            error,
            "check --database-url, that the server runs, and that the role may connect (pg_hba.conf)",
        )],
    }
}

async fn ask(url: &str) -> Result<Vec<Check>, String> {
    let explain = |error: tokio_postgres::Error| {
        error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
    };
    let client = store::connect(url, "screenline doctor").await.map_err(|error| error.to_string())?;
    let asked = Instant::now();
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::int4, \
               extract(epoch FROM clock_timestamp())::float8, \
               (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), \
               (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'), \
               current_setting('timescaledb.license', true), \
               current_setting('fsync'), \
               has_database_privilege(current_database(), 'CREATE')";
    let row = client.query_one(sql, &[]).await.map_err(explain)?;
    let (version, number): (String, i32) = (row.get(0), row.get(1));
    let mut checks = vec![match number < 150_000 {
        true => {
            Check::wrong("database", &version, "it is older than PostgreSQL 15", "use PostgreSQL 15 or later")
        }
        false => Check::fine("database", format!("PostgreSQL {version}")),
    }];
    let (installed, available): (Option<String>, Option<String>) = (row.get(3), row.get(4));
    let license: Option<String> = row.get(5);
    checks.push(Check::fine(
        "storage level",
        match (&installed, &available, license.as_deref()) {
            (Some(version), _, Some("timescale")) => format!("timescale (TimescaleDB {version})"),
            (Some(version), ..) => format!("timescale-apache (TimescaleDB {version})"),
            (None, Some(version), _) => format!("plain (TimescaleDB {version} could be installed)"),
            (None, None, _) => "plain".into(),
        },
    ));
    // Half the way there and back lies between their reading and ours.
    let apart = Timestamp::now().as_millisecond() as f64 / 1e3
        - row.get::<_, f64>(2)
        - asked.elapsed().as_secs_f64() / 2.0;
    let found = format!("{:.3} s from ours", apart.abs());
    checks.push(match CLOCK_APART_S_MAX < apart.abs() {
        true => {
            Check::wrong("clock of the database", found, "more than 2 s apart", "keep both clocks by NTP")
        }
        false => Check::fine("clock of the database", found),
    });
    if row.get::<_, String>(6) != "on" {
        checks.push(Check::wrong(
            "durability of the database",
            "fsync = off",
            "a crash of the machine loses acknowledged readings",
            "set fsync = on",
        ));
    }
    if !row.get::<_, bool>(7) {
        checks.push(Check::wrong(
            "rights in the database",
            "no CREATE",
            "the role may not create tables",
            "make the role the database's owner",
        ));
    }
    Ok(checks)
}

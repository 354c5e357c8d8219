use std::{fmt, str::FromStr};

use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_postgres::Client;
use tracing::info;

use super::StoreError;

/// What the database under the tables can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Native range partitions.
    Plain,
    /// Hypertables, from Debian's Apache-licensed TimescaleDB.
    TimescaleApache,
    /// Hypertables, and the columnstore of the community licence.
    Timescale,
}

/// What the operator wants under the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StorageChoice {
    /// TimescaleDB where the server has it.
    #[default]
    Auto,
    Plain,
    /// An error where the server does not have it.
    Timescale,
}

struct Migration {
    number: i32,
    name: &'static str,
    common: &'static str,
    plain: &'static str,
    timescale: &'static str,
}

const MIGRATIONS: [Migration; 10] = [
    Migration {
        number: 1,
        name: "street",
        common: include_str!("../../../deploy/sql/0001_street.sql"),
        plain: include_str!("../../../deploy/sql/0001_street.plain.sql"),
        timescale: include_str!("../../../deploy/sql/0001_street.timescale.sql"),
    },
    Migration {
        number: 2,
        name: "contract",
        common: include_str!("../../../deploy/sql/0002_contract.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 3,
        name: "retention",
        common: include_str!("../../../deploy/sql/0003_retention.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 4,
        name: "formats",
        common: include_str!("../../../deploy/sql/0004_formats.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 5,
        name: "registry",
        common: include_str!("../../../deploy/sql/0005_registry.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 6,
        name: "measures",
        common: include_str!("../../../deploy/sql/0006_measures.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 7,
        name: "revision",
        common: include_str!("../../../deploy/sql/0007_revision.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 8,
        name: "plausible",
        common: include_str!("../../../deploy/sql/0008_plausible.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 9,
        name: "news",
        common: include_str!("../../../deploy/sql/0009_news.sql"),
        plain: "",
        timescale: "",
    },
    Migration {
        number: 10,
        name: "passages",
        common: include_str!("../../../deploy/sql/0010_passages.sql"),
        plain: "",
        timescale: "",
    },
];

/// The version of the tables that this program reads and writes.
pub(super) const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].number;

/// Any number will do, as long as nobody else in this database locks the same: "screenli" in ASCII.
const MIGRATION_LOCK: i64 = 0x7363_7265_656e_6c69;

/// Brings the tables to this version, each migration in a transaction, one process at a time. The level and the
/// time zone are chosen by the first call on a database and stay.
///
/// # Errors
/// The database is newer than this program, speaks of another time zone, lacks what `want` asks for, or fails.
pub async fn migrate(client: &mut Client, want: StorageChoice, time_zone: &str) -> Result<Level, StoreError> {
    if TimeZone::get(time_zone).is_err() {
        return Err(StoreError::Unfit(format!(
            "{time_zone:?} is no IANA time zone, such as Europe/Helsinki"
        )));
    }
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let migrated = migrate_locked(client, want, time_zone).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    migrated
}

async fn migrate_locked(
    client: &mut Client,
    want: StorageChoice,
    time_zone: &str,
) -> Result<Level, StoreError> {
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS migration (
                 number int4 PRIMARY KEY,
                 name   text NOT NULL,
                 level  text NOT NULL,
                 sha256 text NOT NULL,
                 at     timestamptz NOT NULL DEFAULT now()
             )",
        )
        .await?;
    let done = client.query("SELECT number, level, sha256 FROM migration ORDER BY number", &[]).await?;
    let level = match done.first() {
        Some(row) => {
            let level: Level = row.get::<_, &str>(1).parse().map_err(StoreError::Unfit)?;
            check_choice(want, level)?
        }
        None => choose(client, want).await?,
    };
    if let Some(newer) = done.iter().map(|row| row.get::<_, i32>(0)).find(|n| VERSION < *n) {
        let message =
            format!("the database has migration {newer}, this program knows {VERSION}: run a newer one");
        return Err(StoreError::Unfit(message));
    }
    for migration in &MIGRATIONS {
        let sql = [migration.common, migration.for_level(level)].concat();
        let sha256 = checksum(&sql);
        if let Some(row) = done.iter().find(|row| row.get::<_, i32>(0) == migration.number) {
            if row.get::<_, &str>(2) != sha256 {
                let message = format!(
                    "migration {} was changed after it ran on this database: restore deploy/sql, or start a new database",
                    migration.number
                );
                return Err(StoreError::Unfit(message));
            }
            continue;
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(&sql).await?;
        let level_name = level.to_string();
        transaction
            .execute(
                "INSERT INTO migration (number, name, level, sha256) VALUES ($1, $2, $3, $4)",
                &[&migration.number, &migration.name, &level_name, &sha256],
            )
            .await?;
        transaction.commit().await?;
        info!(migration.number, migration.name, %level, "migrated");
    }
    client.execute("INSERT INTO city (time_zone) VALUES ($1) ON CONFLICT DO NOTHING", &[&time_zone]).await?;
    let stored: String = client.query_one("SELECT time_zone FROM city", &[]).await?.get(0);
    if stored != time_zone {
        return Err(StoreError::Unfit(format!(
            "the days of this database are cut by {stored}, not by {time_zone}: start with --time-zone {stored}, or with a new database"
        )));
    }
    Ok(level)
}

impl Migration {
    fn for_level(&self, level: Level) -> &'static str {
        match level {
            Level::Plain => self.plain,
            Level::TimescaleApache | Level::Timescale => self.timescale,
        }
    }
}

fn checksum(sql: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_choice(want: StorageChoice, level: Level) -> Result<Level, StoreError> {
    let fits = match want {
        StorageChoice::Auto => true,
        StorageChoice::Plain => level == Level::Plain,
        StorageChoice::Timescale => level != Level::Plain,
    };
    let message = || {
        StoreError::Unfit(format!(
            "this database was made at the storage level {level}, which stays: start with --storage auto, or with a new database"
        ))
    };
    if fits { Ok(level) } else { Err(message()) }
}

async fn choose(client: &Client, want: StorageChoice) -> Result<Level, StoreError> {
    if want == StorageChoice::Plain {
        return Ok(Level::Plain);
    }
    let missing = match available_level(client).await? {
        Level::Plain => "this server does not preload TimescaleDB".to_owned(),
        // Only now does the session know under which licence the extension was built.
        _ => match client.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await {
            Ok(()) => return available_level(client).await,
            Err(error) => format!("TimescaleDB cannot be loaded here: {}", StoreError::from(error)),
        },
    };
    match want {
        StorageChoice::Timescale => Err(StoreError::Unfit(format!(
            "--storage timescale, but {missing}: install it and put it into shared_preload_libraries, or start with --storage auto"
        ))),
        _ => {
            info!(reason = missing, "storing in plain PostgreSQL");
            Ok(Level::Plain)
        }
    }
}

/// The best level that this server offers: TimescaleDB must be installed and preloaded, which its settings show; the
/// list of preloaded libraries itself is hidden from ordinary roles. The licence is known once the extension was
/// created, and is read from `pg_settings`, because SET of an unknown setting succeeds silently.
///
/// # Errors
/// The server cannot be asked.
pub async fn available_level(client: &Client) -> Result<Level, StoreError> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'),
                    EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.disable_load'),
                    (SELECT setting FROM pg_settings WHERE name = 'timescaledb.license')",
            &[],
        )
        .await?;
    Ok(match (row.get(0), row.get(1), row.get(2)) {
        (true, true, Some("timescale")) => Level::Timescale,
        (true, true, _) => Level::TimescaleApache,
        (false, _, _) | (_, false, _) => Level::Plain,
    })
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Plain => "plain",
            Level::TimescaleApache => "timescale-apache",
            Level::Timescale => "timescale",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Level::Plain, Level::TimescaleApache, Level::Timescale]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no storage level"))
    }
}

impl FromStr for StorageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(StorageChoice::Auto),
            "plain" => Ok(StorageChoice::Plain),
            "timescale" => Ok(StorageChoice::Timescale),
            other => Err(format!("{other:?} is none of auto, plain, timescale")),
        }
    }
}

impl fmt::Display for StorageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StorageChoice::Auto => "auto",
            StorageChoice::Plain => "plain",
            StorageChoice::Timescale => "timescale",
        })
    }
}

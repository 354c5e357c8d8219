//! Where a command finds the tables.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use jiff::tz::TimeZone;
use processor::{
    registry::{Admission, Registry},
    store::{self, City, StorageChoice},
};
use tokio_postgres::Client;

use crate::{
    signals,
    supervisor::{
        binaries::Binaries,
        data_folder::{self, DataFolder, DataFolderError},
        postgres::{self, Postgres},
    },
};

/// A database that was given, or the private one of a data folder, whether its city runs or not.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The data folder whose private database is meant [default: as `up`]
    #[arg(long, env = "SCREENLINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Another database than a private one: postgres://user@host/name
    #[arg(long, env = "SCREENLINE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Folder of the PostgreSQL programs, for a private database that does not run
    #[arg(long, env = "SCREENLINE_PG_BIN", value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Does some work with the database at a URL, until a signal ends it. A private database that does not run is
    /// started before and stopped after.
    ///
    /// # Errors
    /// There is no such database, it cannot be started, or the work fails or is interrupted.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&str) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let shutdown = signals::shutdown()?;
        let (url, started) = tokio::select! {
            found = self.find() => found?,
            () = shutdown.cancelled() => bail!("interrupted"),
        };
        let outcome = tokio::select! {
            outcome = work(&url) => outcome,
            () = shutdown.cancelled() => Err(anyhow::anyhow!("interrupted")),
        };
        if let Some((postgres, folder)) = started {
            postgres.keeper.stop().await;
            drop(folder); // its lock was held until here
        }
        outcome
    }

    async fn find(&self) -> anyhow::Result<(String, Option<(Postgres, DataFolder)>)> {
        if let Some(url) = &self.database_url {
            return Ok((url.clone(), None));
        }
        let data = self.data.clone().unwrap_or_else(data_folder::default_path);
        ensure!(
            has_cluster(&data),
            "there is no private database in {}: give the folder that `screenline up` has with --data, or a database \
             with --database-url",
            data.display()
        );
        match DataFolder::open(&data) {
            Ok(mut folder) => {
                let binaries = Binaries::find(self.pg_bin.as_deref())?;
                let postgres = postgres::start(&mut folder, &binaries, StorageChoice::Auto).await?;
                Ok((postgres.url.clone(), Some((postgres, folder))))
            }
            Err(DataFolderError::InUse(folder)) => match postgres::running(&folder.join("postgres")) {
                Some(url) => Ok((url, None)),
                None => bail!(
                    "{} is in use, but its database does not run: is its city starting or stopping?",
                    folder.display()
                ),
            },
            Err(error) => Err(error).context("open the data folder"),
        }
    }
}

/// An open database, what its registry knows, and the clocks of its city.
pub struct Tables {
    pub client: Client,
    pub registry: Arc<RwLock<Registry>>,
    pub zone: TimeZone,
}

impl Tables {
    /// `name` is what the database calls us.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(url: &str, name: &str) -> anyhow::Result<Tables> {
        let client = store::connect(url, name).await.context("connect to the database")?;
        let zone = City::read(&client).await?.time_zone;
        let registry = Arc::new(RwLock::new(Registry::new(Admission::Closed)));
        Registry::refresh(&registry, &client).await?;
        Ok(Tables { client, registry, zone })
    }
}

/// Looked at only: opening an empty folder would mark it.
fn has_cluster(data: &Path) -> bool {
    data.join("screenline.json").is_file() && data.join("postgres").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_without_a_database_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let args = DatabaseArgs { data: Some(folder.path().to_owned()), database_url: None, pg_bin: None };
        let error = args.find().await.unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()) && error.contains("--data"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

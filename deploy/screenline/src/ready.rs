//! The ready file: where a running city, or one of its services, can be reached.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What `--ready-file` holds, as JSON. It appears once everything is ready, in one step, and goes away at the end.
///
/// A single service writes the keys that it knows. `pids` names the running children (`ingest`, `query`,
/// `postgres`, `mosquitto`); the file is replaced when one of them is restarted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `mqtt://HOST:PORT`, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<String>,
    /// `grpc://HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flight: Option<String>,
    /// `http://HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `http://HOST:PORT/metrics`; `/healthz` and `/readyz` are on the same port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// A `postgres://` address for psql and every other client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// `plain`, `timescale-apache` or `timescale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Process ids of the children, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pids: BTreeMap<String, u32>,
}

impl Ready {
    /// Reads a ready file; `None` while there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is not a ready file.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(path) {
            Ok(json) => {
                Ok(Some(serde_json::from_slice(&json).with_context(|| format!("read {}", path.display()))?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Writes the file beside its place and renames it: a reader sees all of it or nothing.
    ///
    /// # Errors
    /// The folder of `path` does not exist or cannot be written to.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        replace(path, &json).with_context(|| format!("write the ready file {}", path.display()))
    }
}

/// A ready file that is removed when its process ends in order.
#[derive(Debug)]
pub struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes what an earlier run left, so that nobody takes it for ours.
    ///
    /// # Errors
    /// A file is there and cannot be removed.
    pub fn prepare(path: PathBuf) -> anyhow::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove the old ready file {}", path.display()))
            }
            _ => Ok(Self(path)),
        }
    }

    /// Says that everything is ready.
    ///
    /// # Errors
    /// As [`Ready::write`].
    pub fn announce(&self, ready: &Ready) -> anyhow::Result<()> {
        ready.write(&self.0)
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = fs::remove_file(&self.0);
    }
}

/// Replaces a file in one step: write beside, then rename.
///
/// # Errors
/// The folder does not exist or cannot be written to.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    fs::write(&beside, content)?;
    fs::rename(&beside, path).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_says_what_was_written_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        assert_eq!(Ready::read(&path).unwrap(), None);
        let ready = Ready {
            flight: Some("grpc://127.0.0.1:8815".into()),
            pids: BTreeMap::from([("query".into(), 7)]),
            ..Ready::default()
        };
        let file = ReadyFile::prepare(path.clone()).unwrap();
        file.announce(&ready).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json, serde_json::json!({"flight": "grpc://127.0.0.1:8815", "pids": {"query": 7}}));
        assert_eq!(Ready::read(&path).unwrap(), Some(ready));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_ready_file_of_an_earlier_run_is_removed_and_ours_goes_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        Ready::default().write(&path).unwrap();
        let file = ReadyFile::prepare(path.clone()).unwrap();
        assert!(!path.exists());
        file.announce(&Ready::default()).unwrap();
        drop(file);
        assert!(!path.exists());
    }
}

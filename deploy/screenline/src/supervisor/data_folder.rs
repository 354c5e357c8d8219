//! The data folder: ours alone, marked as such, and used by one launcher at a time.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};
use serde::{Deserialize, Serialize};

use crate::ready::replace;

const MARKER: &str = "screenline.json";
const LOCK: &str = "lock";

/// A folder that we made, or may use because it was empty. Held until dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    marker: Marker,
    _lock: Flock<File>,
}

/// What `screenline.json` says: that the folder is ours, and what is inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    created_by: String,
    version: String,
    /// Major version of the cluster in `postgres/`, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres_major: Option<u32>,
    /// Whether the cluster's tables need the TimescaleDB library to be read.
    #[serde(default)]
    pub timescaledb: bool,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    #[error(
        "{0} is not empty and was not made by screenline, so it is left alone: give an empty or a new folder with --data"
    )]
    NotOurs(PathBuf),
    #[error(
        "{0} is in use by another screenline: stop that one, or give another folder with --data (and other ports)"
    )]
    InUse(PathBuf),
    #[error("{path}: {error}: give a folder that can be written to with --data")]
    Unusable { path: PathBuf, error: io::Error },
    #[error(
        "{0} does not read as screenline's marker: if the folder is screenline's, restore the file from a backup"
    )]
    BadMarker(PathBuf),
}

impl DataFolder {
    /// Makes the folder or takes one of ours, and locks it.
    ///
    /// # Errors
    /// The folder is somebody else's, in use, or cannot be written to.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |error| DataFolderError::Unusable { path: path.to_owned(), error };
        // Others may pass: the database and the broker run under users of their own, each in a closed folder.
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let marker = read_marker(&path)?;
        if marker.is_none() && !is_fresh(&path).map_err(unusable)? {
            return Err(DataFolderError::NotOurs(path));
        }
        let lock = lock(&path)?;
        // Again, because another one may have held the lock and written it since.
        let marker = match read_marker(&path)? {
            Some(marker) => marker,
            None => Marker {
                created_by: "screenline".into(),
                version: env!("CARGO_PKG_VERSION").into(),
                postgres_major: None,
                timescaledb: false,
            },
        };
        let folder = Self { path, marker, _lock: lock };
        folder.write_marker().map_err(unusable)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder.path.join("log"))
            .map_err(unusable)?;
        Ok(folder)
    }

    /// The folder, absolute and without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the folder's content.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Notes something about the folder's content, durably.
    ///
    /// # Errors
    /// The marker cannot be written.
    pub fn note(&mut self, change: impl FnOnce(&mut Marker)) -> Result<(), DataFolderError> {
        change(&mut self.marker);
        self.write_marker().map_err(|error| DataFolderError::Unusable { path: self.path.clone(), error })
    }

    /// A log file in the folder.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("log").join(name)
    }

    fn write_marker(&self) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(&self.marker)?;
        replace(&self.path.join(MARKER), &json)
    }
}

/// `/var/lib/screenline` as root, else the user's state folder. A folder below root's home would be out of reach for
/// the user `postgres`.
pub fn default_path() -> PathBuf {
    if geteuid().is_root() {
        return "/var/lib/screenline".into();
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("/tmp"))
        .join("screenline")
}

/// Nothing inside but what file systems, and we before the marker, put there.
fn is_fresh(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if ![OsStr::new(LOCK), OsStr::new("lost+found")].contains(&name.as_os_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_marker(path: &Path) -> Result<Option<Marker>, DataFolderError> {
    let file = path.join(MARKER);
    match fs::read(&file) {
        Ok(json) => match serde_json::from_slice::<Marker>(&json) {
            Ok(marker) if marker.created_by == "screenline" => Ok(Some(marker)),
            _ => Err(DataFolderError::BadMarker(file)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataFolderError::Unusable { path: file, error }),
    }
}

/// The kernel drops the lock with the process, however it ends.
fn lock(path: &Path) -> Result<Flock<File>, DataFolderError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))
        .map_err(|error| DataFolderError::Unusable { path: path.to_owned(), error })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| DataFolderError::InUse(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_we_did_not_make_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(DataFolderError::NotOurs(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_used_by_one_launcher_at_a_time_and_found_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/city");
        let mut first = DataFolder::open(&path).unwrap();
        first.note(|marker| marker.postgres_major = Some(17)).unwrap();
        assert!(matches!(DataFolder::open(&path), Err(DataFolderError::InUse(_))));
        drop(first);
        assert_eq!(DataFolder::open(&path).unwrap().marker().postgres_major, Some(17));
    }

    #[test]
    fn a_damaged_marker_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARKER), "{}").unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(DataFolderError::BadMarker(_))));
        assert_eq!(fs::read_to_string(folder.path().join(MARKER)).unwrap(), "{}");
    }
}

//! Where PostgreSQL's and mosquitto's programs are, and what they can do.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// `int8multirange` and `NULLS NOT DISTINCT` need it.
const POSTGRES_MAJOR_MIN: u32 = 15;

/// A PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// Has `postgres` and `initdb`.
    pub dir: PathBuf,
    /// As the server prints it: `17.6`.
    pub version: String,
    pub major: u32,
    /// The loader library of TimescaleDB for this installation.
    pub timescaledb: Option<PathBuf>,
    /// Whether it can compress its log by lz4.
    pub lz4: bool,
}

impl Binaries {
    /// The given folder; else the prefix of `deploy/setup`, else Debian's highest version, else what PATH has.
    ///
    /// # Errors
    /// There is none, or it is older than PostgreSQL 15.
    pub fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        let found = match given {
            Some(dir) => Self::look(dir).with_context(|| format!("use --pg-bin {}", dir.display()))?,
            None => match Self::all().into_iter().next() {
                Some(found) => found,
                None => bail!(
                    "PostgreSQL was not found: run ./deploy/setup, or install the package postgresql, or give its \
                     folder with --pg-bin, or use a database of your own with --database-url"
                ),
            },
        };
        ensure!(
            POSTGRES_MAJOR_MIN <= found.major,
            "PostgreSQL {} in {} is too old: {POSTGRES_MAJOR_MIN} or later is needed",
            found.version,
            found.dir.display()
        );
        Ok(found)
    }

    /// Every installation in the usual places, best first.
    pub fn all() -> Vec<Self> {
        let mut dirs = vec![PathBuf::from("/opt/screenline/postgresql/bin")];
        let mut debian: Vec<u32> = fs::read_dir("/usr/lib/postgresql")
            .map(|entries| {
                entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
            })
            .unwrap_or_default();
        debian.sort_unstable_by(|a, b| b.cmp(a));
        dirs.extend(debian.iter().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))));
        if let Some(dir) = ask(Path::new("pg_config"), &["--bindir"]) {
            dirs.push(dir.into());
        }
        let mut found: Vec<Self> = Vec::new();
        for dir in dirs {
            if let Ok(binaries) = Self::look(&dir)
                && found.iter().all(|other| other.dir != binaries.dir)
            {
                found.push(binaries);
            }
        }
        found
    }

    fn look(dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("find the folder {}", dir.display()))?;
        for program in ["postgres", "initdb"] {
            ensure!(dir.join(program).exists(), "{} has no `{program}`", dir.display());
        }
        let line = ask(&dir.join("postgres"), &["--version"]).context("run `postgres --version`")?;
        let version = version_in(&line).with_context(|| format!("read the version from {line:?}"))?;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        let major = major.with_context(|| format!("read the version from {line:?}"))?;
        let pg_config = dir.join("pg_config");
        let libraries = [
            dir.parent().map(|prefix| prefix.join("lib")),
            ask(&pg_config, &["--pkglibdir"]).map(Into::into),
        ];
        let timescaledb =
            libraries.into_iter().flatten().map(|lib| lib.join("timescaledb.so")).find(|lib| lib.exists());
        let lz4 = ask(&pg_config, &["--configure"]).is_some_and(|options| options.contains("--with-lz4"));
        Ok(Self { version: version.to_owned(), major, timescaledb, lz4, dir })
    }
}

/// Finds mosquitto, which Debian keeps where users' PATH does not lead.
///
/// # Errors
/// It is not installed.
pub fn mosquitto() -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join("mosquitto"))
        .find(|program| program.is_file())
        .context(
            "mosquitto was not found: run ./deploy/setup, or install the package mosquitto, or use a broker of your \
             own with --broker-url",
        )
}

/// As `mosquitto -h` prints it: `2.0.11`.
pub fn mosquitto_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("-h").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next()?.strip_prefix("mosquitto version ").map(|version| version.trim().to_owned())
}

fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir("/").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn version_in(line: &str) -> Option<&str> {
    line.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_and_without_a_packager_s_name() {
        assert_eq!(version_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some("15.18"));
        assert_eq!(version_in("postgres (PostgreSQL) 17.6"), Some("17.6"));
        assert_eq!(version_in("postgres: command not found"), None);
    }
}

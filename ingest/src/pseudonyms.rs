//! The keys of pseudonyms: a file a day in a folder, shared by all processes that ingest, and destroyed when nobody may
//! match that day's vehicles any more.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use processor::decode::Pseudonyms;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::decoder::Decoder;

const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Days before today whose keys are kept: a gateway may deliver yesterday's passages today.
const DAYS_KEPT: i64 = 1;

/// The keys of the present days, new where there are none; those of earlier days are destroyed.
///
/// # Errors
/// The folder cannot be used.
pub fn load(folder: &Path, now: Timestamp) -> anyhow::Result<Pseudonyms> {
    let about = || format!("keep the keys of pseudonyms in {}", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(about)?;
    let today = Pseudonyms::day(now.into());
    let mut keys = Pseudonyms::default();
    for day in today - DAYS_KEPT..=today + 1 {
        keys.insert(day, key(folder, day).with_context(about)?);
    }
    for entry in fs::read_dir(folder).with_context(about)? {
        let path = entry.with_context(about)?.path();
        let day = path.file_stem().and_then(|name| name.to_str()?.parse::<Date>().ok());
        if day.is_some_and(|day| days(day) < today - DAYS_KEPT) {
            // Overwritten first: what is only unlinked can be found again on some disks.
            let _ = fs::write(&path, [0; 32]);
            fs::remove_file(&path).with_context(about)?;
            info!(key = %path.display(), "the key of a day is destroyed: its pseudonyms cannot be made again");
        }
    }
    Ok(keys)
}

/// Renews the keys until `shutdown`.
pub async fn run(folder: PathBuf, decoder: Decoder, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        match load(&folder, Timestamp::now()) {
            Ok(keys) => decoder.memory_mut().pseudonyms = Arc::new(keys),
            Err(error) => {
                error!(error = format!("{error:#}"), "identifiers are left out until there are keys");
            }
        }
    }
}

fn days(date: Date) -> i64 {
    let midnight = date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    midnight.map_or(i64::MAX, |midnight| Pseudonyms::day(midnight.into()))
}

/// Linked into place as a whole, so that two processes agree on one key.
fn key(folder: &Path, day: i64) -> anyhow::Result<[u8; 32]> {
    let date = Timestamp::from_second(day * 86_400)?.to_zoned(TimeZone::UTC).date();
    let path = folder.join(format!("{date}.key"));
    if !path.exists() {
        let draft = folder.join(format!(".{date}.{}", std::process::id()));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&random()?)?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    let key = fs::read(&path)?;
    key.try_into().map_err(|_| anyhow::anyhow!("{} holds no key of 32 bytes", path.display()))
}

fn random() -> anyhow::Result<[u8; 32]> {
    use std::io::Read;
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut key))
        .context("read /dev/urandom")?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shared_and_destroyed_after_their_day() {
        let folder = std::env::temp_dir().join(format!("screenline-keys-{}", std::process::id()));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let seen = at("2026-03-01T12:00:00Z");
        let first = load(&folder, seen).unwrap();
        let again = load(&folder, at("2026-03-02T23:59:00Z")).unwrap();
        assert_eq!(first.of("B-XY 1", seen.into()), again.of("B-XY 1", seen.into()));
        assert!(first.of("B-XY 1", seen.into()).is_some());
        let later = load(&folder, at("2026-03-03T00:00:00Z")).unwrap();
        assert_eq!(later.of("B-XY 1", seen.into()), None);
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

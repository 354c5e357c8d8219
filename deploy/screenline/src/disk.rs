//! The disk below the data folder: a full one stops the city, so that it is announced while there is time.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use metrics::{describe_gauge, gauge};
use nix::sys::statvfs::statvfs;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// Below this share free there is an alarm.
const LOW: f64 = 0.10;
/// At this share it ends: a disk at the border must not ring with every file that comes and goes.
const ENOUGH: f64 = 0.12;
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An alarm is logged again after so many looks: every ten minutes.
const AGAIN_LOOKS: u32 = 60;

pub const NEXT_STEP: &str =
    "free space, enlarge the disk, or keep less: `screenline retention --dry-run` shows what goes when";

/// What is free of a file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Free {
    pub bytes: u64,
    /// 0 to 1.
    pub ratio: f64,
    /// A folder on it.
    at: PathBuf,
}

/// What is free for a folder, there or not yet.
///
/// # Errors
/// The file system does not say.
pub fn free(folder: &Path) -> std::io::Result<Free> {
    let at = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned();
    let about = statvfs(&at)?;
    // Of what we may use: some of a disk is root's.
    let (available, used) = (about.blocks_available(), about.blocks() - about.blocks_free());
    let ratio = available as f64 / (available + used).max(1) as f64;
    Ok(Free { bytes: available * about.fragment_size(), ratio, at })
}

impl Free {
    pub fn is_low(&self) -> bool {
        self.ratio < LOW
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.bytes as f64 / (1u64 << 30) as f64;
        write!(f, "{gib:.1} GiB ({:.0} %) free for {}", (self.ratio * 100.0).floor(), self.at.display())
    }
}

/// Watches the disk of a private database for as long as the process runs; what comes back says what is wrong with it.
/// The disk of a database that was given by URL is not ours to see.
pub fn watch(folder: Option<PathBuf>) -> watch::Receiver<Option<String>> {
    let (told, degraded) = watch::channel(None);
    let Some(folder) = folder else {
        info!(
            "the free disk space of a database given by URL cannot be seen from here: watch it where it runs"
        );
        return degraded;
    };
    describe_gauge!("screenline_disk_free_ratio", "Free share, 0 to 1, of the disk below the data folder");
    tokio::spawn(async move {
        let (mut low, mut looks) = (false, 0);
        loop {
            match free(&folder) {
                Ok(free) => {
                    gauge!("screenline_disk_free_ratio").set(free.ratio);
                    let before = low;
                    low = alarmed(before, free.ratio);
                    looks = if low == before { looks + 1 } else { 0 };
                    if low && looks % AGAIN_LOOKS == 0 {
                        error!(%free, next_step = NEXT_STEP, "the disk is nearly full: a full one stops the database");
                    }
                    if before && !low {
                        info!(%free, "the disk has space again");
                    }
                    told.send_replace(low.then(|| format!("{free}: {NEXT_STEP}")));
                }
                Err(error) => warn!(%error, folder = %folder.display(), "cannot see the free disk space"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    degraded
}

fn alarmed(before: bool, ratio: f64) -> bool {
    ratio < if before { ENOUGH } else { LOW }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_rings_below_ten_per_cent_and_ends_a_little_above() {
        let alarms: Vec<bool> = [0.5, 0.11, 0.099, 0.101, 0.119, 0.12, 0.11]
            .into_iter()
            .scan(false, |low, ratio| {
                *low = alarmed(*low, ratio);
                Some(*low)
            })
            .collect();
        assert_eq!(alarms, [false, false, true, true, true, false, false]);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_disk_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let free = free(&folder.path().join("not/yet")).unwrap();
        assert_eq!(free.at, folder.path());
        assert!(0.0 < free.ratio && free.ratio <= 1.0);
    }
}

//! Temporary data folders of demos that were killed: their database and broker still run, and nobody would come back.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::geteuid;

use super::{data_folder::DataFolder, mosquitto, postgres};
use crate::console::Console;

/// How temporary data folders begin.
pub const PREFIX: &str = "screenline-demo-";

/// Ends what runs in such folders of ours and removes them. A folder whose launcher lives is locked and stays.
pub async fn remove(console: &Console) {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not followed if it is a link: anyone may put one into the temporary folder.
        let ours = entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == geteuid().as_raw());
        if named_so
            && ours
            && entry.path().join("screenline.json").exists()
            && let Ok(folder) = DataFolder::open(&entry.path())
        {
            console.line(&format!("Removing {}, left by a demo that was killed", entry.path().display()));
            if let Err(error) = end(folder.path()).await {
                console.line(&format!("  cannot: {error:#}"));
            }
        }
    }
}

async fn end(folder: &Path) -> anyhow::Result<()> {
    mosquitto::end_earlier(folder).await?;
    postgres::end_earlier(&folder.join("postgres")).await?;
    fs::remove_dir_all(folder)?;
    Ok(())
}

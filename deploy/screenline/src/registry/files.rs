//! The files of an import, and what their columns mean.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use processor::registry::{Columns, FILE_BYTES_MAX, File, Table};

#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// CSV with a header, or GeoJSON
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What they hold [default: what their columns or shapes say]
    #[arg(long = "as", value_name = "TABLE", conflicts_with = "columns")]
    table: Option<Table>,
    /// Which column is which field, in TOML: one of deploy/registry, or your own
    #[arg(long, value_name = "FILE", conflicts_with = "map")]
    columns: Option<PathBuf>,
    /// Which column is which field of the table that --as names: id=REPORT_ID,length_m=DISTANCE
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',', requires = "table")]
    map: Vec<String>,
}

impl FilesArgs {
    /// # Errors
    /// A file cannot be read, is larger than an import takes, or maps columns to what is no field.
    pub fn read(&self) -> anyhow::Result<Vec<File>> {
        let columns = match (&self.columns, self.table) {
            (Some(path), _) => {
                let name = path.display();
                let text = fs::read_to_string(path).with_context(|| format!("read {name}"))?;
                Some(Columns::parse(&text).map_err(|wrong| anyhow::anyhow!("{name}: {wrong}"))?)
            }
            (None, Some(table)) if !self.map.is_empty() => {
                Some(Columns::pairs(table, &self.map).map_err(|wrong| anyhow::anyhow!("--map: {wrong}"))?)
            }
            _ => None,
        };
        let read = |path: &PathBuf| {
            let name = path.display().to_string();
            let bytes = fs::metadata(path).with_context(|| format!("read {name}"))?.len();
            ensure!(
                bytes <= FILE_BYTES_MAX as u64,
                "{name} has {bytes} bytes, the limit is {FILE_BYTES_MAX}: split it"
            );
            let text = fs::read(path).with_context(|| format!("read {name}"))?;
            let text = String::from_utf8(text).map_err(|error| {
                let good = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
                anyhow::anyhow!(
                    "{name} line {line}: not UTF-8; convert it, for example with iconv -f latin1 -t utf8"
                )
            })?;
            Ok(File { name, text, table: self.table, columns: columns.clone() })
        };
        self.files.iter().map(read).collect()
    }
}

//! The registry as a file that an import takes back unchanged.

use tokio_postgres::Client;

use super::{
    Table, features,
    known::Wanted,
    plan::{Cells, Known},
};
use crate::store::StoreError;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Csv,
    GeoJson,
}

/// A table of the registry, in order of its key; without sensors in quarantine.
///
/// # Errors
/// The database cannot be read.
pub async fn export(client: &Client, table: Table, format: Format) -> Result<String, StoreError> {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let known = Known::load(client, Wanted::Admitted).await;
    client.batch_execute("COMMIT").await?;
    let rows: Vec<Cells> = known?.rows(table).map(|(_, cells)| cells.clone()).collect();
    match format {
        Format::GeoJson => Ok(features::write(table, &rows)),
        Format::Csv => csv(table, &rows).map_err(|error| StoreError::Unfit(format!("write CSV: {error}"))),
    }
}

fn csv(table: Table, rows: &[Cells]) -> Result<String, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.fields().iter().map(|field| field.name))?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or_default()))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{File, given, plan::Plan};

    /// What is written is read as the same rows, by CSV and by GeoJSON.
    #[test]
    fn what_is_written_is_taken_back_unchanged() {
        let file = |text: String| File { name: "f".into(), text, table: None, columns: None };
        let zones = r#"{"type":"FeatureCollection","features":[
            {"type":"Feature","properties":{"id":"z, \"1\"","name":"Ost\u00e9"},"geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0.1],[1,1e-7],[0,0]]]}}]}"#;
        let segments = "id,name,length_m,from_lon,from_lat,to_lon,to_lat\ns,a->b,810.5,10,56,10.1,56\n";
        let sensors = "id,lon,lat,segment,zone,valid_from,privacy\nm,1,2,s,\"z, \"\"1\"\"\",,public\nm,1.5,2,s,,2026-03-01T00:00:00Z,\nn,,,,,,\n";
        let series = "sensor,metric,unit,kind,min\nm,x,m,gauge,-1e-9\n";
        let calibrations =
            "sensor,metric,valid_from,scale,offset\nm,x,,1.1,\nm,x,2026-03-01T00:00:00.5Z,2,-3\n";
        let mut known = Known::default();
        for text in [zones, segments, sensors, series, calibrations] {
            let plan = Plan::make(&known, &given::read(&[file(text.to_owned())]).unwrap()).unwrap();
            plan.changes.into_iter().for_each(|change| known.insert(change.table, change.new));
        }
        for format in [Format::Csv, Format::GeoJson] {
            let mut again = Known::default();
            for table in Table::ALL {
                let rows: Vec<Cells> = known.rows(table).map(|(_, cells)| cells.clone()).collect();
                assert!(!rows.is_empty());
                let text = match format {
                    Format::Csv => csv(table, &rows).unwrap(),
                    Format::GeoJson => features::write(table, &rows),
                };
                let plan = Plan::make(&again, &given::read(&[file(text)]).unwrap()).unwrap();
                plan.changes.into_iter().for_each(|change| again.insert(change.table, change.new));
            }
            assert_eq!(again, known, "{format:?}");
        }
    }
}

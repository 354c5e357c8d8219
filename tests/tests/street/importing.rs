//! Legacy feeds are files: they go through a mapping into the tables, once.

tests::at_each_level!(a_file_is_read_by_its_mapping_and_stored_once);

mod scenarios {
    use std::path::Path;

    use anyhow::ensure;
    use tests::{City, Storage, command};

    pub async fn a_file_is_read_by_its_mapping_and_stored_once(storage: Storage) -> anyhow::Result<()> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/pems-station/flow_5min_a.csv");
        if !file.exists() {
            eprintln!("SKIPPED: no {}", file.display());
            return Ok(());
        }
        let file = file.display().to_string();
        let import = ["import", &file, "--mapping", "pems-5min", "--topic", "import/pems-5min/a"];
        let city = City::up(storage).await?;
        let dry = command::json(city.workplace(), &[&import[..], &["--dry-run"]].concat())?;
        // 7,776 intervals, of which one was not observed.
        ensure!(dry["decoded"] == 7_775 && dry["stored"] == 0, "{dry:#}");
        let first = command::json(city.workplace(), &import)?;
        ensure!(first["stored"] == 7_775 && first["duplicate"] == 0, "{first:#}");
        let again = command::json(city.workplace(), &import)?;
        ensure!(again["stored"] == 0 && again["duplicate"] == 7_775, "{again:#}");
        let day = "SELECT sum(value) FROM reading
                   WHERE time > '2016-01-04T00:00-08' AND time <= '2016-01-05T00:00-08'";
        let vehicles: f64 = city.database().query_one(day, &[]).await?.get(0);
        ensure!(vehicles == 18_545.0, "{vehicles} vehicles on the first day");
        Ok(())
    }
}

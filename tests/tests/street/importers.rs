//! What another simulator measured is imported twice over, as intervals and as single passages, and says the same.

tests::at_each_level!(
    a_grid_imported_from_intervals_and_from_passages_counts_the_same_vehicles,
    intervals_of_other_lengths_and_units_are_announced_before_they_are_stored,
);

mod scenarios {
    use std::{collections::BTreeMap, fs, path::Path};

    use anyhow::{Context, ensure};
    use tests::{City, Storage, command};

    const START: &str = "2024-05-14T05:00:00Z";
    const START_S: i64 = 1_715_662_800;

    type Counts = BTreeMap<(String, i64), i64>;

    /// What the file itself says entered, by detector and minute.
    fn entered(xml: &str) -> anyhow::Result<Counts> {
        let intervals = xml.lines().filter(|line| line.contains("<interval "));
        let count = |line: &str| {
            let value = |name: &str| {
                let (_, rest) = line.split_once(&format!(" {name}=\""))?;
                rest.split('"').next()
            };
            let begin: f64 = value("begin")?.parse().ok()?;
            Some(((value("id")?.to_owned(), begin as i64 / 60), value("nVehEntered")?.parse().ok()?))
        };
        intervals.map(|line| count(line).context("an interval")).collect()
    }

    pub async fn a_grid_imported_from_intervals_and_from_passages_counts_the_same_vehicles(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sumo-grid");
        if !folder.exists() {
            eprintln!("SKIPPED: no {}", folder.display());
            return Ok(());
        }
        let due = entered(&fs::read_to_string(folder.join("e1.xml"))?)?;
        let (xml, events) = (folder.join("e1.xml"), folder.join("vehicle_events.csv.gz"));
        let (xml, events) = (xml.display().to_string(), events.display().to_string());
        let city = City::up(storage).await?;
        let import = |file: &str, format: &str, more: &[&str]| {
            let args = [&["import", file, "--as", format, "--start", START][..], more].concat();
            command::json(city.workplace(), &args)
        };

        let dry = import(&xml, "sumo-e1", &["--dry-run"])?;
        ensure!(dry["stored"] == 0 && dry["sensors"] == 48 && dry["passages"] == 0, "{dry:#}");
        ensure!(dry["first"].as_array().is_some_and(|first| first.len() == 10), "{dry:#}");
        let first = import(&xml, "sumo-e1", &[])?;
        ensure!(first["stored"] == dry["decoded"] && first["stored"] == first["readings"], "{first:#}");
        let again = import(&xml, "sumo-e1", &[])?;
        ensure!(again["stored"] == 0 && again["duplicate"] == first["stored"], "{again:#}");
        let passages = import(&events, "sumo-events", &[])?;
        ensure!(passages["stored"] == 11_063 && passages["sensors"] == 48, "{passages:#}");
        city.settled().await?;

        let counts = "SELECT sensor, (extract(epoch FROM time)::int8 - $1) / 60 - 1, value::int8
                      FROM reading JOIN series ON series.id = series_id WHERE metric = 'traffic.volume'";
        let rows = city.database().query(counts, &[&START_S]).await?;
        let of_intervals: Counts = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        ensure!(of_intervals == due, "the intervals do not count what the file does");
        ensure!(due.values().sum::<i64>() == 11_064, "the file has {}", due.values().sum::<i64>());

        let mut of_passages = Counts::new();
        let sensors: Vec<String> = due.keys().map(|(sensor, _)| sensor.clone()).collect();
        for sensor in sensors.iter().collect::<std::collections::BTreeSet<_>>() {
            let period = ["--from", START, "--to", "2024-05-14T06:30:00Z", "--width", "1m"];
            let asked = [&["measure", "traffic.vehicle", sensor.as_str()][..], &period].concat();
            let measured = command::json(city.workplace(), &asked)?;
            for bucket in measured["buckets"].as_array().context("buckets")? {
                let start: jiff::Timestamp = bucket["from"].as_str().context("from")?.parse()?;
                let minute = (start.as_second() - START_S) / 60;
                let vehicles = bucket["count"].as_i64().with_context(|| format!("the count of {bucket}"))?;
                of_passages.insert((sensor.clone(), minute), vehicles);
            }
        }
        let of = |key| of_passages.get(key).copied().unwrap_or(0);
        // A vehicle that enters within SUMO's last step of a minute is counted by SUMO in the next one.
        let far: Vec<_> = due.iter().filter(|(key, count)| 1 < (of(*key) - **count).abs()).collect();
        ensure!(far.is_empty(), "differ by more than one: {far:?}");
        let total: i64 = of_passages.values().sum();
        ensure!(total == 11_063, "{total} vehicles passed; one was on a loop as the simulation ended");
        Ok(())
    }

    pub async fn intervals_of_other_lengths_and_units_are_announced_before_they_are_stored(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let folder = city.workplace().path();
        fs::write(folder.join("speeds.csv"), "t,a,b\n2024-01-01 00:00,50,0\n2024-01-01 00:05,60,40.5\n")?;
        fs::write(
            folder.join("columns.toml"),
            "[time]\ncolumn = \"t\"\nformat = \"%Y-%m-%d %H:%M\"\nzone = \"UTC\"\nlabel = \"start\"\ninterval_s = 300\n\
             [values]\nmetric = \"traffic.speed.mean\"\nunit = \"[mi_i]/h\"\nkind = \"rate\"\nmissing = [\"0\"]\n",
        )?;
        let path = |name: &str| folder.join(name).display().to_string();
        let (file, columns, out) = (path("speeds.csv"), path("columns.toml"), path("announced"));
        let args = ["import", &file, "--as", "wide", "--columns", &columns, "--registry-out", &out];
        let said = command::json(city.workplace(), &args)?;
        ensure!(said["stored"] == 3 && said["left_out"]["values that stand for none"] == 1, "{said:#}");
        let series = fs::read_to_string(folder.join("announced/series.csv"))?;
        ensure!(series.contains("a,traffic.speed.mean,km/h,rate,300\n"), "{series}");
        let stored = "SELECT s.interval_s, s.unit, r.value, r.time = '2024-01-01T00:05:00Z'::timestamptz
                      FROM reading r JOIN series s ON s.id = r.series_id WHERE s.sensor = 'a' ORDER BY r.time";
        let rows = city.database().query(stored, &[]).await?;
        let (interval_s, unit, value): (i32, &str, f64) = (rows[0].get(0), rows[0].get(1), rows[0].get(2));
        ensure!(
            (interval_s, unit) == (300, "km/h") && (value - 80.467_2).abs() < 1e-9,
            "{interval_s} {unit} {value}"
        );
        ensure!(rows.len() == 2 && rows[0].get::<_, bool>(3), "the time is not the end of its interval");

        fs::write(folder.join("columns.toml"), fs::read_to_string(&columns)?.replace("300", "600"))?;
        let other = command::run(city.workplace(), &args)?;
        ensure!(!other.status.success() && other.err.contains("--sensor-prefix"), "{}", other.err);
        Ok(())
    }
}

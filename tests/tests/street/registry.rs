//! The registry goes in and out unchanged; who is in it is heard, from the first reading on; what it says of values holds
//! by its date.

tests::at_each_level!(
    a_registry_goes_in_out_and_in_again_unchanged,
    the_registries_of_two_cities_come_in_by_one_command_each,
    a_newcomer_waits_in_quarantine_until_it_is_adopted,
    a_calibration_rolls_again_what_it_touches_and_nothing_else,
    what_lay_before_the_retained_readings_stays,
);

mod scenarios {
    use std::fs;
    use std::path::{Path, PathBuf};

    use anyhow::{Context, ensure};
    use serde_json::{Value, json};
    use tests::aging::{ROLLUPS, noon, quarter};
    use tests::flight::Flight;
    use tests::tables::Snapshot;
    use tests::{City, Plan, Storage, command, say};

    const ZONES: &str = r#"{"type":"FeatureCollection","features":[
        {"type":"Feature","properties":{"id":"city"},"geometry":null},
        {"type":"Feature","properties":{"id":"east","name":"Öst, 1","parent":"city"},
         "geometry":{"type":"Polygon","coordinates":[[[10,56],[10.1,56],[10.1,56.1],[10,56]]]}}]}"#;
    const SEGMENTS: &str =
        "id,name,length_m,lanes,from_lon,from_lat,to_lon,to_lat\ns1,\"a, b\",810.5,2,10,56,10.1,56\n";
    const SENSORS: &str = "id,kind,lon,lat,segment,lane,offset_m,zone,privacy\n\
        weir,gauge,10,56,,,,east,public\nloop,loop,10.05,56,s1,1,400,city,internal\n";
    const SERIES: &str = "sensor,metric,unit,kind,interval_s,max\nweir,level,m,gauge,,9000\nloop,traffic.volume,{veh},total,60,\n";
    const CALIBRATIONS: &str = "sensor,metric,valid_from,scale,offset\n\
        weir,level,,1.01,\nweir,level,2026-01-01T00:00:00Z,1.02,-0.5\n";

    const FILES: [(&str, &str); 5] = [
        ("zones.geojson", ZONES),
        ("segments.csv", SEGMENTS),
        ("sensors.csv", SENSORS),
        ("series.csv", SERIES),
        ("calibrations.csv", CALIBRATIONS),
    ];
    const TABLES: [&str; 5] = ["zones", "segments", "sensors", "series", "calibrations"];

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn registry(city: &City, args: &[&str]) -> anyhow::Result<Value> {
        command::json(city.workplace(), &[&["registry"], args].concat())
    }

    /// What a command says that is to fail.
    fn refused(city: &City, args: &[&str]) -> anyhow::Result<String> {
        let said = command::run(city.workplace(), &[&["registry"], args].concat())?;
        ensure!(!said.status.success(), "{args:?} succeeded: {}", said.out);
        Ok(said.err)
    }

    fn export(city: &City, table: &str) -> anyhow::Result<String> {
        let said = command::run(city.workplace(), &["registry", "export", table])?;
        ensure!(said.status.success(), "{}", said.err);
        Ok(said.out)
    }

    async fn version(city: &City) -> anyhow::Result<i64> {
        Ok(city.database().query_one("SELECT registry_version FROM city", &[]).await?.get(0))
    }

    pub async fn a_registry_goes_in_out_and_in_again_unchanged(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let paths: Vec<String> =
            FILES.iter().map(|(name, text)| write(&city, name, text)).collect::<Result<_, _>>()?;
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let import = [&["import"], &paths[..]].concat();
        let dry = registry(&city, &[&import[..], &["--dry-run"]].concat())?;
        ensure!(dry["tables"]["sensors"]["added"] == 2 && version(&city).await? == 0, "{dry}");
        let said = registry(&city, &import)?;
        ensure!(said["tables"]["zones"] == json!({"added": 2, "changed": 0, "unchanged": 0}), "{said}");
        let first = version(&city).await?;
        let again = registry(&city, &import)?;
        for table in TABLES {
            let counts = &again["tables"][table];
            ensure!(counts["added"] == 0 && counts["changed"] == 0 && counts["unchanged"] != 0, "{again}");
        }
        ensure!(version(&city).await? == first, "an import that changes nothing made everybody reload");
        registry(&city, &[&["diff"], &paths[..]].concat())?;

        // A line is wrong: it is named, and nothing of the file is taken in.
        let bad = write(&city, "bad.csv", "id,lon,lat\nnew,1,2\nother,1,200\n")?;
        let error = refused(&city, &["import", &bad])?;
        ensure!(error.contains("bad.csv line 3: lat: 200 is not between -90 and 90"), "{error}");
        let lost = write(&city, "lost.csv", "id,lon,lat,segment\nnew,1,2,nowhere\n")?;
        let error = refused(&city, &["import", &lost])?;
        ensure!(error.contains("lost.csv line 2: segment: there is no segment \"nowhere\""), "{error}");
        ensure!(version(&city).await? == first);

        let moved = write(&city, "moved.csv", "id,lon,lat\nweir,10.5,56\n")?;
        let said = command::run(city.workplace(), &["registry", "diff", &moved])?;
        ensure!(said.status.code() == Some(1), "{} {}", said.status, said.err);
        ensure!(
            said.out.contains("lon: 10 -> 10.5") && said.out.contains("only here, and stay: loop"),
            "{}",
            said.out
        );

        // An exchange closes one row and opens the next, which goes on from it.
        registry(&city, &["exchange", "weir", "--at", "2026-11-01T09:30:00Z", "--serial", "B-7"])?;
        let rows = "SELECT concat_ws('|', valid_from, valid_to, serial, zone) FROM sensor WHERE id = 'weir' ORDER BY valid_from";
        let rows = city.database().query(rows, &[]).await?;
        let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        ensure!(
            rows == ["-infinity|2026-11-01 09:30:00+00|east", "2026-11-01 09:30:00+00|infinity|B-7|east"],
            "{rows:?}"
        );
        let error = refused(&city, &["exchange", "weyr", "--at", "2026-11-01"])?;
        ensure!(error.contains("there is no sensor weyr"), "{error}");

        // Out of this city and into an empty one.
        let exported: Vec<String> =
            TABLES.iter().map(|table| export(&city, table)).collect::<Result<_, _>>()?;
        city.stop()?;
        let city = City::up(storage).await?;
        let mut import = vec!["import".to_owned()];
        for (table, text) in TABLES.iter().zip(&exported) {
            import.push(write(&city, &format!("{table}.csv"), text)?);
        }
        registry(&city, &import.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (table, text) in TABLES.iter().zip(&exported) {
            ensure!(export(&city, table)? == *text, "{table} came back otherwise");
        }
        let mut flight = Flight::connect(city.flight_url()).await?;
        let rows =
            flight.rows("SELECT s.name, s.length_m FROM sensor d JOIN segment s ON s.id = d.segment").await?;
        ensure!(rows == [["a, b", "810.5"]], "{rows:?}");
        let rows = flight.rows("SELECT factor, shift FROM calibration ORDER BY factor").await?;
        ensure!(rows == [["1.01", "0.0"], ["1.02", "-0.5"]], "{rows:?}");
        city.stop()?;
        Ok(())
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    pub async fn the_registries_of_two_cities_come_in_by_one_command_each(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let data = root().join("../shared/data");
        if !data.is_dir() {
            say(&format!("SKIPPED: {} is absent: no city's own registry is imported", data.display()));
            return Ok(());
        }
        let city = City::up(storage).await?;
        for (feed, sensors, other, rows) in [("aarhus", 929, "segments", 929), ("metr-la", 40, "series", 40)]
        {
            let file = data.join(feed).join("sensors.csv").display().to_string();
            let columns = root().join(format!("deploy/registry/{feed}.toml")).display().to_string();
            let import = ["import", &file, "--columns", &columns];
            let said = registry(&city, &import)?;
            ensure!(said["tables"]["sensors"]["added"] == sensors, "{said}");
            ensure!(said["tables"][other]["added"] == rows, "{said}");
            let again = registry(&city, &import)?;
            let same = json!({"added": 0, "changed": 0, "unchanged": sensors});
            ensure!(again["tables"]["sensors"] == same, "{again}");
        }
        let long = "SELECT count(*) FROM segment WHERE geometry ->> 'type' = 'LineString' AND 0 < length_m";
        let long: i64 = city.database().query_one(long, &[]).await?.get(0);
        ensure!(long == 929, "{long} segments have a shape and a length");

        // One line of it is spoilt.
        let text = fs::read_to_string(data.join("aarhus/sensors.csv"))?;
        let line = text.lines().nth(499).context("line 500")?;
        let spoilt =
            write(&city, "spoilt.csv", &text.replace(line, &line.replace(",Denmark,", ",Denmark,x,")))?;
        let columns = root().join("deploy/registry/aarhus.toml").display().to_string();
        let error = refused(&city, &["import", &spoilt, "--columns", &columns])?;
        ensure!(error.contains("spoilt.csv line 500: "), "{error}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_newcomer_waits_in_quarantine_until_it_is_adopted(storage: Storage) -> anyhow::Result<()> {
        let messages =
            [quarter("weir", "level", 2)?, quarter("tank", "level", 2)?, quarter("tank", "flow", 1)?]
                .concat();
        let open = City::up(storage).await?;
        open.publish_all(messages.clone()).await?;
        open.settled().await?;
        let expected = Snapshot::read(open.database()).await?;
        open.stop()?;

        let city = Plan::up(storage).args(&["--registry", "quarantine"]).start().await?;
        city.publish_all(messages.clone()).await?;
        city.settled().await?;
        city.account().await?.adds_up()?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let count = "SELECT count(*) FROM reading";
        ensure!(flight.rows(count).await? == [["0"]], "readings of nobody are seen");
        let waiting: i64 =
            city.database().query_one("SELECT sum(quarantined)::int8 FROM ledger", &[]).await?.get(0);
        ensure!(waiting == 45, "the ledger counts {waiting} readings in quarantine");
        let held = Snapshot::read(city.database()).await?;
        ensure!(ROLLUPS.iter().all(|table| held.rows(table).is_empty()), "readings of nobody are rolled");
        ensure!(held.rows("reading") == expected.rows("reading"), "readings of nobody are not kept");
        command::json(city.workplace(), &["audit", "--all"])?;
        let list = registry(&city, &["list", "--quarantined"])?;
        let tank =
            list["quarantined"].as_array().and_then(|all| all.iter().find(|one| one["sensor"] == "tank"));
        let tank = tank.with_context(|| format!("tank is not in {list}"))?;
        ensure!(tank["readings"] == 30 && tank["topic"] == "city/senml/tank", "{tank}");
        ensure!(tank["payload_start"].as_str().is_some_and(|text| text.contains("tank:")), "{tank}");
        let states = "SELECT DISTINCT state FROM sensor";
        ensure!(flight.rows(states).await? == [["quarantined"]]);

        let error = refused(&city, &["adopt", "tonk"])?;
        ensure!(error.contains("there is no sensor tonk") && error.contains("list --quarantined"), "{error}");
        let adopted = registry(&city, &["adopt", "tank"])?;
        ensure!(adopted["readings"] == 30 && adopted["buckets"] == 6, "{adopted}");
        ensure!(flight.rows(count).await? == [["30"]]);
        let error = refused(&city, &["adopt", "tank"])?;
        ensure!(error.contains("admitted already"), "{error}");
        // The other one is announced by a file, and says more meanwhile.
        let path = write(&city, "sensors.csv", "id,lon,lat\nweir,1,2\n")?;
        let imported = registry(&city, &["import", &path])?;
        ensure!(imported["adopted"]["readings"] == 15, "{imported}");
        city.settled().await?;
        Snapshot::read(city.database()).await?.equals(&expected)?;
        city.publish_all(quarter("weir", "flow", 3)?).await?;
        city.settled().await?;
        ensure!(flight.rows(count).await? == [["60"]], "a new metric of an adopted sensor is not seen");
        let left = "SELECT (SELECT count(*) FROM quarantine) + (SELECT count(*) FROM withheld)";
        let left: i64 = city.database().query_one(left, &[]).await?.get(0);
        ensure!(left == 0, "{left} rows are left of the quarantine");
        let audit = command::json(city.workplace(), &["audit", "--all"])?;
        ensure!(audit["compared"]["rollup_5m"] == 12, "{audit}");

        // Who waits can be erased, too.
        city.publish_all(quarter("ghost", "level", 2)?).await?;
        city.settled().await?;
        command::json(city.workplace(), &["erase", "--sensor", "ghost", "--yes"])?;
        let left: i64 = city
            .database()
            .query_one("SELECT (SELECT count(*) FROM quarantine) + (SELECT count(*) FROM withheld)", &[])
            .await?
            .get(0);
        ensure!(left == 0, "{left} rows are left of an erased sensor");
        city.stop()?;
        Ok(())
    }

    fn of(snapshot: &Snapshot, sensor: &str, day: i64) -> anyhow::Result<Vec<String>> {
        let day = noon(day)?.strftime("%Y-%m-%d").to_string();
        let rows = ROLLUPS.iter().flat_map(|table| snapshot.rows(table));
        let named = format!("|{sensor}|");
        Ok(rows.filter(|row| row.starts_with(&day) && row.contains(&named)).cloned().collect())
    }

    pub async fn a_calibration_rolls_again_what_it_touches_and_nothing_else(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        for (sensor, day) in [("weir", 4), ("weir", 2), ("tank", 2)] {
            city.publish_all(quarter(sensor, "level", day)?).await?;
        }
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        let from = noon(3)?.to_string();
        let calibrate = ["calibrate", "weir", "level", "--from", &from, "--scale", "2", "--offset", "-0.2"];
        let said = registry(&city, &calibrate)?;
        ensure!(said["touched"]["buckets"] == 3 && said["touched"]["kept_days"] == 0, "{said}");
        city.settled().await?;
        let after = Snapshot::read(city.database()).await?;
        for (sensor, day) in [("weir", 4), ("tank", 2)] {
            ensure!(
                of(&after, sensor, day)? == of(&before, sensor, day)?,
                "{sensor} changed, {day} days ago"
            );
        }
        ensure!(of(&after, "weir", 2)? != of(&before, "weir", 2)?, "nothing was computed again");
        ensure!(after.rows("reading") == before.rows("reading"), "stored values changed");
        let audit = command::json(city.workplace(), &["audit", "--all"])?;
        ensure!(audit["compared"]["rollup_5m"] == 9, "{audit}");

        // Readings are seen as they are rolled: 0.1 + i * i * 1000, doubled, less 0.2.
        let mut flight = Flight::connect(city.flight_url()).await?;
        let highest = "SELECT round(max(value)), round(min(value)) FROM reading WHERE sensor = 'weir'";
        ensure!(flight.rows(highest).await? == [["392000.0", "0.0"]], "{:?}", flight.rows(highest).await?);
        let rolled = "SELECT round(max(max)), round(min(min)) FROM rollup_5m WHERE sensor = 'weir'";
        ensure!(flight.rows(rolled).await? == [["392000.0", "0.0"]]);
        let above = "SELECT count(*) FROM reading WHERE 196000.1 < value";
        ensure!(flight.rows(above).await? == [["5"]], "{:?}", flight.rows(above).await?);

        // A range judges the calibrated values, stored ones too.
        let path = write(&city, "series.csv", "sensor,metric,unit,kind,max\nweir,level,m,gauge,196000.1\n")?;
        let said = registry(&city, &["import", &path])?;
        ensure!(said["touched"]["buckets"] == 6, "{said}");
        city.settled().await?;
        let beside = "SELECT sum(flagged), sum(count) FROM rollup_1d WHERE sensor = 'weir'";
        ensure!(flight.rows(beside).await? == [["5", "25"]], "{:?}", flight.rows(beside).await?);
        let good = "SELECT count(*) FROM reading WHERE sensor = 'weir' AND quality % 256 < 128";
        ensure!(flight.rows(good).await? == [["25"]], "{:?}", flight.rows(good).await?);
        command::json(city.workplace(), &["audit", "--all"])?;

        // The same again changes nothing; what has readings is not recast.
        let again = registry(&city, &calibrate)?;
        ensure!(
            again["touched"]["buckets"] == 0 && again["tables"]["calibrations"]["unchanged"] == 1,
            "{again}"
        );
        let other = registry(&city, &[&calibrate[..6], &["1.5"]].concat())?;
        ensure!(
            other["tables"]["calibrations"]["changed"] == 1 && other["touched"]["buckets"] == 3,
            "{other}"
        );
        let path = write(&city, "series.csv", "sensor,metric,unit,kind\nweir,level,cm,gauge\n")?;
        let error = refused(&city, &["import", &path])?;
        ensure!(error.contains("series.csv line 2: level of weir has readings of another"), "{error}");
        city.stop()?;
        Ok(())
    }

    pub async fn what_lay_before_the_retained_readings_stays(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.publish_all([quarter("weir", "level", 60)?, quarter("weir", "level", 2)?].concat()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        let workplace = city.stop()?;
        let short = ["--lateness-horizon", "20d", "--keep", "readings=30d,events=30d"];
        let city = Plan::by_default(storage).args(&short).on(workplace).start().await?;
        command::json(city.workplace(), &["retention"])?;
        let said = registry(&city, &["calibrate", "weir", "level", "--scale", "3"])?;
        ensure!(said["touched"]["buckets"] == 3 && said["touched"]["kept_days"] == 1, "{said}");
        city.settled().await?;
        let after = Snapshot::read(city.database()).await?;
        ensure!(of(&after, "weir", 60)? == of(&before, "weir", 60)?, "history changed");
        ensure!(of(&after, "weir", 2)? != of(&before, "weir", 2)?, "nothing was computed again");
        command::json(city.workplace(), &["audit", "--all"])?;
        city.stop()?;
        Ok(())
    }
}

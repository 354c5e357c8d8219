//! A sensor is forgotten, and its neighbours are as they were.

tests::at_each_level!(
    an_erased_sensor_leaves_nothing_and_its_neighbours_as_they_were,
    an_erased_period_leaves_the_rest_of_its_hour_and_day,
    rollups_that_outlived_their_readings_are_erased_too,
);

mod scenarios {
    use anyhow::{Context, ensure};
    use jiff::ToSpan;
    use serde_json::Value;
    use tests::aging::{ROLLUPS, noon, quarter, senml};
    use tests::tables::Snapshot;
    use tests::{City, Plan, Storage, command};

    /// Facts and rollups of other sensors.
    fn without(snapshot: &Snapshot, sensor: &str) -> Vec<String> {
        ["reading", "event", "conflict"]
            .iter()
            .chain(&ROLLUPS)
            .flat_map(|table| snapshot.rows(table))
            .filter(|row| !row.contains(&format!("|{sensor}|")))
            .cloned()
            .collect()
    }

    /// A passage of a vehicle over a detector.
    fn passage(detector: &str, vehicle: i64, at: jiff::Timestamp) -> (String, Vec<u8>) {
        let payload = format!(
            r#"{{"detector":"{detector}","vehicle":{vehicle},"entered":"{at:.3}","left":"{at:.3}","speed_mps":10.0,"length_m":4.5,"class":"car"}}"#
        );
        (format!("city/traffic/{detector}/passage"), payload.into_bytes())
    }

    /// Whatever is left of a series or a name.
    async fn traces(city: &City, sensor: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let mut traces = Vec::new();
        for table in ["reading", "event", "conflict", "rollup_5m", "rollup_1h", "rollup_1d"] {
            // Also of series that are in no registry any more.
            let query = format!(
                "SELECT count(*) FROM {table} t LEFT JOIN series s ON s.id = t.series_id
                 WHERE s.id IS NULL OR s.sensor = $1"
            );
            traces.push((table.to_owned(), city.database().query_one(&query, &[&sensor]).await?.get(0)));
        }
        let named = "SELECT count(*) FROM rejection
             WHERE position($1 in topic) > 0 OR position($1 in detail) > 0 OR position(convert_to($1, 'UTF8') in payload) > 0";
        traces.push(("rejection".to_owned(), city.database().query_one(named, &[&sensor]).await?.get(0)));
        let registered = "SELECT (SELECT count(*) FROM sensor WHERE id = $1) + (SELECT count(*) FROM series WHERE sensor = $1)";
        traces.push(("registry".to_owned(), city.database().query_one(registered, &[&sensor]).await?.get(0)));
        traces.retain(|(_, rows)| *rows != 0);
        Ok(traces)
    }

    pub async fn an_erased_sensor_leaves_nothing_and_its_neighbours_as_they_were(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let mut messages = Vec::new();
        for sensor in ["cam-1", "cam-10", "weir"] {
            messages.extend(quarter(sensor, "level", 3)?);
            messages.extend(quarter(sensor, "people", 1)?);
            messages.push(senml(sensor, "level", noon(3)?, 99.0)); // a conflict
            let mass =
                format!(r#"[{{"bn":"{sensor}:","bt":{},"n":"level","u":"kg","v":1}}]"#, noon(2)?.as_second());
            messages.push(("city/senml/all".to_owned(), mass.into_bytes())); // refused, and named in the payload
            messages.push((format!("city/nobody/{sensor}"), b"x".to_vec())); // refused, and named in the topic
        }
        messages
            .extend((0..40).map(|i| passage("cam-1", i, noon(1).unwrap_or_default() + (20 * i).seconds())));
        city.publish_all(messages.clone()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;

        let dry = command::json(city.workplace(), &["erase", "--sensor", "cam-1"])?;
        let found = &dry["traces"];
        ensure!(dry["erased"] == false && found["readings"] == 30 && found["conflicts"] == 1, "{dry}");
        ensure!(found["rejections"] == 2 && found["events"] == 40, "{dry}");
        ensure!(Snapshot::read(city.database()).await? == before, "looking changed something");

        let said = command::json(
            city.workplace(),
            &["erase", "--sensor", "cam-1", "--yes", "--reason", "request 7"],
        )?;
        ensure!(said["erased"] == true && said["traces"] == *found, "found {found}, erased {said}");
        city.settled().await?;
        let left = traces(&city, "cam-1").await?;
        let of_10: Vec<&(String, i64)> = left.iter().filter(|(table, _)| table != "rejection").collect();
        ensure!(of_10.is_empty() && left == [("rejection".to_owned(), 2)], "left: {left:?}"); // cam-10's
        let after = Snapshot::read(city.database()).await?;
        ensure!(without(&after, "cam-1") == without(&before, "cam-1"), "a neighbour changed");
        ensure!(after.rows("rejection").len() == 4, "{:?}", after.rows("rejection"));

        // It comes again, and is refused without a trace.
        city.publish_all(messages).await?;
        city.settled().await?;
        let again = Snapshot::read(city.database()).await?;
        ensure!(without(&again, "cam-1") == without(&before, "cam-1"), "a redelivery changed a neighbour");
        let came = traces(&city, "cam-1").await?;
        // What could not be read names nobody until it is read: its topic is kept as any other's.
        let topics = "SELECT count(*) FROM rejection WHERE topic = 'city/nobody/cam-1'";
        let topics: i64 = city.database().query_one(topics, &[]).await?.get(0);
        ensure!(came == [("rejection".to_owned(), 2 + topics)], "came back: {came:?}");

        let kept =
            "SELECT encode(sensor, 'escape') || reason || coalesce(metric, ''), finished_at IS NOT NULL,
                 (readings, events, conflicts, rejections)::text FROM erasure";
        let row = city.database().query_one(kept, &[]).await?;
        let (text, finished, counts): (String, bool, String) = (row.get(0), row.get(1), row.get(2));
        ensure!(finished && !text.contains("cam") && text.contains("request 7"), "{text}");
        ensure!(counts == "(30,40,1,2)", "{counts}");
        command::json(city.workplace(), &["audit", "--all"])?;
        city.stop()?;
        Ok(())
    }

    pub async fn an_erased_period_leaves_the_rest_of_its_hour_and_day(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.publish_all([quarter("weir", "level", 2)?, quarter("tank", "level", 2)?].concat()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        // From the middle of the first bucket through all of the second.
        let (from, to) = ((noon(2)? + 150.seconds()).to_string(), (noon(2)? + 600.seconds()).to_string());
        let period = ["erase", "--sensor", "weir", "--from", &from, "--to", &to, "--yes"];
        let said = command::json(city.workplace(), &period)?;
        ensure!(said["traces"]["readings"] == 7 && said["traces"]["registry"] == 0, "{said}");
        city.settled().await?;
        let after = Snapshot::read(city.database()).await?;
        let of = |snapshot: &Snapshot| -> Vec<String> {
            let rows = ROLLUPS.iter().flat_map(|table| snapshot.rows(table));
            rows.filter(|row| row.contains("|weir|")).cloned().collect()
        };
        ensure!(of(&before).len() == 5 && of(&after).len() == 4, "{:?}", of(&after));
        ensure!(without(&after, "weir") == without(&before, "weir"), "the neighbour changed");
        let audit = command::json(city.workplace(), &["audit", "--all"])?;
        ensure!(audit["compared"]["rollup_5m"] == 5 && audit["compared"]["rollup_1d"] == 2, "{audit}");

        // The period stays closed, its surroundings do not.
        let late =
            |second: i64| Ok::<_, anyhow::Error>(senml("weir", "level", noon(2)? + second.seconds(), 3.0));
        city.publish_all(vec![late(200)?, late(30)?]).await?;
        city.settled().await?;
        let now = Snapshot::read(city.database()).await?;
        ensure!(
            now.rows("reading").len() == after.rows("reading").len() + 1,
            "{:?}",
            now.rows("reading").len()
        );
        ensure!(now.rows("rejection").is_empty(), "{:?}", now.rows("rejection"));
        let account: Value = command::json(city.workplace(), &["account", "--last", "1h"])?;
        ensure!(account["sums_hold"] == true, "{account}");
        command::json(city.workplace(), &["audit", "--all"])?;
        city.stop()?;
        Ok(())
    }

    pub async fn rollups_that_outlived_their_readings_are_erased_too(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.publish_all([quarter("weir", "level", 60)?, quarter("tank", "level", 60)?].concat()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        let workplace = city.stop()?;
        let short = ["--lateness-horizon", "20d", "--keep", "readings=30d,events=30d"];
        let city = Plan::by_default(storage).args(&short).on(workplace).start().await?;
        command::json(city.workplace(), &["retention"])?;
        let said = command::json(city.workplace(), &["erase", "--sensor", "weir", "--yes"])?;
        let traces_found = said["traces"].as_object().context("what was erased")?;
        ensure!(traces_found["readings"] == 0 && traces_found["rollups_for_good"] == 5, "{said}");
        let left = traces(&city, "weir").await?;
        ensure!(left.is_empty(), "left: {left:?}");
        let after = Snapshot::read(city.database()).await?;
        for table in ROLLUPS {
            let tank = |snapshot: &Snapshot| -> Vec<String> {
                snapshot.rows(table).iter().filter(|row| row.contains("|tank|")).cloned().collect()
            };
            ensure!(
                !tank(&after).is_empty() && tank(&after) == tank(&before),
                "{table} of the neighbour changed"
            );
        }
        city.stop()?;
        Ok(())
    }
}

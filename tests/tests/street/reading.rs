//! What a single reading does.

tests::at_each_level!(
    a_published_reading_is_seen_by_the_query,
    the_start_screens_reading_is_printed_by_its_python_line,
    the_first_value_stays_and_the_other_is_a_conflict,
    a_late_reading_recomputes_its_own_bucket_only,
    a_local_day_is_cut_by_the_citys_time_zone,
);

mod scenarios {
    use std::collections::BTreeMap;
    use std::process::Command;

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use simulators::oracle::every_rollup;
    use tests::flight::Flight;
    use tests::{City, Plan, Storage, command, python, say};
    use tokio::task::block_in_place;

    /// One SenML record on the topic of a sensor.
    fn senml(sensor: &str, second: i64, value: &str) -> (String, Vec<u8>) {
        let pack = format!(r#"[{{"bn":"{sensor}:","bt":{second},"n":"level","u":"m","v":{value}}}]"#);
        (format!("city/senml/{sensor}"), pack.into_bytes())
    }

    pub async fn a_published_reading_is_seen_by_the_query(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let second = Timestamp::now().as_second();
        let (topic, payload) = senml("tank-7", second, "4.25");
        city.publish(&topic, payload).await?;
        let sql = "SELECT value, unit FROM reading WHERE sensor = 'tank-7' AND metric = 'level'";
        let seen = city.eventually("the published reading", async || {
            let rows = flight.rows(sql).await?;
            Ok((!rows.is_empty()).then_some(rows))
        });
        let seen = seen.await?;
        ensure!(seen == [["4.25", "m"]], "{seen:?}");
        let sql =
            format!("SELECT count(*) FROM reading WHERE time = to_timestamp({second}) AND sensor = 'tank-7'");
        ensure!(flight.rows(&sql).await? == [["1"]], "the reading is not at its time");
        // Open buckets are answered from readings or not at all, closed ones from rollups: both must be valid SQL.
        for table in
            ["event", "rollup_5m", "rollup_1h", "rollup_1d", "ledger", "rejection", "conflict", "sensor"]
        {
            flight.rows(&format!("SELECT * FROM {table}")).await.with_context(|| format!("read {table}"))?;
        }
        ensure!(flight.rows("SELECT id FROM sensor").await? == [["tank-7"]], "the sensor was not registered");
        ensure!(flight.query("DROP TABLE reading").await.is_err(), "a client may drop tables");
        city.stop()?;
        Ok(())
    }

    pub async fn the_start_screens_reading_is_printed_by_its_python_line(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = Plan::demo(storage).args(&["--feed", "sumo-grid"]).start().await?;
        let screen = format!("{}\n{}", city.output(), city.log());
        let publish = screen.lines().find(|line| line.contains("mosquitto_pub "));
        let publish =
            publish.with_context(|| format!("no mosquitto_pub line on the start screen:\n{screen}"))?;
        let publish = &publish[publish.find("mosquitto_pub").unwrap_or_default()..];
        let output = block_in_place(|| Command::new("sh").args(["-c", publish]).output())?;
        if output.status.code() == Some(127) {
            say("SKIPPED the mosquitto_pub line: mosquitto-clients is not installed");
            city.stop()?;
            return Ok(());
        }
        ensure!(output.status.success(), "{publish}: {}", String::from_utf8_lossy(&output.stderr));
        city.settled_at(15_383 + 1).await?;
        let account = city.account().await?;
        ensure!(account.rejected_messages == 0 && account.rejected == 0, "{account:?}");
        if let Some(code) = snippet(&screen)
            && let Some(output) = python::run(&["-c", &code])?
        {
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success() && out.contains("21.5"), "{code}\n{out}\n{err}");
        }
        city.stop()?;
        Ok(())
    }

    /// The Python on the screen: from its first import to the next empty line.
    fn snippet(screen: &str) -> Option<String> {
        let lines: Vec<&str> = screen.lines().collect();
        let first = lines.iter().position(|line| {
            let line = line.trim_start();
            line.starts_with("import ") || line.starts_with("from ")
        })?;
        let indent = lines[first].len() - lines[first].trim_start().len();
        let code = lines[first..].iter().take_while(|line| !line.trim().is_empty());
        Some(code.map(|line| line.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n"))
    }

    pub async fn the_first_value_stays_and_the_other_is_a_conflict(storage: Storage) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        // One batch, or as many as there are messages: the same is kept.
        let values = ["1.5", "2.5", "2.5", "1.5"];
        city.publish_all(values.iter().map(|value| senml("together", 1_704_067_200, value)).collect())
            .await?;
        for value in values {
            let (topic, payload) = senml("apart", 1_704_067_200, value);
            city.publish(&topic, payload).await?;
            city.settled().await?;
        }
        let account = city.account().await?;
        account.adds_up()?;
        ensure!((account.stored, account.conflict, account.duplicate) == (2, 2, 4), "{account:?}");
        // An ingest that remembers nothing judges by what is stored, also where a batch disagrees with itself;
        // and what it then remembers is what is stored.
        city.kill_ingest().await?;
        for _ in 0..2 {
            let again = ["2.5", "1.5", "2.5"].iter().map(|value| senml("apart", 1_704_067_200, value));
            city.publish_all(again.collect()).await?;
            city.settled().await?;
        }
        let account = city.account().await?;
        account.adds_up()?;
        ensure!((account.stored, account.conflict, account.duplicate) == (2, 2, 10), "{account:?}");
        let query = "SELECT s.sensor, r.value, c.value, c.kept_value
             FROM reading r
             JOIN series s ON s.id = r.series_id
             JOIN conflict c ON c.series_id = r.series_id AND c.time = r.time
             ORDER BY 1";
        let rows = city.database().query(query, &[]).await?;
        let found: Vec<(String, f64, Option<f64>, Option<f64>)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let expected = ["apart", "together"].map(|sensor| (sensor.to_owned(), 1.5, Some(2.5), Some(1.5)));
        ensure!(found == expected, "{found:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_late_reading_recomputes_its_own_bucket_only(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let start = 1_704_067_200; // 2024-01-01T00:00:00Z
        // Values whose plain sum depends on their order.
        let readings =
            (0..40).filter(|i| *i != 7).map(|i| senml("weir", start + 60 * i, &format!("{}.1", 10 + i * i)));
        city.publish_all(readings.collect()).await?;
        city.settled().await?;
        ensure!(every_rollup(city.database()).await? == 8, "40 minutes are 8 buckets");
        let before = versions(&city).await?;
        let since = Timestamp::now().to_string();

        let (topic, payload) = senml("weir", start + 7 * 60, "1e15");
        city.publish(&topic, payload).await?;
        city.settled().await?;
        every_rollup(city.database()).await?;
        let after = versions(&city).await?;
        let changed: Vec<_> = after
            .iter()
            .filter(|(key, row)| before.get(key) != Some(row))
            .map(|(key, _)| key.clone())
            .collect();
        let expected = [("1d", start), ("1h", start), ("5m", start + 300)];
        let expected = expected.map(|(level, bucket)| (level.to_owned(), bucket));
        ensure!(changed == expected, "written again: {changed:?}, late is only {expected:?}");

        let said = command::json(city.workplace(), &["changes", "--since", &since])?;
        let listed: Vec<_> = said
            .as_array()
            .context("a list")?
            .iter()
            .map(|change| {
                let starts = change["starts"].as_str().unwrap_or_default().parse::<Timestamp>();
                let level = change["level"].as_str().unwrap_or_default().to_owned();
                let counts =
                    [&change["added"], &change["changed"], &change["gone"]].map(|count| count.as_i64());
                (level, starts.map_or(0, Timestamp::as_second), change["sensor"] == "weir", counts)
            })
            .collect();
        let once = [Some(0), Some(1), Some(0)];
        let own = [("5m", start + 300), ("1h", start), ("1d", start)];
        ensure!(listed == own.map(|(level, bucket)| (level.to_owned(), bucket, true, once)), "{listed:?}");
        let mut flight = Flight::connect(city.flight_url()).await?;
        let seen =
            flight.rows("SELECT level, sensor, changed FROM revision ORDER BY id DESC LIMIT 3").await?;
        ensure!(seen == [["1d", "weir", "1"], ["1h", "weir", "1"], ["5m", "weir", "1"]], "{seen:?}");
        city.stop()?;
        Ok(())
    }

    /// The transaction that wrote each bucket of the weir.
    async fn versions(city: &City) -> anyhow::Result<BTreeMap<(String, i64), String>> {
        let of = |table: &str| {
            format!("SELECT substr('{table}', 8), extract(epoch FROM bucket)::int8, xmin::text FROM {table}")
        };
        let query = ["rollup_5m", "rollup_1h", "rollup_1d"].map(of).join(" UNION ALL ");
        let rows = city.database().query(&query, &[]).await?;
        Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
    }

    pub async fn a_local_day_is_cut_by_the_citys_time_zone(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::up(storage).args(&["--time-zone", "Europe/Paris"]).start().await?;
        // Every hour from 2024-03-30T00:00 to 2024-04-01T00:00 in Paris; the clock goes forward on the 31st.
        let start = "2024-03-29T23:00:00Z".parse::<Timestamp>()?.as_second();
        let hours = (0..47).map(|i| senml("gauge", start + 3_600 * i, &i.to_string()));
        city.publish_all(hours.collect()).await?;
        city.settled().await?;
        let query = "SELECT bucket::text, ends::text, time_zone, count FROM rollup_1d ORDER BY bucket";
        let rows = city.database().query(query, &[]).await?;
        let days: Vec<(String, String, String, i64)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let day =
            |from: &str, to: &str, count| (from.to_owned(), to.to_owned(), "Europe/Paris".to_owned(), count);
        let expected = [
            day("2024-03-29 23:00:00+00", "2024-03-30 23:00:00+00", 24),
            day("2024-03-30 23:00:00+00", "2024-03-31 22:00:00+00", 23),
        ];
        ensure!(days == expected, "{days:?}");
        every_rollup(city.database()).await?;
        city.stop()?;
        Ok(())
    }
}

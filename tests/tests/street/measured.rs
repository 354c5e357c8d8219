//! What is computed while it is read: the same numbers in SQL as on the screen.

tests::at_each_level!(
    a_measure_is_the_same_in_sql_as_on_the_screen,
    a_balance_is_the_same_in_sql_as_on_the_screen,
    what_is_open_or_silent_is_answered_and_what_is_too_much_is_not,
);

mod scenarios {
    use std::{fmt::Write, fs, sync::Arc};

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use serde_json::Value;
    use simulators::{feed::Feed, replay::Speed};
    use tests::{City, Storage, command, flight::Flight};

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// A feed with its registry, settled.
    async fn feed(city: &City, name: &str) -> anyhow::Result<()> {
        let mut files = Vec::new();
        for (file, text) in Feed::named(name).context("the feed")?.registry() {
            files.push(write(city, &format!("{name}-{file}"), text)?);
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        command::json(city.workplace(), &[&["registry", "import"], &files[..]].concat())?;
        city.replay_feed(name, Speed::Max, Arc::default()).await?;
        city.settled().await
    }

    /// A cell as both sides say it: what is not known is empty.
    fn cell(value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Object(_) => value.to_string(),
            value => value.as_f64().map_or_else(|| value.to_string(), plain),
        }
    }

    /// 1 and 1.0 are one number; JSON is not read to the last bit.
    fn plain(number: f64) -> String {
        let rounded: f64 = format!("{number:.13e}").parse().unwrap_or(number);
        rounded.to_string()
    }

    /// Columns of what a command said, each under its name there, as SQL should say them.
    fn said(rows: &Value, names: &[&str]) -> Vec<Vec<String>> {
        let rows = rows.as_array().into_iter().flatten();
        rows.map(|row| names.iter().map(|name| cell(&row[name])).collect()).collect()
    }

    /// Rows as [`said`] has them.
    async fn rows(flight: &mut Flight, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let plain = |text: String| text.parse().map_or(text, plain);
        let rows = flight.rows(sql).await?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect())
    }

    const MORNING: [&str; 4] = ["--from", "2024-05-14T05:00:00Z", "--to", "2024-05-14T07:00:00Z"];
    const IN_MORNING: &str = "time >= '2024-05-14T05:00:00Z' AND time < '2024-05-14T07:00:00Z'";
    const DAY: &str = "time >= '2024-01-06T00:00:00Z' AND time < '2024-01-07T00:00:00Z'";

    pub async fn a_measure_is_the_same_in_sql_as_on_the_screen(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        feed(&city, "sumo-grid").await?;
        feed(&city, "wntr-net3").await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let detector = "e1_A0A1_0";
        let measure = |metric: &str, sensor: &str, more: &[&str]| {
            let said = command::json(city.workplace(), &[&["measure", metric, sensor], more].concat())?;
            anyhow::Ok(said["buckets"].clone())
        };
        let quarters = [&["--width", "15m"], &MORNING[..]].concat();

        for (metric, ours, theirs) in [
            ("traffic.vehicle", "sum", "volume"),
            ("traffic.volume", "sum", "sum"),
            ("traffic.occupancy", "mean, min, max", "mean min max"),
            ("traffic.speed.mean", "mean, min, max", "mean min max"),
        ] {
            let sql = format!(
                "SELECT count, flagged, late, coverage, {ours} FROM rollup('15m')
                 WHERE {IN_MORNING} AND metric = '{metric}' AND sensor = '{detector}' ORDER BY time"
            );
            let found = rows(&mut flight, &sql).await?;
            let names: Vec<&str> =
                ["count", "flagged", "late", "coverage"].into_iter().chain(theirs.split(' ')).collect();
            let expected = said(&measure(metric, detector, &quarters)?, &names);
            ensure!(found == expected && found.len() == 8, "{metric}: {found:?} and not {expected:?}");
        }

        let of = |columns: &str| {
            format!(
                "SELECT {columns} FROM traffic('15m') WHERE sensor = '{detector}' AND {IN_MORNING} ORDER BY time"
            )
        };
        for (metric, ours, theirs) in [
            ("traffic.volume", "volume, flow, late, coverage", "sum rate_h late coverage"),
            ("traffic.speed.mean", "time_mean_speed, space_mean_speed", "time_mean_speed space_mean_speed"),
            ("traffic.vehicle", "pcu, v15, v50, v85", "pcu v15 v50 v85"),
            ("traffic.occupancy", "occupancy", "mean"),
        ] {
            let found = rows(&mut flight, &of(ours)).await?;
            let names: Vec<&str> = theirs.split(' ').collect();
            let expected = said(&measure(metric, detector, &quarters)?, &names);
            ensure!(found == expected && found.len() == 8, "{metric}: {found:?} and not {expected:?}");
        }
        let places =
            rows(&mut flight, &of("DISTINCT segment, direction, lane").replace(" ORDER BY time", "")).await?;
        ensure!(places == [["A0A1", "NB", "0"]], "{places:?}");
        let classes = measure("traffic.vehicle", detector, &quarters)?;
        let expected = classes[0]["classes"].as_object().context("classes")?;
        let found = rows(&mut flight, &of("classes")).await?;
        let found: serde_json::Map<String, Value> = serde_json::from_str(&found[0][0])?;
        ensure!(!expected.is_empty() && found == *expected, "{found:?} and not {expected:?}");
        // Of one segment there are its lanes, and what they say of an hour is what the segment says.
        let hour = format!(
            "SELECT sum(volume) FROM traffic WHERE segment = 'A0A1' AND {IN_MORNING} GROUP BY time ORDER BY time"
        );
        let segment = command::json(
            city.workplace(),
            &[&["traffic", "segments", "A0A1", "--width", "1h"], &MORNING[..]].concat(),
        )?;
        let (found, expected) = (rows(&mut flight, &hour).await?, said(&segment["segments"], &["volume"]));
        ensure!(found == expected && found.len() == 2, "{found:?} and not {expected:?}");
        roads(&city, &mut flight).await?;

        let broken = "SELECT DISTINCT sensor FROM utility WHERE resets + rollovers > 0
             AND time >= '2024-01-01T00:00:00Z' AND time < '2024-01-08T00:00:00Z' ORDER BY sensor";
        let broken = flight.rows(broken).await?.concat();
        ensure!(!broken.is_empty(), "the feed has a rollover and an exchange");
        for sensor in broken.iter().map(String::as_str).chain(["WM-101", "WM-117"]) {
            let sql = format!(
                "SELECT amount, partial, coverage, resets, rollovers FROM utility('1h')
                 WHERE zone = 'DMA-1' AND sensor = '{sensor}' AND {DAY} ORDER BY time"
            );
            let found = rows(&mut flight, &sql).await?;
            let day = ["--from", "2024-01-06", "--to", "2024-01-07"];
            let buckets = measure("water.volume.total", sensor, &day)?;
            let expected = said(&buckets, &["counted", "partial", "coverage", "resets", "rollovers"]);
            ensure!(found == expected && found.len() == 24, "{sensor}: {found:?} and not {expected:?}");
        }

        let screen = command::run(city.workplace(), &["health", "--day", "2024-01-06", "--json"])?;
        let screen: Value = serde_json::from_str(&screen.out).context(screen.err)?;
        let health = format!(
            "SELECT sensor, metric, finding, to_char(since, '%Y-%m-%d'), detail FROM health WHERE {DAY}"
        );
        let found = flight.rows(&health).await?;
        let expected = said(&screen["findings"], &["sensor", "metric", "rule", "since", "advice"]);
        ensure!(found == expected && !found.is_empty(), "{found:?} and not {expected:?}");
        let one = flight.rows(&(health + " AND sensor = 'WM-117'")).await?;
        ensure!(
            one == [found.iter().find(|row| row[0] == "WM-117").context("it is stuck")?.clone()],
            "{one:?}"
        );
        city.stop()?;
        Ok(())
    }

    /// What every segment says is what the screen says, and a station is its lanes.
    async fn roads(city: &City, flight: &mut Flight) -> anyhow::Result<()> {
        let on_screen = |args: &[&str]| {
            command::json(city.workplace(), &[args, &["--width", "15m"], &MORNING[..]].concat())
        };
        let sql = format!(
            "SELECT segment, direction, time, ends, coverage, volume, pcu, flow, speed, estimated, occupancy, density,
                 los, vehicle_km, vehicle_h, delay_h
             FROM road('15m') WHERE {IN_MORNING} ORDER BY segment, direction, time"
        );
        let found = rows(flight, &sql).await?;
        let names = "segment direction from to coverage volume pcu flow speed estimated occupancy density los \
                     vehicle_km vehicle_h delay_h";
        let names: Vec<&str> = names.split_whitespace().collect();
        let expected = said(&on_screen(&["traffic", "segments"])?["segments"], &names);
        ensure!(found == expected && !found.is_empty(), "{found:?} and not {expected:?}");

        let one = format!("WHERE segment = 'A0A1' AND {IN_MORNING} ORDER BY time");
        let stands = format!(
            "SELECT DISTINCT offset_m, lanes, sensors FROM station WHERE segment = 'A0A1' AND {IN_MORNING}"
        );
        let stands = flight.rows(&stands).await?;
        ensure!(stands == [["169.2", "2", "e1_A0A1_0,e1_A0A1_1"]], "{stands:?}");
        let v85 = format!("SELECT v85 FROM station('15m') {one}");
        let lanes = on_screen(&["measure", "traffic.vehicle", "e1_A0A1_0", "e1_A0A1_1"])?;
        let (found, expected) = (rows(flight, &v85).await?, said(&lanes["buckets"], &["v85"]));
        ensure!(found == expected && found.len() == 8, "{found:?} and not {expected:?}");
        let of = |dataset: &str| {
            format!("SELECT direction, volume, flow, occupancy, speed, coverage FROM {dataset}('15m') {one}")
        };
        let (station, road) = (rows(flight, &of("station")).await?, rows(flight, &of("road")).await?);
        ensure!(station == road, "the only one of its segment: {station:?} and not {road:?}");
        Ok(())
    }

    pub async fn a_balance_is_the_same_in_sql_as_on_the_screen(storage: Storage) -> anyhow::Result<()> {
        const START_S: i64 = 1_704_067_200; // 2024-01-01T00:00:00Z
        let city = City::up(storage).await?;
        let zones = write(&city, "zones.csv", "id,parent\nnorth,\nsouth,\n")?;
        let sensors = "id,kind,zone,role\nin,w-meter,north,inlet\nout,w-meter,north,export\nhome,w-meter,north,customer\n";
        let sensors = write(&city, "sensors.csv", sensors)?;
        let mut series = String::from("sensor,metric,unit,kind,interval_s\n");
        let mut messages = Vec::new();
        for (sensor, amount) in [("in", 10), ("out", 1), ("home", 8)] {
            writeln!(series, "{sensor},water.volume,m3,total,3600")?;
            let mut pack = format!(r#"[{{"bn":"{sensor}:"}}"#);
            // A meter of the second day was silent for an hour.
            for hour in (1..=72).filter(|hour| *hour != 30 || sensor != "out") {
                let t = START_S + 3_600 * hour;
                write!(pack, r#",{{"n":"water.volume","u":"m3","t":{t},"v":{amount}}}"#)?;
            }
            messages.push((format!("city/senml/{sensor}"), (pack + "]").into_bytes()));
        }
        let series = write(&city, "series.csv", &series)?;
        command::json(city.workplace(), &["registry", "import", &zones, &sensors, &series])?;
        city.publish_all(messages).await?;
        city.settled().await?;
        let three = ["utility", "balance", "north", "--from", "2024-01-01", "--to", "2024-01-04"];
        let names = ["inflow", "export", "stored", "metered", "loss", "nrw_percent", "imputed", "unknown"];
        let expected = said(&command::json(city.workplace(), &three)?["days"], &names);
        let mut flight = Flight::connect(city.flight_url()).await?;
        let sql = "SELECT inflow, exported, stored, metered, loss, nrw_percent, imputed, unknown FROM balance
                   WHERE time BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-03T00:00:00Z' ORDER BY time";
        let found = rows(&mut flight, sql).await?;
        ensure!(found == expected && found.len() == 3, "{found:?} and not {expected:?}");
        ensure!(found[0][4] == "24" && found[1][4].is_empty(), "{found:?}");
        let zones = flight.rows(&format!("SELECT DISTINCT zone, unit FROM balance WHERE {DAY}")).await?;
        ensure!(zones == [["north", "m3"]], "south has no meters: {zones:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn what_is_open_or_silent_is_answered_and_what_is_too_much_is_not(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let second = Timestamp::now().as_second();
        for (sensor, value) in [("tank-7", 4.25), ("tank-8", 1.0)] {
            let pack = format!(r#"[{{"bn":"{sensor}:","bt":{second},"n":"level","u":"m","v":{value}}}]"#);
            city.publish(&format!("city/senml/{sensor}"), pack).await?;
        }
        let open = "SELECT sum(count), max(last) FROM rollup('1d')
                    WHERE time >= now() - INTERVAL '2 days' AND time <= now() AND sensor = 'tank-7'";
        city.eventually("the open bucket", async || {
            Ok((flight.rows(open).await? == [["1", "4.25"]]).then_some(()))
        })
        .await?;
        let silent = "SELECT count, flagged, coverage, sum, mean, first, partial FROM rollup('20s')
                      WHERE time >= '2024-01-01T00:00:00Z' AND time < '2024-01-01T00:01:00Z'";
        let none: [&str; 7] = ["0", "0", "0.0", "", "", "", ""];
        ensure!(flight.rows(silent).await? == [none; 6], "{:?}", flight.rows(silent).await?);

        for (sql, advice) in [
            ("SELECT * FROM rollup('1h') WHERE sensor = 'tank-7'", "add WHERE time >= '2024"),
            ("SELECT * FROM traffic WHERE time >= '2024-01-01T00:00:00Z'", "add WHERE time >= '2024"),
            ("SELECT * FROM rollup('2d')", "rollup('15m')"),
            (
                "SELECT * FROM rollup('1m') WHERE time >= '2024-01-01T00:00:00Z' AND time < '2025-01-01T00:00:00Z'",
                "more than 100000 buckets",
            ),
            (
                "SELECT * FROM health WHERE time >= '2024-01-01T00:00:00Z' AND time < '2025-01-01T00:00:00Z'",
                "up to 31",
            ),
        ] {
            let refused = flight.query(sql).await.err().with_context(|| format!("{sql} was answered"))?;
            ensure!(format!("{refused:?}").contains(advice), "{sql}: {refused:?}");
        }
        // A million buckets, of which one is taken.
        let one = "SELECT time FROM rollup('20s') WHERE metric = 'level'
                   AND time >= '2024-01-01T00:00:00Z' AND time < '2024-01-22T00:00:00Z' LIMIT 1";
        ensure!(flight.rows(one).await?.len() == 1, "a limit is kept");
        let running = "SELECT count(*) FROM pg_stat_activity
                       WHERE application_name = 'screenline query' AND state <> 'idle'";
        city.eventually("the end of what nobody listens to", async || {
            let running: i64 = city.database().query_one(running, &[]).await?.get(0);
            Ok((running == 0).then_some(()))
        })
        .await?;
        let all = one.replace("time FROM", "count(*), sum(count) FROM");
        let all = flight.rows(&all.replace(" LIMIT 1", "")).await?;
        ensure!(all == [["181440", "0"]], "each of both, and none was heard: {all:?}");
        city.stop()?;
        Ok(())
    }
}

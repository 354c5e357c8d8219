//! What the readings mean, from the broker to the screen.

tests::at_each_level!(
    other_rules_are_shown_before_they_take_over,
    a_detector_that_fails_is_on_the_list,
    a_sensor_that_rests_is_on_the_list,
    an_empty_street_is_no_silent_detector,
);

mod scenarios {
    use std::fmt::Write;

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use tests::{City, Storage, command};

    const START_S: i64 = 1_704_067_200; // 2024-01-01T00:00:00Z

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    async fn rolled(city: &City) -> anyhow::Result<(f64, i64)> {
        let sums = "SELECT sum(sum), sum(flagged)::int8 FROM rollup_1d";
        let row = city.database().query_one(sums, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    pub async fn other_rules_are_shown_before_they_take_over(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let level = |i: i64| {
            let pack = format!(r#"[{{"bn":"weir:","bt":{},"n":"level","u":"m","v":{i}}}]"#, START_S + 60 * i);
            ("city/senml/weir".to_owned(), pack.into_bytes())
        };
        city.publish_all((0..40).map(level).collect()).await?;
        city.settled().await?;
        ensure!(rolled(&city).await? == (780.0, 0), "the sum of 0 to 39 is 780");

        let calibration = write(&city, "calibrations.csv", "sensor,metric,scale\nweir,level,2\n")?;
        let ask = |more: &str| command::json(city.workplace(), &["reprocess", &calibration, more]);
        let said = ask("--diff")?;
        ensure!(said["differ"].as_array().context("counts")?.iter().eq([8, 1, 1].iter()), "{said}");
        let differences = said["differences"].as_array().context("differences")?;
        let day = differences.iter().find(|one| one["level"] == "rollup_1d").context("the day")?;
        ensure!(day["before"]["sum"] == 780.0 && day["after"]["sum"] == 1560.0, "{day}");
        ensure!(said["applied"] == false && rolled(&city).await? == (780.0, 0), "a comparison wrote");

        let since = Timestamp::now().to_string();
        ensure!(ask("--apply")?["applied"] == true, "the files were not imported");
        city.settled().await?;
        ensure!(rolled(&city).await? == (1560.0, 0), "{:?}", rolled(&city).await?);
        let changes = command::json(city.workplace(), &["changes", "--since", &since])?;
        let changed = |level: &str| -> i64 {
            let of_level = changes.as_array().into_iter().flatten().filter(|change| change["level"] == level);
            of_level.filter_map(|change| change["changed"].as_i64()).sum()
        };
        ensure!((changed("5m"), changed("1h"), changed("1d")) == (8, 1, 1), "{changes}");
        let again = ask("--diff")?;
        ensure!(again["series"] == 0 && again["differences"] == Value::Array(Vec::new()), "{again}");

        let range = write(&city, "series.csv", "sensor,metric,unit,kind,max\nweir,level,m,gauge,50\n")?;
        let said = command::json(city.workplace(), &["reprocess", &range, "--diff"])?;
        let day =
            said["differences"].as_array().into_iter().flatten().find(|one| one["level"] == "rollup_1d");
        // Twice 26 and more are above.
        ensure!(day.context("the day")?["after"]["flagged"] == 14, "{said}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_detector_that_fails_is_on_the_list(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let detectors = ["good", "off", "frozen", "mute"];
        let mut series = String::from("sensor,metric,unit,kind,interval_s\n");
        let mut sensors = String::from("id,kind,lon,lat,segment,direction,zone\n");
        for (detector, direction) in detectors.iter().zip(["NB", "NB", "SB", "SB"]) {
            writeln!(sensors, "{detector},loop,,,ring,{direction},north")?;
            writeln!(series, "{detector},traffic.volume,{{veh}},total,30")?;
            writeln!(series, "{detector},traffic.occupancy,%,rate,30")?;
        }
        let files = [
            ("zones.csv", "id,parent\ncity,\nnorth,city\n"),
            ("segments.csv", "id,length_m\nring,800\n"),
            ("sensors.csv", &sensors),
            ("series.csv", &series),
        ];
        let files = files.map(|(name, text)| write(&city, name, text));
        let files = files.into_iter().collect::<anyhow::Result<Vec<String>>>()?;
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        command::json(city.workplace(), &[&["registry", "import"], &files[..]].concat())?;
        // 05:00 to 22:00 UTC of two days, thirty seconds a sample.
        let mut messages = Vec::new();
        for day in 0..2 {
            for (detector, from) in detectors.iter().zip([0, 0, 86_400, i64::MAX]) {
                let begin = START_S + day * 86_400 + 5 * 3_600;
                for part in 0..17 {
                    let mut pack = format!(r#"[{{"bn":"{detector}:","bt":{begin}}}"#);
                    for sample in part * 120 + 1..=part * 120 + 120 {
                        let failed = from <= day * 86_400;
                        let (volume, occupancy) = match *detector {
                            "mute" => continue,
                            "off" => (0, 0),
                            "frozen" if failed && 600 < sample => (3, 7),
                            _ => (sample % 7 + 1, sample % 13 + 1),
                        };
                        let t = 30 * sample;
                        write!(pack, r#",{{"n":"traffic.volume","t":{t},"v":{volume}}}"#)?;
                        write!(pack, r#",{{"n":"traffic.occupancy","u":"/100","t":{t},"v":{occupancy}}}"#)?;
                    }
                    pack.push(']');
                    messages.push((format!("city/senml/{detector}"), pack.into_bytes()));
                }
            }
        }
        city.publish_all(messages).await?;
        city.settled().await?;
        let ask = ["health", "--day", "2024-01-02", "--look-back", "2", "--json"];
        let said = command::run(city.workplace(), &ask)?;
        ensure!(!said.status.success(), "there is something to visit");
        let said: Value = serde_json::from_str(&said.out).with_context(|| said.err.clone())?;
        let found = findings(&said);
        let expected = [
            ["mute", "silent", "2024-01-01"],
            ["off", "card off", "2024-01-01"],
            ["frozen", "constant", "2024-01-02"],
        ];
        ensure!(found == expected, "{found:?}");

        // A segment's direction, and a zone with those in it, are one; where a lane was silent nothing is known.
        let hour = ["--from", "2024-01-01T06:00:00Z", "--to", "2024-01-01T07:00:00Z"];
        let volume = |of: &[&str]| -> anyhow::Result<Value> {
            let args = [&["measure", "traffic.volume"], of, &hour].concat();
            let said = command::json(city.workplace(), &args)?;
            let bucket = &said["buckets"][0];
            Ok(json!([said["sensors"], bucket["heard"], bucket["sum"], bucket["coverage"]]))
        };
        // 120 samples of 1 to 7, from the 121st on.
        let counted: i64 = (121..=240).map(|sample| sample % 7 + 1).sum();
        let north = volume(&["--segment", "ring", "--direction", "NB"])?;
        ensure!(north == json!([2, 2, counted as f64, 1.0]), "{north} and not {counted}");
        let zone = volume(&["--zone", "city"])?;
        ensure!(zone == json!([4, 3, null, 0.75]), "{zone}");
        let narrow =
            command::run(city.workplace(), &["measure", "traffic.volume", "good", "--width", "10s"])?;
        ensure!(!narrow.status.success() && narrow.err.contains("speaks of 30 s"), "{}", narrow.err);
        city.stop()?;
        Ok(())
    }
    fn findings(said: &Value) -> Vec<[&str; 3]> {
        let all = said["findings"].as_array().into_iter().flatten();
        all.map(|one| ["sensor", "rule", "since"].map(|name| one[name].as_str().unwrap_or_default()))
            .collect()
    }

    pub async fn a_sensor_that_rests_is_on_the_list(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let mut series = String::from("sensor,metric,unit,kind,interval_s,max\n");
        let mut sensors = String::from("id,kind\n");
        for sensor in ["busy", "rests", "wild", "mute"] {
            writeln!(sensors, "{sensor},tank")?;
            writeln!(series, "{sensor},level,m,gauge,3600,100")?;
        }
        let files = [("sensors.csv", &sensors), ("series.csv", &series)];
        let files = files.map(|(name, text)| write(&city, name, text));
        let [sensors, series] = files;
        command::json(city.workplace(), &["registry", "import", &sensors?, &series?])?;
        let mut messages = Vec::new();
        for hour in 0..5 * 24i64 {
            let day = hour / 24;
            for sensor in ["busy", "rests", "wild", "mute"] {
                let value = match sensor {
                    "rests" if 3 <= day => 7,
                    "wild" if 4 <= day => 1_000 + hour,
                    "mute" if 3 <= day => continue,
                    _ => hour % 24,
                };
                let t = START_S + 3_600 * hour;
                let pack = format!(r#"[{{"bn":"{sensor}:","bt":{t},"n":"level","u":"m","v":{value}}}]"#);
                messages.push((format!("city/senml/{sensor}"), pack.into_bytes()));
            }
        }
        city.publish_all(messages).await?;
        city.settled().await?;
        let ask = ["health", "--day", "2024-01-05", "--look-back", "5", "--json"];
        let said: Value = serde_json::from_str(&command::run(city.workplace(), &ask)?.out)?;
        let found = findings(&said);
        let expected = [
            ["mute", "silent", "2024-01-04"],
            ["rests", "constant", "2024-01-04"],
            ["wild", "flagged", "2024-01-05"],
        ];
        ensure!(found == expected, "{found:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn an_empty_street_is_no_silent_detector(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let sensors = write(&city, "sensors.csv", "id,kind\ngate,camera\n")?;
        let series = "sensor,metric,unit,kind,interval_s\n\
                      gate,traffic.vehicle,{veh},event,\ngate,heartbeat,1,gauge,60\n";
        let series = write(&city, "series.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &sensors, &series])?;
        // Alive for ten minutes, with vehicles in the first five; then silent.
        let beat = |minute: i64| {
            let t = START_S + 60 * minute;
            let pack = format!(r#"[{{"bn":"gate:","bt":{t},"n":"heartbeat","v":1}}]"#);
            ("city/senml/gate".to_owned(), pack.into_bytes())
        };
        let passage = |n: i64| {
            let entered = Timestamp::from_second(START_S + 90 * n).unwrap_or_default();
            let text = format!(
                r#"{{"vehicle":{n},"class":"car","entered":"{entered}","on_time_s":0.5,"speed_mps":10,"length_m":4.5}}"#
            );
            ("city/traffic/gate/passage".to_owned(), text.into_bytes())
        };
        city.publish_all((0..=10).map(beat).chain((0..3).map(passage)).collect()).await?;
        city.settled().await?;
        let period = ["--width", "5m", "--from", "2024-01-01T00:00:00Z", "--to", "2024-01-01T00:20:00Z"];
        let said = command::json(
            city.workplace(),
            &[&["measure", "traffic.vehicle", "gate"][..], &period].concat(),
        )?;
        let buckets = said["buckets"].as_array().context("buckets")?;
        let of = |name: &str| Value::from_iter(buckets.iter().map(|bucket| bucket[name].clone()));
        ensure!(of("volume") == json!([3.0, 0.0, 0.0, null]), "{}", of("volume"));
        ensure!(of("coverage") == json!([1.0, 1.0, 0.3, null]), "{}", of("coverage"));
        ensure!(of("flow") == json!([36.0, 0.0, 0.0, null]), "{}", of("flow"));
        ensure!(buckets[0]["classes"] == json!({"car": 3}) && buckets[0]["pcu"] == 3.0, "{said}");
        let minutes = ["--width", "1m", "--from", "2024-01-01T00:00:00Z", "--to", "2024-01-01T00:05:00Z"];
        let said = command::json(
            city.workplace(),
            &[&["measure", "traffic.vehicle", "gate"][..], &minutes].concat(),
        )?;
        let volumes: Vec<&Value> =
            said["buckets"].as_array().context("buckets")?.iter().map(|bucket| &bucket["volume"]).collect();
        ensure!(
            volumes.into_iter().eq(&[json!(1.0), json!(1.0), json!(0.0), json!(1.0), json!(0.0)]),
            "{said}"
        );
        city.stop()?;
        Ok(())
    }
}

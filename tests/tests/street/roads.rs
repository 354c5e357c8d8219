//! What detectors of roads say together, from the broker to the screen.

tests::at_each_level!(
    a_year_of_hours_has_its_averages,
    two_months_are_no_year,
    a_jam_is_a_bottleneck_and_an_incident,
    a_jam_is_told_to_those_who_see_all_of_it,
    a_day_is_as_long_as_its_clocks_say,
);

mod scenarios {
    use std::{fmt::Write, fs, path::Path};

    use anyhow::{Context, ensure};
    use jiff::{civil::DateTime, tz::TimeZone};
    use serde_json::{Value, json};
    use tests::{City, Plan, Storage, command, flight::Flight, process::Workplace};

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// A file of the shared feeds; `None`, and said so, where it is not there.
    fn feed(name: &str) -> Option<std::path::PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
        if !path.exists() {
            eprintln!("SKIPPED: no {}", path.display());
        }
        path.exists().then_some(path)
    }

    pub async fn a_year_of_hours_has_its_averages(storage: Storage) -> anyhow::Result<()> {
        let Some(path) = feed("i94-hourly/traffic_hourly.csv.gz") else { return Ok(()) };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(fs::File::open(path)?), &mut text)?;
        let city = City::up(storage).await?;
        let sensors = write(&city, "sensors.csv", "id,kind\ni94,loop\n")?;
        let series = "sensor,metric,unit,kind,interval_s\ni94,traffic.volume,{veh},total,3600\n";
        let series = write(&city, "series.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &sensors, &series])?;
        let mut packs: Vec<(String, Vec<u8>)> = Vec::new();
        let mut pack = String::new();
        let hours = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        for (row, hour) in hours.filter(|hour| hour[0].starts_with("2017") && !hour[5].is_empty()).enumerate()
        {
            let begins: DateTime = hour[0].parse()?;
            let ends_s = begins.to_zoned(TimeZone::UTC)?.timestamp().as_second() + 3_600;
            let name = if pack.is_empty() { r#"[{"bn":"i94:","#.to_owned() } else { ",{".to_owned() };
            write!(pack, r#"{name}"n":"traffic.volume","t":{ends_s},"v":{}}}"#, hour[5])?;
            if row % 200 == 199 {
                packs.push(("city/senml/i94".to_owned(), (std::mem::take(&mut pack) + "]").into_bytes()));
            }
        }
        packs.push(("city/senml/i94".to_owned(), (pack + "]").into_bytes()));
        city.publish_all(packs).await?;
        city.settled().await?;
        let ask = ["traffic", "annual", "traffic.volume", "i94", "--year", "2017", "--json"];
        let said = command::json(city.workplace(), &ask[..6])?;
        ensure!(said["complete_days"] == 344, "{said}");
        let aadt = |method: &str| said["aadt"][method]["aadt"].as_f64().context(format!("{method}: {said}"));
        ensure!((aadt("simple")? - 80_912.6).abs() < 0.05, "{said}");
        ensure!((aadt("weekday")? - 81_079.4).abs() < 0.05, "{said}");
        ensure!((aadt("monthly")? - 81_126.7).abs() < 0.05, "{said}");
        ensure!(said["highest"]["k_of"] == "monthly", "{said}");
        ensure!(said["highest"]["volume"] == 6_873.0 && said["peak_hour"]["volume"] == 7_280.0, "{said}");
        let paper = command::run(city.workplace(), &ask[..6])?;
        ensure!(paper.status.success() && paper.out.contains("80912.6 veh/d"), "{}", paper.out);
        let days = ["traffic", "days", "traffic.volume", "i94", "--from", "2017-01-01", "--to", "2017-01-08"];
        let days = command::json(city.workplace(), &days)?;
        let of_day = text.lines().filter(|line| line.starts_with("2017-01-05"));
        let hours: Vec<f64> = of_day.filter_map(|line| line.split(',').nth(5)?.parse().ok()).collect();
        let day = &days["days"][4];
        ensure!(day["day"] == "2017-01-05" && day["known"] == 1.0, "{day}");
        ensure!(day["volume"] == hours.iter().sum::<f64>(), "{day}");
        ensure!(day["peak_volume"] == hours.iter().copied().fold(0.0, f64::max), "{day}");
        ensure!(day["phf"].is_null(), "hours have no quarters: {day}");
        city.stop()?;
        Ok(())
    }

    pub async fn two_months_are_no_year(storage: Storage) -> anyhow::Result<()> {
        let Some(path) = feed("pems-station/flow_5min_a.csv") else { return Ok(()) };
        let path = path.display().to_string();
        let city = City::up(storage).await?;
        let import = ["import", &path, "--mapping", "pems-5min", "--topic", "import/pems-5min/a"];
        command::json(city.workplace(), &import)?;
        city.settled().await?;
        let named = "SELECT sensor, metric FROM series WHERE metric LIKE 'traffic.volume%'";
        let row = city.database().query_one(named, &[]).await?;
        let (sensor, metric): (&str, &str) = (row.get(0), row.get(1));
        let said = command::json(city.workplace(), &["traffic", "annual", metric, sensor, "--year", "2016"])?;
        let refused = said["aadt"]["monthly"]["refused"].as_str().unwrap_or_default();
        ensure!(refused.contains("0 months of 12"), "{said}");
        ensure!(said["aadt"]["simple"]["aadt"].is_f64(), "{said}");
        city.stop()?;
        Ok(())
    }

    const START_S: i64 = 1_704_099_600; // 2024-01-01T09:00:00Z

    /// Three kilometres of motorway with a station at the middle of each; it is slow at the first two from minute 30 to 69.
    /// The third is not for everybody.
    async fn motorway(city: &City) -> anyhow::Result<()> {
        let mut segments =
            String::from("id,from_node,to_node,length_m,lanes,free_flow_speed_kmh,road_class\n");
        let mut sensors = String::from("id,kind,segment,direction,offset_m,privacy\n");
        let mut series = String::from("sensor,metric,unit,kind,interval_s\n");
        for km in 1..=3 {
            writeln!(segments, "km{km},n{km},n{},1000,2,100,motorway", km + 1)?;
            let privacy = if km < 3 { "internal" } else { "personal" };
            writeln!(sensors, "d{km},loop,km{km},NB,500,{privacy}")?;
            for (metric, unit, kind) in [
                ("traffic.volume", "{veh}", "total"),
                ("traffic.speed.mean", "km/h", "rate"),
                ("traffic.occupancy", "%", "rate"),
            ] {
                writeln!(series, "d{km},{metric},{unit},{kind},60")?;
            }
        }
        let files = [("segments.csv", segments), ("sensors.csv", sensors), ("series.csv", series)];
        let files: Vec<String> =
            files.iter().map(|(name, text)| write(city, name, text)).collect::<anyhow::Result<_>>()?;
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        command::json(city.workplace(), &[&["registry", "import"], &files[..]].concat())?;
        let mut messages = Vec::new();
        for km in 1..=3 {
            let mut pack = format!(r#"[{{"bn":"d{km}:","bt":{START_S}}}"#);
            for minute in 0..120 {
                let slow = km < 3 && (30..70).contains(&minute);
                let (volume, speed, occupancy) = match (slow, (30..70).contains(&minute)) {
                    (true, _) => (15, 25, 40),
                    (false, true) => (15, 95, 5),
                    (false, false) => (20, 100, 11),
                };
                let t = 60 * (minute + 1);
                write!(pack, r#",{{"n":"traffic.volume","t":{t},"v":{volume}}}"#)?;
                write!(pack, r#",{{"n":"traffic.speed.mean","u":"km/h","t":{t},"v":{speed}}}"#)?;
                write!(pack, r#",{{"n":"traffic.occupancy","u":"/100","t":{t},"v":{occupancy}}}"#)?;
            }
            pack.push(']');
            messages.push((format!("city/senml/d{km}"), pack.into_bytes()));
        }
        city.publish_all(messages).await?;
        city.settled().await
    }

    pub async fn a_jam_is_a_bottleneck_and_an_incident(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        motorway(&city).await?;
        let ask = |command: &str, more: &[&str]| -> anyhow::Result<Value> {
            let period = ["--from", "2024-01-01T09:00:00Z", "--to", "2024-01-01T11:00:00Z"];
            command::json(city.workplace(), &[&["traffic", command], &period[..], more].concat())
        };
        let segments = ask("segments", &["km2", "--width", "30m"])?;
        let of = |name: &str| -> Value {
            let rows = segments["segments"].as_array().into_iter().flatten();
            rows.map(|row| row[name].clone()).collect()
        };
        ensure!(of("volume") == json!([600.0, 450.0, 550.0, 600.0]), "{}", of("volume"));
        ensure!(of("coverage") == json!([1.0, 1.0, 1.0, 1.0]), "{}", of("coverage"));
        // Ten minutes of 15 vehicles at 25 km/h, twenty of 20 at 100: 550 vehicle-km in 10 vehicle-hours.
        ensure!(of("los") == json!(["A", "D", "B", "A"]), "{}", of("los"));
        let hours = of("vehicle_h");
        ensure!(hours == json!([6.0, 18.0, 10.0, 6.0]), "{hours}");
        ensure!(of("delay_h") == json!([0.0, 13.5, 4.5, 0.0]), "{}", of("delay_h"));

        let queues = ask("queues", &[])?;
        let [queue] = &queues["queues"].as_array().context("queues")?[..] else {
            anyhow::bail!("{queues}");
        };
        let said = json!([queue["slow_at"], queue["free_at"], queue["queue_stations"], queue["queue_km"]]);
        ensure!(said == json!(["d2", "d3", 2.0, 1.0]), "{queue}");
        let (from, to) = (&queue["from"], &queue["to"]);
        ensure!(from == "2024-01-01T09:30:00Z" && to == "2024-01-01T10:10:00Z", "{queue}");
        ensure!(queues["pairs"] == 2 && queues["pairs_heard"] == 2, "{queues}");
        // Named, it is still the whole road that is looked at.
        ensure!(ask("queues", &["km1"])?["queues"] == json!([]), "km1 is no end of it");
        ensure!(ask("queues", &["km3"])?["queues"] == queues["queues"], "km3 is one end of it");

        let incidents = ask("incidents", &[])?;
        let [incident] = &incidents["incidents"].as_array().context("incidents")?[..] else {
            anyhow::bail!("{incidents}");
        };
        let said = json!([incident["upstream"], incident["downstream"], incident["from"], incident["to"]]);
        ensure!(said == json!(["d2", "d3", "2024-01-01T09:30:00Z", "2024-01-01T10:10:00Z"]), "{incident}");
        let unknown = command::run(city.workplace(), &["traffic", "segments", "km9"])?;
        ensure!(!unknown.status.success() && unknown.err.contains("no segment km9"), "{}", unknown.err);
        city.stop()?;
        Ok(())
    }

    pub async fn a_jam_is_told_to_those_who_see_all_of_it(storage: Storage) -> anyhow::Result<()> {
        let workplace = Workplace::new()?;
        let mut secrets = Vec::new();
        for role in ["operator", "planner", "public"] {
            let said = command::run(&workplace, &["token", "create", role, "--role", role])?;
            ensure!(said.status.success(), "{}", said.err);
            secrets.push(said.out.trim().to_owned());
        }
        let city = Plan::up(storage).on(workplace).start().await?;
        motorway(&city).await?;
        let connect =
            async |at: usize| anyhow::Ok(Flight::connect(city.flight_url()).await?.with_token(&secrets[at]));
        let (mut operator, mut planner, mut public) =
            (connect(0).await?, connect(1).await?, connect(2).await?);
        let of = |what: &str| {
            format!("SELECT {what} WHERE time >= '2024-01-01T09:00:00Z' AND time < '2024-01-01T11:00:00Z'")
        };
        let (from, to) = ("2024-01-01T09:30:00Z", "2024-01-01T10:10:00Z");

        let queues = of("* FROM queue");
        let found = operator.rows(&queues).await?;
        let queue = [from, to, "km2", "NB", "500.0", "d2", "d3", "1000.0", "2", "1000.0"];
        ensure!(found == [queue], "{found:?}");
        ensure!(planner.rows(&queues).await?.is_empty(), "one end of it is not for planners");
        let incidents = of("* FROM incident");
        let found = operator.rows(&incidents).await?;
        ensure!(found == [[from, to, "km2", "NB", "500.0", "d2", "d3", "1000.0"]], "{found:?}");
        ensure!(planner.rows(&incidents).await?.is_empty(), "one end of it is not for planners");

        let slow =
            of("free_flow_speed, speed_ratio, los, los_of, travel_time_s, vehicle_km, vehicle_h, delay_h \
                       FROM road('30m')");
        let slow = planner.rows(&(slow + " AND segment = 'km2' ORDER BY time LIMIT 2")).await?;
        ensure!(slow[0] == ["100.0", "1.0", "A", "density", "36.0", "600.0", "6.0", "0.0"], "{slow:?}");
        ensure!(slow[1] == ["100.0", "0.25", "D", "density", "144.0", "450.0", "18.0", "13.5"], "{slow:?}");
        for dataset in ["road", "station", "road('30m')"] {
            let segments = of(&format!("DISTINCT segment FROM {dataset}")) + " ORDER BY segment";
            let found = operator.rows(&segments).await?.concat();
            ensure!(found == ["km1", "km2", "km3"], "{dataset}: {found:?}");
            let found = planner.rows(&segments).await?.concat();
            ensure!(found == ["km1", "km2"], "{dataset}: {found:?}");
            let found = public.rows(&segments).await;
            let is_fine = dataset.contains("30m");
            ensure!(
                found.as_ref().map_or(is_fine, |found| !is_fine && found.is_empty()),
                "{dataset}: {found:?}"
            );
        }
        for what in ["queue", "incident"] {
            ensure!(
                public.rows(&of(&format!("* FROM {what}"))).await.is_err(),
                "{what} is finer than an hour"
            );
        }
        city.stop()?;
        Ok(())
    }

    pub async fn a_day_is_as_long_as_its_clocks_say(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::up(storage).args(&["--time-zone", "Europe/Paris"]).start().await?;
        let sensors = write(&city, "sensors.csv", "id,kind,direction\nin,loop,NB\nout,loop,SB\n")?;
        let series = "sensor,metric,unit,kind,interval_s\n\
                      in,traffic.volume,{veh},total,900\nout,traffic.volume,{veh},total,900\n";
        let series = write(&city, "series.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &sensors, &series])?;
        // Two local days from 2026-03-28 on, the second of 23 hours; from 8 to 9 o'clock more drive in than out.
        let midnight_s = "2026-03-27T23:00:00Z".parse::<jiff::Timestamp>()?.as_second();
        let mut messages = Vec::new();
        for (sensor, peak) in [("in", 30), ("out", 10)] {
            let mut pack = format!(r#"[{{"bn":"{sensor}:"}}"#);
            for quarter in 0..47 * 4 {
                let is_peak = [8 * 4, 31 * 4].iter().any(|eight| (*eight..eight + 4).contains(&quarter));
                let (t, v) = (midnight_s + 900 * (quarter + 1), if is_peak { peak } else { 5 });
                write!(pack, r#",{{"n":"traffic.volume","t":{t},"v":{v}}}"#)?;
            }
            messages.push((format!("city/senml/{sensor}"), (pack + "]").into_bytes()));
        }
        city.publish_all(messages).await?;
        city.settled().await?;
        let period = ["--from", "2026-03-28T14:37", "--to", "2026-03-30T10:00"];
        let said = command::json(
            city.workplace(),
            &[&["traffic", "days", "traffic.volume", "in", "out"], &period[..]].concat(),
        )?;
        let rows = said["days"].as_array().context("days")?;
        let of = |row: &Value| json!([row["day"], row["volume"], row["peak_hour"], row["phf"], row["d"]]);
        let day = |hours: i64| (2 * 4 * 5 * (hours - 1) + 160) as f64;
        ensure!(of(&rows[0]) == json!(["2026-03-28", day(24), "08:00", 1.0, 0.75]), "{}", rows[0]);
        ensure!(of(&rows[1]) == json!(["2026-03-29", day(23), "08:00", 1.0, 0.75]), "{}", rows[1]);
        // Nothing was heard of the third, which is there because it was asked for.
        ensure!(rows.len() == 3 && rows[2]["volume"].is_null() && rows[2]["known"] == 0.0, "{said}");
        let narrow = ["traffic", "segments", "--width", "1m"];
        let narrow = command::run(city.workplace(), &narrow)?;
        ensure!(!narrow.status.success() && narrow.err.contains("import sensors"), "{}", narrow.err);
        city.stop()?;
        Ok(())
    }
}

//! What is computed while it is read: the same numbers in SQL as on the screen.

tests::at_each_level!(
    a_measure_is_the_same_in_sql_as_on_the_screen,
    a_balance_and_its_nights_are_the_same_in_sql_as_on_the_screen,
    a_demand_is_the_same_in_sql_as_on_the_screen,
    a_usual_day_is_of_the_weeks_before_by_the_clock,
    what_is_open_or_silent_is_answered_and_what_is_too_much_is_not,
);

mod scenarios {
    use std::{fmt::Write, fs, sync::Arc};

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use serde_json::Value;
    use simulators::replay::Speed;
    use tests::{City, Plan, Storage, command, flight::Flight, page::Page};

    fn write(city: &City, name: &str, text: &str) -> anyhow::Result<String> {
        let path = city.workplace().path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// A feed with its registry, settled.
    async fn feed(city: &City, name: &str) -> anyhow::Result<()> {
        city.import_registry(name)?;
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

    const START_S: i64 = 1_704_067_200; // 2024-01-01T00:00:00Z

    pub async fn a_balance_and_its_nights_are_the_same_in_sql_as_on_the_screen(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let zones = write(&city, "zones.csv", "id,parent\nnorth,\nsouth,\n")?;
        let sensors = "id,kind,zone,role\nin,w-meter,north,inlet\nout,w-meter,north,export\nhome,w-meter,north,customer\n";
        let sensors = write(&city, "sensors.csv", sensors)?;
        let mut series = String::from("sensor,metric,unit,kind,interval_s\n");
        let mut messages = Vec::new();
        for (sensor, amount) in [("in", 10), ("out", 1), ("home", 8)] {
            writeln!(series, "{sensor},water.volume,m3,total,3600")?;
            let mut pack = format!(r#"[{{"bn":"{sensor}:"}}"#);
            // A meter of the second day was silent for an hour; from the fifth day on there is a leak.
            for hour in (1..=120).filter(|hour| *hour != 30 || sensor != "out") {
                let t = START_S + 3_600 * hour;
                let amount = if hour > 96 && sensor == "in" { 2 * amount } else { amount };
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

        let five = ["utility", "nights", "north", "--from", "2024-01-01", "--to", "2024-01-06", "--json"];
        let screen: Value = serde_json::from_str(&command::run(city.workplace(), &five)?.out)?;
        let expected = said(&screen["nights"], &["night", "flow", "baseline", "limit", "alarm"]);
        let sql = "SELECT to_char(time, '%Y-%m-%d'), flow, baseline, alarm_limit, alarm FROM night
                   WHERE time >= '2024-01-01T00:00:00Z' AND time < '2024-01-06T00:00:00Z' ORDER BY time";
        let found = rows(&mut flight, sql).await?;
        ensure!(found == expected && found.len() == 5, "{found:?} and not {expected:?}");
        ensure!(found[4][1] == "19" && found[4][4] == "true", "{found:?}");
        let zones = flight.rows(&format!("SELECT zone, unit FROM night WHERE {DAY}")).await?;
        ensure!(zones == [["north", "m3/h"]], "{zones:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_demand_is_the_same_in_sql_as_on_the_screen(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let sensors = write(&city, "sensors.csv", "id,kind,zone\nworks,e-meter,\n")?;
        let series = "sensor,metric,unit,kind,interval_s\n\
                      works,energy.active,kW.h,counter,300\nworks,energy.reactive,kV.A.h{reactive},total,900\n";
        let series = write(&city, "series.csv", series)?;
        command::json(city.workplace(), &["registry", "import", &sensors, &series])?;
        let mut pack = String::from(r#"[{"bn":"works:"}"#);
        let mut register = 100;
        for five in 0..=2 * 288 {
            let t = START_S + 300 * five;
            write!(pack, r#",{{"n":"energy.active","u":"kWh","t":{t},"v":{register}}}"#)?;
            // The highest windows begin at 12:05, and on the second day in the last evening.
            register += if [145, 146, 147, 575].contains(&five) { 7 } else { 1 + five % 3 };
            if five % 3 == 0 && 0 < five {
                write!(pack, r#",{{"n":"energy.reactive","u":"kvarh","t":{t},"v":2.5}}"#)?;
            }
        }
        city.publish("city/senml/works", pack + "]").await?;
        city.settled().await?;
        let days = ["--from", "2024-01-01", "--to", "2024-01-03", "--reactive", "energy.reactive"];
        let screen = command::json(
            city.workplace(),
            &[&["utility", "demand", "energy.active", "works"], &days[..]].concat(),
        )?;
        let names = [
            "day",
            "energy",
            "peak",
            "peak_from",
            "sliding_peak",
            "sliding_from",
            "load_factor",
            "power_factor",
        ];
        let expected = said(&screen["days"], &names);
        let mut flight = Flight::connect(city.flight_url()).await?;
        let sql = "SELECT to_char(time, '%Y-%m-%d'), amount, peak, to_char(peak_at, '%H:%M'), sliding_peak,
                       to_char(sliding_peak_at, '%H:%M'), load_factor, power_factor
                   FROM demand WHERE sensor = 'works' AND metric = 'energy.active'
                       AND time >= '2024-01-01T00:00:00Z' AND time < '2024-01-03T00:00:00Z' ORDER BY time";
        let found = rows(&mut flight, sql).await?;
        ensure!(found == expected && found.len() == 2, "{found:?} and not {expected:?}");
        ensure!(found[0][5] == "12:05" && !found[0][7].is_empty(), "{found:?}");
        let others = "SELECT metric, unit, demand_unit, block_s, power_factor FROM demand
                      WHERE time >= '2024-01-01T00:00:00Z' AND time < '2024-01-02T00:00:00Z' ORDER BY metric DESC";
        let others = flight.rows(others).await?;
        let reactive = ["energy.reactive", "kV.A.h{reactive}", "kV.A.h{reactive}/h", "900", ""];
        ensure!(others.len() == 2 && others[0] == reactive, "{others:?}");
        ensure!(others[1][1..4] == ["kW.h", "kW", "900"], "{others:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_usual_day_is_of_the_weeks_before_by_the_clock(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::up(storage).args(&["--time-zone", "Europe/Paris"]).start().await?;
        let segments = write(&city, "segments.csv", "id,direction,length_m\nring,NB,500\n")?;
        let sensors = "id,kind,segment,direction\nleft,loop,ring,NB\nright,loop,ring,NB\n";
        let sensors = write(&city, "sensors.csv", sensors)?;
        let mut series = String::from("sensor,metric,unit,kind,interval_s\n");
        for sensor in ["left", "right"] {
            writeln!(series, "{sensor},traffic.volume,{{veh}},total,3600")?;
            writeln!(series, "{sensor},traffic.speed.mean,km/h,rate,3600")?;
        }
        let series = write(&city, "series.csv", &series)?;
        command::json(city.workplace(), &["registry", "import", &segments, &sensors, &series])?;
        // Tuesdays from 08:00 to 09:00 in Paris: one in summer, and the eight before it in winter. The right loop was
        // silent in the earliest of them.
        let ends_s = "2024-04-02T07:00:00Z".parse::<Timestamp>()?.as_second();
        let mut records = Vec::new();
        for week in 0..=8 {
            let t = ends_s - 7 * 86_400 * week + if week == 0 { 0 } else { 3_600 };
            for (sensor, volume) in [("left", 10 * week), ("right", 5)] {
                if week < 8 || sensor == "left" {
                    records.push(format!(r#"{{"n":"{sensor}:traffic.volume","t":{t},"v":{volume}}}"#));
                    records
                        .push(format!(r#"{{"n":"{sensor}:traffic.speed.mean","u":"km/h","t":{t},"v":40}}"#));
                }
            }
        }
        city.publish("city/senml/loops", format!("[{}]", records.join(","))).await?;
        city.settled().await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let of = |filter: &str| {
            format!(
                "SELECT segment, detectors, weeks, volume_p15, volume_p50, volume_p85, speed_p50, occupancy_p50
                 FROM typical('1h') WHERE {filter}
                 AND time >= '2024-04-02T06:00:00Z' AND time < '2024-04-02T08:00:00Z' ORDER BY time"
            )
        };
        let both = rows(&mut flight, &of("segment = 'ring' AND direction = 'NB'")).await?;
        let silent = ["ring", "2", "0", "", "", "", "", ""];
        ensure!(both == [["ring", "2", "7", "24", "45", "66", "40", ""], silent], "{both:?}");
        let left = rows(&mut flight, &of("sensor = 'left'")).await?;
        ensure!(left[0] == ["ring", "1", "8", "20.5", "45", "69.5", "40", ""], "{left:?}");
        ensure!(rows(&mut flight, &of("sensor = 'nobody'")).await?.is_empty(), "nothing is put together");

        let host = city.flight_url().replacen("grpc://", "http://", 1);
        let ticket = "width=1h&from=2024-04-02T06:00:00Z&to=2024-04-02T07:00:00Z&sensor=left,right";
        let file = Page::fetch(&format!("{host}/export/typical.csv?{ticket}&columns=volume_p50")).await?.0;
        ensure!(file.trim_end().ends_with("\n45") || file.trim_end().ends_with("\n45.0"), "{file}");
        let refused = Page::fetch(&format!("{host}/export/typical.csv?{ticket}&zone=north")).await;
        ensure!(refused.is_err(), "a zone is no detector's");
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

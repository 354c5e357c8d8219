//! The bundled feeds are stored once, and every message is accounted for.

tests::at_each_level!(wntr_net3_is_stored_once, sumo_grid_counts_each_passage_once);

mod scenarios {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write;
    use std::sync::Arc;

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use simulators::feed::Feed;
    use simulators::oracle::every_rollup;
    use simulators::replay::Speed;
    use tests::tables::Account;
    use tests::{City, Plan, Storage, command, python};

    /// A rollover, an exchange, the stuck one, the late one, and the one that repeats itself.
    const REGISTERS: [&str; 5] = ["WM-119", "WM-151", "WM-117", "WM-103", "WM-189"];

    pub async fn wntr_net3_is_stored_once(storage: Storage) -> anyhow::Result<()> {
        let demo = Plan::demo(storage).args(&["--feed", "wntr-net3", "--speed", "max", "--json"]);
        let city = demo.start().await?;
        city.settled_at(40_808).await?;
        let account = city.account().await?;
        account.adds_up()?;
        let expected = Account {
            received: 40_808,
            accepted: 40_808,
            decoded: 40_808,
            stored: 40_606,
            duplicate: 202,
            sensors: 61,
            readings: 40_606,
            late: account.late,
            ..Account::default()
        };
        ensure!(account == expected, "{account:?}");
        let buckets = every_rollup(city.database()).await?;
        ensure!(0 < buckets, "nothing was rolled up");

        weeks_agree_at_every_width(&city)?;

        let file = city.workplace().path().join("registers.csv");
        std::fs::write(&file, registers()?)?;
        let file = file.to_str().context("a path that is text")?;
        python::client("readings_match_the_file.py", &[city.flight_url(), file, "40606"])?;

        let output = city.interrupt()?;
        let last: Value =
            serde_json::from_str(output.trim()).with_context(|| format!("not JSON: {output}"))?;
        for (name, number) in [("received", 40_808), ("stored", 40_606), ("duplicate", 202), ("conflict", 0)]
        {
            let found = find(&last, name);
            ensure!(found == Some(number), "the final account says {name} = {found:?}: {last}");
        }
        Ok(())
    }

    fn measure(city: &City, sensor: &str, metric: &str, period: &[&str]) -> anyhow::Result<Vec<Value>> {
        let said = command::json(city.workplace(), &[&["measure", metric, sensor], period].concat())?;
        Ok(said["buckets"].as_array().context("buckets")?.clone())
    }

    /// What registers counted in a week is one number, and the rollover, the exchange and the gap are named.
    fn weeks_agree_at_every_width(city: &City) -> anyhow::Result<()> {
        let week = ["--from", "2024-01-01T00:00:00Z", "--to", "2024-01-08T00:00:00Z"];
        for (meter, named, event) in
            [("WM-119", "rollovers", "rollover"), ("WM-151", "resets", "reset"), ("WM-111", "", "gap")]
        {
            let mut sums = Vec::new();
            for width in ["1d", "1h", "5m"] {
                let period = [&week[..], &["--width", width]].concat();
                let buckets = measure(city, meter, "water.volume.total", &period)?;
                let sum = |name: &str| buckets.iter().filter_map(|bucket| bucket[name].as_f64()).sum::<f64>();
                sums.push((sum("counted") * 1e6).round() as i64);
                if !named.is_empty() {
                    ensure!(sum(named) == 1.0, "{meter} by {width}: {named} {}", sum(named));
                } else {
                    // A day holds the whole gap, so what it counted is exact; hours inside are an estimate.
                    let partial = buckets.iter().any(|bucket| bucket["partial"] == true);
                    let seen =
                        buckets.iter().filter_map(|bucket| bucket["coverage"].as_f64()).fold(1.0, f64::min);
                    ensure!(
                        partial == (width != "1d") && seen < 0.6,
                        "{meter} by {width}: {partial}, {seen}"
                    );
                }
            }
            ensure!(sums.iter().all(|sum| *sum == sums[0]), "{meter}: {sums:?}");
            let args = [&["measure", "water.volume.total", meter], &week[..], &["--width", "15m"]].concat();
            let said = command::json(city.workplace(), &args)?;
            let events: Vec<&str> = said["events"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|event| event["event"].as_str())
                .collect();
            ensure!(events.contains(&event), "{meter}: {events:?}");
        }
        // What lies beside the period is read, wherever it is cut.
        let minutes = |from: &str, to: &str| {
            let period = ["--from", from, "--to", to, "--width", "1m"];
            measure(city, "WM-119", "water.volume.total", &period)
        };
        let whole = minutes("2024-01-01T05:00:00Z", "2024-01-01T06:00:00Z")?;
        let cut = minutes("2024-01-01T05:07:00Z", "2024-01-01T05:41:00Z")?;
        let counted = |buckets: &[Value]| -> Vec<Value> {
            buckets
                .iter()
                .map(|bucket| json!([bucket["from"], bucket["counted"], bucket["coverage"]]))
                .collect()
        };
        ensure!(counted(&cut) == counted(&whole[7..41]), "{:?}", counted(&cut));
        Ok(())
    }

    /// `sensor,time,value` of the five registers as the feed has them, repeats included.
    fn registers() -> anyhow::Result<String> {
        let mut csv = String::from("sensor,time,value\n");
        let feed = Feed::named("wntr-net3").context("the bundled feed")?;
        for message in feed.recording()?.read()? {
            let message = message?;
            let meter = message.topic.split('/').nth(2).context("a topic with a meter")?;
            if REGISTERS.contains(&meter) {
                let json: Value = serde_json::from_slice(&message.payload)?;
                writeln!(
                    csv,
                    "{meter},{},{}",
                    json["time"].as_str().context("a time")?,
                    json["register_m3"]
                )?;
            }
        }
        Ok(csv)
    }

    /// A number by its name, at whatever depth.
    fn find(json: &Value, name: &str) -> Option<i64> {
        let object = json.as_object()?;
        let here = object.get(name).and_then(Value::as_i64);
        here.or_else(|| object.values().find_map(|value| find(value, name)))
    }

    pub async fn sumo_grid_counts_each_passage_once(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        for replays in 1..=2 {
            city.replay_feed("sumo-grid", Speed::Max, Arc::default()).await?;
            city.settled().await?;
            let account = city.account().await?;
            account.adds_up()?;
            ensure!(account.events == 11_063, "after {replays} replays: {account:?}");
            ensure!(account.received == 15_383 * replays, "after {replays} replays: {account:?}");
            ensure!(account.conflict == 0 && account.rejected == 0, "after {replays} replays: {account:?}");
        }
        let (expected, volume) = passages_and_volume()?;
        let query = "SELECT s.sensor, r.event_id, (extract(epoch FROM r.time) * 1000)::int8, r.speed, r.class
             FROM event r JOIN series s ON s.id = r.series_id";
        let mut found = BTreeSet::new();
        let mut speeds = BTreeMap::new();
        for row in city.database().query(query, &[]).await? {
            let key: Passage = (row.get(0), row.get(1), row.get(2));
            speeds.insert(key.clone(), row.get::<_, f64>(3));
            found.insert(key);
        }
        ensure!(found == expected.keys().cloned().collect(), "the passages are not those of the feed");
        for (key, speed_mps) in &expected {
            let speed = speeds[key];
            ensure!(
                (speed - speed_mps * 3.6).abs() < 1e-9,
                "{key:?} passed at {speed} km/h, not {speed_mps} m/s"
            );
        }
        let query = "SELECT sum(r.value)::int8, count(*) FROM reading r JOIN series s ON s.id = r.series_id
             WHERE s.metric = 'traffic.volume'";
        let row = city.database().query_one(query, &[]).await?;
        let stored: (i64, i64) = (row.get(0), row.get(1));
        ensure!(
            stored == (volume, 4_320),
            "volume and intervals are {stored:?}, the feed has {volume} in 4,320"
        );
        every_rollup(city.database()).await?;

        // Single minutes come from readings, quarters of an hour from rollups.
        let period = ["--from", "2024-05-14T05:00:00Z", "--to", "2024-05-14T06:30:00Z", "--width"];
        for width in ["1m", "15m"] {
            let buckets = measure(&city, "e1_A0A1_0", "traffic.vehicle", &[&period[..], &[width]].concat())?;
            let sum: f64 = buckets.iter().filter_map(|bucket| bucket["volume"].as_f64()).sum();
            let passed = expected.keys().filter(|(detector, ..)| detector == "e1_A0A1_0").count();
            ensure!(sum == passed as f64, "{sum} of {passed} vehicles by {width}");
            let speeds = |bucket: &Value| {
                Some([bucket["space_mean_speed"].as_f64()?, bucket["time_mean_speed"].as_f64()?])
            };
            let known: Vec<[f64; 2]> = buckets.iter().filter_map(speeds).collect();
            ensure!(
                !known.is_empty() && known.iter().all(|[space, time]| *space <= time + 1e-9),
                "{known:?}"
            );
        }
        // Means of intervals are weighted by the vehicles of the same detector.
        let by_hour = measure(&city, "e1_A0A1_0", "traffic.speed.mean", &[&period[..], &["1h"]].concat())?;
        let single = measure(&city, "e1_A0A1_0", "traffic.vehicle", &[&period[..], &["1h"]].concat())?;
        let (means, exact) = (&by_hour[0]["time_mean_speed"], &single[0]["time_mean_speed"]);
        let near = means.as_f64().zip(exact.as_f64()).is_some_and(|(a, b)| (a / b - 1.0).abs() < 0.03);
        ensure!(near, "the mean speed is {means} by intervals and {exact} by vehicles");
        // The lanes of a road are one.
        let lanes = |sensors: &[&str]| {
            let args = [&["measure", "traffic.vehicle"], sensors, &period, &["15m"]].concat();
            command::json(city.workplace(), &args)
        };
        let (both, apart) =
            (lanes(&["e1_A0A1_0", "e1_A0A1_1"])?, [lanes(&["e1_A0A1_0"])?, lanes(&["e1_A0A1_1"])?]);
        let volume = |said: &Value| -> f64 {
            let buckets = said["buckets"].as_array().into_iter().flatten();
            buckets.filter_map(|bucket| bucket["volume"].as_f64()).sum()
        };
        ensure!(both["sensors"] == 2 && volume(&both) == apart.iter().map(volume).sum::<f64>(), "{both}");
        city.stop()?;
        Ok(())
    }

    /// Detector, vehicle, time of entry in ms.
    type Passage = (String, i64, i64);

    /// Speed in m/s of each passage; and the sum of the interval volumes.
    fn passages_and_volume() -> anyhow::Result<(BTreeMap<Passage, f64>, i64)> {
        let (mut passages, mut volume) = (BTreeMap::new(), 0);
        let feed = Feed::named("sumo-grid").context("the bundled feed")?;
        for message in feed.recording()?.read()? {
            let message = message?;
            let json: Value = serde_json::from_slice(&message.payload)?;
            let detector = message.topic.split('/').nth(2).context("a topic with a detector")?;
            if let Some(pack) = json.as_array() {
                volume += pack[0]["v"].as_i64().context("a volume")?;
                continue;
            }
            let entered: Timestamp = json["entered"].as_str().context("a time")?.parse()?;
            let vehicle = json["vehicle"].as_i64().context("a vehicle")?;
            let speed = json["speed_mps"].as_f64().context("a speed")?;
            passages.insert((detector.to_owned(), vehicle, entered.as_millisecond()), speed);
        }
        Ok((passages, volume))
    }
}

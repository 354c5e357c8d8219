//! What comes in now: the newest value of every sensor, and readings and passages as they are committed.

tests::at_each_level!(
    the_newest_of_each_sensor_is_there_at_once,
    a_tail_misses_nothing_over_a_gap,
    passages_are_told_to_those_who_may_see_them,
);

mod scenarios {
    use std::collections::BTreeMap;

    use anyhow::{Context, ensure};
    use jiff::{Timestamp, ToSpan};
    use serde_json::{Value, json};
    use tests::{
        City, Plan, Storage,
        aging::senml,
        command,
        doors::Guarded,
        flight::{Flight, Tail, texts},
    };

    fn seconds_ago(seconds: i64) -> anyhow::Result<Timestamp> {
        Ok(Timestamp::from_second(Timestamp::now().as_second() - seconds)?)
    }

    async fn stored(city: &City, count: i64) -> anyhow::Result<()> {
        stored_in(city, "reading", count).await
    }

    async fn stored_in(city: &City, table: &str, count: i64) -> anyhow::Result<()> {
        let select = format!("SELECT count(*) FROM {table}");
        city.eventually("what was sent to be stored", async || {
            let found: i64 = city.database().query_one(&select, &[]).await?.get(0);
            Ok((found == count).then_some(()))
        })
        .await
    }

    pub async fn the_newest_of_each_sensor_is_there_at_once(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let select = "SELECT sensor, value, quality IS NULL, time FROM latest ORDER BY sensor";
        ensure!(flight.rows(select).await?.is_empty(), "nothing came yet");

        // One is silent for a hundred days, one for two, one speaks now; each said other things before.
        let days = |days: i64| seconds_ago(days * 86_400);
        let mut messages = Vec::new();
        for (sensor, last) in [("weir-1", days(100)?), ("weir-2", days(2)?), ("weir-3", seconds_ago(30)?)] {
            for (step, value) in [(4000, 1.0), (700, 2.0), (0, 3.0)] {
                messages.push(senml(sensor, "level", last - step.seconds(), value));
            }
        }
        city.publish_all(messages).await?;
        stored(&city, 9).await?;
        let values = async |flight: &mut Flight| -> anyhow::Result<BTreeMap<String, (String, String)>> {
            let rows = flight.rows(select).await?;
            Ok(rows.into_iter().map(|row| (row[0].clone(), (row[1].clone(), row[2].clone()))).collect())
        };
        let all = |value: &str| {
            let of = |sensor: &str| (sensor.to_owned(), (value.to_owned(), "false".to_owned()));
            BTreeMap::from(["weir-1", "weir-2", "weir-3"].map(of))
        };
        let seen = values(&mut flight).await?;
        ensure!(seen == all("3.0"), "{seen:?}");

        // From rollups after a restart, and the next reading at once.
        city.settled().await?;
        let city = Plan::up(storage).on(city.stop()?).start().await?;
        let mut flight = Flight::connect(city.flight_url()).await?;
        let seen = values(&mut flight).await?;
        ensure!(seen == all("3.0"), "after a restart: {seen:?}");
        city.publish_all(vec![
            senml("weir-1", "level", seconds_ago(5)?, 4.0),
            senml("weir-2", "level", days(3)?, 9.0),
        ])
        .await?;
        stored(&city, 11).await?;
        let seen = values(&mut flight).await?;
        ensure!(seen["weir-1"].0 == "4.0" && seen["weir-2"].0 == "3.0", "late is not new: {seen:?}");
        let one = flight.rows("SELECT value FROM latest WHERE sensor = 'weir-1' AND value > 3").await?;
        ensure!(one == [["4.0"]], "{one:?}");

        // What does not count is not the newest, from now on: the registry says what counts.
        let bounded = "UPDATE series SET max = 3.5 WHERE sensor = 'weir-1'";
        city.database().execute(bounded, &[]).await?;
        city.database().execute("UPDATE city SET registry_version = registry_version + 1", &[]).await?;
        let seen = values(&mut flight).await?;
        ensure!(seen["weir-1"].0 == "3.0", "{seen:?}");
        let erase = ["erase", "--sensor", "weir-2", "--reason", "asked", "--yes"];
        let said = command::run(city.workplace(), &erase)?;
        ensure!(said.status.success(), "{}", said.err);
        ensure!(!values(&mut flight).await?.contains_key("weir-2"), "erased");
        city.stop()?;
        Ok(())
    }

    /// Takes messages until so many rows are there, and counts each.
    async fn take(
        tail: &mut Tail,
        rows: &mut BTreeMap<Vec<String>, usize>,
        want: usize,
    ) -> anyhow::Result<Value> {
        loop {
            let piece = tail.next().await?;
            if let Some(batch) = &piece.rows {
                for row in texts(batch)? {
                    *rows.entry(row).or_default() += 1;
                }
            }
            if want <= rows.len() {
                return Ok(piece.about["resume"].clone());
            }
        }
    }

    pub async fn a_tail_misses_nothing_over_a_gap(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let url = city.flight_url().to_owned();
        city.publish_all(vec![senml("weir-1", "level", seconds_ago(600)?, -1.0)]).await?;
        stored(&city, 1).await?;
        let ticket = json!({"dataset": "reading", "live": true, "sensor": ["weir-1", "weir-2"], "columns": ["sensor", "value"]});
        let mut tail = Tail::open(&url, None, &ticket).await?;
        let begun = tail.next().await?;
        ensure!(begun.rows.is_none(), "what was there before is not news");

        let message =
            |i: i64, sensor: &str| anyhow::Ok(senml(sensor, "level", seconds_ago(500 - i)?, i as f64));
        let mut rows = BTreeMap::new();
        for i in 0..20 {
            city.publish_all(vec![message(i, "weir-1")?, message(i, "weir-2")?, message(i, "weir-3")?])
                .await?;
        }
        let place = take(&mut tail, &mut rows, 40).await?;
        drop(tail);
        // While nobody follows; also what is late.
        city.publish_all(vec![
            message(20, "weir-1")?,
            senml("weir-2", "level", seconds_ago(40 * 86_400)?, 20.0),
        ])
        .await?;
        stored(&city, 63).await?;
        let resumed = json!({"dataset": "reading", "resume": place, "sensor": ["weir-1", "weir-2"], "columns": ["sensor", "value"]});
        let mut tail = Tail::open(&url, None, &resumed).await?;
        take(&mut tail, &mut rows, 42).await?;
        city.publish_all(vec![message(21, "weir-2")?]).await?;
        let place = take(&mut tail, &mut rows, 43).await?;
        ensure!(rows.values().all(|count| *count == 1), "some came twice: {rows:?}");
        ensure!(rows.keys().all(|row| row[0] != "weir-3" && row[1] != "-1.0"), "{rows:?}");
        drop(tail);

        // The whole city is down in between.
        city.publish_all(vec![message(22, "weir-1")?]).await?;
        stored(&city, 65).await?;
        let city = Plan::up(storage).on(city.stop()?).start().await?;
        let resumed = json!({"dataset": "reading", "resume": place, "columns": ["sensor", "value"]});
        let mut tail = Tail::open(city.flight_url(), None, &resumed).await?;
        let mut rest = BTreeMap::new();
        take(&mut tail, &mut rest, 1).await?;
        ensure!(rest.into_keys().eq([vec!["weir-1".to_owned(), "22.0".to_owned()]]), "after a restart");

        let place = place.as_str().context("a place is text")?;
        for (wrong, word) in [
            (json!({"dataset": "reading", "resume": "1/2/3"}), "not a token of ours"),
            (
                json!({"dataset": "reading", "resume": place.replacen(['1', '2', '3'], "7", 1)}),
                "another database",
            ),
            (json!({"dataset": "reading", "live": true, "from": "2026-01-01T00:00:00Z"}), "neither from"),
            (json!({"dataset": "sensor", "live": true}), "only reading and event are"),
            (json!({"dataset": "reading", "live": true, "columns": ["valu"]}), "value"),
        ] {
            let refused = match Tail::open(city.flight_url(), None, &wrong).await {
                Err(error) => error,
                Ok(mut tail) => tail.next().await.err().with_context(|| format!("{wrong} is answered"))?,
            };
            ensure!(format!("{refused:#}").contains(word), "{wrong}: {refused:#}");
        }
        city.stop()?;
        Ok(())
    }

    /// One vehicle over a loop.
    fn passage(sensor: &str, at: Timestamp, vehicle: i64) -> (String, Vec<u8>) {
        let payload = format!(
            r#"{{"vehicle":{vehicle},"class":"car","entered":"{at}","on_time_s":0.34,"speed_mps":10,"length_m":4.6}}"#
        );
        (format!("city/traffic/{sensor}/passage"), payload.into_bytes())
    }

    pub async fn passages_are_told_to_those_who_may_see_them(storage: Storage) -> anyhow::Result<()> {
        let guarded = Guarded::start(storage, |plan| plan).await?;
        let (city, url) = (&guarded.city, guarded.city.flight_url());
        let begun = seconds_ago(500)?;
        let message = |sensor: &str, vehicle: i64| passage(sensor, begun + vehicle.seconds(), vehicle);
        city.publish_all(vec![message("loop-0", 1)]).await?;
        stored_in(city, "event", 1).await?;
        let ticket = json!({"dataset": "event", "live": true, "sensor": ["loop-1", "loop-2"],
            "columns": ["sensor", "event_id", "speed", "class"]});
        let open =
            async |role: &str, ticket: &Value| Tail::open(url, Some(guarded.secret(role)?), ticket).await;
        let mut tail = open("operator", &ticket).await?;
        ensure!(tail.next().await?.rows.is_none(), "what was there before is not news");
        let mut blind = open("planner", &json!({"dataset": "event", "live": true})).await?;
        ensure!(blind.next().await?.rows.is_none());

        let mut rows = BTreeMap::new();
        for vehicle in 0..10 {
            let level = senml("loop-1", "level", begun + vehicle.seconds(), 1.0);
            let passages = ["loop-1", "loop-2", "loop-3"].map(|sensor| message(sensor, vehicle));
            city.publish_all([passages.to_vec(), vec![level]].concat()).await?;
        }
        let place = take(&mut tail, &mut rows, 20).await?;
        drop(tail);
        // While nobody follows; also what is late, and what comes again.
        let late = passage("loop-2", seconds_ago(40 * 86_400)?, 11);
        city.publish_all(vec![message("loop-1", 10), late, message("loop-1", 9)]).await?;
        stored_in(city, "event", 33).await?;
        let mut resumed = ticket.clone();
        resumed["resume"] = place;
        let mut tail = open("operator", &resumed).await?;
        take(&mut tail, &mut rows, 22).await?;
        city.publish_all(vec![message("loop-2", 12)]).await?;
        take(&mut tail, &mut rows, 23).await?;
        ensure!(rows.values().all(|count| *count == 1), "some came twice: {rows:?}");
        let seen = |row: &Vec<String>| row[0] != "loop-3" && row[2..] == ["36.0", "car"];
        ensure!(rows.keys().all(seen), "{rows:?}");

        // Nobody reviewed these loops: they are personal, and a planner hears a sign of life.
        ensure!(blind.next().await?.rows.is_none(), "a planner sees passages of a personal sensor");
        for (role, wrong, word) in [
            ("public", json!({"dataset": "event", "live": true}), "no dataset"),
            ("planner", json!({"dataset": "event", "live": true, "columns": ["tags"]}), "no column"),
        ] {
            let refused = match open(role, &wrong).await {
                Err(error) => error,
                Ok(mut tail) => tail.next().await.err().with_context(|| format!("{role} follows {wrong}"))?,
            };
            ensure!(format!("{refused:#}").contains(word), "{role}: {refused:#}");
        }
        guarded.city.stop()?;
        Ok(())
    }
}

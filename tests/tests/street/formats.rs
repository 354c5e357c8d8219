//! Sensors that do not speak our language: state that survives a restart, mappings that change while messages flow,
//! messages told apart, and what must not be kept.

tests::at_each_level!(
    an_edge_node_is_understood_though_ingest_is_killed_within_its_session,
    a_changed_mapping_is_taken_while_running_or_refused_as_a_whole,
    a_message_that_its_mapping_calls_the_same_is_a_repeat,
    a_number_plate_leaves_no_trace_but_a_pseudonym
);

mod scenarios {
    use std::fs;
    use std::path::Path;

    use anyhow::{Context, ensure};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use jiff::Timestamp;
    use serde_json::Value;
    use tests::{City, Plan, Storage};

    /// Time, series and value, as the tables hold them.
    async fn readings(city: &City) -> anyhow::Result<Vec<String>> {
        let select = "SELECT r.time, s.sensor, s.metric, r.value, s.unit
                      FROM reading r JOIN series s ON s.id = r.series_id ORDER BY 1, 2, 3";
        let rows = city.database().query(select, &[]).await?;
        let line = |row: &tokio_postgres::Row| {
            let (time, sensor, metric): (Timestamp, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let (value, unit): (f64, &str) = (row.get(3), row.get(4));
            format!("{time} {sensor} {metric} {:?} {unit}", value as f32)
        };
        Ok(rows.iter().map(line).collect())
    }

    pub async fn an_edge_node_is_understood_though_ingest_is_killed_within_its_session(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/payloads/sparkplug_sequence.jsonl");
        let Ok(text) = fs::read_to_string(&file) else {
            eprintln!("SKIPPED: no {}", file.display());
            return Ok(());
        };
        let (mut messages, mut expected) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            let payload = STANDARD.decode(line["payload_b64"].as_str().context("a payload")?)?;
            messages.push((line["topic"].as_str().context("a topic")?.to_owned(), payload));
            for reading in line["expect"].as_array().context("what is expected")? {
                expected.push(format!(
                    "{} {} {} {:?} {}",
                    Timestamp::from_millisecond(reading["time_ms"].as_i64().context("a time")?)?,
                    reading["sensor"].as_str().context("a sensor")?,
                    reading["metric"].as_str().context("a metric")?,
                    reading["value"].as_f64().context("a value")? as f32,
                    reading["unit"].as_str().context("a unit")?,
                ));
            }
        }
        expected.sort();
        let folder = tempfile::Builder::new().prefix("screenline-test-").tempdir_in("/tmp")?;
        let mapping = folder.path().join("sparkplug.toml");
        fs::write(
            &mapping,
            "[[source]]\nname = \"nodes\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug-b\"\n",
        )?;
        let mapping = mapping.to_str().context("a path")?;
        let mut city = Plan::up(storage).args(&["--mappings", mapping]).start().await?;
        let mut from = 0;
        // Before the device's birth, among its data, and between the rebirth and what follows.
        for to in [2, 8, 14, messages.len()] {
            city.publish_all(messages[from..to].to_vec()).await?;
            city.settled().await?;
            if from == 0 {
                city.eventually("a request for the births that were missed", async || {
                    let asked = city.metrics().await?.value("screenline_requests_published_total");
                    Ok(asked.filter(|asked| 1.0 <= *asked))
                })
                .await?;
            }
            if to < messages.len() {
                city.kill_ingest().await?;
            }
            from = to;
        }
        let stored = readings(&city).await?;
        ensure!(stored == expected, "{stored:#?} instead of {expected:#?}");
        let open = "SELECT count(*) FROM rejection WHERE reason = 'unborn'";
        let unborn: i64 = city.database().query_one(open, &[]).await?.get(0);
        ensure!(unborn == 2, "{unborn} messages without a birth");
        Ok(())
    }

    fn mapping(topic: &str, metric: &str) -> String {
        format!(
            "[[source]]\nname = \"plain\"\ntopic = \"{topic}/{{id}}\"\nformat = \"json\"\nsensor = \"{{id}}\"\n\
             time = {{ path = \"/t\", as = \"unix_s\" }}\n\
             reading = [{{ metric = \"{metric}\", value = \"/v\", unit = \"m\" }}]\n"
        )
    }

    pub async fn a_changed_mapping_is_taken_while_running_or_refused_as_a_whole(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("screenline-test-").tempdir_in("/tmp")?;
        let file = folder.path().join("mapping.toml");
        fs::write(&file, mapping("first", "level"))?;
        let city = Plan::up(storage)
            .args(&["--mappings", folder.path().to_str().context("a path")?])
            .start()
            .await?;
        let send = async |topic: &str, t: i64| {
            city.publish(topic, format!(r#"{{"t":{},"v":1.5}}"#, 1_704_067_200 + t)).await
        };
        let changes = async |wanted: f64, refused: f64| {
            let what = format!("{wanted} changes of the mapping, {refused} refused");
            city.eventually(&what, async || {
                let page = city.metrics().await?;
                let taken = page.value("screenline_mapping_changes_total").unwrap_or(0.0);
                Ok((taken == wanted && page.value("screenline_mapping_refused") == Some(refused))
                    .then_some(()))
            })
            .await
        };
        send("first/a", 0).await?;
        city.settled().await?;

        fs::write(&file, mapping("first", "depth").replace("\"m\"", "\"furlongs\""))?;
        changes(0.0, 1.0).await?;
        send("first/a", 60).await?;
        city.settled().await?;

        fs::write(&file, mapping("second", "depth"))?;
        changes(1.0, 0.0).await?;
        send("second/a", 120).await?;
        city.settled().await?;
        let stored = readings(&city).await?;
        let expected = [
            "2024-01-01T00:00:00Z a level 1.5 m",
            "2024-01-01T00:01:00Z a level 1.5 m",
            "2024-01-01T00:02:00Z a depth 1.5 m",
        ];
        ensure!(stored == expected, "{stored:#?}");
        ensure!(city.log().contains("furlongs"), "the log does not say what is wrong with the mapping");
        Ok(())
    }

    pub async fn a_message_that_its_mapping_calls_the_same_is_a_repeat(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("screenline-test-").tempdir_in("/tmp")?;
        let file = folder.path().join("mapping.toml");
        fs::write(
            &file,
            "[[source]]\nname = \"uplinks\"\ntopic = \"up/{id}\"\nformat = \"json\"\nsensor = \"{id}\"\n\
             time = { as = \"receive\" }\ndedup = [\"/dev\", \"/f_cnt\"]\n\
             reading = [{ metric = \"level\", value = \"/v\", unit = \"m\" }]\n",
        )?;
        let mut city =
            Plan::up(storage).args(&["--mappings", file.to_str().context("a path")?]).start().await?;
        let uplink = |count: u32, gateway: u32| {
            let payload = format!(r#"{{"dev":"d1","f_cnt":{count},"v":{count},"gateway":{gateway}}}"#);
            ("up/d1".to_owned(), payload.into_bytes())
        };
        // Heard by three gateways, two of them in one batch, and the third after a restart.
        city.publish_all(vec![uplink(1, 1), uplink(1, 2), uplink(2, 1)]).await?;
        city.settled().await?;
        city.kill_ingest().await?;
        city.publish_all(vec![uplink(1, 3), uplink(2, 3), uplink(3, 3)]).await?;
        city.settled().await?;
        let account = city.account().await?;
        ensure!((account.accepted, account.repeated, account.stored) == (3, 3, 3), "{account:?}");
        Ok(())
    }

    pub async fn a_number_plate_leaves_no_trace_but_a_pseudonym(storage: Storage) -> anyhow::Result<()> {
        // In quarantine a camera's first message is kept, too.
        let args = ["--mappings", "camera-events", "--registry", "quarantine"];
        let city = Plan::up(storage).args(&args).start().await?;
        const PLATE: &str = "B-XY 1234";
        let event = |camera: &str, uuid: u32, time: &str| {
            let payload = format!(
                r#"{{"uuid":"u{uuid}","stream":{{"id":"{camera}"}},"crossingLineEvent":{{"lineId":"n","direction":"in",
                    "timestamp":"{time}","class":"car","speedestimate":"47.5","numberPlate":"{PLATE}","numberPlateCountry":"DE"}}}}"#
            );
            ("cam/box/events".to_owned(), payload.into_bytes())
        };
        let now = Timestamp::now().to_string();
        let mut broken = event("c", 4, &now).1;
        broken.truncate(broken.len() - 3);
        city.publish_all(vec![
            event("a", 1, &now),
            event("b", 2, &now),
            event("b", 3, "yesterday"),
            ("cam/box/events".to_owned(), broken),
        ])
        .await?;
        city.settled().await?;
        let rows = city.database().query("SELECT tags ->> 'vehicle', class FROM event", &[]).await?;
        let tags: Vec<(Option<String>, Option<String>)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        ensure!(tags.len() == 2 && tags[0] == tags[1], "{tags:?}");
        let (pseudonym, class) = &tags[0];
        ensure!(pseudonym.as_ref().is_some_and(|name| name.len() == 32), "{tags:?}");
        ensure!(class.as_deref() == Some("car"), "{tags:?}");

        let rejections =
            city.database().query("SELECT reason, payload, detail FROM rejection ORDER BY 1", &[]).await?;
        ensure!(rejections.len() == 2, "{rejections:?}");
        for row in &rejections {
            let (reason, payload, detail): (&str, &[u8], &str) = (row.get(0), row.get(1), row.get(2));
            let text = String::from_utf8_lossy(payload);
            ensure!(!text.contains(PLATE) && !detail.contains(PLATE), "{reason}: {text}");
            ensure!(text.is_empty() == (reason == "not_json"), "{reason}: {text}");
        }
        ensure!(!city.log().contains(PLATE), "the log has the plate");
        let dump = "SELECT string_agg(t::text, ' ') FROM (
                        SELECT to_jsonb(event) AS t FROM event UNION ALL SELECT to_jsonb(conflict) FROM conflict
                        UNION ALL SELECT to_jsonb(sensor) FROM sensor
                        UNION ALL SELECT jsonb_build_object('first', convert_from(payload, 'UTF8')) FROM quarantine) all_rows";
        let dump: String = city.database().query_one(dump, &[]).await?.get(0);
        ensure!(dump.contains("crossingLineEvent"), "the first message of a camera is not kept: {dump}");
        ensure!(!dump.contains(PLATE), "a table has the plate");
        Ok(())
    }
}

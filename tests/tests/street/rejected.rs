//! What was refused is kept, and stored once what refused it was put right.

tests::at_each_level!(
    what_a_wrong_mapping_refused_is_stored_after_the_fix,
    a_killed_redrive_is_started_again_and_nothing_is_lost,
    what_stays_refused_stays_open_until_it_is_dropped
);

mod scenarios {
    use std::path::PathBuf;
    use std::process::Stdio;

    use anyhow::{Context, ensure};
    use serde_json::json;
    use tests::tables::Snapshot;
    use tests::{City, Plan, Storage, command};
    use tokio::task::block_in_place;

    /// Takes registers for SenML.
    const WRONG: &str = r#"
        [[source]]
        name = "water-registers"
        topic = "city/water/+/register"
        format = "senml-json"
    "#;

    /// Registers of nine meters, a second apart; every tenth message comes twice.
    fn registers(number: i64) -> Vec<(String, Vec<u8>)> {
        let mut messages = Vec::new();
        for i in 0..number {
            let time = jiff::Timestamp::from_second(1_704_067_200 + i).unwrap_or_default();
            let payload = format!(r#"{{"time":"{time}","register_m3":{}}}"#, i / 9).into_bytes();
            let message = (format!("city/water/WM-{}/register", i % 9), payload);
            messages.push(message.clone());
            if i % 10 == 0 {
                messages.push(message);
            }
        }
        messages
    }

    /// The tables that these messages make where nothing goes wrong.
    async fn clean(storage: Storage, messages: Vec<(String, Vec<u8>)>) -> anyhow::Result<Snapshot> {
        let city = City::up(storage).await?;
        city.publish_all(messages).await?;
        city.settled().await?;
        let tables = Snapshot::read(city.database()).await?;
        city.stop()?;
        Ok(tables)
    }

    /// A city that refuses all of them.
    async fn refused(storage: Storage, messages: Vec<(String, Vec<u8>)>) -> anyhow::Result<City> {
        let folder = tempfile::Builder::new().prefix("screenline-test-").tempdir_in("/tmp")?;
        let file: PathBuf = folder.path().join("wrong.toml");
        std::fs::write(&file, WRONG)?;
        let city = Plan::up(storage).args(&["--mappings", file.to_str().context("a path")?]).start().await?;
        city.publish_all(messages).await?;
        city.settled().await?;
        Ok(city)
    }

    async fn states(city: &City) -> anyhow::Result<(i64, i64)> {
        let count = "SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'redriven') FROM rejection";
        let row = city.database().query_one(count, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    const REDRIVE: [&str; 6] =
        ["rejected", "redrive", "--lateness-horizon", "unlimited", "--registry", "open"];

    pub async fn what_a_wrong_mapping_refused_is_stored_after_the_fix(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let clean = clean(storage, registers(1_200)).await?;
        let city = refused(storage, registers(1_200)).await?;
        let refused = states(&city).await?;
        ensure!(refused == (1_200, 0), "{refused:?}");
        let before = city.account().await?;
        ensure!((before.rejected_messages, before.repeated, before.stored) == (1_200, 120, 0), "{before:?}");

        let list = command::json(city.workplace(), &["rejected", "list", "--reason", "wrong_shape"])?;
        ensure!(
            list["groups"][0]["rejections"] == 1_200 && list["groups"][0]["source"] == "water-registers",
            "{list:#}"
        );
        let id = list["rejections"][0]["id"].to_string();
        let show =
            command::json(city.workplace(), &["rejected", "show", &id, "--lateness-horizon", "unlimited"])?;
        ensure!(
            show["today"]["readings"][0]["sensor"] == "WM-0" && show["today"]["new_series"] == 1,
            "{show:#}"
        );
        ensure!(show["payload"] == list["rejections"][0]["payload"], "{show:#}");

        let dry = command::json(city.workplace(), &[&REDRIVE[..], &["--all", "--dry-run"]].concat())?;
        ensure!(dry["settled"] == 1_200 && dry["stored"] == 0, "{dry:#}");
        ensure!(
            states(&city).await? == (1_200, 0) && city.account().await? == before,
            "a dry run changed something"
        );

        // A part of them by a filter, beside an ingest that goes on; then the rest.
        let some =
            command::json(city.workplace(), &[&REDRIVE[..], &["--topic", "city/water/WM-4/+"]].concat())?;
        ensure!(some["settled"] == 133 && some["stored"] == 133, "{some:#}");
        let rest =
            command::json(city.workplace(), &[&REDRIVE[..], &["--source", "water-registers"]].concat())?;
        ensure!(rest["settled"] == 1_067 && rest["still_refused"] == 0, "{rest:#}");
        let none = command::json(city.workplace(), &[&REDRIVE[..], &["--all"]].concat())?;
        ensure!(none["rejections"] == 0, "{none:#}");
        city.settled().await?;
        clean.equals(&Snapshot::read(city.database()).await?)?;
        ensure!(states(&city).await? == (0, 1_200));
        let account = city.account().await?;
        account.adds_up()?;
        let said = command::json(city.workplace(), &["account"])?;
        ensure!(said["total"]["received"] == before.received, "what was redriven came in twice: {said:#}");
        ensure!(said["open_rejections"] == 0 && said["sums_hold"] == true, "{said:#}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_killed_redrive_is_started_again_and_nothing_is_lost(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let messages = registers(2_500);
        let clean = clean(storage, messages.clone()).await?;
        let city = refused(storage, messages).await?;
        // Held up in its third transaction, where it settles what it has stored, and killed there.
        let hold = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(50); RETURN NEW; END $$;
             DO $$ BEGIN EXECUTE format(
                 'CREATE TRIGGER hold BEFORE UPDATE ON rejection FOR EACH ROW WHEN (OLD.id = %s) EXECUTE FUNCTION hold()',
                 (SELECT id FROM rejection ORDER BY id OFFSET 1200 LIMIT 1)
             ); END $$";
        city.database().batch_execute(hold).await?;
        let mut redrive = command::on(city.workplace(), &[&REDRIVE[..], &["--all"]].concat())?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let held =
            "FROM pg_stat_activity WHERE application_name = 'screenline-writer' AND wait_event = 'PgSleep'";
        city.eventually("the redrive is held up", async || {
            Ok(city.database().query_opt(&format!("SELECT {held}"), &[]).await?.map(drop))
        })
        .await?;
        redrive.kill()?;
        block_in_place(|| redrive.wait())?;
        city.database().execute(&format!("SELECT pg_terminate_backend(pid) {held}"), &[]).await?;
        // What is marked is what is stored: two transactions, and nothing of the third.
        city.database().batch_execute("DROP TRIGGER hold ON rejection").await?;
        ensure!(states(&city).await? == (1_500, 1_000));
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(account.readings == 1_000, "{account:?}");

        let rest = command::json(city.workplace(), &[&REDRIVE[..], &["--all"]].concat())?;
        ensure!(rest["still_refused"] == 0, "{rest:#}");
        city.settled().await?;
        ensure!(states(&city).await? == (0, 2_500));
        clean.equals(&Snapshot::read(city.database()).await?)?;
        city.stop()?;
        Ok(())
    }

    pub async fn what_stays_refused_stays_open_until_it_is_dropped(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::up(storage).args(&["--registry", "closed"]).start().await?;
        let register = |meter: &str| {
            let payload = r#"{"time":"2024-01-01T00:00:00Z","register_m3":7}"#;
            (format!("city/water/{meter}/register"), payload.as_bytes().to_vec())
        };
        let mut huge = register("WM-1").1;
        huge.resize(100_000, b' ');
        let pack = r#"[{"bn":"WM-1:","bt":1704067200,"n":"water.volume.total","u":"m3","v":7},{"bn":"WM-2:","n":"x","v":1}]"#;
        let messages = vec![
            register("WM-1"),
            register("WM-2"),
            ("city/water/WM-1/register".to_owned(), huge),
            ("city/water/WM-3/register".to_owned(), b"{".to_vec()),
            ("city/senml/pack".to_owned(), pack.as_bytes().to_vec()),
        ];
        city.publish_all(messages).await?;
        city.settled().await?;
        ensure!(states(&city).await? == (5, 0));

        // The registry is put right for one of the two meters.
        let file = processor::registry::File::new;
        let sensors = file("sensors", "id,privacy\nWM-1,public\n");
        let series = file("series", "sensor,metric,unit,kind\nWM-1,water.volume.total,m3,counter\n");
        processor::registry::import(city.database(), &[sensors, series]).await?;
        let redrive = [&REDRIVE[..4], &["--registry", "closed", "--all"]].concat();
        let done = command::json(city.workplace(), &redrive)?;
        ensure!(done["settled"] == 1 && done["still_refused"] == 3, "{done:#}");
        ensure!(done["cut"].as_array().map(Vec::len) == Some(1), "{done:#}");
        // The register is stored, and the pack's reading of the same key is its duplicate.
        ensure!((done["stored"].as_i64(), done["duplicate"].as_i64()) == (Some(1), Some(1)), "{done:#}");
        let attempts = "SELECT reason, attempts, readings FROM rejection WHERE state = 'open' ORDER BY id";
        let rows = city.database().query(attempts, &[]).await?;
        let rows: Vec<(String, i32, i32)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let row = |reason: &str, attempts, readings| (reason.to_owned(), attempts, readings);
        let expected = [
            row("unknown_sensor", 1, 1),
            row("unknown_sensor", 0, 1),
            row("not_json", 1, 0),
            row("unknown_sensor", 1, 2),
        ];
        ensure!(rows == expected, "{rows:?}");
        city.account().await?.adds_up()?;

        let refused = command::run(city.workplace(), &["rejected", "drop", "--reason", "not_json"])?;
        ensure!(!refused.status.success() && refused.err.contains("--yes"), "{}", refused.err);
        let all = command::run(city.workplace(), &["rejected", "drop", "--yes"])?;
        ensure!(!all.status.success() && all.err.contains("say which"), "{}", all.err);
        let dropped =
            command::json(city.workplace(), &["rejected", "drop", "--reason", "not_json", "--yes"])?;
        ensure!(dropped["dropped"] == 1, "{dropped:#}");
        let list = command::json(city.workplace(), &["rejected", "list", "--state", "dropped"])?;
        let one = &list["rejections"][0];
        ensure!(one["payload"] == "" && one["payload_bytes"] == 1 && one["reason"] == "not_json", "{list:#}");
        let said = command::json(city.workplace(), &["account"])?;
        let not_json =
            said["rejections"].as_array().into_iter().flatten().find(|row| row["reason"] == "not_json");
        ensure!(
            not_json == Some(&json!({ "reason": "not_json", "open": 0, "redriven": 0, "dropped": 1 })),
            "{said:#}"
        );
        ensure!(said["total"]["rejected_messages"] == 1, "a drop changed the ledger: {said:#}");
        city.stop()?;
        Ok(())
    }
}

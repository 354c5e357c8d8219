//! The broker is the spool.

tests::at_each_level!(the_broker_holds_100000_messages_while_ingest_is_dead);

mod scenarios {
    use anyhow::{Context, ensure};
    use serde_json::Value;
    use tests::page::Page;
    use tests::process::Process;
    use tests::{City, Storage};
    use tokio::task::block_in_place;

    const MESSAGES: i64 = 100_000;

    /// An ingest of its own, with a session of its own, beside the city's.
    fn ingest(city: &City, storage: Storage) -> anyhow::Result<(Process, Value)> {
        let (broker, database) = (city.mqtt_url(), city.database_url());
        let mut args = vec!["ingest", "--broker-url", broker, "--database-url", database];
        args.extend(["--client-id", "screenline-second", "--lateness-horizon", "unlimited"]);
        args.extend(["--storage", storage.name(), "--metrics-listen", "127.0.0.1:0"]);
        let mut process = Process::start(city.workplace(), "second", &args)?;
        let ready = block_in_place(|| process.ready())?;
        Ok((process, ready))
    }

    pub async fn the_broker_holds_100000_messages_while_ingest_is_dead(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let (mut second, _) = ingest(&city, storage)?;
        block_in_place(|| second.stop())?; // its session stays with the broker

        let start = 1_704_067_200;
        let message = |i: i64| {
            let pack = format!(r#"[{{"bn":"load:","bt":{},"n":"level","v":{i}}}]"#, start + i);
            ("city/senml/load".to_owned(), pack.into_bytes())
        };
        city.publish_all((0..MESSAGES).map(message).collect()).await?;

        let (mut second, ready) = ingest(&city, storage)?;
        let metrics = ready["metrics"].as_str().context("`metrics` in the ready file")?;
        city.eventually("100,000 messages at the second ingest", async || {
            let page = Page::fetch(metrics).await?;
            let received = page.value("screenline_messages_received_total").unwrap_or_default();
            let unacknowledged = page.value("screenline_unacknowledged_messages");
            Ok((MESSAGES as f64 <= received && unacknowledged == Some(0.0)).then_some(()))
        })
        .await?;
        block_in_place(|| second.stop())?;

        city.settled_at(2 * MESSAGES.cast_unsigned()).await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(
            account.readings == MESSAGES && account.conflict == 0 && account.rejected == 0,
            "{account:?}"
        );
        city.stop()?;
        Ok(())
    }
}

//! The broker is the spool.

tests::at_each_level!(the_broker_holds_100000_messages_while_ingest_is_dead);

mod scenarios {
    use std::time::{Duration, Instant};

    use anyhow::{Context, ensure};
    use serde_json::Value;
    use tests::city::PATIENCE;
    use tests::page::Page;
    use tests::process::Process;
    use tests::{City, Storage};
    use tokio::task::block_in_place;
    use tokio::time::sleep;

    const MESSAGES: i64 = 100_000;

    /// An ingest of its own, with a session of its own, beside the city's.
    fn ingest(city: &City, storage: Storage, protocol: &str) -> anyhow::Result<(Process, Value)> {
        let (broker, database) = (city.mqtt_url(), city.database_url());
        let client_id = format!("screenline-over-{protocol}");
        let mut args = vec!["ingest", "--broker-url", broker, "--database-url", database];
        args.extend([
            "--broker-protocol",
            protocol,
            "--client-id",
            &client_id,
            "--lateness-horizon",
            "unlimited",
            "--keep",
            "readings=forever,events=forever",
        ]);
        args.extend(["--storage", storage.name(), "--metrics-listen", "127.0.0.1:0"]);
        let mut process = Process::start(city.workplace(), &client_id, &args)?;
        let ready = block_in_place(|| process.ready())?;
        Ok((process, ready))
    }

    pub async fn the_broker_holds_100000_messages_while_ingest_is_dead(
        storage: Storage,
    ) -> anyhow::Result<()> {
        const PROTOCOLS: [&str; 2] = ["5", "3.1.1"];
        let city = City::up(storage).await?;
        for protocol in PROTOCOLS {
            let (mut absent, _) = ingest(&city, storage, protocol)?;
            block_in_place(|| absent.stop())?; // its session stays with the broker
        }

        let start = 1_704_067_200;
        let message = |i: i64| {
            let pack = format!(r#"[{{"bn":"load:","bt":{},"n":"level","v":{i}}}]"#, start + i);
            ("city/senml/load".to_owned(), pack.into_bytes())
        };
        city.publish_all((0..MESSAGES).map(message).collect()).await?;

        for protocol in PROTOCOLS {
            let (mut back, ready) = ingest(&city, storage, protocol)?;
            let metrics = ready["metrics"].as_str().context("`metrics` in the ready file")?;
            drained(metrics).await.with_context(|| format!("ingest over MQTT {protocol}"))?;
            block_in_place(|| back.stop())?;
        }

        city.settled_at(3 * MESSAGES.cast_unsigned()).await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(
            account.readings == MESSAGES && account.conflict == 0 && account.rejected == 0,
            "{account:?}"
        );
        city.stop()?;
        Ok(())
    }

    /// Waits until an ingest has received and acknowledged all messages.
    async fn drained(metrics: &str) -> anyhow::Result<()> {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let page = Page::fetch(metrics).await?;
            let received = page.value("screenline_messages_received_total").unwrap_or_default();
            let now = (received, page.value("screenline_unacknowledged_messages"));
            if MESSAGES as f64 <= received && now.1 == Some(0.0) {
                return Ok(());
            }
            if last != Some(now) {
                (last, since) = (Some(now), Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "it stands at {now:?} (messages received, unacknowledged)");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

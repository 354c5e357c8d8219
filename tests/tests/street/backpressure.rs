//! The database stands still. The broker keeps what we cannot hold, and what nobody was promised is dropped first.

tests::at_each_level!(a_standing_database_is_waited_for_in_bounded_memory);

mod scenarios {
    use std::{
        io::Write,
        process::{Command, Stdio},
        time::Duration,
    };

    use anyhow::{Context, ensure};
    use tests::{
        City, Storage,
        resources::{MEMORY_MAX_MIB, memory_peak_mib},
    };
    use tokio::{task::block_in_place, time::sleep};

    const START_S: usize = 1_704_067_200;
    const MESSAGE_BYTES: usize = 60_000;
    /// Of QoS 0.
    const UNPROMISED: usize = 100;

    /// One reading each, and long.
    fn messages(first: usize, number: usize) -> Vec<(String, Vec<u8>)> {
        let message = |i: usize| {
            let reading = format!(r#"[{{"bn":"load:","bt":{},"n":"level","v":{i}}}"#, START_S + i);
            ("city/senml/load".to_owned(), format!("{reading:MESSAGE_BYTES$}]").into_bytes())
        };
        (first..first + number).map(message).collect()
    }

    /// A metric; a counter is not on the page before it counts.
    async fn metric(city: &City, name: &str) -> anyhow::Result<f64> {
        Ok(city.metrics().await?.value(name).unwrap_or_default())
    }

    fn publish_unpromised(city: &City) -> anyhow::Result<()> {
        let port = city.mqtt_url().rsplit_once(':').context("a port in the broker's address")?.1;
        let mut publisher = Command::new("mosquitto_pub")
            .args(["-p", port, "-q", "0", "-t", "city/senml/load", "-l"])
            .stdin(Stdio::piped())
            .spawn()
            .context("start mosquitto_pub")?;
        let mut lines = publisher.stdin.take().context("its standard input")?;
        for i in 0..UNPROMISED {
            writeln!(lines, r#"[{{"n":"nobody:level","t":{},"v":{i}}}]"#, START_S + i)?;
        }
        drop(lines);
        ensure!(publisher.wait()?.success(), "mosquitto_pub failed");
        Ok(())
    }

    pub async fn a_standing_database_is_waited_for_in_bounded_memory(storage: Storage) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        let budget = metric(&city, "screenline_unacknowledged_bytes_limit").await?;
        let nine_tenths = (budget * 0.9) as usize / MESSAGE_BYTES;

        let mut blocker = city.connect().await?;
        let blocking = blocker.transaction().await?;
        blocking.batch_execute("LOCK TABLE reading IN SHARE MODE").await?;

        city.publish_all(messages(0, nine_tenths)).await?;
        city.eventually("the budget is nearly spent", async || {
            let held = metric(&city, "screenline_unacknowledged_messages").await?;
            Ok((nine_tenths as f64 <= held).then_some(()))
        })
        .await?;
        block_in_place(|| publish_unpromised(&city))?;
        city.eventually("messages of QoS 0 are shed", async || {
            let shed = metric(&city, "screenline_messages_shed_total").await?;
            Ok((UNPROMISED as f64 <= shed).then_some(()))
        })
        .await?;

        city.publish_all(messages(nine_tenths, nine_tenths)).await?;
        city.eventually("the broker is let go", async || {
            let held = metric(&city, "screenline_unacknowledged_bytes").await?;
            ensure!(held <= budget, "{held} bytes are held, {budget} may be");
            sleep(Duration::from_millis(100)).await;
            Ok((0.0 < metric(&city, "screenline_broker_connections_lost_total").await?).then_some(()))
        })
        .await?;

        blocking.rollback().await?;
        city.settled().await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(account.stored == 2 * nine_tenths as i64 && account.conflict == 0, "{account:?}");
        let shed: i64 = city.database().query_one("SELECT sum(shed)::int8 FROM ledger", &[]).await?.get(0);
        ensure!(shed == UNPROMISED as i64, "{shed} of {UNPROMISED} messages are accounted for as shed");
        let peak = memory_peak_mib(city.pid("ingest")?)?;
        ensure!(peak <= MEMORY_MAX_MIB, "ingest took {peak} MiB, {MEMORY_MAX_MIB} are allowed");
        city.stop()?;
        Ok(())
    }
}

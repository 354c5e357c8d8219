//! Seen from the broker: nothing is acknowledged before the transaction that holds it committed.

tests::at_each_level!(an_acknowledgement_comes_after_its_commit);

mod scenarios {
    use std::collections::HashMap;
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Totals};
    use tests::apart::Apart;
    use tests::process::Manner;
    use tests::{Storage, city, mqtt, say};

    const PATIENCE: Duration = Duration::from_secs(60);

    pub async fn an_acknowledgement_comes_after_its_commit(storage: Storage) -> anyhow::Result<()> {
        let mut apart = Apart::start(storage).await?;
        let superuser = apart.city.database_url().replace("user=screenline", "user=postgres");
        city::connect(&superuser)
            .await?
            .batch_execute("ALTER SYSTEM SET track_commit_timestamp = on")
            .await?;
        apart.city.kill("postgres").await?;
        apart.city.reconnect().await?;

        let mut tap = apart.broker.tap();
        let ingest = apart.ingest_with("acknowledgement", &[], &Manner::default())?;
        let from: Timestamp = "2024-02-11T22:00:00Z".parse()?;
        let load = Load { messages: 600, ..Load::clean("acked", 1, from).dirty() };
        let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load)?;
        let publisher = Publisher { rate: Some(400.0), ..Publisher::new(apart.city.mqtt_url()) };
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
        let report = oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        ingest.stop()?; // the last acknowledgements left

        let committed = committed(&apart).await?;
        let messages: HashMap<_, _> = ledger
            .plan
            .messages
            .iter()
            .map(|message| ((&message.topic, &message.payload), message))
            .collect();
        let passed = std::iter::from_fn(|| tap.try_recv().ok());
        let (mut compared, mut least_us) = (0, i64::MAX);
        for acknowledged in mqtt::acknowledged(passed) {
            let Some(message) = messages.get(&(&acknowledged.topic, &acknowledged.payload)) else { continue };
            for fact in &message.facts {
                let place = (fact.key.sensor.to_string(), fact.key.time_us, fact.key.event);
                let at_us = committed
                    .get(&place)
                    .with_context(|| format!("{place:?} is acknowledged and not stored"))?;
                let margin_us = acknowledged.at_us - at_us;
                ensure!(0 <= margin_us, "{place:?} was acknowledged {} us before its commit", -margin_us);
                least_us = least_us.min(margin_us);
            }
            compared += 1;
        }
        ensure!(ledger.plan.messages.len() <= compared, "{compared} acknowledgements were seen");
        say(&format!("{compared} acknowledgements, the hastiest {least_us} us after its commit"));
        apart.city.stop()?;
        Ok(())
    }

    /// When each reading and event committed.
    async fn committed(apart: &Apart) -> anyhow::Result<HashMap<(String, i64, i64), i64>> {
        let query = "SELECT s.sensor, f.time, f.event_id, pg_xact_commit_timestamp(f.writer)
             FROM (
                 SELECT series_id, time, 0::int8 AS event_id, xmin AS writer FROM reading
                 UNION ALL
                 SELECT series_id, time, event_id, xmin FROM event
             ) f
             JOIN series s ON s.id = f.series_id";
        let micros = |row: &tokio_postgres::Row, i| row.get::<_, Timestamp>(i).as_microsecond();
        let rows = apart.city.database().query(query, &[]).await?;
        Ok(rows.iter().map(|row| ((row.get(0), micros(row, 1), row.get(2)), micros(row, 3))).collect())
    }
}

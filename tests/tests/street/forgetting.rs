//! Brokers that lose what they acknowledged. What is lost is reported as a gap; a gateway that keeps its messages until
//! they are committed loses nothing.

tests::at_each_level!(
    what_a_wiped_broker_loses_is_a_gap,
    a_gateway_outlives_its_brokers_disk,
    what_a_full_broker_drops_is_a_gap,
);

mod scenarios {
    use std::time::Duration;

    use anyhow::ensure;
    use jiff::Timestamp;
    use simulators::oracle::{Entry, Keep, Ledger, Load, Oracle, Publisher, Report, Totals};
    use tests::apart::Apart;
    use tests::city::PATIENCE;
    use tests::mosquitto::Mosquitto;
    use tests::process::Workplace;
    use tests::{Storage, say};
    use tokio::time::sleep;

    const MESSAGES: usize = 300;

    struct Stage {
        broker: Mosquitto,
        apart: Apart,
        ledger: Ledger,
        publisher: Publisher,
        // Removed last.
        _folder: Workplace,
    }

    impl Stage {
        /// A city whose ingest was there, left its session with the broker, and is away.
        async fn set(storage: Storage, broker: &[(&str, &str)]) -> anyhow::Result<Stage> {
            let folder = Workplace::new()?;
            let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker)?;
            let url = broker.url();
            let apart = Apart::start_with(storage, &["--broker-url", &url]).await?;
            apart.ingest("forgetting")?.stop()?;
            let from: Timestamp = "2024-02-07T22:00:00Z".parse()?;
            let load = Load { messages: MESSAGES, ..Load::clean("forgetting", 1, from) };
            let ledger = Ledger::create(&folder.path().join("ledger"), &load)?;
            let publisher = Publisher::new(&url);
            Ok(Stage { broker, apart, ledger, publisher, _folder: folder })
        }

        async fn look(&self) -> anyhow::Result<Report> {
            Oracle::new(&self.ledger, &Totals::default()).look(self.apart.city.database()).await
        }

        /// How many numbers of the load are missing before its last one.
        async fn missing(&self) -> anyhow::Result<i64> {
            let query = "SELECT (max(upper(r)) - 1 - sum(upper(r) - lower(r)))::int8
                 FROM source_position, unnest(seen) r WHERE source = 'forgetting'";
            let row = self.apart.city.database().query_one(query, &[]).await?;
            Ok(row.get::<_, Option<i64>>(0).unwrap_or(0))
        }

        /// Waits until the fresh message is there; by then all that the broker has left was delivered.
        async fn fresh_is_there(&self) -> anyhow::Result<()> {
            self.publisher.publish_fresh(&self.ledger).await?;
            let query = "SELECT FROM reading r JOIN series s ON s.id = r.series_id
                 WHERE s.sensor = 'forgetting_fresh' LIMIT 1";
            let there = async || Ok(self.apart.city.database().query_opt(query, &[]).await?);
            self.apart.city.eventually("the fresh reading", there).await?;
            Ok(())
        }
    }

    /// The numbers say what was lost, to the message.
    async fn a_gap_is_all_that_is_wrong(stage: &Stage) -> anyhow::Result<i64> {
        stage.fresh_is_there().await?;
        let missing = stage.missing().await?;
        ensure!(0 < missing, "nothing was lost, so nothing was proved");
        let report = stage.look().await?;
        let wrong: Vec<&str> = report.violations().map(|finding| finding.invariant).collect();
        // I1 and I6: not all is there, and the ledger has received less. Nothing is there that must not be.
        ensure!(!report.is_final(), "{report}");
        ensure!(wrong.contains(&"I1") && wrong.contains(&"I6"), "{report}");
        Ok(missing)
    }

    pub async fn what_a_wiped_broker_loses_is_a_gap(storage: Storage) -> anyhow::Result<()> {
        let mut stage = Stage::set(storage, &[]).await?;
        stage.publisher.publish(&stage.ledger).await?;
        stage.broker.lose_disk()?;
        let ingest = stage.apart.ingest("forgetting")?;
        let missing = a_gap_is_all_that_is_wrong(&stage).await?;
        say(&format!("a wiped broker lost {missing} of {MESSAGES} messages that it had acknowledged"));
        ingest.stop()?;
        stage.apart.city.stop()?;
        Ok(())
    }

    pub async fn a_gateway_outlives_its_brokers_disk(storage: Storage) -> anyhow::Result<()> {
        let Stage { mut broker, apart, ledger, publisher, _folder } = Stage::set(storage, &[]).await?;
        let publisher = Publisher { keep: Keep::Committed, ..publisher };
        let wiping = async {
            let taken = |entry: &Entry| entry.taken_us.is_some();
            while ledger.entries().iter().filter(|entry| taken(entry)).count() < MESSAGES {
                sleep(Duration::from_millis(20)).await;
            }
            broker.lose_disk()?;
            apart.ingest("forgetting")
        };
        let (published, ingest) = tokio::join!(publisher.publish(&ledger), wiping);
        let ingest = ingest?;
        published?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default());
        let report = oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        let sent_again = ledger.entries().iter().filter(|entry| 1 < entry.sent).count();
        ensure!(0 < sent_again, "nothing had to be sent again");
        ingest.stop()?;
        apart.city.stop()?;
        Ok(())
    }

    pub async fn what_a_full_broker_drops_is_a_gap(storage: Storage) -> anyhow::Result<()> {
        let full = [("max_queued_messages", "100"), ("max_inflight_messages", "20")];
        let stage = Stage::set(storage, &full).await?;
        stage.publisher.publish(&stage.ledger).await?;
        let ingest = stage.apart.ingest("forgetting")?;
        let missing = a_gap_is_all_that_is_wrong(&stage).await?;
        say(&format!("a full broker dropped {missing} of {MESSAGES} messages that it had acknowledged"));
        ingest.stop()?;
        stage.apart.city.stop()?;
        Ok(())
    }
}

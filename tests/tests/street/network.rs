//! Lines break: between ingest and its database, and between ingest and its broker.

tests::at_each_level!(
    a_connection_lost_after_the_commit_stores_nothing_twice,
    a_connection_lost_before_the_commit_loses_nothing,
    a_bad_line_loses_nothing,
);

mod long {
    use tests::Storage;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "waits until ingest has waited: minutes; with --long"]
    async fn frozen_lines_are_given_up() {
        tests::storage::run(super::scenarios::frozen_lines_are_given_up, Storage::Plain).await;
    }
}

mod scenarios {
    use std::time::Duration;

    use anyhow::ensure;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Totals};
    use tests::apart::Apart;
    use tests::process::{Manner, Program};
    use tests::proxy::{Break, Weather};
    use tests::{Storage, cut};
    use tokio::time::sleep;

    /// Longer than any wait of ingest's own.
    const PATIENCE: Duration = Duration::from_secs(60);

    pub async fn a_connection_lost_after_the_commit_stores_nothing_twice(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let shown = cut::commits(storage, true, &ordinary(), PATIENCE).await?;
        ensure!(shown.report.holds(), "{}", shown.report);
        ensure!(shown.log.contains("settled by its id"), "no unknown outcome was met:\n{}", shown.log);
        Ok(())
    }

    pub async fn a_connection_lost_before_the_commit_loses_nothing(storage: Storage) -> anyhow::Result<()> {
        let shown = cut::commits(storage, false, &ordinary(), PATIENCE).await?;
        ensure!(shown.report.holds(), "{}", shown.report);
        ensure!(!shown.log.contains("settled by its id"), "nothing had committed:\n{}", shown.log);
        Ok(())
    }

    fn ordinary() -> Manner {
        Manner { program: Program::Ordinary, ..Manner::default() }
    }

    pub async fn a_bad_line_loses_nothing(storage: Storage) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let ingest = apart.ingest_with("bad-line", &[], &ordinary())?;
        let from: Timestamp = "2024-02-02T22:00:00Z".parse()?;
        let load = Load { messages: 2_000, ..Load::clean("line", 1, from).dirty() };
        let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load)?;
        let publisher = Publisher { rate: Some(150.0), ..Publisher::new(apart.city.mqtt_url()) };
        let weather = async {
            for line in [&apart.database, &apart.broker] {
                for weather in [
                    Weather::Delay(Duration::from_millis(300)),
                    Weather::Throttle(20_000),
                    Weather::Hole,
                    Weather::Down,
                ] {
                    line.set(weather);
                    sleep(Duration::from_millis(1_200)).await;
                    line.set(Weather::Clear);
                    sleep(Duration::from_millis(200)).await;
                }
                line.cut();
                line.arm(Break::After(10_000));
                sleep(Duration::from_millis(500)).await;
            }
        };
        let (published, ()) = tokio::join!(publisher.publish(&ledger), weather);
        published?;
        publisher.publish_fresh(&ledger).await?;
        ensure!(0 < apart.database.broken() + apart.broker.broken(), "no line broke in the middle");
        let oracle = Oracle::new(&ledger, &Totals::default());
        let report = oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        ingest.stop()?;
        apart.city.stop()?;
        Ok(())
    }

    /// Half-open: the lines that there are pass nothing any more and nobody is told, while new ones are fine.
    pub async fn frozen_lines_are_given_up(storage: Storage) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let ingest = apart.ingest_with("frozen", &[], &ordinary())?;
        let from: Timestamp = "2024-02-03T22:00:00Z".parse()?;
        for (line, seed) in [(&apart.database, 1), (&apart.broker, 2)] {
            let load = Load { messages: 300, ..Load::clean(&format!("frozen-{seed}"), seed, from).dirty() };
            let path = apart.city.workplace().path().join(format!("ledger-{seed}"));
            let ledger = Ledger::create(&path, &load)?;
            let publisher = Publisher { rate: Some(300.0), ..Publisher::new(apart.city.mqtt_url()) };
            let freezing = async {
                sleep(Duration::from_millis(400)).await;
                line.freeze();
            };
            let (published, ()) = tokio::join!(publisher.publish(&ledger), freezing);
            published?;
            publisher.publish_fresh(&ledger).await?;
            let oracle = Oracle::new(&ledger, &Totals::default());
            let report = oracle.settle(async || apart.city.connect().await, 4 * PATIENCE).await?.report;
            ensure!(report.holds(), "{report}");
        }
        ingest.stop()?;
        apart.city.stop()?;
        Ok(())
    }
}

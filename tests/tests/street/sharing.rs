//! Several ingests on one database and one broker: sharing the messages, or fighting for one session.

tests::at_each_level!(one_of_two_that_share_dies_and_comes_back, two_with_one_name_lose_nothing,);

mod scenarios {
    use std::time::Duration;

    use anyhow::ensure;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Report, Totals};
    use tests::Storage;
    use tests::apart::Apart;
    use tests::process::Manner;
    use tokio::time::sleep;

    const PATIENCE: Duration = Duration::from_secs(60);
    const MESSAGES: usize = 600;

    fn load(source: &str) -> anyhow::Result<Load> {
        let from: Timestamp = "2024-02-05T22:00:00Z".parse()?;
        Ok(Load { messages: MESSAGES, ..Load::clean(source, 1, from).dirty() })
    }

    fn publisher(apart: &Apart) -> Publisher {
        Publisher { rate: Some(250.0), ..Publisher::new(apart.city.mqtt_url()) }
    }

    async fn settle(apart: &Apart, ledger: &Ledger) -> anyhow::Result<Report> {
        let oracle = Oracle::new(ledger, &Totals::default());
        Ok(oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report)
    }

    /// What the dead one had in hand waits for its name: so names must stay.
    pub async fn one_of_two_that_share_dies_and_comes_back(storage: Storage) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let member = |name: &str| apart.ingest_with(name, &["--share", "city"], &Manner::default());
        let (one, two) = (member("one")?, member("two")?);
        let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load("sharing")?)?;
        let publisher = publisher(&apart);
        let dying = async {
            for ingest in [&one, &two] {
                let received = async || {
                    let messages = ingest.metric("screenline_messages_received_total").await?;
                    Ok((0.0 < messages).then_some(()))
                };
                apart.city.eventually("messages for each of the two", received).await?;
            }
            one.kill()?;
            sleep(Duration::from_millis(500)).await;
            member("one")
        };
        let (published, back) = tokio::join!(publisher.publish(&ledger), dying);
        published?;
        let one = back?;
        publisher.publish_fresh(&ledger).await?;
        let report = settle(&apart, &ledger).await?;
        ensure!(report.holds(), "{report}");
        one.stop()?;
        two.stop()?;
        apart.city.stop()?;
        Ok(())
    }

    /// The broker gives a session to whoever came last, again and again.
    pub async fn two_with_one_name_lose_nothing(storage: Storage) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let named = |file: &str| apart.ingest_with(file, &["--client-id", "twin"], &Manner::default());
        let (one, two) = (named("twin-one")?, named("twin-two")?);
        let ledger = Ledger::create(&apart.city.workplace().path().join("ledger"), &load("twins")?)?;
        let publisher = publisher(&apart);
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        sleep(Duration::from_secs(2)).await;
        one.stop()?;
        let report = settle(&apart, &ledger).await?;
        ensure!(report.holds(), "{report}");
        two.stop()?;
        apart.city.stop()?;
        Ok(())
    }
}

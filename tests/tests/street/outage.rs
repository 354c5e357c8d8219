//! The database is away, while a city sends 20,000 readings a second. The broker keeps them.

tests::at_each_level!(a_database_that_is_away_for_a_while_loses_nothing);

mod long {
    use std::time::Duration;

    use tests::Storage;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "five minutes of outage, and as long to publish: with --long"]
    async fn a_database_that_is_away_for_five_minutes_loses_nothing() {
        let outage = |storage: Storage| super::scenarios::outage(storage, Duration::from_secs(300));
        tests::storage::run(outage, Storage::Plain).await;
    }
}

mod scenarios {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use anyhow::ensure;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Shape, Totals};
    use tests::apart::Apart;
    use tests::process::Manner;
    use tests::proxy::Weather;
    use tests::resources::{MEMORY_MAX_MIB, memory_peak_mib};
    use tests::{Storage, say};
    use tokio::time::sleep;

    const MESSAGES_A_SECOND: usize = 2_000;
    const READINGS_A_MESSAGE: usize = 10;
    /// A ledger holds so many seconds: it is read again when it is compared, so that memory is that of one.
    const LEDGER_S: usize = 10;
    const PATIENCE: Duration = Duration::from_secs(60);

    pub async fn a_database_that_is_away_for_a_while_loses_nothing(storage: Storage) -> anyhow::Result<()> {
        outage(storage, Duration::from_secs(10)).await
    }

    pub async fn outage(storage: Storage, lasts: Duration) -> anyhow::Result<()> {
        let apart = Apart::start(storage).await?;
        let ingest = apart.ingest_with("outage", &[], &Manner::default())?;
        let path =
            |number: usize| -> PathBuf { apart.city.workplace().path().join(format!("ledger-{number}")) };
        // It begins before the outage and ends after it.
        let ledgers = lasts.as_secs() as usize / LEDGER_S + 1;
        let rate = Some(MESSAGES_A_SECOND as f64);
        let publisher = Publisher { rate, ..Publisher::new(apart.city.mqtt_url()) };
        let publishing = async {
            for number in 0..ledgers {
                let ledger = Ledger::create(&path(number), &load(number)?)?;
                publisher.publish(&ledger).await?;
                publisher.publish_fresh(&ledger).await?;
            }
            anyhow::Ok(())
        };
        let failing = async {
            sleep(Duration::from_secs(3)).await;
            apart.database.set(Weather::Down);
            sleep(lasts).await;
            apart.database.set(Weather::Clear);
            Instant::now()
        };
        let (published, back) = tokio::join!(publishing, failing);
        published?;
        let all = ledgers * (LEDGER_S * MESSAGES_A_SECOND + 1);
        let received = async {
            while (ingest.metric("screenline_messages_received_total").await? as usize) < all {
                sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(lasts + PATIENCE, received).await??;
        say(&format!(
            "{storage:?}: {} readings, {} s after an outage of {} s all is stored",
            ledgers * LEDGER_S * MESSAGES_A_SECOND * READINGS_A_MESSAGE,
            back.elapsed().as_secs(),
            lasts.as_secs()
        ));
        for number in 0..ledgers {
            let ledger = Ledger::open(&path(number))?;
            let oracle = Oracle::new(&ledger, &Totals::default());
            let report = oracle.settle(async || apart.city.connect().await, PATIENCE).await?.report;
            ensure!(report.holds(), "ledger {number}:\n{report}");
        }
        let memory = memory_peak_mib(ingest.pid())?;
        say(&format!("ingest had {memory} MiB at the highest"));
        ensure!(memory <= MEMORY_MAX_MIB, "ingest had {memory} MiB, at most {MEMORY_MAX_MIB} are promised");
        ingest.stop()?;
        apart.city.stop()?;
        Ok(())
    }

    fn load(number: usize) -> anyhow::Result<Load> {
        let from: Timestamp = "2024-01-01T00:00:00Z".parse()?;
        Ok(Load {
            shapes: vec![Shape::Level],
            sensors: 2_000,
            messages: LEDGER_S * MESSAGES_A_SECOND,
            readings: READINGS_A_MESSAGE,
            ..Load::clean(&format!("outage-{number}"), 1, from)
        })
    }
}

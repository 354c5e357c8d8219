//! Processes are killed; the tables do not notice.

tests::at_each_level!(
    killing_ingest_in_the_middle_changes_nothing,
    killing_the_database_in_the_middle_loses_nothing
);

mod scenarios {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use anyhow::ensure;
    use simulators::replay::{self, Progress, Speed};
    use tests::tables::Snapshot;
    use tests::{City, Storage, auditor, say};
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    const MESSAGES: u64 = 40_808;

    /// Seven days in a quarter of a minute, so that there is a middle to kill in.
    const SPEED: Speed = Speed::Times(604_800.0 / 15.0);

    /// Moments between a tenth and nine tenths of the replay, in order (Lehmer 1951).
    fn moments(mut seed: u64, number: usize) -> Vec<u64> {
        let mut next = || {
            seed = seed * 48_271 % 2_147_483_647;
            MESSAGES / 10 + seed % (MESSAGES * 8 / 10)
        };
        let mut moments: Vec<u64> = (0..number).map(|_| next()).collect();
        moments.sort_unstable();
        moments
    }

    /// Replays the feed and kills a child whenever so many messages were published.
    async fn replay_and_kill(child: &str, moments: &[u64], city: &mut City) -> anyhow::Result<()> {
        let progress = Arc::new(Progress::default());
        let replay = tokio::spawn(replay::run(
            city.replay_config("wntr-net3", SPEED)?,
            progress.clone(),
            CancellationToken::new(),
        ));
        for moment in moments {
            while progress.published.load(Ordering::Relaxed) < *moment {
                ensure!(!replay.is_finished(), "the replay ended before {child} could be killed at {moment}");
                sleep(Duration::from_millis(5)).await;
            }
            city.kill(child).await?;
            say(&format!("killed {child} after {moment} messages"));
        }
        let summary = replay.await??;
        ensure!(summary.acknowledged == MESSAGES, "{summary:?}");
        city.published(MESSAGES);
        Ok(())
    }

    pub async fn killing_ingest_in_the_middle_changes_nothing(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.replay_feed("wntr-net3", Speed::Max, Arc::default()).await?;
        city.settled().await?;
        let undisturbed = Snapshot::read(city.database()).await?;
        city.stop()?;

        let mut city = City::up(storage).await?;
        replay_and_kill("ingest", &moments(20_240_104, 4), &mut city).await?;
        city.settled().await?;
        let account = city.account().await?;
        ensure!(account.stored == 40_606 && account.conflict == 0 && account.rejected == 0, "{account:?}");
        undisturbed.equals(&Snapshot::read(city.database()).await?)?;
        auditor::five_minutes(city.database()).await?;
        city.stop()?;
        Ok(())
    }

    pub async fn killing_the_database_in_the_middle_loses_nothing(storage: Storage) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        replay_and_kill("postgres", &[MESSAGES / 2], &mut city).await?;
        city.reconnect().await?;
        city.settled().await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(account.stored == 40_606 && account.conflict == 0 && account.rejected == 0, "{account:?}");
        auditor::five_minutes(city.database()).await?;
        city.stop()?;
        Ok(())
    }
}

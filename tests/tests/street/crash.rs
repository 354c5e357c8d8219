//! Processes are killed; the tables do not notice.

tests::at_each_level!(
    killing_ingest_in_the_middle_changes_nothing,
    killing_the_database_in_the_middle_loses_nothing
);

mod scenarios {
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use simulators::oracle::every_rollup;
    use simulators::replay::{self, Speed};
    use tests::tables::Snapshot;
    use tests::{City, Storage, say};
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    const MESSAGES: u64 = 40_808;

    /// Where the random moments begin: `SCREENLINE_TEST_SEED`, else always the same.
    fn seed() -> anyhow::Result<u64> {
        let seed = match std::env::var("SCREENLINE_TEST_SEED") {
            Ok(text) => text.parse().context("SCREENLINE_TEST_SEED is a number from 1 to 2147483646")?,
            Err(_) => 20_240_104,
        };
        say(&format!("SCREENLINE_TEST_SEED={seed}"));
        Ok(seed)
    }

    /// When to kill: after so many received messages, and so many milliseconds more, to meet a batch in any state.
    type Moment = (i64, u64);

    /// Moments in the first three quarters of the feed, in order (Lehmer 1951).
    fn moments(mut seed: u64, number: usize) -> Vec<Moment> {
        let mut next = |below: u64| {
            seed = seed * 48_271 % 2_147_483_647;
            seed % below
        };
        let mut moments: Vec<Moment> =
            (0..number).map(|_| (next(MESSAGES * 3 / 4).cast_signed(), next(80))).collect();
        moments.sort_unstable();
        moments
    }

    /// Replays the feed at full speed, so that there is always a batch at work, and kills a child at each moment.
    async fn replay_and_kill(child: &str, moments: &[Moment], city: &mut City) -> anyhow::Result<()> {
        let config = city.replay_config("wntr-net3", Speed::Max)?;
        let replay = tokio::spawn(replay::run(config, Arc::default(), CancellationToken::new()));
        let mut in_the_middle = 0;
        for (received, later_ms) in moments {
            city.eventually(&format!("{received} messages received"), async || {
                Ok((*received <= city.account().await?.received).then_some(()))
            })
            .await?;
            let before = city.account().await?.received;
            sleep(Duration::from_millis(*later_ms)).await;
            city.kill(child).await?;
            say(&format!("killed {child} {later_ms} ms after {before} messages"));
            in_the_middle += u32::from(before < MESSAGES.cast_signed());
        }
        ensure!(0 < in_the_middle, "everything was stored before {child} could be killed");
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
        replay_and_kill("ingest", &moments(seed()?, 6), &mut city).await?;
        city.settled().await?;
        let account = city.account().await?;
        ensure!(account.stored == 40_606 && account.conflict == 0 && account.rejected == 0, "{account:?}");
        say(&format!(
            "{} messages were delivered again after their commit",
            account.received - MESSAGES.cast_signed()
        ));
        undisturbed.equals(&Snapshot::read(city.database()).await?)?;
        every_rollup(city.database()).await?;
        city.stop()?;
        Ok(())
    }

    pub async fn killing_the_database_in_the_middle_loses_nothing(storage: Storage) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        replay_and_kill("postgres", &[(10_000, 20)], &mut city).await?;
        city.reconnect().await?;
        city.settled().await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(account.stored == 40_606 && account.conflict == 0 && account.rejected == 0, "{account:?}");
        every_rollup(city.database()).await?;
        city.stop()?;
        Ok(())
    }
}

//! What is older than it is kept goes, and history stays as it was rolled.

tests::at_each_level!(
    history_outlives_its_readings,
    a_class_of_metrics_goes_before_the_rest,
    a_batch_that_was_decided_before_the_floor_moved_is_decided_again,
    settings_that_contradict_each_other_refuse_the_start,
);

mod scenarios {
    use std::sync::{Arc, RwLock};

    use anyhow::{Context, bail, ensure};
    use jiff::{Timestamp, ToSpan, tz::TimeZone};
    use processor::{
        mapping::Mapping,
        memory::Memory,
        model::{Batch, BatchId, Message, Span},
        process,
        registry::{Admission, Registry},
        store::{self, Keep, KeepRule, Retention, Step, StoreError, Writer},
        validate::Rules,
    };
    use tests::aging::{self, ROLLUPS, noon, quarter, senml};
    use tests::process::Workplace;
    use tests::tables::Snapshot;
    use tests::{City, Plan, Storage, command};

    pub async fn history_outlives_its_readings(storage: Storage) -> anyhow::Result<()> {
        aging::history_outlives_its_readings(storage, |plan| plan).await
    }

    pub async fn a_class_of_metrics_goes_before_the_rest(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        // Two metrics of one sensor are rolled together.
        for days_ago in [60, 5] {
            for metric in ["camera.people", "level"] {
                city.publish_all(quarter("square", metric, days_ago)?).await?;
            }
        }
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;
        let workplace = city.stop()?;

        let keep =
            ["--lateness-horizon", "100d", "--keep", "readings:camera.*=30d,readings=200d,events=200d"];
        let city = Plan::by_default(storage).args(&keep).on(workplace).start().await?;
        let people =
            "SELECT count(*) FROM reading JOIN series ON id = series_id WHERE metric = 'camera.people'";
        city.eventually("old readings of cameras to be deleted", async || {
            let left: i64 = city.database().query_one(people, &[]).await?.get(0);
            Ok((left <= 15).then_some(()))
        })
        .await?;
        let due = command::json(city.workplace(), &["retention", "--dry-run"])?;
        let class =
            |name: &str| due["due"].as_array().and_then(|due| due.iter().find(|due| due["class"] == name));
        let cameras = class("readings:camera.*").with_context(|| format!("the class of cameras in {due}"))?;
        ensure!(cameras["rows"] == 0 && cameras["floor"].is_string(), "{cameras}");
        ensure!(due["raw_floor"].is_null(), "the floor of some metrics is not the city's: {due}");

        // Late ones: of the camera refused, of the level taken in, and the bucket of both is computed again.
        let at = noon(60)? + 30.seconds();
        city.publish_all(vec![senml("square", "camera.people", at, 5.0), senml("square", "level", at, 5.0)])
            .await?;
        city.settled().await?;
        let after = Snapshot::read(city.database()).await?;
        let of = |snapshot: &Snapshot, metric: &str| -> Vec<String> {
            let rows = ROLLUPS.iter().flat_map(|table| snapshot.rows(table));
            rows.filter(|row| row.contains(&format!("|{metric}|"))).cloned().collect()
        };
        ensure!(of(&after, "camera.people") == of(&before, "camera.people"), "rollups of the camera changed");
        ensure!(of(&after, "level") != of(&before, "level"), "the late level changed no rollup");
        ensure!(after.rows("reading").len() == 15 + 30 + 1, "{} readings", after.rows("reading").len());
        ensure!(after.rows("rejection").len() == 1, "{:?}", after.rows("rejection"));
        command::json(city.workplace(), &["audit", "--all"])?;
        city.stop()?;
        Ok(())
    }

    pub async fn a_batch_that_was_decided_before_the_floor_moved_is_decided_again(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.publish_all(quarter("weir", "level", 60)?).await?;
        city.settled().await?;

        let (url, database) = (city.database_url(), city.connect().await?);
        let registry = Arc::new(RwLock::new(Registry::new(Admission::Open)));
        Registry::refresh(&registry, &database).await?;
        let mapping = Mapping::parse(&[("senml.toml", include_str!("../../../deploy/mappings/senml.toml"))])?;
        let (topic, payload) = senml("weir", "level", noon(60)? + 30.seconds(), 7.0);
        let message = Message {
            topic,
            payload: payload.into(),
            received_at: Timestamp::now().into(),
            retained: false,
            number: None,
        };
        let batch = Batch { id: BatchId(1), messages: vec![message], shed: 0 };
        let decide = || {
            let registry = registry.read().map_err(|_| anyhow::anyhow!("a poisoned lock"))?;
            anyhow::Ok(process(&batch.messages, &mapping, &registry, &Rules::default(), &Memory::default()))
        };
        let decided = decide()?;
        ensure!(decided.readings.len() == 1, "{decided:?}");

        let rules: Vec<KeepRule> =
            ["readings=30d", "events=30d"].iter().filter_map(|rule| rule.parse().ok()).collect();
        let keep = Keep::new(&rules, Span::days(20)).map_err(anyhow::Error::msg)?;
        keep.store(&database).await?;
        let mut retention = Retention::new(url, TimeZone::UTC);
        while !matches!(retention.step().await?, Step::Dropped(dropped) if 0 < dropped.days) {}

        let level = store::City::read(&database).await?.level;
        let mut writer = Writer::new(url, level, registry.clone());
        match writer.write(&batch, &decided).await {
            Err(StoreError::Outdated) => {}
            outcome => bail!("a reading slipped below the floor: {outcome:?}"),
        }
        writer.refresh().await?;
        let written = writer.write(&batch, &decide()?).await?;
        ensure!((written.counts.stored, written.counts.rejected) == (0, 1), "{written:?}");
        let left: i64 = database.query_one("SELECT count(*) FROM reading", &[]).await?.get(0);
        ensure!(left == 0, "{left} readings below the floor");
        city.stop()?;
        Ok(())
    }

    pub async fn settings_that_contradict_each_other_refuse_the_start(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let workplace = Workplace::new()?;
        let refused = [
            (&["--lateness-horizon", "unlimited"][..], "--keep readings=forever,events=forever"),
            (&["--keep", "readings=300d"], "Start with a --lateness-horizon shorter than 300d"),
            (&["--keep", "rollup_5m=1y"], "Keep rollup_5m for 13mo or longer"),
        ];
        for (args, says) in refused {
            let up = [&["up", "--storage", storage.name()], args].concat();
            let said = command::run(&workplace, &up)?;
            ensure!(!said.status.success() && said.err.contains(says), "{args:?}: {}", said.err);
        }
        Ok(())
    }
}

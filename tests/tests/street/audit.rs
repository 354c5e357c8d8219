//! The auditor computes rollups again, and finds what is wrong.

tests::at_each_level!(every_rollup_is_computed_again_and_agrees, what_was_changed_is_found_and_repaired,);

mod scenarios {
    use std::sync::Arc;

    use anyhow::ensure;
    use serde_json::Value;
    use simulators::replay::Speed;
    use tests::aging::ROLLUPS;
    use tests::tables::Snapshot;
    use tests::{City, Storage, command};

    pub async fn every_rollup_is_computed_again_and_agrees(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.replay_feed("sumo-grid", Speed::Max, Arc::default()).await?;
        city.settled().await?;
        let audit = command::json(city.workplace(), &["audit", "--all"])?;
        ensure!(audit["ok"] == true, "{audit}");
        ensure!(audit["stored"]["ledger"] == audit["stored"]["tables"], "{audit}");
        for table in ROLLUPS {
            let rows: i64 =
                city.database().query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0);
            ensure!(audit["compared"][table] == rows && 0 < rows, "{table} has {rows} rows: {audit}");
        }
        let one = command::json(city.workplace(), &["audit", "--all", "--from", "1d"])?;
        ensure!(one["compared"]["rollup_5m"] == 0, "nothing is of the last day: {one}");
        let sample = command::json(city.workplace(), &["audit", "--sample", "50"])?;
        ensure!(sample["compared"]["rollup_5m"].as_i64() > Some(0), "{sample}");

        // And for ever, beside the roller.
        city.eventually("a rollup that ingest computed again", async || {
            let page = city.metrics().await?;
            Ok(page.value("screenline_audit_buckets_total").filter(|compared| 0.0 < *compared))
        })
        .await?;
        let wrong = city.metrics().await?.value("screenline_audit_mismatches_total");
        ensure!(wrong == Some(0.0), "{wrong:?} mismatches");
        city.stop()?;
        Ok(())
    }

    pub async fn what_was_changed_is_found_and_repaired(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.replay_feed("wntr-net3", Speed::Max, Arc::default()).await?;
        city.settled().await?;
        let before = Snapshot::read(city.database()).await?;

        // A bit of a sum, a rollup too few, one without readings, and an hour that forgot to be rolled.
        let database = city.database();
        let some = "(SELECT min(bucket), min(series_id) FROM rollup_5m)";
        database
            .execute(
                &format!("UPDATE rollup_5m SET residue = 1e-300 WHERE (bucket, series_id) = {some}"),
                &[],
            )
            .await?;
        let last = "(SELECT bucket, series_id FROM rollup_5m ORDER BY bucket DESC, series_id DESC LIMIT 1)";
        database.execute(&format!("DELETE FROM rollup_5m WHERE (bucket, series_id) = {last}"), &[]).await?;
        let orphan = "INSERT INTO rollup_5m (bucket, series_id, count, flagged)
             SELECT min(bucket) - interval '3 hours', min(series_id), 0, 1 FROM rollup_5m";
        database.execute(orphan, &[]).await?;
        database
            .execute(
                "UPDATE rollup_1h SET count = count + 1 WHERE bucket = (SELECT max(bucket) FROM rollup_1h)",
                &[],
            )
            .await?;
        let hours: i64 = database
            .query_one(
                "SELECT count(*) FROM rollup_1h WHERE bucket = (SELECT max(bucket) FROM rollup_1h)",
                &[],
            )
            .await?
            .get(0);

        let said = command::run(city.workplace(), &["audit", "--all", "--json"])?;
        ensure!(said.status.code() == Some(1), "{}: {}", said.status, said.err);
        let audit: Value = serde_json::from_str(&said.out)?;
        ensure!(audit["wrong"]["rollup_5m"] == 3 && audit["wrong"]["rollup_1h"] == hours, "{audit}");
        let nothing = |what: &str| -> usize {
            audit["mismatches"].as_array().into_iter().flatten().filter(|wrong| wrong[what].is_null()).count()
        };
        ensure!((nothing("stored"), nothing("readings_say")) == (1, 1), "{audit}");
        let said = command::run(city.workplace(), &["audit", "--all", "--repair"])?;
        ensure!(said.status.code() == Some(1) && said.out.contains("marked"), "{}", said.out);
        city.settled().await?;
        command::json(city.workplace(), &["audit", "--all"])?;
        before.equals(&Snapshot::read(city.database()).await?)?;
        city.stop()?;
        Ok(())
    }
}

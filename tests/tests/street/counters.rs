//! Nothing is dropped without a counter and a reason: counters, ledger and rejections say what was sent.

tests::at_each_level!(every_counter_says_what_was_sent);

mod scenarios {
    use std::time::Duration;

    use anyhow::ensure;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Totals};
    use tests::{City, Storage};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Columns of the ledger and the counters that must say the same.
    const COUNTERS: [(&str, &str); 14] = [
        ("received", "screenline_messages_received_total"),
        ("accepted", "screenline_messages_accepted_total"),
        ("repeated", "screenline_messages_repeated_total"),
        ("ignored", "screenline_messages_ignored_total"),
        ("rejected_messages", "screenline_messages_rejected_total"),
        ("decoded", "screenline_readings_decoded_total"),
        ("stored", "screenline_readings_stored_total"),
        ("duplicate", "screenline_readings_duplicate_total"),
        ("conflict", "screenline_readings_conflict_total"),
        ("rejected", "screenline_readings_rejected_total"),
        ("late", "screenline_readings_late_total"),
        ("reused", "screenline_numbers_reused_total"),
        ("unkept", "screenline_rejections_unkept_total"),
        ("shed", "screenline_messages_shed_total"),
    ];

    pub async fn every_counter_says_what_was_sent(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let from: Timestamp = "2024-02-05T22:00:00Z".parse()?;
        let load = Load { gaps: 0.02, late: 0.05, ..Load::clean("counted", 1, from).dirty() };
        let ledger = Ledger::create(&city.workplace().path().join("ledger"), &load)?;
        let publisher = Publisher::new(city.mqtt_url());
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        // Undisturbed, so that every column of the ledger is the oracle's number.
        let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
        let report = oracle.settle(async || city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");

        let Totals(ledger) = Totals::read(city.database(), None).await?;
        let page = city.metrics().await?;
        let counted = |name: &str| page.value(name).unwrap_or_default() as i64;
        ensure!(ledger.len() == COUNTERS.len(), "a column has no counter: {ledger:?}");
        for (column, counter) in COUNTERS {
            let told = counted(counter);
            ensure!(ledger[column] == told, "{counter} is {told}, {column} is {}", ledger[column]);
        }
        for happened in ["repeated", "rejected_messages", "duplicate", "conflict", "rejected", "late"] {
            ensure!(0 < ledger[happened], "the load had no {happened}");
        }
        let reasons = "SELECT reason, count(*) FROM rejection GROUP BY reason";
        for row in city.database().query(reasons, &[]).await? {
            let (reason, kept): (&str, i64) = (row.get(0), row.get(1));
            let told = page.labelled("screenline_rejections_total", "reason", reason).unwrap_or_default();
            ensure!(kept as f64 <= told, "{kept} rejections for {reason} are kept, {told} counted");
        }
        city.stop()?;
        Ok(())
    }
}

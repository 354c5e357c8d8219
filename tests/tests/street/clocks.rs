//! Clocks are wrong: a sensor's by a minute or by a day.

tests::at_each_level!(a_skewed_clock_is_stored_late_or_refused_as_future);

mod scenarios {
    use anyhow::ensure;
    use jiff::Timestamp;
    use tests::{Plan, Storage};

    const DAY_S: i64 = 86_400;

    pub async fn a_skewed_clock_is_stored_late_or_refused_as_future(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::by_default(storage).args(&["--lateness-horizon", "40d"]).start().await?;
        let now = Timestamp::now().as_second();
        // Seconds ahead, and what becomes of it: late, or the reason. Five minutes ahead are allowed.
        let clocks = [
            ("slow-by-seconds", -20, Ok(false)),
            ("slow-by-an-hour", -3_600, Ok(true)),
            ("slow-by-a-day", -DAY_S, Ok(true)),
            ("slow-by-a-month", -30 * DAY_S, Ok(true)),
            ("slow-by-two-months", -60 * DAY_S, Err("too_late")),
            ("at-its-epoch", 1 - now, Err("before_2000")),
            ("fast-by-minutes", 200, Ok(false)),
            ("fast-by-an-hour", 3_600, Err("future")),
            ("fast-by-a-day", DAY_S, Err("future")),
            ("in-another-era", 400 * 365 * DAY_S, Err("future")),
        ];
        let message = |sensor: &str, ahead_s: i64| {
            // In milliseconds where a clock counts those, so that SenML takes small times for what they are.
            let time_s = (now + ahead_s).max(300_000_000);
            let pack = format!(r#"[{{"bn":"{sensor}:","bt":{time_s},"n":"level","u":"m","v":1.5}}]"#);
            ("city/senml/clocks".to_owned(), pack.into_bytes())
        };
        // Twice, as from a gateway that was not heard: nothing changes.
        for _ in 0..2 {
            city.publish_all(clocks.iter().map(|(sensor, ahead_s, _)| message(sensor, *ahead_s)).collect())
                .await?;
        }
        city.settled_at(2 * clocks.len() as u64).await?;
        city.account().await?.adds_up()?;
        for (sensor, _, wanted) in clocks {
            let query = "SELECT r.quality & 16 = 16 FROM reading r JOIN series s ON s.id = r.series_id WHERE s.sensor = $1";
            let stored: Vec<bool> =
                city.database().query(query, &[&sensor]).await?.iter().map(|row| row.get(0)).collect();
            let query = "SELECT reason FROM rejection WHERE 0 < strpos(convert_from(payload, 'UTF8'), $1)";
            let refused: Vec<String> =
                city.database().query(query, &[&sensor]).await?.iter().map(|row| row.get(0)).collect();
            let as_wanted = match wanted {
                Ok(late) => stored == [late] && refused.is_empty(),
                Err(reason) => stored.is_empty() && refused == [reason],
            };
            ensure!(as_wanted, "{sensor}: late {stored:?}, refused {refused:?}");
        }
        city.stop()?;
        Ok(())
    }
}

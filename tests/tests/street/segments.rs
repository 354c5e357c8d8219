//! Closed days as segments: never stale, never mixed, whatever changes under them.

tests::at_each_level!(a_segment_is_true_whatever_comes_late, no_row_is_missing_or_twice_under_load);

mod scenarios {
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use jiff::{Timestamp, ToSpan};
    use tests::{City, Storage, aging::senml, command, flight::Flight};
    use tokio_util::sync::CancellationToken;

    /// The start of the day (UTC) so many days ago.
    fn midnight(days_ago: i64) -> anyhow::Result<Timestamp> {
        let today = Timestamp::now().as_second().div_euclid(86_400);
        Timestamp::from_second((today - days_ago) * 86_400).context("a day that long ago")
    }

    /// Count, sum and extremes by sensor of both days, as Flight and as the database say them.
    async fn both(city: &City, table: &str, value: &str) -> anyhow::Result<[Vec<Vec<String>>; 2]> {
        let (from, to) = (midnight(3)?, midnight(1)?);
        let sql = format!(
            "SELECT sensor, count(*), sum({value}), min({value}), max({value}), count(DISTINCT time) FROM {table}
             WHERE time >= '{from}' AND time < '{to}' GROUP BY sensor ORDER BY sensor"
        );
        let seen = Flight::connect(city.flight_url()).await?.rows(&sql).await?;
        let (stored, time) = match table {
            "reading" => ("reading", "time"),
            _ => (table, "bucket"),
        };
        let stored = format!(
            "SELECT sensor, count(*), sum(t.{value}), min(t.{value}), max(t.{value}), count(DISTINCT {time}) FROM {stored} t
             JOIN series ON series.id = series_id WHERE {time} >= '{from}' AND {time} < '{to}' GROUP BY sensor ORDER BY sensor"
        );
        let rows = city.database().query(&stored, &[]).await?;
        let number = |value: f64| format!("{value:?}");
        let kept = rows.iter().map(|row| {
            let sensor: String = row.get(0);
            let counts: [i64; 2] = [row.get(1), row.get(5)];
            let sums: Vec<f64> = match row.columns()[2].type_().name() {
                "numeric" | "int8" => vec![],
                _ => vec![row.get(2), row.get(3), row.get(4)],
            };
            let sums = sums.into_iter().map(number);
            [sensor, counts[0].to_string()].into_iter().chain(sums).chain([counts[1].to_string()]).collect()
        });
        Ok([seen, kept.collect()])
    }

    async fn agree(city: &City, what: &str) -> anyhow::Result<()> {
        for table in ["reading", "rollup_5m", "rollup_1h"] {
            let value = if table == "reading" { "value" } else { "max" };
            let [seen, kept] = both(city, table, value).await?;
            ensure!(
                !kept.is_empty() && seen == kept,
                "{what}, {table}:\nflight   {seen:?}\ndatabase {kept:?}"
            );
        }
        Ok(())
    }

    /// What is added up where it is read is the same as what is added up later.
    async fn adds_up(city: &City) -> anyhow::Result<()> {
        let mut flight = Flight::connect(city.flight_url()).await?;
        let (from, to) = (midnight(3)?, midnight(1)?);
        for table in ["rollup_5m", "rollup_1h"] {
            let sql = |zero: &str| {
                format!(
                    "SELECT s.id, date_bin(INTERVAL '6 hours', r.time) AS bucket, sum(r.count{zero}), min(r.min{zero}), \
                            max(r.max{zero}), sum(r.late{zero}), sum(r.expected{zero}) \
                     FROM {table} AS r JOIN sensor AS s ON s.id = r.sensor \
                     WHERE r.time >= '{from}' AND r.time < '{to}' GROUP BY 1, 2 ORDER BY 1, 2"
                )
            };
            let plan = async |flight: &mut Flight, zero: &str| {
                anyhow::Ok(format!("{:?}", flight.rows(&format!("EXPLAIN {}", sql(zero))).await?))
            };
            ensure!(plan(&mut flight, "").await?.contains("rows put together"), "{table} is added up later");
            ensure!(
                !plan(&mut flight, " + 0").await?.contains("rows put together"),
                "a sum of something else"
            );
            let (early, late) = (flight.rows(&sql("")).await?, flight.rows(&sql(" + 0")).await?);
            // What is only called like a column of the table is not one.
            let ones = format!(
                "SELECT t.sensor, sum(t.count) FROM (SELECT sensor, 1 AS count FROM {table} \
                 WHERE time >= '{from}' AND time < '{to}') AS t GROUP BY t.sensor"
            );
            let (ones, buckets) =
                (flight.rows(&ones).await?, if table == "rollup_5m" { "576" } else { "48" });
            ensure!(ones.len() == 3 && ones.iter().all(|row| row[1] == buckets), "{table}: {ones:?}");
            ensure!(early == late && early.len() == 8 * 3, "{table}:\nearly {early:?}\nlate  {late:?}");
        }
        Ok(())
    }

    async fn made(city: &City, event: &str) -> anyhow::Result<f64> {
        let page = city.metrics().await?;
        Ok(page.labelled("screenline_segments_total", "event", event).unwrap_or(0.0))
    }

    /// A city with a reading of three sensors every three minutes of two days.
    async fn filled(storage: Storage) -> anyhow::Result<City> {
        let city = City::up(storage).await?;
        // Integers, whose sums are the same in any order.
        let messages = [midnight(3)?, midnight(2)?].into_iter().flat_map(|day| {
            (0..480).flat_map(move |i| {
                let at = day + (180 * i).seconds();
                ["weir-1", "weir-2", "weir-3"].map(|sensor| senml(sensor, "level", at, i as f64))
            })
        });
        city.publish_all(messages.collect()).await?;
        city.settled().await?;
        Ok(city)
    }

    /// Old data change all the time, on both sides of midnight, while segments are made, merged and read.
    pub async fn no_row_is_missing_or_twice_under_load(storage: Storage) -> anyhow::Result<()> {
        let city = filled(storage).await?;
        agree(&city, "without segments").await?;
        city.eventually(
            "segments to be made",
            async || Ok((6.0 <= made(&city, "made").await?).then_some(())),
        )
        .await?;
        let (from, to) = (midnight(3)?, midnight(1)?);
        let range = format!("time >= '{from}' AND time < '{to}'");
        let late = async {
            for i in 0..60_i64 {
                let near_midnight = midnight(2)? + (i * 40 - 1200).seconds() + 7.seconds();
                let anywhere = midnight(3)? + (i * 2_800 + 11).seconds();
                let sensor = ["weir-1", "weir-2", "weir-3", "weir-4"][i as usize % 4];
                let messages = [near_midnight, anywhere].map(|at| senml(sensor, "level", at, 1.0));
                city.publish_all(messages.into()).await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        };
        let stop = CancellationToken::new();
        let looking = (0..3).map(|_| async {
            let (mut flight, mut looks) = (Flight::connect(city.flight_url()).await?, 0);
            let database = city.connect().await?;
            let count = format!("SELECT count(*) FROM reading WHERE {range}");
            while !stop.is_cancelled() {
                let before: i64 = database.query_one(&count, &[]).await?.get(0);
                let rows = flight
                    .rows(&format!(
                        "SELECT sensor, count(*), count(DISTINCT time) FROM reading WHERE {range} GROUP BY sensor"
                    ))
                    .await?;
                let after: i64 = database.query_one(&count, &[]).await?.get(0);
                ensure!(rows.iter().all(|row| row[1] == row[2]), "some rows come twice: {rows:?}");
                let seen = rows.iter().map(|row| row[1].parse::<i64>()).sum::<Result<i64, _>>()?;
                ensure!(before <= seen && seen <= after, "{seen} rows, and there were {before} to {after}: {rows:?}");
                let rolled = format!(
                    "SELECT sensor, count(*), count(DISTINCT time) FROM rollup_5m WHERE {range} GROUP BY sensor"
                );
                let rows = flight.rows(&rolled).await?;
                ensure!(rows.iter().all(|row| row[1] == row[2]), "some rollups come twice: {rows:?}");
                looks += 1;
            }
            Ok(looks)
        });
        let changing = async {
            let changed = late.await;
            stop.cancel();
            changed
        };
        let (looks, ()) = tokio::try_join!(futures::future::try_join_all(looking), changing)?;
        ensure!(looks.iter().all(|looks| 5 < *looks), "hardly anybody looked: {looks:?}");
        city.settled().await?;
        agree(&city, "after the load").await?;
        city.stop()?;
        Ok(())
    }

    pub async fn a_segment_is_true_whatever_comes_late(storage: Storage) -> anyhow::Result<()> {
        let city = filled(storage).await?;
        let days = [midnight(3)?, midnight(2)?];
        agree(&city, "without segments").await?;
        city.eventually("six segments to be made", async || {
            Ok((6.0 <= made(&city, "made").await?).then_some(()))
        })
        .await?;
        let used = async || {
            let page = city.metrics().await?;
            anyhow::Ok(page.value("screenline_segments_used_total").unwrap_or(0.0))
        };
        let before = used().await?;
        agree(&city, "from segments").await?;
        adds_up(&city).await?;
        ensure!(before < used().await?, "segments are there and not used");

        // Late readings, one after the other while somebody looks: at once from the tables, never from the old file.
        for (late, sensor) in ["weir-2", "weir-1", "weir-4"].into_iter().enumerate() {
            let at = days[late % 2] + (60 + 180 * late as i64).seconds();
            city.publish_all(vec![senml(sensor, "level", at, 10_000.0 + late as f64)]).await?;
            let stored = "SELECT count(*) FROM reading WHERE value = $1";
            city.eventually("the late reading to be stored", async || {
                let found: i64 =
                    city.database().query_one(stored, &[&(10_000.0 + late as f64)]).await?.get(0);
                Ok((found == 1).then_some(()))
            })
            .await?;
            let [seen, kept] = both(&city, "reading", "value").await?;
            ensure!(
                seen == kept,
                "a late reading that is not rolled yet:\nflight   {seen:?}\ndatabase {kept:?}"
            );
            city.settled().await?;
            agree(&city, "after a late reading was rolled").await?;
        }
        // What was laid over a segment is merged into a new one.
        city.eventually("a segment to be merged", async || {
            Ok((0.0 < made(&city, "merged").await?).then_some(()))
        })
        .await?;
        agree(&city, "from merged segments").await?;

        // What is erased is seen no more, at once.
        let erase = ["erase", "--sensor", "weir-3", "--reason", "asked", "--yes"];
        let said = command::run(city.workplace(), &erase)?;
        ensure!(said.status.success(), "{}", said.err);
        let [seen, kept] = both(&city, "reading", "value").await?;
        ensure!(seen == kept && seen.iter().all(|row| row[0] != "weir-3"), "erased:\n{seen:?}\n{kept:?}");
        let mut flight = Flight::connect(city.flight_url()).await?;
        let (from, to) = (midnight(3)?, midnight(1)?);
        let one = format!(
            "SELECT count(*), min(value), max(value) FROM reading WHERE sensor = 'weir-1' AND time >= '{from}' AND time < '{to}'"
        );
        ensure!(flight.rows(&one).await? == [["961", "0.0", "10001.0"]], "one series of its own blocks");
        city.stop()?;
        Ok(())
    }
}

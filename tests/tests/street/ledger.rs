//! The account says what came in, where it went, and what is missing.

tests::at_each_level!(
    a_planted_gap_is_shown_in_its_hour,
    two_halves_of_a_period_add_up_to_the_whole,
    a_silent_series_is_missing_not_absent
);

mod scenarios {
    use std::sync::Arc;

    use anyhow::{Context, ensure};
    use jiff::{Timestamp, ToSpan};
    use serde_json::{Value, json};
    use simulators::replay::Speed;
    use tests::flight::Flight;
    use tests::{City, Plan, Storage, command};

    /// The present hour, and hours before it: -3 is three hours ago.
    fn hour(now: Timestamp, offset: i64) -> anyhow::Result<Timestamp> {
        Ok(Timestamp::from_second((now.as_second().div_euclid(3_600) + offset) * 3_600)?)
    }

    /// Numbered messages of one gateway.
    fn numbered(seqs: impl Iterator<Item = i64>) -> Vec<(String, Vec<u8>)> {
        let message = |seq| {
            let number = format!(r#"{{"source":"gate-7","epoch":5,"seq":{seq}}}"#);
            let time = Timestamp::from_second(1_704_067_200 + seq).unwrap_or_default();
            let payload = format!(r#"{{"screenline":{number},"time":"{time}","register_m3":{seq}}}"#);
            ("city/water/WM-101/register".to_owned(), payload.into_bytes())
        };
        seqs.map(message).collect()
    }

    /// Moves what was received in the present hour, and the one before it if it began since, to another one.
    async fn receive_in(city: &City, hour: Timestamp, earliest: Timestamp) -> anyhow::Result<()> {
        for table in ["source_hour", "ledger"] {
            let update = format!("UPDATE {table} SET hour = $1 WHERE $2 <= hour");
            city.database().execute(&update, &[&hour, &earliest]).await?;
        }
        Ok(())
    }

    pub async fn a_planted_gap_is_shown_in_its_hour(storage: Storage) -> anyhow::Result<()> {
        let city = Plan::up(storage).args(&["--time-zone", "Asia/Kathmandu"]).start().await?;
        let now = Timestamp::now();
        let present = hour(now, 0)?;
        let heard: [(i64, Vec<i64>); 3] =
            [(-3, (1..=10).collect()), (-2, (21..=30).collect()), (-1, (31..=40).chain([43]).collect())];
        for (offset, seqs) in heard {
            city.publish_all(numbered(seqs.into_iter())).await?;
            city.settled().await?;
            receive_in(&city, hour(now, offset)?, present).await?;
        }
        let from = hour(now, -3)?.to_string();
        let account =
            command::json(city.workplace(), &["account", "--from", &from, "--to", &present.to_string()])?;
        let missing = json!([
            { "source": "gate-7", "epoch": 5, "hour": hour(now, -2)?, "gaps": 1, "messages": 10, "first_seq": 11, "last_seq": 20 },
            { "source": "gate-7", "epoch": 5, "hour": hour(now, -1)?, "gaps": 1, "messages": 2, "first_seq": 41, "last_seq": 42 },
        ]);
        ensure!(account["missing"] == missing, "{account:#}");
        let of = |name: &str| -> Vec<Value> {
            account["hours"].as_array().into_iter().flatten().map(|hour| hour[name].clone()).collect()
        };
        ensure!(of("missing") == [0, 10, 2] && of("complete") == [true, false, false], "{account:#}");
        ensure!(of("received") == [10, 10, 11], "{account:#}");
        ensure!(account["missing_messages"] == 12 && account["incomplete_hours"] == 2, "{account:#}");
        ensure!(account["time_zone"] == "Asia/Kathmandu" && account["sums_hold"] == true, "{account:#}");

        let text = command::run(city.workplace(), &["account", "--from", &from])?;
        ensure!(text.status.success(), "missing data is no error: {}", text.err);
        let second = text.out.lines().nth(1).unwrap_or_default();
        ensure!(second.contains("12 numbered messages never came"), "not said first:\n{}", text.out);
        ensure!(!text.out.contains('\x1b'), "colours in a pipe:\n{}", text.out);

        let mut flight = Flight::connect(city.flight_url()).await?;
        let gaps = flight.rows("SELECT first_seq, last_seq, hour FROM gap ORDER BY first_seq").await?;
        let gap = |first: &str, last: &str, offset| {
            anyhow::Ok([first.to_owned(), last.to_owned(), hour(now, offset)?.to_string()])
        };
        ensure!(gaps == [gap("11", "20", -2)?, gap("41", "42", -1)?], "{gaps:?}");
        let sql = "SELECT epoch, committed, seen_to, missing, rejected, reused FROM source_position";
        let position = flight.rows(sql).await?;
        ensure!(position == [["5", "10", "43", "12", "0", "0"]], "{position:?}");

        // What comes after all is missing no more.
        city.publish_all(numbered((11..=20).chain([41, 42]))).await?;
        city.settled().await?;
        let account = command::json(city.workplace(), &["account", "--from", &from])?;
        ensure!(account["missing"] == json!([]) && account["missing_messages"] == 0, "{account:#}");
        city.stop()?;
        Ok(())
    }

    pub async fn two_halves_of_a_period_add_up_to_the_whole(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        city.replay_feed("sumo-grid", Speed::Max, Arc::default()).await?;
        city.publish("city/nowhere", "1").await?;
        city.settled().await?;
        let now = Timestamp::now();
        // The batches are spread over six hours, as a slower feed would be.
        let spread = "UPDATE ledger l
             SET hour = date_trunc('hour', $1::timestamptz) - p.hours * INTERVAL '1 hour'
             FROM (SELECT ctid AS at, row_number() OVER (ORDER BY ctid) % 6 AS hours FROM ledger) AS p
             WHERE l.ctid = p.at";
        city.database().execute(spread, &[&now]).await?;
        let [begin, middle, end] =
            [hour(now, -5)?, now - 2.hours() - 1.minute(), hour(now, 1)?].map(|at| at.to_string());
        let account =
            |from: &str, to: &str| command::json(city.workplace(), &["account", "--from", from, "--to", to]);
        let (whole, first, second) =
            (account(&begin, &end)?, account(&begin, &middle)?, account(&middle, &end)?);
        let totals = city.account().await?;
        for column in ["received", "accepted", "rejected_messages", "decoded", "stored", "duplicate", "late"]
        {
            let of = |account: &Value| account["total"][column].as_i64().context(column);
            ensure!(of(&whole)? == of(&first)? + of(&second)?, "{column}: {whole:#}\n{first:#}\n{second:#}");
        }
        ensure!(whole["total"]["received"] == totals.received && totals.received == 15_384, "{whole:#}");
        ensure!(whole["total"]["stored"] == totals.stored, "{whole:#}");
        let hours = |account: &Value| account["hours"].as_array().map_or(0, Vec::len);
        ensure!((hours(&whole), hours(&first), hours(&second)) == (6, 3, 3), "{whole:#}");
        let sources: Vec<&Value> =
            whole["sources"].as_array().into_iter().flatten().map(|source| &source["source"]).collect();
        ensure!(sources == ["senml", "traffic-passages", "unmapped"], "{whole:#}");
        ensure!(
            whole["rejections"]
                == json!([{ "reason": "no_mapping", "open": 1, "redriven": 0, "dropped": 0 }]),
            "{whole:#}"
        );

        // A reading that is nowhere.
        let lose = "UPDATE ledger SET stored = stored - 1 WHERE ctid = (SELECT min(ctid) FROM ledger WHERE 0 < stored)";
        ensure!(city.database().execute(lose, &[]).await? == 1, "nothing was stored");
        let said = command::run(city.workplace(), &["account", "--from", &begin])?;
        ensure!(said.status.code() == Some(1) && said.out.contains("THE SUMS DO NOT HOLD"), "{}", said.out);

        // Of a city that was stopped: its database is started for it.
        let workplace = city.stop()?;
        let said = command::run(&workplace, &["account", "--from", &begin, "--to", &middle])?;
        ensure!(said.out.contains("traffic-passages"), "{}\n{}", said.out, said.err);
        Ok(())
    }

    /// A detector that reports the volume of each minute in [from, to).
    fn minutes(sensor: &str, from: Timestamp, to: Timestamp) -> Vec<(String, Vec<u8>)> {
        let message = |ends: i64| {
            let pack = format!(r#"[{{"bn":"{sensor}:","bt":{ends},"n":"volume","v":4}}]"#);
            (format!("city/senml/{sensor}"), pack.into_bytes())
        };
        (from.as_second()..to.as_second()).step_by(60).map(|start| message(start + 60)).collect()
    }

    pub async fn a_silent_series_is_missing_not_absent(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        // Of a day that is over, so that it is rolled up as a day, too.
        let midnight = Timestamp::now().as_second().div_euclid(86_400) * 86_400;
        let [t0, t1, t3] = [-6, -5, -3].map(|hours| Timestamp::from_second(midnight + hours * 3_600));
        let (t0, t1, t3) = (t0?, t1?, t3?);
        city.publish_all(minutes("whole", t0, t3)).await?;
        // An hour, half of the next, and then silence.
        city.publish_all(minutes("half", t0, t1 + 30.minutes())).await?;
        city.settled().await?;
        let [from, to] = [t0, t3].map(|at| at.to_string());
        let account = command::json(city.workplace(), &["account", "--from", &from, "--to", &to])?;
        let of = |name: &str| -> Vec<Value> {
            account["hours"].as_array().into_iter().flatten().map(|hour| hour[name].clone()).collect()
        };
        // The first hour may have begun before they were there, so nothing is due in it.
        ensure!(of("due_series") == [0, 2, 2] && of("expected") == [0, 120, 120], "{account:#}");
        ensure!(of("observed") == [0, 90, 60] && of("short_series") == [0, 1, 1], "{account:#}");
        ensure!(of("complete") == [true, false, false] && of("readings") == [120, 90, 60], "{account:#}");
        ensure!(of("share") == [json!(null), json!(0.75), json!(0.5)], "{account:#}");

        let series = command::json(city.workplace(), &["account", "--series", "--from", &from, "--to", &to])?;
        let rows = series["coverage"].as_array().context("coverage")?;
        let row = |row: &Value| {
            let n = |name: &str| row[name].as_i64().unwrap_or(-1);
            (row["sensor"].clone(), n("observed"), n("expected"), n("covered"), n("late"))
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        ensure!(
            rows == [(json!("half"), 90, 120, 30, 90), (json!("whole"), 180, 120, 120, 180)],
            "{series:#}"
        );
        let one = command::json(
            city.workplace(),
            &["account", "--series", "--sensor", "half", "--from", &from, "--to", &to],
        )?;
        ensure!(one["series"] == 1 && one["coverage"][0]["share"] == 0.25, "{one:#}");

        let mut flight = Flight::connect(city.flight_url()).await?;
        let sql = "SELECT sum(observed), sum(expected), sum(late) FROM coverage WHERE sensor = 'half'";
        let coverage = flight.rows(sql).await?;
        ensure!(coverage == [["90", "120.0", "90"]], "{coverage:?}");
        city.stop()?;
        Ok(())
    }
}

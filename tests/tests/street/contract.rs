//! The parts of the delivery contract: numbered messages, and rows that nobody foresaw.

tests::at_each_level!(
    a_numbered_message_is_known_again_by_its_number_and_its_payload,
    a_gateway_counts_only_below_its_own_topics,
    a_row_that_the_database_refuses_is_the_only_one_refused
);

mod scenarios {
    use anyhow::ensure;
    use tests::{City, Plan, Storage};

    const EPOCH: i64 = 1_700_000_000;

    /// A register of WM-101 in a message that its publisher counts.
    fn numbered(source: &str, seq: i64, minute: i64, value: &str) -> (String, Vec<u8>) {
        let payload = format!(
            r#"{{"screenline":{{"source":"{source}","epoch":{EPOCH},"seq":{seq}}},"time":"2024-01-01T00:{minute:02}:00Z","register_m3":{value}}}"#
        );
        ("city/water/WM-101/register".to_owned(), payload.into_bytes())
    }

    /// What `source_position` says of one source: its numbers, rejected, reused.
    async fn position(city: &City, source: &str) -> anyhow::Result<Option<(String, i64, i64)>> {
        let query =
            "SELECT seen::text, rejected, reused FROM source_position WHERE source = $1 AND epoch = $2";
        let row = city.database().query_opt(query, &[&source, &EPOCH]).await?;
        Ok(row.map(|row| (row.get(0), row.get(1), row.get(2))))
    }

    pub async fn a_numbered_message_is_known_again_by_its_number_and_its_payload(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        let first = vec![
            numbered("gw", 1, 1, "1"),
            numbered("gw", 2, 2, "2"),
            numbered("gw", 4, 4, "4"),
            numbered("gw", 5, 5, "NaN"),
            numbered("gw", 4, 4, "4"),
        ];
        city.publish_all(first.clone()).await?;
        city.settled().await?;
        ensure!(position(&city, "gw").await? == Some(("{[1,3),[4,6)}".to_owned(), 1, 0)));
        // A new process knows them, too.
        city.kill_ingest().await?;
        let again = [first, vec![numbered("gw", 2, 20, "20"), numbered("gw", 3, 3, "3")]].concat();
        city.publish_all(again).await?;
        city.settled().await?;
        let now = position(&city, "gw").await?;
        ensure!(now == Some(("{[1,6)}".to_owned(), 1, 1)), "{now:?}");

        let account = city.account().await?;
        account.adds_up()?;
        // 1, 2, 4, the second 2 and 3 are stored: a number alone discards nothing.
        ensure!((account.received, account.stored, account.repeated) == (12, 5, 6), "{account:?}");
        let query = "SELECT sum(received)::int8, sum(reused)::int8 FROM ledger WHERE source = 'gw'";
        let row = city.database().query_one(query, &[]).await?;
        ensure!((row.get(0), row.get(1)) == (12_i64, 1_i64), "the ledger's line of the source: {row:?}");
        let query = "SELECT min(first_seq), max(last_seq) FROM source_hour WHERE source = 'gw'";
        let row = city.database().query_one(query, &[]).await?;
        ensure!((row.get(0), row.get(1)) == (1_i64, 5_i64), "the hours of the source: {row:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_gateway_counts_only_below_its_own_topics(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        let below = |gateway: &str, (topic, payload): (String, Vec<u8>)| {
            (format!("gateway/{gateway}/{topic}"), payload)
        };
        let messages =
            vec![below("north", numbered("north", 1, 1, "1")), below("north", numbered("south", 1, 2, "2"))];
        city.publish_all(messages).await?;
        city.settled().await?;
        ensure!(position(&city, "north").await? == Some(("{[1,2)}".to_owned(), 0, 0)));
        ensure!(position(&city, "south").await?.is_none(), "a gateway counted for another one");
        let rows = city.database().query("SELECT reason FROM rejection", &[]).await?;
        let reasons: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        ensure!(reasons == ["source_mismatch"], "{reasons:?}");
        city.stop()?;
        Ok(())
    }

    pub async fn a_row_that_the_database_refuses_is_the_only_one_refused(
        storage: Storage,
    ) -> anyhow::Result<()> {
        let city = Plan::up(storage).start().await?;
        city.publish("city/senml/x", r#"[{"bn":"a:","bt":1704067200,"n":"level","u":"m","v":0}]"#).await?;
        city.settled().await?;
        let rule = "ALTER TABLE reading ADD CONSTRAINT no_beast CHECK (value <> 666)";
        city.database().batch_execute(rule).await?;
        // Ten sensors a second; every fortieth second the fourth of them says 666.
        let pack = |second: i64| {
            let record = |sensor: i64| {
                let value = if second % 40 == 7 && sensor == 3 { 666 } else { sensor };
                format!(r#"{{"n":"s{sensor}:level","u":"m","t":{},"v":{value}}}"#, 1_704_067_201 + second)
            };
            let records: Vec<String> = (0..10).map(record).collect();
            ("city/senml/x".to_owned(), format!("[{}]", records.join(",")).into_bytes())
        };
        city.publish_all((0..200).map(pack).collect()).await?;
        city.settled().await?;
        let account = city.account().await?;
        account.adds_up()?;
        ensure!((account.stored, account.rejected) == (1 + 1_995, 5), "{account:?}");
        let query =
            "SELECT count(*), sum(readings)::int8, min(reason), max(reason), min(detail) FROM rejection";
        let row = city.database().query_one(query, &[]).await?;
        let (rejections, readings): (i64, i64) = (row.get(0), row.get(1));
        let (least, most, detail): (String, String, String) = (row.get(2), row.get(3), row.get(4));
        ensure!((rejections, readings) == (5, 5), "{rejections} rejections of {readings} readings");
        ensure!(least == "unstorable" && most == "unstorable", "{least}, {most}");
        ensure!(detail.contains("no_beast"), "{detail}");
        city.stop()?;
        Ok(())
    }
}

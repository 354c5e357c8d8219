//! Bad input is kept with its reason, and nothing else happens.

tests::at_each_level!(bad_input_becomes_a_rejection_with_its_reason, a_hostile_name_stops_nothing);

mod scenarios {
    use std::collections::BTreeSet;

    use anyhow::{Context, ensure};
    use jiff::{Timestamp, ToSpan, tz::TimeZone};
    use simulators::feed::Feed;
    use tests::{City, Plan, Storage};

    pub async fn bad_input_becomes_a_rejection_with_its_reason(storage: Storage) -> anyhow::Result<()> {
        // The registry is filled before it is closed, as a city would.
        let city = City::up(storage).await?;
        let feed = Feed::named("wntr-net3").context("the bundled feed")?;
        let files = feed.registry().map(|(name, text)| processor::registry::File::new(name, text));
        processor::registry::import(city.database(), &files).await?;
        let workplace = city.stop()?;
        let mut city = Plan::up(storage).args(&["--registry", "closed"]).on(workplace).start().await?;
        let ingest = city.pid("ingest")?;

        let next_year = Timestamp::now().to_zoned(TimeZone::UTC).checked_add(1.year())?.timestamp();
        let at =
            |time: &str, value: &str| format!(r#"{{"time":"{time}","register_m3":{value}}}"#).into_bytes();
        let mut huge = at("2024-01-01T00:00:00Z", "1");
        huge.resize(1 << 20, b' ');
        let bad: Vec<(&str, &str, Vec<u8>)> = vec![
            ("WM-101", "not_utf8", b"{\"time\":\"2024-01-01T00:00:00Z\",\"register_m3\":\xff}".to_vec()),
            ("WM-103", "not_json", b"{\"time\":\"2024-01-01T00:00:00Z\",".to_vec()),
            ("WM-NOBODY", "unknown_sensor", at("2024-01-01T00:00:00Z", "1")),
            ("WM-105", "not_finite", at("2024-01-01T00:00:00Z", "NaN")),
            ("WM-107", "future", at(&next_year.to_string(), "1")),
            ("WM-109", "before_2000", at("0001-01-01T00:00:00Z", "1")),
            ("WM-111", "too_large", huge.clone()),
        ];
        let mut messages = Vec::new();
        let topic = |meter: &str| format!("city/water/{meter}/register");
        for (number, (meter, _, payload)) in bad.iter().enumerate() {
            let neighbour =
                |offset: usize| at(&format!("2024-01-01T01:{:02}:00Z", 2 * number + offset), "7.5");
            messages.push((topic("WM-115"), neighbour(0)));
            messages.push((topic(meter), payload.clone()));
            messages.push((topic("WM-115"), neighbour(1)));
        }
        let good = 2 * bad.len() as i64;
        // Twice: a repeated rejection is one rejection, and a repeated reading one reading.
        city.publish_all(messages.clone()).await?;
        city.settled().await?;
        city.publish_all(messages).await?;
        city.settled().await?;

        let expected: BTreeSet<(String, String)> =
            bad.iter().map(|(meter, reason, _)| (topic(meter), (*reason).to_owned())).collect();
        let rows = city.database().query("SELECT topic, reason FROM rejection", &[]).await?;
        let found: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        ensure!(found == expected, "rejections are {found:?}\nexpected {expected:?}");
        ensure!(rows.len() == bad.len(), "{} rejections for {} bad messages", rows.len(), bad.len());

        let query = "SELECT payload = substr($1::bytea, 1, octet_length(payload)), octet_length(payload), \
             sha256 = sha256($1::bytea) FROM rejection WHERE reason = 'too_large'";
        let row = city.database().query_one(query, &[&huge]).await?;
        let (prefix, bytes, hash): (bool, i32, bool) = (row.get(0), row.get(1), row.get(2));
        ensure!(
            prefix && hash && 0 < bytes && bytes <= 65_536,
            "prefix {prefix}, {bytes} bytes, hash {hash}"
        );

        let account = city.account().await?;
        account.adds_up()?;
        ensure!(
            account.readings == good && account.sensors == 61,
            "the neighbours are not all there: {account:?}"
        );

        city.publish(&topic("WM-115"), at("2024-01-01T03:00:00Z", "8")).await?;
        city.settled().await?;
        ensure!(city.account().await?.readings == good + 1, "ingest does not go on");
        ensure!(city.pid("ingest")? == ingest, "ingest was restarted");
        city.stop()?;
        Ok(())
    }

    pub async fn a_hostile_name_stops_nothing(storage: Storage) -> anyhow::Result<()> {
        let city = City::up(storage).await?;
        // A topic of 4-byte characters that no index entry can hold, and a name repeated for every record.
        let topic: String =
            (0..1_000u32).filter_map(|i| char::from_u32(0x1_0000 + i * 7_919 % 0xFFFF)).collect();
        let huge_name =
            format!(r#"[{{"bn":"{}","v":1}}{}]"#, "x".repeat(100_000), r#",{"v":1}"#.repeat(15_000));
        let long_unit =
            format!(r#"[{{"n":"strange:level","u":"{}","v":1,"t":1704067200}}]"#, "u".repeat(100));
        let good = r#"[{"n":"plain:level","u":"m","v":1,"t":1704067200}]"#.to_owned();
        let messages = vec![
            (format!("city/{topic}"), b"1".to_vec()),
            ("city/senml/huge".to_owned(), huge_name.into_bytes()),
            ("city/senml/unit".to_owned(), long_unit.into_bytes()),
            ("city/senml/good".to_owned(), good.into_bytes()),
        ];
        city.publish_all(messages).await?;
        city.settled().await?;
        let rows = city.database().query("SELECT reason FROM rejection ORDER BY reason", &[]).await?;
        let reasons: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        ensure!(reasons == ["no_mapping", "too_many_readings"], "{reasons:?}");
        let account = city.account().await?;
        account.adds_up()?;
        ensure!(account.readings == 2, "the neighbours are not all there: {account:?}");
        city.stop()?;
        Ok(())
    }
}

//! Readers that do not read, and queries for everything: ingest does not notice.

tests::at_each_level!(slow_readers_and_huge_queries_leave_ingest_alone);

mod scenarios {
    use std::time::Duration;

    use anyhow::ensure;
    use arrow_flight::Ticket;
    use arrow_flight::flight_service_client::FlightServiceClient;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Shape, Totals};
    use tests::flight::Flight;
    use tests::page::Page;
    use tests::resources::{MEMORY_MAX_MIB, memory_peak_mib};
    use tests::{City, Storage, say};
    use tokio::task::JoinSet;
    use tonic::transport::Endpoint;

    const PATIENCE: Duration = Duration::from_secs(60);
    const READERS: usize = 50;
    const GREEDY: usize = 50;
    /// What query may take at its highest, by the contract of its own.
    const QUERY_MAX_MIB: u64 = 1_024;
    /// Messages a second, of 50 readings.
    const RATE: f64 = 500.0;

    /// More than a query may have: of time, memory, disk or rows.
    const EVERYTHING: [&str; 5] = [
        "SELECT count(*) FROM reading a CROSS JOIN reading b CROSS JOIN reading c WHERE a.value < b.value + c.value",
        "SELECT a.time, b.value FROM reading a CROSS JOIN reading b ORDER BY a.value + b.value",
        "SELECT time, sum(value) OVER (ORDER BY received_at, sensor, time) FROM reading",
        "SELECT string_agg(sensor, ',') FROM (SELECT a.sensor FROM reading a CROSS JOIN reading b)",
        "SELECT DISTINCT a.value * b.value FROM reading a CROSS JOIN reading b",
    ];

    pub async fn slow_readers_and_huge_queries_leave_ingest_alone(storage: Storage) -> anyhow::Result<()> {
        let mut city = City::up(storage).await?;
        let from: Timestamp = "2024-02-13T00:00:00Z".parse()?;
        let load = |source: &str| Load {
            shapes: vec![Shape::Level],
            sensors: 500,
            messages: 4_000,
            readings: 50,
            ..Load::clean(source, 1, from)
        };
        let process = city.pid("query")?;
        let begun = city.metrics().await?;
        hold(&city, &load("before")).await?;
        let quiet = city.metrics().await?;

        // Each asks for 200,000 rows and reads none of them.
        let endpoint = Endpoint::from_shared(city.flight_url().replacen("grpc://", "http://", 1))?;
        let mut silent = Vec::new();
        let asking = (0..READERS).map(|_| async {
            let mut client = FlightServiceClient::new(endpoint.connect().await?);
            // Beyond its number of queries at once the service refuses, which is as good.
            let asked = client.do_get(Ticket::new("SELECT * FROM reading"));
            let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
            anyhow::Ok(answer.ok().and_then(Result::ok).map(|stream| (client, stream)))
        });
        for one in futures::future::try_join_all(asking).await? {
            silent.extend(one);
        }
        ensure!(!silent.is_empty(), "nobody was answered");
        let mut greedy = JoinSet::new();
        for statement in EVERYTHING.iter().cycle().take(GREEDY) {
            let url = city.flight_url().to_owned();
            greedy.spawn(async move {
                loop {
                    if let Ok(mut flight) = Flight::connect(&url).await {
                        let _ = flight.query(statement).await; // refused, or too much: it asks again
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        hold(&city, &load("during")).await?;
        let beside = city.metrics().await?;
        greedy.abort_all();
        drop(silent);

        let age = |later: &Page, earlier: &Page| {
            later.quantile_since(earlier, "screenline_commit_age_seconds", 0.99).unwrap_or(f64::NAN)
        };
        let (ingest, query) = (memory_peak_mib(city.pid("ingest")?)?, memory_peak_mib(city.pid("query")?)?);
        say(&format!(
            "{READERS} slow readers and {GREEDY} huge queries: commit age p99 {:.2} s, {:.2} s without them; ingest {ingest} MiB, \
             query {query} MiB",
            age(&beside, &quiet),
            age(&quiet, &begun)
        ));
        ensure!(city.pid("query")? == process, "the service was ended and began anew");
        ensure!(ingest <= MEMORY_MAX_MIB && query <= QUERY_MAX_MIB, "ingest {ingest} MiB, query {query} MiB");
        // The service goes on.
        city.eventually("an answer of the query service", async || {
            let Ok(mut flight) = Flight::connect(city.flight_url()).await else { return Ok(None) };
            let rows = flight.rows("SELECT count(*) FROM reading").await.ok();
            Ok(rows.filter(|rows| *rows == [["400100"]]))
        })
        .await?;
        city.stop()?;
        Ok(())
    }

    async fn hold(city: &City, load: &Load) -> anyhow::Result<()> {
        let ledger = Ledger::create(&city.workplace().path().join(&load.source), load)?;
        let publisher = Publisher { rate: Some(RATE), ..Publisher::new(city.mqtt_url()) };
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
        let report = oracle.settle(async || city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        Ok(())
    }
}

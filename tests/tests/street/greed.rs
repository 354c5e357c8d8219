//! Readers that do not read, and queries for everything: ingest does not notice.

tests::at_each_level!(slow_readers_and_huge_queries_leave_ingest_alone);

mod scenarios {
    use std::time::Duration;

    use anyhow::{Context, ensure};
    use arrow_flight::Ticket;
    use arrow_flight::flight_service_client::FlightServiceClient;
    use jiff::Timestamp;
    use simulators::oracle::{Ledger, Load, Oracle, Publisher, Shape, Totals};
    use tests::flight::Flight;
    use tests::resources::{MEMORY_MAX_MIB, memory_peak_mib};
    use tests::{City, Storage};
    use tonic::transport::Endpoint;

    const PATIENCE: Duration = Duration::from_secs(60);
    const READERS: usize = 20;
    /// What query may take at its highest, by the contract of its own.
    const QUERY_MAX_MIB: u64 = 1_024;

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
        hold(&city, &load("before"), None).await?;

        // Each asks for 200,000 rows and reads none of them.
        let endpoint = Endpoint::from_shared(city.flight_url().replacen("grpc://", "http://", 1))?;
        let mut silent = Vec::new();
        for _ in 0..READERS {
            let mut client = FlightServiceClient::new(endpoint.connect().await?);
            // Beyond its number of queries at once the service refuses, which is as good.
            let asked = client.do_get(Ticket::new("SELECT * FROM reading"));
            if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(2), asked).await {
                silent.push((client, stream));
            }
        }
        ensure!(!silent.is_empty(), "nobody was answered");
        let url = city.flight_url().to_owned();
        let greedy = tokio::spawn(async move {
            let mut flight = Flight::connect(&url).await?;
            let everything = "SELECT count(*) FROM reading a CROSS JOIN reading b CROSS JOIN reading c WHERE a.value < b.value + c.value";
            flight.query(everything).await.context("a query for everything")
        });
        hold(&city, &load("during"), Some(2_000.0)).await?;
        greedy.abort();
        drop(silent);

        let (ingest, query) = (memory_peak_mib(city.pid("ingest")?)?, memory_peak_mib(city.pid("query")?)?);
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

    async fn hold(city: &City, load: &Load, rate: Option<f64>) -> anyhow::Result<()> {
        let ledger = Ledger::create(&city.workplace().path().join(&load.source), load)?;
        let publisher = Publisher { rate, ..Publisher::new(city.mqtt_url()) };
        publisher.publish(&ledger).await?;
        publisher.publish_fresh(&ledger).await?;
        let oracle = Oracle::new(&ledger, &Totals::default()).undisturbed();
        let report = oracle.settle(async || city.connect().await, PATIENCE).await?.report;
        ensure!(report.holds(), "{report}");
        Ok(())
    }
}

//! A Flight SQL client.

use anyhow::Context;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tonic::transport::{Channel, Endpoint};

/// A connection to the query service.
#[derive(Debug)]
pub struct Flight(FlightSqlServiceClient<Channel>);

impl Flight {
    /// Connects to `grpc://host:port`.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(url: &str) -> anyhow::Result<Flight> {
        let endpoint = Endpoint::from_shared(url.replacen("grpc://", "http://", 1))?;
        let channel = endpoint.connect().await.with_context(|| format!("connect to {url}"))?;
        Ok(Flight(FlightSqlServiceClient::new(channel)))
    }

    /// The answer to a query.
    ///
    /// # Errors
    /// When the query is wrong or the service fails.
    pub async fn query(&mut self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let info = self.0.execute(sql.to_owned(), None).await.with_context(|| sql.to_owned())?;
        let mut batches = Vec::new();
        for endpoint in info.endpoint {
            let ticket = endpoint.ticket.context("an endpoint without a ticket")?;
            let stream = self.0.do_get(ticket).await.with_context(|| sql.to_owned())?;
            batches.extend(stream.try_collect::<Vec<_>>().await.with_context(|| sql.to_owned())?);
        }
        Ok(batches)
    }

    /// The answer to a query as text, a row a vector.
    ///
    /// # Errors
    /// As [`Flight::query`].
    pub async fn rows(&mut self, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for batch in self.query(sql).await? {
            let options = FormatOptions::default();
            let columns: Vec<ArrayFormatter<'_>> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect::<Result<_, _>>()?;
            let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.extend((0..batch.num_rows()).map(row));
        }
        Ok(rows)
    }
}

//! A Flight SQL client, and one that follows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::utils::flight_data_to_arrow_batch;
use arrow_flight::{FlightData, Ticket};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Streaming;
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

    /// The same with the secret of a token.
    #[must_use]
    pub fn with_token(mut self, secret: &str) -> Flight {
        self.0.set_token(secret.to_owned());
        self
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
            rows.extend(texts(&batch)?);
        }
        Ok(rows)
    }
}

/// Rows as text, a row a vector.
///
/// # Errors
/// A type that has no text.
pub fn texts(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// An answer without an end.
#[derive(Debug)]
pub struct Tail {
    stream: Streaming<FlightData>,
    schema: SchemaRef,
}

/// A message of a [`Tail`].
#[derive(Debug)]
pub struct Piece {
    /// None: a sign of life.
    pub rows: Option<RecordBatch>,
    /// What is said beside it, with `resume`.
    pub about: Value,
}

impl Tail {
    /// Follows what a ticket asks for at `grpc://host:port`.
    ///
    /// # Errors
    /// When nobody answers there, or the ticket is refused.
    pub async fn open(url: &str, secret: Option<&str>, ticket: &Value) -> anyhow::Result<Tail> {
        let endpoint = Endpoint::from_shared(url.replacen("grpc://", "http://", 1))?;
        let mut client = FlightServiceClient::new(endpoint.connect().await?);
        let mut request = tonic::Request::new(Ticket::new(ticket.to_string()));
        if let Some(secret) = secret {
            request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse()?);
        }
        let mut stream = client.do_get(request).await?.into_inner();
        let first = stream.message().await?.context("an answer begins with its schema")?;
        let schema = Arc::new(Schema::try_from(&first)?);
        Ok(Tail { stream, schema })
    }

    /// The next message.
    ///
    /// # Errors
    /// When there is none within half a minute, or the answer ended.
    pub async fn next(&mut self) -> anyhow::Result<Piece> {
        let patience = Duration::from_secs(30); // two signs of life
        let message = timeout(patience, self.stream.message()).await.context("no sign of life")??;
        let message = message.context("an endless answer ended as if it were complete")?;
        let rows = match message.data_header.is_empty() {
            true => None,
            false => Some(flight_data_to_arrow_batch(&message, self.schema.clone(), &HashMap::new())?),
        };
        Ok(Piece { rows, about: serde_json::from_slice(&message.app_metadata)? })
    }
}

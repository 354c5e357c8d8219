//! Arrow Flight as clients meet it. It wraps the Flight SQL service, whose blanket implementation knows neither
//! ListFlights and GetSchema nor paths and JSON tickets.

use crate::{
    caller::{Caller, Door},
    catalogue,
    engine::{Batches, Engine, Pieces, Statement},
    error::{QueryError, Result},
    flight_sql::FlightSql,
    identity::bearer_of,
    live::Piece,
    ticket::{self, Ticket},
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty,
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    flight_descriptor::DescriptorType,
    flight_service_server::FlightService,
    sql::{Any, Command},
};
use bytes::Bytes;
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use prost::Message;
use std::{pin::Pin, sync::Arc};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

pub type Replies<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;
pub type DoGet = Replies<FlightData>;
type Reply<T> = std::result::Result<Response<T>, Status>;

/// Names given to actions of ours; the others are Flight SQL's.
const HEALTH: &str = "health";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

pub struct Flight {
    engine: Arc<Engine>,
    sql: FlightSql,
}

/// What bytes of a ticket or descriptor mean.
#[derive(Debug, PartialEq)]
enum Meaning<'a> {
    FlightSql,
    Dataset(Box<Ticket>),
    Sql(&'a str),
}

impl Flight {
    pub fn new(engine: Arc<Engine>) -> anyhow::Result<Self> {
        Ok(Self { sql: FlightSql::new(engine.clone())?, engine })
    }

    async fn dataset_info(
        &self,
        caller: &Caller,
        mut ticket: Ticket,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo> {
        let schema = self.engine.describe(caller, Statement::Dataset(Box::new(ticket.clone()))).await?;
        ticket.id.get_or_insert_with(ticket::new_id);
        Ok(flight_info(&schema, ticket.to_json()?, descriptor)?.with_app_metadata(as_of(&self.engine).await))
    }

    async fn info(&self, request: Request<FlightDescriptor>) -> std::result::Result<FlightInfo, Status> {
        let descriptor = request.get_ref().clone();
        let caller = caller(&request)?;
        match descriptor.r#type() {
            DescriptorType::Path => {
                let [name] = &descriptor.path[..] else {
                    let text = "a path has one part, the name of a dataset, such as [\"reading\"]";
                    return Err(QueryError::Invalid(text.into()).into());
                };
                Ok(self
                    .dataset_info(&caller, Ticket::ready(name, Timestamp::now()), descriptor.clone())
                    .await?)
            }
            DescriptorType::Cmd => match meaning(&descriptor.cmd)? {
                Meaning::FlightSql => Ok(self.sql.get_flight_info(request).await?.into_inner()),
                Meaning::Dataset(ticket) => {
                    Ok(self.dataset_info(&caller, *ticket, descriptor.clone()).await?)
                }
                Meaning::Sql(sql) => Ok(self.sql.statement_info(&caller, sql, descriptor.clone()).await?),
            },
            DescriptorType::Unknown => {
                Err(QueryError::Invalid("a descriptor with neither path nor command".into()).into())
            }
        }
    }
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Replies<HandshakeResponse>;
    type ListFlightsStream = Replies<FlightInfo>;
    type DoGetStream = DoGet;
    type DoPutStream = Replies<PutResult>;
    type DoExchangeStream = Replies<FlightData>;
    type DoActionStream = Replies<arrow_flight::Result>;
    type ListActionsStream = Replies<ActionType>;

    /// The entrance has checked the credentials: they come back as a bearer token, which some tools send from then on.
    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        let header = request.metadata().get("authorization");
        let bearer = header.and_then(|header| bearer_of(header.as_bytes()));
        let bearer = bearer.unwrap_or_else(|| format!("Bearer {}", ticket::new_id()));
        let answer = HandshakeResponse { protocol_version: 0, payload: bearer.clone().into() };
        let mut response = Response::new(Box::pin(stream::iter([Ok(answer)])) as Self::HandshakeStream);
        let bearer = MetadataValue::try_from(bearer)
            .map_err(|error| QueryError::Internal(format!("a token as a header: {error}")))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    /// One flight a dataset, with its schema.
    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        if !request.get_ref().expression.is_empty() {
            return Err(QueryError::Invalid("criteria are not known here; list all flights".into()).into());
        }
        let info = |shown: catalogue::Shown| {
            let descriptor = FlightDescriptor::new_path(vec![shown.name.into()]);
            let ticket = Ticket::ready(shown.name, Timestamp::now()).to_json()?;
            Ok(flight_info(&shown.schema, ticket, descriptor)?)
        };
        let rules = self.engine.rules(&caller(&request)?)?;
        let infos: Vec<_> = catalogue::shown(rules).map(info).collect();
        Ok(Response::new(Box::pin(stream::iter(infos))))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        Ok(Response::new(self.info(request).await?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        Ok(Response::new(SchemaResult { schema: self.info(request).await?.schema }))
    }

    async fn do_get(&self, request: Request<arrow_flight::Ticket>) -> Reply<Self::DoGetStream> {
        let caller = caller(&request)?;
        match meaning(&request.get_ref().ticket)? {
            Meaning::FlightSql => self.sql.do_get(request).await,
            Meaning::Dataset(ticket) if ticket.is_live() => {
                let caller = Caller::of(request.extensions(), Door::Live)?;
                let (schema, pieces) = self.engine.follow(&caller, *ticket).await?;
                Ok(tail(&schema, pieces))
            }
            Meaning::Dataset(ticket) => {
                let id = ticket.id.clone().unwrap_or_else(ticket::new_id);
                let about = as_of(&self.engine).await;
                let (schema, batches) = self.engine.query(&caller, id, Statement::Dataset(ticket)).await?;
                Ok(answer(schema, batches, about))
            }
            Meaning::Sql(sql) => Ok(self.sql.sql(&caller, &ticket::new_id(), sql).await?),
        }
    }

    /// Only parameters of prepared statements are taken.
    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        self.sql.do_put(request).await
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let actions = [
            ("CreatePreparedStatement", "Flight SQL: prepares a statement"),
            ("ClosePreparedStatement", "Flight SQL: forgets a prepared statement"),
            ("CancelQuery", "Flight SQL: stops what runs for a FlightInfo"),
            (
                CANCEL_FLIGHT_INFO,
                "stops what runs for a FlightInfo: CancelFlightInfoRequest -> CancelFlightInfoResult",
            ),
            (HEALTH, "whether the database answers: empty -> {\"status\": \"ok\"} or the error"),
        ];
        let actions =
            actions.map(|(name, about)| Ok(ActionType { r#type: name.into(), description: about.into() }));
        Ok(Response::new(Box::pin(stream::iter(actions))))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let body: Bytes = match request.get_ref().r#type.as_str() {
            HEALTH => {
                self.engine.ping().await?;
                r#"{"status": "ok"}"#.into()
            }
            CANCEL_FLIGHT_INFO => {
                let asked =
                    CancelFlightInfoRequest::decode(request.get_ref().body.clone()).map_err(|error| {
                        QueryError::Invalid(format!("the FlightInfo to cancel cannot be read: {error}"))
                    })?;
                let caller = caller(&request)?;
                let found = asked.info.is_some_and(|info| self.sql.cancel(&caller, &info));
                let status = if found { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
                CancelFlightInfoResult { status: status.into() }.encode_to_vec().into()
            }
            "CreatePreparedStatement" | "ClosePreparedStatement" | "CancelQuery" => {
                // Read here, because the service that it goes to would call what cannot be read its own fault.
                let unreadable = |error: &dyn std::fmt::Display| {
                    QueryError::Invalid(format!("the body of the action cannot be read: {error}"))
                };
                let body = request.get_ref().body.clone();
                let any = Any::decode(body).map_err(|error| unreadable(&error))?;
                Command::try_from(any).map_err(|error| unreadable(&error))?;
                return self.sql.do_action(request).await;
            }
            other => {
                let text = format!("action {:?}: list_actions tells which there are", shortened(other));
                return Err(QueryError::Unimplemented(text).into());
            }
        };
        Ok(Response::new(Box::pin(stream::iter([Ok(arrow_flight::Result { body })]))))
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        Err(QueryError::Unimplemented("PollFlightInfo: use GetFlightInfo, which answers at once".into())
            .into())
    }

    async fn do_exchange(&self, _request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        Err(QueryError::Unimplemented("DoExchange: use DoGet".into()).into())
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller> {
    Caller::of(request.extensions(), Door::Flight)
}

/// A FlightInfo with one endpoint and no location: the connection that asked is the one to read from.
pub fn flight_info(
    schema: &Schema,
    ticket: impl Into<Bytes>,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo> {
    let endpoint = FlightEndpoint::new().with_ticket(arrow_flight::Ticket::new(ticket));
    Ok(FlightInfo::new().try_with_schema(schema)?.with_descriptor(descriptor).with_endpoint(endpoint))
}

/// What an answer says of itself, as JSON: `complete_until`, the first instant that is not settled yet, or null where
/// that cannot be told.
pub async fn as_of(engine: &Engine) -> Bytes {
    let known = engine.complete_until().await.ok();
    serde_json::json!({"complete_until": known.map(|time| time.to_string())}).to_string().into()
}

pub fn schema_bytes(schema: &Schema) -> Result<Bytes> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes)
}

/// The stream of a DoGet: schema, batches, and the error if there is one. Never compressed: not all clients read that.
/// `about` comes with the schema.
pub fn answer(schema: SchemaRef, batches: Batches, about: Bytes) -> Response<DoGet> {
    let batches = batches.map_err(|error| FlightError::Tonic(Box::new(error.into())));
    // The batches have their final size already.
    let encoder = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_metadata(about)
        .with_max_flight_data_size(usize::MAX);
    Response::new(Box::pin(encoder.build(batches).map_err(Status::from)))
}

/// The stream of a live DoGet: the schema, then rows and signs of life, each with where to go on from as JSON.
fn tail(schema: &Schema, pieces: Pieces) -> Response<DoGet> {
    let options = IpcWriteOptions::default();
    let schema = FlightData::from(SchemaAsIpc::new(schema, &options));
    let messages = pieces.map(move |piece| Ok(message(&piece?, &options)?));
    Response::new(Box::pin(stream::iter([Ok(schema)]).chain(messages)))
}

fn message(piece: &Piece, options: &IpcWriteOptions) -> Result<FlightData> {
    let Piece { rows, place } = piece;
    let about = serde_json::json!({"resume": place.to_string(), "at": place.at.to_string()}).to_string();
    let data = match rows {
        None => FlightData::new(),
        Some(rows) => {
            // Plain columns: there are no dictionaries.
            let (mut tracker, mut context) = (DictionaryTracker::new(false), IpcWriteContext::default());
            IpcDataGenerator::default().encode(rows, &mut tracker, options, &mut context)?.1.into()
        }
    };
    Ok(data.with_app_metadata(about))
}

pub fn one_batch(batch: RecordBatch) -> Response<DoGet> {
    let schema = batch.schema();
    answer(schema, stream::iter([Ok(batch)]).boxed(), Bytes::new())
}

/// Tells a Flight SQL message (a protobuf `Any`) from a JSON ticket and from plain SQL.
fn meaning(bytes: &[u8]) -> Result<Meaning<'_>> {
    if let Ok(any) = Any::decode(bytes)
        && any.type_url.starts_with("type.googleapis.com/")
    {
        // Read here, because the service that it goes to would call what cannot be read its own fault.
        return Command::try_from(any)
            .map(|_| Meaning::FlightSql)
            .map_err(|error| QueryError::Invalid(format!("the Flight SQL command cannot be read: {error}")));
    }
    let text = ticket::text(bytes)?;
    match text.trim_start().chars().next() {
        None => Err(QueryError::Invalid(
            "nothing was asked; send SQL, a JSON ticket such as {\"dataset\": \"reading\"}, or a Flight SQL command".into(),
        )),
        Some('{') => Ok(Meaning::Dataset(Box::new(Ticket::parse(text)?))),
        Some(_) => Ok(Meaning::Sql(text)),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::sql::{CommandGetCatalogs, ProstMessageExt};
    use proptest::prelude::*;

    #[test]
    fn a_ticket_is_flight_sql_or_json_or_sql() {
        let command = CommandGetCatalogs {}.as_any().encode_to_vec();
        assert_eq!(meaning(&command).unwrap(), Meaning::FlightSql);
        assert_eq!(meaning(b" SELECT 1").unwrap(), Meaning::Sql(" SELECT 1"));
        let dataset = Meaning::Dataset(Box::new(Ticket::of("reading")));
        assert_eq!(meaning(br#"{"dataset": "reading"}"#).unwrap(), dataset);
        for wrong in [&b""[..], b"  ", b"{", b"\xff\xfe\xfd"] {
            assert!(meaning(wrong).is_err());
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = meaning(&bytes);
            let _ = FlightSql::running_id(&bytes);
        }
    }
}

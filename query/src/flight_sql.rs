//! Flight SQL over the engine: statements, prepared statements and what clients ask about tables and server.

use crate::{
    caller::{Caller, Door},
    catalogue,
    engine::{Engine, Statement},
    error::{QueryError, Result},
    flight::{DoGet, answer, as_of, flight_info, one_batch, schema_bytes},
    prepared::{self, Prepared},
    sql_info, statement,
    tables::{CATALOG, SCHEMA},
    ticket::{self, read_statement_handle, statement_handle},
};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, Ticket,
    error::FlightError,
    flight_service_server::FlightService,
    sql::{
        ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
        ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandGetCatalogs,
        CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
        CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
        CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
        CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult,
        ProstMessageExt, SqlInfo, TicketStatementQuery,
        metadata::{SqlInfoData, XdbcTypeInfoData},
        server::{DoPutError, FlightSqlService, PeekableFlightDataStream},
    },
};
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema},
};
use futures::TryStreamExt;
use prost::Message;
use std::{sync::Arc, time::Instant};
use tonic::{Request, Response, Status};

/// The spellings that clients know a plain table by.
const TABLE_TYPES: [&str; 2] = ["BASE TABLE", "TABLE"];
/// The one that rows carry.
const TABLE: &str = "TABLE";

type Reply<T> = std::result::Result<Response<T>, Status>;

pub struct FlightSql {
    engine: Arc<Engine>,
    prepared: Prepared,
    sql_info: SqlInfoData,
    xdbc_types: XdbcTypeInfoData,
}

impl FlightSql {
    pub fn new(engine: Arc<Engine>) -> anyhow::Result<Self> {
        Ok(Self {
            sql_info: sql_info::sql_info(engine.limits())?,
            xdbc_types: sql_info::xdbc_types()?,
            prepared: Prepared::default(),
            engine,
        })
    }

    /// Plans SQL text and hands out a ticket that carries it.
    pub async fn statement_info(
        &self,
        caller: &Caller,
        sql: &str,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo> {
        let statement = Statement::Sql { text: sql.to_owned(), parameters: Vec::new() };
        let schema = self.engine.describe(caller, statement).await?;
        let ticket = TicketStatementQuery { statement_handle: statement_handle(sql).into() };
        let info = flight_info(&schema, ticket.as_any().encode_to_vec(), descriptor)?;
        Ok(info.with_app_metadata(as_of(&self.engine).await))
    }

    pub async fn sql(&self, caller: &Caller, id: &str, sql: &str) -> Result<Response<DoGet>> {
        let statement = Statement::Sql { text: sql.to_owned(), parameters: Vec::new() };
        let about = as_of(&self.engine).await;
        let (schema, batches) = self.engine.query(caller, id.to_owned(), statement).await?;
        Ok(answer(schema, batches, about))
    }

    /// The name that an answer to this ticket can be cancelled by.
    pub fn running_id(ticket: &[u8]) -> Option<String> {
        if let Ok(any) = Any::decode(ticket) {
            if let Ok(Some(ticket)) = any.unpack::<TicketStatementQuery>() {
                return Some(read_statement_handle(&ticket.statement_handle).ok()?.0.to_owned());
            }
            if let Ok(Some(command)) = any.unpack::<CommandPreparedStatementQuery>() {
                return String::from_utf8(command.prepared_statement_handle.into()).ok();
            }
        }
        ticket::Ticket::parse(ticket::text(ticket).ok()?).ok()?.id
    }

    /// True if something was running for one of the tickets of this FlightInfo.
    pub fn cancel(&self, caller: &Caller, info: &FlightInfo) -> bool {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let ids: Vec<_> = tickets.filter_map(|ticket| Self::running_id(&ticket.ticket)).collect();
        // All of them, not only up to the first that runs.
        ids.iter().filter(|id| self.engine.cancel(caller, id)).count() != 0
    }

    fn bound(&self, caller: &Caller, command: &CommandPreparedStatementQuery) -> Result<Statement> {
        let owner = &caller.owner;
        let (text, parameters) =
            self.prepared.get(owner, &command.prepared_statement_handle, Instant::now())?;
        Ok(Statement::Sql { text, parameters })
    }

    async fn create(&self, caller: &Caller, query: &str) -> Result<ActionCreatePreparedStatementResult> {
        let sql = statement::numbered(query)?;
        let (schema, parameters) = self.engine.prepare(caller, sql.clone()).await?;
        let last = parameters.keys().last().copied().unwrap_or(0);
        if PARAMETERS_MAX < last {
            return Err(QueryError::Exhausted(format!(
                "parameter ${last}; up to ${PARAMETERS_MAX} are allowed"
            )));
        }
        let kind = |place| parameters.get(&place).cloned().flatten().unwrap_or(DataType::Null);
        let fields: Vec<_> =
            (1..=last).map(|place| Field::new(format!("${place}"), kind(place), true)).collect();
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.prepared.keep(&caller.owner, sql, Instant::now()).into(),
            dataset_schema: schema_bytes(&schema)?,
            parameter_schema: schema_bytes(&Schema::new(fields))?,
        })
    }

    async fn bind(
        &self,
        caller: &Caller,
        command: CommandPreparedStatementQuery,
        stream: PeekableFlightDataStream,
    ) -> std::result::Result<DoPutPreparedStatementResult, Status> {
        let handle = &command.prepared_statement_handle;
        self.prepared.get(&caller.owner, handle, Instant::now())?; // before anything is read for it
        let row = prepared::row(stream.map_err(FlightError::from)).await?;
        self.prepared.bind(&caller.owner, &command.prepared_statement_handle, row, Instant::now())?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(command.prepared_statement_handle),
        })
    }

    fn catalogs(&self, query: CommandGetCatalogs) -> Result<RecordBatch> {
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        builder.build().map_err(|error| status(&error))
    }

    fn schemas(&self, query: CommandGetDbSchemas) -> Result<RecordBatch> {
        let mut builder = query.into_builder();
        builder.append(CATALOG, SCHEMA);
        builder.build().map_err(|error| status(&error))
    }

    fn tables(&self, caller: &Caller, mut query: CommandGetTables) -> Result<RecordBatch> {
        for kind in &mut query.table_types {
            if TABLE_TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
                *kind = TABLE.into();
            }
        }
        let mut builder = query.into_builder();
        for shown in catalogue::shown(self.engine.rules(caller)?) {
            builder
                .append(CATALOG, SCHEMA, shown.name, TABLE, &shown.schema)
                .map_err(|error| status(&error))?;
        }
        builder.build().map_err(|error| status(&error))
    }

    fn table_types(&self, query: CommandGetTableTypes) -> Result<RecordBatch> {
        let mut builder = query.into_builder();
        for kind in TABLE_TYPES {
            builder.append(kind);
        }
        builder.build().map_err(|error| status(&error))
    }

    fn infos(&self, query: CommandGetSqlInfo) -> Result<RecordBatch> {
        query.into_builder(&self.sql_info).build().map_err(|error| status(&error))
    }

    fn xdbc(&self, query: CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
        query.into_builder(&self.xdbc_types).build().map_err(|error| status(&error))
    }

    fn primary_keys(&self, caller: &Caller, query: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
        let here = query.catalog.as_deref().is_none_or(|name| name == CATALOG)
            && query.db_schema.as_deref().is_none_or(|name| name == SCHEMA);
        let shown = catalogue::shown(self.engine.rules(caller)?).find(|shown| shown.name == query.table);
        let key = shown.filter(|_| here).map(|shown| shown.key).unwrap_or_default();
        Ok(sql_info::primary_keys(CATALOG, SCHEMA, &query.table, &key)?)
    }
}

/// Parameters of one statement: more values belong into a table.
const PARAMETERS_MAX: usize = 1000;

fn status(error: &FlightError) -> QueryError {
    QueryError::Internal(error.to_string())
}

/// FlightInfo of a metadata command: the command itself is the ticket.
fn metadata_info(command: &Any, schema: &Schema, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
    Ok(Response::new(flight_info(schema, command.encode_to_vec(), request.into_inner())?))
}

fn caller<T>(request: &Request<T>) -> Result<Caller> {
    Caller::of(request.extensions(), Door::FlightSql)
}

fn read_only() -> Status {
    QueryError::Unimplemented("this service only reads: send readings over MQTT".into()).into()
}

fn no_foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(sql_info::foreign_keys_schema())
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        let caller = caller(&request)?;
        Ok(Response::new(self.statement_info(&caller, &query.query, request.into_inner()).await?))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        let (id, sql) = read_statement_handle(&ticket.statement_handle)?;
        Ok(self.sql(&caller(&request)?, id, sql).await?)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        let caller = caller(&request)?;
        let schema = self.engine.describe(&caller, self.bound(&caller, &query)?).await?;
        metadata_info(&query.as_any(), &schema, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        let caller = caller(&request)?;
        let statement = self.bound(&caller, &query)?;
        let id = ticket::text(&query.prepared_statement_handle)?.to_owned();
        let about = as_of(&self.engine).await;
        let (schema, batches) = self.engine.query(&caller, id, statement).await?;
        Ok(answer(schema, batches, about))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> std::result::Result<ActionCreatePreparedStatementResult, Status> {
        Ok(self.create(&caller(&request)?, &query.query).await?)
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> std::result::Result<(), Status> {
        self.prepared.close(&caller(&request)?.owner, &query.prepared_statement_handle);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> std::result::Result<DoPutPreparedStatementResult, Status> {
        let caller = caller(&request)?;
        self.bind(&caller, query, request.into_inner()).await
    }

    async fn do_put_statement_update(
        &self,
        _query: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> std::result::Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _query: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> std::result::Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_statement_ingest(
        &self,
        _query: CommandStatementIngest,
        _request: Request<PeekableFlightDataStream>,
    ) -> std::result::Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_fallback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        _message: Any,
    ) -> Reply<<Self as FlightService>::DoPutStream> {
        Err(read_only())
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Reply<<Self as FlightService>::DoPutStream> {
        Err(Status::invalid_argument(error.to_string()))
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> std::result::Result<ActionCancelQueryResult, Status> {
        let caller = caller(&request)?;
        let info = FlightInfo::decode(query.info).map_err(|error| {
            QueryError::Invalid(format!("the FlightInfo to cancel cannot be read: {error}"))
        })?;
        // CANCEL_RESULT_CANCELLED and CANCEL_RESULT_NOT_CANCELLABLE of FlightSql.proto
        Ok(ActionCancelQueryResult { result: if self.cancel(&caller, &info) { 1 } else { 3 } })
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &self.catalogs(query)?.schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.catalogs(query)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &query.into_builder().schema(), request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.schemas(query)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &query.into_builder().schema(), request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.tables(&caller(&request)?, query)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.table_types(query)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &query.into_builder(&self.sql_info).schema(), request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.infos(query)?))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &query.into_builder(&self.xdbc_types).schema(), request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.xdbc(query)?))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &sql_info::primary_keys_schema(), request)
    }

    async fn do_get_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(self.primary_keys(&caller(&request)?, &query)?))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &sql_info::foreign_keys_schema(), request)
    }

    async fn do_get_exported_keys(
        &self,
        _query: CommandGetExportedKeys,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(no_foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &sql_info::foreign_keys_schema(), request)
    }

    async fn do_get_imported_keys(
        &self,
        _query: CommandGetImportedKeys,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(no_foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Reply<FlightInfo> {
        metadata_info(&query.as_any(), &sql_info::foreign_keys_schema(), request)
    }

    async fn do_get_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        _request: Request<Ticket>,
    ) -> Reply<<Self as FlightService>::DoGetStream> {
        Ok(one_batch(no_foreign_keys()))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {
        // All of it is known from the start.
    }
}

//! What strangers send over Flight: tickets, descriptors, commands and parameters that nobody would write. Nothing
//! panics; all of it is refused, or is a request like any other. The database is not there: what would read it says so.

use crate::{
    access::AccessLog,
    caller::{Caller, Door},
    database::Database,
    engine::{Engine, Limits, Statement},
    flight::Flight,
    identity::{Identity, Via},
    policy::Policy,
    prepared,
    tables::ALL,
    ticket::{self, Ticket},
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightData, FlightDescriptor, FlightInfo,
    encode::FlightDataEncoderBuilder,
    flight_service_server::FlightService,
    sql::{
        ActionCreatePreparedStatementRequest, CommandGetCatalogs, CommandGetCrossReference,
        CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
        CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementIngest,
        CommandStatementQuery, CommandStatementUpdate, ProstMessageExt, TicketStatementQuery,
    },
};
use datafusion::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, ListArray,
        RecordBatch, StringArray, TimestampNanosecondArray,
    },
    datatypes::{Int32Type, Int64Type},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::tz::TimeZone;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use prost::Message;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status};

pub fn limits() -> Limits {
    let timeout = Duration::from_secs(20);
    Limits {
        memory_bytes: 64 << 20,
        timeout,
        concurrency: 2,
        concurrency_each: 2,
        queue: 8,
        rows: 1_000_000,
        bytes: 1 << 30,
        tails: 2,
        connections: 4,
        stall: timeout,
    }
}

/// An engine that plans, and whose database is not there.
pub fn engine() -> Engine {
    let limits = limits();
    let timeout = limits.timeout;
    let database = Database::at("host=/nonexistent user=nobody dbname=nothing", 2, timeout).unwrap();
    let policy = Policy::load(None).unwrap();
    Engine::start(database, limits, TimeZone::UTC, policy, AccessLog::none(), None).unwrap()
}

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| Arc::new(engine()));
static FLIGHT: LazyLock<Flight> = LazyLock::new(|| Flight::new(ENGINE.clone()).unwrap());
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Everybody, who may ask everything.
pub fn caller() -> Caller {
    Caller::new(Identity { name: "anonymous".into(), role: "operator".into(), via: Via::Open }, Door::Flight)
}

/// A request that passed the entrance.
fn let_in<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(caller().identity);
    request
}

type Outcome = std::result::Result<(), TestCaseError>;

/// Tickets as we hand them out or as clients write them, and every command that a ticket or a descriptor may hold.
fn tickets() -> Vec<Vec<u8>> {
    let statement =
        TicketStatementQuery { statement_handle: ticket::statement_handle("SELECT 1 AS one").into() };
    let (query, handle) = (String::from("SELECT * FROM reading LIMIT 3"), bytes::Bytes::from_static(b"0123"));
    vec![
        br#"{"dataset":"reading"}"#.to_vec(),
        br#"{"dataset":"reading","from":"2024-01-01T00:00:00Z","to":"2024-01-02T00:00:00Z","sensor":["WM-101"],"metric":["water.volume.total"],"columns":["time","value"],"limit":10,"id":"7"}"#.to_vec(),
        b"SELECT count(*) FROM reading".to_vec(),
        statement.as_any().encode_to_vec(),
        CommandStatementQuery { query: query.clone(), transaction_id: None }.as_any().encode_to_vec(),
        CommandStatementUpdate { query, transaction_id: None }.as_any().encode_to_vec(),
        CommandPreparedStatementQuery { prepared_statement_handle: handle }.as_any().encode_to_vec(),
        CommandGetCatalogs {}.as_any().encode_to_vec(),
        CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("p%".into()) }.as_any().encode_to_vec(),
        tables(None, Some("%"), Some("read_ng"), &["TABLE"], true),
        CommandGetTableTypes {}.as_any().encode_to_vec(),
        CommandGetSqlInfo { info: vec![0, 1, 2, 500] }.as_any().encode_to_vec(),
        CommandGetXdbcTypeInfo { data_type: Some(4) }.as_any().encode_to_vec(),
        primary_keys(Some("screenline"), Some("public"), "reading"),
        CommandGetCrossReference::default().as_any().encode_to_vec(),
        CommandStatementIngest::default().as_any().encode_to_vec(),
    ]
}

fn tables(
    catalog: Option<&str>,
    schema: Option<&str>,
    table: Option<&str>,
    types: &[&str],
    include: bool,
) -> Vec<u8> {
    let command = CommandGetTables {
        catalog: catalog.map(String::from),
        db_schema_filter_pattern: schema.map(String::from),
        table_name_filter_pattern: table.map(String::from),
        table_types: types.iter().copied().map(String::from).collect(),
        include_schema: include,
    };
    command.as_any().encode_to_vec()
}

fn primary_keys(catalog: Option<&str>, schema: Option<&str>, table: &str) -> Vec<u8> {
    let (catalog, db_schema) = (catalog.map(String::from), schema.map(String::from));
    CommandGetPrimaryKeys { catalog, db_schema, table: table.into() }.as_any().encode_to_vec()
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    End(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        1 => (at(), 1..9usize).prop_map(|(at, bytes)| Edit::Cut(at, bytes)),
        1 => (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => at().prop_map(Edit::End),
    ];
    vec(edit, 1..4)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let length = bytes.len();
        match edit {
            _ if length == 0 => {}
            Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Edit::Cut(at, most) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + most));
            }
            Edit::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::End(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

fn spoiled(originals: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (select(originals), edits()).prop_map(|(bytes, edits)| edited(bytes, &edits))
}

/// A refusal is the caller's, or says that the database is not there; never that something went wrong with us.
fn check_refusal(status: &Status) -> Outcome {
    let ours = [Code::Internal, Code::Unknown, Code::DataLoss, Code::DeadlineExceeded];
    prop_assert!(!ours.contains(&status.code()), "{:?}", status);
    prop_assert!(!status.message().is_empty());
    Ok(())
}

/// Asks by these bytes whatever can be asked.
fn check(bytes: &[u8]) -> Outcome {
    RUNTIME.block_on(async {
        let descriptor = || let_in(FlightDescriptor::new_cmd(bytes.to_vec()));
        match FLIGHT.get_flight_info(descriptor()).await {
            Ok(info) => prop_assert!(!info.get_ref().endpoint.is_empty()),
            Err(status) => check_refusal(&status)?,
        }
        if let Err(status) = FLIGHT.get_schema(descriptor()).await {
            check_refusal(&status)?;
        }
        match FLIGHT.do_get(let_in(arrow_flight::Ticket::new(bytes.to_vec()))).await {
            Ok(answer) => {
                let mut answer = answer.into_inner();
                while let Some(data) = answer.next().await {
                    data.map(drop).or_else(|status| check_refusal(&status))?;
                }
            }
            Err(status) => check_refusal(&status)?,
        }
        Ok(())
    })
}

fn check_action(name: &str, body: Vec<u8>) -> Outcome {
    RUNTIME.block_on(async {
        match FLIGHT.do_action(let_in(Action::new(name, body))).await {
            Ok(answer) => {
                let results = answer.into_inner().try_collect::<Vec<_>>().await;
                results.map(drop).or_else(|status| check_refusal(&status))
            }
            Err(status) => check_refusal(&status),
        }
    })
}

/// Every bit, and every length: a ticket is refused, or asks for something that is planned like any other request.
#[test]
fn no_flipped_bit_of_a_ticket_escapes_its_checks() {
    let ours = [&tickets()[1], &tickets()[3]];
    for ticket in ours {
        for bit in 0..ticket.len() * 8 {
            let mut flipped = ticket.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped).unwrap_or_else(|error| panic!("bit {bit}: {error}"));
        }
        for length in 0..ticket.len() {
            check(&ticket[..length]).unwrap_or_else(|error| panic!("{length} bytes: {error}"));
        }
    }
}

#[test]
fn every_ticket_is_answered_or_waits_for_the_database() {
    for ticket in tickets() {
        check(&ticket).unwrap();
    }
}

fn name() -> impl Strategy<Value = String> {
    let known: Vec<String> = ALL.iter().map(|dataset| dataset.name.to_owned()).collect();
    prop_oneof![select(known), "[a-z%_\\\\]{0,8}", any::<String>()]
}

fn asked() -> impl Strategy<Value = Ticket> {
    let time = || {
        prop::option::of(
            (-400_000_000_000..300_000_000_000i64, 0..1_000_000_000i32)
                .prop_filter_map("a time", |(s, n)| jiff::Timestamp::new(s, n).ok()),
        )
    };
    let columns = prop_oneof![
        select(&["time", "sensor", "metric", "value", "series_id", "count"][..]).prop_map(String::from),
        any::<String>()
    ];
    let texts = || prop::option::of(vec(any::<String>(), 0..4));
    let columns = prop::option::of(vec(columns, 0..4));
    (
        name(),
        time(),
        time(),
        texts(),
        texts(),
        columns,
        prop::option::of(any::<usize>()),
        (prop::option::of("[A-Za-z0-9_-]{1,64}"), prop::option::of(any::<String>()), texts(), texts()),
    )
        .prop_map(|(dataset, from, to, sensor, metric, columns, limit, (id, width, segment, zone))| {
            Ticket {
                dataset,
                from,
                to,
                sensor,
                metric,
                segment,
                zone,
                columns,
                width,
                limit,
                id,
                ..Ticket::default()
            }
        })
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_a_request(bytes in vec(any::<u8>(), 0..120), text in "[{}\\[\\]\":,a-z0-9 ]{0,60}") {
        check(&bytes)?;
        check(text.as_bytes())?;
    }

    #[test]
    fn a_spoiled_ticket_is_refused_or_a_request(bytes in spoiled(tickets())) {
        check(&bytes)?;
    }

    #[test]
    fn a_ticket_says_what_was_asked(asked in asked()) {
        prop_assert_eq!(&Ticket::parse(&asked.to_json().unwrap()).unwrap(), &asked);
        if let Err(error) = RUNTIME.block_on(ENGINE.describe(&caller(), Statement::Dataset(Box::new(asked.clone())))) {
            check_refusal(&error.into())?;
        }
        check(asked.to_json().unwrap().as_bytes())?;
    }

    #[test]
    fn any_question_about_the_tables_is_answered(
        names in (prop::option::of(name()), prop::option::of(name()), prop::option::of(name())),
        kind in name(),
        include in any::<bool>(),
        numbers in vec(any::<u32>(), 0..5),
        data_type in any::<i32>(),
    ) {
        let (catalog, schema, table) = (names.0.as_deref(), names.1.as_deref(), names.2.as_deref());
        check(&tables(catalog, schema, table, &[&kind, "TABLE"], include))?;
        check(&primary_keys(catalog, schema, table.unwrap_or_default()))?;
        check(&CommandGetSqlInfo { info: numbers }.as_any().encode_to_vec())?;
        check(&CommandGetXdbcTypeInfo { data_type: Some(data_type) }.as_any().encode_to_vec())?;
        let db_schema_filter_pattern = names.1.clone();
        check(&CommandGetDbSchemas { catalog: names.0, db_schema_filter_pattern }.as_any().encode_to_vec())?;
    }

    #[test]
    fn a_descriptor_of_any_path_is_refused_or_a_dataset(path in vec(name(), 0..3)) {
        let known = path.len() == 1 && ALL.iter().any(|dataset| dataset.name == path[0]);
        let asked = RUNTIME.block_on(FLIGHT.get_flight_info(let_in(FlightDescriptor::new_path(path))));
        prop_assert_eq!(asked.is_ok(), known);
    }

    #[test]
    fn any_action_is_refused_or_done(
        action in select(&["CreatePreparedStatement", "ClosePreparedStatement", "CancelQuery", "CancelFlightInfo", "BeginTransaction", ""][..]),
        body in prop_oneof![vec(any::<u8>(), 0..60), spoiled(actions())],
        name in any::<String>(),
    ) {
        check_action(action, body.clone())?;
        check_action(&name, body)?;
    }

    #[test]
    fn spoiled_parameters_are_refused_or_values(
        edits in vec((any::<Index>(), any::<bool>(), edits()), 1..3),
        swapped in any::<bool>(),
    ) {
        let mut data = parameters();
        for (which, head, edits) in &edits {
            let message = which.get_mut(&mut data);
            let part = if *head { &mut message.data_header } else { &mut message.data_body };
            *part = edited(part.to_vec(), edits).into();
        }
        if swapped {
            data.reverse();
        }
        if let Err(status) = RUNTIME.block_on(prepared::row(stream::iter(data.into_iter().map(Ok)))) {
            check_refusal(&status)?;
        }
    }
}

/// Bodies of actions that are as they should be.
fn actions() -> Vec<Vec<u8>> {
    let info = FlightInfo::new().with_endpoint(
        arrow_flight::FlightEndpoint::new().with_ticket(arrow_flight::Ticket::new(tickets()[3].clone())),
    );
    let create = |query: &str| {
        let query = query.to_owned();
        ActionCreatePreparedStatementRequest { query, transaction_id: None }.as_any().encode_to_vec()
    };
    vec![
        create("SELECT ? + 1"),
        create("SELECT * FROM reading WHERE sensor = $1 AND value < $2"),
        CancelFlightInfoRequest { info: Some(info) }.encode_to_vec(),
    ]
}

/// One row of parameters of every type that clients send, as Flight sends it.
fn parameters() -> Vec<FlightData> {
    static DATA: LazyLock<Vec<FlightData>> = LazyLock::new(|| {
        let words: DictionaryArray<Int32Type> = ["word"].into_iter().collect();
        let columns: [(&str, ArrayRef); 8] = [
            ("$1", Arc::new(Int64Array::from(vec![7]))),
            ("$2", Arc::new(StringArray::from(vec![Some("text")]))),
            ("$3", Arc::new(Float64Array::from(vec![None::<f64>]))),
            ("$4", Arc::new(BooleanArray::from(vec![true]))),
            ("$5", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("UTC"))),
            ("$6", Arc::new(BinaryArray::from(vec![&b"\xff"[..]]))),
            ("$7", Arc::new(words)),
            ("$8", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
        let data = FlightDataEncoderBuilder::new().build(stream::iter([Ok(batch.unwrap())]));
        RUNTIME.block_on(data.try_collect()).unwrap()
    });
    DATA.clone()
}

#[test]
fn parameters_as_clients_send_them_are_values() {
    let row = RUNTIME.block_on(prepared::row(stream::iter(parameters().into_iter().map(Ok))));
    assert_eq!(row.unwrap().len(), 8);
}

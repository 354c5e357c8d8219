//! What is answered over plain HTTP: downloads, and what there is to download.

use crate::{
    caller::{Caller, Door},
    catalogue, city,
    engine::{Batches, Engine, Statement},
    error::{QueryError, Result},
    export::{self, Asked, Format},
    identity::Identity,
    openapi::{self, ColumnDoc, DatasetDoc},
    policy::OPERATOR,
    problem::Problem,
    tables::Kind,
    ticket::{self, TEXT_BYTES_MAX, Ticket},
};
use axum::{
    Extension, Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use datafusion::arrow::{array::AsArray, datatypes::Float64Type};
use futures::TryStreamExt;
use jiff::Timestamp;
use processor::faults::{Bug, planted};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

/// Datasets whose rows say themselves where they are.
const HAS_PLACES: [&str; 3] = ["sensor", "segment", "zone"];

/// Content types of a statement in a body.
const STATEMENTS: [&str; 2] = ["application/sql", "text/plain"];

type Reply = std::result::Result<Response, Problem>;

/// What only those see who passed the entrance.
pub fn guarded() -> Router<Arc<Engine>> {
    Router::new()
        .route("/", get(about))
        .route("/city", get(city::city))
        .route("/export", get(asked).post(stated))
        .route("/export/{file}", get(asked).post(stated))
        .route("/datasets", get(datasets))
        .route("/openapi.json", get(document))
}

/// What everybody sees.
pub fn open() -> Router<Arc<Engine>> {
    Router::new().route("/healthz", get(health))
}

async fn asked(
    State(engine): State<Arc<Engine>>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Reply {
    download(&engine, identity, Asked::parse(uri.path(), uri.query(), None)?).await
}

/// By a statement in the body, which may be longer than a URL.
async fn stated(
    State(engine): State<Arc<Engine>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Reply {
    let (head, body) = request.into_parts();
    check_is_statement(&head.headers)?;
    let body = to_bytes(body, TEXT_BYTES_MAX).await.map_err(|error| {
        QueryError::Exhausted(format!(
            "the statement cannot be read: {error}; send one of up to {TEXT_BYTES_MAX} B"
        ))
    })?;
    let text = ticket::text(&body)?.to_owned();
    download(&engine, identity, Asked::parse(head.uri.path(), head.uri.query(), Some(text))?).await
}

fn check_is_statement(headers: &HeaderMap) -> Result<()> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let name = kind.split(';').next().unwrap_or_default().trim();
    match STATEMENTS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        true => Ok(()),
        false => Err(QueryError::Invalid(format!(
            "the body is a SELECT: send it with the content-type {}",
            STATEMENTS.join(" or ")
        ))),
    }
}

async fn download(engine: &Engine, identity: Identity, asked: Asked) -> Reply {
    let identity = match planted(Bug::OpenExport) {
        true => Identity { role: OPERATOR.into(), ..identity },
        false => identity,
    };
    let caller = Caller::new(identity, Door::Export);
    let (from, to) = asked.range();
    let Asked { name, format, statement } = asked;
    let complete_until = engine.complete_until().await?;
    // Before the rows, which hold a turn of the same caller until they are read.
    let geometry = match format == Format::GeoJson && !HAS_PLACES.contains(&name.as_str()) {
        true => Some(Arc::new(places(engine, &caller).await?)),
        false => None,
    };
    let (schema, batches) = engine.query(&caller, ticket::new_id(), statement).await?;
    let context = export::Context {
        dataset: name,
        from,
        to,
        at: Timestamp::now(),
        complete_until: Some(complete_until),
        geometry,
        ..export::Context::default()
    };
    let mut response = export::response(format, &schema, batches, &context).await?;
    if let Ok(until) = HeaderValue::try_from(complete_until.to_string()) {
        response.headers_mut().insert("screenline-complete-until", until);
    }
    Ok(response)
}

/// Where each sensor is that the caller sees, as GeoJSON.
async fn places(engine: &Engine, caller: &Caller) -> Result<HashMap<String, Value>> {
    if !catalogue::shown(engine.rules(caller)?).any(|shown| shown.name == "sensor") {
        return Ok(HashMap::new());
    }
    let columns = Some(["id", "lon", "lat"].map(String::from).to_vec());
    let ticket = Ticket { columns, ..Ticket::of("sensor") };
    let (_, batches) = engine.query(caller, ticket::new_id(), Statement::Dataset(Box::new(ticket))).await?;
    let mut places = HashMap::new();
    let mut batches: Batches = batches;
    while let Some(batch) = batches.try_next().await? {
        let ids = batch.column(0).as_string::<i32>();
        let axis = |at: usize| batch.column(at).as_primitive::<Float64Type>().iter();
        for ((id, lon), lat) in ids.iter().zip(axis(1)).zip(axis(2)) {
            if let (Some(id), Some(lon), Some(lat)) = (id, lon, lat) {
                places.insert(id.to_owned(), json!({"type": "Point", "coordinates": [lon, lat]}));
            }
        }
    }
    Ok(places)
}

async fn datasets(State(engine): State<Arc<Engine>>, Extension(identity): Extension<Identity>) -> Reply {
    Ok(json_page(&openapi::datasets(&docs(&engine, identity)?)))
}

async fn document(State(engine): State<Arc<Engine>>, Extension(identity): Extension<Identity>) -> Reply {
    Ok(json_page(&openapi::document(&docs(&engine, identity)?, None, env!("CARGO_PKG_VERSION"))))
}

fn json_page(page: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], page.to_string()).into_response()
}

/// The datasets that somebody sees, for people and generated clients.
fn docs(engine: &Engine, identity: Identity) -> Result<Vec<DatasetDoc>> {
    let rules = engine.rules(&Caller::new(identity, Door::Export))?;
    let docs = catalogue::shown(rules).map(|shown| {
        let columns = shown.schema.fields().iter().filter_map(|field| {
            Some(ColumnDoc {
                name: field.name().clone(),
                kind: Kind::of(field.data_type())?,
                unit: field.metadata().get("unit").cloned(),
                comment: field.metadata().get("comment").cloned(),
            })
        });
        let named = |name: &&str| shown.schema.index_of(name).is_ok();
        let times = if shown.time.is_some() { &["from", "to"][..] } else { &[] };
        let names = ["sensor", "metric", "segment", "zone"].into_iter().filter(named);
        let filters = times.iter().copied().chain(names).chain(["columns", "limit"]);
        let width = shown.has_width.then_some("width");
        DatasetDoc {
            name: shown.name.to_owned(),
            about: shown.about.to_owned(),
            columns: columns.collect(),
            filters: filters.chain(width).map(String::from).collect(),
        }
    });
    Ok(docs.collect())
}

async fn about(State(engine): State<Arc<Engine>>, Extension(identity): Extension<Identity>) -> Reply {
    let mut text = String::from(
        "Screenline: a city's telemetry by Arrow Flight, Flight SQL, gRPC-web and as files, all on this port.\n\n\
         Python:  from adbc_driver_flightsql import dbapi\n\
         \x20        dbapi.connect(\"grpc://HOST:PORT\").cursor().execute(\"SELECT * FROM reading LIMIT 10\")\n\
         or:      pyarrow.flight.connect(\"grpc://HOST:PORT\").do_get(pyarrow.flight.Ticket(b'{\"dataset\": \"reading\"}'))\n\
         Files:   /export/rollup_1h.csv?from=2026-01-01T00:00:00Z&sensor=NAME (csv, parquet, arrow, geojson, xml)\n\
         \x20        /export/answer.csv?sql=SELECT.. (csv, parquet, arrow), or POST the statement\n\
         \x20        /datasets and /openapi.json say what there is\n\n\
         Datasets:\n",
    );
    for shown in catalogue::shown(engine.rules(&Caller::new(identity, Door::Export))?) {
        let columns: Vec<_> = shown.schema.fields().iter().map(|field| field.name().as_str()).collect();
        text += &format!("  {:<10} {}\n             ({})\n", shown.name, shown.about, columns.join(", "));
    }
    Ok(text.into_response())
}

async fn health(State(engine): State<Arc<Engine>>) -> (StatusCode, String) {
    match engine.ping().await {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

//! Answers as files over HTTP, encoded batch by batch as the client takes them.
//!
//! # Layout
//! - `request`: what is asked for, from a path, its query string and a statement
//! - `cell`: one value as the text formats see it
//! - `csv`, `parquet`, `arrow`, `geojson`, `datex2`: one encoder each, which turns batches into bytes and does no I/O

mod arrow;
mod cell;
mod csv;
mod datex2;
mod geojson;
mod parquet;
mod request;
#[cfg(test)]
mod sample;

pub use self::{datex2::Publisher, request::Asked};

use self::{arrow::ArrowStream, csv::Csv, datex2::Datex2, geojson::GeoJson, parquet::Parquet};
use crate::{
    engine::Batches,
    error::{QueryError, Result},
};
use axum::{
    body::Body,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use std::{collections::HashMap, fmt, io, mem, sync::Arc, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Parquet,
    Arrow,
    GeoJson,
    /// DATEX II 2.x, a MeasuredDataPublication.
    Xml,
}

/// What an answer says of itself besides its rows.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The dataset, or what the answer of a statement is called.
    pub dataset: String,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// When the answer was made; handed in, so that a test can.
    pub at: Timestamp,
    /// Rows before this instant change no more, except by corrections.
    pub complete_until: Option<Timestamp>,
    pub licence: Option<String>,
    /// The time that one row speaks of, where no column `interval_s` says it.
    pub interval: Option<Duration>,
    /// Geometries in GeoJSON by the name of their sensor, for rows that have none of their own.
    pub geometry: Option<Arc<HashMap<String, serde_json::Value>>>,
    pub publisher: Publisher,
}

impl Format {
    pub const ALL: [Format; 5] = [Format::Csv, Format::Parquet, Format::Arrow, Format::GeoJson, Format::Xml];

    /// Of rows whose columns nobody knows beforehand.
    pub const OF_STATEMENTS: [Format; 3] = [Format::Csv, Format::Parquet, Format::Arrow];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| name == format.name() || name == format.extension())
    }

    /// As it stands in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
            Format::GeoJson => "geojson",
            Format::Xml => "xml",
        }
    }

    /// A stream of Arrow ends in `arrows`: tools take `.arrow` for the other format, which has a footer.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Arrow => "arrows",
            other => other.name(),
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Arrow => "application/vnd.apache.arrow.stream",
            Format::GeoJson => "application/geo+json",
            Format::Xml => "application/xml",
        }
    }
}

/// The answer as a download.
///
/// # Errors
/// If the rows do not fit the format, or the query fails before its first batch: what fails later can only cut the
/// transfer.
pub async fn response(
    format: Format,
    schema: &SchemaRef,
    batches: Batches,
    context: &Context,
) -> Result<Response> {
    let body = body(format, schema, begun(batches).await?, context)?;
    let name = file_name(&context.dataset, context.from, context.to, format);
    let headers: [(HeaderName, String); 3] = [
        (header::CONTENT_TYPE, format.media_type().into()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        // A browser that guesses would run a script that somebody named a sensor after.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".into()),
    ];
    Ok((headers, body).into_response())
}

/// The bytes of an answer. A batch is encoded when the client has taken the one before, and an error cuts the transfer:
/// the client sees a failure, never an end.
///
/// # Errors
/// If the rows do not fit the format, such as DATEX II without a column `value`.
pub fn body(format: Format, schema: &SchemaRef, batches: Batches, context: &Context) -> Result<Body> {
    let encoder = Encoder::new(format, schema, context)?;
    Ok(Body::from_stream(chunks(format, encoder, batches)))
}

/// `reading_20260101T000000Z_20260102T000000Z.csv`: the same in all formats but for its end.
pub fn file_name(dataset: &str, from: Option<Timestamp>, to: Option<Timestamp>, format: Format) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let compact = |time: Timestamp| cell::Instant(time).to_string().replace(['-', ':'], "").replace('.', "_");
    let dataset: String = dataset.chars().map(safe).collect();
    let times = match (from.map(compact), to.map(compact)) {
        (Some(from), Some(to)) => format!("_{from}_{to}"),
        (Some(from), None) => format!("_from_{from}"),
        (None, Some(to)) => format!("_until_{to}"),
        (None, None) => String::new(),
    };
    format!("{dataset}{times}.{}", format.extension())
}

/// The same batches, once the first is there: a query that fails at once still has a status.
async fn begun(mut batches: Batches) -> Result<Batches> {
    match batches.next().await {
        None => Ok(stream::empty().boxed()),
        Some(Err(error)) => Err(error),
        Some(first) => Ok(stream::iter([first]).chain(batches).boxed()),
    }
}

fn chunks(
    format: Format,
    encoder: Encoder,
    batches: Batches,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let failed = move |error: io::Error| QueryError::Internal(format!("writing {}: {error}", format.name()));
    stream::try_unfold(Some((encoder, batches)), move |state| async move {
        let Some((mut encoder, mut batches)) = state else { return Ok(None) };
        while let Some(batch) = batches.next().await {
            encoder.batch(&batch?).map_err(failed)?;
            let bytes = encoder.take();
            if !bytes.is_empty() {
                return Ok(Some((bytes, Some((encoder, batches)))));
            }
        }
        encoder.finish().map_err(failed)?;
        Ok(Some((encoder.take(), None)))
    })
}

fn cannot_hold(format: Format, error: &dyn fmt::Display) -> QueryError {
    QueryError::Invalid(format!("{} cannot hold these columns: {error}; ask for csv", format.name()))
}

enum Encoder {
    Csv(Csv),
    Parquet(Box<Parquet>),
    Arrow(Box<ArrowStream>),
    GeoJson(GeoJson),
    Datex2(Box<Datex2>),
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef, context: &Context) -> Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(Csv::new(schema)),
            Format::Parquet => Self::Parquet(Box::new(Parquet::new(schema, context)?)),
            Format::Arrow => Self::Arrow(Box::new(ArrowStream::new(schema)?)),
            Format::GeoJson => Self::GeoJson(GeoJson::new(schema, context)),
            Format::Xml => Self::Datex2(Box::new(Datex2::new(schema, context)?)),
        })
    }

    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match self {
            Self::Csv(csv) => csv.batch(batch),
            Self::Parquet(parquet) => parquet.batch(batch),
            Self::Arrow(arrow) => arrow.batch(batch),
            Self::GeoJson(geojson) => geojson.batch(batch),
            Self::Datex2(datex2) => datex2.batch(batch),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Parquet(parquet) => parquet.finish(),
            Self::Arrow(arrow) => arrow.finish(),
            Self::GeoJson(geojson) => geojson.finish(),
            Self::Datex2(datex2) => datex2.finish(),
        }
    }

    /// What was written since it was last taken.
    fn take(&mut self) -> Bytes {
        mem::take(match self {
            Self::Csv(csv) => csv.bytes(),
            Self::Parquet(parquet) => parquet.bytes(),
            Self::Arrow(arrow) => arrow.bytes(),
            Self::GeoJson(geojson) => geojson.bytes(),
            Self::Datex2(datex2) => datex2.bytes(),
        })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, routing::get};
    use futures::{TryStreamExt, executor::block_on};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    fn broken() -> Batches {
        let error = QueryError::Deadline("late".into());
        stream::iter([Ok(sample::readings()), Err(error), Ok(sample::readings())]).boxed()
    }

    fn context() -> Context {
        Context { dataset: "reading".into(), ..Context::default() }
    }

    fn schema() -> SchemaRef {
        sample::readings().schema()
    }

    #[test]
    fn an_error_ends_the_body_in_every_format() {
        for format in Format::ALL {
            let body = body(format, &schema(), broken(), &context()).unwrap();
            let items: Vec<_> = block_on(body.into_data_stream().collect());
            let (last, before) = items.split_last().unwrap();
            assert!(last.as_ref().unwrap_err().to_string().contains("late"), "{format:?}");
            assert!(before.iter().all(std::result::Result::is_ok), "{format:?}");
        }
    }

    #[tokio::test]
    async fn a_client_sees_that_an_answer_was_cut() {
        async fn whole() -> Response {
            let batches = stream::iter([Ok(sample::readings())]).boxed();
            response(Format::Csv, &schema(), batches, &context()).await.unwrap()
        }
        async fn cut() -> Response {
            // What is ready with an error is dropped with it; here the client has read a part.
            let later = stream::once(tokio::task::yield_now()).filter_map(async |()| None);
            let batches = stream::iter([Ok(sample::readings())]).chain(later).chain(broken());
            response(Format::Csv, &schema(), batches.boxed(), &context()).await.unwrap()
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/whole", get(whole)).route("/cut", get(cut));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut ends = Vec::new();
        for path in ["/whole", "/cut"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("attachment; filename=\"reading.csv\""), "{answer}");
            ends.push(answer.ends_with("\r\n0\r\n\r\n"));
        }
        assert_eq!(ends, [true, false], "only the whole answer has the last chunk");
        server.abort();
    }

    #[test]
    fn a_query_that_fails_at_once_has_no_body() {
        let batches = stream::iter([Err(QueryError::NotFound("no such".into()))]).boxed();
        let answer = block_on(response(Format::Csv, &schema(), batches, &context()));
        assert!(matches!(answer, Err(QueryError::NotFound(_))));
    }

    #[test]
    fn no_batch_is_taken_before_the_client_took_the_one_before() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let batches = stream::iter(0..100).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(sample::readings())
        });
        let body = body(Format::Csv, &schema(), batches.boxed(), &context()).unwrap();
        let mut stream = body.into_data_stream();
        for polled in 1..=3 {
            block_on(stream.try_next()).unwrap();
            assert_eq!(taken.load(Ordering::Relaxed), polled);
        }
    }

    #[test]
    fn an_empty_answer_is_a_whole_file() {
        for format in Format::ALL {
            let body = body(format, &schema(), stream::empty().boxed(), &context()).unwrap();
            let chunks: Vec<Bytes> = block_on(body.into_data_stream().try_collect()).unwrap();
            assert!(!chunks.concat().is_empty(), "{format:?}");
        }
    }

    #[test]
    fn formats_are_known_by_name_and_by_extension() {
        for format in Format::ALL {
            assert_eq!(Format::named(format.name()), Some(format));
            assert_eq!(Format::named(format.extension()), Some(format));
        }
        assert_eq!(Format::named("xlsx"), None);
    }

    #[test]
    fn the_same_filters_give_the_same_name_in_all_formats() {
        let from = Some("2026-01-01T00:00:00Z".parse().unwrap());
        let to = Some("2026-01-01T00:00:00.5Z".parse().unwrap());
        let name = |from, to, format| file_name("rollup_5m", from, to, format);
        assert_eq!(name(from, to, Format::Csv), "rollup_5m_20260101T000000Z_20260101T000000_500Z.csv");
        assert_eq!(name(from, to, Format::Arrow), "rollup_5m_20260101T000000Z_20260101T000000_500Z.arrows");
        assert_eq!(name(from, None, Format::Xml), "rollup_5m_from_20260101T000000Z.xml");
        assert_eq!(name(None, from, Format::Xml), "rollup_5m_until_20260101T000000Z.xml");
        assert_eq!(file_name("a\"\r\n/..", None, None, Format::Parquet), "a______.parquet");
    }
}

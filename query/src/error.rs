//! What can go wrong with a query, in the caller's terms, and the gRPC code for each.

use datafusion::{arrow::error::ArrowError, error::DataFusionError};
use processor::{measure::steps::Unfit, store::StoreError};
use tokio_postgres::error::SqlState;
use tonic::Status;

/// Why a call failed. Every text says what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The request is wrong: SQL that does not parse or plan, an unknown column, a bad ticket.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// Nobody we know: no credentials, or wrong ones.
    #[error("{0}")]
    Unauthenticated(String),
    /// Somebody we know, who may not.
    #[error("{0}")]
    Denied(String),
    /// A bound was reached: memory, concurrency, connections, size.
    #[error("{0}")]
    Exhausted(String),
    #[error("{0}")]
    Deadline(String),
    #[error("{0}")]
    Cancelled(String),
    #[error("the database cannot be reached: {0}; try again")]
    Unavailable(String),
    /// Something beside the database is not to be had just now.
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    Unimplemented(String),
    #[error("internal error: {0}")]
    Internal(String),
}

pub type Result<T, E = QueryError> = std::result::Result<T, E>;

impl QueryError {
    /// The value of the label `outcome` in the metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::NotFound(_) | Self::Unimplemented(_) => "invalid",
            Self::Unauthenticated(_) | Self::Denied(_) => "denied",
            Self::Exhausted(_) => "exhausted",
            Self::Deadline(_) => "deadline",
            Self::Cancelled(_) => "cancelled",
            Self::Unavailable(_) | Self::Busy(_) => "unavailable",
            Self::Internal(_) => "failed",
        }
    }
}

/// Characters of a message that are sent. It travels in a header, which clients limit to 8 or 16 KiB after each byte
/// outside of ASCII became three; and some messages repeat the whole statement.
const TEXT_MAX: usize = 800;

impl From<QueryError> for Status {
    fn from(error: QueryError) -> Self {
        let mut text = error.to_string();
        if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
            text.truncate(end);
            text += " ...";
        }
        match error {
            QueryError::Invalid(_) => Status::invalid_argument(text),
            QueryError::NotFound(_) => Status::not_found(text),
            QueryError::Unauthenticated(_) => Status::unauthenticated(text),
            QueryError::Denied(_) => Status::permission_denied(text),
            QueryError::Exhausted(_) => Status::resource_exhausted(text),
            QueryError::Deadline(_) => Status::deadline_exceeded(text),
            QueryError::Cancelled(_) => Status::cancelled(text),
            QueryError::Unavailable(_) | QueryError::Busy(_) => Status::unavailable(text),
            QueryError::Unimplemented(_) => Status::unimplemented(text),
            QueryError::Internal(_) => Status::internal(text),
        }
    }
}

/// Through the engine and back: a table's error travels inside DataFusion's.
impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        if let Some(ours) = ours(&error) {
            return ours.clone();
        }
        let text = error.strip_backtrace();
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::Exhausted(format!(
                "the query needs more memory than its limit: {text}; ask for a shorter time range or fewer series"
            )),
            DataFusionError::Internal(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ExecutionJoin(_) => Self::Internal(text),
            DataFusionError::NotImplemented(_) => Self::Unimplemented(text),
            // The rest is about the statement or its values: a column, a type, a division by zero.
            _ => Self::Invalid(text),
        }
    }
}

impl From<ArrowError> for QueryError {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            return Self::Unavailable(with_cause(&error));
        };
        let text = format!("{} (SQLSTATE {})", database.message(), database.code().code());
        match database.code() {
            &SqlState::QUERY_CANCELED => Self::Deadline(format!(
                "the database stopped the query: {text}; ask for a shorter time range"
            )),
            &SqlState::UNDEFINED_TABLE => {
                Self::Unavailable(format!("{text}: start ingest or `screenline up` first"))
            }
            &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::CANNOT_CONNECT_NOW => {
                Self::Unavailable(text)
            }
            code if code.code().starts_with("53") => Self::Exhausted(text),
            code if code.code().starts_with("08") => Self::Unavailable(text),
            // The SQL that reaches the database is ours, so any other refusal is our fault.
            _ => Self::Internal(text),
        }
    }
}

impl From<Unfit> for QueryError {
    fn from(error: Unfit) -> Self {
        match error {
            Unfit::TooMany => Self::Exhausted(error.to_string()),
            Unfit::Interval(_) => Self::Invalid(error.to_string()),
        }
    }
}

/// What the measures of `processor` meet.
impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Buckets(error) => error.into(),
            error if error.lost_connection() => Self::Unavailable(error.to_string()),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<deadpool_postgres::PoolError> for QueryError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            deadpool_postgres::PoolError::Timeout(_) => {
                Self::Exhausted("all database connections are busy; try again".into())
            }
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// tokio-postgres says only "error connecting to server"; the reason is one level down.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn ours(error: &DataFusionError) -> Option<&QueryError> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<QueryError>() {
            return Some(found);
        }
        at = match error.downcast_ref::<DataFusionError>() {
            // A box is not seen through by `source`, so it is opened here.
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Collection(errors)) => errors.first().map(|first| first as _),
            _ => match error.downcast_ref::<ArrowError>() {
                Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
                _ => error.source(),
            },
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tonic::Code;

    #[test]
    fn an_error_of_a_table_keeps_its_code_through_the_engine() {
        let deep = DataFusionError::Context(
            "while reading".into(),
            Box::new(DataFusionError::Shared(Arc::new(QueryError::Deadline("late".into()).into()))),
        );
        assert_eq!(Status::from(QueryError::from(deep)).code(), Code::DeadlineExceeded);
        let arrow =
            ArrowError::ExternalError(Box::new(DataFusionError::from(QueryError::Exhausted("full".into()))));
        assert_eq!(Status::from(QueryError::from(arrow)).code(), Code::ResourceExhausted);
    }

    #[test]
    fn a_period_of_too_many_buckets_is_the_callers() {
        let of = |error: StoreError| Status::from(QueryError::from(error)).code();
        assert_eq!(of(StoreError::Buckets(Unfit::TooMany)), Code::ResourceExhausted);
        assert_eq!(of(StoreError::Buckets(Unfit::Interval(600))), Code::InvalidArgument);
    }

    #[test]
    fn a_message_fits_into_a_header() {
        let status = Status::from(QueryError::Invalid("ä".repeat(100_000)));
        assert!(status.message().ends_with(" ..."));
        assert!(status.message().len() < 2000);
    }

    #[test]
    fn the_engines_own_errors_are_the_callers_unless_internal() {
        let code = |error: DataFusionError| Status::from(QueryError::from(error)).code();
        assert_eq!(code(DataFusionError::Plan("no such column".into())), Code::InvalidArgument);
        assert_eq!(code(DataFusionError::ResourcesExhausted("pool".into())), Code::ResourceExhausted);
        assert_eq!(code(DataFusionError::Internal("bug".into())), Code::Internal);
    }
}

//! Errors over HTTP: `{"error": "no dataset \"x\"; there are ..", "status": 404}`.

use crate::error::QueryError;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A refusal as a client of HTTP reads it. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong.
    Invalid,
    /// Nobody we know: no credentials, or wrong ones.
    Unauthenticated,
    /// Somebody we know, who may not.
    Denied,
    NotFound,
    /// Somebody stopped the query.
    Cancelled,
    /// A bound was reached: memory, queries at once, connections.
    Exhausted,
    Internal,
    Unimplemented,
    Unavailable,
    Deadline,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Denied,
        Kind::NotFound,
        Kind::Cancelled,
        Kind::Exhausted,
        Kind::Internal,
        Kind::Unimplemented,
        Kind::Unavailable,
        Kind::Deadline,
    ];

    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Denied => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Cancelled => StatusCode::CONFLICT,
            Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// For people who read the document of the interface.
    pub fn about(self) -> &'static str {
        match self {
            Kind::Invalid => "the request is wrong; the text says where",
            Kind::Unauthenticated => "no credentials, or unknown ones",
            Kind::Denied => "these credentials may not see this",
            Kind::NotFound => "there is no such dataset or page",
            Kind::Cancelled => "the query was cancelled",
            Kind::Exhausted => "a bound was reached; ask for less, or later",
            Kind::Internal => "a fault of the service",
            Kind::Unimplemented => "not to be had here",
            Kind::Unavailable => "the database, or what else is needed, cannot be reached; try again",
            Kind::Deadline => "the query took too long; ask for a shorter time range",
        }
    }
}

/// How credentials may be given.
pub const BEARER: &str = "Bearer realm=\"screenline\"";

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Invalid(_) => Kind::Invalid,
            QueryError::NotFound(_) => Kind::NotFound,
            QueryError::Unauthenticated(_) => Kind::Unauthenticated,
            QueryError::Denied(_) => Kind::Denied,
            QueryError::Exhausted(_) => Kind::Exhausted,
            QueryError::Deadline(_) => Kind::Deadline,
            QueryError::Cancelled(_) => Kind::Cancelled,
            QueryError::Unavailable(_) | QueryError::Busy(_) => Kind::Unavailable,
            QueryError::Unimplemented(_) => Kind::Unimplemented,
            QueryError::Internal(_) => Kind::Internal,
        };
        Self { kind, text: error.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let body = json!({"error": self.text, "status": status.as_u16()}).to_string();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/json")], body + "\n").into_response();
        if self.kind == Kind::Unauthenticated {
            for scheme in [BEARER, "Basic realm=\"screenline\", charset=\"UTF-8\""] {
                response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use futures::executor::block_on;
    use serde_json::Value;

    #[test]
    fn a_refusal_is_json_with_its_status() {
        for kind in Kind::ALL {
            let text = "no \"such\"\n".to_owned();
            let response = Problem { kind, text: text.clone() }.into_response();
            assert_eq!(response.status(), kind.status());
            let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter().count();
            assert_eq!(challenges, if kind == Kind::Unauthenticated { 2 } else { 0 });
            let body: Value =
                serde_json::from_slice(&block_on(to_bytes(response.into_body(), 1000)).unwrap()).unwrap();
            assert_eq!(body, json!({"error": text, "status": kind.status().as_u16()}));
        }
    }
}

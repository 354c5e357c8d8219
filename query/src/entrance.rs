//! The entrance of every door: nobody is answered before it is known who asks.

use crate::{
    error::QueryError,
    identity::{AuthError, Authenticator},
    problem::Problem,
};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tonic::Status;

/// Who is at the other end of a connection, as far as TLS tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// SHA-256 of the client's certificate (DER).
    certificate: Option<[u8; 32]>,
}

impl Peer {
    pub fn with_certificate(der: &[u8]) -> Self {
        Self { certificate: Some(Sha256::digest(der).into()) }
    }
}

/// Lets a request in with the identity of its sender, or answers why not.
pub async fn enter(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let certificate = peer.certificate.as_ref().map(<[u8; 32]>::as_slice);
    match authenticator.authenticate(header.as_deref(), certificate, Timestamp::now()).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            told(next.run(request).await)
        }
        Err(error) => {
            let error = refusal(error);
            match is_grpc(&request) {
                true => Status::from(error).into_http(),
                false => Problem::from(error).into_response(),
            }
        }
    }
}

/// A message that cannot be read is the caller's fault, and one that is too large is beyond a bound: the library calls
/// the one internal and the other out of range.
fn told(mut response: Response) -> Response {
    let header = |name: &str| response.headers().get(name).map(HeaderValue::as_bytes);
    let status = match (header("grpc-status"), header("grpc-message")) {
        (Some(b"13"), Some(text))
            if text.starts_with(b"failed%20to%20decode") || text.starts_with(b"failed to decode") =>
        {
            "3"
        }
        (Some(b"13"), Some(text))
            if text.starts_with(b"Missing%20request") || text.starts_with(b"Missing request") =>
        {
            "3"
        }
        (Some(b"13"), Some(text)) if text.starts_with(b"protocol") || text.starts_with(b"Unexpected") => "3",
        (Some(b"11"), _) => "8",
        _ => return response,
    };
    response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    response
}

fn refusal(error: AuthError) -> QueryError {
    match error {
        AuthError::Unavailable(_) => QueryError::Busy(error.to_string()),
        AuthError::Missing | AuthError::Refused(_) => QueryError::Unauthenticated(error.to_string()),
    }
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

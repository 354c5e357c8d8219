//! The entrance of every door: nobody is answered before it is known who asks.

use crate::{
    error::QueryError,
    identity::{AuthError, Authenticator, Via},
    problem::{BEARER, Problem},
};
use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc};
use tonic::{Code, Status};

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

/// Lets a request in with the identity of its sender, or answers why not: logins of a browser, too, go with what another
/// page makes it ask.
pub async fn enter(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_of_another_page(&request) {
        return refused(&request, other_page());
    }
    let header = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let certificate = peer.certificate.as_ref().map(<[u8; 32]>::as_slice);
    match authenticator.authenticate(header.as_deref(), certificate, Timestamp::now()).await {
        Ok(identity) if identity.via == Via::Open && !is_local(&request) => refused(&request, elsewhere()),
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(error) => refused(&request, refusal(error)),
    }
}

fn refused(request: &Request, error: QueryError) -> Response {
    if is_grpc(request) {
        return Status::from(error).into_http();
    }
    let mut response = Problem::from(error).into_response();
    // At the offer of Basic a browser opens a dialogue of its own, before the script is answered and the page can ask.
    let is_script = request.headers().contains_key("x-requested-with");
    if is_script && response.headers().contains_key(header::WWW_AUTHENTICATE) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(BEARER));
    }
    response
}

/// Whether the caller names this machine as such: a page from elsewhere makes a browser call it by another name.
fn is_local(request: &Request) -> bool {
    let header = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority: Option<Authority> = request.uri().authority().cloned().or_else(header);
    let Some(authority) = authority else {
        return !request.headers().contains_key(header::HOST); // as no browser calls
    };
    let host = authority.host().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a page of another origin makes a browser ask, other than by a link that is followed. The same rule by which
/// resources are isolated with Fetch Metadata; a browser that does not send it sends an origin with every POST.
fn is_of_another_page(request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = || request.uri().authority().map(Authority::as_str).or_else(|| header("host"));
    match header("sec-fetch-site") {
        Some("same-origin" | "none") => false,
        Some(_) => request.method() != Method::GET || header("sec-fetch-mode") != Some("navigate"),
        None => {
            header("origin").is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != host())
        }
    }
}

fn other_page() -> QueryError {
    QueryError::Denied(
        "a page of another origin asks: only links from there are answered, or a server's own request".into(),
    )
}

fn elsewhere() -> QueryError {
    QueryError::Denied(
        "without logins only localhost and 127.0.0.1 are answered: call it so, or give --tokens, with which any name will do"
            .into(),
    )
}

/// How the library begins to speak of messages that it cannot read.
const UNREADABLE: [&str; 5] = ["failed to decode", "Missing request", "protocol", "Unexpected", "tonic-web"];

/// A message that cannot be read is the caller's fault, and one that is too large is beyond a bound: the library calls
/// the one internal and the other out of range.
pub async fn told(mut response: Response) -> Response {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let text = header("grpc-message").unwrap_or_default().replace("%20", " ");
    let status = match header("grpc-status") {
        Some("13") if UNREADABLE.iter().any(|beginning| text.starts_with(beginning)) => Code::InvalidArgument,
        Some("11") => Code::ResourceExhausted,
        _ => return response,
    };
    response.headers_mut().insert("grpc-status", HeaderValue::from(status as i32));
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn what_another_page_makes_a_browser_ask_is_told_from_the_rest() {
        let of = |method: &str, headers: &[(&str, &str)]| {
            let mut request =
                Request::builder().method(method).uri("/export/a.csv").header("host", "city:8815");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_of_another_page(&request.body(Body::empty()).unwrap())
        };
        let site = |site| ("sec-fetch-site", site);
        let (link, image) = (("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "no-cors"));
        for (method, headers) in [
            ("POST", &[][..]),
            ("POST", &[site("same-origin"), ("origin", "https://city")]),
            ("POST", &[("origin", "http://city:8815")]),
            ("GET", &[site("none"), link]),
            ("GET", &[site("cross-site"), link]),
        ] {
            assert!(!of(method, headers), "{method} {headers:?}");
        }
        for (method, headers) in [
            ("POST", &[site("cross-site"), link][..]),
            ("POST", &[site("same-site"), ("origin", "http://city:8815")]),
            ("POST", &[("origin", "http://city:3000")]),
            ("POST", &[("origin", "null")]),
            ("GET", &[site("cross-site"), image]),
            ("GET", &[("origin", "https://page.example")]),
        ] {
            assert!(of(method, headers), "{method} {headers:?}");
        }
    }

    #[test]
    fn a_script_is_not_offered_what_makes_a_browser_ask() {
        let challenges = |script: bool| {
            let request = Request::builder().uri("/city");
            let request = if script { request.header("x-requested-with", "fetch") } else { request };
            let refusal = QueryError::Unauthenticated("no credentials".into());
            let response = refused(&request.body(Body::empty()).unwrap(), refusal);
            let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
            challenges.map(|one| one.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(challenges(false).len(), 2);
        assert_eq!(challenges(true), [BEARER]);
    }

    #[test]
    fn only_this_machine_is_called_local() {
        let request = |uri: &str, host: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            is_local(&request.body(Body::empty()).unwrap())
        };
        for local in ["localhost", "localhost:8815", "127.0.0.1:1", "[::1]:8815"] {
            assert!(request("/", Some(local)) && request(&format!("http://{local}/"), None), "{local}");
        }
        for other in
            ["city.example", "localhost.city.example:8815", "127.0.0.1.city.example", "10.0.0.1", "a b"]
        {
            assert!(!request("/", Some(other)), "{other}");
        }
        assert!(!request("http://city.example/", Some("localhost")) && request("/", None));
    }
}

//! Who asks: a caller's credentials become a name and a role, or a refusal that says what to do.
//!
//! ```text
//! authorization ──> credentials ──> tokens  <── watched <── tokens.toml
//!                   Bearer, Basic   by hash     on change
//!                        └────────> jwt ──> jwks ──> keys
//!                                   claims  file or  one algorithm each
//!                                           URL
//! certificate ────────────────────> tokens, by its fingerprint
//! ```
//! What a role may do is decided elsewhere. No secret is kept or logged: only the SHA-256 of a token is.

mod credentials;
#[cfg(test)]
mod forge;
mod jwks;
mod jwt;
mod keys;
#[cfg(test)]
mod tests;
mod tokens;
mod watched;

pub use credentials::{Secret, bearer_of};
pub use tokens::{Digest, Token, Tokens};
pub use watched::FileError;

use credentials::Credentials;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use jwks::Jwks;
use std::{borrow::Cow, fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use watched::Watched;

/// Who a caller is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Of the token, or the subject of the JWT.
    pub name: Arc<str>,
    pub role: Arc<str>,
    pub via: Via,
}

/// How a caller showed who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// Nobody was asked.
    Open,
    Token,
    Basic,
    Jwt,
    Certificate,
}

/// Whom the service lets in; without any of it everybody, and then only on loopback.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdentityArgs {
    /// Tokens that may enter, as `screenline token create` writes them; read again when the file changes
    #[arg(long, env = "SCREENLINE_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Public keys (JWKS) of who issues JWTs: a file, or an https:// address, asked every ten minutes
    #[arg(long, env = "SCREENLINE_JWKS", value_name = "FILE|URL", requires_all = ["jwt_issuer", "jwt_audience"])]
    pub jwks: Option<String>,
    /// The `iss` that a JWT must have
    #[arg(long, env = "SCREENLINE_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// The `aud` that a JWT must have, or have among others
    #[arg(long, env = "SCREENLINE_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// The claim with the role: its name, or a path such as /realm_access/roles; one text or a list with one role in it
    #[arg(long, env = "SCREENLINE_JWT_ROLE_CLAIM", value_name = "CLAIM", default_value = "role")]
    pub jwt_role_claim: String,
    /// How JWTs may be signed
    #[arg(
        long,
        env = "SCREENLINE_JWT_ALGORITHMS",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "RS256,ES256,EdDSA",
        value_parser = jwt::algorithm
    )]
    pub jwt_algorithms: Vec<Algorithm>,
    /// How far the clocks of the issuer and of this machine may be apart, up to 10m
    #[arg(long, env = "SCREENLINE_JWT_LEEWAY", value_name = "TIME", default_value = "60s", value_parser = leeway)]
    pub jwt_leeway: Duration,
}

/// Whether there is such a role.
pub type KnownRole = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Tells callers apart. Failed attempts are counted, not slowed down: a token has 256 bits and a JWT a signature, so
/// that no number of attempts comes near one.
pub struct Authenticator {
    tokens: Option<Arc<Watched<Tokens>>>,
    jwt: Option<jwt::Verifier>,
    known_role: KnownRole,
}

/// Why a caller is not let in. Every text says what the caller can do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    #[error(
        "no credentials: send `authorization: Bearer <token>`; make one with `screenline token create NAME --role \
         analyst`"
    )]
    Missing,
    #[error("{0}")]
    Refused(Refusal),
    #[error("credentials cannot be checked now: {0}; try again")]
    Unavailable(String),
}

/// What is wrong with credentials, in words for people that repeat nothing of what was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// A word for the metrics.
    reason: &'static str,
    text: Cow<'static, str>,
}

/// A configuration that nobody can be told apart with.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Settings(String),
    #[error(
        "whoever reaches {0} could read everything: make a token with `screenline token create NAME --role ROLE` and \
         give its file with --tokens, or accept JWTs with --jwks, or listen on 127.0.0.1"
    )]
    OpenToOthers(SocketAddr),
}

const LEEWAY_MAX: SignedDuration = SignedDuration::from_mins(10);

impl Authenticator {
    /// Everybody is let in as an operator, whatever credentials a tool insists on sending.
    pub fn open() -> Self {
        Self { tokens: None, jwt: None, known_role: Arc::new(|_| true) }
    }

    /// Reads the files. An issuer that does not answer yet is asked again when a JWT comes.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should, or settings contradict each other.
    pub async fn start(
        args: &IdentityArgs,
        known_role: KnownRole,
        now: Timestamp,
    ) -> Result<Self, SetupError> {
        let tokens = match &args.tokens {
            Some(path) => Some(Tokens::watch(path, now)?),
            None => None,
        };
        let jwt = match &args.jwks {
            Some(place) => {
                let required = |given: &Option<String>, option: &str| {
                    let given = given.clone().filter(|text| !text.is_empty());
                    let wanted = || SetupError::Settings(format!("--jwks needs {option} as well"));
                    given.ok_or_else(wanted)
                };
                Some(jwt::Verifier {
                    issuer: required(&args.jwt_issuer, "--jwt-issuer")?,
                    audience: required(&args.jwt_audience, "--jwt-audience")?,
                    role_claim: args.jwt_role_claim.clone(),
                    algorithms: args.jwt_algorithms.clone(),
                    leeway: args.jwt_leeway,
                    jwks: Jwks::open(place, now).await?,
                })
            }
            None => None,
        };
        Ok(Self { tokens, jwt, known_role })
    }

    /// Whether anybody is asked at all.
    pub fn is_configured(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    /// # Errors
    /// If others than this machine could enter without credentials.
    pub fn check_address(&self, address: &SocketAddr) -> Result<(), SetupError> {
        if self.is_configured() || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(SetupError::OpenToOthers(*address))
    }

    /// Who the caller is, by the value of its `authorization` header, or by the SHA-256 of the certificate (DER) whose
    /// key it proved to have. A header decides alone: a wrong one is not made good by a certificate.
    ///
    /// # Errors
    /// As [`AuthError`] says. It is counted here.
    pub async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        if !self.is_configured() {
            return Ok(Identity { name: "anonymous".into(), role: "operator".into(), via: Via::Open });
        }
        let identity = self.identify(authorization, certificate, now).await;
        identity.inspect_err(|error| {
            metrics::counter!("screenline_authentication_failures_total", "reason" => error.reason())
                .increment(1);
        })
    }

    async fn identify(
        &self,
        authorization: Option<&[u8]>,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let header = authorization.filter(|header| !header.trim_ascii().is_empty());
        match (header, certificate) {
            (Some(header), _) => match Credentials::read(header)? {
                Credentials::Token(secret) => {
                    let tokens = self.tokens(now).await.ok_or_else(unknown)?;
                    self.holder(tokens.with_secret(&secret).ok_or_else(unknown)?, Via::Token, now)
                }
                Credentials::Basic { name, secret } => {
                    let tokens = self.tokens(now).await.ok_or_else(unknown)?;
                    // Who has the secret may learn the name: comparing it tells nobody else anything.
                    let token = tokens.with_secret(&secret).filter(|token| token.name == name);
                    self.holder(token.ok_or_else(unknown)?, Via::Basic, now)
                }
                Credentials::Jwt(jwt) => match &self.jwt {
                    Some(verifier) => verifier.verify(jwt, &*self.known_role, now).await,
                    None => Err(refused("unknown", "JWTs are not accepted here: send a token (slt_...)")),
                },
            },
            (None, Some(fingerprint)) => {
                let stranger =
                    || refused("certificate", "the client certificate belongs to no token: send a token");
                let tokens = self.tokens(now).await.ok_or_else(stranger)?;
                let token = Digest::try_from(fingerprint).ok();
                let token = token.and_then(|fingerprint| tokens.with_certificate(&fingerprint));
                self.holder(token.ok_or_else(stranger)?, Via::Certificate, now)
            }
            (None, None) => Err(AuthError::Missing),
        }
    }

    async fn tokens(&self, now: Timestamp) -> Option<Arc<Tokens>> {
        match &self.tokens {
            Some(tokens) => Some(tokens.current(now).await),
            None => None,
        }
    }

    fn holder(&self, token: &Token, via: Via, now: Timestamp) -> Result<Identity, AuthError> {
        if token.revoked.is_some() {
            return Err(refused("revoked", "the token was revoked: ask for another"));
        }
        if token.expires.is_some_and(|expires| expires <= now) {
            return Err(refused("expired", "the token has expired: ask for another"));
        }
        if !(self.known_role)(&token.role) {
            return Err(refused("role", "the token's role is not known here: ask for another"));
        }
        Ok(Identity { name: token.name.as_str().into(), role: token.role.as_str().into(), via })
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, jwt, known_role: _ } = self;
        f.debug_struct("Authenticator")
            .field("tokens", &tokens.is_some())
            .field("jwt", &jwt.is_some())
            .finish()
    }
}

impl Via {
    pub fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
            Self::Basic => "basic",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

impl AuthError {
    /// The value of the label `reason` in the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused(refusal) => refusal.reason,
            Self::Unavailable(_) => "unavailable",
        }
    }
}

fn refused(reason: &'static str, text: impl Into<Cow<'static, str>>) -> AuthError {
    AuthError::Refused(Refusal { reason, text: text.into() })
}

/// The same words whichever of the two is wrong.
fn unknown() -> AuthError {
    refused("unknown", "no such token, or not of that name: `screenline token list` names those there are")
}

fn leeway(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}; expected e.g. 60s or 2m"))?;
    match Duration::try_from(parsed) {
        Ok(leeway) if parsed <= LEEWAY_MAX => Ok(leeway),
        _ => Err("must be from 0s to 10m".into()),
    }
}

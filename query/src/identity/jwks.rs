//! Where an issuer's public keys come from: a file, or a URL that is asked again now and then.

use super::{AuthError, SetupError, keys::Keys, watched::Watched};
use jiff::{SignedDuration, Timestamp};
use rustls::{crypto::ring, pki_types::CertificateDer};
use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Mutex;
use ureq::{
    Agent,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
};

const JWKS_BYTES_MAX: u64 = 256 << 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A key that the issuer took back is good for so long yet.
const REFRESH: SignedDuration = SignedDuration::from_mins(10);
/// At most so often, whatever keys are asked for: an unknown one costs its sender nothing.
const RETRY: SignedDuration = SignedDuration::from_secs(30);
/// An issuer may be away for a night, but not for ever: who holds it off could keep an old key alive.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

pub enum Jwks {
    File(Arc<Watched<Keys>>),
    Url(Arc<Remote>),
}

/// The keys at a URL, as they were at the last good answer.
pub struct Remote {
    url: Uri,
    agent: Agent,
    good: RwLock<Option<Good>>,
    /// Held while asking, so that who comes meanwhile waits for that answer and does not ask as well.
    asked: Arc<Mutex<Option<Timestamp>>>,
    /// When it was asked last to the end, well or not.
    answered_s: AtomicI64,
}

#[derive(Clone)]
struct Good {
    keys: Arc<Keys>,
    at: Timestamp,
}

impl Jwks {
    /// # Errors
    /// The file cannot be read or holds no keys, or the URL is none that may be asked. One that does not answer is no
    /// error yet.
    pub async fn open(place: &str, now: Timestamp) -> Result<Self, SetupError> {
        if !place.contains("://") {
            let file =
                Watched::open(Path::new(place), JWKS_BYTES_MAX, Keys::parse, "screenline_jwks_refused", now)?;
            return Ok(Self::File(file));
        }
        let roots = rustls_native_certs::load_native_certs().certs;
        let remote = Arc::new(Remote::new(place, &roots).map_err(SetupError::Settings)?);
        remote.refresh(now).await;
        Ok(Self::Url(remote))
    }

    /// # Errors
    /// If there are none that are fresh enough.
    pub async fn current(&self, now: Timestamp) -> Result<Arc<Keys>, AuthError> {
        match self {
            Self::File(file) => Ok(file.current(now).await),
            Self::Url(remote) => remote.current(now).await,
        }
    }

    /// The keys after an unknown one was asked for: the issuer may have a new one.
    pub async fn again(&self, now: Timestamp) -> Result<Arc<Keys>, AuthError> {
        if let Self::Url(remote) = self {
            remote.refresh(now).await;
        }
        self.current(now).await
    }
}

impl Remote {
    /// `roots`: authorities whose certificates are believed.
    fn new(url: &str, roots: &[CertificateDer<'_>]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("--jwks {url}: {error}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("--jwks: public keys need no password in their URL".to_owned());
        }
        let plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") if is_local => true,
            _ => {
                return Err(format!(
                    "--jwks {url}: give an https:// address, or a file; who can change keys on their way can let \
                     anybody in"
                ));
            }
        };
        let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(!plain)
            // The keys are where the configuration says and nowhere else.
            .max_redirects(0)
            .timeout_global(Some(ANSWER_WITHIN))
            // The next call is minutes away.
            .max_idle_connections(0);
        let config = if is_local { config.proxy(None) } else { config };
        Ok(Self {
            url: uri,
            agent: config.build().new_agent(),
            good: RwLock::default(),
            asked: Arc::default(),
            answered_s: AtomicI64::new(0),
        })
    }

    async fn current(self: &Arc<Self>, now: Timestamp) -> Result<Arc<Keys>, AuthError> {
        match self.good(now) {
            Some(good) if now.duration_since(good.at) < REFRESH => {}
            // Nobody waits for an issuer that was asked not long ago and may be slow or away.
            Some(_) if !self.is_idle(now) => {
                let remote = self.clone();
                tokio::spawn(async move { remote.refresh(now).await });
            }
            // Nobody asked for long: the keys may have changed since.
            Some(_) | None => self.refresh(now).await,
        }
        match self.good(now) {
            Some(good) => Ok(good.keys),
            None => Err(AuthError::Unavailable("the issuer of JWTs did not give its public keys".into())),
        }
    }

    /// What is not too old.
    fn good(&self, now: Timestamp) -> Option<Good> {
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        let good = good.as_mut()?;
        // A clock that was set back must not make them younger.
        good.at = good.at.min(now);
        let age = now.duration_since(good.at);
        metrics::gauge!("screenline_jwks_age_seconds").set(age.as_secs_f64());
        (age < KEPT).then(|| good.clone())
    }

    /// Whether the issuer said nothing for long, be it only that it is away.
    fn is_idle(&self, now: Timestamp) -> bool {
        let answered_s = self.answered_s.load(Ordering::Relaxed);
        2 * REFRESH.as_secs() <= now.as_second().saturating_sub(answered_s)
    }

    /// Asks the issuer, if nobody did within [`RETRY`].
    async fn refresh(self: &Arc<Self>, now: Timestamp) {
        let mut asked = self.asked.clone().lock_owned().await;
        if asked.is_some_and(|asked| asked <= now && now.duration_since(asked) < RETRY) {
            return;
        }
        *asked = Some(now);
        let remote = self.clone();
        // To its end even if this caller goes away: or a stranger could use up the one question of half a minute.
        let asking = tokio::task::spawn_blocking(move || {
            remote.ask(now);
            remote.answered_s.store(now.as_second(), Ordering::Relaxed);
            drop(asked);
        });
        let _ = asking.await; // if it panicked, the old keys stay
    }

    fn ask(&self, now: Timestamp) {
        match self.fetch() {
            Ok(keys) => {
                tracing::debug!(url = %self.url, ?keys, "public keys of the issuer");
                let good = Good { keys: Arc::new(keys), at: now };
                *self.good.write().unwrap_or_else(PoisonError::into_inner) = Some(good);
            }
            Err(problem) => {
                tracing::warn!(url = %self.url, problem, "no new public keys, those of the last day stay");
            }
        }
    }

    fn fetch(&self) -> Result<Keys, String> {
        let mut answer = self.agent.get(&self.url).call().map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("answered {}", answer.status()));
        }
        let text = answer.body_mut().with_config().limit(JWKS_BYTES_MAX).read_to_string();
        Keys::parse(&text.map_err(|error| error.to_string())?).map_err(|fault| fault.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::forge::Issuer, *};
    use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
    use serde_json::json;
    use std::{
        future::poll_fn,
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        sync::atomic::AtomicUsize,
        task::Poll,
        thread,
    };

    /// An issuer on loopback: a status with a body for everybody, and how often it was asked.
    #[derive(Clone, Default)]
    struct Server {
        answer: Arc<RwLock<(String, String)>>,
        asked: Arc<AtomicUsize>,
    }

    impl Server {
        fn start(self) -> String {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/keys", listener.local_addr().unwrap());
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                    self.asked.fetch_add(1, Ordering::Relaxed);
                    let (status, body) = self.answer.read().unwrap().clone();
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all((head + &body).as_bytes());
                }
            });
            url
        }

        fn say(&self, status: &str, body: &str) {
            *self.answer.write().unwrap() = (status.into(), body.into());
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn keys(all: &[&super::super::forge::Signer]) -> String {
        json!({"keys": all.iter().map(|signer| &signer.jwk).collect::<Vec<_>>()}).to_string()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
    }

    #[tokio::test]
    async fn keys_at_a_url_are_asked_for_again_and_kept_for_a_day() {
        let (issuer, server) = (Issuer::get(), Server::default());
        server.say("200 OK", &keys(&[&issuer.ec]));
        let jwks = Jwks::open(&server.clone().start(), at(0)).await.unwrap();
        let has = |keys: &Keys, id| keys.select(Some(id), jsonwebtoken::Algorithm::EdDSA).is_ok();
        assert!(!has(&jwks.current(at(9)).await.unwrap(), "ed"));
        assert_eq!(server.asked(), 1);

        server.say("200 OK", &keys(&[&issuer.ec, &issuer.ed]));
        assert!(has(&jwks.again(at(9)).await.unwrap(), "ed"), "an unknown key is asked for at once");
        for _ in 0..5 {
            jwks.again(at(9)).await.unwrap();
        }
        assert_eq!(server.asked(), 2, "but not by every call");

        // After a long silence the caller waits for the keys of now.
        server.say("200 OK", &keys(&[&issuer.ec]));
        assert!(!has(&jwks.current(at(60)).await.unwrap(), "ed"));

        let big = " ".repeat(JWKS_BYTES_MAX as usize + 1);
        for (minutes, status, body) in [
            (90, "500 Broken", ""),
            (120, "200 OK", "<html>"),
            (150, "200 OK", r#"{"keys": []}"#),
            (180, "302 Found\r\nLocation: http://127.0.0.1:1/", ""),
            (210, "200 OK", big.as_str()),
        ] {
            server.say(status, body);
            assert!(jwks.current(at(minutes)).await.is_ok(), "{status} {body:.9}");
        }
        assert_eq!(server.asked(), 8);
        assert!(jwks.current(at(60 + 24 * 60 - 1)).await.is_ok());
        let error = jwks.current(at(60 + 24 * 60)).await.err().unwrap();
        assert_eq!(error.reason(), "unavailable");

        server.say("200 OK", &keys(&[&issuer.ec]));
        assert!(jwks.current(at(60 + 24 * 60 + 1)).await.is_ok());
    }

    #[tokio::test]
    async fn keys_that_are_due_are_asked_for_behind_the_callers_back() {
        let (issuer, server) = (Issuer::get(), Server::default());
        server.say("200 OK", &keys(&[&issuer.ec]));
        let jwks = Jwks::open(&server.clone().start(), at(0)).await.unwrap();
        jwks.current(at(10)).await.unwrap();
        for _ in 0..200 {
            if server.asked() == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it was not asked again");
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_at_the_start_is_asked_again() {
        let (issuer, server) = (Issuer::get(), Server::default());
        server.say("503 Later", "");
        let jwks = Jwks::open(&server.clone().start(), at(0)).await.unwrap();
        server.say("200 OK", &keys(&[&issuer.ec]));
        assert!(jwks.current(at(0)).await.is_err(), "asked just now");
        assert!(jwks.current(at(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_answered_to_the_end() {
        let (issuer, server) = (Issuer::get(), Server::default());
        server.say("503 Later", "");
        let jwks = Jwks::open(&server.clone().start(), at(0)).await.unwrap();
        server.say("200 OK", &keys(&[&issuer.ec]));
        let mut question = Box::pin(jwks.current(at(1)));
        poll_fn(|context| Poll::Ready(question.as_mut().poll(context).is_ready())).await;
        drop(question);
        assert!(jwks.current(at(1)).await.is_ok(), "waits for the answer that is on its way");
        assert_eq!(server.asked(), 2);
    }

    #[test]
    fn keys_are_taken_from_whom_a_trusted_authority_vouches_for() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let private = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private)
            .unwrap();
        let listener = TcpListener::bind("localhost:0").unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let body = keys(&[&Issuer::get().ec]);
        thread::spawn(move || {
            let config = Arc::new(config);
            for stream in listener.incoming() {
                let session = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(session, stream.unwrap());
                let lines = BufReader::new(&mut stream).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.flush();
            }
        });
        let fetch = |roots: &[CertificateDer<'_>]| Remote::new(&url, roots).unwrap().fetch();
        assert!(fetch(&[certificate]).is_ok());
        let problem = fetch(&[]).err().unwrap();
        assert!(problem.contains("certificate"), "{problem}");
    }

    #[test]
    fn keys_are_not_fetched_where_others_could_change_them() {
        for url in [
            "http://issuer.example/",
            "ftp://127.0.0.1/",
            "https://a:b@issuer.example/",
            "http://127.0.0.1.example/",
        ] {
            assert!(Remote::new(url, &[]).is_err(), "{url}");
        }
        for url in
            ["https://issuer.example/keys", "http://localhost:1/", "http://[::1]:1/", "http://127.9.9.9/"]
        {
            assert!(Remote::new(url, &[]).is_ok(), "{url}");
        }
    }
}

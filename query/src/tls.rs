//! TLS of the one port.

use anyhow::{Context, ensure};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at: a renewed certificate holds for the connections after that.
const LOOK: Duration = Duration::from_secs(10);

/// How connections are encrypted; without it they are not.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Certificate chain (PEM) to encrypt connections with; read again when it is renewed
    #[arg(long, env = "SCREENLINE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "SCREENLINE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate of these authorities (PEM): mTLS
    #[arg(long, env = "SCREENLINE_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

/// What new connections are encrypted with.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: Mutex<Current>,
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

struct Current {
    acceptor: TlsAcceptor,
    changed: Vec<SystemTime>,
    looked: Instant,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl Tls {
    /// None where no certificate is given.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should.
    pub fn load(args: &TlsArgs) -> anyhow::Result<Option<Self>> {
        let TlsArgs { tls_cert: Some(certificate), tls_key: Some(key), tls_client_ca } = args.clone() else {
            return Ok(None);
        };
        let files = Files { certificate, key, client_ca: tls_client_ca };
        let current =
            Current { changed: files.changed()?, acceptor: files.acceptor()?, looked: Instant::now() };
        Ok(Some(Self { files, current: Mutex::new(current) }))
    }

    /// For a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if LOOK <= current.looked.elapsed() {
            current.looked = Instant::now();
            if let Err(error) = self.renew(&mut current) {
                tracing::warn!("the certificate stays the old one: {error:#}");
            }
        }
        current.acceptor.clone()
    }

    fn renew(&self, current: &mut Current) -> anyhow::Result<()> {
        let changed = self.files.changed()?;
        if changed != current.changed {
            current.acceptor = self.files.acceptor()?;
            current.changed = changed;
            tracing::info!("the certificate was renewed");
        }
        Ok(())
    }
}

impl Files {
    fn changed(&self) -> anyhow::Result<Vec<SystemTime>> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let changed = |path: &PathBuf| {
            let changed = std::fs::metadata(path).and_then(|file| file.modified());
            changed.with_context(|| format!("read {}", path.display()))
        };
        files.into_iter().flatten().map(changed).collect()
    }

    fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).with_context(|| format!("a certificate in {}", path.display()))?;
                }
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?,
                )
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("read the private key {}", self.key.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, key)
            .with_context(|| format!("{} with {}", self.certificate.display(), self.key.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || format!("read certificates from {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .with_context(read)?
        .collect::<Result<_, _>>()
        .with_context(read)?;
    ensure!(!found.is_empty(), "{} holds no certificate", path.display());
    Ok(found)
}

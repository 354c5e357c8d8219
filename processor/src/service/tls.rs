//! TLS to the broker and to the database: whom to trust, who we are, and in plain words why a handshake failed.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// PEM files.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Files {
    /// Authorities whose certificates are believed; those of the machine without it.
    pub ca: Option<PathBuf>,
    /// Our certificate with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    path: PathBuf,
    problem: String,
}

impl Files {
    /// TLS 1.2 or 1.3. The server's certificate is always checked, and so is its name.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub fn client(&self) -> Result<ClientConfig, FileError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| wrong(path, error))?;
                }
            }
            // One that cannot be read is one that is not believed: the handshake says so.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
        builder
            .with_client_auth_cert(certificates(certificate)?, private)
            .map_err(|error| wrong(key, format!("it is no key of {}: {error}", certificate.display())))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(path, error))?;
    if found.is_empty() { Err(wrong(path, "it holds no certificate in PEM")) } else { Ok(found) }
}

fn wrong(path: &Path, problem: impl ToString) -> FileError {
    FileError { path: path.to_owned(), problem: problem.to_string() }
}

/// Trusts nobody: for a connection that does not use it.
pub fn nobody() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// What went wrong with TLS somewhere below an error; `None` where it was something else.
pub fn problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(plainly(found));
        }
        // An error inside an `io::Error` is not its source: that one's source is.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

fn plainly(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "nobody we trust signed its certificate: name the authority that did (--broker-ca FILE, sslrootcert=FILE)"
                .to_owned()
        }
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired: it needs a new one, or the clock of this machine is wrong".to_owned()
        }
        Tls::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => format!(
            "its certificate is for another name ({}): use that name in the address",
            if presented.is_empty() { "it holds none".to_owned() } else { presented.join(", ") }
        ),
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure,
        ) => format!(
            "it does not accept our certificate, or wants one ({error}): give one that it trusts (--broker-cert and \
             --broker-key, sslcert= and sslkey=)"
        ),
        Tls::InvalidMessage(_) => "nobody speaks TLS at this port".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let files = Files { ca: Some("Cargo.toml".into()), identity: None };
        assert_eq!(files.client().unwrap_err().to_string(), "Cargo.toml: it holds no certificate in PEM");
        let files = Files { ca: Some("absent.pem".into()), identity: None };
        assert!(files.client().unwrap_err().to_string().starts_with("absent.pem: "));
    }

    #[test]
    fn a_problem_of_tls_is_found_below_other_errors() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let below = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, expired.clone()));
        for error in [io::Error::new(io::ErrorKind::InvalidData, expired), below] {
            assert!(problem(&error).unwrap().contains("expired"));
        }
        assert_eq!(problem(&io::Error::other("no route to host")), None);
    }
}

//! Certificates of a test's own: an authority, servers good and bad, clients.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// An authority and the folder for what it signs.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub ca: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Debug)]
pub struct Signed {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Authority> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = folder.join(format!("{name}.pem"));
        fs::write(&ca, params.self_signed(&key)?.pem()).context("write a certificate")?;
        Ok(Authority { folder: folder.to_owned(), issuer: Issuer::new(params, key), ca })
    }

    /// Of a server at these names.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn server(&self, names: &[&str]) -> anyhow::Result<Signed> {
        self.sign(&format!("server-{}", names.join("-")), names, ExtendedKeyUsagePurpose::ServerAuth, false)
    }

    /// Of a server, of years ago.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn expired_server(&self, names: &[&str]) -> anyhow::Result<Signed> {
        self.sign("expired", names, ExtendedKeyUsagePurpose::ServerAuth, true)
    }

    /// # Errors
    /// When the folder cannot be written.
    pub fn client(&self, name: &str) -> anyhow::Result<Signed> {
        self.sign(name, &[], ExtendedKeyUsagePurpose::ClientAuth, false)
    }

    fn sign(
        &self,
        name: &str,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        expired: bool,
    ) -> anyhow::Result<Signed> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages.push(purpose);
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate()?;
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let signed = Signed { certificate: file("crt"), key: file("key") };
        fs::write(&signed.certificate, params.signed_by(&key, &self.issuer)?.pem())
            .context("write a certificate")?;
        fs::write(&signed.key, key.serialize_pem()).context("write a key")?;
        Ok(signed)
    }
}

//! A database's address as libpq reads it, a URL or key=value pairs: with certificates and a password file, which the
//! driver does not know.

use std::{borrow::Cow, fs, path::PathBuf};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use crate::service::tls;

const PORT: u16 = 5432;

/// Where a database is, and how to come there.
#[derive(Clone)]
pub struct Address {
    pub config: Config,
    /// Not used where the address does not ask for TLS.
    pub tls: MakeRustlsConnect,
}

impl Address {
    /// Reads the certificates and the password anew each time, so that they may be replaced under a running service.
    ///
    /// `sslmode=require` and `sslmode=verify-full` both check the server's certificate and its name, against
    /// `sslrootcert` or the authorities of this machine: a secret kept from all but an unknown server is none.
    ///
    /// # Errors
    /// The address cannot be parsed, or a file that it names cannot be used.
    pub fn parse(text: &str) -> Result<Address, StoreError> {
        let (rest, ours) = Ours::taken_from(text)?;
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            StoreError::Address(source.unwrap_or_else(|| error.to_string()))
        })?;
        let encrypted = match ours.mode.as_deref() {
            None => ours.files != tls::Files::default(),
            // An unchecked connection that may also be unencrypted is an unencrypted one.
            Some("disable" | "allow" | "prefer") => false,
            Some("require" | "verify-full") => true,
            Some(other) => {
                let problem = format!("sslmode={other} is none of disable, require, verify-full");
                return Err(StoreError::Address(problem));
            }
        };
        let tls = if encrypted {
            ours.files.client().map_err(|error| StoreError::Address(error.to_string()))?
        } else {
            tls::nobody()
        };
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        if let (Some(file), None) = (&ours.password_file, config.get_password()) {
            let lines = fs::read_to_string(file)
                .map_err(|error| StoreError::Address(format!("{}: {error}", file.display())))?;
            let password = lines.lines().find_map(|line| password_of(line, &config));
            let password = password.ok_or_else(|| {
                StoreError::Address(format!(
                    "{} has no line host:port:database:user:password for this address",
                    file.display()
                ))
            })?;
            config.password(password);
        }
        Ok(Address { config, tls: MakeRustlsConnect::new(tls) })
    }
}

/// Settings of libpq that the driver does not know.
#[derive(Default)]
struct Ours {
    mode: Option<String>,
    files: tls::Files,
    password_file: Option<PathBuf>,
}

impl Ours {
    /// The address without our settings, and they.
    fn taken_from(text: &str) -> Result<(String, Ours), StoreError> {
        let mut ours = Ours::default();
        let (mut certificate, mut key) = (None, None);
        let mut take = |name: &str, value: &str| {
            let value = value.to_owned();
            match name {
                "sslmode" => ours.mode = Some(value),
                "sslrootcert" => ours.files.ca = Some(value.into()),
                "sslcert" => certificate = Some(value.into()),
                "sslkey" => key = Some(value.into()),
                "passfile" => ours.password_file = Some(value.into()),
                _ => return false,
            }
            true
        };
        let rest = if text.contains("://") {
            let login_end = text.rfind('@').unwrap_or(0);
            let query = text[login_end..].find('?').map(|at| login_end + at);
            let (place, query) = query.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
            let mut kept = Vec::new();
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                if !take(name, &percent_decode_str(value).decode_utf8_lossy()) {
                    kept.push(pair);
                }
            }
            let mark = if kept.is_empty() { "" } else { "?" };
            format!("{place}{mark}{}", kept.join("&"))
        } else {
            let mut kept = Vec::new();
            for (pair, name, value) in pairs(text) {
                if !take(name, &value) {
                    kept.push(pair);
                }
            }
            kept.join(" ")
        };
        ours.files.identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(StoreError::Address("sslcert and sslkey go together".to_owned())),
        };
        Ok((rest, ours))
    }
}

/// `name=value` and `name = 'a \'quoted\' value'`, each with its own text.
fn pairs(mut text: &str) -> Vec<(&str, &str, Cow<'_, str>)> {
    let mut pairs = Vec::new();
    loop {
        text = text.trim_start();
        let Some((name, after)) = text.split_once('=') else {
            // No pair: the driver says what is wrong with it.
            if !text.is_empty() {
                pairs.push((text, text, Cow::Borrowed("")));
            }
            return pairs;
        };
        let value = after.trim_start();
        let quoted = value.starts_with('\'');
        let mut escaped = false;
        let end = value.char_indices().skip(usize::from(quoted)).find_map(|(at, letter)| {
            let ends = !escaped && if quoted { letter == '\'' } else { letter.is_whitespace() };
            escaped = !escaped && letter == '\\';
            ends.then_some(if quoted { at + 1 } else { at })
        });
        let (value, rest) = value.split_at(end.unwrap_or(value.len()));
        let pair = &text[..text.len() - rest.len()];
        let plain = value.strip_prefix('\'').map_or(value, |inner| inner.strip_suffix('\'').unwrap_or(inner));
        pairs.push((pair, name.trim_end(), unescaped(plain)));
        text = rest;
    }
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    Cow::Owned(plain)
}

/// The password of a line `host:port:database:user:password` of libpq's password file, where it is for this address. A `*`
/// is for any; a `\` goes before a `:` or another `\` that is part of a name.
fn password_of(line: &str, config: &Config) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields: Vec<&str> = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in line.char_indices() {
        if letter == ':' && !escaped && fields.len() < 4 {
            fields.push(&line[start..at]);
            start = at + 1;
        }
        escaped = !escaped && letter == '\\';
    }
    fields.push(&line[start..]);
    let [host, port, database, user, password] = fields.try_into().ok()?;
    let ours = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.as_str(),
        _ => "localhost",
    };
    let our_port = config.get_ports().first().copied().unwrap_or(PORT).to_string();
    let our_user = config.get_user().unwrap_or_default();
    let is = |field: &str, value: &str| field == "*" || unescaped(field) == value;
    let matches = is(host, ours)
        && is(port, &our_port)
        && is(database, config.get_dbname().unwrap_or(our_user))
        && is(user, our_user);
    matches.then(|| unescaped(password).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).config
    }

    fn refused(text: &str) -> String {
        Address::parse(text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_address_asks_for_tls_or_goes_without() {
        for plain in ["postgres://u@db/city", "host=db user=u", "host=db sslmode=prefer user=u"] {
            assert_eq!(parse(plain).get_ssl_mode(), SslMode::Disable, "{plain}");
        }
        for encrypted in [
            "postgres://u@db/city?sslmode=require",
            "postgres://u:p%3F@db/city?application_name=x&sslmode=verify-full",
            "host=db sslmode = 'verify-full' user=u",
        ] {
            assert_eq!(parse(encrypted).get_ssl_mode(), SslMode::Require, "{encrypted}");
        }
        assert!(refused("postgres://u@db/city?sslmode=verify-ca").contains("verify-full"));
        assert!(refused("postgres://u@db/city?sslrootcert=absent.pem").contains("absent.pem"));
        assert!(refused("host=db sslmode=require sslcert=a.pem").contains("sslkey"));
    }

    #[test]
    fn what_is_not_ours_reaches_the_driver_as_it_was() {
        let config = parse(r"host=/run/pg user='o\'neil' sslmode=disable dbname = city password='a b=c'");
        assert_eq!(config.get_user(), Some("o'neil"));
        assert_eq!(config.get_dbname(), Some("city"));
        assert_eq!(config.get_password(), Some(&b"a b=c"[..]));
        assert!(refused("host=db colour=red").contains("colour"));
    }

    #[test]
    fn a_password_comes_from_the_line_for_its_address() {
        let folder = std::env::temp_dir().join(format!("screenline-pgpass-{}", std::process::id()));
        fs::write(&folder, "# ours\nother:*:*:*:no\ndb:5432:city:ada:p\\:w:x\n*:*:*:bob:b\n").unwrap();
        let file = folder.display();
        for (address, password) in [
            (format!("postgres://ada@db/city?passfile={file}"), "p:w:x"),
            (format!("host=elsewhere user=bob passfile='{file}'"), "b"),
            (format!("postgres://ada:given@db/city?passfile={file}"), "given"),
        ] {
            assert_eq!(parse(&address).get_password(), Some(password.as_bytes()), "{address}");
        }
        assert!(refused(&format!("postgres://eve@db/city?passfile={file}")).contains("no line"));
        fs::remove_file(&folder).unwrap();
    }
}

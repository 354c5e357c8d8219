//! Where a broker is, and what it takes to be let in there.

use std::{fmt, time::Duration};

use anyhow::{Context, ensure};
use rumqttc::TlsConfiguration;
use tokio::{net::TcpStream, time::timeout};
use url::Url;

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker's address. It shows no password.
#[derive(Clone)]
pub struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<(String, String)>,
    pub(crate) tls: Option<TlsConfiguration>,
}

impl Broker {
    pub fn new(host: &str, port: u16) -> Broker {
        Broker { host: host.to_owned(), port, login: None, tls: None }
    }

    /// # Errors
    /// Not `mqtt://[user:password@]host[:port]`.
    pub fn parse(text: &str) -> anyhow::Result<Broker> {
        let url = Url::parse(text).with_context(|| format!("broker URL {:?}", without_password(text)))?;
        ensure!(
            matches!(url.scheme(), "mqtt" | "tcp"),
            "broker URL: expected mqtt://host:port, not {}",
            url.scheme()
        );
        let broker = Broker::new(
            url.host_str().context("broker URL: the host is missing")?,
            url.port().unwrap_or(1883),
        );
        Ok(match url.username() {
            "" => broker,
            user => broker.with_login(&decoded(user), &decoded(url.password().unwrap_or_default())),
        })
    }

    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Broker {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Sees whether somebody listens there: connects, and hangs up.
    ///
    /// # Errors
    /// Nobody does, or does not answer within five seconds.
    pub async fn dial(&self) -> anyhow::Result<()> {
        let connection = TcpStream::connect((self.host.as_str(), self.port));
        timeout(DIAL_TIMEOUT, connection).await.context("no answer")??;
        Ok(())
    }

    #[must_use]
    pub fn with_tls(mut self, tls: TlsConfiguration) -> Broker {
        self.tls = Some(tls);
        self
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt{}://{}:{}", if self.tls.is_some() { "s" } else { "" }, self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn without_password(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// `%40` as `@`, which a password may need.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_url_may_carry_a_login_and_never_shows_it() {
        let broker = Broker::parse("mqtt://ada:p%40ss%25@broker.example:18830").unwrap();
        assert_eq!(broker.login, Some(("ada".to_owned(), "p@ss%".to_owned())));
        assert_eq!(format!("{broker} {broker:?}"), "mqtt://broker.example:18830 mqtt://broker.example:18830");
        assert_eq!(Broker::parse("mqtt://[::1]").unwrap().to_string(), "mqtt://[::1]:1883");
        assert!(Broker::parse("http://localhost").is_err());
        assert!(Broker::parse("localhost:1883").is_err());
    }
}

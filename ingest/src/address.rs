//! A broker's address, and what it takes to be let in there and to know that it is the right one.

use std::{env, ffi::OsString, fmt, fs, path::PathBuf};

use anyhow::{Context, bail, ensure};
use percent_encoding::percent_decode_str;
use processor::service::{Secret, masked, tls};
use rumqttc::TlsConfiguration;
use url::Url;

/// The variable that a password may come in. There is no flag for it: others can read a command line.
const PASSWORD: &str = "SCREENLINE_BROKER_PASSWORD";

/// The same for every command that talks to a broker. A password comes from a file, from the variable
/// SCREENLINE_BROKER_PASSWORD, or in the address.
#[derive(clap::Args, Clone, Default, Debug)]
pub struct Access {
    /// User at the broker; its password comes from --broker-password-file or SCREENLINE_BROKER_PASSWORD
    #[arg(long, env = "SCREENLINE_BROKER_USER", value_name = "NAME")]
    pub broker_user: Option<String>,

    /// File with the broker's password for us, in its first line
    #[arg(long, env = "SCREENLINE_BROKER_PASSWORD_FILE", value_name = "FILE")]
    pub broker_password_file: Option<PathBuf>,

    /// Authorities (PEM) that may sign the broker's certificate, for mqtts:// [default: those of this machine]
    #[arg(long, env = "SCREENLINE_BROKER_CA", value_name = "FILE")]
    pub broker_ca: Option<PathBuf>,

    /// Our certificate (PEM, with its chain) for a broker that asks for one
    #[arg(long, env = "SCREENLINE_BROKER_CERT", value_name = "FILE", requires = "broker_key")]
    pub broker_cert: Option<PathBuf>,

    /// The key (PEM) of --broker-cert
    #[arg(long, env = "SCREENLINE_BROKER_KEY", value_name = "FILE", requires = "broker_cert")]
    pub broker_key: Option<PathBuf>,
}

impl Access {
    /// The variables by which a child process gets the same: others can read a command line.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        [
            ("SCREENLINE_BROKER_USER", self.broker_user.clone().map(OsString::from)),
            ("SCREENLINE_BROKER_PASSWORD_FILE", path(&self.broker_password_file)),
            ("SCREENLINE_BROKER_CA", path(&self.broker_ca)),
            ("SCREENLINE_BROKER_CERT", path(&self.broker_cert)),
            ("SCREENLINE_BROKER_KEY", path(&self.broker_key)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// Where a broker is, and who we are there.
#[derive(Clone)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
    pub tls: Option<TlsConfiguration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

impl Address {
    /// # Errors
    /// Not `mqtt://[user:password@]host[:port]` nor `mqtts://`, or a file of `access` cannot be used.
    pub fn parse(text: &str, access: &Access) -> anyhow::Result<Self> {
        let shown = masked(text);
        let url = Url::parse(text)
            .with_context(|| format!("{shown} is no address such as mqtt://localhost:1883"))?;
        let (encrypted, usual_port) = match url.scheme() {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            other => bail!("the broker's address must start with mqtt:// or mqtts://, not {other}://"),
        };
        let host = url.host_str().with_context(|| format!("{shown} has no host"))?.to_owned();
        let files = tls::Files {
            ca: access.broker_ca.clone(),
            identity: access.broker_cert.clone().zip(access.broker_key.clone()),
        };
        ensure!(
            encrypted || files == tls::Files::default(),
            "--broker-ca and --broker-cert are for mqtts://, and {shown} is not encrypted"
        );
        let tls = encrypted.then(|| files.client()).transpose()?.map(TlsConfiguration::from);
        Ok(Address { login: login(&url, access)?, host, port: url.port().unwrap_or(usual_port), tls })
    }
}

fn login(url: &Url, access: &Access) -> anyhow::Result<Option<Login>> {
    let plain =
        |text| percent_decode_str(text).decode_utf8().map(String::from).context("decode the broker's user");
    let in_url = plain(url.username())?;
    let Some(user) = access.broker_user.clone().or_else(|| (!in_url.is_empty()).then_some(in_url)) else {
        ensure!(access.broker_password_file.is_none(), "--broker-password-file needs --broker-user");
        return Ok(None);
    };
    let password = match (&access.broker_password_file, url.password()) {
        (Some(file), _) => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("read --broker-password-file {}", file.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        (None, Some(password)) => plain(password)?,
        (None, None) => env::var(PASSWORD).unwrap_or_default(),
    };
    Ok(Some(Login { user, password: Secret::new(password) }))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} as {:?}", self.login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url, &Access::default()).unwrap_or_else(|error| panic!("{url}: {error:#}"))
    }

    fn refused(url: &str, access: &Access) -> String {
        format!("{:#}", Address::parse(url, access).map(|_| ()).unwrap_err())
    }

    #[test]
    fn an_address_says_who_we_are_and_shows_no_password() {
        let address = parse("mqtt://ada:p%40ss%25@broker.example");
        let login = address.login.clone().unwrap();
        assert_eq!((login.user.as_str(), login.password.reveal()), ("ada", "p@ss%"));
        assert_eq!(address.to_string(), "broker.example:1883");
        assert!(!format!("{address:?}").contains("p@ss"), "{address:?}");
        assert_eq!(parse("mqtt://broker").login, None);
    }

    #[test]
    fn a_password_file_is_for_the_user_of_the_flag() {
        let folder = env::temp_dir().join(format!("screenline-password-{}", std::process::id()));
        fs::write(&folder, "s3cret\n").unwrap();
        let access = Access {
            broker_user: Some("ingest".to_owned()),
            broker_password_file: Some(folder.clone()),
            ..Access::default()
        };
        let login = Address::parse("mqtt://broker", &access).unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.reveal()), ("ingest", "s3cret"));
        fs::remove_file(&folder).unwrap();
        assert!(refused("mqtt://broker", &access).contains("--broker-password-file"));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, about) in [
            ("http://u:hunter2@broker", "mqtts://"),
            ("mqtt://u:hunter2@", "no address"),
            ("u:hunter2@broker:1883", "must start with"),
            ("mqtt://u:hunter2@broker:port", "no address"),
        ] {
            let said = refused(url, &Access::default());
            assert!(said.contains(about) && !said.contains("hunter2"), "{url}: {said}");
        }
        let access = Access { broker_ca: Some("ca.pem".into()), ..Access::default() };
        assert!(refused("mqtt://broker", &access).contains("not encrypted"));
        assert!(refused("mqtts://broker", &access).contains("ca.pem"));
    }
}

//! The broker that a command publishes to, or hears.

use clap::Args;
use ingest::address::{Access, Address};
use simulators::broker::Broker;

/// Where it is, and what it takes to be let in there.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// The broker: mqtt://host:port, or mqtts://host:port for TLS
    #[arg(
        long,
        env = "SCREENLINE_BROKER_URL",
        value_name = "URL",
        hide_env_values = true,
        default_value = "mqtt://127.0.0.1:1883"
    )]
    broker_url: String,
    #[command(flatten)]
    access: Access,
}

impl BrokerArgs {
    /// # Errors
    /// As [`Address::parse`].
    pub fn broker(&self) -> anyhow::Result<Broker> {
        broker(&self.broker_url, &self.access)
    }
}

/// A broker for the simulators, which know nothing of ingest's settings.
///
/// # Errors
/// As [`Address::parse`].
pub fn broker(url: &str, access: &Access) -> anyhow::Result<Broker> {
    let address = Address::parse(url, access)?;
    let mut broker = Broker::new(&address.host, address.port);
    if let Some(login) = &address.login {
        broker = broker.with_login(&login.user, login.password.reveal());
    }
    Ok(match address.tls {
        Some(tls) => broker.with_tls(tls),
        None => broker,
    })
}

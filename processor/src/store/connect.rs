use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use tracing::debug;

use super::{Address, StoreError};
use crate::service::tls;

/// Opens a connection; its driver runs as a task of its own and ends with the client.
///
/// A statement may take a minute: a batch takes well under a second, so a longer one hangs on something.
///
/// # Errors
/// The address cannot be parsed, or nobody answers there, or who does is not to be trusted.
pub async fn connect(url: &str, application: &str) -> Result<Client, StoreError> {
    let Address { mut config, tls } = Address::parse(url)?;
    config
        .application_name(application)
        .connect_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(15));
    let connected = config.connect(tls).await;
    let (client, connection) =
        connected.map_err(|error| tls::problem(&error).map_or_else(|| error.into(), StoreError::Distrust))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "database connection ended");
        }
    });
    client
        .batch_execute(
            "SET statement_timeout = '60s'; SET lock_timeout = '30s'; SET timezone = 'UTC';
             SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning';
             SET synchronous_commit = 'on'",
        )
        .await?;
    Ok(client)
}

/// Two statements that hang as long as the server lets them, and the connections between: who waits longer waits for a line
/// that is dead, and that nobody said so of.
const SILENCE_MAX: Duration = Duration::from_secs(150);

/// Does some work with the database, and gives up where no answer comes: the server's own limits do not reach us over a
/// dead line. The connection is gone with the work, and what it did is not known, as after every loss of one.
///
/// # Errors
/// The work fails, or there was no answer.
pub async fn answered<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(SILENCE_MAX, work).await.unwrap_or(Err(StoreError::Silent(SILENCE_MAX)))
}

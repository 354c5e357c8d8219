use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};
use tracing::debug;

use super::StoreError;

/// Opens a connection; its driver runs as a task of its own and ends with the client.
///
/// A statement may take a minute: a batch takes well under a second, so a longer one hangs on something.
///
/// # Errors
/// The address cannot be parsed, or nobody answers there.
pub async fn connect(url: &str, application: &str) -> Result<Client, StoreError> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        StoreError::Address(
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        )
    })?;
    config
        .application_name(application)
        .connect_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(15));
    let (client, connection) = config.connect(NoTls).await?;
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

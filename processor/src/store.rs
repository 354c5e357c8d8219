//! The tables: connect, migrate, write a batch in one transaction, read readings back.

pub mod account;
mod address;
mod bisect;
mod city;
mod connect;
mod copy;
pub mod coverage;
mod erase;
pub mod gap;
pub(crate) mod lock;
mod mention;
mod migrate;
mod partition;
mod position;
mod ranges;
mod recent;
mod reject;
pub mod rejected;
mod retention;
pub mod revision;
mod rows;
mod seen;
pub(crate) mod sender;
mod settle;
mod suspicion;
mod tally;
pub(crate) mod withheld;
mod write;

pub use account::{Account, Totals};
pub use address::Address;
pub use city::City;
pub use connect::{answered, connect};
pub use copy::{CopyFrames, read_copy};
pub use erase::{Eraser, Erasure, Traces};
pub use migrate::{Level, StorageChoice, available_level, migrate};
pub use partition::{days as partition_days, rolled_days};
pub use position::{Position, Positions};
pub use rejected::{Filter, Rejected, State as RejectionState};
pub use retention::{Dropped, Due, Keep, KeepRule, ROWS_COUNTED_MAX, Retention, Step};
pub use sender::load as remembered;
pub use settle::{Redriven, Settlement};
pub use tally::Counts;
pub use write::{Writer, Written};

use std::{error::Error as _, time::Duration};

use tokio_postgres::error::SqlState;

/// What can go wrong between us and the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the database address is not usable: {0}; expected postgres://user@host:port/name or host=/socket/folder user=... dbname=..."
    )]
    Address(String),
    #[error("the database's server is not to be trusted, or does not trust us: {0}")]
    Distrust(String),
    #[error("database: {}", explain(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("database: no answer for {0:?}")]
    Silent(Duration),
    /// Decided by a registry that has changed since: refresh it and process the batch again.
    #[error("the registry has changed since the batch was decoded")]
    Outdated,
    /// Read by a memory of its senders that has changed since: take it anew and process the batch again.
    #[error("what is remembered of a sender has changed since the batch was decoded")]
    Forgotten,
    #[error("{0}")]
    Unfit(String),
    /// What a measure was asked for: another period or width would do.
    #[error(transparent)]
    Buckets(#[from] crate::measure::steps::Unfit),
    #[error(transparent)]
    Fault(#[from] crate::faults::Fault),
}

impl StoreError {
    /// Whether the connection is gone and a new one may help.
    pub fn lost_connection(&self) -> bool {
        match self {
            StoreError::Database(error) => {
                error.is_closed()
                    || error
                        .code()
                        .is_none_or(|code| code.code().starts_with("08") || code.code().starts_with("57"))
            }
            StoreError::Silent(_) => true,
            _ => false,
        }
    }

    /// Whether the server refuses what was sent, and would refuse it again: a wrong value (class 22), a broken rule other
    /// than a key (23), a limit of the server (54).
    fn refuses_data(&self) -> bool {
        let StoreError::Database(error) = self else { return false };
        let refuses = |code: &SqlState| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class));
        error.code().is_some_and(refuses) && !self.is_duplicate_key()
    }

    /// Whether somebody else held a lock for longer than it was waited for.
    pub(crate) fn is_locked_out(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    fn is_duplicate_key(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }
}

/// The server's own words: the driver's Display says no more than "db error".
fn explain(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{} [{}]{detail}", db.message(), db.code().code())
        }
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

//! Who asks, and through which door.

use crate::{
    error::{QueryError, Result},
    identity::{Identity, Via},
    policy::OPERATOR,
};
use std::{fmt, sync::Arc};
use tonic::Extensions;

/// On whose behalf a question is answered.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    pub door: Door,
    /// By which its own statements are known: a JWT may have the name of a token.
    pub owner: Arc<str>,
}

/// How a question came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Flight,
    FlightSql,
    Live,
    Export,
}

impl Caller {
    /// Of a call that passed the entrance.
    ///
    /// # Errors
    /// It did not: nobody is answered whom nobody looked at.
    pub fn of(extensions: &Extensions, door: Door) -> Result<Self> {
        let identity = extensions.get::<Identity>().cloned();
        let identity = identity.ok_or_else(|| QueryError::Internal("a call that nobody let in".into()))?;
        Ok(Self::new(identity, door))
    }

    pub fn new(identity: Identity, door: Door) -> Self {
        let owner = match identity.via {
            Via::Jwt => format!("jwt {}", identity.name).into(),
            _ => identity.name.clone(),
        };
        Self { identity, door, owner }
    }

    /// Whether this caller may stop what another one started.
    pub fn may_stop(&self, owner: &str) -> bool {
        *self.owner == *owner || *self.identity.role == *OPERATOR
    }
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Self::Flight => "flight",
            Self::FlightSql => "flight_sql",
            Self::Live => "live",
            Self::Export => "export",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! Moments of the database: what one transaction sees, so that another can tell what came since.

use crate::error::{QueryError, Result};
use jiff::Timestamp;
use std::{fmt, str::FromStr};
use tokio_postgres::Client;

/// What was seen, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `pg_current_snapshot()`
    pub snapshot: String,
    pub at: Timestamp,
    /// A server that was restarted may be another one, or an older copy of it.
    pub server: String,
    /// The database, its cluster and its timeline, which stay over a restart; and a table that is another file after a
    /// restore in its place.
    pub lineage: String,
}

impl Moment {
    /// Of the present transaction.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn of(client: &Client) -> Result<Self> {
        let select = "SELECT pg_current_snapshot()::text, now(), pg_postmaster_start_time()::text,
                             concat_ws('.', system_identifier, timeline_id, oid, pg_relation_filenode('revision'))
                      FROM pg_database, pg_control_system(), pg_control_checkpoint()
                      WHERE datname = current_database()";
        let row = client.query_one(select, &[]).await?;
        let lineage: String = row.try_get(3)?;
        let started: String = row.try_get(2)?;
        let server = format!("{started} {lineage}");
        Ok(Self { snapshot: row.try_get(0)?, at: row.try_get(1)?, server, lineage })
    }

    /// Transactions before this one are over.
    pub fn ahead(&self) -> u64 {
        self.snapshot.split(':').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// As it travels: where a tail goes on.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lineage, self.at.as_microsecond(), self.snapshot)
    }
}

impl FromStr for Moment {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || QueryError::Invalid("`resume` is not a token of ours: send the last one you got".into());
        let mut parts = text.splitn(3, '/');
        let mut part = || parts.next().ok_or_else(wrong);
        let (lineage, at, snapshot) = (part()?, part()?, part()?);
        let at = at.parse().ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let is_snapshot = {
            let mut numbers = snapshot.split([':', ',']).filter(|number| !number.is_empty());
            snapshot.matches(':').count() == 2 && numbers.all(|number| number.parse::<u64>().is_ok())
        };
        if !is_snapshot {
            return Err(wrong());
        }
        let (snapshot, lineage) = (snapshot.to_owned(), lineage.to_owned());
        Ok(Self { snapshot, at: at.ok_or_else(wrong)?, server: String::new(), lineage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_travels_as_text() {
        let moment = Moment {
            snapshot: "100:104:100,102".into(),
            at: "2026-01-02T03:04:05.123456Z".parse().unwrap(),
            server: String::new(),
            lineage: "7412345678901234567.1.16384".into(),
        };
        assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
        assert_eq!(moment.ahead(), 104);
        for wrong in ["", "a/1/1:2", "a/x/1:2:", "a/1/1:2:3:4", "a/1/1:x:", "a/1/1:2:'"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn hostile_tokens_do_not_panic(text in "[0-9:/,.a-z]{0,60}") {
            let _ = text.parse::<Moment>();
        }
    }
}

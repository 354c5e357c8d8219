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

    /// Transactions from this one on had not begun.
    pub fn ahead(&self) -> u64 {
        self.parts().map_or(0, |(_, ahead, _)| ahead)
    }

    /// A place before this moment: it sees what this one sees of the transactions up to one that began at some time.
    pub fn up_to(&self, last: u64, at: Timestamp) -> Self {
        let running = self.parts().map(|(_, _, running)| running).unwrap_or_default();
        let running: Vec<u64> = running.into_iter().filter(|xid| *xid <= last).collect();
        let ahead = last.saturating_add(1);
        let first = running.first().copied().unwrap_or(ahead);
        let texts: Vec<String> = running.iter().map(ToString::to_string).collect();
        Self { snapshot: format!("{first}:{ahead}:{}", texts.join(",")), at, ..self.clone() }
    }

    /// The first transaction that ran, the first that had not begun, and those that ran, in order; none: it is no
    /// snapshot.
    fn parts(&self) -> Option<(u64, u64, Vec<u64>)> {
        let mut parts = self.snapshot.split(':');
        let (first, ahead, running) = (parts.next()?, parts.next()?, parts.next()?);
        let (first, ahead): (u64, u64) = (first.parse().ok()?, ahead.parse().ok()?);
        let running = running.split_terminator(',').map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        let is_ordered = running.windows(2).all(|two| two[0] < two[1]);
        let is_within = running.iter().all(|xid| (first..ahead).contains(xid));
        let is_snapshot = parts.next().is_none() && 0 < first && first <= ahead && is_ordered && is_within;
        is_snapshot.then_some((first, ahead, running))
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
        let (snapshot, lineage) = (snapshot.to_owned(), lineage.to_owned());
        let moment = Self { snapshot, at: at.ok_or_else(wrong)?, server: String::new(), lineage };
        match moment.parts() {
            Some(_) => Ok(moment),
            None => Err(wrong()),
        }
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
        for wrong in [
            "",
            "a/1/1:2",
            "a/x/1:2:",
            "a/1/1:2:3:4",
            "a/1/1:x:",
            "a/1/1:2:'",
            "a/1/5:3:",
            "a/1/::",
            "a/1/1:9:5,4",
            "a/1/4:9:3",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_on_the_way_sees_no_more_than_the_moment() {
        let snapshot = "100:110:100,104,108".into();
        let moment =
            Moment { snapshot, at: Timestamp::UNIX_EPOCH, server: String::new(), lineage: "a".into() };
        let place = |last| moment.up_to(last, Timestamp::UNIX_EPOCH).snapshot;
        assert_eq!([place(99), place(103), place(109)], ["100:100:", "100:104:100", "100:110:100,104,108"]);
    }

    proptest! {
        #[test]
        fn hostile_tokens_do_not_panic(text in "[0-9:/,.a-z]{0,60}") {
            let _ = text.parse::<Moment>();
        }
    }
}

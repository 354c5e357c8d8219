//! What came in, where it went, and what is missing, in a period: read in one snapshot.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::{
    Counts, StoreError,
    coverage::{self, Heard},
    gap::{self, Gaps},
    settle,
};

/// The account of a period of whole hours, [from, to).
///
/// Messages are counted in the hour of their receipt; readings are due, and rolled up, in the hour they speak of.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Account {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Of everything that came in; what was redriven came in before.
    pub total: Counts,
    /// By name. What was redriven is a source of its own.
    pub sources: Vec<Source>,
    /// Sums that do not hold, in words.
    pub problems: Vec<String>,
    /// Numbers that never came, by source, epoch and the hour in which that showed.
    pub missing: Vec<Gaps>,
    pub rejections: Vec<Refused>,
    pub hours: Vec<Hour>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Source {
    pub source: String,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Rejections received in the period for one reason, by what became of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    pub reason: String,
    pub open: i64,
    pub redriven: i64,
    pub dropped: i64,
}

/// What is known of one hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Hour {
    pub hour: Timestamp,
    /// Messages received.
    pub received: i64,
    pub stored: i64,
    /// Messages of QoS 0 dropped unread.
    pub shed: i64,
    /// Sources that number their messages and were heard.
    pub numbered_sources: i64,
    /// Numbered messages that never came, as showed in this hour.
    pub missing: i64,
    pub open_rejections: i64,
    /// Series and their readings that were due.
    #[serde(flatten)]
    pub heard: Heard,
    /// Parts of the city whose rollups are not, or no longer, what their readings say.
    pub marks: i64,
    /// Whether it is not over, so that nothing can be said of its completeness.
    pub open: bool,
}

impl Account {
    /// Reads the ledger and what stands beside it. `now` decides which hour is open.
    ///
    /// # Errors
    /// The database cannot be read; the connection is then in a failed transaction.
    pub async fn read(
        client: &Client,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        // One snapshot: what a running ingest commits meanwhile is in all of it or in none.
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let account = Self::read_within(client, from, to, now).await?;
        client.batch_execute("ROLLBACK").await?;
        Ok(account)
    }

    async fn read_within(
        client: &Client,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        let (sources, problems) = ledger(client, from, to).await?;
        let mut total = Counts::default();
        let came = sources.iter().filter(|source| !source.is_redrive());
        came.for_each(|source| total += source.counts);
        let missing = gap::by_hour(client, from, to).await?;
        let rejections = rejections(client, from, to).await?;
        let mut hours = hours(client, from, to, now).await?;
        for gaps in &missing {
            if let Some(hour) = hours.get_mut(&gaps.hour) {
                hour.missing = hour.missing.saturating_add(gaps.messages);
            }
        }
        for (at, heard) in coverage::by_hour(client, from, to, now).await? {
            if let Some(hour) = hours.get_mut(&at) {
                hour.heard = heard;
            }
        }
        let hours = hours.into_values().collect();
        Ok(Account { from, to, total, sources, problems, missing, rejections, hours })
    }

    /// Numbered messages that never came.
    pub fn missing_messages(&self) -> i64 {
        self.missing.iter().fold(0, |sum, gaps| sum.saturating_add(gaps.messages))
    }

    pub fn open_rejections(&self) -> i64 {
        self.rejections.iter().map(|reason| reason.open).sum()
    }

    /// Hours that are over and of which something is missing, refused or not yet rolled.
    pub fn incomplete(&self) -> impl Iterator<Item = &Hour> {
        self.hours.iter().filter(|hour| !hour.open && !hour.is_complete())
    }
}

impl Source {
    /// Whether it is not a sender, but what was rejected and processed again.
    pub fn is_redrive(&self) -> bool {
        self.source == settle::SOURCE
    }
}

impl Hour {
    /// Whether nothing is known to be missing, refused or not yet rolled.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
            && self.open_rejections == 0
            && self.shed == 0
            && self.heard.short_series == 0
            && self.marks == 0
    }

    /// How much of what was due came, of readings or of numbered messages, whichever is less; `None` where nothing was
    /// due, which is not the same as nothing missing.
    pub fn share(&self) -> Option<f64> {
        let of = |part: i64, whole: i64| (0 < whole).then(|| part as f64 / whole as f64);
        let readings = of(self.heard.observed, self.heard.expected);
        let messages = match self.numbered_sources {
            0 => None, // of messages without a number nobody knows how many there were
            _ => of(self.received, self.received.saturating_add(self.missing)),
        };
        match (readings, messages) {
            (Some(readings), Some(messages)) => Some(readings.min(messages)),
            (one, other) => one.or(other),
        }
    }
}

impl Counts {
    /// The sums that do not hold: every message and every reading has exactly one place.
    pub fn problems(&self) -> Vec<String> {
        let sum = |whole: i64, name: &str, parts: &[(&str, i64)]| {
            let total: i64 = parts.iter().map(|(_, number)| number).sum();
            let names: Vec<String> = parts.iter().map(|(name, number)| format!("{number} {name}")).collect();
            (total != whole).then(|| format!("{whole} {name}, but {} = {total}", names.join(" + ")))
        };
        let messages = [
            ("accepted", self.accepted),
            ("repeated", self.repeated),
            ("ignored", self.ignored),
            ("rejected", self.rejected_messages),
        ];
        let readings = [
            ("stored", self.stored),
            ("duplicate", self.duplicate),
            ("conflict", self.conflict),
            ("rejected", self.rejected),
        ];
        let sums = [
            sum(self.received, "messages received", &messages),
            sum(self.decoded, "readings decoded", &readings),
        ];
        sums.into_iter().flatten().collect()
    }

    /// SQL that adds each column up, in the order of [`Counts::COLUMNS`].
    fn sums() -> String {
        Self::COLUMNS.map(|column| format!("coalesce(sum({column}), 0)::int8 AS {column}")).join(", ")
    }

    fn of(row: &Row) -> Counts {
        let n = |column: &str| row.get::<_, i64>(column);
        Counts {
            received: n("received"),
            accepted: n("accepted"),
            repeated: n("repeated"),
            ignored: n("ignored"),
            rejected_messages: n("rejected_messages"),
            decoded: n("decoded"),
            stored: n("stored"),
            duplicate: n("duplicate"),
            conflict: n("conflict"),
            rejected: n("rejected"),
            late: n("late"),
            reused: n("reused"),
            unkept: n("unkept"),
            shed: n("shed"),
            quarantined: n("quarantined"),
        }
    }
}

/// The sources of a period; and the hours of one whose sums do not hold, which may cancel out in its total.
async fn ledger(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
) -> Result<(Vec<Source>, Vec<String>), StoreError> {
    let within = "FROM ledger WHERE $1 <= hour AND hour < $2 GROUP BY source";
    let sums = Counts::sums();
    let by_source = format!("SELECT source, {sums} {within} ORDER BY source");
    let sources = client.query(&by_source, &[&from, &to]).await?;
    let sources = sources.iter().map(|row| Source { source: row.get("source"), counts: Counts::of(row) });
    let wrong = format!(
        "SELECT source, hour, {sums} {within}, hour
         HAVING sum(received) <> sum(accepted + repeated + ignored + rejected_messages)
             OR sum(decoded) <> sum(stored + duplicate + conflict + rejected)
         ORDER BY hour, source"
    );
    let wrong = client.query(&wrong, &[&from, &to]).await?;
    let problems = wrong.iter().flat_map(|row| {
        let (source, hour): (String, Timestamp) = (row.get("source"), row.get("hour"));
        Counts::of(row).problems().into_iter().map(move |problem| format!("{source} at {hour}: {problem}"))
    });
    Ok((sources.collect(), problems.collect()))
}

async fn rejections(client: &Client, from: Timestamp, to: Timestamp) -> Result<Vec<Refused>, StoreError> {
    let select =
        "SELECT reason, count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'redriven'),
                      count(*) FILTER (WHERE state = 'dropped')
                  FROM rejection
                  WHERE $1 <= received_at AND received_at < $2
                  GROUP BY reason
                  ORDER BY 2 DESC, reason";
    let rows = client.query(select, &[&from, &to]).await?;
    let refused = |row: &Row| Refused {
        reason: row.get(0),
        open: row.get(1),
        redriven: row.get(2),
        dropped: row.get(3),
    };
    Ok(rows.iter().map(refused).collect())
}

/// Every hour of a period with what was received in it, what is open and what is not yet rolled.
async fn hours(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<BTreeMap<Timestamp, Hour>, StoreError> {
    let select = "WITH came AS (
                      SELECT hour, sum(received)::int8 AS received, sum(shed)::int8 AS shed
                      FROM ledger WHERE source <> $3 AND $1 <= hour AND hour < $2 GROUP BY hour
                  ), kept AS (
                      SELECT hour, sum(stored)::int8 AS stored
                      FROM ledger WHERE $1 <= hour AND hour < $2 GROUP BY hour
                  ), refused AS (
                      SELECT date_trunc('hour', received_at) AS hour, count(*) AS open
                      FROM rejection WHERE state = 'open' AND $1 <= received_at AND received_at < $2 GROUP BY 1
                  ), numbered AS (
                      SELECT hour, count(DISTINCT source) AS sources
                      FROM source_hour WHERE $1 <= hour AND hour < $2 GROUP BY hour
                  ), unrolled AS (
                      SELECT date_trunc('hour', bucket) AS hour, count(DISTINCT part) AS marks
                      FROM dirty WHERE level < 2 AND $1 <= bucket AND bucket < $2 GROUP BY 1
                  )
                  SELECT hour, received, stored, shed, open, marks, sources
                  FROM generate_series($1::timestamptz, $2::timestamptz - INTERVAL '1 hour', INTERVAL '1 hour') AS hour
                  LEFT JOIN came USING (hour)
                  LEFT JOIN kept USING (hour)
                  LEFT JOIN refused USING (hour)
                  LEFT JOIN numbered USING (hour)
                  LEFT JOIN unrolled USING (hour)";
    let rows = client.query(select, &[&from, &to, &settle::SOURCE]).await?;
    let hour = |row: &Row| {
        let hour: Timestamp = row.get(0);
        let n = |column: usize| row.get::<_, Option<i64>>(column).unwrap_or(0);
        let of = Hour {
            hour,
            received: n(1),
            stored: n(2),
            shed: n(3),
            numbered_sources: n(6),
            missing: 0,
            open_rejections: n(4),
            heard: Heard::default(),
            marks: n(5),
            open: now < hour.saturating_add(1.hour()).unwrap_or(Timestamp::MAX),
        };
        (hour, of)
    };
    Ok(rows.iter().map(hour).collect())
}

/// The ledger's totals, with the numbers of what stands in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Totals {
    #[serde(flatten)]
    pub counts: Counts,
    pub sensors: i64,
    pub readings: i64,
    pub events: i64,
    /// Dirty marks of every level, those of open buckets included.
    pub dirty: i64,
}

impl Totals {
    /// Counts the readings themselves, so it takes time in proportion to them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(client: &Client) -> Result<Totals, StoreError> {
        let query = format!(
            "SELECT {}, (SELECT count(DISTINCT id) FROM sensor) AS sensors, (SELECT count(*) FROM reading) AS readings,
                 (SELECT count(*) FROM event) AS events, (SELECT count(*) FROM dirty) AS dirty
             FROM ledger",
            Counts::sums()
        );
        let row = client.query_one(&query, &[]).await?;
        let n = |column: &str| row.get(column);
        Ok(Totals {
            counts: Counts::of(&row),
            sensors: n("sensors"),
            readings: n("readings"),
            events: n("events"),
            dirty: n("dirty"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_is_nowhere_is_found_by_the_sums() {
        let whole = Counts {
            received: 3,
            accepted: 2,
            ignored: 1,
            decoded: 5,
            stored: 4,
            duplicate: 1,
            ..Counts::default()
        };
        assert!(whole.problems().is_empty());
        let lost = Counts { stored: 3, ..whole };
        assert_eq!(
            lost.problems(),
            ["5 readings decoded, but 3 stored + 1 duplicate + 0 conflict + 0 rejected = 4"]
        );
    }

    #[test]
    fn an_hour_of_which_nothing_was_due_has_no_share() {
        let hour = Hour {
            hour: Timestamp::UNIX_EPOCH,
            received: 0,
            stored: 0,
            shed: 0,
            numbered_sources: 0,
            missing: 0,
            open_rejections: 0,
            heard: Heard::default(),
            marks: 0,
            open: false,
        };
        assert_eq!((hour.share(), hour.is_complete()), (None, true));
        let heard = Heard { readings: 90, due_series: 2, expected: 120, observed: 90, short_series: 1 };
        assert_eq!(Hour { received: 9, ..hour }.share(), None);
        let short = Hour { heard, received: 9, numbered_sources: 1, missing: 1, ..hour };
        assert_eq!((short.share(), short.is_complete()), (Some(0.75), false));
        assert_eq!(Hour { received: 1, missing: 3, ..short }.share(), Some(0.25));
    }
}

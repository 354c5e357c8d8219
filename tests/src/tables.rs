//! What the tables say, in a form that can be compared bit for bit.

use std::collections::BTreeMap;

use anyhow::ensure;
use simulators::oracle::Totals;
use tokio_postgres::Client;

/// The totals of `ledger`, and what stands beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    pub received: i64,
    pub accepted: i64,
    pub repeated: i64,
    pub ignored: i64,
    pub rejected_messages: i64,
    pub decoded: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub conflict: i64,
    pub rejected: i64,
    pub late: i64,
    pub sensors: i64,
    pub readings: i64,
    pub events: i64,
}

impl Account {
    /// # Errors
    /// When the database does not answer.
    pub async fn read(client: &Client) -> anyhow::Result<Account> {
        let Totals(sums) = Totals::read(client, None).await?;
        let sum = |column: &str| sums.get(column).copied().unwrap_or_default();
        let counts = "SELECT (SELECT count(DISTINCT id) FROM sensor), (SELECT count(*) FROM reading), \
                      (SELECT count(*) FROM event)";
        let row = client.query_one(counts, &[]).await?;
        Ok(Account {
            received: sum("received"),
            accepted: sum("accepted"),
            repeated: sum("repeated"),
            ignored: sum("ignored"),
            rejected_messages: sum("rejected_messages"),
            decoded: sum("decoded"),
            stored: sum("stored"),
            duplicate: sum("duplicate"),
            conflict: sum("conflict"),
            rejected: sum("rejected"),
            late: sum("late"),
            sensors: row.get(0),
            readings: row.get(1),
            events: row.get(2),
        })
    }

    /// # Errors
    /// When a message or a reading was counted in no column, or in two.
    pub fn adds_up(&self) -> anyhow::Result<()> {
        let messages = self.accepted + self.repeated + self.ignored + self.rejected_messages;
        ensure!(self.received == messages, "messages do not add up: {self:?}");
        let readings = self.stored + self.duplicate + self.conflict + self.rejected;
        ensure!(self.decoded == readings, "readings do not add up: {self:?}");
        ensure!(
            self.stored == self.readings + self.events,
            "the tables hold another number than stored: {self:?}"
        );
        ensure!(0 <= self.late && self.late <= self.stored, "late is no subset of stored: {self:?}");
        Ok(())
    }
}

/// Every table that the promise covers, as text, floats as their bits. Leaves out what depends on the moment of
/// receipt: `received_at`, the flag LATE (bit 4), `late` of the rollups, and the numbers of series; and rejections that
/// an operator settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, Vec<String>>);

const STATE: &str = "r.count, r.flagged, r.expected, encode(float8send(r.sum), 'hex'), \
    encode(float8send(r.residue), 'hex'), encode(float8send(r.min), 'hex'), encode(float8send(r.max), 'hex'), \
    encode(float8send(r.first), 'hex'), r.first_time, encode(float8send(r.last), 'hex'), r.last_time";

impl Snapshot {
    /// # Errors
    /// When the database does not answer.
    pub async fn read(client: &Client) -> anyhow::Result<Snapshot> {
        let series = "JOIN series s ON s.id = r.series_id";
        let queries = [
            (
                "reading",
                format!(
                    "SELECT concat_ws('|', r.time, s.sensor, s.metric, encode(float8send(r.value), 'hex'), \
                     r.quality & ~16) FROM reading r {series}"
                ),
            ),
            (
                "event",
                format!(
                    "SELECT format('%s|%s|%s|%s|%s|%s|%s|%s', r.time, s.sensor, r.event_id, \
                     encode(float8send(r.speed), 'hex'), encode(float8send(r.length), 'hex'), \
                     encode(float8send(r.on_time_s), 'hex'), r.class, r.quality & ~16) FROM event r {series}"
                ),
            ),
            (
                "conflict",
                format!(
                    "SELECT format('%s|%s|%s|%s|%s|%s', r.time, s.sensor, s.metric, r.event_id, \
                     encode(float8send(r.value), 'hex'), encode(float8send(r.kept_value), 'hex')) \
                     FROM conflict r {series}"
                ),
            ),
            (
                "rejection",
                "SELECT concat_ws('|', source, topic, reason, encode(sha256, 'hex')) FROM rejection \
                 WHERE state = 'open'"
                    .to_owned(),
            ),
            ("rollup_5m", Self::rollup("rollup_5m", "")),
            ("rollup_1h", Self::rollup("rollup_1h", "")),
            ("rollup_1d", Self::rollup("rollup_1d", ", r.ends, r.time_zone")),
        ];
        let mut tables = BTreeMap::new();
        for (table, query) in queries {
            let rows = client.query(&format!("{query} ORDER BY 1"), &[]).await?;
            tables.insert(table, rows.iter().map(|row| row.get(0)).collect());
        }
        Ok(Snapshot(tables))
    }

    fn rollup(table: &str, more: &str) -> String {
        let holes = vec!["%s"; if more.is_empty() { 14 } else { 16 }].join("|");
        format!(
            "SELECT format('{holes}', r.bucket, s.sensor, s.metric, {STATE}{more}) \
             FROM {table} r JOIN series s ON s.id = r.series_id"
        )
    }

    pub fn rows(&self, table: &str) -> &[String] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    /// # Errors
    /// Names the first rows that are in one of the two only.
    pub fn equals(&self, other: &Snapshot) -> anyhow::Result<()> {
        for (table, rows) in &self.0 {
            let others = other.rows(table);
            if rows.as_slice() == others {
                continue;
            }
            let only = |these: &[String], those: &[String]| {
                let only: Vec<String> =
                    these.iter().filter(|row| !those.contains(row)).take(3).cloned().collect();
                only.join("\n    ")
            };
            ensure!(
                false,
                "{table} differs: {} rows and {} rows\n  only in the first:\n    {}\n  only in the second:\n    {}",
                rows.len(),
                others.len(),
                only(rows, others),
                only(others, rows)
            );
        }
        Ok(())
    }
}

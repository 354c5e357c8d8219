use serde::Serialize;
use tokio_postgres::Client;

use super::StoreError;

/// Where everything went that was received: the totals of `ledger`, with the counts of what stands in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
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
    /// Dirty marks of every level, those of open buckets included.
    pub dirty: i64,
}

impl Account {
    /// Whether every message and every reading went to exactly one place.
    pub fn balances(&self) -> bool {
        self.received == self.accepted + self.repeated + self.ignored + self.rejected_messages
            && self.decoded == self.stored + self.duplicate + self.conflict + self.rejected
    }
}

/// Adds the ledger up. Counts the readings themselves, so it takes time in proportion to them.
///
/// # Errors
/// The database cannot be read.
pub async fn account(client: &Client) -> Result<Account, StoreError> {
    let sums = [
        "received",
        "accepted",
        "repeated",
        "ignored",
        "rejected_messages",
        "decoded",
        "stored",
        "duplicate",
        "conflict",
        "rejected",
        "late",
    ]
    .map(|column| format!("(SELECT coalesce(sum({column}), 0)::int8 FROM ledger)"))
    .join(", ");
    let query = format!(
        "SELECT {sums}, (SELECT count(DISTINCT id) FROM sensor), (SELECT count(*) FROM reading),
                (SELECT count(*) FROM event), (SELECT count(*) FROM dirty)"
    );
    let row = client.query_one(&query, &[]).await?;
    let n = |i: usize| row.get::<_, i64>(i);
    Ok(Account {
        received: n(0),
        accepted: n(1),
        repeated: n(2),
        ignored: n(3),
        rejected_messages: n(4),
        decoded: n(5),
        stored: n(6),
        duplicate: n(7),
        conflict: n(8),
        rejected: n(9),
        late: n(10),
        sensors: n(11),
        readings: n(12),
        events: n(13),
        dirty: n(14),
    })
}
